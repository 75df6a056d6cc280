//! PushSecret: writes values of a Secret to Connect servers.

mod plan;
mod source;
mod stores;
mod sync;
pub(crate) mod triggers;
mod write;

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::EventType;

pub(crate) use self::source::SourceReader;
pub(crate) use self::stores::StoreFinalizer;
use self::sync::ReconcileResult;
pub(crate) use self::write::ItemWriter;
use super::Reconcile;
use crate::controllers::refresh;
use crate::hash;
use crate::informers::Informers;
use crate::kube_ext::{ObjectWriter, has_finalizer, now};
use crate::metrics::Metrics;
use crate::queues::Queues;
use crate::recorder::Recorder;
use crate::types::{
    Condition, PushDeletionPolicy, PushSecret, PushSecretSpec, PushSecretStatus, UpdatePolicy, condition,
};
use crate::work::{Requeue, Work};

/// On PushSecrets whose values are deleted with them.
const FINALIZER: &str = "pushsecret.externalsecrets.io/finalizer";
/// The condition's reason after the source Secret was deleted, as External Secrets has it.
const SOURCE_DELETED: &str = "SourceDeleted";
/// The condition's reason after a failure, as External Secrets has it.
const ERRORED: &str = "Errored";

/// Writes values of Secrets to Connect servers.
pub(crate) struct PushSecretReconciler {
    pub(crate) writer: ObjectWriter<PushSecretSpec, PushSecretStatus>,
    pub(crate) sources: SourceReader,
    pub(crate) items: ItemWriter,
    pub(crate) informers: Arc<Informers>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Reconcile for PushSecretReconciler {
    async fn reconcile(&self, work: &Work) -> Requeue {
        let started_at = Instant::now();
        let metrics = &self.metrics.push_secrets;
        let Some(push_secret) = self.informers.push_secrets.get(&work.key) else {
            metrics.forget(&work.key);
            return Requeue::OnChange;
        };
        let requeue = self.reconcile_object(work, &push_secret).await;
        metrics.reconciled(&work.key, push_secret.metadata.labels.as_ref(), started_at.elapsed());
        requeue
    }
}

impl PushSecretReconciler {
    async fn reconcile_object(&self, work: &Work, push_secret: &PushSecret) -> Requeue {
        let stores = stores::named_by(&self.informers.stores, push_secret);
        if let Ok(stores) = &stores
            && stores::are_managed_elsewhere(&self.informers.stores, stores)
        {
            return Requeue::OnChange;
        }
        if push_secret.metadata.deletion_timestamp.is_some() {
            return self.cleanup(work, push_secret).await;
        }
        let needs_finalizer = push_secret.spec.deletion_policy == PushDeletionPolicy::Delete;
        let written = self.writer.set_finalizer(push_secret, FINALIZER, needs_finalizer).await;
        if let Err(requeue) = written {
            return requeue;
        }
        if !needs_push(push_secret, Timestamp::now()) {
            return next_push(push_secret, push_secret.status.as_ref());
        }
        let refresh_time = now();
        let mut status = push_secret.status.clone().unwrap_or_default();
        let result = self.sync(push_secret, stores, &mut status).await;
        let requeue = self
            .set_condition(work, push_secret, result, &mut status, refresh_time)
            .await;
        if let Err(requeue) = self.writer.write_status(push_secret, &status).await {
            return requeue;
        }
        stores::requeue_stores_of(&self.informers, &self.queues, push_secret);
        requeue
    }

    /// Sets the condition of the status, records an event if the condition is new, and returns when to reconcile again.
    async fn set_condition(
        &self,
        work: &Work,
        push_secret: &PushSecret,
        result: ReconcileResult,
        status: &mut PushSecretStatus,
        refresh_time: Time,
    ) -> Requeue {
        let (condition, type_, is_news, requeue) = match result {
            ReconcileResult::Synced { changed } => {
                let message = match push_secret.spec.update_policy {
                    UpdatePolicy::Replace => "PushSecret synced successfully",
                    UpdatePolicy::IfNotExists => {
                        "PushSecret synced successfully. Existing secrets in providers unchanged."
                    }
                };
                status.refresh_time = Some(refresh_time);
                status.synced_resource_version = Some(hash::resource_version(&push_secret.metadata));
                let requeue = next_push(push_secret, Some(status));
                let condition = Condition::ready(true, "Synced", message);
                (condition, EventType::Normal, changed, requeue)
            }
            ReconcileResult::SourceDeleted => {
                let message = "source secret deleted; provider secrets cleaned up";
                let interval = refresh::interval(push_secret.spec.refresh_interval);
                // Secrets are not watched: after the interval the Secret may exist again.
                let requeue = if interval.is_zero() {
                    Requeue::OnChange
                } else {
                    Requeue::After(interval)
                };
                let condition = Condition::ready(false, SOURCE_DELETED, message);
                (condition, EventType::Normal, false, requeue)
            }
            ReconcileResult::NoStore => return Requeue::OnChange,
            ReconcileResult::Failed(message) => {
                self.metrics.push_secrets.failed(&work.key);
                tracing::warn!(error = %message, "the values could not be pushed");
                let condition = Condition::ready(false, ERRORED, message);
                (condition, EventType::Warning, true, Requeue::AfterFailure)
            }
        };
        self.metrics.push_secrets.condition(&work.key, &condition);
        let is_same = condition::ready(&status.conditions)
            .is_some_and(|known| known.reason == condition.reason && known.message == condition.message);
        if is_news || !is_same {
            let (reason, message) = (condition.reason.as_deref(), condition.message.clone());
            let (resource, meta) = (self.writer.resource(), &push_secret.metadata);
            let (reason, note) = (reason.unwrap_or_default(), message.unwrap_or_default());
            self.recorder.record(resource, meta, type_, reason, note).await;
        }
        condition.put_into(&mut status.conditions, &now());
        requeue
    }

    /// Deletes the values of a PushSecret that is being deleted, if its deletion policy says so, and removes the finalizer.
    async fn cleanup(&self, work: &Work, push_secret: &PushSecret) -> Requeue {
        if !has_finalizer(&push_secret.metadata, FINALIZER) {
            return Requeue::OnChange;
        }
        if push_secret.spec.deletion_policy == PushDeletionPolicy::Delete {
            let mut status = push_secret.status.clone().unwrap_or_default();
            let namespace = &work.key.namespace;
            let elsewhere = self.managed_elsewhere(namespace, &status.synced_push_secrets);
            let deleted = self
                .delete_values(namespace, &mut status.synced_push_secrets, &elsewhere)
                .await;
            let left = elsewhere.keys().next();
            let error = deleted
                .err()
                .or(left.map(|store| format!("{store} is another controller's")));
            if let Some(error) = error {
                let result = ReconcileResult::Failed(format!("Failed to Delete Secrets from Provider: {error}"));
                let requeue = self.set_condition(work, push_secret, result, &mut status, now()).await;
                let written = self.writer.write_status(push_secret, &status).await;
                return written.err().unwrap_or(requeue);
            }
        }
        let removed = self.writer.set_finalizer(push_secret, FINALIZER, false).await;
        removed.err().unwrap_or(Requeue::OnChange)
    }
}

/// Whether the values are to be pushed now.
fn needs_push(push_secret: &PushSecret, now: Timestamp) -> bool {
    let Some(status) = &push_secret.status else {
        return true;
    };
    let synced = status.synced_resource_version.as_deref().unwrap_or_default();
    if synced != hash::resource_version(&push_secret.metadata) {
        return true;
    }
    // After a failure, whatever the interval.
    if condition::ready(&status.conditions).is_some_and(|ready| ready.reason.as_deref() == Some(ERRORED)) {
        return true;
    }
    let interval = refresh::interval(push_secret.spec.refresh_interval);
    !interval.is_zero() && refresh::has_passed(interval, status.refresh_time.as_ref(), now)
}

/// When the next periodic push is.
fn next_push(push_secret: &PushSecret, status: Option<&PushSecretStatus>) -> Requeue {
    let refreshed = status.and_then(|status| status.refresh_time.as_ref());
    refresh::next(refresh::interval(push_secret.spec.refresh_interval), refreshed)
}

#[cfg(test)]
mod tests;
