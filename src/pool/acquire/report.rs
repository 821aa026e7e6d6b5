//! Report of a timeout: what an acquire that waited in vain can tell.
//!
//! Owns the look at the account as it stands at the deadline.

use std::time::Duration;

use crate::base::clock::{Instant, now};
use crate::connection::ConnectionState;
use crate::engine::health::Unready;
use crate::error::{AcquireError, Stage, WaitTimeout};
use crate::manager::Manager;
use crate::runtime::account::AccountInner;

pub(super) fn timeout_report<M: Manager>(
    inner: &AccountInner<M>,
    started: Option<Instant>,
) -> WaitTimeout {
    let context = inner.context();
    let tick = context.clock.tick();
    let stats = inner.pool.stats(tick, Duration::ZERO);
    let oldest = inner.pool.oldest_lease();
    let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    // A check holds a lease as well, which nobody could release sooner.
    let checking = inner.pool.checking();
    let leases = small(stats.leases).saturating_sub(checking);
    let last_dial_error = inner.pool.last_dial_error();
    // A dial that has begun, and to which nothing has happened yet, does not wait for room.
    let paused = inner.pool.is_paused();
    let is_dialled = || {
        let mut states = stats.connections.iter().map(|it| it.state);
        last_dial_error.is_none() && states.any(|state| state == ConnectionState::Connecting)
    };
    let machine_full = stats.total_connections < stats.max_connections
        && context.budget.is_short(tick)
        && !is_dialled();
    WaitTimeout {
        account: inner.pool.account(),
        stage: match stats.total_connections {
            _ if paused => Stage::Wait,
            0 => Stage::Dial,
            _ if leases == 0 && checking > 0 => Stage::Check,
            _ => Stage::Wait,
        },
        waited: started.map(|at| now().saturating_duration_since(at)).unwrap_or_default(),
        leases,
        max_connections: stats.max_connections,
        waiting: small(stats.waiting),
        oldest_lease_age: oldest.map(|held| Duration::from_millis(tick.saturating_sub(held.since))),
        oldest_lease_site: oldest.and_then(|held| held.site),
        oldest_lease_taken: oldest.is_none_or(|held| held.is_taken),
        last_dial_error,
        machine_full,
        pool_cap: context
            .budget
            .is_full()
            .then(|| u32::try_from(context.budget.cap()).unwrap_or(u32::MAX)),
        paused,
    }
}

/// Why an account that is out of service serves nobody.
pub(in crate::pool) fn unready_error<M: Manager>(
    inner: &AccountInner<M>,
    unready: Unready,
) -> AcquireError<M::Error> {
    let account = inner.pool.account();
    match unready {
        Unready::Closed if inner.has_outlived_its_runtime() => AcquireError::RuntimeEnded,
        Unready::Closed => AcquireError::Closed { stage: Stage::Lookup },
        Unready::Draining => AcquireError::Draining { account },
        Unready::NoSession => AcquireError::NoSession { account },
        Unready::Quarantined(reason) => AcquireError::Quarantined { account, reason },
    }
}
