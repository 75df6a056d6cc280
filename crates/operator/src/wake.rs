//! Who is to be looked at when something changes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidevault_model::{ItemId, VaultId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::controllers::{external_secret, store};
use crate::informer::IndexKey;
use crate::object_key::ObjectKey;
use crate::operator::Operator;
use crate::provider::{Change, Changed, Connection, Freshness};
use crate::templates::TemplateKind;
use crate::types::condition;
use crate::work::Trigger;

/// The least time between two reads of an ExternalSecret for its templates.
const BETWEEN_TEMPLATES: Duration = Duration::from_secs(1);

/// Wakes those that a change at a server concerns, until `stop`.
pub(crate) async fn run(
    operator: Arc<Operator>,
    mut changes: mpsc::UnboundedReceiver<Changed>,
    stop: CancellationToken,
) {
    while let Some(Some(changed)) = stop.run_until_cancelled(changes.recv()).await {
        let Some((connection, stores)) = operator.connections.by_id(changed.connection) else {
            continue;
        };
        let mut concerned = HashSet::new();
        match changed.change {
            Change::Nothing => {}
            Change::Anything => stores
                .iter()
                .for_each(|store| concerned.extend(operator.uses().of_store(store))),
            Change::Item(vault, item) => {
                let uses = operator.uses();
                let users = stores.iter().flat_map(|store| uses.of_item(store, vault, item));
                concerned.extend(users);
                if stores.iter().any(|store| uses.anyone_misses_something(store, vault)) {
                    // Its title tells who waited for it. Others are not kept waiting for that.
                    let waking =
                        wake_those_who_miss_it(operator.clone(), connection, stores.clone(), (vault, item), changed.at);
                    let stop = stop.clone();
                    tokio::spawn(async move { stop.run_until_cancelled(waking).await });
                }
            }
        }
        if !matches!(changed.change, Change::Item(..)) {
            stores.iter().for_each(|store| revive(&operator, store));
        }
        wake(&operator, concerned, changed.at);
    }
}

/// A store that failed may be fine now that its server speaks.
fn revive(operator: &Operator, key: &ObjectKey) {
    let store = operator.stores_of(&key.namespace).get(key);
    let status = store.as_ref().and_then(|store| store.status.as_ref());
    if status.is_some_and(|status| !condition::is_ready(&status.conditions)) {
        let queue = operator.queues.of_store(key);
        queue.add(
            key.clone(),
            &store::concurrency_group(key),
            Trigger::WatchEvent,
            Instant::now(),
        );
    }
}

fn wake(operator: &Operator, mut keys: HashSet<ObjectKey>, at: Instant) {
    keys.retain(|key| !operator.uses().was_read_since(key, at));
    for key in keys {
        ask(operator, key, Trigger::SourceChanged, at);
    }
}

/// Queues an ExternalSecret, if it is still there.
pub(crate) fn ask(operator: &Operator, key: ObjectKey, trigger: Trigger, at: Instant) {
    if let Some(external_secret) = operator.informers.external_secrets.get(&key) {
        let group = external_secret::concurrency_group(&external_secret, operator.options.default_store.as_ref());
        operator.queues.external_secrets.add(key, &group, trigger, at);
    }
}

async fn wake_those_who_miss_it(
    operator: Arc<Operator>,
    connection: Arc<Connection>,
    stores: Vec<ObjectKey>,
    (vault, item): (VaultId, ItemId),
    at: Instant,
) {
    let freshness = Freshness {
        not_before: at,
        or_unchanged: false,
    };
    let Ok(read) = connection.item(vault, item, None, freshness).await else {
        return;
    };
    let mut concerned = HashSet::new();
    for store in &stores {
        concerned.extend(operator.uses().of_absent(store, vault, &read.title));
        concerned.extend(operator.uses().of_absent(store, vault, item.as_str()));
    }
    wake(&operator, concerned, at);
}

/// Looks at the ExternalSecrets whose Secret changed.
pub(crate) fn of_target(operator: &Operator, target: &ObjectKey) {
    for key in operator
        .informers
        .external_secrets
        .indexed(&IndexKey::Target(target.clone()))
    {
        ask(operator, key, Trigger::WatchEvent, Instant::now());
    }
}

/// Reads the ExternalSecrets again whose templates live in an object that changed.
///
/// The Secret that one makes may hold the template of another, and so on in a circle: one that was read just now waits
/// for a while, so that a circle costs little.
pub(crate) fn of_template(operator: &Arc<Operator>, kind: TemplateKind, source: &ObjectKey) {
    let external_secrets = &operator.informers.external_secrets;
    let now = Instant::now();
    let lately = now.checked_sub(BETWEEN_TEMPLATES);
    for key in external_secrets.indexed(&IndexKey::Template(kind, source.clone())) {
        if lately.is_some_and(|lately| operator.uses().was_read_since(&key, lately)) {
            let operator = operator.clone();
            tokio::spawn(async move {
                tokio::time::sleep(BETWEEN_TEMPLATES).await;
                ask(&operator, key, Trigger::SourceChanged, Instant::now());
            });
        } else {
            ask(operator, key, Trigger::SourceChanged, now);
        }
    }
}

/// Looks at the ExternalSecrets of a store that are not ready: the store is another now, or its readiness is.
pub(crate) fn of_store(operator: &Operator, store: &ObjectKey) {
    let default = operator.options.default_store.as_ref();
    let is_default = default
        .is_some_and(|default| *default.name == *store.name && default.is_cluster() == store.namespace.is_empty());
    let external_secrets = &operator.informers.external_secrets;
    let mut users = external_secrets.indexed(&IndexKey::Store(store.clone()));
    if is_default {
        let nameless = external_secrets
            .indexed(&IndexKey::Store(ObjectKey::new("", "")))
            .into_iter();
        users.extend(nameless.filter(|key| store.namespace.is_empty() || key.namespace == store.namespace));
    }
    for key in users {
        let Some(external_secret) = external_secrets.get(&key) else {
            continue;
        };
        let status = external_secret.status.as_ref();
        if status.is_some_and(|status| condition::is_ready(&status.conditions)) {
            continue;
        }
        // One that never was made may be at it right now: it need not be read twice.
        let trigger = match status.is_some_and(|status| status.synced_resource_version.is_some()) {
            true => Trigger::SourceChanged,
            false => Trigger::WatchEvent,
        };
        ask(operator, key, trigger, Instant::now());
    }
}
