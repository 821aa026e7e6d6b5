//! What an acquire that waited in vain has to tell.
//!
//! Owns the look at the account as it stands at the deadline.

use std::time::Duration;

use crate::clock::{Instant, now};
use crate::entry::Entry;
use crate::error::{Stage, WaitTimeout};
use crate::manager::Manager;

pub(super) fn timeout_report<M: Manager>(
    entry: &Entry<M>,
    started: Option<Instant>,
    stage: Option<Stage>,
) -> WaitTimeout {
    let shared = &entry.shared;
    let tick = shared.clock.tick();
    let stats = entry.pool.stats(tick, Duration::ZERO);
    let oldest = entry.pool.oldest_lease();
    let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    WaitTimeout {
        account: entry.pool.account(),
        stage: stage.unwrap_or(if stats.total_connections == 0 {
            Stage::Dial
        } else {
            Stage::Wait
        }),
        waited: started.map(|at| now().saturating_duration_since(at)).unwrap_or_default(),
        leases: small(stats.leases),
        max_connections: stats.max_connections,
        waiting: small(stats.waiting),
        oldest_lease_age: oldest.map(|held| Duration::from_millis(tick.saturating_sub(held.since))),
        oldest_lease_site: oldest.and_then(|held| held.site),
        oldest_lease_taken: oldest.is_none_or(|held| held.is_taken),
        last_dial_error: entry.pool.last_dial_error(),
        pool_cap: shared
            .budget
            .is_full()
            .then(|| u32::try_from(shared.budget.cap()).unwrap_or(u32::MAX)),
    }
}
