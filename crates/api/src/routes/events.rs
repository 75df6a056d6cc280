//! `GET /v1/events`, which Connect does not have: changes as server-sent events, with ids and versions, without content.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::IntoResponse;
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use http::{HeaderMap, Uri};
use sidevault_model::{Timestamp, VaultId};
use sidevault_store::ChangeRecord;
use tokio::sync::watch;

use crate::caller::Caller;
use crate::error::ApiError;
use crate::event_streams::StreamPermit;

use super::query::query;

/// How often a comment is sent while there are no changes, and the token is checked again.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// How many changes are read from the store at once.
const PAGE: usize = 500;

/// Changes in the vaults that the token may read, after the one with the number in `Last-Event-ID`; without that header, from
/// now on. The event `reset` means that the server lacks some of the changes: the client has to read everything again.
pub(super) async fn stream(caller: Caller, uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    let last = match headers.get("last-event-id").and_then(|value| value.to_str().ok()) {
        Some(id) => Some(id.to_owned()),
        None => query(&uri, "lastEventId").next(),
    };
    let after = match last {
        Some(id) => id
            .parse()
            .map_err(|_| ApiError::bad_request("Last-Event-ID must be the number of a change"))?,
        None => caller.snapshot.sequence(),
    };
    let permit = caller.api.event_streams.acquire(&caller.token.jti).ok_or_else(|| {
        ApiError::unavailable(
            "too many event streams are open, and this token has its share of them. Close one of its streams first",
        )
    })?;
    caller.api.metrics.event_streams.inc();
    let sequence = caller.api.sequence();
    let follower = Follower {
        caller,
        sequence,
        after,
        waiting: VecDeque::new(),
        greeted: false,
        permit,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL))
        .into_response())
}

/// An open stream.
struct Follower {
    caller: Caller,
    sequence: watch::Receiver<i64>,
    after: i64,
    waiting: VecDeque<Event>,
    greeted: bool,
    permit: StreamPermit,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.caller.api.metrics.event_streams.dec();
    }
}

impl Follower {
    /// The next event. None ends the stream: the api stops, the token is no longer valid, or another token has less than its
    /// share of the streams.
    async fn next(&mut self) -> Option<Event> {
        if !std::mem::replace(&mut self.greeted, true) {
            // With this number a client can resume even if no change came.
            return Some(Event::default().id(self.after.to_string()));
        }
        let stopping = self.caller.api.stopping.clone();
        loop {
            if self.permit.is_displaced() {
                return None;
            }
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            self.collect().await?;
            if !self.waiting.is_empty() {
                continue;
            }
            tokio::select! {
                () = stopping.cancelled() => return None,
                () = self.permit.displaced() => return None,
                // The timeout, because nothing announces that a token expires.
                _ = tokio::time::timeout(KEEP_ALIVE_INTERVAL, self.sequence.changed()) => {}
            }
        }
    }

    /// Reads the next changes from the feed or the store. None ends the stream.
    async fn collect(&mut self) -> Option<()> {
        let api = self.caller.api.clone();
        let store = api.store().await.ok()?;
        let snapshot = store.snapshot().await.ok()?;
        // The vaults in the token's scope may have changed, for example by a rename.
        self.caller.snapshot = snapshot.clone();
        let token = &self.caller.token;
        if api.is_revoked(&snapshot, &token.jti) || token.expires_at.is_some_and(|at| at <= Timestamp::now()) {
            return None;
        }
        // The client's number is higher than any here if the store was built again since.
        if self.after > snapshot.sequence() {
            self.reset(snapshot.sequence());
            return Some(());
        }
        let newest = *self.sequence.borrow_and_update();
        if self.after >= newest {
            return Some(());
        }
        let readable =
            |change: &ChangeRecord| VaultId::parse(&change.vault).is_ok_and(|vault| self.caller.access(vault).read);
        let changes = match api.feed.between(self.after, newest, PAGE, readable) {
            Some(changes) => Some(changes),
            None => {
                let vaults = token.vaults.keys().copied();
                let vaults: Vec<_> = vaults.filter(|id| self.caller.access(*id).read).collect();
                store.changes(self.after, newest, Some(&vaults), PAGE).await.ok()?
            }
        };
        let Some(changes) = changes else {
            self.reset(snapshot.sequence());
            return Some(());
        };
        self.after = match changes.last() {
            Some(last) if changes.len() == PAGE => last.seq,
            _ => newest,
        };
        self.waiting.extend(changes.iter().map(event));
        Some(())
    }

    /// Sends `reset`, which means that the client has to read everything again, and goes on after change number `newest`.
    fn reset(&mut self, newest: i64) {
        self.after = newest;
        let id = newest.to_string();
        self.waiting
            .push_back(Event::default().event("reset").id(id).data("{}"));
    }
}

fn event(change: &ChangeRecord) -> Event {
    let mut data = serde_json::json!({ "vault": change.vault });
    if !change.item.is_empty() {
        data["item"] = change.item.clone().into();
        data["version"] = change.version.into();
    }
    if let Some(commit) = &change.commit {
        data["commit"] = serde_json::json!({ "id": commit.id, "time": commit.time });
    }
    data["at"] = change.at.to_string().into();
    Event::default()
        .event(&change.kind)
        .id(change.seq.to_string())
        .data(data.to_string())
}
