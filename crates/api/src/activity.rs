//! The activity log on its way to sync: requests are recorded here, and the records are sent to sync once a second.
//!
//! The records in memory are limited, and the limit is shared among tokens and kinds of record: a token with more requests
//! than its share loses its own records of that kind, and no other token's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sidevault_model::ApiRequest;
use sidevault_model::activity::RecordKind;
use sidevault_store::Notice;

use crate::link::SyncLink;
use crate::metrics::Metrics;

/// How often the records are sent to sync (as in Connect 1.1.0, at most once a second).
const SEND_INTERVAL: Duration = Duration::from_secs(1);

/// How many records of one kind all tokens share in one interval. See [`Collected::reserve`].
const SHARED_RECORDS: usize = 1024;

/// The most records in memory, of all tokens together. A record takes at most about 1 kB: see [`MAX_TEXT_BYTES`].
const MAX_RECORDS: usize = 16 * SHARED_RECORDS;

/// How many records one message on the bus has: at most about 300 kB, far below the limit of a message.
const RECORDS_PER_NOTICE: usize = 256;

/// The most bytes that a record keeps of a text from the client: its `User-Agent`, and its token's name and id.
const MAX_TEXT_BYTES: usize = 256;

/// The beginning of a text, at most [`MAX_TEXT_BYTES`], cut between characters.
pub(crate) fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned()
}

/// Records requests, for `/v1/activity`.
#[derive(Default)]
pub(crate) struct Recorder {
    collected: Mutex<Collected>,
    dropped: AtomicU64,
}

/// The records since the last time that they were sent.
#[derive(Default)]
struct Collected {
    requests: Vec<ApiRequest>,
    /// How many records are reserved or collected.
    reserved: usize,
    /// The same for each token, by its id, and for each kind of record.
    tokens: HashMap<String, [usize; RecordKind::COUNT]>,
}

impl Collected {
    /// Reserves room for a record. Returns false if the token has used its share.
    ///
    /// Of k tokens each may have [`SHARED_RECORDS`] / k records of each kind, and at least one. Records that the first tokens reserved
    /// before the others came stay: k tokens together have at most SHARED_RECORDS * (1 + 1/2 + … + 1/k).
    fn reserve(&mut self, jti: &str, kind: RecordKind) -> bool {
        if self.reserved >= MAX_RECORDS {
            return false;
        }
        if !self.tokens.contains_key(jti) {
            self.tokens.insert(jti.to_owned(), Default::default());
        }
        let share = (SHARED_RECORDS / self.tokens.len()).max(1);
        match self.tokens.get_mut(jti).map(|token| &mut token[kind as usize]) {
            Some(taken) if *taken < share => {
                *taken += 1;
                self.reserved += 1;
                true
            }
            _ => false,
        }
    }
}

impl Recorder {
    /// Records a request of the token with the id `jti`. `request` is called only if there is room for the record.
    pub(crate) fn record(&self, jti: &str, kind: RecordKind, request: impl FnOnce() -> ApiRequest) {
        if !self.collected.lock().reserve(jti, kind) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let request = request();
        self.collected.lock().requests.push(request);
    }

    /// Sends the records once a second. Never returns.
    pub(crate) async fn run(&self, link: &SyncLink, metrics: &Metrics) {
        loop {
            tokio::time::sleep(SEND_INTERVAL).await;
            self.flush(link, metrics).await;
        }
    }

    /// Sends the records to sync. Without a connection they stay for the next time.
    pub(crate) async fn flush(&self, link: &SyncLink, metrics: &Metrics) {
        metrics.activity_dropped(self.dropped.swap(0, Ordering::Relaxed));
        if !link.is_up() {
            return;
        }
        for notice in self.notices() {
            let count = notice.len() as u64;
            if !link.notify(&Notice::Activity(notice)).await {
                metrics.activity_dropped(count);
            }
        }
    }

    /// Takes all records, oldest first, in parts that fit into one message.
    fn notices(&self) -> Vec<Vec<ApiRequest>> {
        let mut requests = std::mem::take(&mut *self.collected.lock()).requests;
        // Requests that end at the same time are recorded in any order.
        requests.sort_by_key(|request| request.timestamp);
        let mut rest = requests.into_iter();
        std::iter::from_fn(|| {
            let notice: Vec<_> = rest.by_ref().take(RECORDS_PER_NOTICE).collect();
            (!notice.is_empty()).then_some(notice)
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use sidevault_model::activity::{Action, ActivityOutcome, Actor, Resource, ResourceType, VaultRef};
    use sidevault_model::{Timestamp, VaultId};

    use super::*;

    fn note(recorder: &Recorder, jti: &str, action: Action, result: ActivityOutcome) {
        recorder.record(jti, RecordKind::of(action, result), || ApiRequest {
            request_id: "i".repeat(64),
            timestamp: Timestamp::from_millis(0),
            action,
            result,
            actor: Actor {
                id: "0".repeat(36),
                account: shortened(&"\"".repeat(10_000)),
                jti: jti.to_owned(),
                user_agent: shortened(&"\"".repeat(10_000)),
                request_ip: "f".repeat(39),
            },
            resource: Resource {
                resource_type: ResourceType::Vault,
                vault: VaultRef {
                    id: VaultId::from_digest(&[0; 32]),
                },
                item: None,
                item_version: None,
            },
        });
    }

    fn records_of(recorder: &Recorder, jti: &str) -> usize {
        let notices = recorder.notices();
        notices
            .iter()
            .flatten()
            .filter(|record| record.actor.jti == jti)
            .count()
    }

    #[test]
    fn a_token_with_too_many_requests_loses_no_record_of_another_token() {
        let recorder = Recorder::default();
        for _ in 0..10 * SHARED_RECORDS {
            note(&recorder, "flood", Action::Read, ActivityOutcome::Success);
            note(&recorder, "flood", Action::Read, ActivityOutcome::Deny);
        }
        for _ in 0..5 {
            note(&recorder, "quiet", Action::Read, ActivityOutcome::Success);
        }
        assert_eq!(records_of(&recorder, "quiet"), 5);
        // The next interval begins with empty shares.
        note(&recorder, "flood", Action::Read, ActivityOutcome::Success);
        assert_eq!(records_of(&recorder, "flood"), 1);
    }

    #[test]
    fn many_reads_and_refusals_lose_no_record_of_a_write() {
        let recorder = Recorder::default();
        for _ in 0..10 * SHARED_RECORDS {
            note(&recorder, "t", Action::Read, ActivityOutcome::Success);
            note(&recorder, "t", Action::Update, ActivityOutcome::Deny);
        }
        note(&recorder, "t", Action::Update, ActivityOutcome::Success);
        let notices = recorder.notices();
        let write = |record: &&ApiRequest| record.action == Action::Update && record.result == ActivityOutcome::Success;
        assert_eq!(notices.iter().flatten().filter(write).count(), 1);
    }

    #[test]
    fn the_records_of_many_tokens_are_limited() {
        let recorder = Recorder::default();
        for token in 0..2 * MAX_RECORDS {
            note(&recorder, &token.to_string(), Action::Read, ActivityOutcome::Success);
        }
        assert!(recorder.notices().iter().map(Vec::len).sum::<usize>() <= MAX_RECORDS);
    }

    #[test]
    fn each_message_to_sync_fits_the_bus() {
        let recorder = Recorder::default();
        for token in 0..100 {
            for _ in 0..SHARED_RECORDS {
                note(&recorder, &format!("{token:064}"), Action::Read, ActivityOutcome::Deny);
            }
        }
        let notices = recorder.notices();
        assert!(notices.len() > 1);
        for notice in notices {
            let bytes = serde_json::to_vec(&Notice::Activity(notice)).map_or(usize::MAX, |bytes| bytes.len());
            assert!(bytes < 1 << 20, "{bytes}");
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(shortened("curl/8.0"), "curl/8.0");
        assert_eq!(shortened(&"ü".repeat(200)).len(), MAX_TEXT_BYTES);
        assert_eq!(shortened(&format!("x{}", "ü".repeat(200))).len(), MAX_TEXT_BYTES - 1);
    }
}
