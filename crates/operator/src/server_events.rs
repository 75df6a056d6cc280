//! Requeues the ExternalSecrets that a change at a Connect server affects.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use sidevault_model::{ItemId, VaultId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::controllers::{external_secret, store};
use crate::informers::Informers;
use crate::object_key::ObjectKey;
use crate::provider::{Change, Changed, Connection, Connections, DependencyIndex, Freshness};
use crate::queues::Queues;
use crate::work::Trigger;

/// Requeues the ExternalSecrets that a change at a Connect server affects.
pub(crate) struct ServerEvents {
    pub(crate) informers: Arc<Informers>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) dependencies: Arc<Mutex<DependencyIndex>>,
}

impl ServerEvents {
    /// Handles changes until `stop`.
    pub(crate) async fn run(self: Arc<Self>, mut changes: mpsc::UnboundedReceiver<Changed>, stop: CancellationToken) {
        while let Some(Some(changed)) = stop.run_until_cancelled(changes.recv()).await {
            let Some((connection, stores)) = self.connections.by_id(changed.connection) else {
                continue;
            };
            match changed.change {
                Change::Item(vault, item) => {
                    self.requeue(self.dependents_of_item(&stores, vault, item), changed.at);
                    let is_missed = stores
                        .iter()
                        .any(|store| self.dependencies.lock().anyone_misses_something(store, vault));
                    if is_missed {
                        // In a task of its own, because it waits for an answer of the server.
                        let handling =
                            self.clone()
                                .requeue_those_that_miss(connection, stores, (vault, item), changed.at);
                        let stop = stop.clone();
                        tokio::spawn(async move { stop.run_until_cancelled(handling).await });
                    }
                }
                Change::Anything => {
                    self.recheck(&stores);
                    let dependents = stores.iter().map(|store| self.dependencies.lock().of_store(store));
                    self.requeue(dependents.flatten().collect(), changed.at);
                }
                Change::Nothing => self.recheck(&stores),
            }
        }
    }

    /// Checks the stores that are not ready: the server has just answered, so they may be ready now.
    fn recheck(&self, stores: &[ObjectKey]) {
        for store in stores {
            store::triggers::recheck(&self.informers, &self.queues, store);
        }
    }

    /// The ExternalSecrets that use an item of a vault or have searched the vault.
    fn dependents_of_item(&self, stores: &[ObjectKey], vault: VaultId, item: ItemId) -> HashSet<ObjectKey> {
        let dependencies = self.dependencies.lock();
        let dependents = stores.iter().map(|store| dependencies.of_item(store, vault, item));
        dependents.flatten().collect()
    }

    /// Requeues the ExternalSecrets that looked for an item in vain and that the changed item may satisfy. Which these are
    /// depends on its title, which the event does not have.
    async fn requeue_those_that_miss(
        self: Arc<Self>,
        connection: Arc<Connection>,
        stores: Vec<ObjectKey>,
        (vault, item): (VaultId, ItemId),
        changed_at: Instant,
    ) {
        let freshness = Freshness {
            not_before: changed_at,
            or_unchanged: false,
        };
        let Ok(read) = connection.item(vault, item, None, freshness).await else {
            return;
        };
        let mut dependents = HashSet::new();
        for store in &stores {
            let dependencies = self.dependencies.lock();
            dependents.extend(dependencies.of_absent(store, vault, &read.title));
            dependents.extend(dependencies.of_absent(store, vault, item.as_str()));
        }
        self.requeue(dependents, changed_at);
    }

    /// Queues ExternalSecrets, except those that were read after the change.
    fn requeue(&self, mut keys: HashSet<ObjectKey>, changed_at: Instant) {
        keys.retain(|key| !self.dependencies.lock().was_read_since(key, changed_at));
        for key in keys {
            external_secret::triggers::requeue(&self.informers, &self.queues, &key, Trigger::SourceChanged, changed_at);
        }
    }
}
