//! When an ExternalSecret's values are read again.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::{stores, windows};
use crate::controllers::{refresh, store};
use crate::hash;
use crate::operator::store_key;
use crate::types::{ExternalSecret, RefreshPolicy, StoreRef};
use crate::work::{Requeue, Trigger};

/// How often an ExternalSecret that waits for a sync window is looked at.
const UNTIL_A_WINDOW_MAY_OPEN: Duration = Duration::from_secs(30);

/// Whether the values are to be read again now. If not, they are still read when the Secret differs from what was last
/// written.
pub(super) fn needs_refresh(external_secret: &ExternalSecret, trigger: Trigger, now: Timestamp) -> bool {
    let status = external_secret.status.as_ref();
    let refreshed = status.and_then(|status| status.refresh_time.as_ref());
    let synced = status
        .and_then(|status| status.synced_resource_version.as_deref())
        .unwrap_or_default();
    let is_new = synced.is_empty() || refreshed.is_none();
    let changed = || synced != hash::resource_version(&external_secret.metadata);
    match external_secret.spec.refresh_policy {
        Some(RefreshPolicy::CreatedOnce) => is_new,
        Some(RefreshPolicy::OnChange) => is_new || changed(),
        None | Some(RefreshPolicy::Periodic) => {
            let interval = refresh::interval(external_secret.spec.refresh_interval);
            // 0 stands for "once".
            if interval.is_zero() && !synced.is_empty() {
                return false;
            }
            if is_new || changed() {
                return true;
            }
            // Who keeps some hours free of changes means those that are pushed, too.
            (trigger >= Trigger::Retry || refresh::has_passed(interval, refreshed, now))
                && windows::allow(external_secret.spec.sync_windows.as_ref(), now)
        }
    }
}

/// When the next periodic refresh is.
pub(super) fn next_refresh(external_secret: &ExternalSecret) -> Requeue {
    let refreshed = external_secret
        .status
        .as_ref()
        .and_then(|status| status.refresh_time.as_ref());
    let interval = refresh::interval(external_secret.spec.refresh_interval);
    if external_secret.spec.sync_windows.is_some()
        && !interval.is_zero()
        && refresh::has_passed(interval, refreshed, Timestamp::now())
    {
        // Its time is over and no window lets it: windows open by the minute.
        return Requeue::After(UNTIL_A_WINDOW_MAY_OPEN);
    }
    refresh::next(interval, refreshed)
}

/// The concurrency group of an ExternalSecret: its stores together, because each of them can delay it. Those that are being
/// deleted have a group of their own, because they need no store.
pub(crate) fn concurrency_group(external_secret: &ExternalSecret, default: Option<&StoreRef>) -> String {
    if external_secret.metadata.deletion_timestamp.is_some() {
        return String::new();
    }
    let namespace = external_secret.metadata.namespace.as_deref().unwrap_or_default();
    let named = stores(external_secret);
    let default = default.filter(|_| named.is_empty());
    let stores = named.into_iter().chain(default);
    let groups: BTreeSet<String> = stores
        .map(|store| store::concurrency_group(&store_key(store, namespace)))
        .collect();
    groups.into_iter().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn es(spec: &str, status: &str) -> ExternalSecret {
        let mut es: ExternalSecret = serde_json::from_str(&format!(
            r#"{{"apiVersion":"external-secrets.io/v1","kind":"ExternalSecret","metadata":{{"name":"a","namespace":"n","generation":1}},"spec":{spec},"status":{status}}}"#
        ))
        .unwrap();
        let status = es.status.as_mut().unwrap();
        if status.synced_resource_version.as_deref() == Some("current") {
            status.synced_resource_version = Some(hash::resource_version(&es.metadata));
        }
        es
    }

    fn due(spec: &str, status: &str, trigger: Trigger) -> bool {
        needs_refresh(&es(spec, status), trigger, "2026-01-01T01:00:00Z".parse().unwrap())
    }

    const AN_HOUR_AGO: &str = r#"{"refreshTime":"2026-01-01T00:00:00Z","syncedResourceVersion":"current"}"#;
    const A_MINUTE_AGO: &str = r#"{"refreshTime":"2026-01-01T00:59:00Z","syncedResourceVersion":"current"}"#;
    const FOR_AN_OLD_STATE: &str = r#"{"refreshTime":"2026-01-01T00:59:00Z","syncedResourceVersion":"0-x"}"#;

    #[test]
    fn periodic_ones_are_read_by_time_and_by_change() {
        let spec = r#"{"refreshInterval":"1h"}"#;
        assert!(due(spec, "{}", Trigger::WatchEvent));
        assert!(due(spec, AN_HOUR_AGO, Trigger::WatchEvent));
        assert!(!due(spec, A_MINUTE_AGO, Trigger::WatchEvent));
        assert!(due(spec, A_MINUTE_AGO, Trigger::SourceChanged));
        assert!(due(spec, FOR_AN_OLD_STATE, Trigger::WatchEvent));
    }

    #[test]
    fn a_sync_window_holds_back_the_clock_and_what_is_pushed_but_no_change_by_hand() {
        let spec = r#"{"refreshInterval":"1h","syncWindows":{"kind":"deny","windows":[{"schedule":"@daily","duration":"23h"}]}}"#;
        assert!(!due(spec, AN_HOUR_AGO, Trigger::WatchEvent));
        assert!(!due(spec, A_MINUTE_AGO, Trigger::SourceChanged));
        assert!(due(spec, FOR_AN_OLD_STATE, Trigger::WatchEvent));
        assert!(due(spec, "{}", Trigger::WatchEvent));
        assert_eq!(
            next_refresh(&es(spec, AN_HOUR_AGO)),
            Requeue::After(UNTIL_A_WINDOW_MAY_OPEN)
        );
    }

    #[test]
    fn an_interval_of_zero_reads_once() {
        let spec = r#"{"refreshInterval":"0s"}"#;
        assert!(due(spec, "{}", Trigger::WatchEvent));
        assert!(!due(spec, FOR_AN_OLD_STATE, Trigger::SourceChanged));
        assert_eq!(next_refresh(&es(spec, AN_HOUR_AGO)), Requeue::OnChange);
    }

    #[test]
    fn the_other_policies_ask_less() {
        let once = r#"{"refreshPolicy":"CreatedOnce"}"#;
        assert!(due(once, "{}", Trigger::WatchEvent) && !due(once, FOR_AN_OLD_STATE, Trigger::SourceChanged));
        let on_change = r#"{"refreshPolicy":"OnChange"}"#;
        assert!(due(on_change, FOR_AN_OLD_STATE, Trigger::WatchEvent));
        assert!(!due(on_change, AN_HOUR_AGO, Trigger::SourceChanged));
    }
}
