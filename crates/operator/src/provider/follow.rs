//! A server's stream of changes.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use sidevault_client::{Event, EventKind, Events};
use sidevault_model::{ItemId, VaultId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Connection;

/// How long a server that has no event stream, or refuses it, is left in peace before it is asked again: it may have
/// been replaced, or have been starting.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Something changed at a server.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    /// Which connection told it.
    pub(crate) connection: u64,
    /// When it was told.
    pub(crate) at: Instant,
    /// What.
    pub(crate) change: Change,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// An item: it is new, other, or gone.
    Item(VaultId, ItemId),
    /// Anything may have.
    Anything,
    /// Nothing yet: the server can be reached again.
    Nothing,
}

/// Follows the changes as long as the connection lives.
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
        let following = listen(&connection, events, &changes, &mut last);
        if stop.run_until_cancelled(following).await.is_none() {
            return;
        }
        if let Some(connection) = connection.upgrade() {
            connection.changes_unknown();
            connection.let_read();
        }
        if stop.run_until_cancelled(tokio::time::sleep(ASK_AGAIN)).await.is_none() {
            return;
        }
    }
}

/// Hands changes on until the server says that there are none to be had.
async fn listen(
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
                if connection.tells_changes() {
                    tracing::info!(%error, "the event stream is cut; polling meanwhile");
                } else {
                    tracing::debug!(%error, "no event stream; polling");
                }
                connection.changes_unknown();
                connection.let_read();
            }
            Ok(event) => {
                *last = event.sequence.or(*last);
                if !connection.tells_changes() {
                    tracing::info!("following the server's changes");
                }
                let changed = Changed {
                    connection: connection.id,
                    at: Instant::now(),
                    change: change(&event),
                };
                connection.note(&changed);
                let _operator_ends = changes.send(changed);
                connection.let_read();
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
