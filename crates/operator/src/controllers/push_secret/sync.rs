//! Pushes all values of a PushSecret, and deletes those that it no longer names.

use super::source::SourceError;
use super::stores::{self, Stores};
use super::{PushSecretReconciler, SOURCE_DELETED, plan, write};
use crate::types::{PushDeletionPolicy, PushSecret, PushSecretStatus, SyncedPushSecrets, condition};

/// What a reconcile has achieved.
pub(super) enum ReconcileResult {
    /// All values are at the servers; `changed` tells whether any of them was written or deleted.
    Synced { changed: bool },
    /// The source Secret was deleted, and so were the values.
    SourceDeleted,
    /// There is no store to write to. The status stays.
    NoStore,
    /// It failed, with this message.
    Failed(String),
}

impl PushSecretReconciler {
    /// Writes all values, and deletes those that were written before and are no longer wanted.
    pub(super) async fn sync(
        &self,
        push_secret: &PushSecret,
        stores: Result<Stores, String>,
        status: &mut PushSecretStatus,
    ) -> ReconcileResult {
        let spec = &push_secret.spec;
        let namespace = push_secret.metadata.namespace.as_deref().unwrap_or_default();
        let deletes = spec.deletion_policy == PushDeletionPolicy::Delete;
        if let Err(error) = plan::check_store_refs(spec) {
            return ReconcileResult::Failed(error);
        }
        let secrets = match self.sources.read(push_secret).await {
            Ok(secrets) => secrets,
            Err(SourceError::Missing)
                if deletes && (!status.synced_push_secrets.is_empty() || is_source_deleted(status)) =>
            {
                let elsewhere = self.managed_elsewhere(namespace, &status.synced_push_secrets);
                let deleted = self
                    .delete_values(namespace, &mut status.synced_push_secrets, &elsewhere)
                    .await;
                return match deleted {
                    Ok(_) => ReconcileResult::SourceDeleted,
                    Err(error) => ReconcileResult::Failed(format!("failed to cleanup provider secrets: {error}")),
                };
            }
            Err(error) => return ReconcileResult::Failed(error.to_string()),
        };
        let all_stores = &self.informers.stores;
        let stores = match stores.and_then(|stores| stores::writable(all_stores, push_secret, stores)) {
            Ok(stores) => stores,
            Err(error) => return ReconcileResult::Failed(error),
        };
        if stores.is_empty() {
            return ReconcileResult::NoStore;
        }
        if secrets.is_empty() {
            // Labels that match no Secret are no proof that a Secret was deleted, so the written values stay.
            return ReconcileResult::Synced { changed: false };
        }
        let (mut changed, mut error) = (false, None);
        let mut synced = self.managed_elsewhere(namespace, &status.synced_push_secrets);
        for (key, store) in &stores {
            let mut entries = Vec::new();
            let mut planned = stores::check_allowed(&self.informers, store, namespace);
            for secret in &secrets {
                planned = planned.and_then(|()| {
                    entries.extend(plan::plan(spec, secret, store)?);
                    Ok(())
                });
            }
            match planned {
                Ok(()) => {
                    let written = self.items.put(store, &entries, spec.update_policy).await;
                    synced.insert(key.clone(), written.synced);
                    changed |= written.changed;
                    error = error.or(written.error);
                }
                Err(why) => error = error.or(Some(why)),
            }
        }
        if let Some(error) = error {
            // The values that were written before may still be there.
            add(&mut status.synced_push_secrets, synced);
            return ReconcileResult::Failed(format!("set secret failed: {error}"));
        }
        if deletes {
            let deleted = self
                .delete_values(namespace, &mut status.synced_push_secrets, &synced)
                .await;
            match deleted {
                Ok(deleted) => changed |= deleted,
                Err(error) => {
                    add(&mut status.synced_push_secrets, synced);
                    return ReconcileResult::Failed(format!("Failed to Delete Secrets from Provider: {error}"));
                }
            }
        }
        status.synced_push_secrets = synced;
        ReconcileResult::Synced { changed }
    }

    /// The values that the status has of stores that this operator does not serve.
    pub(super) fn managed_elsewhere(&self, namespace: &str, synced: &SyncedPushSecrets) -> SyncedPushSecrets {
        let all_stores = &self.informers.stores;
        let is_elsewhere = |key: &str| {
            let store = stores::of_status(all_stores, key, namespace);
            store.is_ok_and(|store| !all_stores.serves(&store))
        };
        let elsewhere = synced.iter().filter(|(key, _)| is_elsewhere(key));
        elsewhere
            .map(|(key, of_store)| (key.clone(), of_store.clone()))
            .collect()
    }

    /// Deletes from every store the values that are `synced` and not `wanted`, and removes them from `synced`. Returns whether
    /// anything was deleted.
    ///
    /// # Errors
    /// The first store whose values could not be deleted.
    pub(super) async fn delete_values(
        &self,
        namespace: &str,
        synced: &mut SyncedPushSecrets,
        wanted: &SyncedPushSecrets,
    ) -> Result<bool, String> {
        let (mut changed, nothing) = (false, write::Synced::new());
        for (key, of_store) in synced.iter_mut() {
            let wanted = wanted.get(key).unwrap_or(&nothing);
            if of_store.keys().all(|at| wanted.contains_key(at)) {
                continue;
            }
            let store = stores::of_status(&self.informers.stores, key, namespace)?;
            stores::check_allowed(&self.informers, &store, namespace)?;
            changed |= self.items.delete(&store, of_store, wanted).await?;
        }
        synced.retain(|key, of_store| wanted.contains_key(key) || !of_store.is_empty());
        Ok(changed)
    }
}

fn add(synced: &mut SyncedPushSecrets, more: SyncedPushSecrets) {
    for (store, of_store) in more {
        synced.entry(store).or_default().extend(of_store);
    }
}

fn is_source_deleted(status: &PushSecretStatus) -> bool {
    condition::ready(&status.conditions).is_some_and(|ready| ready.reason.as_deref() == Some(SOURCE_DELETED))
}
