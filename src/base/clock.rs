//! The clock: the only module that reads time.
//!
//! Owns the pool's [`Clock`]: milliseconds since the pool was built, once exactly and once as a
//! coarse word that the hot path reads for the price of a load. Never sleeps and owns no task;
//! the pool refreshes the coarse word every [`COARSE_STEP`] while it is much asked for. While it is
//! not, whoever asks reads the exact time instead: that costs less than to wake up for nobody.
//!
//! # Orderings
//! The coarse word is a hint that guards nothing, and so is whether it is kept, so every access is
//! relaxed.

use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

pub(crate) use tokio::time::Instant;

use crate::base::sync::{AtomicU64, Ordering};

/// Milliseconds since [`EPOCH`].
pub(crate) type Tick = u64;

/// The tick at which a clock starts. Far from zero, so that "long ago" is a tick as well.
pub(crate) const EPOCH: Tick = 1 << 40;

/// How often the coarse word is refreshed while it is much asked for.
pub(crate) const COARSE_STEP: Duration = Duration::from_millis(10);
/// How often it is checked whether that is so, while it is not.
const QUIET_STEP: Duration = Duration::from_millis(100);
/// How many readings in such a time are many: for fewer a timer costs more than exact readings.
const MANY: u64 = 256;
/// For how many steps it is taken to last: then it is checked again, for one step.
const BUSY_STEPS: u32 = 100;

/// Time as the pool sees it: monotonic, whatever the wall clock does.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    coarse: AtomicU64,
    /// One while nobody refreshes the coarse word.
    quiet: AtomicU64,
    /// Readings since it became quiet, or since that was last checked.
    reads: AtomicU64,
    /// Told when they have become many.
    pub(crate) busy: Notify,
}

/// When the coarse word is to be refreshed: the state of the task that does it.
#[derive(Debug, Default)]
pub(crate) struct RefreshPace {
    busy_steps: u32,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            started: now(),
            coarse: AtomicU64::new(EPOCH),
            quiet: AtomicU64::new(1),
            reads: AtomicU64::new(0),
            busy: Notify::new(),
        }
    }

    /// The tick, up to [`COARSE_STEP`] late while it is much asked for.
    #[inline]
    pub(crate) fn coarse(&self) -> Tick {
        if self.quiet.load(Ordering::Relaxed) != 0 {
            return self.read_exact();
        }
        self.coarse.load(Ordering::Relaxed)
    }

    #[cold]
    fn read_exact(&self) -> Tick {
        if self.reads.fetch_add(1, Ordering::Relaxed) + 1 == MANY {
            self.busy.notify_one();
        }
        self.tick()
    }

    /// Refreshes the coarse word. Returns when to do so again.
    pub(crate) fn refresh(&self, pace: &mut RefreshPace) -> Duration {
        self.tick();
        if pace.busy_steps > 0 {
            pace.busy_steps -= 1;
            if pace.busy_steps == 0 {
                self.reads.store(0, Ordering::Relaxed);
                self.quiet.store(1, Ordering::Relaxed);
            }
            return COARSE_STEP;
        }
        if self.reads.swap(0, Ordering::Relaxed) < MANY {
            return QUIET_STEP;
        }
        self.quiet.store(0, Ordering::Relaxed);
        pace.busy_steps = BUSY_STEPS;
        COARSE_STEP
    }

    /// From now on nobody refreshes the coarse word.
    pub(crate) fn stop_refreshing(&self, pace: &mut RefreshPace) {
        pace.busy_steps = 0;
        self.quiet.store(1, Ordering::Relaxed);
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

/// The time since some fixed point, the time that the machine slept included. The monotonic clock
/// stands still in a sleep, so that nothing that must not outlast one may be measured by it.
#[cfg(all(feature = "telegram", unix))]
pub(crate) fn time_with_sleep() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    // Apple's counts sleep, unlike the one that the standard library reads there.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    clock_gettime(CLOCK).map(Duration::from).unwrap_or_default()
}

/// The same; elsewhere the monotonic clock counts sleep.
#[cfg(all(feature = "telegram", not(unix)))]
#[expect(clippy::disallowed_methods, reason = "this is the module that reads time")]
pub(crate) fn time_with_sleep() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

/// A duration in whole milliseconds, at most a few hundred years.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1 << 43)
}

/// A duration in whole nanoseconds, at most some hundred years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn coarse_time_follows_exact_time_and_never_goes_back() {
        let clock = Clock::new();
        assert_eq!(clock.coarse(), EPOCH);
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(clock.coarse(), EPOCH + 1500);
        let earlier = now() - Duration::from_secs(60);
        assert_eq!(clock.tick_at(earlier), EPOCH, "an instant before the start is the start");
        assert_eq!(clock.coarse(), EPOCH + 1500);
    }

    #[tokio::test(start_paused = true)]
    async fn the_coarse_word_is_kept_while_many_ask_and_exact_while_few_do() {
        let (clock, mut pace) = (Clock::new(), RefreshPace::default());
        let ask = |times: u64| (0..times).for_each(|_| assert!(clock.coarse() >= EPOCH));
        ask(MANY - 1);
        assert_eq!(clock.refresh(&mut pace), QUIET_STEP, "few have asked");
        ask(MANY);
        assert_eq!(clock.refresh(&mut pace), COARSE_STEP);
        let kept = clock.coarse();
        tokio::time::advance(COARSE_STEP).await;
        assert_eq!(clock.coarse(), kept, "it is the word that answers");
        // As long as many ask in the steps in which it is looked.
        for _ in 0..3 * BUSY_STEPS {
            ask(MANY);
            assert_eq!(clock.refresh(&mut pace), COARSE_STEP);
        }
        for _ in 0..BUSY_STEPS {
            clock.refresh(&mut pace);
        }
        assert_eq!(clock.refresh(&mut pace), QUIET_STEP, "nobody asks any more");
        tokio::time::advance(COARSE_STEP).await;
        assert!(clock.coarse() > kept);
        ask(MANY);
        assert_eq!(clock.refresh(&mut pace), COARSE_STEP);
        clock.stop_refreshing(&mut pace);
        let now = clock.coarse();
        tokio::time::advance(COARSE_STEP).await;
        assert_eq!(clock.coarse(), now + 10, "exact, while nobody refreshes it");
    }
}
