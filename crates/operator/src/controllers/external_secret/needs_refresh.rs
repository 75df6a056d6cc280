//! When an ExternalSecret's values are read again.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::windows;
use crate::controllers::refresh;
use crate::hash;
use crate::types::{ExternalSecret, RefreshPolicy};
use crate::work::{Requeue, Trigger};

/// How soon an overdue ExternalSecret is reconciled again while no sync window is open.
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
            // An interval of zero means that the values are read once.
            if interval.is_zero() && !synced.is_empty() {
                return false;
            }
            if is_new || changed() {
                return true;
            }
            // Sync windows hold back changes that a server has announced, too.
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
        // The refresh is overdue but no sync window is open. Check again soon: windows have a minute's resolution.
        return Requeue::After(UNTIL_A_WINDOW_MAY_OPEN);
    }
    refresh::next(interval, refreshed)
}

#[cfg(test)]
mod tests {
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
    fn the_periodic_policy_refreshes_by_interval_and_by_change() {
        let spec = r#"{"refreshInterval":"1h"}"#;
        assert!(due(spec, "{}", Trigger::WatchEvent));
        assert!(due(spec, AN_HOUR_AGO, Trigger::WatchEvent));
        assert!(!due(spec, A_MINUTE_AGO, Trigger::WatchEvent));
        assert!(due(spec, A_MINUTE_AGO, Trigger::SourceChanged));
        assert!(due(spec, FOR_AN_OLD_STATE, Trigger::WatchEvent));
    }

    #[test]
    fn a_sync_window_holds_back_the_interval_and_server_changes_but_not_edits() {
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
    fn an_interval_of_zero_refreshes_once() {
        let spec = r#"{"refreshInterval":"0s"}"#;
        assert!(due(spec, "{}", Trigger::WatchEvent));
        assert!(!due(spec, FOR_AN_OLD_STATE, Trigger::SourceChanged));
        assert_eq!(next_refresh(&es(spec, AN_HOUR_AGO)), Requeue::OnChange);
    }

    #[test]
    fn the_policies_created_once_and_on_change_refresh_less_often() {
        let once = r#"{"refreshPolicy":"CreatedOnce"}"#;
        assert!(due(once, "{}", Trigger::WatchEvent) && !due(once, FOR_AN_OLD_STATE, Trigger::SourceChanged));
        let on_change = r#"{"refreshPolicy":"OnChange"}"#;
        assert!(due(on_change, FOR_AN_OLD_STATE, Trigger::WatchEvent));
        assert!(!due(on_change, AN_HOUR_AGO, Trigger::SourceChanged));
    }
}
