//! SecretStore and ClusterSecretStore: checks that the server can be reached and has the store's vaults.

pub(crate) mod triggers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::runtime::events::EventType;

use super::Reconcile;
use super::push_secret::StoreFinalizer;
use crate::kube_ext::{ObjectWriter, now};
use crate::metrics::Metrics;
use crate::provider::{Connections, Freshness, ProviderError};
use crate::recorder::Recorder;
use crate::stores::Stores;
use crate::types::{Condition, Interval, Store, StoreSpec, StoreStatus, condition};
use crate::work::{Requeue, Work};

/// Checks stores of one kind: whether the server accepts the token and has every vault.
pub(crate) struct StoreReconciler {
    pub(crate) writer: ObjectWriter<StoreSpec, StoreStatus>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) metrics: Arc<Metrics>,
    /// Keeps a store from being deleted while a PushSecret needs it; `None` if PushSecrets are turned off.
    pub(crate) finalizer: Option<StoreFinalizer>,
    /// Whether this kind is checked at all.
    pub(crate) is_enabled: bool,
    /// How often to recheck stores that set no interval.
    pub(crate) default_interval: Duration,
}

impl Reconcile for StoreReconciler {
    async fn reconcile(&self, work: &Work) -> Requeue {
        let started_at = Instant::now();
        let metrics = match &*work.key.namespace {
            "" => &self.metrics.cluster_stores,
            _ => &self.metrics.stores,
        };
        let Some(store) = self.writer.informer().get(&work.key) else {
            metrics.forget(&work.key);
            return Requeue::OnChange;
        };
        if !self.is_enabled || !self.stores.serves(&store) {
            return Requeue::OnChange;
        }
        if let Some(finalizer) = &self.finalizer
            && let Some(requeue) = finalizer.update(&self.writer, &store).await
        {
            return requeue;
        }
        let checked = self.check(&store, work.requested_at).await;
        let condition = self.condition_for(&store, &checked).await;
        if checked.is_err() {
            metrics.failed(&work.key);
        }
        let mut status = store.status.clone().unwrap_or_default();
        if checked.is_ok() {
            status.capabilities = Some("ReadWrite".to_owned());
        }
        metrics.condition(&work.key, &condition);
        condition.put_into(&mut status.conditions, &now());
        metrics.reconciled(&work.key, store.metadata.labels.as_ref(), started_at.elapsed());
        // Not into the cache: the watch event with the new readiness triggers the objects that use the store.
        if let Err(requeue) = self.writer.write_status_uncached(&store, &status).await {
            return requeue;
        }
        if checked.is_err() {
            return Requeue::AfterFailure;
        }
        let interval = store.spec.refresh_interval.and_then(Interval::duration);
        Requeue::After(interval.unwrap_or(self.default_interval))
    }
}

impl StoreReconciler {
    /// The condition after a check. An event is recorded with each failure, and when the store becomes ready.
    async fn condition_for(&self, store: &Store, checked: &Result<(), ProviderError>) -> Condition {
        let (resource, meta) = (self.writer.resource(), &store.metadata);
        match checked {
            Ok(()) => {
                let (reason, message) = ("Valid", "store validated");
                let status = store.status.as_ref();
                if !status.is_some_and(|status| condition::is_ready(&status.conditions)) {
                    self.recorder
                        .record(resource, meta, EventType::Normal, reason, message)
                        .await;
                }
                Condition::ready(true, reason, message)
            }
            Err(error) => {
                tracing::warn!(%error, "the store can't be used");
                let reason = "InvalidProviderConfig";
                self.recorder
                    .record(resource, meta, EventType::Warning, reason, error.to_string())
                    .await;
                let message = match error {
                    ProviderError::Store(_) | ProviderError::Token(_) => "unable to create client",
                    _ => "unable to validate store",
                };
                Condition::ready(false, reason, message)
            }
        }
    }

    /// Asks the server for every vault of the store.
    ///
    /// # Errors
    /// The first vault that the server does not have, or why the server can't be asked.
    async fn check(&self, store: &Store, not_before: Instant) -> Result<(), ProviderError> {
        let connection = self.connections.of(store).await?;
        let freshness = Freshness {
            not_before,
            or_unchanged: false,
        };
        let vaults = store.spec.provider.onepassword.iter();
        for vault in vaults.flat_map(|config| config.vaults.keys()) {
            let result = connection.vault(vault, freshness).await;
            self.metrics.called("GetVault", result.is_ok());
            if let Err(error) = result {
                if error.is_denied() {
                    self.connections.forget_token(store);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}
