//! One account of a pool: its engine, and what it shares with the others.
//!
//! Owns no task and spawns none: what takes time goes to the worker as a [`Command`]. So a lease may be
//! dropped on any thread, with or without a runtime.

mod apply;
mod dial_notify;
mod health;
mod profile;
mod quarantine;
mod reaction;
mod release;
mod report;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use crate::account_id::AccountId;
use crate::base::clock::Tick;
use crate::base::panics::call_manager;
use crate::engine::{AccountPool, Connection, Effects};
use crate::events::Event;
use crate::manager::{Egress, Manager, Profile, QuarantineReason, SLOTS_MAX};
use crate::registry::{Member, Membership};
use crate::runtime::Runtime;
use crate::runtime::account::dial_notify::DialNotify;
use crate::runtime::account::profile::LastRead;
use crate::runtime::command::Command;
use crate::runtime::context::PoolContext;
use crate::stats::{AccountEnd, GroupCounters, Measure};

/// One account: its engine, and the runtime of its pool. What each acquire looks at comes first; it is
/// dropped in that order, the runtime before connections that an entry of the idle queue may still hold.
#[repr(C)]
pub(crate) struct AccountInner<M: Manager> {
    pub(crate) runtime: Arc<Runtime<M>>,
    pub(crate) pool: AccountPool<M::Connection, M::Error>,
    pub(crate) egress: Egress,
    /// The leases per connection that the manager asked for.
    leases: u16,
    /// When its profile was last read.
    profile_read: LastRead,
    /// In which lists of the registry it stands.
    pub(crate) membership: Membership,
    /// Told when a dial that waits may no longer be wanted, or need no longer wait.
    pub(crate) dials: DialNotify,
}

impl<M: Manager> Member for AccountInner<M> {
    type Evicted = Effects<M::Connection>;

    fn id(&self) -> AccountId {
        self.pool.account()
    }

    fn membership(&self) -> &Membership {
        &self.membership
    }

    fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    fn is_empty(&self, now: Tick) -> bool {
        self.pool.is_empty(now)
    }

    fn is_at_rest(&self, now: Tick) -> bool {
        self.pool.is_at_rest(now)
    }

    fn has_connections(&self) -> bool {
        self.pool.has_connections()
    }

    fn has_idle(&self) -> bool {
        self.pool.has_idle(|connection| !self.is_listened_to(connection))
    }

    fn evict_idle(&self) -> Option<Effects<M::Connection>> {
        self.pool.evict_idle(|connection| !self.is_listened_to(connection))
    }

    fn count_removal(&self) {
        let end = match (self.context().is_closing(), self.pool.is_closed()) {
            (true, _) => AccountEnd::Shutdown,
            (false, true) => AccountEnd::Removed,
            (false, false) => AccountEnd::Idle,
        };
        self.counters().discount_account(self.pool.sessions(), end);
    }
}

impl<M: Manager> AccountInner<M> {
    pub(crate) fn new(
        account: AccountId,
        profile: &Profile,
        quarantines: &[(u16, QuarantineReason)],
        runtime: &Arc<Runtime<M>>,
    ) -> Self {
        let context = &runtime.context;
        let config = context.config.load();
        let group = context.groups.index_of(&profile.group);
        let pool = AccountPool::new(
            account,
            profile.slots.min(SLOTS_MAX),
            group,
            config.pool.max_connections_per_account,
            profile.leases.clamp(1, config.pool.max_leases_per_connection),
        );
        let now = context.clock.tick();
        for (slot, reason) in quarantines {
            // The manager knows of it, and what else there is to do comes with the admission.
            drop(pool.quarantine(Some(*slot), *reason, now));
        }
        let account = Self {
            pool,
            runtime: Arc::clone(runtime),
            egress: profile.egress.clone(),
            leases: profile.leases.max(1),
            profile_read: LastRead::at(now),
            membership: Membership::default(),
            dials: DialNotify::default(),
        };
        account.count_in();
        account
    }

    /// What all accounts of the pool share.
    #[inline]
    pub(crate) fn context(&self) -> &PoolContext<M> {
        &self.runtime.context
    }

    pub(crate) fn counters(&self) -> &GroupCounters {
        self.context().groups.counters(self.pool.group())
    }

    /// Whether the pool's runtime has ended, and nobody has closed the pool or the account: nothing
    /// is opened or timed any more.
    pub(crate) fn has_outlived_its_runtime(&self) -> bool {
        self.runtime.commands.is_closed() && !self.context().is_closing() && !self.pool.is_closed()
    }

    /// Counts the account among those that its group knows. To be called once, while nobody
    /// else can see it.
    fn count_in(&self) {
        self.counters().count_account(self.pool.sessions());
    }

    /// Takes over the limits of the configuration in force.
    pub(crate) fn take_limits(&self) -> Effects<M::Connection> {
        let config = self.context().config();
        let leases = self.leases.min(config.pool.max_leases_per_connection);
        let now = self.context().clock.tick();
        self.pool.set_limits(config.pool.max_connections_per_account, leases, now)
    }

    /// A connection has been closed: its places come back.
    pub(crate) fn closed(
        self: &Arc<Self>,
        connection: &Connection<M::Connection>,
    ) -> Effects<M::Connection> {
        let context = self.context();
        let now = context.clock.tick();
        let reason = connection.reason();
        self.counters().count_close(reason);
        if let Some(live) = connection.live() {
            let age = Duration::from_millis(now.saturating_sub(live.created));
            self.counters().observe(Measure::ConnectionAge, age);
        }
        let (account, slot, uses) = (self.pool.account(), connection.slot, connection.uses());
        tracing::info!(%account, slot, reason = reason.label(), uses, "closed");
        let id = connection.id;
        context.events.emit(|| Event::ConnectionClosed { account, id, reason, uses });
        let effects = self.pool.vacate(connection, now, context.share());
        self.report_unheard_updates(connection, reason);
        self.counters().keep_uses(connection.uses(), connection.shared_uses());
        context.budget.put_back(now);
        context.occupancy.vacate();
        effects
    }

    /// Has a connection asked whether its session is any good, if nothing has shown it for so long.
    pub(crate) fn recheck_if_due(
        self: &Arc<Self>,
        connection: &Arc<Connection<M::Connection>>,
        within: Duration,
    ) {
        if self.needs_check(connection, within) {
            let command =
                Command::Recheck(Arc::downgrade(self), Arc::downgrade(connection), within);
            // Without a worker nobody is asked any more.
            drop(self.runtime.commands.send(command));
        }
    }

    /// Whether nothing has shown for so long that the connection's session is any good.
    pub(crate) fn needs_check(
        &self,
        connection: &Connection<M::Connection>,
        within: Duration,
    ) -> bool {
        let Some(live) = connection.live() else { return false };
        let ask = || self.context().manager.needs_check(&live.connection, within);
        call_manager("needs_check", ask).unwrap_or(false)
    }
}

impl<M: Manager> std::fmt::Debug for AccountInner<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountInner")
            .field("account", &self.pool.account())
            .finish_non_exhaustive()
    }
}
