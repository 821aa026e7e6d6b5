//! The check of a connection that was idle for long, or is suspect, before it is lent again.
//!
//! Owns the question, its answer, and what becomes of the connection. The worker runs it, like a dial;
//! whoever found the connection waits meanwhile.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use crate::base::panics::catch_future;
use crate::base::timer::with_runtime_context;
use crate::connection::CloseReason;
use crate::engine::Connection;
use crate::manager::Manager;
use crate::runtime::account::AccountInner;

/// A check under way, with the lease of its connection, which comes back when this is dropped, however
/// the check ends.
struct Checking<M: Manager> {
    inner: Arc<AccountInner<M>>,
    connection: Option<Arc<Connection<M::Connection>>>,
    /// Whether it has passed, once that is known.
    passed: Option<bool>,
}

impl<M: Manager> Drop for Checking<M> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let inner = &self.inner;
        let now = inner.context().clock.tick();
        let effects = match self.passed {
            Some(true) => {
                connection.pass_check();
                // To the tick, by which whoever waits for it knows that it has been checked since.
                inner.release_at(connection, now);
                inner.pool.end_check(now)
            }
            Some(false) => inner.pool.fail_check(connection, CloseReason::CheckFailed, now),
            // The runtime ends, which is no fault of the connection's.
            None => inner.pool.fail_check(connection, CloseReason::Shutdown, now),
        };
        inner.apply(effects);
    }
}

/// Has the manager check that a connection lives that was idle for long, or is suspect. It takes its time
/// whatever becomes of the acquire that asked for it: what a caller cuts short would tell nothing.
pub(crate) fn check<M: Manager>(
    inner: Arc<AccountInner<M>>,
    connection: Arc<Connection<M::Connection>>,
) -> impl Future<Output = ()> + Send {
    let limit = inner.context().config().pool.check_timeout;
    // Made at once: a runtime that ends before it has begun this drops what it was given.
    let checking = Checking { inner, connection: Some(connection), passed: None };
    async move {
        let mut checking = checking;
        let Some(connection) = checking.connection.clone() else { return };
        checking.passed = Some(ask(&checking.inner, &connection, limit).await.is_ok());
    }
}

/// Has the manager check that a connection is any good that somebody may be using, and draws the
/// consequences: nobody waits for the answer.
pub(crate) async fn recheck<M: Manager>(
    inner: Arc<AccountInner<M>>,
    record: Arc<Connection<M::Connection>>,
) {
    let limit = inner.context().config().pool.check_timeout;
    if let Err(Some(reason)) = ask(&inner, &record, limit).await {
        let effects = inner.pool.retire(&record, reason, inner.context().clock.tick());
        inner.apply(effects);
    }
}

/// Asks the manager whether a connection is any good. The error is why it must be closed, if it must: an
/// error of the server's own says nothing of the connection.
async fn ask<M: Manager>(
    inner: &Arc<AccountInner<M>>,
    record: &Connection<M::Connection>,
    limit: Duration,
) -> Result<(), Option<CloseReason>> {
    let manager = &inner.context().manager;
    let failed = Some(CloseReason::CheckFailed);
    // All of it is the manager's code: the call, its future, and what it makes of the error.
    let check = catch_future(async {
        let Some(live) = record.live() else { return Ok(()) };
        let check = async { manager.check(&live.connection).await };
        match tokio::time::timeout(limit, check).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(inner.learn(&error, record.slot, Some(record)).1),
            Err(_) => {
                record.count_error(format!("no answer to the check within {limit:?}"));
                Err(failed)
            }
        }
    });
    let (account, slot) = (inner.pool.account(), record.slot);
    let span = tracing::debug_span!("check", %account, slot);
    // The caller may be on another runtime than the connection, or on none.
    let check = with_runtime_context(&inner.context().handle, check.instrument(span));
    let passed = check.await.unwrap_or_else(|| {
        record.count_error("the manager panicked while checking".to_owned());
        Err(failed)
    });
    if passed.is_ok() {
        record.set_suspect(false);
    }
    inner.counters().count_check(passed.is_ok());
    passed
}
