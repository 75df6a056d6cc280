//! The activity log's way to sync: records are collected here and handed over once a second.
//!
//! What is collected is bounded, and shared among tokens and kinds of record: a token that asks for more than its share
//! loses records of its own, of that kind, and nobody else's.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sidevault_model::ApiRequest;
use sidevault_model::activity::RecordKind;
use sidevault_store::Notice;

use crate::link::SyncLink;
use crate::metrics::Metrics;

/// How often the collected records are handed over (Connect 1.1.0: at most once a second).
const EVERY: Duration = Duration::from_secs(1);

/// How many records of one kind all tokens share between two hand-overs. See [`Collected::reserve`].
const SHARED: usize = 1024;

/// The most records that are held at once, of all tokens together. A record takes about 1 kB at the most: see [`TEXT_BYTES`].
const MOST: usize = 16 * SHARED;

/// How many records go over the bus in one message: about 300 kB at the most, far below the bus's largest message.
const RECORDS_A_NOTICE: usize = 256;

/// The most bytes of a text in a record that a client chose (`User-Agent`) or that stands in its token (its name).
const TEXT_BYTES: usize = 256;

/// The beginning of a text, as much as a record keeps of it.
pub(crate) fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES)].to_owned()
}

/// Collects what was asked of the api.
#[derive(Default)]
pub(crate) struct Recorder {
    collected: Mutex<Collected>,
    dropped: AtomicU64,
}

/// The records since the last hand-over.
#[derive(Default)]
struct Collected {
    requests: Vec<ApiRequest>,
    /// How many records are reserved or collected.
    reserved: usize,
    /// The same for each token, by its id, and for each kind of record.
    tokens: HashMap<String, [usize; RecordKind::COUNT]>,
}

impl Collected {
    /// Takes a place for a record, if the token has one left.
    ///
    /// With k tokens each has [`SHARED`] / k places for each kind of record, and at least one. What the first tokens
    /// reserved before the others came is not taken back: k tokens together have at most SHARED * (1 + 1/2 + … + 1/k).
    fn reserve(&mut self, jti: &str, kind: RecordKind) -> bool {
        if self.reserved >= MOST {
            return false;
        }
        if !self.tokens.contains_key(jti) {
            self.tokens.insert(jti.to_owned(), Default::default());
        }
        let share = (SHARED / self.tokens.len()).max(1);
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
    /// Notes a request of the token `jti`; the record is only put together if there is room for it.
    pub(crate) fn record(&self, jti: &str, kind: RecordKind, request: impl FnOnce() -> ApiRequest) {
        if !self.collected().reserve(jti, kind) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let request = request();
        self.collected().requests.push(request);
    }

    /// Hands over once a second, for as long as it is polled.
    pub(crate) async fn hand_over(&self, link: &SyncLink, metrics: &Metrics) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.flush(link, metrics).await;
        }
    }

    /// Hands over what is there. Kept for the next time while sync is away, as far as it fits.
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

    /// Takes all that was collected, oldest first, in pieces that the bus carries.
    fn notices(&self) -> Vec<Vec<ApiRequest>> {
        let mut requests = std::mem::take(&mut *self.collected()).requests;
        // Requests that were answered at the same time may have got here in any order.
        requests.sort_by_key(|request| request.timestamp);
        let mut rest = requests.into_iter();
        std::iter::from_fn(|| {
            let notice: Vec<_> = rest.by_ref().take(RECORDS_A_NOTICE).collect();
            (!notice.is_empty()).then_some(notice)
        })
        .collect()
    }

    fn collected(&self) -> std::sync::MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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
    fn a_token_that_floods_the_log_takes_no_record_of_another() {
        let recorder = Recorder::default();
        for _ in 0..10 * SHARED {
            note(&recorder, "flood", Action::Read, ActivityOutcome::Success);
            note(&recorder, "flood", Action::Read, ActivityOutcome::Deny);
        }
        for _ in 0..5 {
            note(&recorder, "quiet", Action::Read, ActivityOutcome::Success);
        }
        assert_eq!(records_of(&recorder, "quiet"), 5);
        // The next second begins anew.
        note(&recorder, "flood", Action::Read, ActivityOutcome::Success);
        assert_eq!(records_of(&recorder, "flood"), 1);
    }

    #[test]
    fn reads_and_refusals_take_no_record_of_a_write() {
        let recorder = Recorder::default();
        for _ in 0..10 * SHARED {
            note(&recorder, "t", Action::Read, ActivityOutcome::Success);
            note(&recorder, "t", Action::Update, ActivityOutcome::Deny);
        }
        note(&recorder, "t", Action::Update, ActivityOutcome::Success);
        let notices = recorder.notices();
        let write = |record: &&ApiRequest| record.action == Action::Update && record.result == ActivityOutcome::Success;
        assert_eq!(notices.iter().flatten().filter(write).count(), 1);
    }

    #[test]
    fn what_many_tokens_record_is_bounded() {
        let recorder = Recorder::default();
        for token in 0..2 * MOST {
            note(&recorder, &token.to_string(), Action::Read, ActivityOutcome::Success);
        }
        assert!(recorder.notices().iter().map(Vec::len).sum::<usize>() <= MOST);
    }

    #[test]
    fn no_message_to_sync_is_too_large_for_the_bus() {
        let recorder = Recorder::default();
        for token in 0..100 {
            for _ in 0..SHARED {
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
        assert_eq!(shortened(&"ü".repeat(200)).len(), TEXT_BYTES);
        assert_eq!(shortened(&format!("x{}", "ü".repeat(200))).len(), TEXT_BYTES - 1);
    }
}
