//! ClusterExternalSecret: the same ExternalSecret in many namespaces.

mod namespaces;
mod owned;
mod wake;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kube::core::ApiResource;

use self::owned::OwnedError;
use crate::api_error::api_message;
use crate::operator::{Operator, has_finalizer};
use crate::types::{ClusterExternalSecret, ClusterExternalSecretStatus, Condition, FailedNamespace, GoDuration};
use crate::work::{Requeue, Work};

pub(crate) use self::owned::owner;
pub(crate) use self::wake::{of_namespace, of_owned, seen};

/// How often one is looked at that says nothing of it itself.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(3600);
/// On ClusterExternalSecrets (External Secrets 2.x). Not put on here: the API server deletes what an object owns.
const FINALIZER: &str = "externalsecrets.external-secrets.io/clusterexternalsecret-cleanup";

/// Looks at a ClusterExternalSecret.
pub(crate) async fn reconcile(operator: &Operator, work: &Work) -> Requeue {
    let began = Instant::now();
    let metrics = &operator.metrics.cluster_external_secrets;
    let Some(resource) = &operator.served.cluster_external_secret else {
        return Requeue::OnChange;
    };
    match operator.informers.cluster_external_secrets.get(&work.key) {
        None => {
            metrics.forget(&work.key);
            let name = &work.key.name;
            // One that can't be read is not known here either; only what is gone lets its namespaces go.
            match operator.api(resource, "").get_metadata_opt(name).await {
                Ok(Some(_)) => return Requeue::OnChange,
                Ok(None) => {}
                Err(error) => return failed(name, &api_message(&error)),
            }
            match namespaces::release(operator, name, |_| true).await {
                Ok(()) => Requeue::OnChange,
                Err(error) => failed(name, &api_message(&error)),
            }
        }
        Some(ces) if ces.metadata.deletion_timestamp.is_some() => cleanup(operator, resource, &ces).await,
        Some(ces) => {
            let outcome = provision(operator, resource, work, &ces).await;
            metrics.reconciled(&work.key, ces.metadata.labels.as_ref(), began.elapsed());
            outcome
        }
    }
}

/// What a turn came to.
#[derive(Default)]
struct Provisioned {
    /// Where there is one.
    namespaces: BTreeSet<String>,
    /// Where there is none, or one too many.
    failures: BTreeMap<String, OwnedError>,
    /// Why it can't be told where there should be one.
    unknown: Option<String>,
    /// A namespace could not be let go.
    held: bool,
}

async fn provision(operator: &Operator, resource: &ApiResource, work: &Work, ces: &ClusterExternalSecret) -> Requeue {
    let done = match namespaces::selected(operator, &ces.spec) {
        Ok(selected) => make(operator, ces, selected).await,
        Err(why) => Provisioned {
            unknown: Some(why),
            ..Provisioned::default()
        },
    };
    let conflict = done.failures.values().any(OwnedError::is_conflict);
    let again = done.held || done.failures.values().any(OwnedError::may_pass);
    let status = told(ces, done);
    let metrics = &operator.metrics.cluster_external_secrets;
    for condition in &status.conditions {
        metrics.condition(&work.key, condition);
    }
    for failed in &status.failed_namespaces {
        metrics.failed(&work.key);
        let (namespace, reason) = (&failed.namespace, &failed.reason);
        tracing::warn!(
            cluster_external_secret = %work.key,
            namespace,
            reason,
            "the namespace could not be provisioned"
        );
    }
    let informer = &operator.informers.cluster_external_secrets;
    if let Err(outcome) = operator.write_status(Some(informer), resource, ces, &status).await {
        return outcome;
    }
    match (conflict, again) {
        (true, _) => Requeue::AfterConflict,
        (_, true) => Requeue::AfterFailure,
        _ => next(ces),
    }
}

/// Makes an ExternalSecret in each selected namespace, and leaves none elsewhere, nor one of another name.
async fn make(operator: &Operator, ces: &ClusterExternalSecret, selected: BTreeSet<String>) -> Provisioned {
    let (name, wanted) = (name(ces), external_secret_name(ces));
    let mut done = Provisioned::default();
    // The old ones first: they make the same Secrets.
    for key in owned::all(operator, ces) {
        if (*key.name == *wanted && selected.contains(&*key.namespace)) || done.failures.contains_key(&*key.namespace) {
            continue;
        }
        if let Err(error) = owned::delete(operator, &key, name).await {
            done.failures.insert(key.namespace.to_string(), error);
        }
    }
    for namespace in selected {
        if done.failures.contains_key(&namespace) {
            continue;
        }
        match owned::apply(operator, ces, &namespace, wanted).await {
            Ok(()) => drop(done.namespaces.insert(namespace)),
            Err(error) => drop(done.failures.insert(namespace, error)),
        }
    }
    let selected_still = |namespace: &str| done.namespaces.contains(namespace) || done.failures.contains_key(namespace);
    if let Err(error) = namespaces::release(operator, name, |namespace| !selected_still(namespace)).await {
        let error = api_message(&error);
        tracing::warn!(cluster_external_secret = name, %error, "a namespace's finalizer could not be removed");
        done.held = true;
    }
    done
}

/// The status after a turn.
fn told(ces: &ClusterExternalSecret, done: Provisioned) -> ClusterExternalSecretStatus {
    let mut status = ces.status.clone().unwrap_or_default();
    let mut namespaces = done.namespaces;
    match done.unknown {
        Some(reason) => {
            let namespace = "unknown".to_owned();
            status.failed_namespaces = vec![FailedNamespace { namespace, reason }];
        }
        None => {
            // What could not be deleted, or was there before it could not be looked at, is still there.
            let known = status.provisioned_namespaces.iter();
            let failed_known = known.filter(|known| done.failures.get(*known).is_some_and(OwnedError::may_pass));
            namespaces.extend(failed_known.cloned());
            status.provisioned_namespaces = namespaces.into_iter().collect();
            let failure = |(namespace, error): (String, OwnedError)| FailedNamespace {
                namespace,
                reason: error.to_string(),
            };
            status.failed_namespaces = done.failures.into_iter().map(failure).collect();
            status.external_secret_name = external_secret_name(ces).to_owned();
        }
    }
    let condition = condition(status.failed_namespaces.is_empty());
    status.conditions.retain(|known| known.type_ != condition.type_);
    status.conditions.push(condition);
    status
}

/// One that is being deleted. Only one that External Secrets put its finalizer on waits for this.
async fn cleanup(operator: &Operator, resource: &ApiResource, ces: &ClusterExternalSecret) -> Requeue {
    let name = name(ces);
    if !has_finalizer(&ces.metadata, FINALIZER) {
        return Requeue::OnChange;
    }
    for key in owned::all(operator, ces) {
        if let Err(error) = owned::delete(operator, &key, name).await {
            return failed(name, &error);
        }
    }
    if let Err(error) = namespaces::release(operator, name, |_| true).await {
        return failed(name, &api_message(&error));
    }
    let informer = &operator.informers.cluster_external_secrets;
    let written = operator.set_finalizer(informer, resource, ces, FINALIZER, false).await;
    written.err().unwrap_or(Requeue::OnChange)
}

fn failed(name: &str, error: &dyn std::fmt::Display) -> Requeue {
    tracing::warn!(cluster_external_secret = name, %error, "the ClusterExternalSecret could not be worked at");
    Requeue::AfterFailure
}

/// External Secrets gives these neither a reason nor a time.
fn condition(fine: bool) -> Condition {
    Condition {
        reason: None,
        message: (!fine).then(|| "one or more namespaces failed".to_owned()),
        ..Condition::ready(fine, "", "")
    }
}

fn next(ces: &ClusterExternalSecret) -> Requeue {
    match ces.spec.refresh_interval {
        None => Requeue::After(DEFAULT_INTERVAL),
        Some(GoDuration(interval)) if interval.is_zero() => Requeue::OnChange,
        Some(GoDuration(interval)) => Requeue::After(interval),
    }
}

fn name(ces: &ClusterExternalSecret) -> &str {
    ces.metadata.name.as_deref().unwrap_or_default()
}

/// The ExternalSecrets' name.
fn external_secret_name(ces: &ClusterExternalSecret) -> &str {
    match ces.spec.external_secret_name.as_str() {
        "" => name(ces),
        name => name,
    }
}
