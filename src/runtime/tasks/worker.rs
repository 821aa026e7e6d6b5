//! The pool's worker: the one task that carries out what takes time.
//!
//! Owns the tasks of dials, checks and closes and the timers of drains and waits. It ends when the pool
//! and every account, lease and dial of it are gone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use crate::base::caught::{caught, guarded, text_of};
use crate::base::clock::{Instant, now};
use crate::engine::Connection;
use crate::manager::Manager;
use crate::runtime::account::AccountInner;
use crate::runtime::command::Command;
use crate::runtime::tasks::check::{check, prove_in_use};
use crate::runtime::tasks::dial::dial;

/// How many errands are fetched from the queue at a time.
const BATCH: usize = 64;
/// How many connections may be asked for a proof of their session at the same time.
const PROOFS_MAX: usize = 16;

/// Something to do at a time.
struct Timer<M: Manager> {
    at: Instant,
    errand: Command<M>,
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
struct Timers<M: Manager> {
    heap: BinaryHeap<Reverse<Timer<M>>>,
    /// At how many timers those are looked for that nobody needs any more.
    swept_at: usize,
}

/// Fewer timers than this are never swept.
const SWEPT_AT_LEAST: usize = 1024;

impl<M: Manager> Timers<M> {
    fn new() -> Self {
        Self { heap: BinaryHeap::new(), swept_at: SWEPT_AT_LEAST }
    }

    fn push(&mut self, at: Instant, errand: Command<M>) {
        if self.heap.len() >= self.swept_at {
            // A deadline may be years away, and what it was for be gone by now.
            self.heap.retain(|Reverse(timer)| timer.errand.is_alive());
            self.swept_at = (2 * self.heap.len()).max(SWEPT_AT_LEAST);
        }
        self.heap.push(Reverse(Timer { at, errand }));
    }

    fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(timer)| timer.at)
    }

    fn pop_due(&mut self, now: Instant) -> Option<Timer<M>> {
        let due = self.heap.peek().is_some_and(|Reverse(timer)| timer.at <= now);
        due.then(|| self.heap.pop()).flatten().map(|Reverse(timer)| timer)
    }

    /// Gives back the room of a burst that is over.
    fn shrink(&mut self) {
        let room = (2 * self.heap.len()).max(SWEPT_AT_LEAST);
        if self.heap.capacity() > 2 * room {
            self.heap.shrink_to(room);
        }
    }
}

/// What the worker has yet to do.
struct Desk<M: Manager> {
    errands: UnboundedReceiver<Command<M>>,
    batch: Vec<Command<M>>,
    timers: Timers<M>,
}

/// The worker may be dropped together with its runtime, at any moment. Nobody waits for what it
/// had before it then: errands end here, and those that come later end where they are sent.
impl<M: Manager> Drop for Desk<M> {
    fn drop(&mut self) {
        self.errands.close();
        let timers = std::mem::take(&mut self.timers.heap);
        let batch = std::mem::take(&mut self.batch);
        let timers = timers.into_iter().map(|Reverse(timer)| timer.errand);
        let sent = std::iter::from_fn(|| self.errands.try_recv().ok());
        for errand in batch.into_iter().chain(timers).chain(sent) {
            errand.carry_out_without_worker();
        }
    }
}

/// Runs errands until nobody is left who could send one. The desk is made at once: a runtime
/// that ends before it has begun this drops what it was given, and nothing of what it would have
/// made.
pub(crate) fn work<M: Manager>(
    errands: UnboundedReceiver<Command<M>>,
) -> impl Future<Output = ()> + Send {
    let batch = Vec::with_capacity(BATCH);
    run(Desk { errands, batch, timers: Timers::new() })
}

async fn run<M: Manager>(mut desk: Desk<M>) {
    let mut tasks = JoinSet::new();
    let proofs = Arc::new(Semaphore::new(PROOFS_MAX));
    loop {
        let Desk { errands, batch, timers } = &mut desk;
        let next = timers.next();
        tokio::select! {
            count = errands.recv_many(batch, BATCH) => {
                if count == 0 {
                    break;
                }
                // One by one off the desk, so that none is lost if this is cut short.
                batch.reverse();
                while let Some(errand) = batch.pop() {
                    begin(errand, &mut tasks, timers, &proofs);
                }
            }
            () = until(next) => {
                let now = now();
                while let Some(timer) = timers.pop_due(now) {
                    // What it lets go of may be the last hold on a connection, whose end is the
                    // manager's code.
                    guarded("the end of a connection", || fire(timer, now));
                }
                timers.shrink();
            }
            Some(done) = tasks.join_next(), if !tasks.is_empty() => report(done),
        }
    }
    while let Some(done) = tasks.join_next().await {
        report(done);
    }
}

async fn until(next: Option<Instant>) {
    match next {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn begin<M: Manager>(
    errand: Command<M>,
    tasks: &mut JoinSet<()>,
    timers: &mut Timers<M>,
    proofs: &Arc<Semaphore>,
) {
    match errand {
        Command::Prove(inner, connection, within) => {
            let proofs = Arc::clone(proofs);
            tasks.spawn(async move {
                let _place = proofs.acquire().await;
                let (inner, connection) = (inner.upgrade(), connection.upgrade());
                // Asked again in its turn: whatever came meanwhile may have shown it.
                if let (Some(inner), Some(connection)) = (inner, connection)
                    && inner.needs_proof(&connection, within)
                {
                    prove_in_use(inner, connection).await;
                }
            });
        }
        Command::Dial(inner, order) => {
            tasks.spawn(dial(inner, order));
        }
        Command::Check(inner, connection) => {
            tasks.spawn(check(inner, connection));
        }
        Command::Close(inner, connection) => {
            tasks.spawn(close(Closing { inner, connection }));
        }
        Command::Drain(ref inner, _) => {
            let Some(inner) = inner.upgrade() else { return };
            let at = now() + inner.context().config().pool.drain_timeout;
            timers.push(at, errand);
        }
        Command::Watch(_, watch) => timers.push(watch.at, errand),
        Command::Look(_, at) | Command::Probe(_, _, at) => timers.push(at, errand),
    }
}

fn fire<M: Manager>(timer: Timer<M>, now: Instant) {
    match timer.errand {
        Command::Drain(inner, connection) => {
            if let (Some(inner), Some(connection)) = (inner.upgrade(), connection.upgrade()) {
                let effects = inner.pool.force(&connection);
                inner.apply(effects);
            }
        }
        Command::Watch(inner, _) => {
            if let Some(inner) = inner.upgrade() {
                inner.apply(inner.pool.expire_waiters(now));
            }
        }
        Command::Look(inner, _) => {
            if let Some(inner) = inner.upgrade() {
                let effects = inner.pool.look(inner.context().clock.tick());
                inner.apply(effects);
            }
        }
        Command::Probe(inner, slot, _) => {
            if let Some(inner) = inner.upgrade() {
                inner.apply(inner.pool.probe(slot, inner.context().clock.tick()));
            }
        }
        Command::Dial(..) | Command::Check(..) | Command::Close(..) | Command::Prove(..) => {
            unreachable!("BUG: these have no time")
        }
    }
}

fn report(done: Result<(), tokio::task::JoinError>) {
    if let Err(error) = done {
        let error = text_of(&error);
        tracing::error!(%error, "a task of the pool has failed");
    }
}

/// A close under way. Its place comes back when this is dropped, however the close ends.
struct Closing<M: Manager> {
    inner: Arc<AccountInner<M>>,
    connection: Arc<Connection<M::Connection>>,
}

impl<M: Manager> Drop for Closing<M> {
    fn drop(&mut self) {
        let effects = self.inner.closed(&self.connection);
        self.inner.apply(effects);
    }
}

async fn close<M: Manager>(closing: Closing<M>) {
    let context = closing.inner.context();
    let Some(live) = closing.connection.live() else { return };
    let limit = context.config().pool.close_timeout;
    match tokio::time::timeout(limit, caught(context.manager.close(&live.connection))).await {
        Ok(Some(())) => {}
        Ok(None) => tracing::warn!(id = %closing.connection.id, "the manager panicked in close"),
        Err(_) => tracing::warn!(id = %closing.connection.id, "a close took over {limit:?}"),
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use std::panic::Location;
    use std::time::Duration;

    use super::*;
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
            let effects = inner.pool.join_line(&waiter, false, 0).unwrap();
            if let Some(watch) = effects.and_then(|effects| effects.watch) {
                timers.push(watch.at, Command::Watch(Arc::downgrade(inner), watch));
                told += 1;
            }
            assert!(inner.pool.leave_line(&waiter).unused.is_empty());
        }
        assert_eq!(told, 20_000);
        assert!(timers.heap.len() <= SWEPT_AT_LEAST, "{}", timers.heap.len());
    }
}
