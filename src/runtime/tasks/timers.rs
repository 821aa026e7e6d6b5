//! The worker's timers: commands that are due at a time, earliest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::base::clock::Instant;
use crate::manager::Manager;
use crate::runtime::command::Command;

/// Something to do at a time.
pub(super) struct Timer<M: Manager> {
    at: Instant,
    pub(super) command: Command<M>,
}

impl<M: Manager> PartialEq for Timer<M> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<M: Manager> Eq for Timer<M> {}

impl<M: Manager> PartialOrd for Timer<M> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<M: Manager> Ord for Timer<M> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// What is to be done at a time, earliest first.
pub(super) struct Timers<M: Manager> {
    heap: BinaryHeap<Reverse<Timer<M>>>,
    /// At how many timers those are looked for that nobody needs any more.
    swept_at: usize,
}

/// Fewer timers than this are never swept.
const SWEPT_AT_LEAST: usize = 1024;

impl<M: Manager> Timers<M> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), swept_at: SWEPT_AT_LEAST }
    }

    pub(super) fn push(&mut self, at: Instant, command: Command<M>) {
        if self.heap.len() >= self.swept_at {
            // A deadline may be years away, and what it was for be gone by now.
            self.heap.retain(|Reverse(timer)| timer.command.is_alive());
            self.swept_at = (2 * self.heap.len()).max(SWEPT_AT_LEAST);
        }
        self.heap.push(Reverse(Timer { at, command }));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(timer)| timer.at)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer<M>> {
        let due = self.heap.peek().is_some_and(|Reverse(timer)| timer.at <= now);
        due.then(|| self.heap.pop()).flatten().map(|Reverse(timer)| timer)
    }

    /// Takes out the commands of all timers.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Command<M>> + use<M> {
        let timers = std::mem::take(&mut self.heap).into_iter();
        timers.map(|Reverse(timer)| timer.command)
    }

    /// Gives back the room of a burst that is over.
    pub(super) fn shrink(&mut self) {
        let room = (2 * self.heap.len()).max(SWEPT_AT_LEAST);
        if self.heap.capacity() > 2 * room {
            self.heap.shrink_to(room);
        }
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use std::panic::Location;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::base::clock::now;
    use crate::engine::Waiter;
    use crate::noop::NoopManager;
    use crate::{AccountId, Pool};

    /// A deadline that comes before all others is told at once, and may be far away when its acquire
    /// leaves.
    #[tokio::test(start_paused = true)]
    async fn the_timers_of_acquires_that_have_left_are_few() {
        let pool = Pool::builder(NoopManager::new(1)).build().unwrap();
        let account = pool.account(AccountId::bot(1).unwrap()).unwrap();
        let _held = account.acquire().await.unwrap();
        let inner = account.inner();
        let (began, mut timers) = (now(), Timers::new());
        let mut told = 0;
        for earlier in 0..20_000 {
            // Before that of the acquire above, too.
            let deadline = began + Duration::from_secs(9) - Duration::from_micros(earlier);
            let waiter = Waiter::new(false, began, Some(deadline), Location::caller(), None);
            let effects = inner.pool.enqueue_waiter(&waiter, false, 0).unwrap();
            if let Some(watch) = effects.and_then(|effects| effects.watch) {
                timers.push(watch.at, Command::Watch(Arc::downgrade(inner), watch));
                told += 1;
            }
            assert!(inner.pool.cancel_waiter(&waiter).unused.is_empty());
        }
        assert_eq!(told, 20_000);
        assert!(timers.heap.len() <= SWEPT_AT_LEAST, "{}", timers.heap.len());
    }
}
