//! Sync windows: when a periodic refresh may take place (External Secrets 2.9, `spec.syncWindows`).

use std::time::Duration;

use cronexpr::{FallbackTimezoneOption, ParseOptions, parse_crontab_with};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::types::{GoDuration, SyncWindows, WindowKind};

/// Whether a periodic refresh may take place at a time. Without windows it always may.
pub(super) fn allow(windows: Option<&SyncWindows>, at: Timestamp) -> bool {
    let Some(windows) = windows.filter(|windows| !windows.windows.is_empty()) else {
        return true;
    };
    let active = windows.windows.iter().any(|window| {
        // An invalid schedule opens no window, so that a typo in a window of kind Deny does not stop all refreshes.
        let GoDuration(duration) = window.duration;
        is_open(&window.schedule, duration, at).unwrap_or(false)
    });
    match windows.kind {
        WindowKind::Allow => active,
        WindowKind::Deny => !active,
    }
}

/// Whether a window is open at a time. `None` if its schedule is invalid.
fn is_open(schedule: &str, duration: Duration, at: Timestamp) -> Option<bool> {
    let duration = SignedDuration::try_from(duration).ok()?;
    // Earliest opening time of a window that could still be open.
    let earliest = at
        .checked_sub(duration)
        .ok()?
        .checked_sub(SignedDuration::from_secs(1))
        .ok()?;
    let opened = next(schedule, earliest)?;
    Some(opened <= at && at <= opened.checked_add(duration).ok()?)
}

/// The first time after another at which a schedule opens, in UTC.
fn next(schedule: &str, after: Timestamp) -> Option<Timestamp> {
    let fields = match schedule.trim() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        schedule => match schedule.strip_prefix("@every ") {
            None => schedule,
            Some(every) => {
                let GoDuration(every) = every.trim().parse().ok()?;
                return after.checked_add(SignedDuration::try_from(every).ok()?).ok();
            }
        },
    };
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    let crontab = parse_crontab_with(&fields.replace('?', "*"), options).ok()?;
    Some(crontab.find_next(after).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(kind: &str, schedule: &str, duration: &str) -> SyncWindows {
        let json = format!(r#"{{"kind":"{kind}","windows":[{{"schedule":"{schedule}","duration":"{duration}"}}]}}"#);
        serde_json::from_str(&json).unwrap()
    }

    fn allowed(kind: &str, schedule: &str, duration: &str, at: &str) -> bool {
        allow(Some(&windows(kind, schedule, duration)), at.parse().unwrap())
    }

    // 2026-11-24 is a Tuesday, 2026-11-28 a Saturday.
    #[test]
    fn a_window_is_open_from_its_schedule_for_its_duration() {
        let nightly = |at| allowed("allow", "0 22 * * 1-5", "8h", at);
        assert!(!nightly("2026-11-24T21:59:59Z"));
        assert!(nightly("2026-11-24T22:00:00Z"));
        assert!(nightly("2026-11-25T05:59:59Z"));
        assert!(!nightly("2026-11-25T06:00:01Z"));
        assert!(!nightly("2026-11-28T23:00:00Z"));
    }

    #[test]
    fn deny_is_the_opposite_of_allow_and_shorthands_are_read() {
        for schedule in ["0 0 * * *", "@daily", "@midnight", "0 0 ? * *"] {
            assert!(!allowed("deny", schedule, "1h", "2026-11-24T00:30:00Z"), "{schedule}");
            assert!(allowed("deny", schedule, "1h", "2026-11-24T01:30:00Z"), "{schedule}");
        }
        assert!(allowed("allow", "@every 1h", "2h", "2026-11-24T01:30:00Z"));
    }

    #[test]
    fn an_invalid_schedule_opens_no_window() {
        assert!(allowed("deny", "61 * * * *", "1h", "2026-11-24T00:30:00Z"));
        assert!(!allowed("allow", "61 * * * *", "1h", "2026-11-24T00:30:00Z"));
        assert!(allow(None, "2026-11-24T00:30:00Z".parse().unwrap()));
    }
}
