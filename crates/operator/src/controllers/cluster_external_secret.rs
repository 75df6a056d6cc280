//! ClusterExternalSecret: creates the same ExternalSecret in many namespaces.

mod namespaces;
mod owned;
pub(crate) mod triggers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;

pub(crate) use self::owned::owner;
use self::owned::{OwnedError, OwnedWriter};
use super::Reconcile;
use crate::api_error::api_message;
use crate::informers::Informers;
use crate::kube_ext::{ObjectWriter, has_finalizer};
use crate::metrics::Metrics;
use crate::types::{
    ClusterExternalSecret, ClusterExternalSecretSpec, ClusterExternalSecretStatus, Condition, FailedNamespace,
    GoDuration,
};
use crate::work::{Requeue, Work};

/// How often a ClusterExternalSecret that sets no `refreshTime` is reconciled.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(3600);
/// External Secrets 2.x adds this finalizer. This operator does not, because the API server deletes what an object owns.
const FINALIZER: &str = "externalsecrets.external-secrets.io/clusterexternalsecret-cleanup";

/// Creates the same ExternalSecret in many namespaces.
pub(crate) struct ClusterExternalSecretReconciler {
    pub(crate) client: Client,
    pub(crate) writer: ObjectWriter<ClusterExternalSecretSpec, ClusterExternalSecretStatus>,
    pub(crate) informers: Arc<Informers>,
    /// The version of ExternalSecrets that the API server has.
    pub(crate) external_secret: kube::core::ApiResource,
    pub(crate) metrics: Arc<Metrics>,
}

/// What a reconcile has achieved.
#[derive(Default)]
struct Provisioned {
    /// The namespaces that have their ExternalSecret.
    namespaces: BTreeSet<String>,
    /// The namespaces that lack their ExternalSecret, or have one too many.
    failures: BTreeMap<String, OwnedError>,
    /// Why the selected namespaces can't be computed.
    selector_error: Option<String>,
    /// Whether a finalizer of External Secrets could not be removed from a namespace.
    finalizer_left: bool,
}

impl Reconcile for ClusterExternalSecretReconciler {
    async fn reconcile(&self, work: &Work) -> Requeue {
        let started_at = Instant::now();
        let metrics = &self.metrics.cluster_external_secrets;
        let Some(ces) = self.informers.cluster_external_secrets.get(&work.key) else {
            metrics.forget(&work.key);
            return self.release_namespaces_of_deleted(&work.key.name).await;
        };
        if ces.metadata.deletion_timestamp.is_some() {
            return self.cleanup(&ces).await;
        }
        let requeue = self.provision(work, &ces).await;
        metrics.reconciled(&work.key, ces.metadata.labels.as_ref(), started_at.elapsed());
        requeue
    }
}

impl ClusterExternalSecretReconciler {
    /// Removes External Secrets' finalizer from all namespaces, if the ClusterExternalSecret no longer exists. An object that
    /// does not fit the resource definition is not cached either, but exists.
    async fn release_namespaces_of_deleted(&self, name: &str) -> Requeue {
        match self.writer.api("").get_metadata_opt(name).await {
            Ok(Some(_)) => return Requeue::OnChange,
            Ok(None) => {}
            Err(error) => return failed(&api_message(&error)),
        }
        match namespaces::release(&self.client, &self.informers.namespaces, name, |_| true).await {
            Ok(()) => Requeue::OnChange,
            Err(error) => failed(&api_message(&error)),
        }
    }

    async fn provision(&self, work: &Work, ces: &ClusterExternalSecret) -> Requeue {
        let provisioned = match namespaces::selected(&self.informers.namespaces, &ces.spec) {
            Ok(selected) => self.write_external_secrets(ces, selected).await,
            Err(error) => Provisioned {
                selector_error: Some(error),
                ..Provisioned::default()
            },
        };
        let has_conflict = provisioned.failures.values().any(OwnedError::is_conflict);
        let can_retry = provisioned.finalizer_left || provisioned.failures.values().any(OwnedError::may_pass);
        let status = status_for(ces, provisioned);
        let metrics = &self.metrics.cluster_external_secrets;
        for condition in &status.conditions {
            metrics.condition(&work.key, condition);
        }
        for failed in &status.failed_namespaces {
            metrics.failed(&work.key);
            let (namespace, reason) = (&failed.namespace, &failed.reason);
            tracing::warn!(namespace, reason, "the namespace could not be provisioned");
        }
        if let Err(requeue) = self.writer.write_status(ces, &status).await {
            return requeue;
        }
        if has_conflict {
            Requeue::AfterConflict
        } else if can_retry {
            Requeue::AfterFailure
        } else {
            next_refresh(ces)
        }
    }

    /// Writes an ExternalSecret into each selected namespace, and deletes those in other namespaces or with another name.
    async fn write_external_secrets(&self, ces: &ClusterExternalSecret, selected: BTreeSet<String>) -> Provisioned {
        let (name, owned_name) = (name(ces), external_secret_name(ces));
        let owned = self.owned_writer(ces);
        let mut provisioned = Provisioned::default();
        // Delete first: an ExternalSecret under another name writes the same Secret.
        for key in owned.all() {
            let is_wanted = *key.name == *owned_name && selected.contains(&*key.namespace);
            if is_wanted || provisioned.failures.contains_key(&*key.namespace) {
                continue;
            }
            if let Err(error) = owned.delete(&key).await {
                provisioned.failures.insert(key.namespace.to_string(), error);
            }
        }
        for namespace in selected {
            if provisioned.failures.contains_key(&namespace) {
                continue;
            }
            match owned.apply(&namespace, owned_name).await {
                Ok(()) => drop(provisioned.namespaces.insert(namespace)),
                Err(error) => drop(provisioned.failures.insert(namespace, error)),
            }
        }
        let is_released = |namespace: &str| {
            !provisioned.namespaces.contains(namespace) && !provisioned.failures.contains_key(namespace)
        };
        let released = namespaces::release(&self.client, &self.informers.namespaces, name, is_released).await;
        if let Err(error) = released {
            let error = api_message(&error);
            tracing::warn!(%error, "a finalizer could not be removed from a namespace");
            provisioned.finalizer_left = true;
        }
        provisioned
    }

    /// Deletes the ExternalSecrets of a ClusterExternalSecret that is being deleted. Only one with External Secrets' finalizer
    /// waits for that.
    async fn cleanup(&self, ces: &ClusterExternalSecret) -> Requeue {
        if !has_finalizer(&ces.metadata, FINALIZER) {
            return Requeue::OnChange;
        }
        let owned = self.owned_writer(ces);
        for key in owned.all() {
            if let Err(error) = owned.delete(&key).await {
                return failed(&error);
            }
        }
        let released = namespaces::release(&self.client, &self.informers.namespaces, name(ces), |_| true).await;
        if let Err(error) = released {
            return failed(&api_message(&error));
        }
        let removed = self.writer.set_finalizer(ces, FINALIZER, false).await;
        removed.err().unwrap_or(Requeue::OnChange)
    }

    fn owned_writer<'a>(&'a self, ces: &'a ClusterExternalSecret) -> OwnedWriter<'a> {
        OwnedWriter {
            client: &self.client,
            external_secrets: &self.informers.external_secrets,
            resource: &self.external_secret,
            owner: ces,
            owner_resource: self.writer.resource(),
        }
    }
}

/// The status after a reconcile.
fn status_for(ces: &ClusterExternalSecret, provisioned: Provisioned) -> ClusterExternalSecretStatus {
    let mut status = ces.status.clone().unwrap_or_default();
    let Provisioned {
        mut namespaces,
        failures,
        selector_error,
        ..
    } = provisioned;
    match selector_error {
        Some(reason) => {
            let namespace = "unknown".to_owned();
            status.failed_namespaces = vec![FailedNamespace { namespace, reason }];
        }
        None => {
            // An ExternalSecret that could not be deleted or read may still exist.
            let before = status.provisioned_namespaces.iter();
            let may_exist = before.filter(|name| failures.get(*name).is_some_and(OwnedError::may_pass));
            namespaces.extend(may_exist.cloned());
            status.provisioned_namespaces = namespaces.into_iter().collect();
            let failure = |(namespace, error): (String, OwnedError)| FailedNamespace {
                namespace,
                reason: error.to_string(),
            };
            status.failed_namespaces = failures.into_iter().map(failure).collect();
            status.external_secret_name = external_secret_name(ces).to_owned();
        }
    }
    let condition = condition_for(&status.failed_namespaces);
    status.conditions.retain(|known| known.type_ != condition.type_);
    status.conditions.push(condition);
    status
}

fn failed(error: &dyn std::fmt::Display) -> Requeue {
    tracing::warn!(%error, "the ClusterExternalSecret could not be reconciled");
    Requeue::AfterFailure
}

/// The condition. External Secrets gives it neither a reason nor a time.
fn condition_for(failed_namespaces: &[FailedNamespace]) -> Condition {
    let is_ready = failed_namespaces.is_empty();
    Condition {
        reason: None,
        message: (!is_ready).then(|| "one or more namespaces failed".to_owned()),
        ..Condition::ready(is_ready, "", "")
    }
}

/// When the next periodic reconcile is; never with an interval of zero.
fn next_refresh(ces: &ClusterExternalSecret) -> Requeue {
    match ces.spec.refresh_interval {
        None => Requeue::After(DEFAULT_INTERVAL),
        Some(GoDuration(interval)) if interval.is_zero() => Requeue::OnChange,
        Some(GoDuration(interval)) => Requeue::After(interval),
    }
}

fn name(ces: &ClusterExternalSecret) -> &str {
    ces.metadata.name.as_deref().unwrap_or_default()
}

/// The name of the ExternalSecrets.
fn external_secret_name(ces: &ClusterExternalSecret) -> &str {
    match ces.spec.external_secret_name.as_str() {
        "" => name(ces),
        name => name,
    }
}
