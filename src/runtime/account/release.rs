//! The release of a lease: back to the idle connections, to the next waiter, or to the closer.
//!
//! Owns what is asked before that: whether the connection is broken, suspect, or due for a check, and
//! whether another account waits for its permit.

use std::sync::Arc;

use tokio::sync::mpsc::error::SendError;

use super::AccountInner;
use crate::base::clock::Tick;
use crate::base::panics::catch;
use crate::connection::{CloseReason, Source};
use crate::engine::{Connection, Effects, Pressure};
use crate::manager::Manager;
use crate::runtime::command::Command;

impl<M: Manager> AccountInner<M> {
    /// Whether the manager says that a connection is dead. A manager that panics has answered.
    #[inline]
    pub(crate) fn is_broken(&self, connection: &Connection<M::Connection>) -> bool {
        self.says_broken(&connection.leased().connection)
    }

    /// The same of a connection that is in no pool yet.
    #[inline]
    pub(crate) fn says_broken(&self, connection: &M::Connection) -> bool {
        let ask = || self.context().manager.is_broken(connection);
        catch(ask).unwrap_or(true)
    }

    /// Whether a connection may not be lent as it is: it was idle for long, is suspect, or is being
    /// checked.
    #[inline]
    pub(crate) fn needs_inspection(
        &self,
        connection: &Connection<M::Connection>,
        source: Source,
        now: Tick,
    ) -> bool {
        self.is_check_due(connection, source, now) || connection.needs_inspection()
    }

    /// Whether a connection was idle for so long that the manager must check it.
    #[inline]
    pub(crate) fn is_check_due(
        &self,
        connection: &Connection<M::Connection>,
        source: Source,
        now: Tick,
    ) -> bool {
        source == Source::Idle && self.is_unused_for_long(connection, now)
    }

    #[inline]
    fn is_unused_for_long(&self, connection: &Connection<M::Connection>, now: Tick) -> bool {
        now.saturating_sub(connection.last_used()) > self.context().hot.check_after_ms()
    }

    /// Takes a lease back. Returns whether its connection takes no more leases.
    #[inline(always)]
    pub(crate) fn release(self: &Arc<Self>, connection: Arc<Connection<M::Connection>>) -> bool {
        let now = self.context().clock.coarse();
        self.release_at(connection, now)
    }

    /// Takes a lease back that nobody has used. That it comes back shows nothing of its connection: one
    /// that was to be checked still is.
    #[cold]
    pub(crate) fn release_unused(self: &Arc<Self>, connection: Arc<Connection<M::Connection>>) {
        let is_only_lease = connection.word.snapshot().leases() == 1;
        if is_only_lease && self.is_unused_for_long(&connection, self.context().clock.coarse()) {
            connection.set_suspect(true);
        }
        self.release(connection);
    }

    /// The same, used until a tick.
    #[inline(always)]
    pub(crate) fn release_at(
        self: &Arc<Self>,
        connection: Arc<Connection<M::Connection>>,
        now: Tick,
    ) -> bool {
        if self.is_broken(&connection) {
            return self.release_broken(connection);
        }
        let context = self.context();
        // A borrower that panicked may have left the connection in the middle of something: the
        // next acquire checks it.
        if std::thread::panicking() {
            connection.set_suspect(true);
        }
        if context.budget.is_pressed() {
            return self.release_pressed(connection);
        }
        let effects = self.pool.release(connection, now, Pressure::Calm);
        let ended = effects.is_some_and(|effects| self.apply_release(effects));
        // Looked at again after the release: a dial that began to wait in between has either
        // seen the idle connection or is seen here.
        if context.budget.is_pressed() {
            self.runtime.evict_idle();
        }
        ended
    }

    #[cold]
    fn release_broken(self: &Arc<Self>, connection: Arc<Connection<M::Connection>>) -> bool {
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

    /// Takes a lease back while another account waits for a permit of the global cap.
    #[cold]
    fn release_pressed(self: &Arc<Self>, connection: Arc<Connection<M::Connection>>) -> bool {
        let budget = &self.context().budget;
        let now = self.context().clock.tick();
        let pressure = budget.pressure(now);
        let may_go = pressure != Pressure::Calm && !self.is_listened_to(&connection);
        let claimed = may_go && budget.claim_eviction(now);
        let pressure = if claimed { pressure } else { Pressure::Calm };
        let effects = self.pool.release(connection, now, pressure);
        // One that only drains provides for nobody yet.
        let gone = effects.as_ref().is_some_and(|it| !it.close.is_empty());
        if claimed && !gone {
            budget.cancel_eviction(now);
        }
        let ended = effects.as_ref().is_some_and(|effects| effects.ended);
        if let Some(effects) = effects {
            self.apply(effects);
        }
        if !gone {
            // The demand was hidden while it was claimed: a release in that time saw none.
            self.runtime.evict_idle();
        }
        ended
    }

    /// Has a leased connection checked, for as long as `check_timeout` allows and whoever waits for it.
    /// The lease goes with it.
    pub(crate) fn check(self: &Arc<Self>, connection: Arc<Connection<M::Connection>>) {
        let context = self.context();
        let checked_since = context.clock.coarse().saturating_sub(context.hot.check_after_ms());
        if !self.pool.begin_check(&connection, checked_since) {
            self.release(connection);
            return;
        }
        let command = Command::Check(Arc::clone(self), connection);
        if let Err(SendError(command)) = self.runtime.commands.send(command) {
            self.apply(command.end_without_worker());
        }
    }

    /// Takes a lease back whose connection must not be used again.
    pub(crate) fn discard(
        self: &Arc<Self>,
        connection: Arc<Connection<M::Connection>>,
        reason: CloseReason,
    ) {
        let effects = self.pool.release_discarded(connection, reason, self.context().clock.tick());
        self.apply(effects);
    }
}
