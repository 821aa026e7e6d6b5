//! The occupancy of a pool: how many slots are in use, and the wait for that to change.
//!
//! Owns the count, from the order of a dial to the end of a close, and the two ways to wait for
//! it. Knows nothing of accounts.
//!
//! # Orderings
//! A slot is given up with release and the count is read with acquire, so that whoever finds
//! the pool empty sees all that was done before: the end of the last close included. Taking a
//! slot publishes nothing. Nobody sleeps through a change: who waits is registered with the
//! [`Notify`] before it reads the count, and its lock orders the two.

use tokio::sync::Notify;

use crate::base::sync::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Occupancy {
    slots: AtomicU64,
    /// Told when the first slot is taken.
    taken: Notify,
    /// Told whenever a slot is free again.
    vacated: Notify,
}

impl Occupancy {
    pub(crate) fn new() -> Self {
        Self { slots: AtomicU64::new(0), taken: Notify::new(), vacated: Notify::new() }
    }

    /// A slot is taken for a dial.
    pub(crate) fn occupy(&self) {
        if self.slots.fetch_add(1, Ordering::Relaxed) == 0 {
            self.taken.notify_waiters();
        }
    }

    /// A slot is free again.
    pub(crate) fn vacate(&self) {
        self.slots.fetch_sub(1, Ordering::Release);
        self.vacated.notify_waiters();
    }

    /// How many slots are taken.
    pub(crate) fn slots(&self) -> u64 {
        self.slots.load(Ordering::Acquire)
    }

    /// Returns while at least one slot is taken.
    pub(crate) async fn until_taken(&self) {
        let mut taken = std::pin::pin!(self.taken.notified());
        taken.as_mut().enable();
        if self.slots() == 0 {
            taken.await;
        }
    }

    /// Waits until something holds that may change with a slot that comes free.
    pub(crate) async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let mut vacated = std::pin::pin!(self.vacated.notified());
            vacated.as_mut().enable();
            if holds() {
                return;
            }
            vacated.await;
        }
    }
}

#[cfg(all(test, pool_loom))]
mod model {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn model_whoever_finds_the_pool_empty_sees_the_end_of_every_close() {
        loom::model(|| {
            let occupancy = Arc::new(Occupancy::new());
            let closed = Arc::new(AtomicU64::new(0));
            occupancy.occupy();
            let closer = {
                let (occupancy, closed) = (Arc::clone(&occupancy), Arc::clone(&closed));
                loom::thread::spawn(move || {
                    closed.store(1, Ordering::Relaxed);
                    occupancy.vacate();
                })
            };
            if occupancy.slots() == 0 {
                assert_eq!(closed.load(Ordering::Relaxed), 1, "empty, and not closed");
            }
            drop(closer.join());
        });
    }
}
