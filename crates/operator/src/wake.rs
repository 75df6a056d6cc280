//! Who is to be looked at when something changes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::controllers::external_secret;
use crate::operator::Operator;
use crate::provider::{Change, Changed, Need};
use crate::queue::{ObjectKey, Reason};
use crate::types::condition;

/// Wakes those that a change at a server concerns, until `stop`.
pub(crate) async fn run(
    operator: Arc<Operator>,
    mut changes: mpsc::UnboundedReceiver<Changed>,
    stop: CancellationToken,
) {
    while let Some(Some(changed)) = stop.run_until_cancelled(changes.recv()).await {
        let concerned = match changed.change {
            Change::Anything => operator.uses().of_connection(changed.connection),
            Change::Item(vault, item) => {
                let users = operator.uses().of_item(changed.connection, vault, item);
                if operator.uses().anyone_misses_something(changed.connection, vault) {
                    // Its title tells who waited for it. Others are not kept waiting for that.
                    tokio::spawn(wake_those_who_miss_it(operator.clone(), changed.clone(), stop.clone()));
                }
                users
            }
        };
        wake(&operator, concerned, changed.at);
    }
}

fn wake(operator: &Operator, keys: HashSet<ObjectKey>, at: Instant) {
    for key in keys {
        ask(operator, key, Reason::Changed, at);
    }
}

/// Queues an ExternalSecret, if it is still there.
fn ask(operator: &Operator, key: ObjectKey, reason: Reason, at: Instant) {
    if let Some(external_secret) = operator.informers.external_secrets.get(&key) {
        let lane = external_secret::lane(&external_secret, operator.options.default_store.as_ref());
        operator.queues.external_secrets.add(key, &lane, reason, at);
    }
}

async fn wake_those_who_miss_it(operator: Arc<Operator>, changed: Changed, stop: CancellationToken) {
    let Change::Item(vault, item) = changed.change else {
        return;
    };
    let Some(connection) = operator.connections.by_id(changed.connection) else {
        return;
    };
    let need = Need {
        not_before: changed.at,
        or_unchanged: false,
    };
    let read = connection.item(vault, item, None, need);
    let Some(Ok(read)) = stop.run_until_cancelled(read).await else {
        return;
    };
    let mut concerned = operator.uses().of_absent(changed.connection, vault, &read.title);
    concerned.extend(operator.uses().of_absent(changed.connection, vault, item.as_str()));
    wake(&operator, concerned, changed.at);
}

/// Looks at the ExternalSecrets whose Secret changed.
pub(crate) fn of_target(operator: &Operator, target: &ObjectKey) {
    for (key, _) in operator.informers.external_secrets.indexed(target) {
        ask(operator, key, Reason::Look, Instant::now());
    }
}

/// Looks at the ExternalSecrets of a store that failed: it is another now.
pub(crate) fn of_store(operator: &Operator, store: &ObjectKey) {
    for (key, external_secret) in operator.informers.external_secrets.all() {
        let named = external_secret::stores(&external_secret);
        let default = operator.options.default_store.as_ref().filter(|_| named.is_empty());
        let of_store = named.into_iter().chain(default).any(|reference| {
            *reference.name == *store.name
                && match reference.is_cluster() {
                    true => store.namespace.is_empty(),
                    false => store.namespace == key.namespace,
                }
        });
        let status = external_secret.status.as_ref();
        if of_store && !status.is_some_and(|status| condition::is_ready(&status.conditions)) {
            ask(operator, key, Reason::Changed, Instant::now());
        }
    }
}
