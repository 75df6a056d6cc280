//! The mode that writes no Secrets: when an item changes, the ExternalSecrets that use it get a new `force-sync`
//! annotation, and a stock External Secrets reads them at once.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::api_error::api_message;
use crate::controllers::external_secret::source_versions;
use crate::operator::{Operator, is_not_found};
use crate::types::{ExternalSecret, GoDuration};
use crate::work::{Requeue, Trigger, Work};

/// The annotation that people and guides use; External Secrets acts on a change of any.
const ANNOTATION: &str = "force-sync";
/// What its value begins with here; the rest is a hash of what the ExternalSecret is made of. So it tells, also after a
/// restart, whether anything changed since the last poke.
const PREFIX: &str = "sidevault-";
/// How long until what could not be read is tried again. That is not by failing: who failed would be poked once more.
const LEARN_AGAIN: Duration = Duration::from_secs(60);
/// How far the clocks of the server and of External Secrets may be apart. A poke too many costs one read.
const SKEW: Duration = Duration::from_secs(2);

/// Looks at an ExternalSecret: learns what it uses, and pokes it if that changed.
pub(crate) async fn reconcile(operator: &Operator, work: &Work) -> Requeue {
    let Some(external_secret) = operator.informers.external_secrets.get(&work.key) else {
        operator.uses().remove(&work.key);
        return Requeue::OnChange;
    };
    let spec = &external_secret.spec;
    // Who asked for "once" or "on change" is not to be made to read again.
    let wants_changes = spec.is_periodic()
        && spec
            .refresh_interval
            .is_none_or(|GoDuration(interval)| !interval.is_zero());
    if !wants_changes || external_secret.metadata.deletion_timestamp.is_some() {
        return Requeue::OnChange;
    }
    let Some(versions) = source_versions(operator, work, &external_secret).await else {
        return Requeue::After(LEARN_AGAIN);
    };
    let word = format!("{PREFIX}{}", versions.hash);
    let annotations = external_secret.metadata.annotations.as_ref();
    let is_due = match annotations.and_then(|annotations| annotations.get(ANNOTATION)) {
        Some(known) if *known == word => false,
        Some(known) if known.starts_with(PREFIX) => true,
        // Not poked yet, or by someone else since. At the start everything is queued as changed.
        _ => {
            let told = work.trigger >= Trigger::Retry && work.requested_at > operator.started;
            told || is_behind(&external_secret, versions.changed_at)
        }
    };
    match is_due {
        true => force_sync(operator, work, &word).await,
        false => Requeue::OnChange,
    }
}

/// Whether an item was changed after the ExternalSecret was read.
fn is_behind(external_secret: &ExternalSecret, changed_at: Option<sidevault_model::Timestamp>) -> bool {
    let status = external_secret.status.as_ref();
    let refreshed = status.and_then(|status| status.refresh_time.as_ref());
    let changed_at = changed_at.and_then(|at| Timestamp::from_millisecond(at.as_millis()).ok());
    match (refreshed, changed_at) {
        (Some(Time(refreshed)), Some(changed_at)) => changed_at + SKEW >= *refreshed,
        // What was never read is read without a poke.
        _ => false,
    }
}

async fn force_sync(operator: &Operator, work: &Work, word: &str) -> Requeue {
    let patch = json!({ "metadata": { "annotations": { ANNOTATION: word } } });
    let api = operator.api(&operator.served.external_secret, &work.key.namespace);
    match api
        .patch(&work.key.name, &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Ok(_) => {
            if work.trigger == Trigger::SourceChanged && work.requested_at > operator.started {
                operator
                    .metrics
                    .event_lag
                    .observe(work.requested_at.elapsed().as_secs_f64());
            }
            tracing::info!(external_secret = %work.key, "poked");
            Requeue::OnChange
        }
        Err(error) if is_not_found(&error) => Requeue::OnChange,
        Err(error) => {
            tracing::warn!(external_secret = %work.key, error = %api_message(&error), "could not be poked");
            Requeue::AfterFailure
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_changed_after_it_was_read_is_behind() {
        let behind = |refreshed: &str, changed: &str| {
            let external_secret = serde_json::from_value(json!({
                "metadata": { "name": "a" }, "spec": {}, "status": { "refreshTime": refreshed },
            }));
            is_behind(&external_secret.unwrap(), sidevault_model::Timestamp::parse(changed))
        };
        let (nine, ten) = ("2026-01-01T09:00:00Z", "2026-01-01T10:00:00Z");
        assert!(behind(nine, ten) && !behind(ten, nine));
        assert!(behind(ten, ten), "seconds say no more");
    }
}
