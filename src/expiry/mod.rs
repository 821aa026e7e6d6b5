//! The timing wheel and the schedule of the reaper, which visits what is due.
//!
//! Owns the entries and the numbers of the reaper's runs. Knows nothing of what an entry is about; the
//! reaper itself is a task of the runtime. Never on the hot path: an acquire or a release does not know
//! that it exists.

mod wheel;

use std::time::Duration;

use tokio::sync::Notify;

use crate::base::clock::{Tick, millis, nanos, unix_time};
use crate::base::sync::{AtomicU64, Mutex, Ordering};
pub(crate) use crate::expiry::wheel::Wheel;

/// What is due when, and how often that was looked at.
pub(crate) struct Schedule<D> {
    wheel: Mutex<Wheel<D>>,
    runs: AtomicU64,
    /// Entries that were looked at, over all runs.
    visits: AtomicU64,
    /// How long the last run took in nanoseconds, without the turns of other tasks in it.
    last_took: AtomicU64,
    /// The wall clock in milliseconds at the end of the last run; at first, when it began to wait.
    last_run: AtomicU64,
    /// Told when the interval has changed under the reaper's sleep.
    changed: Notify,
}

impl<D> Schedule<D> {
    pub(crate) fn new(interval: Duration, now: Tick) -> Self {
        Self {
            wheel: Mutex::new(Wheel::new(millis(interval), now)),
            runs: AtomicU64::new(0),
            visits: AtomicU64::new(0),
            last_took: AtomicU64::new(0),
            last_run: AtomicU64::new(millis(unix_time())),
            changed: Notify::new(),
        }
    }

    pub(crate) fn schedule(&self, due: Tick, entry: D) {
        self.wheel.lock().insert(due, entry);
    }

    /// Schedules several at once.
    pub(crate) fn schedule_all(&self, entries: impl Iterator<Item = (Tick, D)>) {
        let mut wheel = self.wheel.lock();
        for (due, entry) in entries {
            wheel.insert(due, entry);
        }
    }

    /// Takes out everything that is due at `now`, in chunks of at most 64 entries.
    pub(crate) fn take_due(&self, now: Tick) -> Vec<Vec<D>> {
        self.wheel.lock().advance(now)
    }

    /// When the next interval is due.
    pub(crate) fn next_tick(&self) -> Tick {
        self.wheel.lock().next_tick()
    }

    pub(crate) fn set_interval(&self, interval: Duration) {
        self.wheel.lock().set_interval(millis(interval));
        self.changed.notify_one();
    }

    /// Waits until the interval is another.
    pub(crate) async fn interval_changed(&self) {
        self.changed.notified().await;
    }

    /// Counts one run of the reaper.
    pub(crate) fn count_run(&self, visits: u64, took: Duration) {
        self.visits.fetch_add(visits, Ordering::Relaxed);
        self.last_took.store(nanos(took), Ordering::Relaxed);
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.last_run.store(millis(unix_time()), Ordering::Relaxed);
    }

    /// How often the reaper has run.
    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// How many entries the reaper has looked at.
    #[cfg(feature = "metrics")]
    pub(crate) fn visits(&self) -> u64 {
        self.visits.load(Ordering::Relaxed)
    }

    /// How long the reaper's last run took, in nanoseconds.
    #[cfg(feature = "metrics")]
    pub(crate) fn last_took(&self) -> u64 {
        self.last_took.load(Ordering::Relaxed)
    }

    /// When the reaper last ran, or else began to wait: in milliseconds since 1970.
    #[cfg(feature = "metrics")]
    pub(crate) fn last_run(&self) -> u64 {
        self.last_run.load(Ordering::Relaxed)
    }

    /// How many entries are scheduled.
    pub(crate) fn scheduled(&self) -> usize {
        self.wheel.lock().len()
    }
}
