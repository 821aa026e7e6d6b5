//! The check of a connection that was idle for long, or is in doubt, before it is lent again.
//!
//! Owns the question and its answer. What follows from the answer is the acquire's business.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use crate::account_pool::{CloseReason, Connection, Source};
use crate::caught::caught;
use crate::clock::Tick;
use crate::entry::Entry;
use crate::manager::Manager;
use crate::runtime::inside;

/// Whether a connection was idle for so long, or is in such doubt, that the manager must prove it.
#[inline]
pub(super) fn needs_check<M: Manager>(
    entry: &Entry<M>,
    connection: &Connection<M::Connection>,
    source: Source,
    now: Tick,
) -> bool {
    let unused = now.saturating_sub(connection.last_used());
    let is_stale = unused > entry.shared.hot.check_after_ms()
        && match source {
            Source::Idle => true,
            // Of two who take over what lies parked at the same time, each may see the other's lease
            // and neither that the connection lay idle.
            Source::Shared => entry.pool.parks(),
            Source::New => false,
        };
    is_stale || connection.is_suspect()
}

/// Has the manager prove that an idle connection lives; learns from the error if it does not.
pub(super) async fn prove<M: Manager>(
    entry: Arc<Entry<M>>,
    record: Arc<Connection<M::Connection>>,
    limit: Duration,
) -> bool {
    ask(&entry, &record, limit).await.is_ok()
}

/// The same for a connection that somebody may be using, and draws the consequences: the pool's own
/// check, whose question nobody waits for.
pub(crate) async fn prove_in_use<M: Manager>(
    entry: Arc<Entry<M>>,
    record: Arc<Connection<M::Connection>>,
) {
    let limit = entry.shared.config().pool.check_timeout;
    if let Err(Some(reason)) = ask(&entry, &record, limit).await {
        let orders = entry.pool.retire(&record, reason);
        entry.carry_out(orders);
    }
}

/// Asks the manager whether a connection is any good. The error is why it must be closed, if it must: an
/// error of the server's own says nothing of the connection.
async fn ask<M: Manager>(
    entry: &Arc<Entry<M>>,
    record: &Connection<M::Connection>,
    limit: Duration,
) -> Result<(), Option<CloseReason>> {
    let manager = &entry.shared.manager;
    let failed = Some(CloseReason::CheckFailed);
    // All of it is the manager's code: the call, its future, and what it makes of the error.
    let check = caught(async {
        let Some(live) = record.live() else { return Ok(()) };
        let check = async { manager.check(&live.connection).await };
        match tokio::time::timeout(limit, check).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(entry.learn(&error, record.slot, Some(record))),
            Err(_) => {
                record.count_error(format!("no answer to the check within {limit:?}"));
                Err(failed)
            }
        }
    });
    let (account, slot) = (entry.pool.account(), record.slot);
    let span = tracing::debug_span!("check", %account, slot);
    // The caller may be on another runtime than the connection, or on none.
    let check = inside(&entry.shared.runtime, check.instrument(span));
    let passed = check.await.unwrap_or_else(|| {
        record.count_error("the manager panicked while checking".to_owned());
        Err(failed)
    });
    if passed.is_ok() {
        record.set_suspect(false);
    }
    entry.counters().count_check(passed.is_ok());
    passed
}
