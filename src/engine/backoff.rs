//! The backoff of an account: pauses between dials that fail and connections that break at once.
//!
//! Owns how many faults there were since the account last did well, and what pause follows the
//! next one. Pure: time and chance come in as arguments.

use std::time::Duration;

use crate::base::clock::{Tick, millis};

const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// So long without a fault, and the next pause is the first again; so long alive, and the end of
/// a connection is no fault of its dial.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// A connection that broke after this many leases had served.
const USES_FEW: u64 = 2;

#[derive(Debug, Default)]
pub(super) struct Backoff {
    faults: u32,
    /// When the last pause ends.
    rested: Tick,
}

impl Backoff {
    /// A dial failed. Returns when the next one may begin.
    pub(super) fn after_failure(&mut self, now: Tick, share: f64, at_least: Duration) -> Tick {
        self.count(now);
        self.rest(now, pause(self.faults, share).max(at_least))
    }

    /// A connection broke. The first one that was of no use is dialled again at once; those that
    /// follow are worth a pause, or a server that hangs up on every login would be dialled as
    /// fast as callers come.
    pub(super) fn after_break(&mut self, now: Tick, share: f64, age: Duration, uses: u64) -> Tick {
        if age >= HEALTHY_AFTER || uses > USES_FEW {
            return 0;
        }
        self.count(now);
        let Some(before) = self.faults.checked_sub(1).filter(|before| *before > 0) else {
            return 0;
        };
        self.rest(now, pause(before, share))
    }

    /// An operator has put the account back into service.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn count(&mut self, now: Tick) {
        if now >= self.rested + millis(HEALTHY_AFTER) {
            self.faults = 0;
        }
        self.faults = self.faults.saturating_add(1);
        self.rested = self.rested.max(now);
    }

    fn rest(&mut self, now: Tick, pause: Duration) -> Tick {
        let until = now + millis(pause);
        self.rested = self.rested.max(until);
        until
    }
}

/// The pause after so many faults: one second doubling to sixty, of which a random share is
/// waited ("full jitter").
fn pause(faults: u32, share: f64) -> Duration {
    let doublings = faults.saturating_sub(1).min(6);
    (PAUSE_FIRST * (1 << doublings)).min(PAUSE_MAX).mul_f64(share)
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;
    use crate::base::clock::EPOCH;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn pauses_double_from_a_second_to_a_minute() {
        let whole: Vec<u64> = (1..9).map(|faults| pause(faults, 1.0).as_secs()).collect();
        assert_eq!(whole, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(3, 0.25), seconds(1));
        assert_eq!(pause(u32::MAX, 0.0), Duration::ZERO);
    }

    #[test]
    fn a_minute_without_a_fault_makes_the_next_pause_the_first_again() {
        let mut backoff = Backoff::default();
        let mut now = EPOCH;
        for expected in [1000, 2000, 4000] {
            let until = backoff.after_failure(now, 1.0, Duration::ZERO);
            assert_eq!(until - now, expected);
            now = until;
        }
        now += 59_999;
        assert_eq!(backoff.after_failure(now, 1.0, Duration::ZERO), now + 8000);
        now += 8000 + 60_000;
        assert_eq!(backoff.after_failure(now, 1.0, Duration::ZERO), now + 1000);
    }

    #[test]
    fn what_the_server_asks_for_is_the_least_pause() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after_failure(EPOCH, 0.5, seconds(40)), EPOCH + 40_000);
    }

    #[test]
    fn only_connections_that_break_at_once_again_and_again_are_worth_a_pause() {
        let mut backoff = Backoff::default();
        let young = |backoff: &mut Backoff, now| backoff.after_break(now, 1.0, seconds(1), 1);
        assert_eq!(young(&mut backoff, EPOCH), 0, "the first is dialled again at once");
        assert_eq!(young(&mut backoff, EPOCH + 100), EPOCH + 1100);
        assert_eq!(young(&mut backoff, EPOCH + 1200), EPOCH + 3200);
        for (age, uses) in [(seconds(60), 0), (seconds(1), 3)] {
            assert_eq!(backoff.after_break(EPOCH + 4000, 1.0, age, uses), 0, "it had served");
        }
        assert_eq!(young(&mut backoff, EPOCH + 100_000), 0, "a minute later it is the first again");
    }
}
