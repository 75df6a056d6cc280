//! ExternalSecret: writes values of Connect servers into a Secret.

mod fetch;
mod needs_refresh;
mod target;
pub(crate) mod triggers;
mod windows;

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::EventType;

use self::fetch::ProviderData;
use self::needs_refresh::{needs_refresh, next_refresh};
use self::target::{Applied, TargetError};
use super::Reconcile;
use crate::api_error::api_message;
use crate::hash;
use crate::informers::Informers;
use crate::kube_ext::{ObjectWriter, has_finalizer, now};
use crate::metrics::Metrics;
use crate::names::{FIELD_MANAGER, FINALIZER};
use crate::options::Options;
use crate::recorder::Recorder;
use crate::restart;
use crate::secret::{DesiredSecretError, target_name};
use crate::stores::{Stores, named_stores};
use crate::types::{
    Condition, CreationPolicy, DeletionPolicy, ExternalSecret, ExternalSecretSpec, ExternalSecretStatus, StoreRef,
    condition,
};
use crate::work::{Requeue, Trigger, Work};

pub(crate) use self::fetch::Fetcher;
pub(crate) use self::target::TargetWriter;

/// The condition's reason after success, as External Secrets has it.
const SYNCED: &str = "SecretSynced";
/// The condition's reason after a failure, as External Secrets has it.
const FAILED: &str = "SecretSyncedError";

/// Writes values of Connect servers into Secrets.
pub(crate) struct ExternalSecretReconciler {
    pub(crate) writer: ObjectWriter<ExternalSecretSpec, ExternalSecretStatus>,
    pub(crate) fetcher: Arc<Fetcher>,
    pub(crate) targets: TargetWriter,
    pub(crate) informers: Arc<Informers>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) options: Arc<Options>,
    /// For the workloads to restart.
    pub(crate) client: kube::Client,
    /// When the initial lists were requested (operator start).
    pub(crate) started_at: Instant,
}

/// What a reconcile has achieved.
enum ReconcileResult {
    /// The condition becomes true, with this reason and message.
    Ready(&'static str, &'static str),
    /// The condition becomes false, with this message; the event has the `error`. With `retry` the next try follows after a
    /// backoff, otherwise after a change.
    NotReady {
        message: &'static str,
        error: String,
        retry: bool,
    },
    /// Another client changed the Secret at the same time. The status stays.
    Conflict,
    /// The namespace is being deleted. The status stays.
    Terminating,
}

impl Reconcile for ExternalSecretReconciler {
    async fn reconcile(&self, work: &Work) -> Requeue {
        let started_at = Instant::now();
        let metrics = &self.metrics.external_secrets;
        let Some(cached) = self.informers.external_secrets.get(&work.key) else {
            self.fetcher.forget(&work.key);
            self.targets.forget(&work.key);
            metrics.forget(&work.key);
            return Requeue::OnChange;
        };
        let requeue = self.reconcile_object(work, &cached).await;
        metrics.reconciled(&work.key, cached.metadata.labels.as_ref(), started_at.elapsed());
        let is_event = work.trigger == Trigger::SourceChanged && work.requested_at > self.started_at;
        if is_event && requeue != Requeue::AfterFailure {
            self.metrics.event_applied(work.requested_at);
        }
        requeue
    }
}

impl ExternalSecretReconciler {
    /// `cached` is the object as the API server has it, without the default store.
    async fn reconcile_object(&self, work: &Work, cached: &ExternalSecret) -> Requeue {
        if cached.metadata.deletion_timestamp.is_some() {
            return self.cleanup(work, cached).await;
        }
        let external_secret = with_default_store(cached, self.options.default_store.as_ref());
        if is_managed_elsewhere(&self.informers.stores, &external_secret) {
            if external_secret.spec.uses_generators() {
                let note = "left to External Secrets: generators are not supported";
                self.record_event(&external_secret, EventType::Normal, "Skipped", note)
                    .await;
            }
            return Requeue::OnChange;
        }
        if let Err(requeue) = self.add_finalizer(cached).await {
            return requeue;
        }
        if !needs_refresh(&external_secret, work.trigger, Timestamp::now()) {
            match self.targets.is_valid(&work.key, &external_secret).await {
                Ok(true) => return next_refresh(&external_secret),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(error = %api_message(&error), "the Secret could not be read");
                    return Requeue::AfterFailure;
                }
            }
        }
        let refresh_time = now();
        let mut status = external_secret.status.clone().unwrap_or_default();
        // External Secrets writes a binding with an empty name as long as there is no Secret, too.
        status.binding.get_or_insert_default();
        let result = self.sync(work, &external_secret, &mut status.binding).await;
        let (condition, requeue) = match result {
            ReconcileResult::Conflict => return Requeue::AfterConflict,
            ReconcileResult::Terminating => return Requeue::OnChange,
            ReconcileResult::Ready(reason, message) => {
                status.refresh_time = Some(refresh_time);
                status.synced_resource_version = Some(hash::resource_version(&external_secret.metadata));
                let mut refreshed = external_secret.clone();
                refreshed.status = Some(status.clone());
                (Condition::ready(true, reason, message), next_refresh(&refreshed))
            }
            ReconcileResult::NotReady { message, error, retry } => {
                self.metrics.external_secrets.failed(&work.key);
                tracing::warn!(%error, "{message}");
                self.record_event(&external_secret, EventType::Warning, "UpdateFailed", &error)
                    .await;
                let requeue = if retry {
                    Requeue::AfterFailure
                } else {
                    Requeue::OnChange
                };
                (Condition::ready(false, FAILED, message), requeue)
            }
        };
        self.metrics.external_secrets.condition(&work.key, &condition);
        if condition.status == "True" && !condition::is_ready(&status.conditions) {
            tracing::info!("reconciled secret");
        }
        condition.put_into(&mut status.conditions, &now());
        let written = self.writer.write_status(cached, &status).await;
        written.err().unwrap_or(requeue)
    }

    /// Fetches the values and writes the Secret.
    async fn sync(
        &self,
        work: &Work,
        external_secret: &ExternalSecret,
        binding: &mut Option<LocalObjectReference>,
    ) -> ReconcileResult {
        let target = &external_secret.spec.target;
        if target.manifest.is_some() {
            let error = "spec.target.manifest: targets other than Secrets are not supported".to_owned();
            return not_ready("invalid generic target", error, false);
        }
        let fetched = self.fetcher.fetch(work, external_secret).await;
        let ProviderData { values, deleted, lost } = match fetched {
            Ok(data) => data,
            Err(error) => return not_ready("could not get secret data from provider", error, true),
        };
        for note in &deleted {
            self.record_event(external_secret, EventType::Normal, "MissingProviderSecret", note)
                .await;
        }
        for note in &lost {
            self.record_event(external_secret, EventType::Warning, "KeysLost", note)
                .await;
        }
        if values.is_empty() {
            match target.deletion_policy {
                DeletionPolicy::Delete if !lost.is_empty() => {
                    let error = "rewrites leave no key, though the provider has values: the Secret is not deleted";
                    return not_ready("could not get secret data from provider", error.to_owned(), true);
                }
                DeletionPolicy::Delete => return self.delete_secret(external_secret).await,
                DeletionPolicy::Retain => {
                    return ReconcileResult::Ready(SYNCED, "secret retained due to DeletionPolicy=Retain");
                }
                DeletionPolicy::Merge => {}
            }
        }
        if target.creation_policy == CreationPolicy::None {
            return ReconcileResult::Ready(SYNCED, "secret synced");
        }
        if target.creation_policy == CreationPolicy::Owner {
            let deleted = self.targets.delete_orphans(external_secret).await;
            for _ in 0..deleted.count {
                let note = "secret deleted because it was orphaned";
                self.record_event(external_secret, EventType::Normal, "Deleted", note)
                    .await;
            }
            if let Some(error) = deleted.error {
                return not_ready("could not delete orphaned secrets", api_message(&error), true);
            }
        }
        let applied = self.targets.apply(&work.key, external_secret, &values, binding).await;
        let applied = match applied {
            Ok(applied) => applied,
            Err(TargetError::Conflict) => return ReconcileResult::Conflict,
            Err(TargetError::Terminating) => return ReconcileResult::Terminating,
            Err(error) => {
                let (message, retry) = condition_for(&error);
                return not_ready(message, error.to_string(), retry);
            }
        };
        let event = match applied {
            Applied::Missing => {
                let message = "secret will not be created due to CreationPolicy=Merge";
                return ReconcileResult::Ready("SecretMissing", message);
            }
            Applied::Unchanged => None,
            Applied::Created => Some(("Created", "secret created")),
            Applied::Metadata | Applied::Data => Some(("Updated", "secret updated")),
        };
        if let Some((reason, note)) = event {
            self.record_event(external_secret, EventType::Normal, reason, note)
                .await;
        }
        if self.options.restart_workloads && matches!(applied, Applied::Data) {
            let namespaces = &self.informers.namespaces;
            restart::restart(&self.client, namespaces, external_secret, target_name(external_secret)).await;
        }
        ReconcileResult::Ready(SYNCED, "secret synced")
    }

    /// Deletes the Secret, because the provider has no values any more.
    async fn delete_secret(&self, external_secret: &ExternalSecret) -> ReconcileResult {
        const MESSAGE: &str = "could not delete secret";
        const DELETED: &str = "secret deleted due to DeletionPolicy=Delete";
        let policy = external_secret.spec.target.creation_policy;
        if policy != CreationPolicy::Owner {
            let (name, policy) = (target_name(external_secret), policy.word());
            let error = format!("unable to delete secret {name}: creationPolicy={policy} is not Owner");
            return not_ready(MESSAGE, error, false);
        }
        match self.targets.delete_owned(external_secret).await {
            Ok(was_deleted) => {
                if was_deleted {
                    self.record_event(external_secret, EventType::Normal, "Deleted", DELETED)
                        .await;
                }
                ReconcileResult::Ready("SecretDeleted", DELETED)
            }
            Err(error) => not_ready(MESSAGE, api_message(&error), true),
        }
    }

    /// Deletes the Secret of an ExternalSecret that is being deleted, if its deletion policy says so, and removes the
    /// finalizer.
    async fn cleanup(&self, work: &Work, external_secret: &ExternalSecret) -> Requeue {
        if is_managed_elsewhere(&self.informers.stores, external_secret) {
            // We may have added the finalizer while the ExternalSecret pointed at one of our stores. If not, the other
            // operator removes it.
            let has_finalizer = has_finalizer(&external_secret.metadata, FINALIZER);
            if !has_finalizer || !self.owns_finalizer(work).await {
                return Requeue::OnChange;
            }
        }
        self.fetcher.forget(&work.key);
        if external_secret.spec.target.deletion_policy == DeletionPolicy::Delete
            && let Err(error) = self.targets.delete_owned(external_secret).await
        {
            tracing::warn!(error = %api_message(&error), "the Secret could not be deleted");
            return Requeue::AfterFailure;
        }
        let removed = self.writer.set_finalizer(external_secret, FINALIZER, false).await;
        removed.err().unwrap_or(Requeue::OnChange)
    }

    async fn add_finalizer(&self, external_secret: &ExternalSecret) -> Result<(), Requeue> {
        self.writer.set_finalizer(external_secret, FINALIZER, true).await
    }

    /// Whether this operator has added the finalizer. External Secrets' own controller adds the same one, so the field
    /// manager tells them apart.
    async fn owns_finalizer(&self, work: &Work) -> bool {
        let api = self.writer.api(&work.key.namespace);
        // If the object can't be read, its next change triggers another reconcile.
        let Ok(Some(object)) = api.get_opt(&work.key.name).await else {
            return false;
        };
        let mut entries = object.metadata.managed_fields.into_iter().flatten();
        entries.any(|entry| {
            let has_finalizers = |fields: &FieldsV1| fields.0["f:metadata"]["f:finalizers"].is_object();
            entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.fields_v1.as_ref().is_some_and(has_finalizers)
        })
    }

    async fn record_event(&self, external_secret: &ExternalSecret, type_: EventType, reason: &str, note: &str) {
        let (resource, meta) = (self.writer.resource(), &external_secret.metadata);
        self.recorder.record(resource, meta, type_, reason, note).await;
    }
}

fn not_ready(message: &'static str, error: String, retry: bool) -> ReconcileResult {
    ReconcileResult::NotReady { message, error, retry }
}

/// The condition's message for an error, in External Secrets' words, and whether a retry can help.
fn condition_for(error: &TargetError) -> (&'static str, bool) {
    match error {
        TargetError::Immutable(_) => ("could not update secret, target is immutable", false),
        TargetError::Refused(error) | TargetError::Unchangeable(_, error) => match error {
            DesiredSecretError::OwnedByExternalSecret(_) => ("target is owned by another ExternalSecret", false),
            DesiredSecretError::OwnedByOther { .. } => ("failed to take ownership of target secret", false),
            DesiredSecretError::Template(_) | DesiredSecretError::TemplateTexts(_) => ("could not update secret", true),
        },
        _ => ("could not update secret", true),
    }
}

/// Whether another controller reconciles an ExternalSecret, because it uses a generator, or a store that this operator does
/// not serve. A store that does not exist belongs to no controller, so this operator reports its absence.
pub(crate) fn is_managed_elsewhere(stores: &Stores, external_secret: &ExternalSecret) -> bool {
    if external_secret.spec.uses_generators() {
        return true;
    }
    let namespace = external_secret.metadata.namespace.as_deref().unwrap_or_default();
    named_stores(external_secret).into_iter().any(|reference| {
        if reference.is_cluster() && !stores.use_cluster {
            return true;
        }
        let store = stores.get(reference, namespace);
        store.is_some_and(|store| !stores.serves(&store))
    })
}

/// The ExternalSecret, with the default store if it names none.
pub(crate) fn with_default_store(external_secret: &ExternalSecret, default_store: Option<&StoreRef>) -> ExternalSecret {
    let mut external_secret = external_secret.clone();
    let reference = external_secret.spec.secret_store_ref.as_ref();
    let names_store = reference.is_some_and(|reference| !reference.name.is_empty());
    if !names_store && let Some(default_store) = default_store {
        external_secret.spec.secret_store_ref = Some(default_store.clone());
    }
    external_secret
}
