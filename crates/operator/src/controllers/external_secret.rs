//! ExternalSecret: values of a store become a Secret.

mod due;
mod gather;
mod target;
mod windows;

use std::time::Instant;

use k8s_openapi::api::core::v1::LocalObjectReference;
use kube::runtime::events::EventType;
use sidevault_model::Timestamp;

use self::due::Due;
use self::gather::GatherError;
use self::target::{Applied, Change, TargetError};
use crate::hash;
use crate::names::FINALIZER;
use crate::operator::{Operator, is_conflict, is_not_found, now};
use crate::queue::{Outcome, Reason, Work};
use crate::restart;
use crate::secret::target_name;
use crate::types::{Condition, CreationPolicy, DeletionPolicy, ExternalSecret, StoreRef, condition};

pub(crate) use self::due::lane;
pub(super) use self::gather::sources;

const SYNCED: &str = "SecretSynced";
const FAILED: &str = "SecretSyncedError";

/// What a turn came to.
enum Verdict {
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
pub(crate) async fn reconcile(operator: &Operator, work: &Work) -> Outcome {
    let began = Instant::now();
    let outcome = turn(operator, work).await;
    match operator.informers.external_secrets.get(&work.key) {
        Some(_) => operator.metrics.external_secrets.reconciled(&work.key, began.elapsed()),
        None => operator.metrics.external_secrets.forget(&work.key),
    }
    if work.reason == Reason::Changed && work.asked > operator.started && outcome != Outcome::Failed {
        operator.metrics.event_lag.observe(work.asked.elapsed().as_secs_f64());
    }
    outcome
}

async fn turn(operator: &Operator, work: &Work) -> Outcome {
    let Some(seen) = operator.informers.external_secrets.get(&work.key) else {
        operator.uses().remove(&work.key);
        operator.verified().remove(&work.key);
        return Outcome::Done;
    };
    if seen.metadata.deletion_timestamp.is_some() {
        return take_leave(operator, work, &seen).await;
    }
    let external_secret = with_default_store(operator, &seen);
    if is_others(operator, &external_secret) {
        return Outcome::Done;
    }
    if let Some(outcome) = sign(operator, &seen).await {
        return outcome;
    }
    let due = Due::of(&external_secret, work.reason);
    if due == Due::No {
        match target::is_valid(operator, &work.key, &external_secret).await {
            Ok(true) => return due::next(&external_secret),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(external_secret = %work.key, %error, "the Secret could not be read");
                return Outcome::Failed;
            }
        }
    }
    let started = now();
    let mut status = external_secret.status.clone().unwrap_or_default();
    // An empty name stands for none; External Secrets writes it too.
    status.binding.get_or_insert_default();
    let verdict = sync(operator, work, &external_secret, &mut status.binding).await;
    let (condition, after) = match verdict {
        Verdict::Conflict => return Outcome::Again,
        Verdict::Going => return Outcome::Done,
        Verdict::Fine(reason, message) => {
            status.refresh_time = Some(started);
            status.synced_resource_version = Some(hash::resource_version(&external_secret.metadata));
            let mut done = external_secret.clone();
            done.status = Some(status.clone());
            (Condition::ready(true, reason, message), due::next(&done))
        }
        Verdict::Wrong { message, why, again } => {
            operator.metrics.external_secrets.failed(&work.key);
            tracing::warn!(external_secret = %work.key, error = %why, "{message}");
            note(operator, &external_secret, EventType::Warning, "UpdateFailed", &why).await;
            let after = if again { Outcome::Failed } else { Outcome::Done };
            (Condition::ready(false, FAILED, message), after)
        }
    };
    operator.metrics.external_secrets.condition(&work.key, &condition);
    let known = condition::ready(&status.conditions).map(|known| known.status.clone());
    if known.as_deref() != Some(condition.status.as_str()) && condition.status == "True" {
        tracing::info!(external_secret = %work.key, "reconciled secret");
    }
    condition.put_into(&mut status.conditions, &now());
    if seen.status.as_ref() == Some(&status) {
        return after;
    }
    match operator
        .write_status(&operator.served.external_secret, &work.key, &status)
        .await
    {
        Ok(object) => operator.informers.external_secrets.learn(object),
        Err(error) if is_not_found(&error) => return Outcome::Done,
        Err(error) if is_conflict(&error) => return Outcome::Again,
        Err(error) => {
            tracing::warn!(external_secret = %work.key, %error, "the status could not be written");
            return Outcome::Failed;
        }
    }
    after
}

/// Reads the values and makes the Secret.
async fn sync(
    operator: &Operator,
    work: &Work,
    external_secret: &ExternalSecret,
    binding: &mut Option<LocalObjectReference>,
) -> Verdict {
    let wrong = |message, why: String, again| Verdict::Wrong { message, why, again };
    let target = &external_secret.spec.target;
    if target.manifest.is_some() {
        let why = "spec.target.manifest: targets that are no Secrets are not supported".to_owned();
        return wrong("invalid generic target", why, false);
    }
    let (values, sources) = match gather::gather(operator, work, external_secret).await {
        Ok(gathered) => gathered,
        Err(GatherError::Values(why)) => return wrong("could not get secret data from provider", why, true),
        Err(GatherError::Sources(why)) => return wrong("could not update secret", why, true),
    };
    if values.is_empty() {
        match target.deletion_policy {
            DeletionPolicy::Delete => return delete(operator, external_secret).await,
            DeletionPolicy::Retain => return Verdict::Fine(SYNCED, "secret retained due to DeletionPolicy=Retain"),
            DeletionPolicy::Merge => {}
        }
    }
    if target.creation_policy == CreationPolicy::None {
        return Verdict::Fine(SYNCED, "secret synced");
    }
    if target.creation_policy == CreationPolicy::Owner
        && let Err(error) = target::delete_orphans(operator, external_secret).await
    {
        return wrong("could not delete orphaned secrets", error.to_string(), true);
    }
    match target::apply(operator, &work.key, external_secret, &values, &sources).await {
        Ok(Applied::Missing) => Verdict::Fine(
            "SecretMissing",
            "secret will not be created due to CreationPolicy=Merge",
        ),
        Ok(Applied::Done(change)) => {
            *binding = Some(LocalObjectReference {
                name: target_name(external_secret).to_owned(),
            });
            let event = match change {
                Change::None => None,
                Change::Created => Some(("Created", "secret created")),
                Change::Metadata | Change::Data => Some(("Updated", "secret updated")),
            };
            if let Some((reason, message)) = event {
                note(operator, external_secret, EventType::Normal, reason, message).await;
            }
            if operator.options.restart_workloads && matches!(change, Change::Data) {
                restart::restart(operator, external_secret, target_name(external_secret)).await;
            }
            Verdict::Fine(SYNCED, "secret synced")
        }
        Err(TargetError::Conflict) => Verdict::Conflict,
        Err(TargetError::Terminating) => Verdict::Going,
        Err(error) => {
            let (message, again) = match &error {
                TargetError::OwnedByExternalSecret(_) => ("target is owned by another ExternalSecret", false),
                TargetError::OwnedByOther(_) => ("failed to take ownership of target secret", false),
                TargetError::Immutable(_) => ("could not update secret, target is immutable", false),
                _ => ("could not update secret", true),
            };
            wrong(message, error.to_string(), again)
        }
    }
}

/// Deletes the Secret: the store has no values any more.
async fn delete(operator: &Operator, external_secret: &ExternalSecret) -> Verdict {
    const MESSAGE: &str = "could not delete secret";
    let wrong = |why: String, again| Verdict::Wrong {
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
                note(operator, external_secret, EventType::Normal, "Deleted", DELETED).await;
            }
            Verdict::Fine("SecretDeleted", DELETED)
        }
        Err(error) => wrong(error.to_string(), true),
    }
}

/// An ExternalSecret that is being deleted takes its Secret along, if it says so and owns it.
async fn take_leave(operator: &Operator, work: &Work, external_secret: &ExternalSecret) -> Outcome {
    let finalizers = external_secret.metadata.finalizers.as_deref().unwrap_or_default();
    if is_others(operator, external_secret) && !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        return Outcome::Done;
    }
    operator.uses().remove(&work.key);
    if external_secret.spec.target.deletion_policy == DeletionPolicy::Delete
        && let Err(error) = target::delete_owned(operator, external_secret).await
    {
        tracing::warn!(external_secret = %work.key, %error, "the Secret could not be deleted");
        return Outcome::Failed;
    }
    if finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        let rest: Vec<String> = finalizers
            .iter()
            .filter(|finalizer| *finalizer != FINALIZER)
            .cloned()
            .collect();
        let resource = &operator.served.external_secret;
        match operator
            .write_finalizers(resource, &external_secret.metadata, &rest)
            .await
        {
            Ok(_) => {}
            Err(error) if is_not_found(&error) => {}
            Err(error) if is_conflict(&error) => return Outcome::Again,
            Err(error) => {
                tracing::warn!(external_secret = %work.key, %error, "the finalizer could not be removed");
                return Outcome::Failed;
            }
        }
    }
    Outcome::Done
}

/// Puts the finalizer on, if it is not there. `Some` ends the turn.
async fn sign(operator: &Operator, external_secret: &ExternalSecret) -> Option<Outcome> {
    let mut finalizers = external_secret.metadata.finalizers.clone().unwrap_or_default();
    if finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        return None;
    }
    finalizers.push(FINALIZER.to_owned());
    let resource = &operator.served.external_secret;
    match operator
        .write_finalizers(resource, &external_secret.metadata, &finalizers)
        .await
    {
        Ok(object) => {
            operator.informers.external_secrets.learn(object);
            None
        }
        Err(error) if is_not_found(&error) => Some(Outcome::Done),
        Err(error) if is_conflict(&error) => Some(Outcome::Again),
        Err(error) => {
            tracing::warn!(%error, "the finalizer could not be added");
            Some(Outcome::Failed)
        }
    }
}

/// Reads what an ExternalSecret uses, only to know it; says when the latest of its items was changed.
///
/// # Errors
/// Says what can't be had.
pub(crate) async fn learn_uses(
    operator: &Operator,
    work: &Work,
    external_secret: &ExternalSecret,
) -> Result<Option<Timestamp>, String> {
    let external_secret = with_default_store(operator, external_secret);
    if is_others(operator, &external_secret) {
        return Ok(None);
    }
    let (_, changed_at) = gather::read(operator, work, &external_secret).await?;
    Ok(changed_at)
}

/// Whether another controller is to look at it: a store of another class or provider. A store that is not there is
/// nobody's, so that its absence is told.
fn is_others(operator: &Operator, external_secret: &ExternalSecret) -> bool {
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

async fn note(operator: &Operator, external_secret: &ExternalSecret, type_: EventType, reason: &str, message: &str) {
    let resource = &operator.served.external_secret;
    operator
        .recorder
        .write(resource, &external_secret.metadata, type_, reason, message)
        .await;
}
