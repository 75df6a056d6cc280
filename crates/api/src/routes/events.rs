//! `GET /v1/events`, beyond Connect: changes as server-sent events. Ids and versions, no content.

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

/// How often a comment is sent when nothing happens, and the token looked at again.
const ALIVE: Duration = Duration::from_secs(15);

/// How many changes are read at once.
const PAGE: usize = 500;

/// Changes in the vaults that the token may read, from the one after `Last-Event-ID` on; without
/// it, from now on. An event `reset` says that some are no longer kept: read everything anew.
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
        ApiError::unavailable("too many event streams are open already, and this token has its share")
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
        .keep_alive(KeepAlive::new().interval(ALIVE))
        .into_response())
}

/// One open stream.
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
    /// The next event. None ends the stream: the api stops, the token is no longer good, or another token has less than
    /// its share of the streams.
    async fn next(&mut self) -> Option<Event> {
        if !std::mem::replace(&mut self.greeted, true) {
            // Tells the client where it is, so that it can resume even if nothing ever happens.
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
                // Sync tells of a commit, the store is looked at regularly, and a token expires silently.
                _ = tokio::time::timeout(ALIVE, self.sequence.changed()) => {}
            }
        }
    }

    async fn collect(&mut self) -> Option<()> {
        let api = self.caller.api.clone();
        let store = api.store().await.ok()?;
        let snapshot = store.snapshot().await.ok()?;
        // Which vaults the token opens may have changed: a vault was renamed, say.
        self.caller.snapshot = snapshot.clone();
        let token = &self.caller.token;
        if api.is_revoked(&snapshot, &token.jti) || token.expires_at.is_some_and(|at| at <= Timestamp::now()) {
            return None;
        }
        // A number from before the store was built anew may be higher than any here.
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

    /// Sends `reset`, which tells the client to read everything anew, and goes on after change number `newest`.
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
    data["at"] = change.at.to_string().into();
    Event::default()
        .event(&change.kind)
        .id(change.seq.to_string())
        .data(data.to_string())
}
