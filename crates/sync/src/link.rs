//! Serves a connection of an api or of an administrator's command: carries out its commands, and notifies it of changes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sidevault_bus::Connection;
use sidevault_bus::peer::{self, Incoming, Peer};
use sidevault_store::{Command, CommandAnswer, CommandMessage, CommandRefusal, FailureKind, Notice, decoding_fault};
use tokio::sync::{mpsc, watch};

use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::status::Status;

/// How often the api is told how often the sources were read.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// What every connection is served with.
#[derive(Clone)]
pub(crate) struct LinkServer {
    /// The writer's queue. None while another process leads.
    pub(crate) leading: watch::Receiver<Option<Queue>>,
    pub(crate) status: Arc<Status>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) committed: watch::Receiver<i64>,
}

impl LinkServer {
    /// Serves a connection until it ends or this future is dropped.
    pub(crate) async fn serve(self, connection: Connection) {
        let (peer, incoming) = peer::start(connection);
        let _counted = CountedLink::new(self.metrics.clone());
        let notifying = self.clone().notify_of_changes(peer);
        tokio::select! {
            () = self.receive(incoming) => {}
            () = notifying => {}
        }
    }

    async fn receive(&self, mut incoming: mpsc::Receiver<Incoming>) {
        while let Some(message) = incoming.recv().await {
            match message {
                Incoming::Request { body, reply } => {
                    let queue = self.leading.borrow().clone();
                    // A task for each command, so that all waiting commands can share one commit.
                    tokio::spawn(async move { reply.send(carry_out(queue, &body).await) });
                }
                Incoming::Notice(body) => self.notice(&body).await,
            }
        }
    }

    async fn notice(&self, body: &[u8]) {
        let Some(queue) = self.leading.borrow().clone() else {
            tracing::debug!("a notice was dropped, because another process leads");
            return;
        };
        let taken = match serde_json::from_slice(body) {
            Ok(Notice::Activity(requests)) => queue.activity(requests).await,
            Ok(Notice::TokenSeen(record)) => queue.token_seen(record).await,
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(
                    error = decoding_fault(&error),
                    "a notice can't be decoded; api and sync must have the same version"
                );
                Ok(())
            }
        };
        if taken.is_err() {
            tracing::debug!("a notice was dropped, because sync is stopping");
        }
    }

    /// Sends whether this process leads, and while it does, the number of the newest change and the state of the sources, whenever
    /// one of them changes.
    async fn notify_of_changes(mut self, peer: Peer) {
        let mut health = self.status.subscribe();
        let mut progress = Vec::new();
        let mut plots = tokio::time::interval(PROGRESS_INTERVAL);
        self.leading.mark_changed();
        loop {
            let notice = tokio::select! {
                biased;
                changed = self.leading.changed() => match changed {
                    Ok(()) => {
                        // A new leader's state follows at once.
                        health.mark_changed();
                        self.committed.mark_changed();
                        Notice::Leading(self.leading.borrow_and_update().is_some())
                    }
                    Err(_) => return,
                },
                changed = self.committed.changed() => match changed {
                    Ok(()) => Notice::Changed(*self.committed.borrow_and_update()),
                    Err(_) => return,
                },
                changed = health.changed() => match changed {
                    Ok(()) if self.leading.borrow().is_some() => Notice::Health(self.status.dependencies()),
                    Ok(()) => continue,
                    Err(_) => return,
                },
                _ = plots.tick() => {
                    let now = self.status.progress();
                    if now == progress || self.leading.borrow().is_none() {
                        continue;
                    }
                    progress.clone_from(&now);
                    Notice::Sources(now)
                }
            };
            if peer.notify(encode(&notice)).await.is_err() {
                return;
            }
        }
    }
}

/// Counts a connection in the metrics until it is dropped.
struct CountedLink(Arc<Metrics>);

impl CountedLink {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.linked();
        Self(metrics)
    }
}

impl Drop for CountedLink {
    fn drop(&mut self) {
        self.0.unlinked();
    }
}

async fn carry_out(queue: Option<Queue>, body: &[u8]) -> Bytes {
    let Some(queue) = queue else {
        return encode(&CommandAnswer::Refused(CommandRefusal::new(
            FailureKind::Standby,
            "this sync is a standby: another process writes to the store",
        )));
    };
    let answer = match serde_json::from_slice::<CommandMessage<Command>>(body) {
        Ok(CommandMessage { request_id, command }) => {
            let answer = queue.command(command).await.unwrap_or_else(|closed| {
                CommandAnswer::Refused(CommandRefusal::new(FailureKind::Internal, closed.to_string()))
            });
            match &answer {
                CommandAnswer::Refused(refusal) => {
                    tracing::info!(request_id, kind = ?refusal.kind, "a write was refused")
                }
                _ => tracing::debug!(request_id, "a write was carried out"),
            }
            answer
        }
        Err(error) => {
            tracing::warn!(
                error = decoding_fault(&error),
                "a command can't be decoded; api and sync must have the same version"
            );
            CommandAnswer::Refused(CommandRefusal::new(
                FailureKind::Internal,
                "sync does not understand this command: run the same version of api and sync",
            ))
        }
    };
    encode(&answer)
}

fn encode(message: &impl serde::Serialize) -> Bytes {
    // Serializing these types never fails: all their keys are strings.
    Bytes::from(serde_json::to_vec(message).unwrap_or_default())
}
