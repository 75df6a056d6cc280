//! One turn's work: from a Secret to stores.

use super::source::{self, SourceError};
use super::stores::{self, Stores};
use super::{SOURCE_DELETED, plan, write};
use crate::operator::Operator;
use crate::types::{PushDeletionPolicy, PushSecret, PushSecretStatus, SyncedPushSecrets, condition};

/// What a turn came to.
pub(super) enum ReconcileResult {
    /// All is there; whether that took a write.
    Synced(bool),
    /// The Secret is gone, and so are its values now.
    SourceDeleted,
    /// No store is there to be written to: nothing is written, and nothing said.
    NoStore,
    /// Something is wrong, as the message says.
    Errored(String),
}

/// Writes all values, and takes out those that are not to be there any more.
pub(super) async fn sync(
    operator: &Operator,
    push_secret: &PushSecret,
    stores: Result<Stores, String>,
    status: &mut PushSecretStatus,
) -> ReconcileResult {
    let spec = &push_secret.spec;
    let namespace = push_secret.metadata.namespace.as_deref().unwrap_or_default();
    let deletes = spec.deletion_policy == PushDeletionPolicy::Delete;
    if let Err(error) = plan::check_store_refs(spec) {
        return ReconcileResult::Errored(error);
    }
    let secrets = match source::secrets(operator, push_secret).await {
        Ok(secrets) => secrets,
        Err(SourceError::Missing)
            if deletes && (!status.synced_push_secrets.is_empty() || is_source_deleted(status)) =>
        {
            let others = managed_elsewhere(operator, namespace, &status.synced_push_secrets);
            return match withdraw(operator, namespace, &mut status.synced_push_secrets, &others).await {
                Ok(_) => ReconcileResult::SourceDeleted,
                Err(error) => ReconcileResult::Errored(format!("failed to cleanup provider secrets: {error}")),
            };
        }
        Err(error) => return ReconcileResult::Errored(error.to_string()),
    };
    let stores = match stores.and_then(|stores| stores::writable(operator, push_secret, stores)) {
        Ok(stores) => stores,
        Err(error) => return ReconcileResult::Errored(error),
    };
    if stores.is_empty() {
        return ReconcileResult::NoStore;
    }
    if secrets.is_empty() {
        // Labels that match no Secret say less than a name that is gone: what was written stays.
        return ReconcileResult::Synced(false);
    }
    let (mut changed, mut error) = (false, None);
    let mut synced = managed_elsewhere(operator, namespace, &status.synced_push_secrets);
    for (key, store) in &stores {
        let mut entries = Vec::new();
        let mut planned = stores::check_allowed(operator, store, namespace);
        for secret in &secrets {
            planned = planned.and_then(|()| {
                entries.extend(plan::plan(spec, secret, store)?);
                Ok(())
            });
        }
        match planned {
            Ok(()) => {
                let written = write::put(operator, store, &entries, spec.update_policy).await;
                synced.insert(key.clone(), written.synced);
                changed |= written.changed;
                error = error.or(written.error);
            }
            Err(why) => error = error.or(Some(why)),
        }
    }
    if let Some(error) = error {
        // What was there before may still be.
        add(&mut status.synced_push_secrets, synced);
        return ReconcileResult::Errored(format!("set secret failed: {error}"));
    }
    if deletes {
        match withdraw(operator, namespace, &mut status.synced_push_secrets, &synced).await {
            Ok(withdrawn) => changed |= withdrawn,
            Err(error) => {
                add(&mut status.synced_push_secrets, synced);
                return ReconcileResult::Errored(format!("Failed to Delete Secrets from Provider: {error}"));
            }
        }
    }
    status.synced_push_secrets = synced;
    ReconcileResult::Synced(changed)
}

fn add(known: &mut SyncedPushSecrets, more: SyncedPushSecrets) {
    for (store, of_store) in more {
        known.entry(store).or_default().extend(of_store);
    }
}

/// What other operators wrote: to stores that are not this one's.
pub(super) fn managed_elsewhere(operator: &Operator, namespace: &str, known: &SyncedPushSecrets) -> SyncedPushSecrets {
    let is_managed_elsewhere = |key: &str| {
        let store = stores::of_status(operator, key, namespace);
        store.is_ok_and(|store| !stores::is_ours(operator, &store))
    };
    let others = known.iter().filter(|(key, _)| is_managed_elsewhere(key));
    others.map(|(key, of_store)| (key.clone(), of_store.clone())).collect()
}

/// Takes out of every store what is known to be there and not wanted. `known` loses what is gone.
pub(super) async fn withdraw(
    operator: &Operator,
    namespace: &str,
    known: &mut SyncedPushSecrets,
    wanted: &SyncedPushSecrets,
) -> Result<bool, String> {
    let (mut changed, nothing) = (false, write::Synced::new());
    for (key, of_store) in known.iter_mut() {
        let wanted = wanted.get(key).unwrap_or(&nothing);
        if of_store.keys().all(|at| wanted.contains_key(at)) {
            continue;
        }
        let store = stores::of_status(operator, key, namespace)?;
        stores::check_allowed(operator, &store, namespace)?;
        changed |= write::withdraw(operator, &store, of_store, wanted).await?;
    }
    known.retain(|key, of_store| wanted.contains_key(key) || !of_store.is_empty());
    Ok(changed)
}

fn is_source_deleted(status: &PushSecretStatus) -> bool {
    condition::ready(&status.conditions).is_some_and(|ready| ready.reason.as_deref() == Some(SOURCE_DELETED))
}
