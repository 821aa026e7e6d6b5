//! The only module that reads time.
//!
//! Owns the pool's [`Clock`]: milliseconds since the pool was built, once exactly and once as a
//! coarse word that the hot path reads for the price of a load. Never sleeps and owns no task;
//! the pool refreshes the coarse word every [`COARSE_STEP`].
//!
//! # Orderings
//! The coarse word is a hint that guards nothing, so every access is relaxed.

use std::time::{Duration, SystemTime};

pub(crate) use tokio::time::Instant;

use crate::sync::{AtomicU64, Ordering};

/// Milliseconds since [`EPOCH`].
pub(crate) type Tick = u64;

/// The tick at which a clock starts. Far from zero, so that "long ago" is a tick as well.
pub(crate) const EPOCH: Tick = 1 << 40;

/// How often the coarse word is refreshed while connections live.
pub(crate) const COARSE_STEP: Duration = Duration::from_millis(10);

/// Time as the pool sees it: monotonic, whatever the wall clock does.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    coarse: AtomicU64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { started: now(), coarse: AtomicU64::new(EPOCH) }
    }

    /// The last tick that somebody read exactly; up to [`COARSE_STEP`] old while connections
    /// live.
    #[inline]
    pub(crate) fn coarse(&self) -> Tick {
        self.coarse.load(Ordering::Relaxed)
    }

    /// The exact tick; refreshes the coarse word on the way.
    pub(crate) fn tick(&self) -> Tick {
        let tick = self.tick_at(now());
        // `fetch_max`, because a thread that was preempted between reading and storing must not
        // turn the word back.
        self.coarse.fetch_max(tick, Ordering::Relaxed).max(tick)
    }

    /// The tick of an instant.
    pub(crate) fn tick_at(&self, instant: Instant) -> Tick {
        EPOCH + millis(instant.saturating_duration_since(self.started))
    }

    /// The instant of a tick.
    pub(crate) fn instant_of(&self, tick: Tick) -> Instant {
        self.started + Duration::from_millis(tick.saturating_sub(EPOCH))
    }
}

/// The monotonic clock, which a test may pause.
#[expect(clippy::disallowed_methods, reason = "this is the module that reads time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of day, since 1970; no interval is measured by it.
#[expect(clippy::disallowed_methods, reason = "this is the module that reads time")]
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// A duration in whole milliseconds, at most a few hundred years.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1 << 43)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn coarse_time_follows_exact_time_and_never_goes_back() {
        let clock = Clock::new();
        assert_eq!(clock.coarse(), EPOCH);
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(clock.coarse(), EPOCH, "nobody has read the clock yet");
        assert_eq!(clock.tick(), EPOCH + 1500);
        assert_eq!(clock.coarse(), EPOCH + 1500);
        let earlier = now() - Duration::from_secs(60);
        assert_eq!(clock.tick_at(earlier), EPOCH, "an instant before the start is the start");
        assert_eq!(clock.coarse(), EPOCH + 1500);
    }
}
