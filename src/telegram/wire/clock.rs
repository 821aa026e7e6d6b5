//! Clock of the server, as far as its messages tell.
//!
//! Owns the difference to our own. It goes on with the monotonic clock, so that nobody who sets the time of day
//! changes it. Never reads a clock itself.

use std::time::Duration;

use crate::base::clock::Instant;

/// How far the server's clock may be from what is assumed before a first message corrects it, in seconds.
const TOLERANCE: u64 = 1;

/// What the server's clock shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerClock {
    /// What it showed, since 1970.
    shown: Duration,
    /// When.
    at: Instant,
    /// Whether the server has said so.
    is_told: bool,
}

impl ServerClock {
    /// A clock that is ahead of ours by so many seconds.
    pub(super) fn new(unix_time: Duration, offset: i64, now: Instant) -> Self {
        let ahead = Duration::from_secs(offset.unsigned_abs());
        let shown = match offset < 0 {
            true => unix_time.saturating_sub(ahead),
            false => unix_time.saturating_add(ahead),
        };
        Self { shown, at: now, is_told: false }
    }

    /// What it shows now, since 1970.
    pub(super) fn time(&self, now: Instant) -> Duration {
        self.shown.saturating_add(now.saturating_duration_since(self.at))
    }

    /// The same in whole seconds.
    pub(super) fn seconds(&self, now: Instant) -> i64 {
        i64::try_from(self.time(now).as_secs()).unwrap_or(i64::MAX)
    }

    /// By how many seconds it is ahead of ours.
    pub(super) fn offset(&self, unix_time: Duration, now: Instant) -> i64 {
        let own = i64::try_from(unix_time.as_secs()).unwrap_or(i64::MAX);
        self.seconds(now) - own
    }

    /// Whether the server has said anything of it.
    pub(super) fn is_told(&self) -> bool {
        self.is_told
    }

    /// A message of the server's shows when it was made: no later than now. The first one is an answer to what
    /// was just sent, and sets the clock; of those that follow some may be old.
    pub(super) fn hear(&mut self, seconds: i64, now: Instant) {
        let heard = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let time = self.time(now);
        let is_behind = time + Duration::from_secs(TOLERANCE) < heard;
        let is_off = time.abs_diff(heard) > Duration::from_secs(TOLERANCE);
        if is_behind || !self.is_told && is_off {
            self.set(seconds, now);
        }
        self.is_told = true;
    }

    /// The server says what time it is.
    pub(super) fn set(&mut self, seconds: i64, now: Instant) {
        let shown = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        *self = Self { shown, at: now, is_told: true };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::now;

    #[test]
    fn the_first_message_sets_it_and_later_ones_only_put_it_forward() {
        let (start, second) = (now(), Duration::from_secs(1));
        let unix = Duration::from_secs(1_700_000_000);
        let mut clock = ServerClock::new(unix, 40, start);
        assert_eq!((clock.seconds(start + 5 * second), clock.is_told()), (1_700_000_045, false));
        clock.hear(1_699_999_000, start);
        assert_eq!((clock.offset(unix, start), clock.is_told()), (-1000, true));
        clock.hear(1_699_998_000, start);
        assert_eq!(clock.offset(unix, start), -1000, "it was on the way for long");
        clock.hear(1_699_999_500, start);
        assert_eq!(clock.offset(unix, start), -500);
        clock.set(1_600_000_000, start);
        assert_eq!(clock.seconds(start + second), 1_600_000_001);
    }

    #[test]
    fn nothing_a_server_says_is_too_much_for_it() {
        let start = now();
        let mut clock = ServerClock::new(Duration::ZERO, i64::MIN, start);
        for seconds in [i64::MIN, -1, 0, i64::MAX] {
            clock.hear(seconds, start);
            clock.set(seconds, start);
            assert!(clock.seconds(start + Duration::from_secs(9)) >= 0);
            assert!(clock.offset(Duration::ZERO, start) >= 0);
        }
    }
}
