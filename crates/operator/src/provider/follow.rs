//! Follows the event stream of a Connect server. 1Password's Connect has none; Sidevault does.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use sidevault_client::{Event, EventKind, Events};
use sidevault_model::{ItemId, VaultId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Connection;

/// How long to wait before the event stream is requested again from a server that has none or refuses it: the server
/// may have been starting, or may be replaced by one that has a stream.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// A change that a server reported.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    /// The id of the connection that received the report.
    pub(crate) connection: u64,
    /// When it was received.
    pub(crate) at: Instant,
    /// What changed.
    pub(crate) change: Change,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// An item was created, changed or deleted.
    Item(VaultId, ItemId),
    /// Anything may be different.
    Anything,
    /// Nothing: the event stream is connected again, and changes that were missed follow.
    Nothing,
}

/// Follows the event stream until the connection is dropped, and sends its changes to `changes`.
pub(super) fn follow(connection: &Arc<Connection>, changes: mpsc::UnboundedSender<Changed>) {
    let stop = connection.stop.clone();
    tokio::spawn(run(Arc::downgrade(connection), stop, changes));
}

async fn run(connection: Weak<Connection>, stop: CancellationToken, changes: mpsc::UnboundedSender<Changed>) {
    let mut last = None;
    loop {
        let Some(events) = connection.upgrade().map(|connection| connection.client.events(last)) else {
            return;
        };
        let receiving = receive(&connection, events, &changes, &mut last);
        if stop.run_until_cancelled(receiving).await.is_none() {
            return;
        }
        if let Some(connection) = connection.upgrade() {
            connection.stream_lost();
            connection.allow_reads();
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(RETRY_AFTER))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// Receives events until the stream ends for good: the server has none, or refuses it.
async fn receive(
    connection: &Weak<Connection>,
    mut events: Events,
    changes: &mpsc::UnboundedSender<Changed>,
    last: &mut Option<u64>,
) {
    while let Some(event) = events.next().await {
        let Some(connection) = connection.upgrade() else {
            return;
        };
        match event {
            Err(error) => {
                if connection.is_following() {
                    tracing::info!(%error, "the event stream is disconnected; polling until it is back");
                } else {
                    tracing::debug!(%error, "the server has no event stream; polling");
                }
                connection.stream_lost();
                connection.allow_reads();
            }
            Ok(event) => {
                *last = event.sequence.or(*last);
                if !connection.is_following() {
                    tracing::info!("the server's event stream is connected");
                }
                let changed = Changed {
                    connection: connection.id,
                    at: Instant::now(),
                    change: change(&event),
                };
                connection.record_change(&changed);
                // The receiver is dropped when the operator stops.
                changes.send(changed).ok();
                connection.allow_reads();
            }
        }
    }
}

fn change(event: &Event) -> Change {
    match (&event.kind, event.vault, event.item) {
        (EventKind::ItemCreated | EventKind::ItemUpdated | EventKind::ItemDeleted, Some(vault), Some(item)) => {
            Change::Item(vault, item)
        }
        (EventKind::Resumed, ..) => Change::Nothing,
        _ => Change::Anything,
    }
}
