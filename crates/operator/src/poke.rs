//! The mode that writes no Secrets: when an item changes, the ExternalSecrets that use it get a new `force-sync`
//! annotation, and a stock External Secrets reads them at once.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::controllers::external_secret::learn_uses;
use crate::operator::{Operator, is_not_found};
use crate::queue::{Outcome, Reason, Work};
use crate::types::GoDuration;

/// The annotation that people and guides use; External Secrets acts on a change of any.
const ANNOTATION: &str = "force-sync";
/// How long until what could not be read is tried again. That is not by failing: who failed would be poked once more.
const LEARN_AGAIN: Duration = Duration::from_secs(60);

/// Looks at an ExternalSecret: learns what it uses, and pokes it if that changed.
pub(crate) async fn reconcile(operator: &Operator, work: &Work) -> Outcome {
    let Some(external_secret) = operator.informers.external_secrets.get(&work.key) else {
        operator.uses().remove(&work.key);
        return Outcome::Done;
    };
    let spec = &external_secret.spec;
    // Who asked for "once" or "on change" is not to be made to read again.
    let wants_changes = spec.is_periodic()
        && spec
            .refresh_interval
            .is_none_or(|GoDuration(interval)| !interval.is_zero());
    if !wants_changes || external_secret.metadata.deletion_timestamp.is_some() {
        return Outcome::Done;
    }
    // At the start everything is queued as changed: External Secrets is at work already, and only what comes counts.
    if work.reason == Reason::Changed && work.asked > operator.started {
        // Not in seconds: the second of two changes would leave no trace, and not be read.
        let word = Timestamp::now().as_microsecond().to_string();
        let patch = json!({ "metadata": { "annotations": { ANNOTATION: word } } });
        let api = operator.api(&operator.served.external_secret, &work.key.namespace);
        match api
            .patch(&work.key.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => {
                operator.metrics.event_lag.observe(work.asked.elapsed().as_secs_f64());
                tracing::info!(external_secret = %work.key, "poked");
            }
            Err(error) if is_not_found(&error) => return Outcome::Done,
            Err(error) => {
                tracing::warn!(external_secret = %work.key, %error, "could not be poked");
                return Outcome::Failed;
            }
        }
    }
    match learn_uses(operator, work, &external_secret).await {
        Ok(()) => Outcome::Done,
        Err(why) => {
            tracing::debug!(external_secret = %work.key, error = %why, "what it uses could not be read");
            Outcome::After(LEARN_AGAIN)
        }
    }
}
