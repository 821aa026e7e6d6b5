//! The rate limiter of one egress (a generic cell rate algorithm): how soon after one dial the next may
//! begin.
//!
//! Owns what was used of the rate, which outlasts a change of it. Pure: time comes in as an argument.

use std::time::Duration;

use crate::base::clock::Instant;

#[derive(Debug)]
pub(super) struct RateLimiter {
    per_second: u32,
    /// Between two dials, in the long run.
    period: Duration,
    /// By how much dials may be ahead of that: the tolerance for bursts.
    ahead: Duration,
    /// When the next dial would begin if all before it had kept to the period.
    due: Instant,
}

impl RateLimiter {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let (period, ahead) = steps(per_second);
        Self { per_second, period, ahead, due: now }
    }

    /// Another rate from now on. What was used of the old one stays used. Returns whether it is
    /// another.
    pub(super) fn set(&mut self, per_second: u32) -> bool {
        if self.per_second == per_second {
            return false;
        }
        self.per_second = per_second;
        (self.period, self.ahead) = steps(per_second);
        true
    }

    /// Notes that a dial begins now, or says when one may.
    pub(super) fn begin(&mut self, now: Instant) -> Result<(), Instant> {
        let begins = self.due.checked_sub(self.ahead).unwrap_or(now);
        if begins > now {
            return Err(begins);
        }
        self.due = self.due.max(now) + self.period;
        Ok(())
    }
}

/// The period, and by how much dials may be ahead of it.
///
/// Timers are good to a millisecond, so that a high rate needs small bursts; they are taken out of
/// the rate, so that no second sees more than the limit.
fn steps(per_second: u32) -> (Duration, Duration) {
    let burst = (per_second / 100).max(1);
    let steady = (per_second - burst).max(1);
    let period = Duration::from_secs(1) / steady;
    (period, period * (burst - 1))
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_rate_gives_back_nothing_that_was_used() {
        let began = crate::base::clock::now();
        let mut limiter = RateLimiter::new(2, began);
        let mut begun = Vec::new();
        for step in 0..10_000 {
            let now = began + Duration::from_millis(step);
            limiter.set(if (step / 10) % 2 == 0 { 3 } else { 2 });
            if limiter.begin(now).is_ok() {
                begun.push(now);
            }
        }
        let within_a_second = |window: &[Instant]| window[3] - window[0] < Duration::from_secs(1);
        assert!(!begun.windows(4).any(within_a_second), "more than three a second");
        assert!((10..=20).contains(&begun.len()), "{} in ten seconds", begun.len());
    }
}
