//! The mode that writes no Secrets (`--poke-only`): when an item changes, the ExternalSecrets that use it get a new value of
//! the annotation `force-sync`, and a stock External Secrets reads them at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::Reconcile;
use super::external_secret::{Fetcher, is_managed_elsewhere, with_default_store};
use crate::api_error::api_message;
use crate::informers::Informers;
use crate::kube_ext::{ObjectWriter, is_not_found};
use crate::metrics::Metrics;
use crate::types::{ExternalSecret, ExternalSecretSpec, ExternalSecretStatus, GoDuration, StoreRef};
use crate::work::{Requeue, Trigger, Work};

/// The annotation that people and guides use. External Secrets acts on a change of any annotation.
const ANNOTATION: &str = "force-sync";
/// The beginning of the annotation's value. The rest is a hash of the versions that the ExternalSecret uses, so after a
/// restart, too, the value tells whether a version has changed since it was set.
const PREFIX: &str = "sidevault-";
/// How long until versions that could not be read are read again. This is no failure to the queue, because a reconcile after
/// a failure sets the annotation once more.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// How far the clocks of the server and of External Secrets may be apart. Setting the annotation once too often costs one
/// read.
const CLOCK_SKEW: Duration = Duration::from_secs(2);

/// Sets the annotation `force-sync` on ExternalSecrets whose items have changed.
pub(crate) struct ForceSyncReconciler {
    pub(crate) writer: ObjectWriter<ExternalSecretSpec, ExternalSecretStatus>,
    pub(crate) fetcher: Arc<Fetcher>,
    pub(crate) informers: Arc<Informers>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) default_store: Option<StoreRef>,
    /// When the initial lists were requested (operator start).
    pub(crate) started_at: Instant,
}

impl Reconcile for ForceSyncReconciler {
    async fn reconcile(&self, work: &Work) -> Requeue {
        let Some(external_secret) = self.informers.external_secrets.get(&work.key) else {
            self.fetcher.forget(&work.key);
            return Requeue::OnChange;
        };
        let spec = &external_secret.spec;
        // An ExternalSecret that is read once, or when it changes, must not be made to read again.
        let is_refreshed = spec.is_periodic()
            && spec
                .refresh_interval
                .is_none_or(|GoDuration(interval)| !interval.is_zero());
        if !is_refreshed || external_secret.metadata.deletion_timestamp.is_some() {
            return Requeue::OnChange;
        }
        let with_store = with_default_store(&external_secret, self.default_store.as_ref());
        if is_managed_elsewhere(&self.informers.stores, &with_store) {
            // A store may become ours.
            return Requeue::After(READ_AGAIN);
        }
        let Some(versions) = self.fetcher.source_versions(work, &with_store).await else {
            return Requeue::After(READ_AGAIN);
        };
        let value = format!("{PREFIX}{}", versions.hash);
        let annotations = external_secret.metadata.annotations.as_ref();
        let needs_sync = match annotations.and_then(|annotations| annotations.get(ANNOTATION)) {
            Some(current) if *current == value => false,
            Some(current) if current.starts_with(PREFIX) => true,
            // The annotation was never set, or somebody else has set it since.
            _ => self.is_event(work) || is_behind(&external_secret, versions.changed_at),
        };
        if needs_sync {
            self.force_sync(work, &value).await
        } else {
            Requeue::OnChange
        }
    }
}

impl ForceSyncReconciler {
    /// Whether an event of the server caused the reconcile. At the start all objects are queued as if their source had
    /// changed.
    fn is_event(&self, work: &Work) -> bool {
        work.trigger >= Trigger::Retry && work.requested_at > self.started_at
    }

    async fn force_sync(&self, work: &Work, value: &str) -> Requeue {
        let patch = json!({ "metadata": { "annotations": { ANNOTATION: value } } });
        let api = self.writer.api(&work.key.namespace);
        let written = api
            .patch(&work.key.name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        match written {
            Ok(_) => {
                if work.trigger == Trigger::SourceChanged && self.is_event(work) {
                    self.metrics.event_applied(work.requested_at);
                }
                tracing::info!("set the annotation force-sync");
                Requeue::OnChange
            }
            Err(error) if is_not_found(&error) => Requeue::OnChange,
            Err(error) => {
                tracing::warn!(error = %api_message(&error), "the annotation force-sync could not be set");
                Requeue::AfterFailure
            }
        }
    }
}

/// Whether an item was changed after External Secrets has read the values.
fn is_behind(external_secret: &ExternalSecret, changed_at: Option<sidevault_model::Timestamp>) -> bool {
    let status = external_secret.status.as_ref();
    let refreshed = status.and_then(|status| status.refresh_time.as_ref());
    let changed_at = changed_at.and_then(|at| Timestamp::from_millisecond(at.as_millis()).ok());
    match (refreshed, changed_at) {
        (Some(Time(refreshed)), Some(changed_at)) => changed_at + CLOCK_SKEW >= *refreshed,
        // External Secrets reads new objects without an annotation.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_secret_is_behind_when_an_item_changed_after_it_was_read() {
        let behind = |refreshed: &str, changed: &str| {
            let external_secret = serde_json::from_value(json!({
                "metadata": { "name": "a" }, "spec": {}, "status": { "refreshTime": refreshed },
            }));
            is_behind(&external_secret.unwrap(), sidevault_model::Timestamp::parse(changed))
        };
        let (nine, ten) = ("2026-01-01T09:00:00Z", "2026-01-01T10:00:00Z");
        assert!(behind(nine, ten) && !behind(ten, nine));
        assert!(behind(ten, ten), "times in a status have no fraction of a second");
    }
}
