//! When to request a certificate: arithmetic on times, without a clock.

use std::time::{Duration, SystemTime};

use super::certificate::Validity;

/// The wait after the first failure. Let's Encrypt allows five failed validations of a name an hour; with [`FACTOR`] the first
/// hour has five attempts.
const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// How many times longer each further wait is.
const FACTOR: u32 = 3;

/// The longest wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(3 * 3600);

/// When a certificate is renewed: after two thirds of its validity, so that one third is left for failed attempts. Earlier if
/// the ACME server suggests that (RFC 9773), for example before a mass revocation.
pub(super) fn renewal(validity: Validity, suggested: Option<SystemTime>) -> SystemTime {
    let due = validity.begin + validity.length() * 2 / 3;
    suggested.map_or(due, |suggested| suggested.min(due))
}

/// The earliest renewal of a certificate that was issued at `now`. Without this limit, a wrong system clock would make each new
/// certificate due at once.
pub(super) fn earliest(validity: Validity, now: SystemTime) -> SystemTime {
    now + validity.length() / 3
}

/// The time in a window at a share of it, from 0 (its begin) to 1 (its end).
pub(super) fn moment(window: Validity, share: f64) -> SystemTime {
    window.begin + window.length().mul_f64(share.clamp(0.0, 1.0))
}

/// How long to wait after so many failures in a row. `jitter`, from 0 to 1, adds up to half of that, so that servers that failed
/// together don't try again together.
pub(super) fn pause(failures: u32, jitter: f64) -> Duration {
    let exponent = failures.saturating_sub(1);
    let pause = FIRST_PAUSE
        .saturating_mul(FACTOR.saturating_pow(exponent))
        .min(LONGEST_PAUSE);
    pause.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 2.0)
}

impl Validity {
    fn length(&self) -> Duration {
        self.end.duration_since(self.begin).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::time;
    use super::*;

    const DAY: i64 = 86_400;

    fn ninety_days() -> Validity {
        Validity {
            begin: time(0),
            end: time(90 * DAY),
        }
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_or_when_the_server_asks_earlier() {
        assert_eq!(renewal(ninety_days(), None), time(60 * DAY));
        assert_eq!(renewal(ninety_days(), Some(time(5 * DAY))), time(5 * DAY));
        assert_eq!(renewal(ninety_days(), Some(time(80 * DAY))), time(60 * DAY));
    }

    #[test]
    fn with_a_wrong_clock_a_certificate_is_renewed_at_most_three_times_in_its_validity() {
        assert_eq!(earliest(ninety_days(), time(500 * DAY)), time(530 * DAY));
    }

    #[test]
    fn a_share_of_a_window_spans_all_of_it() {
        let window = Validity {
            begin: time(10),
            end: time(20),
        };
        assert_eq!(moment(window, 0.0), time(10));
        assert_eq!(moment(window, 0.5), time(15));
        assert_eq!(moment(window, 1.0), time(20));
    }

    #[test]
    fn the_first_hour_of_failures_has_five_attempts_and_waits_end_at_hours() {
        let waits: Vec<u64> = (1..=7).map(|failures| pause(failures, 0.0).as_secs() / 60).collect();
        assert_eq!(waits, [1, 3, 9, 27, 81, 180, 180]);
        // The first attempt, and those after 1, 4, 13 and 40 minutes.
        assert_eq!(
            1 + waits
                .iter()
                .scan(0, |at, wait| {
                    *at += wait;
                    Some(*at)
                })
                .filter(|at| *at < 60)
                .count(),
            5
        );
        assert_eq!(pause(u32::MAX, 1.0), LONGEST_PAUSE.mul_f64(1.5));
    }
}
