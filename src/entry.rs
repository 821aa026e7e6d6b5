//! One account of a pool: the engine, and the way its effects are applied.
//!
//! Owns no task and spawns none: what takes time goes to the worker as an [`Errand`]. So a lease
//! may be dropped on any thread, with or without a runtime.

mod dial_notify;
mod errand;
mod profile;
mod quarantine;
mod reaction;

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::SendError;

use crate::account_pool::{
    AccountPool, CloseReason, Connection, Effects, Pressure, SLOTS_MAX, Wakers,
};
use crate::caught::{asked, harmless};
use crate::clock::Tick;
use crate::entry::dial_notify::DialNotify;
pub(crate) use crate::entry::errand::Errand;
use crate::entry::profile::LastRead;
use crate::events::Event;
use crate::expiry::Due;
use crate::manager::{Egress, Manager, Profile, QuarantineReason};
use crate::registry::Marks;
use crate::shared::Shared;
use crate::stats::{AccountEnd, GroupCounters, Measure};
use crate::sync::Ordering;

/// One account, its engine and its ground. What each acquire looks at comes first; it is dropped in
/// that order, the ground before connections of which some entry may be left.
#[repr(C)]
pub(crate) struct Entry<M: Manager> {
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) pool: AccountPool<M::Connection, M::Error>,
    pub(crate) egress: Egress,
    /// The leases per connection that the manager asked for.
    leases: u16,
    /// When its profile was last read.
    profile_read: LastRead,
    /// In which lists of the registry it stands.
    pub(crate) marks: Marks,
    /// Told when a dial that waits may no longer be wanted, or need no longer wait.
    pub(crate) dials: DialNotify,
}

impl<M: Manager> Entry<M> {
    pub(crate) fn new(
        account: crate::AccountId,
        profile: &Profile,
        latched: &[(u16, QuarantineReason)],
        shared: &Arc<Shared<M>>,
    ) -> Self {
        let config = shared.config.load();
        let group = shared.groups.index_of(&profile.group);
        let pool = AccountPool::new(
            account,
            profile.slots.min(SLOTS_MAX),
            group,
            config.pool.max_connections_per_account,
            profile.leases.clamp(1, config.pool.max_leases_per_connection),
        );
        let now = shared.clock.tick();
        for (slot, reason) in latched {
            let (effects, _) = pool.quarantine(Some(*slot), *reason, now);
            debug_assert!(effects.is_empty(), "there is nothing yet that could end");
        }
        let entry = Self {
            pool,
            shared: Arc::clone(shared),
            egress: profile.egress.clone(),
            leases: profile.leases.max(1),
            profile_read: LastRead::at(now),
            marks: Marks::default(),
            dials: DialNotify::default(),
        };
        entry.count_in();
        entry
    }

    /// Something is afoot here that a reading has to see, and has been made so under the
    /// account's lock.
    pub(crate) fn note_afoot(self: &Arc<Self>) {
        if !self.marks.afoot().is_noted()
            && let Some(registry) = self.shared.registry.upgrade()
        {
            registry.note_afoot(self);
        }
    }

    pub(crate) fn counters(&self) -> &GroupCounters {
        self.shared.groups.counters(self.pool.group())
    }

    /// Whether the pool's runtime has ended, and nobody has closed the pool or the account: nothing
    /// is opened or timed any more.
    pub(crate) fn has_outlived_its_runtime(&self) -> bool {
        self.shared.errands.is_closed() && !self.shared.is_closing() && !self.pool.is_closed()
    }

    /// Counts the account among those that its group knows. To be called once, while nobody
    /// else can see it.
    fn count_in(&self) {
        self.counters().count_account(self.pool.sessions());
    }

    /// Counts that the account is about to be forgotten.
    pub(crate) fn count_out(&self) {
        let end = match (self.shared.is_closing(), self.pool.is_closed()) {
            (true, _) => AccountEnd::Shutdown,
            (false, true) => AccountEnd::Removed,
            (false, false) => AccountEnd::Idle,
        };
        self.counters().discount_account(self.pool.sessions(), end);
    }

    /// Takes over the limits of the configuration in force.
    pub(crate) fn take_limits(&self) -> Effects<M::Connection> {
        let config = self.shared.config();
        let leases = self.leases.min(config.pool.max_leases_per_connection);
        let now = self.shared.clock.tick();
        self.pool.set_limits(config.pool.max_connections_per_account, leases, now)
    }

    /// Whether the manager says that a connection is dead. A manager that panics has answered.
    #[inline]
    pub(crate) fn is_broken(&self, connection: &Connection<M::Connection>) -> bool {
        self.says_broken(&connection.leased().connection)
    }

    /// The same of a connection that is in no pool yet.
    #[inline]
    pub(crate) fn says_broken(&self, connection: &M::Connection) -> bool {
        let ask = || self.shared.manager.is_broken(connection);
        harmless(ask).unwrap_or(true)
    }

    /// Takes a lease back. Returns whether its connection takes no more leases.
    #[inline(always)]
    pub(crate) fn give_back(self: &Arc<Self>, connection: Arc<Connection<M::Connection>>) -> bool {
        let now = self.shared.clock.coarse();
        self.give_back_at(connection, now)
    }

    /// Takes a lease back that nobody has used. That it comes back shows nothing of its connection: one
    /// that was to be checked still is.
    #[cold]
    pub(crate) fn give_back_unused(self: &Arc<Self>, connection: Arc<Connection<M::Connection>>) {
        let shared = &self.shared;
        let unused = shared.clock.coarse().saturating_sub(connection.last_used());
        let is_sole = connection.word.snapshot().leases() == 1;
        if is_sole && unused > shared.hot.check_after_ms() {
            connection.set_suspect(true);
        }
        self.give_back(connection);
    }

    /// The same, used until a tick.
    #[inline(always)]
    pub(crate) fn give_back_at(
        self: &Arc<Self>,
        connection: Arc<Connection<M::Connection>>,
        now: Tick,
    ) -> bool {
        if self.is_broken(&connection) {
            return self.give_back_broken(connection);
        }
        let shared = &*self.shared;
        // A borrower that panicked may have left the connection in the middle of something: the
        // next acquire checks it.
        if std::thread::panicking() {
            connection.set_suspect(true);
        }
        if shared.budget.is_pressed() {
            return self.give_back_pressed(connection);
        }
        let effects = self.pool.release(connection, now, Pressure::Calm);
        let ended = effects.is_some_and(|effects| self.apply_release(effects));
        // Looked at again after the release: a dial that began to wait in between has either
        // seen the idle connection or is seen here.
        if shared.budget.is_pressed() {
            shared.relieve();
        }
        ended
    }

    #[cold]
    fn give_back_broken(self: &Arc<Self>, connection: Arc<Connection<M::Connection>>) -> bool {
        self.discard(connection, CloseReason::Broken);
        true
    }

    /// Does what a release left to do. Returns whether it ended its connection.
    #[cold]
    fn apply_release(self: &Arc<Self>, effects: Effects<M::Connection>) -> bool {
        let ended = effects.ended;
        self.apply(effects);
        ended
    }

    /// Takes a lease back while another account waits for a place under the global cap.
    #[cold]
    fn give_back_pressed(self: &Arc<Self>, connection: Arc<Connection<M::Connection>>) -> bool {
        let budget = &self.shared.budget;
        let now = self.shared.clock.tick();
        let pressure = budget.pressure(now);
        let reserved = pressure != Pressure::Calm && budget.reserve(now);
        let pressure = if reserved { pressure } else { Pressure::Calm };
        let effects = self.pool.release(connection, now, pressure);
        // One that only drains provides for nobody yet.
        let gone = effects.as_ref().is_some_and(|it| !it.close.is_empty());
        if reserved && !gone {
            budget.unreserve(now);
        }
        let ended = effects.as_ref().is_some_and(|effects| effects.ended);
        if let Some(effects) = effects {
            self.apply(effects);
        }
        if !gone {
            // The demand was hidden while it was reserved: a release in that time saw none.
            self.shared.relieve();
        }
        ended
    }

    /// Has a leased connection checked, for as long as `check_timeout` allows and whoever waits for it.
    /// The lease goes with it.
    pub(crate) fn check(self: &Arc<Self>, connection: Arc<Connection<M::Connection>>) {
        let shared = &self.shared;
        let proved_since = shared.clock.coarse().saturating_sub(shared.hot.check_after_ms());
        if !self.pool.begin_check(&connection, proved_since) {
            self.give_back(connection);
            return;
        }
        let errand = Errand::Check(Arc::clone(self), connection);
        if let Err(SendError(errand)) = shared.errands.send(errand) {
            self.apply(errand.end_without_worker());
        }
    }

    /// Takes a lease back whose connection must not be used again.
    pub(crate) fn discard(
        self: &Arc<Self>,
        connection: Arc<Connection<M::Connection>>,
        reason: CloseReason,
    ) {
        let effects = self.pool.release_discarded(connection, reason, self.shared.clock.tick());
        self.apply(effects);
    }

    /// Wakes who has been served, and sends the worker on its errands.
    pub(crate) fn apply(self: &Arc<Self>, effects: Effects<M::Connection>) {
        if effects.has_no_errand() {
            wake(effects.wake);
            return;
        }
        // Without a worker each errand is ended here and may leave effects of its own; every
        // round refuses a waiter or frees a slot, so that the rounds come to an end.
        let mut left = Vec::new();
        let mut next = Some(effects);
        while let Some(effects) = next {
            if !effects.is_empty() {
                self.apply_once(effects, &mut left);
            }
            next = left.pop();
        }
    }

    /// The same, but for what follows from errands that no worker took.
    fn apply_once(
        self: &Arc<Self>,
        effects: Effects<M::Connection>,
        left: &mut Vec<Effects<M::Connection>>,
    ) {
        if !effects.dial.is_empty() {
            self.note_afoot();
        }
        let errands = effects
            .close
            .into_iter()
            .map(|it| Errand::Close(Arc::clone(self), it))
            .chain(effects.drain.into_iter().map(|it| self.drain_errand(&it)))
            .chain(effects.watch.map(|watch| Errand::Watch(Arc::downgrade(self), watch)))
            .chain(
                effects
                    .look
                    .map(|at| Errand::Look(Arc::downgrade(self), self.shared.clock.instant_of(at))),
            )
            .chain(effects.dial.into_iter().map(|order| {
                self.shared.occupancy.occupy();
                Errand::Dial(Arc::clone(self), order)
            }));
        for errand in errands {
            if let Err(SendError(errand)) = self.shared.errands.send(errand) {
                left.push(errand.end_without_worker());
            }
        }
        if effects.wake_dials {
            self.dials.notify_waiters();
        }
        wake(effects.wake);
    }

    fn drain_errand(self: &Arc<Self>, connection: &Arc<Connection<M::Connection>>) -> Errand<M> {
        Errand::Drain(Arc::downgrade(self), Arc::downgrade(connection))
    }

    /// Times the drains under way anew: the deadline has come closer.
    pub(crate) fn hurry_drains(self: &Arc<Self>) {
        let retires = |it: &Arc<Connection<M::Connection>>| it.word.snapshot().is_retiring();
        for connection in self.pool.connections().filter(retires) {
            // Without a worker nothing is drained by force any more.
            drop(self.shared.errands.send(self.drain_errand(&connection)));
        }
    }

    /// Has the account looked at in a while, to see whether it can be forgotten, unless that is due
    /// already. To be called once it is known, and whenever it may have lost its last connection: as
    /// long as it has one, nothing would come of it.
    pub(crate) fn schedule_look(self: &Arc<Self>) {
        if !self.pool.has_connections() && self.marks.scheduled().note() {
            let due = self.shared.clock.tick() + self.shared.hot.max_idle_ms();
            self.shared.expiry.schedule(due, Due::Account(Arc::downgrade(self)));
        }
    }

    /// A connection has been closed: its places come back.
    pub(crate) fn closed(
        self: &Arc<Self>,
        connection: &Connection<M::Connection>,
    ) -> Effects<M::Connection> {
        let shared = &self.shared;
        let now = shared.clock.tick();
        let reason = connection.reason();
        self.counters().count_close(reason);
        if let Some(live) = connection.live() {
            let age = Duration::from_millis(now.saturating_sub(live.created));
            self.counters().observe(Measure::ConnectionAge, age);
        }
        let (account, slot, uses) = (self.pool.account(), connection.slot, connection.uses());
        tracing::info!(%account, slot, reason = reason.label(), uses, "closed");
        let id = connection.id;
        shared.events.emit(|| Event::ConnectionClosed { account, id, reason, uses });
        let effects = self.pool.vacate(connection, now, shared.share());
        self.tell_unheard(connection, reason);
        self.schedule_look();
        self.counters().keep_uses(connection.uses(), connection.shared_uses());
        shared.budget.put_back(now);
        shared.occupancy.vacate();
        effects
    }

    /// If somebody reads what comes unasked, and this was the account's last connection, that is missed
    /// from now on. Not told where the end is meant: of an account that was removed, or of the pool.
    fn tell_unheard(&self, connection: &Connection<M::Connection>, reason: CloseReason) {
        let Some(live) = connection.live() else { return };
        if reason == CloseReason::Shutdown || self.pool.is_open() {
            return;
        }
        let ask = || self.shared.manager.is_listened_to(&live.connection);
        if asked("is_listened_to", ask).unwrap_or(false) {
            let account = self.pool.account();
            self.counters().updates_interrupted.fetch_add(1, Ordering::Relaxed);
            tracing::info!(%account, reason = reason.label(), "updates are lost until the next dial");
            self.shared.events.emit(|| Event::UpdatesInterrupted { account, reason });
        }
    }

    /// A lease has been held for so many milliseconds that it may have been forgotten.
    pub(crate) fn tell_held(&self, connection: &Connection<M::Connection>, held: u64) {
        let (account, id) = (self.pool.account(), connection.id);
        let held = Duration::from_millis(held);
        let site = connection.held().and_then(|held| held.site);
        self.counters().lease_leaks.fetch_add(1, Ordering::Relaxed);
        let at = site.map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%account, %id, ?held, at, "a lease is held for long: was it forgotten?");
        self.shared.events.emit(|| Event::LeaseHeld { account, id, held, site });
    }

    /// An acquire got its lease after a wait.
    pub(crate) fn tell_waited(&self, waited: Duration, site: &'static Location<'static>) {
        self.counters().observe(Measure::AcquireWait, waited);
        if waited > Duration::from_millis(self.shared.hot.slow_acquire_ms()) {
            self.tell_slow(waited, site);
        }
    }

    #[cold]
    fn tell_slow(&self, waited: Duration, site: &'static Location<'static>) {
        let account = self.pool.account();
        self.counters().slow_acquires.fetch_add(1, Ordering::Relaxed);
        if self.shared.may_warn() {
            tracing::warn!(%account, ?waited, at = %site, "an acquire was slow (told once a second)");
        }
        self.shared.events.emit(|| Event::SlowAcquire { account, waited, site });
    }

    /// Has a connection asked whether its session is any good, if nothing has shown it for so long.
    pub(crate) fn prove_if_due(
        self: &Arc<Self>,
        connection: &Arc<Connection<M::Connection>>,
        within: Duration,
    ) {
        if self.needs_proof(connection, within) {
            let errand = Errand::Prove(Arc::downgrade(self), Arc::downgrade(connection), within);
            // Without a worker nobody is asked any more.
            drop(self.shared.errands.send(errand));
        }
    }

    /// Whether nothing has shown for so long that the connection's session is any good.
    pub(crate) fn needs_proof(
        &self,
        connection: &Connection<M::Connection>,
        within: Duration,
    ) -> bool {
        let Some(live) = connection.live() else { return false };
        let ask = || self.shared.manager.needs_proof(&live.connection, within);
        asked("needs_proof", ask).unwrap_or(false)
    }
}

/// Wakes each by itself, and after everything else: a waker is somebody else's code.
fn wake(wakers: Wakers) {
    for waker in wakers {
        if harmless(|| waker.wake()).is_none() {
            // A subscriber is somebody else's code as well, and others are still to be woken.
            harmless(|| tracing::warn!("a waker has panicked"));
        }
    }
}

impl<M: Manager> std::fmt::Debug for Entry<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("account", &self.pool.account()).finish_non_exhaustive()
    }
}
