//! PushSecret: values of a Secret are written to stores.

mod plan;
mod source;
mod stores;
mod sync;
mod wake;
mod write;

use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use kube::core::ApiResource;
use kube::runtime::events::EventType;

use self::sync::{ReconcileResult, managed_elsewhere, sync, withdraw};
use crate::controllers::refresh;
use crate::hash;
use crate::operator::{Operator, has_finalizer, now};
use crate::types::{Condition, PushDeletionPolicy, PushSecret, PushSecretStatus, UpdatePolicy, condition};
use crate::work::{Requeue, Work};

pub(crate) use self::stores::{hold, index};
pub(crate) use self::wake::{of_store, seen};

/// On PushSecrets whose values go with them.
const FINALIZER: &str = "pushsecret.externalsecrets.io/finalizer";
const SOURCE_DELETED: &str = "SourceDeleted";
const ERRORED: &str = "Errored";

/// Looks at a PushSecret.
pub(crate) async fn reconcile(operator: &Operator, work: &Work) -> Requeue {
    let began = Instant::now();
    let Some(resource) = &operator.served.push_secret else {
        return Requeue::OnChange;
    };
    let metrics = &operator.metrics.push_secrets;
    let Some(seen) = operator.informers.push_secrets.get(&work.key) else {
        metrics.forget(&work.key);
        return Requeue::OnChange;
    };
    let outcome = turn(operator, resource, work, &seen).await;
    metrics.reconciled(&work.key, seen.metadata.labels.as_ref(), began.elapsed());
    outcome
}

async fn turn(operator: &Operator, resource: &ApiResource, work: &Work, push_secret: &PushSecret) -> Requeue {
    let stores = stores::all(operator, push_secret);
    if stores
        .as_ref()
        .is_ok_and(|stores| stores::are_managed_elsewhere(operator, stores))
    {
        return Requeue::OnChange;
    }
    if push_secret.metadata.deletion_timestamp.is_some() {
        return cleanup(operator, resource, work, push_secret).await;
    }
    let deletes = push_secret.spec.deletion_policy == PushDeletionPolicy::Delete;
    let informer = &operator.informers.push_secrets;
    if let Err(outcome) = operator
        .set_finalizer(informer, resource, push_secret, FINALIZER, deletes)
        .await
    {
        return outcome;
    }
    if !is_due(push_secret, Timestamp::now()) {
        return next(push_secret, push_secret.status.as_ref());
    }
    let started = now();
    let mut status = push_secret.status.clone().unwrap_or_default();
    let verdict = sync(operator, push_secret, stores, &mut status).await;
    let outcome = conclude(operator, resource, work, push_secret, verdict, &mut status, started).await;
    match operator
        .write_status(Some(informer), resource, push_secret, &status)
        .await
    {
        Ok(()) => {
            stores::wake_after(operator, push_secret);
            outcome
        }
        Err(outcome) => outcome,
    }
}

/// Puts the verdict into the status, and says when it comes up again.
async fn conclude(
    operator: &Operator,
    resource: &ApiResource,
    work: &Work,
    push_secret: &PushSecret,
    verdict: ReconcileResult,
    status: &mut PushSecretStatus,
    started: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time,
) -> Requeue {
    let known = condition::ready(&status.conditions).cloned();
    let (condition, type_, is_news, outcome) = match verdict {
        ReconcileResult::Synced(changed) => {
            let message = match push_secret.spec.update_policy {
                UpdatePolicy::Replace => "PushSecret synced successfully",
                UpdatePolicy::IfNotExists => "PushSecret synced successfully. Existing secrets in providers unchanged.",
            };
            status.refresh_time = Some(started);
            status.synced_resource_version = Some(hash::resource_version(&push_secret.metadata));
            let after = next(push_secret, Some(status));
            (
                Condition::ready(true, "Synced", message),
                EventType::Normal,
                changed,
                after,
            )
        }
        ReconcileResult::SourceDeleted => {
            let message = "source secret deleted; provider secrets cleaned up";
            let interval = refresh::interval(push_secret.spec.refresh_interval);
            // It may be there again then.
            let after = if interval.is_zero() {
                Requeue::OnChange
            } else {
                Requeue::After(interval)
            };
            (
                Condition::ready(false, SOURCE_DELETED, message),
                EventType::Normal,
                false,
                after,
            )
        }
        ReconcileResult::NoStore => return Requeue::OnChange,
        ReconcileResult::Errored(message) => {
            operator.metrics.push_secrets.failed(&work.key);
            tracing::warn!(push_secret = %work.key, error = %message, "the values could not be pushed");
            (
                Condition::ready(false, ERRORED, message),
                EventType::Warning,
                true,
                Requeue::AfterFailure,
            )
        }
    };
    operator.metrics.push_secrets.condition(&work.key, &condition);
    let says_the_same =
        known.is_some_and(|known| known.reason == condition.reason && known.message == condition.message);
    if is_news || !says_the_same {
        let reason = condition.reason.clone().unwrap_or_default();
        let message = condition.message.clone().unwrap_or_default();
        operator
            .recorder
            .write(resource, &push_secret.metadata, type_, &reason, message)
            .await;
    }
    condition.put_into(&mut status.conditions, &now());
    outcome
}

/// A PushSecret that is being deleted takes its values along, if it says so.
async fn cleanup(operator: &Operator, resource: &ApiResource, work: &Work, push_secret: &PushSecret) -> Requeue {
    let informer = &operator.informers.push_secrets;
    if !has_finalizer(&push_secret.metadata, FINALIZER) {
        return Requeue::OnChange;
    }
    if push_secret.spec.deletion_policy == PushDeletionPolicy::Delete {
        let mut status = push_secret.status.clone().unwrap_or_default();
        let namespace = &work.key.namespace;
        let others = managed_elsewhere(operator, namespace, &status.synced_push_secrets);
        let withdrawn = withdraw(operator, namespace, &mut status.synced_push_secrets, &others).await;
        let left = others.keys().next();
        let error = withdrawn
            .err()
            .or(left.map(|store| format!("{store} is another controller's")));
        if let Some(error) = error {
            let verdict = ReconcileResult::Errored(format!("Failed to Delete Secrets from Provider: {error}"));
            let outcome = conclude(operator, resource, work, push_secret, verdict, &mut status, now()).await;
            let written = operator
                .write_status(Some(informer), resource, push_secret, &status)
                .await;
            return written.err().unwrap_or(outcome);
        }
    }
    let written = operator
        .set_finalizer(informer, resource, push_secret, FINALIZER, false)
        .await;
    written.err().unwrap_or(Requeue::OnChange)
}

fn is_due(push_secret: &PushSecret, now: Timestamp) -> bool {
    let Some(status) = &push_secret.status else {
        return true;
    };
    let synced = status.synced_resource_version.as_deref().unwrap_or_default();
    if synced != hash::resource_version(&push_secret.metadata) {
        return true;
    }
    // A failure is tried again, whatever was so before.
    if condition::ready(&status.conditions).is_some_and(|ready| ready.reason.as_deref() == Some(ERRORED)) {
        return true;
    }
    let interval = refresh::interval(push_secret.spec.refresh_interval);
    if interval.is_zero() {
        return false;
    }
    refresh::has_passed(interval, status.refresh_time.as_ref(), now)
}

/// When it comes up again by itself.
fn next(push_secret: &PushSecret, status: Option<&PushSecretStatus>) -> Requeue {
    let refreshed = status.and_then(|status| status.refresh_time.as_ref());
    refresh::next(refresh::interval(push_secret.spec.refresh_interval), refreshed)
}

#[cfg(test)]
mod tests;
