//! Exponential backoff with jitter, as a pure function.
use std::time::Duration;

/// How long to wait between attempts: doubles from `base` up to `max`, then up to a quarter is taken off by jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait before the second attempt in a row.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row (0 and 1: none at all). `jitter` is in 0.0..=1.0 and comes from the caller.
    pub fn delay(self, failures: u32, jitter: f64) -> Duration {
        let Some(doublings) = failures.checked_sub(2) else { return Duration::ZERO };
        let full = self.base.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(self.max);
        full.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_retried_at_once_then_waits_double_up_to_the_limit() {
        let backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_secs(60) };
        let waits: Vec<_> = (0..12).map(|n| backoff.delay(n, 0.0).as_millis()).collect();
        assert_eq!(waits, [0, 0, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]);
        assert_eq!(backoff.delay(u32::MAX, 0.0), Duration::from_secs(60));
    }

    #[test]
    fn jitter_takes_off_at_most_a_quarter() {
        let backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(60) };
        assert_eq!(backoff.delay(2, 1.0), Duration::from_millis(750));
    }
}
