//! Intervals: when values are read, or written, again.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::types::GoDuration;
use crate::work::Requeue;

/// The interval of a resource that got past the default of its definition.
const DEFAULT: Duration = Duration::from_secs(3600);

/// The interval a resource has; zero stands for "once".
pub(super) fn interval(set: Option<GoDuration>) -> Duration {
    set.map_or(DEFAULT, |GoDuration(interval)| interval)
}

/// Whether an interval has passed since a time. A time to come is a clock that was set back: it has.
pub(super) fn has_passed(interval: Duration, since: Option<&Time>, now: Timestamp) -> bool {
    let since = since.map(|time| now.duration_since(time.0));
    since.is_none_or(|since| since.is_negative() || since.unsigned_abs() >= interval)
}

/// When a resource comes up again by itself.
pub(super) fn next(interval: Duration, since: Option<&Time>) -> Requeue {
    if interval.is_zero() {
        return Requeue::OnChange;
    }
    let since = since
        .map(|time| Timestamp::now().duration_since(time.0))
        .unwrap_or_default();
    match since.is_negative() {
        true => Requeue::After(interval),
        // Times are to the second; a little later is never a moment too early.
        false => Requeue::After(
            interval
                .saturating_sub(since.unsigned_abs())
                .max(Duration::from_millis(100)),
        ),
    }
}
