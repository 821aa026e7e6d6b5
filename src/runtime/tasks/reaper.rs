//! The reaper: the task that closes what is over its time, once per interval.
//!
//! Owns the visits to what the schedule says is due: a connection that is idle for too long or over its
//! age, a lease that is held for long, an account that nobody needs.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::base::clock::{Tick, millis, now};
use crate::base::panics::catch_logged;
use crate::engine::{Connection, Reap};
use crate::manager::Manager;
use crate::runtime::account::AccountInner;
use crate::runtime::context::PoolContext;
use crate::runtime::due::Due;
use crate::runtime::{Accounts, Runtime};

/// How many entries are visited before other tasks get a turn.
const BATCH: usize = 1024;
/// An idle time that no connection reaches, in milliseconds.
const FOREVER: u64 = u64::MAX / 4;

/// A connection and its account.
type Held<M> = (Arc<AccountInner<M>>, Arc<Connection<<M as Manager>::Connection>>);

/// Visits what is due, once per interval, until the pool aborts it.
pub(crate) async fn reap<M: Manager>(runtime: Weak<Runtime<M>>) {
    while let Some(runtime) = runtime.upgrade() {
        let next = runtime.context.clock.instant_of(runtime.schedule.next_tick());
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = runtime.schedule.interval_changed() => {}
        }
        let Some(registry) = runtime.registry() else { return };
        visit_all(&runtime, &registry).await;
    }
}

/// What a run of the reaper goes by, in milliseconds.
#[derive(Clone, Copy)]
struct Limits {
    max_idle: u64,
    max_held: u64,
    /// How long a connection may go without a check of its session.
    max_unchecked: Duration,
}

impl Limits {
    fn of<M: Manager>(context: &PoolContext<M>) -> Self {
        let config = context.config.load();
        let max_held = millis(config.watch.held_lease);
        let max_unchecked = config.health.login_check_every;
        Self { max_idle: context.hot.max_idle_ms(), max_held, max_unchecked }
    }
}

async fn visit_all<M: Manager>(runtime: &Runtime<M>, registry: &Accounts<M>) {
    let context = &runtime.context;
    let mut began = now();
    let mut took = Duration::ZERO;
    let tick = context.clock.tick();
    let limits = Limits::of(context);
    let due = runtime.schedule.take_due(tick);
    let (mut visits, mut visited) = (0, 0);
    let mut again = Vec::new();
    for piece in due {
        visited += piece.len();
        again.extend(
            piece.into_iter().filter_map(|due| visit(context, registry, due, tick, limits)),
        );
        runtime.schedule.schedule_all(again.drain(..));
        if visited >= BATCH {
            visits += visited as u64;
            visited = 0;
            // What others do in their turn is not the reaper's.
            took += now().saturating_duration_since(began);
            tokio::task::yield_now().await;
            began = now();
        }
    }
    let slots = usize::try_from(context.occupancy.slots()).unwrap_or(usize::MAX);
    // It may let go of accounts that were removed just now.
    let _pruned = catch_logged("the end of a connection", || registry.prune_evictable(slots));
    registry.prune_accounts();
    registry.prune_active(tick);
    context.dial_limiters.prune(tick);
    took += now().saturating_duration_since(began);
    runtime.schedule.count_run(visits + visited as u64, took);
}

/// Visits one entry; returns when to come back, and with what. What it lets go of may be the last
/// hold on a connection, whose end is the manager's code: if that panics, it is visited again.
fn visit<M: Manager>(
    context: &PoolContext<M>,
    registry: &Accounts<M>,
    mut due: Due<M>,
    now: Tick,
    limits: Limits,
) -> Option<(Tick, Due<M>)> {
    let visited = catch_logged("the end of a connection", || match &due {
        Due::Connection { account, connection, visit_at } => {
            let held = (account.upgrade()?, connection.upgrade()?);
            visit_connection(context, held, *visit_at, now, limits)
        }
        Due::Account(account) => visit_account(registry, account, now, limits),
    });
    let Some(next) = visited else { return Some((now + 1, due)) };
    let next = next?;
    if let Due::Connection { visit_at, .. } = &mut due {
        *visit_at = next;
    }
    Some((next, due))
}

fn visit_connection<M: Manager>(
    context: &PoolContext<M>,
    (inner, connection): Held<M>,
    visit_at: Tick,
    now: Tick,
    Limits { max_idle, max_held, max_unchecked }: Limits,
) -> Option<Tick> {
    // One that is listened to is in use, though nobody leases it. It is looked at as often as the others:
    // its listener may go.
    let (expires_after, next_look) = match inner.is_listened_to(&connection) {
        true => (FOREVER, now + max_idle),
        false => (max_idle, Tick::MAX),
    };
    let next = match inner.pool.reap(&connection, visit_at, now, expires_after, max_held) {
        Reap::Again(next) => next,
        Reap::Held(next, since) => {
            // A listener's code. The next look is at another time than this one.
            let held = now.saturating_sub(since);
            let _told =
                catch_logged("a lease that is held", || inner.report_held(&connection, held));
            next
        }
        Reap::Expired(effects) => {
            inner.apply(effects);
            return None;
        }
        Reap::Gone => return None,
    };
    // Up to a quarter earlier, each connection by a share of its own, so that those which were
    // opened together are not all asked together.
    let within = max_unchecked - (max_unchecked / 4).mul_f64(context.share());
    inner.recheck_if_due(&connection, within);
    inner.reread_profile_if_due(now);
    let next = next.min(now + millis(within).max(1)).min(next_look);
    connection.set_next_visit(next);
    Some(next)
}

fn visit_account<M: Manager>(
    registry: &Accounts<M>,
    account: &Weak<AccountInner<M>>,
    now: Tick,
    limits: Limits,
) -> Option<Tick> {
    // Seen from outside first: whatever is in use need not be looked up.
    let is_held = account.strong_count() > 1;
    let inner = account.upgrade()?;
    let id = inner.pool.account();
    // Nothing becomes of one that was removed, however long somebody holds a handle of it.
    if inner.pool.is_closed() && !registry.knows(&inner) {
        return None;
    }
    // It comes back to the wheel with the end of its last connection.
    let is_empty = || !inner.pool.has_connections();
    if !is_empty() && !inner.membership.scheduled().unlist_unless(is_empty) {
        return None;
    }
    if is_held {
        return Some(now + limits.max_idle);
    }
    // Given up before the look: with this handle the account would be in use.
    drop(inner);
    match registry.remove_idle(id, account, now) {
        Some(inner) => {
            inner.report_forgotten();
            None
        }
        None => Some(now + limits.max_idle),
    }
}
