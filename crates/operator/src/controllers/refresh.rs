//! Refresh intervals: when values are read, or written, again.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::types::GoDuration;
use crate::work::Requeue;

/// The interval of a resource without one. Normally the resource definition sets this default.
const DEFAULT: Duration = Duration::from_secs(3600);

/// The refresh interval of a resource; zero means that it is refreshed once.
pub(super) fn interval(set: Option<GoDuration>) -> Duration {
    set.map_or(DEFAULT, |GoDuration(interval)| interval)
}

/// Whether an interval has passed since a time. If the time is in the future, the clock was set back, and the interval
/// counts as passed.
pub(super) fn has_passed(interval: Duration, since: Option<&Time>, now: Timestamp) -> bool {
    let since = since.map(|time| now.duration_since(time.0));
    since.is_none_or(|since| since.is_negative() || since.unsigned_abs() >= interval)
}

/// When the next periodic refresh is.
pub(super) fn next(interval: Duration, since: Option<&Time>) -> Requeue {
    if interval.is_zero() {
        return Requeue::OnChange;
    }
    let since = since
        .map(|time| Timestamp::now().duration_since(time.0))
        .unwrap_or_default();
    if since.is_negative() {
        return Requeue::After(interval);
    }
    // At least a little later: times in a status have no fraction of a second, so the interval may seem to have passed.
    let rest = interval.saturating_sub(since.unsigned_abs());
    Requeue::After(rest.max(Duration::from_millis(100)))
}
