//! ExternalSecret: values of a store become a Secret.

mod fetch;
mod needs_refresh;
mod target;
mod windows;

use std::time::Instant;

use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::EventType;

use self::fetch::ProviderData;
use self::needs_refresh::{needs_refresh, next_refresh};
use self::target::{Applied, TargetError};
use super::cluster_external_secret;
use crate::api_error::api_message;
use crate::hash;
use crate::informer::IndexKey;
use crate::names::{FIELD_MANAGER, FINALIZER};
use crate::object_key::ObjectKey;
use crate::operator::{Operator, has_finalizer, now, store_key};
use crate::restart;
use crate::secret::{DesiredSecretError, target_name};
use crate::templates::TemplateKind;
use crate::types::{Condition, CreationPolicy, DeletionPolicy, ExternalSecret, StoreRef, condition};
use crate::work::{Requeue, Trigger, Work};

pub(crate) use self::fetch::SourceVersions;
pub(super) use self::fetch::sources;
pub(crate) use self::needs_refresh::concurrency_group;

const SYNCED: &str = "SecretSynced";
const FAILED: &str = "SecretSyncedError";

/// What a turn came to.
enum ReconcileResult {
    /// The condition is true, with this reason and message.
    Fine(&'static str, &'static str),
    /// It is false, with this message; the event tells `why`. Tried again after a while if that can help.
    Wrong {
        message: &'static str,
        why: String,
        again: bool,
    },
    /// Nothing is said; something changed meanwhile.
    Conflict,
    /// Nothing is said; the namespace is being deleted.
    Going,
}

/// Looks at an ExternalSecret.
pub(crate) async fn reconcile(operator: &Operator, work: &Work) -> Requeue {
    let began = Instant::now();
    let metrics = &operator.metrics.external_secrets;
    let Some(seen) = operator.informers.external_secrets.get(&work.key) else {
        operator.uses().remove(&work.key);
        operator.verified().remove(&work.key);
        metrics.forget(&work.key);
        return Requeue::OnChange;
    };
    let outcome = turn(operator, work, &seen).await;
    metrics.reconciled(&work.key, seen.metadata.labels.as_ref(), began.elapsed());
    if work.trigger == Trigger::SourceChanged
        && work.requested_at > operator.started
        && outcome != Requeue::AfterFailure
    {
        operator
            .metrics
            .event_lag
            .observe(work.requested_at.elapsed().as_secs_f64());
    }
    outcome
}

async fn turn(operator: &Operator, work: &Work, seen: &ExternalSecret) -> Requeue {
    if seen.metadata.deletion_timestamp.is_some() {
        return cleanup(operator, work, seen).await;
    }
    let external_secret = with_default_store(operator, seen);
    if is_managed_elsewhere(operator, &external_secret) {
        if external_secret.spec.uses_generators() {
            let why = "left to External Secrets: generators are not supported";
            record_event(operator, &external_secret, EventType::Normal, "Skipped", why).await;
        }
        return Requeue::OnChange;
    }
    if let Some(outcome) = sign(operator, seen, true).await {
        return outcome;
    }

    if !needs_refresh(&external_secret, work.trigger, Timestamp::now()) {
        match target::is_valid(operator, &work.key, &external_secret).await {
            Ok(true) => return next_refresh(&external_secret),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(external_secret = %work.key, error = %api_message(&error), "the Secret could not be read");
                return Requeue::AfterFailure;
            }
        }
    }
    let started = now();
    let mut status = external_secret.status.clone().unwrap_or_default();
    // An empty name stands for none; External Secrets writes it too.
    status.binding.get_or_insert_default();
    let verdict = sync(operator, work, &external_secret, &mut status.binding).await;
    let (condition, after) = match verdict {
        ReconcileResult::Conflict => return Requeue::AfterConflict,
        ReconcileResult::Going => return Requeue::OnChange,
        ReconcileResult::Fine(reason, message) => {
            status.refresh_time = Some(started);
            status.synced_resource_version = Some(hash::resource_version(&external_secret.metadata));
            let mut done = external_secret.clone();
            done.status = Some(status.clone());
            (Condition::ready(true, reason, message), next_refresh(&done))
        }
        ReconcileResult::Wrong { message, why, again } => {
            operator.metrics.external_secrets.failed(&work.key);
            tracing::warn!(external_secret = %work.key, error = %why, "{message}");
            record_event(operator, &external_secret, EventType::Warning, "UpdateFailed", &why).await;
            let after = if again {
                Requeue::AfterFailure
            } else {
                Requeue::OnChange
            };
            (Condition::ready(false, FAILED, message), after)
        }
    };
    operator.metrics.external_secrets.condition(&work.key, &condition);
    let known = condition::ready(&status.conditions).map(|known| known.status.clone());
    if known.as_deref() != Some(condition.status.as_str()) && condition.status == "True" {
        tracing::info!(external_secret = %work.key, "reconciled secret");
    }
    condition.put_into(&mut status.conditions, &now());
    let (informer, resource) = (&operator.informers.external_secrets, &operator.served.external_secret);
    let written = operator.write_status(Some(informer), resource, seen, &status).await;
    written.err().unwrap_or(after)
}

/// Reads the values and makes the Secret.
async fn sync(
    operator: &Operator,
    work: &Work,
    external_secret: &ExternalSecret,
    binding: &mut Option<LocalObjectReference>,
) -> ReconcileResult {
    let wrong = |message, why: String, again| ReconcileResult::Wrong { message, why, again };
    let target = &external_secret.spec.target;
    if target.manifest.is_some() {
        let why = "spec.target.manifest: targets that are no Secrets are not supported".to_owned();
        return wrong("invalid generic target", why, false);
    }
    let ProviderData { values, deleted, lost } = match fetch::fetch(operator, work, external_secret).await {
        Ok(data) => data,
        Err(why) => return wrong("could not get secret data from provider", why, true),
    };
    for what in &deleted {
        record_event(
            operator,
            external_secret,
            EventType::Normal,
            "MissingProviderSecret",
            what,
        )
        .await;
    }
    for what in &lost {
        record_event(operator, external_secret, EventType::Warning, "KeysLost", what).await;
    }
    if values.is_empty() {
        match target.deletion_policy {
            DeletionPolicy::Delete if !lost.is_empty() => {
                let why = "rewrites leave no key, though the provider has values: the Secret is not deleted".to_owned();
                return wrong("could not get secret data from provider", why, true);
            }
            DeletionPolicy::Delete => return delete(operator, external_secret).await,
            DeletionPolicy::Retain => {
                return ReconcileResult::Fine(SYNCED, "secret retained due to DeletionPolicy=Retain");
            }
            DeletionPolicy::Merge => {}
        }
    }
    if target.creation_policy == CreationPolicy::None {
        return ReconcileResult::Fine(SYNCED, "secret synced");
    }
    if target.creation_policy == CreationPolicy::Owner
        && let Err(error) = target::delete_orphans(operator, external_secret).await
    {
        return wrong("could not delete orphaned secrets", api_message(&error), true);
    }
    let applied = match target::apply(operator, &work.key, external_secret, &values, binding).await {
        Ok(applied) => applied,
        Err(TargetError::Conflict) => return ReconcileResult::Conflict,
        Err(TargetError::Terminating) => return ReconcileResult::Going,
        Err(error) => {
            let (message, again) = told(&error);
            return wrong(message, error.to_string(), again);
        }
    };
    let event = match applied {
        Applied::Missing => {
            let message = "secret will not be created due to CreationPolicy=Merge";
            return ReconcileResult::Fine("SecretMissing", message);
        }
        Applied::Unchanged => None,
        Applied::Created => Some(("Created", "secret created")),
        Applied::Metadata | Applied::Data => Some(("Updated", "secret updated")),
    };
    if let Some((reason, message)) = event {
        record_event(operator, external_secret, EventType::Normal, reason, message).await;
    }
    if operator.options.restart_workloads && matches!(applied, Applied::Data) {
        restart::restart(operator, external_secret, target_name(external_secret)).await;
    }
    ReconcileResult::Fine(SYNCED, "secret synced")
}

/// What the condition says of an error, and whether trying again can help.
fn told(error: &TargetError) -> (&'static str, bool) {
    match error {
        TargetError::Immutable(_) => ("could not update secret, target is immutable", false),
        TargetError::Refused(refusal) | TargetError::Unchangeable(_, refusal) => match refusal {
            DesiredSecretError::OwnedByExternalSecret(_) => ("target is owned by another ExternalSecret", false),
            DesiredSecretError::OwnedByOther { .. } => ("failed to take ownership of target secret", false),
            DesiredSecretError::Template(_) | DesiredSecretError::TemplateTexts(_) => ("could not update secret", true),
        },
        _ => ("could not update secret", true),
    }
}

/// Deletes the Secret: the store has no values any more.
async fn delete(operator: &Operator, external_secret: &ExternalSecret) -> ReconcileResult {
    const MESSAGE: &str = "could not delete secret";
    let wrong = |why: String, again| ReconcileResult::Wrong {
        message: MESSAGE,
        why,
        again,
    };
    let policy = external_secret.spec.target.creation_policy;
    if policy != CreationPolicy::Owner {
        let name = target_name(external_secret);
        return wrong(
            format!(
                "unable to delete secret {name}: creationPolicy={} is not Owner",
                policy.word()
            ),
            false,
        );
    }
    const DELETED: &str = "secret deleted due to DeletionPolicy=Delete";
    match target::delete_owned(operator, external_secret).await {
        Ok(deleted) => {
            if deleted {
                record_event(operator, external_secret, EventType::Normal, "Deleted", DELETED).await;
            }
            ReconcileResult::Fine("SecretDeleted", DELETED)
        }
        Err(error) => wrong(api_message(&error), true),
    }
}

/// An ExternalSecret that is being deleted takes its Secret along, if it says so and owns it.
async fn cleanup(operator: &Operator, work: &Work, external_secret: &ExternalSecret) -> Requeue {
    let is_signed = has_finalizer(&external_secret.metadata, FINALIZER);
    if is_managed_elsewhere(operator, external_secret) {
        // Its store was another when it was signed here, maybe; else whoever signed it takes care.
        match is_signed && owns_finalizer(operator, work).await {
            true => {}
            false => return Requeue::OnChange,
        }
    }
    operator.uses().remove(&work.key);
    if external_secret.spec.target.deletion_policy == DeletionPolicy::Delete
        && let Err(error) = target::delete_owned(operator, external_secret).await
    {
        tracing::warn!(external_secret = %work.key, error = %api_message(&error), "the Secret could not be deleted");
        return Requeue::AfterFailure;
    }
    sign(operator, external_secret, false)
        .await
        .unwrap_or(Requeue::OnChange)
}

/// Puts the finalizer on, or takes it off. `Some` ends the turn.
async fn sign(operator: &Operator, external_secret: &ExternalSecret, on: bool) -> Option<Requeue> {
    let (informer, resource) = (&operator.informers.external_secrets, &operator.served.external_secret);
    operator
        .set_finalizer(informer, resource, external_secret, FINALIZER, on)
        .await
        .err()
}

/// Whether the finalizer was put on by this operator: the real External Secrets has the same.
async fn owns_finalizer(operator: &Operator, work: &Work) -> bool {
    let api = operator.api(&operator.served.external_secret, &work.key.namespace);
    // One that can't be read now comes up again by the change that follows.
    let Ok(Some(object)) = api.get_opt(&work.key.name).await else {
        return false;
    };
    let mut writers = object.metadata.managed_fields.into_iter().flatten();
    writers.any(|writer| {
        let finalizers = |fields: &FieldsV1| fields.0["f:metadata"]["f:finalizers"].is_object();
        writer.manager.as_deref() == Some(FIELD_MANAGER) && writer.fields_v1.as_ref().is_some_and(finalizers)
    })
}

/// Reads what an ExternalSecret is made of, only to know it. `None` if it is another controller's, or can't be known now.
pub(crate) async fn source_versions(
    operator: &Operator,
    work: &Work,
    external_secret: &ExternalSecret,
) -> Option<SourceVersions> {
    let external_secret = with_default_store(operator, external_secret);
    match is_managed_elsewhere(operator, &external_secret) {
        true => None,
        false => fetch::source_versions(operator, work, &external_secret).await,
    }
}

/// Whether another controller is to look at it: a generator, or a store of another class or provider. A store that is
/// not there is nobody's, so that its absence is told.
fn is_managed_elsewhere(operator: &Operator, external_secret: &ExternalSecret) -> bool {
    if external_secret.spec.uses_generators() {
        return true;
    }
    let namespace = external_secret.metadata.namespace.as_deref().unwrap_or_default();
    stores(external_secret).into_iter().any(|reference| {
        if reference.is_cluster() && !operator.options.cluster_stores {
            return true;
        }
        let store = operator.store(reference, namespace);
        store.is_some_and(|store| !operator.is_own_class(&store) || store.spec.provider.onepassword.is_none())
    })
}

fn with_default_store(operator: &Operator, external_secret: &ExternalSecret) -> ExternalSecret {
    let mut external_secret = external_secret.clone();
    let named = external_secret
        .spec
        .secret_store_ref
        .as_ref()
        .is_some_and(|reference| !reference.name.is_empty());
    if !named && let Some(default) = &operator.options.default_store {
        external_secret.spec.secret_store_ref = Some(default.clone());
    }
    external_secret
}

/// What ExternalSecrets are to be found by.
pub(crate) fn index(key: &ObjectKey, external_secret: &ExternalSecret) -> Vec<IndexKey> {
    let named = stores(external_secret);
    let by_store = |store: &StoreRef| IndexKey::Store(store_key(store, &key.namespace));
    let mut ways: Vec<IndexKey> = match named.is_empty() {
        true => vec![IndexKey::Store(ObjectKey::new("", ""))],
        false => named.into_iter().map(by_store).collect(),
    };
    let target = target_name(external_secret);
    ways.extend(cluster_external_secret::owner(&external_secret.metadata).map(|owner| IndexKey::Parent(owner.into())));
    let template = external_secret.spec.target.template.iter();
    for from in template.flat_map(|template| &template.template_from) {
        let config_map = from
            .config_map
            .iter()
            .map(|reference| (TemplateKind::ConfigMap, reference));
        let secret = from.secret.iter().map(|reference| (TemplateKind::Secret, reference));
        let sources = config_map.chain(secret);
        ways.extend(sources.map(|(kind, reference)| {
            IndexKey::Template(kind, ObjectKey::new(key.namespace.clone(), reference.name.as_str()))
        }));
    }
    ways.push(IndexKey::Target(match target == &*key.name {
        true => key.clone(),
        false => ObjectKey::new(key.namespace.clone(), target),
    }));
    ways
}

/// All stores it names.
pub(crate) fn stores(external_secret: &ExternalSecret) -> Vec<&StoreRef> {
    let spec = &external_secret.spec;
    let of_data = spec.data.iter().map(|data| &data.source_ref);
    let of_many = spec.data_from.iter().map(|many| &many.source_ref);
    let others = of_data
        .chain(of_many)
        .flatten()
        .filter_map(|source| source.store_ref.as_ref());
    spec.secret_store_ref
        .iter()
        .chain(others)
        .filter(|reference| !reference.name.is_empty())
        .collect()
}

async fn record_event(
    operator: &Operator,
    external_secret: &ExternalSecret,
    type_: EventType,
    reason: &str,
    message: &str,
) {
    let resource = &operator.served.external_secret;
    operator
        .recorder
        .write(resource, &external_secret.metadata, type_, reason, message)
        .await;
}
