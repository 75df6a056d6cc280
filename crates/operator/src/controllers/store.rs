//! SecretStore and ClusterSecretStore: are they usable?

use std::time::Instant;

use kube::runtime::events::EventType;

use crate::controllers::push_secret;
use crate::object_key::ObjectKey;
use crate::operator::{Operator, now};
use crate::provider::{Freshness, ProviderError};
use crate::types::{Condition, Interval, Store, condition};
use crate::work::{Requeue, Work};

/// The concurrency group of a store: its own, because each store waits for its own server.
pub(crate) fn concurrency_group(key: &ObjectKey) -> String {
    key.to_string()
}

/// Looks at a store.
pub(crate) async fn reconcile(operator: &Operator, work: &Work) -> Requeue {
    let began = Instant::now();
    let informer = operator.stores_of(&work.key.namespace);
    let metrics = match work.key.namespace.is_empty() {
        true => &operator.metrics.cluster_stores,
        false => &operator.metrics.stores,
    };
    let Some(store) = informer.get(&work.key) else {
        metrics.forget(&work.key);
        return Requeue::OnChange;
    };
    if !work.key.namespace.is_empty() && !operator.options.secret_stores {
        return Requeue::OnChange;
    }
    if !operator.is_own_class(&store) || store.spec.provider.onepassword.is_none() {
        return Requeue::OnChange;
    }
    if let Some(outcome) = push_secret::hold(operator, informer, &store).await {
        return outcome;
    }
    let verdict = validate(operator, &store, work.requested_at).await;
    let resource = operator.store_resource(&store);
    let condition = match &verdict {
        Ok(()) => {
            let (reason, message) = ("Valid", "store validated");
            let known = store
                .status
                .as_ref()
                .and_then(|status| condition::ready(&status.conditions));
            // Once a change, not once an interval: events are for what is new.
            if known.is_none_or(|known| known.status != "True") {
                operator
                    .recorder
                    .write(resource, &store.metadata, EventType::Normal, reason, message)
                    .await;
            }
            Condition::ready(true, reason, message)
        }
        Err(error) => {
            metrics.failed(&work.key);
            tracing::warn!(kind = %resource.kind, store = %work.key, %error, "the store is not usable");
            let reason = "InvalidProviderConfig";
            operator
                .recorder
                .write(resource, &store.metadata, EventType::Warning, reason, error.to_string())
                .await;
            let message = match error {
                ProviderError::Store(_) | ProviderError::Token(_) => "unable to create client",
                _ => "unable to validate store",
            };
            Condition::ready(false, reason, message)
        }
    };
    let mut status = store.status.clone().unwrap_or_default();
    if verdict.is_ok() {
        status.capabilities = Some("ReadWrite".to_owned());
    }
    metrics.condition(&work.key, &condition);
    condition.put_into(&mut status.conditions, &now());
    metrics.reconciled(&work.key, store.metadata.labels.as_ref(), began.elapsed());
    // Those that wait for it hear of it from the watch.
    if let Err(outcome) = operator.write_status(None, resource, &store, &status).await {
        return outcome;
    }
    match verdict {
        Ok(()) => Requeue::After(
            store
                .spec
                .refresh_interval
                .and_then(Interval::duration)
                .unwrap_or(operator.options.store_interval),
        ),
        Err(_) => Requeue::AfterFailure,
    }
}

/// Whether the server answers for every vault.
async fn validate(operator: &Operator, store: &Store, asked: Instant) -> Result<(), ProviderError> {
    let connection = operator.connections.of(store).await?;
    let freshness = Freshness {
        not_before: asked,
        or_unchanged: false,
    };
    for vault in store
        .spec
        .provider
        .onepassword
        .iter()
        .flat_map(|config| config.vaults.keys())
    {
        let outcome = connection.vault(vault, freshness).await;
        operator.metrics.called("GetVault", outcome.is_ok());
        if let Err(error) = outcome {
            if error.is_denied() {
                operator.connections.forget_token(store);
            }
            return Err(error);
        }
    }
    Ok(())
}
