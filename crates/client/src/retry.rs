//! The wait before a retry.

use std::time::Duration;

/// Exponential backoff. Each wait is shortened by up to half at random, so that the clients of one server do not all
/// retry at the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    base: Duration,
    limit: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration, limit: Duration) -> Self {
        Self {
            base,
            limit,
            failures: 0,
        }
    }

    /// The wait after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let full = self
            .base
            .saturating_mul(2u32.saturating_pow(self.failures))
            .min(self.limit);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Starts again with the shortest wait, after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Sets the shortest wait, as a server may with `retry:` in server-sent events.
    pub(crate) fn set_base(&mut self, base: Duration) {
        self.base = base.min(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_start_anew_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for full in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next();
            assert!(
                wait <= Duration::from_millis(full) && wait >= Duration::from_millis(full / 2),
                "{wait:?}"
            );
        }
        for _ in 0..100 {
            assert!(backoff.next() <= Duration::from_secs(1));
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
        backoff.set_base(Duration::from_secs(3600));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_secs(1));
    }
}
