//! The worker: the one task of a pool that receives commands and spawns the tasks for them.
//!
//! Owns the tasks of dials, checks and closes and the timers of drains and waits. It ends when the pool
//! and every account, lease and dial of it are gone.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use crate::base::clock::{Instant, now};
use crate::base::panics::{catch_future, catch_logged};
use crate::base::text::display_safely;
use crate::engine::Connection;
use crate::manager::Manager;
use crate::runtime::account::AccountInner;
use crate::runtime::command::Command;
use crate::runtime::tasks::check::{check, recheck};
use crate::runtime::tasks::dial::dial;
use crate::runtime::tasks::timers::{Timer, Timers};

/// How many commands are fetched from the queue at a time.
const BATCH: usize = 64;
/// How many connections may be checked at the same time.
const RECHECKS_MAX: usize = 16;

/// What the worker has yet to do.
struct Worker<M: Manager> {
    commands: UnboundedReceiver<Command<M>>,
    batch: Vec<Command<M>>,
    timers: Timers<M>,
}

/// The worker may be dropped together with its runtime, at any moment. Nobody waits for what it
/// had before it then: commands end here, and those that come later end where they are sent.
impl<M: Manager> Drop for Worker<M> {
    fn drop(&mut self) {
        self.commands.close();
        let batch = std::mem::take(&mut self.batch);
        let timers = self.timers.drain();
        let sent = std::iter::from_fn(|| self.commands.try_recv().ok());
        for command in batch.into_iter().chain(timers).chain(sent) {
            command.run_without_worker();
        }
    }
}

/// Runs commands until nobody is left who could send one. The worker is made at once: a runtime
/// that ends before it has begun this drops what it was given, and nothing of what it would have
/// made.
pub(crate) fn work<M: Manager>(
    commands: UnboundedReceiver<Command<M>>,
) -> impl Future<Output = ()> + Send {
    let batch = Vec::with_capacity(BATCH);
    run(Worker { commands, batch, timers: Timers::new() })
}

async fn run<M: Manager>(mut worker: Worker<M>) {
    let mut tasks = JoinSet::new();
    let rechecks = Arc::new(Semaphore::new(RECHECKS_MAX));
    loop {
        let Worker { commands, batch, timers } = &mut worker;
        let next = timers.next();
        tokio::select! {
            count = commands.recv_many(batch, BATCH) => {
                if count == 0 {
                    break;
                }
                // One by one off the worker, so that none is lost if this is cut short.
                batch.reverse();
                while let Some(command) = batch.pop() {
                    handle_command(command, &mut tasks, timers, &rechecks);
                }
            }
            () = until(next) => {
                let now = now();
                while let Some(timer) = timers.pop_due(now) {
                    // What it lets go of may be the last hold on a connection, whose end is the
                    // manager's code.
                    catch_logged("the end of a connection", || handle_timer(timer, now));
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

fn handle_command<M: Manager>(
    command: Command<M>,
    tasks: &mut JoinSet<()>,
    timers: &mut Timers<M>,
    rechecks: &Arc<Semaphore>,
) {
    match command {
        Command::Recheck(inner, connection, within) => {
            let rechecks = Arc::clone(rechecks);
            tasks.spawn(async move {
                let _place = rechecks.acquire().await;
                let (inner, connection) = (inner.upgrade(), connection.upgrade());
                // Asked again in its turn: whatever came meanwhile may have shown it.
                if let (Some(inner), Some(connection)) = (inner, connection)
                    && inner.needs_check(&connection, within)
                {
                    recheck(inner, connection).await;
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
            timers.push(at, command);
        }
        Command::Watch(_, watch) => timers.push(watch.at, command),
        Command::Redispatch(_, at) | Command::Probe(_, _, at) => timers.push(at, command),
    }
}

fn handle_timer<M: Manager>(timer: Timer<M>, now: Instant) {
    match timer.command {
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
        Command::Redispatch(inner, _) => {
            if let Some(inner) = inner.upgrade() {
                let effects = inner.pool.redispatch(inner.context().clock.tick());
                inner.apply(effects);
            }
        }
        Command::Probe(inner, slot, _) => {
            if let Some(inner) = inner.upgrade() {
                inner.apply(inner.pool.probe(slot, inner.context().clock.tick()));
            }
        }
        Command::Dial(..) | Command::Check(..) | Command::Close(..) | Command::Recheck(..) => {
            unreachable!("BUG: these have no time")
        }
    }
}

fn report(done: Result<(), tokio::task::JoinError>) {
    if let Err(error) = done {
        let error = display_safely(&error);
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
    match tokio::time::timeout(limit, catch_future(context.manager.close(&live.connection))).await {
        Ok(Some(())) => {}
        Ok(None) => tracing::warn!(id = %closing.connection.id, "the manager panicked in close"),
        Err(_) => tracing::warn!(id = %closing.connection.id, "a close took over {limit:?}"),
    }
}
