//! Administration of a pool while it works: close, drain, pause, quarantine, reinstate, resize, warm up.

use std::sync::Arc;
use std::time::Duration;

use crate::account_health::AccountHealth;
use crate::account_id::AccountId;
use crate::base::clock::now;
use crate::base::panics::{call_manager, catch_future};
use crate::base::text::display_safely;
use crate::base::timer::timeout_at;
use crate::config::{Config, ConfigError};
use crate::connection::{CloseReason, ConnectionId};
use crate::events::Event;
use crate::manager::{Manager, QuarantineReason};
use crate::pool::Pool;
use crate::runtime::account::AccountInner;
use crate::runtime::due::Due;

/// How far beyond its bound a wait for an end goes, for the worker to notice what has just ended.
const MARGIN: Duration = Duration::from_millis(100);

/// What closing a pool came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Connections and dials that were open when the close began.
    pub open: u64,
    /// Those of them that were still open when the deadline passed.
    pub still_open: u64,
}

impl<M: Manager> Pool<M> {
    /// Closes the pool: new acquires fail at once, waiting ones wake with `Closed`, idle
    /// connections are closed, and leased ones on their return or by force after
    /// `drain_timeout`. Returns when all is closed and the manager has [settled](Manager::settle), so that
    /// the process may end, or after `drain_timeout` + `close_timeout`.
    pub async fn close(&self) -> CloseReport {
        let context = self.context();
        context.closing.send_replace(true);
        tracing::info!("the pool closes");
        context.events.emit(|| Event::Closing);
        let config = context.config();
        let deadline = now() + config.pool.drain_timeout + config.pool.close_timeout;
        let open = context.occupancy.slots();
        self.inner.close_accounts();
        let empty = context.occupancy.until(|| context.occupancy.slots() == 0);
        timeout_at(&context.handle, deadline + MARGIN, empty).await;
        let settled = catch_future(async { context.manager.settle().await });
        if let Some(None) = timeout_at(&context.handle, deadline + MARGIN, settled).await {
            tracing::warn!("the manager panicked in settle");
        }
        CloseReport { open, still_open: context.occupancy.slots() }
    }

    /// Closes one connection: at once if it is idle, else on its return or after
    /// `drain_timeout`. Returns whether there was such a connection.
    pub fn close_connection(&self, account: AccountId, id: ConnectionId) -> bool {
        let Some(inner) = self.find(account) else { return false };
        let Some(connection) = inner.pool.connections().find(|it| it.id == id) else {
            return false;
        };
        let now = self.context().clock.tick();
        let effects = inner.pool.retire(&connection, CloseReason::Requested, now);
        inner.apply(effects);
        true
    }

    /// Closes every connection of an account and waits until they are closed, at most
    /// `drain_timeout` + `close_timeout`. The account goes on serving, on new connections.
    /// Returns how many there were.
    pub async fn close_account(&self, account: AccountId) -> usize {
        let Some(inner) = self.find(account) else { return 0 };
        let now = self.context().clock.tick();
        let before: Vec<_> = inner.pool.connections().map(|it| (it.slot, it.id)).collect();
        let effects = inner.pool.raise_generation(CloseReason::Requested, now);
        inner.apply(effects);
        inner.until_gone(&before).await;
        before.len()
    }

    /// Takes an account out of service: acquires fail at once, held leases may end, and its
    /// connections close. Waits for that at most `drain_timeout` + `close_timeout`. Returns
    /// whether the pool knows the account.
    pub async fn drain_account(&self, account: AccountId) -> bool {
        let Some(inner) = self.find(account) else { return false };
        let (context, account) = (self.context(), inner.pool.account());
        tracing::info!(%account, "the account is drained");
        context.events.emit(|| Event::Draining { account });
        let effects = inner.pool.drain(context.clock.tick());
        inner.apply(effects);
        let left: Vec<_> = inner.pool.connections().map(|it| (it.slot, it.id)).collect();
        inner.until_gone(&left).await;
        true
    }

    /// Has acquires of an account wait: until it is [resumed](Pool::resume) or
    /// [reinstated](Pool::reinstate), or their deadline passes, which the error then tells
    /// ([`WaitTimeout::paused`](crate::WaitTimeout::paused)). `try_acquire` gets `None`, and
    /// [`Pool::acquire_any`] passes the account over as long as its group has others.
    ///
    /// Leases that are held go on and come back as usual, and connections stay until they are idle for long
    /// or old. No dial is begun, but to look at a suspect session; those under way may end. What takes the
    /// account out of service does so while it is paused as well, and refuses those that wait at once.
    /// The pause lasts until it is ended, also over [`Pool::close_account`] and
    /// [`Pool::reconfigure`]; it ends with the pool, or when the account is removed.
    ///
    /// Returns whether anything has changed by that: not for an account that is paused already, is
    /// unknown, or is being removed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = telepool::Pool::builder(telepool::NoopManager::new(1)).build()?;
    /// let account = "+442079460958".parse()?;
    /// assert!(pool.pause(account));
    /// assert!(pool.try_acquire(account)?.is_none());
    /// assert!(pool.resume(account));
    /// let lease = pool.acquire(account).await?;
    /// # drop(lease);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pause(&self, account: AccountId) -> bool {
        let Ok(handle) = self.account(account) else { return false };
        let (effects, changes) = handle.inner().pool.pause();
        handle.inner().apply(effects);
        if changes {
            let account = handle.id();
            tracing::info!(%account, "the account is paused: acquires wait");
            self.context().events.emit(|| Event::Paused { account });
        }
        changes
    }

    /// Ends the pause of an account, and serves those that wait, in the order in which they came. One that
    /// is drained or quarantined as well stays so. Returns whether the account was paused.
    pub fn resume(&self, account: AccountId) -> bool {
        let Some(inner) = self.find(account) else { return false };
        let context = self.context();
        let (effects, changes) = inner.pool.resume(context.clock.tick());
        inner.apply(effects);
        if changes {
            let account = inner.pool.account();
            tracing::info!(%account, "the account is resumed");
            context.events.emit(|| Event::Resumed { account });
        }
        changes
    }

    /// Quarantines every session that an account has, for the reason
    /// [`Operator`](crate::QuarantineReason::Operator): acquires fail at once, and connections close as in
    /// [`Pool::drain_account`], which is not waited for. Unlike a drain it is kept past the process, if the
    /// manager [keeps](Manager::set_quarantine) quarantines. A session that is out of service already keeps
    /// its reason, unless it is only suspect. [`Pool::reinstate`] ends it.
    ///
    /// Returns whether anything has changed by that: not for an account all of whose sessions are
    /// quarantined, that has none, is unknown, or is being removed.
    pub fn quarantine(&self, account: AccountId) -> bool {
        let Ok(handle) = self.account(account) else { return false };
        let inner = handle.inner();
        !inner.pool.is_closed() && inner.quarantine(None, QuarantineReason::Operator)
    }

    /// Puts a drained or quarantined account back into service, also one that was quarantined
    /// before this pool began, resumes one that is paused, and ends the rest after dials that failed. Its
    /// sessions are looked for at once. Returns whether anything has changed by that: not for an
    /// account that serves, is unknown, or is being removed.
    pub fn reinstate(&self, account: AccountId) -> bool {
        let Ok(account_handle) = self.account(account) else { return false };
        let inner = account_handle.inner();
        if inner.pool.is_closed() {
            return false;
        }
        let (context, account) = (self.context(), account_handle.id());
        inner.reread_profile();
        // The manager may keep a quarantine that another process has found since.
        let quarantines = call_manager("quarantines", || context.manager.quarantines(account))
            .unwrap_or_default();
        let (effects, changes) = inner.pool.reinstate(context.clock.tick());
        inner.apply(effects);
        let changes = changes || !quarantines.is_empty();
        if changes {
            tracing::info!(%account, "the account is reinstated");
            context.events.emit(|| Event::Reinstated { account });
        }
        changes
    }

    /// Removes an account: its connections close as in [`Pool::close`], and later acquires ask
    /// the manager anew. What the pool knew of the account is forgotten, a quarantine included
    /// unless the manager [keeps it](Manager::quarantines). Returns whether the pool knew it. A lease that
    /// is held, or was forgotten, for longer than `drain_timeout` loses its connection, and keeps
    /// nobody from the account then. Handles of the account from before refuse for ever: ask for a
    /// new one.
    pub async fn remove_account(&self, account: AccountId) -> bool {
        let Some(inner) = self.find(account) else { return false };
        let context = self.context();
        let effects = inner.pool.close(context.clock.tick());
        inner.apply(effects);
        // A dial under way keeps a slot as well, so that it is not enough to see the connections
        // go.
        inner.until(|| inner.pool.is_empty(context.clock.tick())).await;
        if !self.forget_removed(inner.pool.account()) {
            // Closed and not empty: the account's wheel entry collects it later, unless somebody
            // asks for the account before.
            let due = Due::Account(Arc::downgrade(&inner));
            self.inner.runtime.schedule.schedule(context.clock.tick(), due);
        }
        true
    }

    /// Forgets a removed account that has nothing left. Returns whether it did.
    pub(super) fn forget_removed(&self, account: AccountId) -> bool {
        let context = self.context();
        let gone = self.inner.registry.remove_closed(account, context.clock.tick());
        if let Some(inner) = &gone {
            inner.report_forgotten();
        }
        gone.is_some()
    }

    /// Tells all who listen that somebody operated the pool: an [`Event::Operation`], and a line of the
    /// log with the target `telepool::audit`. For interfaces by which operators come: to be
    /// called with each operation, which it does not carry out. `by` names whoever asked for it, and
    /// `detail` says why, or what else belongs to it; neither may hold a secret.
    pub fn audit(
        &self,
        operation: &'static str,
        account: Option<AccountId>,
        connection: Option<ConnectionId>,
        by: &str,
        detail: Option<&str>,
    ) {
        // What came from outside is made safe to print.
        let (by, detail) = (display_safely(&by), detail.map(|detail| display_safely(&detail)));
        tracing::info!(
            target: "telepool::audit",
            operation,
            account = account.map(tracing::field::display),
            connection = connection.map(tracing::field::display),
            by,
            detail,
            "somebody operated the pool"
        );
        self.context().events.emit(|| Event::Operation {
            operation,
            account,
            connection,
            by: by.into(),
            detail: detail.map(Arc::from),
        });
    }

    /// The health of an account, or `None` if the pool does not know it.
    #[must_use]
    pub fn account_health(&self, account: AccountId) -> Option<AccountHealth> {
        let inner = self.find(account)?;
        Some(inner.health(self.context().clock.tick()))
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.context().config()
    }

    /// Swaps the configuration while the pool works. Lowered caps close idle connections now
    /// and leased ones on their return; a new number of leases per connection replaces the
    /// connections; new times hold from the next look at a connection.
    ///
    /// # Errors
    /// An invalid configuration; the old one then stays.
    pub fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        config.validate()?;
        let context = self.context();
        let mut old = context.config.swap(Arc::new(config));
        // Another call may have swapped it meanwhile, and either may be the later to carry its
        // own out: whoever finds another one in force at the end carries that out as well.
        loop {
            let new = context.config();
            self.take_over(&old, &new);
            if Arc::ptr_eq(&new, &context.config()) {
                break;
            }
            old = new;
        }
        tracing::info!("another configuration is in force");
        context.events.emit(|| Event::Reconfigured);
        Ok(())
    }

    /// Carries a configuration out.
    fn take_over(&self, old: &Config, new: &Config) {
        let context = self.context();
        context.hot.set(new);
        let tick = context.clock.tick();
        if old.dial != new.dial {
            context.dial_limiters.set_limits(&new.dial);
        }
        if old.pool.cleanup_interval != new.pool.cleanup_interval {
            self.inner.runtime.schedule.set_interval(new.pool.cleanup_interval);
        }
        let retimed = old.pool.max_idle_time != new.pool.max_idle_time
            || old.pool.max_connection_age != new.pool.max_connection_age
            || old.pool.age_jitter != new.pool.age_jitter;
        for inner in self.inner.registry.all() {
            let effects = inner.take_limits();
            inner.apply(effects);
            if new.pool.drain_timeout < old.pool.drain_timeout {
                inner.hurry_drains();
            }
            if retimed {
                self.retime(&inner);
            }
        }
        let cap = new.pool.max_connections;
        let excess = context.budget.set_cap(cap, new.pool.acquire_timeout, tick);
        for _ in 0..excess {
            if !self.inner.runtime.evict_idle() {
                break;
            }
        }
    }

    /// Draws new age limits and looks at each connection as early as the new times ask.
    fn retime(&self, inner: &Arc<AccountInner<M>>) {
        let context = self.context();
        let tick = context.clock.tick();
        for connection in inner.pool.connections() {
            let Some(live) = connection.live() else { continue };
            let retire_at = context.draw_retirement(live.created);
            connection.set_retire_at(retire_at);
            let due = (connection.last_used() + context.hot.max_idle_ms()).min(retire_at).max(tick);
            // The old entry no longer matches and is dropped when it comes up.
            connection.set_next_visit(due);
            self.inner.runtime.schedule.schedule(due, Due::visit(inner, &connection, due));
        }
    }

    /// Opens one connection for each of these accounts that has none, at the pace of the
    /// configuration. Returns at once; unknown accounts are passed over. Returns how many
    /// accounts were known.
    pub fn warm_up(&self, accounts: impl IntoIterator<Item = AccountId>) -> usize {
        let known = accounts.into_iter().filter_map(|account| self.account(account).ok());
        known
            .map(|account| {
                let (inner, tick) = (account.inner(), self.context().clock.tick());
                inner.reread_profile_if_due(tick);
                let effects = inner.pool.warm(tick);
                inner.apply(effects);
            })
            .count()
    }
}

impl<M: Manager> AccountInner<M> {
    /// Waits until a connection has left its slot, at most `drain_timeout` + `close_timeout`.
    pub(crate) async fn until_closed(&self, slot: u16, id: ConnectionId) {
        self.until_gone(&[(slot, id)]).await;
    }

    /// The same for several, by one deadline.
    async fn until_gone(&self, gone: &[(u16, ConnectionId)]) {
        self.until(|| !self.pool.connections().any(|it| gone.contains(&(it.slot, it.id)))).await;
    }

    /// Waits until something is so that comes with a slot's becoming vacant, at most
    /// `drain_timeout` + `close_timeout`.
    async fn until(&self, is_so: impl Fn() -> bool) {
        let config = self.context().config();
        let limit = config.pool.drain_timeout + config.pool.close_timeout;
        let context = self.context();
        timeout_at(&context.handle, now() + limit + MARGIN, context.occupancy.until(is_so)).await;
    }
}
