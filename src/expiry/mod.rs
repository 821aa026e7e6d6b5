//! Expiry: one wheel entry per connection and per account, and the reaper that visits them.
//!
//! Owns the wheel and the reaper's task. Never on the hot path: an acquire or a release does
//! not know that it exists. An entry of a connection that was closed for another reason stays
//! until it is due (at most `max_idle_time` after the last look at it) and is then dropped. Until
//! then it keeps the memory of the connection's record, or of a removed account's, but nothing that
//! is in it.

mod wheel;

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::account_pool::{Connection, Reap};
use crate::caught::guarded;
use crate::clock::{Tick, millis, nanos, now, unix_time};
use crate::entry::Entry;
use crate::events::Event;
pub(crate) use crate::expiry::wheel::Wheel;
use crate::manager::Manager;
use crate::registry::Registry;
use crate::shared::Shared;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// How many entries are visited before other tasks get a turn.
const BATCH: usize = 1024;

/// What an entry is about. It leads to the account without the registry: that of an account which
/// nobody has touched for long is memory to wait for.
pub(crate) enum Due<M: Manager> {
    Connection {
        account: Weak<Entry<M>>,
        connection: Weak<Connection<M::Connection>>,
        /// The tick of this entry: one that the connection does not expect is out of date.
        look: Tick,
    },
    Account(Weak<Entry<M>>),
}

/// A connection and its account.
type Held<M> = (Arc<Entry<M>>, Arc<Connection<<M as Manager>::Connection>>);

impl<M: Manager> Due<M> {
    /// A look at a connection, at the tick `look`.
    pub(crate) fn look_at(
        account: &Arc<Entry<M>>,
        connection: &Arc<Connection<M::Connection>>,
        look: Tick,
    ) -> Self {
        let (account, connection) = (Arc::downgrade(account), Arc::downgrade(connection));
        Self::Connection { account, connection, look }
    }
}

pub(crate) struct Expiry<M: Manager> {
    wheel: Mutex<Wheel<Due<M>>>,
    runs: AtomicU64,
    /// Entries that were looked at, over all runs.
    visits: AtomicU64,
    /// How long the last run took in nanoseconds, without the turns of other tasks in it.
    last_took: AtomicU64,
    /// The wall clock in milliseconds at the end of the last run; at first, when it began to wait.
    last_run: AtomicU64,
    /// Told when the interval has changed under the reaper's sleep.
    changed: Notify,
}

impl<M: Manager> Expiry<M> {
    pub(crate) fn new(interval: Duration, now: Tick) -> Self {
        Self {
            wheel: Mutex::new(Wheel::new(millis(interval), now)),
            runs: AtomicU64::new(0),
            visits: AtomicU64::new(0),
            last_took: AtomicU64::new(0),
            last_run: AtomicU64::new(millis(unix_time())),
            changed: Notify::new(),
        }
    }

    pub(crate) fn schedule(&self, due: Tick, entry: Due<M>) {
        self.wheel.lock().insert(due, entry);
    }

    pub(crate) fn set_interval(&self, interval: Duration) {
        self.wheel.lock().set_interval(millis(interval));
        self.changed.notify_one();
    }

    /// How often the reaper has run.
    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// How many entries the reaper has looked at.
    #[cfg(feature = "metrics")]
    pub(crate) fn visits(&self) -> u64 {
        self.visits.load(Ordering::Relaxed)
    }

    /// How long the reaper's last run took, in nanoseconds.
    #[cfg(feature = "metrics")]
    pub(crate) fn last_took(&self) -> u64 {
        self.last_took.load(Ordering::Relaxed)
    }

    /// When the reaper last ran, or else began to wait: in milliseconds since 1970.
    #[cfg(feature = "metrics")]
    pub(crate) fn last_run(&self) -> u64 {
        self.last_run.load(Ordering::Relaxed)
    }

    /// How many looks are scheduled.
    pub(crate) fn scheduled(&self) -> usize {
        self.wheel.lock().len()
    }
}

/// Visits what is due, once per interval, until the pool aborts it.
pub(crate) async fn reap<M: Manager>(shared: Weak<Shared<M>>) {
    while let Some(ground) = shared.upgrade() {
        let next = ground.clock.instant_of(ground.expiry.wheel.lock().next_tick());
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = ground.expiry.changed.notified() => {}
        }
        let Some(registry) = ground.registry.upgrade() else { return };
        visit_all(&ground, &registry).await;
    }
}

/// What a run of the reaper goes by, in milliseconds.
#[derive(Clone, Copy)]
struct Limits {
    max_idle: u64,
    max_held: u64,
    /// How long a connection may go without a proof of its session.
    max_unproved: Duration,
}

impl Limits {
    fn of<M: Manager>(shared: &Shared<M>) -> Self {
        let config = shared.config.load();
        let max_held = millis(config.watch.held_lease);
        let max_unproved = config.health.login_check_every;
        Self { max_idle: shared.hot.max_idle_ms(), max_held, max_unproved }
    }
}

async fn visit_all<M: Manager>(shared: &Arc<Shared<M>>, registry: &Registry<M>) {
    let mut began = now();
    let mut took = Duration::ZERO;
    let tick = shared.clock.tick();
    let limits = Limits::of(shared);
    let due = shared.expiry.wheel.lock().advance(tick);
    let (mut visits, mut visited) = (0, 0);
    let mut again = Vec::new();
    for piece in due {
        visited += piece.len();
        again
            .extend(piece.into_iter().filter_map(|due| visit(shared, registry, due, tick, limits)));
        {
            let mut wheel = shared.expiry.wheel.lock();
            for (tick, entry) in again.drain(..) {
                wheel.insert(tick, entry);
            }
        }
        if visited >= BATCH {
            visits += visited as u64;
            visited = 0;
            // What others do in their turn is not the reaper's.
            took += now().saturating_duration_since(began);
            tokio::task::yield_now().await;
            began = now();
        }
    }
    let slots = usize::try_from(shared.occupancy.slots()).unwrap_or(usize::MAX);
    // It may let go of accounts that were removed just now.
    let _pruned = guarded("the end of a connection", || registry.prune_census(slots));
    registry.prune_accounts();
    registry.prune_roll(tick);
    shared.lanes.prune(tick);
    took += now().saturating_duration_since(began);
    shared.expiry.visits.fetch_add(visits + visited as u64, Ordering::Relaxed);
    shared.expiry.last_took.store(nanos(took), Ordering::Relaxed);
    shared.expiry.runs.fetch_add(1, Ordering::Relaxed);
    shared.expiry.last_run.store(millis(unix_time()), Ordering::Relaxed);
}

/// Visits one entry; returns when to come back, and with what. What it lets go of may be the last
/// hold on a connection, whose end is the manager's code: if that panics, it is visited again.
fn visit<M: Manager>(
    shared: &Shared<M>,
    registry: &Registry<M>,
    mut due: Due<M>,
    now: Tick,
    limits: Limits,
) -> Option<(Tick, Due<M>)> {
    let visited = guarded("the end of a connection", || match &due {
        Due::Connection { account, connection, look } => {
            let held = (account.upgrade()?, connection.upgrade()?);
            look_at_connection(shared, held, *look, now, limits)
        }
        Due::Account(account) => look_at_account(shared, registry, account, now, limits),
    });
    let Some(next) = visited else { return Some((now + 1, due)) };
    let next = next?;
    if let Due::Connection { look, .. } = &mut due {
        *look = next;
    }
    Some((next, due))
}

fn look_at_connection<M: Manager>(
    shared: &Shared<M>,
    (entry, connection): Held<M>,
    look: Tick,
    now: Tick,
    Limits { max_idle, max_held, max_unproved }: Limits,
) -> Option<Tick> {
    let next = match entry.pool.reap(&connection, look, now, max_idle, max_held) {
        Reap::Again(look) => look,
        Reap::Held(look, since) => {
            // A listener's code. The next look is at another time than this one.
            let held = now.saturating_sub(since);
            let _told = guarded("a lease that is held", || entry.tell_held(&connection, held));
            look
        }
        Reap::Expired(effects) => {
            entry.apply(effects);
            return None;
        }
        Reap::Gone => return None,
    };
    // Up to a quarter earlier, each connection by a share of its own, so that those which were
    // opened together are not all asked together.
    let within = max_unproved - (max_unproved / 4).mul_f64(shared.share());
    entry.prove_if_due(&connection, within);
    entry.reread_profile_if_due(now);
    let next = next.min(now + millis(within).max(1));
    connection.set_look(next);
    Some(next)
}

fn look_at_account<M: Manager>(
    shared: &Shared<M>,
    registry: &Registry<M>,
    account: &Weak<Entry<M>>,
    now: Tick,
    limits: Limits,
) -> Option<Tick> {
    // Seen from outside first: whatever is in use need not be looked up.
    let is_held = account.strong_count() > 1;
    let entry = account.upgrade()?;
    let id = entry.pool.account();
    // Nothing becomes of one that was removed, however long somebody holds a handle of it.
    if entry.pool.is_closed() && !registry.knows(&entry) {
        return None;
    }
    // It comes back to the wheel with the end of its last connection.
    let is_empty = || !entry.pool.has_connections();
    if !is_empty() && !entry.marks.scheduled().take_off(is_empty) {
        return None;
    }
    if is_held {
        return Some(now + limits.max_idle);
    }
    // Given up before the look: with this handle the account would be in use.
    drop(entry);
    match registry.collect_idle(id, account, now) {
        Some(entry) => {
            forget(shared, &entry);
            None
        }
        None => Some(now + limits.max_idle),
    }
}

/// Tells that an account has left the registry, which has kept its totals.
pub(crate) fn forget<M: Manager>(shared: &Shared<M>, entry: &Entry<M>) {
    let account = entry.pool.account();
    shared.events.emit(|| Event::AccountClosed { account });
}
