//! A manager that times closes: its connections are nothing but the time of their last use.
//!
//! Owns the count of what was opened and closed, and how late each close of the reaper's was.

use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use telepool::{AccountId, Lease, Manager, Profile};
use tokio::time::Instant;

use super::gauges::{Percentiles, Steps};
use crate::clock::now;

/// Relaxed throughout: counts and times guard nothing.
pub(super) struct TimedManager {
    began: Instant,
    max_idle: Duration,
    opened: AtomicU64,
    closed: AtomicU64,
    /// When `max_idle` came into force, in nanoseconds since the beginning.
    armed: AtomicU64,
    late: Mutex<Steps>,
}

/// In nanoseconds since the beginning.
pub(super) struct LastUse(AtomicU64);

impl TimedManager {
    /// Closes are judged by this idle time, from when it is [armed](Self::arm).
    pub(super) fn new(max_idle: Duration) -> Self {
        Self {
            began: now(),
            max_idle,
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            armed: AtomicU64::new(0),
            late: Mutex::new(Steps::new()),
        }
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    pub(super) fn closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }

    /// The idle time comes into force now: what has expired by then is due now.
    pub(super) fn arm(&self) {
        self.armed.store(self.nanos(), Ordering::Relaxed);
    }

    /// Notes that the connection of a lease is in use now.
    pub(super) fn touch(&self, lease: &Lease<Self>) {
        lease.0.store(self.nanos(), Ordering::Relaxed);
    }

    /// How long after they were due the connections were closed.
    pub(super) fn late(&self) -> Percentiles {
        self.late.lock().expect("BUG: nobody panics with this lock").percentiles()
    }
}

impl Manager for TimedManager {
    type Connection = LastUse;
    type Error = Infallible;

    fn profile(&self, _account: AccountId) -> Option<Profile> {
        Some(Profile::new(1))
    }

    async fn connect(&self, _account: AccountId, _slot: u16) -> Result<LastUse, Infallible> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(LastUse(AtomicU64::new(self.nanos())))
    }

    async fn close(&self, connection: &LastUse) {
        let max_idle = u64::try_from(self.max_idle.as_nanos()).unwrap_or(u64::MAX);
        let due = connection.0.load(Ordering::Relaxed).saturating_add(max_idle);
        let due = due.max(self.armed.load(Ordering::Relaxed));
        let late = Duration::from_nanos(self.nanos().saturating_sub(due));
        self.late.lock().expect("BUG: nobody panics with this lock").record(late);
        self.closed.fetch_add(1, Ordering::Relaxed);
    }
}
