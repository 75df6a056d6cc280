//! The mode that writes no Secrets: when an item changes, the ExternalSecrets that use it get a new `force-sync`
//! annotation, and a stock External Secrets reads them at once.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::controllers::external_secret::learn_uses;
use crate::operator::{Operator, is_not_found};
use crate::queue::{Outcome, Reason, Work};
use crate::types::{ExternalSecret, GoDuration};

/// The annotation that people and guides use; External Secrets acts on a change of any.
const ANNOTATION: &str = "force-sync";
/// How long until what could not be read is tried again. That is not by failing: who failed would be poked once more.
const LEARN_AGAIN: Duration = Duration::from_secs(60);
/// How far the clocks of the server and of External Secrets may be apart. A poke too many costs one read.
const SKEW: Duration = Duration::from_secs(2);

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
    // At the start everything is queued as changed. External Secrets is at work already: only what it missed counts.
    let at_start = work.asked == operator.started;
    if work.reason >= Reason::Retry && !at_start && !poke(operator, work).await {
        return Outcome::Failed;
    }
    match learn_uses(operator, work, &external_secret).await {
        Ok(changed_at) => {
            let missed = at_start && is_behind(&external_secret, changed_at);
            if missed && !poke(operator, work).await {
                return Outcome::Failed;
            }
            Outcome::Done
        }
        Err(why) => {
            tracing::debug!(external_secret = %work.key, error = %why, "what it uses could not be read");
            Outcome::After(LEARN_AGAIN)
        }
    }
}

/// Whether an item was changed after the ExternalSecret was read, and it was not poked since: nobody was there then.
fn is_behind(external_secret: &ExternalSecret, changed_at: Option<sidevault_model::Timestamp>) -> bool {
    let refreshed = external_secret
        .status
        .as_ref()
        .and_then(|status| status.refresh_time.as_ref());
    let (Some(Time(refreshed)), Some(changed_at)) = (refreshed, changed_at) else {
        // What was never read is read without a poke.
        return false;
    };
    let annotations = external_secret.metadata.annotations.as_ref();
    let poked = annotations
        .and_then(|annotations| annotations.get(ANNOTATION)?.parse().ok())
        .and_then(|word| Timestamp::from_microsecond(word).ok());
    let Ok(changed_at) = Timestamp::from_millisecond(changed_at.as_millis()) else {
        return false;
    };
    changed_at + SKEW >= *refreshed && poked.is_none_or(|poked| poked < changed_at)
}

/// Annotates an ExternalSecret. Says whether that worked, or is of no use any more.
async fn poke(operator: &Operator, work: &Work) -> bool {
    // Not in seconds: the second of two changes would leave no trace, and not be read.
    let word = Timestamp::now().as_microsecond().to_string();
    let patch = json!({ "metadata": { "annotations": { ANNOTATION: word } } });
    let api = operator.api(&operator.served.external_secret, &work.key.namespace);
    match api
        .patch(&work.key.name, &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Ok(_) => {
            if work.asked > operator.started {
                operator.metrics.event_lag.observe(work.asked.elapsed().as_secs_f64());
            }
            tracing::info!(external_secret = %work.key, "poked");
            true
        }
        Err(error) if is_not_found(&error) => true,
        Err(error) => {
            tracing::warn!(external_secret = %work.key, %error, "could not be poked");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_changed_after_it_was_read_and_was_not_poked_since_is_behind() {
        let behind = |refreshed: &str, poked: &str, changed: &str| {
            let external_secret = serde_json::from_value(json!({
                "metadata": { "name": "a", "annotations": { ANNOTATION: poked } },
                "spec": {},
                "status": { "refreshTime": refreshed },
            }));
            is_behind(&external_secret.unwrap(), sidevault_model::Timestamp::parse(changed))
        };
        let (nine, ten) = ("2026-01-01T09:00:00Z", "2026-01-01T10:00:00Z");
        let just_after_ten = "1767261600250000";
        assert!(behind(nine, "", ten));
        assert!(behind(nine, "by hand", ten));
        assert!(!behind(ten, "", nine));
        assert!(behind(ten, "", ten), "seconds say no more");
        assert!(!behind(ten, just_after_ten, ten), "it was read because it was poked");
        assert!(behind(ten, just_after_ten, "2026-01-01T10:00:01Z"));
    }
}
