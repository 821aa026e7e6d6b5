//! Pause detector: whether the process has run all the time, by a clock that counts sleep.
//!
//! Owns the time of the last tick, and what follows from a missing one. A process that was stopped, or whose machine
//! slept, may have been taken for gone meanwhile: Telegram has closed its connections, and somebody else
//! may use its keys. Whoever wakes up first finds the tick old and is refused; the thread that ticks then
//! raises the epoch, which ends every connection from before.
//!
//! # Orderings
//! The tick is released after the epoch and acquired before it is compared, so that whoever finds a
//! new tick after a pause also finds the epoch that the pause has ended.

use std::time::Duration;

use tokio::sync::watch;

use super::{Epoch, Fence, Fenced};
use crate::base::clock::{millis, time_with_sleep};
use crate::base::sync::{AtomicU64, Ordering};

/// How often the thread ticks.
pub(super) const STEP: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct PauseDetector {
    /// After so long without a tick nothing may be written.
    pause_max: Duration,
    now: fn() -> Duration,
    /// In milliseconds.
    last: AtomicU64,
    epoch: AtomicU64,
    fence: watch::Sender<Fence>,
}

impl PauseDetector {
    pub(super) fn new(pause_max: Duration) -> Self {
        Self::with_clock(pause_max, time_with_sleep)
    }

    fn with_clock(pause_max: Duration, now: fn() -> Duration) -> Self {
        Self {
            pause_max,
            now,
            last: AtomicU64::new(millis(now())),
            epoch: AtomicU64::new(0),
            fence: watch::Sender::new(Fence::default()),
        }
    }

    /// The epoch of now, in which a connection may begin.
    pub(super) fn begin(&self) -> Result<Epoch, Fenced> {
        self.alive()?;
        Ok(Epoch(self.epoch.load(Ordering::Relaxed)))
    }

    /// Whether a connection of this epoch may be written to.
    pub(super) fn guard(&self, epoch: Epoch) -> Result<(), Fenced> {
        self.alive()?;
        if self.epoch.load(Ordering::Relaxed) == epoch.0 { Ok(()) } else { Err(Fenced::Stopped) }
    }

    fn alive(&self) -> Result<(), Fenced> {
        if self.missed() >= self.pause_max { Err(Fenced::Stopped) } else { Ok(()) }
    }

    fn missed(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Acquire));
        (self.now)().saturating_sub(last)
    }

    /// Notes that the process runs. After a pause that was too long, every connection from before it must end first.
    pub(super) fn tick(&self) {
        let stopped = self.missed();
        if stopped >= self.pause_max {
            let epoch = Epoch(self.epoch.fetch_add(1, Ordering::Relaxed) + 1);
            tracing::warn!(
                ?stopped,
                "the process did not run for long: every connection is closed"
            );
            self.fence.send_replace(Fence { epoch, stopped });
        }
        self.last.store(millis((self.now)()), Ordering::Release);
    }

    /// Ends every connection that there is: this process may not be the only owner any more.
    pub(super) fn fence_all(&self) {
        let epoch = Epoch(self.epoch.fetch_add(1, Ordering::Relaxed) + 1);
        self.fence.send_replace(Fence { epoch, stopped: Duration::ZERO });
    }

    pub(super) fn fence(&self) -> watch::Receiver<Fence> {
        self.fence.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static TIME: Cell<u64> = const { Cell::new(1_000_000) };
    }

    fn time() -> Duration {
        Duration::from_millis(TIME.get())
    }

    fn pass(seconds: u64) {
        TIME.set(TIME.get() + seconds * 1000);
    }

    #[test]
    fn the_first_write_after_a_long_pause_is_refused_and_the_connection_never_serves_again() {
        let pauses = PauseDetector::with_clock(Duration::from_secs(75), time);
        let mut fence = pauses.fence();
        let before = pauses.begin().unwrap();
        pass(74);
        assert_eq!(pauses.guard(before), Ok(()));
        pauses.tick();
        assert!(!fence.has_changed().unwrap(), "it was not stopped for long");
        pass(75);
        // Before the thread has had its turn.
        assert_eq!(pauses.guard(before), Err(Fenced::Stopped));
        assert_eq!(pauses.begin(), Err(Fenced::Stopped));
        pauses.tick();
        assert_eq!(pauses.guard(before), Err(Fenced::Stopped), "nor afterwards");
        let after = pauses.begin().unwrap();
        assert_eq!(pauses.guard(after), Ok(()));
        let told = *fence.borrow_and_update();
        assert_eq!((told.epoch, told.stopped), (after, Duration::from_secs(75)));
    }
}
