//! The pool and its accounts, as users hold them: [`Pool`], [`Account`] and the builder.
//!
//! Owns the tasks of a pool. Everything an acquire needs is in `acquire` and `account_pool`.

pub(crate) mod acquire;
mod admin;
mod any;
mod builder;
pub(crate) mod lease;
mod listing;
#[cfg(all(test, not(pool_loom)))]
mod tests;
#[cfg(any(feature = "http", feature = "telegram"))]
mod weak;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

pub use acquire::Acquire;
pub use admin::CloseReport;
pub use builder::Builder;
pub use lease::{AccountRef, BorrowedLease, Lease, OwnedLease};
#[cfg(any(feature = "http", feature = "telegram"))]
pub(crate) use weak::PoolRef;

use self::acquire::unready_error;
use crate::account_id::AccountId;
use crate::base::panics::call_manager;
use crate::base::sync::{Ordering, thread_number};
use crate::connection::CloseReason;
use crate::engine::Take;
use crate::error::{AcquireError, Stage};
use crate::events::{Event, EventStream};
use crate::manager::{Manager, SLOTS_MAX};
use crate::runtime::account::AccountInner;
use crate::runtime::context::PoolContext;
use crate::runtime::reading::Reading;
use crate::runtime::{Accounts, Runtime};
use crate::stats::PoolStats;

/// A pool of connections of many accounts. A cheap clone: keep one.
///
/// Dropping the last clone closes idle connections in the background, as does returning the
/// last leases; [`Pool::close`] does it in the open.
pub struct Pool<M: Manager> {
    inner: Arc<PoolInner<M>>,
}

struct PoolInner<M: Manager> {
    runtime: Arc<Runtime<M>>,
    registry: Arc<Accounts<M>>,
    tasks: Vec<AbortHandle>,
}

/// A handle of one account: acquires without looking the account up. It keeps what the pool knows
/// of the account, sees sessions come and go all the same, and does not keep the pool open.
pub struct Account<M: Manager>(Arc<AccountInner<M>>);

impl<M: Manager> Pool<M> {
    /// Starts to build a pool around a manager.
    pub fn builder(manager: M) -> Builder<M> {
        Builder::new(manager)
    }

    /// The manager that the pool was built around.
    #[must_use]
    pub fn manager(&self) -> &M {
        &self.context().manager
    }

    /// A handle of an account, for whoever acquires from it more than once.
    ///
    /// # Errors
    /// The manager knows no such account, or the pool is closed.
    pub fn account(&self, account: AccountId) -> Result<Account<M>, AcquireError<M::Error>> {
        let context = self.context();
        let found = self.find(account);
        if let Some(inner) = found.as_ref().filter(|inner| !inner.pool.is_closed()) {
            return Ok(Account(Arc::clone(inner)));
        }
        if context.is_closing() {
            return Err(AcquireError::Closed { stage: Stage::Lookup });
        }
        // It was removed. As long as something of it is left, nothing comes in its place.
        if let Some(inner) = found.filter(|inner| !self.forget_removed(inner.pool.account())) {
            return Ok(Account(inner));
        }
        let account = self.canonical(account);
        let Some(profile) = context.profile(account) else {
            return Err(AcquireError::UnknownAccount { account });
        };
        if self.canonical(account) != account {
            return self.account(account); // it has become another one's name in between
        }
        if profile.slots > SLOTS_MAX {
            tracing::warn!(%account, slots = profile.slots, "only the first 64 sessions are used");
        }
        let quarantines = call_manager("quarantines", || context.manager.quarantines(account))
            .unwrap_or_default();
        let make = || AccountInner::new(account, &profile, &quarantines, &self.inner.runtime);
        let (inner, added) = self.inner.registry.find_or_add(account, make);
        if added {
            inner.apply(inner.pool.admit());
            context.events.emit(|| Event::AccountOpened { account });
            if context.is_closing() {
                // The pool closed between the look above and the insert: it has not seen this
                // account, so that it is closed here.
                let effects = inner.pool.close(context.clock.tick());
                inner.apply(effects);
            }
        }
        Ok(Account(inner))
    }

    /// Acquires a lease, and waits for it at most `acquire_timeout`.
    #[track_caller]
    pub fn acquire(&self, account: AccountId) -> Acquire<M> {
        self.begin(account, None, false)
    }

    /// Acquires a lease, and waits for it at most `timeout`.
    #[track_caller]
    pub fn acquire_timeout(&self, account: AccountId, timeout: Duration) -> Acquire<M> {
        self.begin(account, Some(timeout), false)
    }

    /// Acquires a lease of a connection that is opened for it. At the cap, the longest-idle
    /// connection makes room; if none is idle, the acquire waits its turn.
    #[track_caller]
    pub fn acquire_fresh(&self, account: AccountId) -> Acquire<M> {
        self.begin(account, None, true)
    }

    /// A lease, if a connection of the account is free right now. Opens none, and does not
    /// check one that was idle for long.
    ///
    /// # Errors
    /// The manager knows no such account, it is out of service, or the pool is closed.
    #[track_caller]
    pub fn try_acquire(
        &self,
        account: AccountId,
    ) -> Result<Option<Lease<M>>, AcquireError<M::Error>> {
        let account = self.account(account)?;
        try_lease(account, Location::caller())
    }

    /// Acquires a lease of any account of a group. Those take turns that have a free connection, or
    /// none and may be dialled at once; if there is none such, the one with the shortest line
    /// serves. Members that are out of service are passed over, and as long as there are others, those
    /// of which any method must rest or whose dials do, and those that are paused.
    ///
    /// Looks at 1,024 members at most, and the next call goes on behind them.
    #[track_caller]
    pub fn acquire_any(&self, group: &str) -> Acquire<M> {
        self.begin_any(group, None)
    }

    /// The same for one method, by the manager's number for it (Telegram: the constructor id): only
    /// members for which this one must rest are passed over. If all must, the one that may call it
    /// first serves.
    ///
    /// ```
    /// # async fn example(pool: telepool::Pool<telepool::NoopManager>)
    /// #     -> Result<(), Box<dyn std::error::Error>> {
    /// const SEND_MESSAGE: u32 = 0xfef4_8f62;
    /// let lease = pool.acquire_any_for("senders", SEND_MESSAGE).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn acquire_any_for(&self, group: &str, method: u32) -> Acquire<M> {
        self.begin_any(group, Some(method))
    }

    #[track_caller]
    fn begin_any(&self, group: &str, method: Option<u32>) -> Acquire<M> {
        let site = Location::caller();
        match self.any_member(group, method) {
            Some(account) => Acquire::new(account, site, None, false),
            None => self.refused(AcquireError::NoMember, site),
        }
    }

    #[track_caller]
    fn begin(&self, account: AccountId, timeout: Option<Duration>, fresh: bool) -> Acquire<M> {
        let site = Location::caller();
        match self.account(account) {
            Ok(account) => Acquire::new(account, site, timeout, fresh),
            Err(error) => self.refused(error, site),
        }
    }

    /// An acquire that ends before an account could count it.
    fn refused(
        &self,
        error: AcquireError<M::Error>,
        site: &'static Location<'static>,
    ) -> Acquire<M> {
        self.context().lookups_failed.fetch_add(1, Ordering::Relaxed);
        Acquire::failed(error, site)
    }

    /// What happens in the pool from now on.
    #[must_use]
    pub fn events(&self) -> EventStream {
        self.context().events.stream()
    }

    /// The numbers of the whole pool. Takes as long as there are accounts with a connection or
    /// with somebody who waits: a fraction of a microsecond for each.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let context = self.context();
        let tick = context.clock.tick();
        let reading = Reading::new(context, &self.inner.registry, tick, |_| {});
        let schedule = &self.inner.runtime.schedule;
        let mut stats = PoolStats {
            accounts: self.inner.registry.len() as u64,
            max_connections: reading.connections_max,
            acquires_failed: context.lookups_failed.load(Ordering::Relaxed),
            breakers_open: reading.breakers.iter().sum(),
            addresses_down: reading.addresses_down,
            reaper_runs: schedule.runs(),
            reaper_scheduled: schedule.scheduled() as u64,
            groups_overflowed: reading.overflow,
            ..Default::default()
        };
        for group in reading.groups {
            stats.add(&group.totals, group.counters);
        }
        stats
    }
}

impl<M: Manager> PoolInner<M> {
    /// Closes every account that there is now; those that come later find the pool closing.
    fn close_accounts(&self) {
        let now = self.runtime.context.clock.tick();
        for inner in self.registry.all() {
            inner.apply(inner.pool.close(now));
        }
    }
}

impl<M: Manager> Pool<M> {
    /// What the pool knows of an account, by whatever name.
    pub(crate) fn find(&self, name: AccountId) -> Option<Arc<AccountInner<M>>> {
        let registry = &self.inner.registry;
        registry.find(name).or_else(|| {
            let account = self.canonical(name);
            if account == name { None } else { registry.find(account) }
        })
    }

    fn canonical(&self, name: AccountId) -> AccountId {
        call_manager("canonical", || self.context().manager.canonical(name)).unwrap_or(name)
    }

    pub(crate) fn context(&self) -> &PoolContext<M> {
        &self.inner.runtime.context
    }

    /// What outlasts the pool as long as somebody leases from it.
    #[cfg(any(feature = "metrics", feature = "telegram"))]
    pub(crate) fn runtime(&self) -> &Arc<Runtime<M>> {
        &self.inner.runtime
    }
}

impl<M: Manager> Account<M> {
    #[inline]
    pub(crate) fn inner(&self) -> &Arc<AccountInner<M>> {
        &self.0
    }

    /// The account's id.
    #[must_use]
    pub fn id(&self) -> AccountId {
        self.0.pool.account()
    }

    /// How long a method must still rest, by the manager's number for it; `None` if it need not.
    #[must_use]
    pub fn cooldown_remaining(&self, key: u32) -> Option<Duration> {
        let now = self.0.context().clock.tick();
        let until = self.0.pool.cooling_until(key, now)?;
        Some(Duration::from_millis(until - now))
    }

    /// Acquires a lease that borrows this handle, and waits for it at most `acquire_timeout`.
    #[track_caller]
    pub fn acquire(&self) -> Acquire<M, &Self> {
        Acquire::new(self, Location::caller(), None, false)
    }

    /// The same with a deadline of its own.
    #[track_caller]
    pub fn acquire_timeout(&self, timeout: Duration) -> Acquire<M, &Self> {
        Acquire::new(self, Location::caller(), Some(timeout), false)
    }

    /// Acquires a lease of a connection that is opened for it; see [`Pool::acquire_fresh`].
    #[track_caller]
    pub fn acquire_fresh(&self) -> Acquire<M, &Self> {
        Acquire::new(self, Location::caller(), None, true)
    }

    /// Acquires a lease that may outlive this handle.
    #[track_caller]
    pub fn acquire_owned(&self) -> Acquire<M> {
        Acquire::new(self.clone(), Location::caller(), None, false)
    }

    /// A lease, if a connection is free right now; see [`Pool::try_acquire`].
    ///
    /// # Errors
    /// The account is out of service, or the pool is closed.
    #[track_caller]
    pub fn try_acquire(&self) -> Result<Option<BorrowedLease<'_, M>>, AcquireError<M::Error>> {
        try_lease(self, Location::caller())
    }
}

fn try_lease<M: Manager, A: AccountRef<M>>(
    account_ref: A,
    site: &'static Location<'static>,
) -> Result<Option<Lease<M, A>>, AcquireError<M::Error>> {
    let inner = Arc::clone(account_ref.account().inner());
    let mut doubted = 0;
    while doubted < SLOTS_MAX {
        // Each turn that does not return takes a connection out of circulation, or sends one in
        // doubt to the end of the queue: here nobody waits for a check.
        let now = inner.context().clock.coarse();
        let take = match doubted {
            0 => inner.pool.try_lease_any(now, thread_number()),
            _ => inner.pool.try_lease_in_order(),
        };
        match take {
            Take::Leased(connection, _) if inner.is_broken(&connection) => {
                inner.discard(connection, CloseReason::Broken);
            }
            Take::Leased(connection, _) if connection.is_suspect() => {
                inner.release(connection);
                doubted += 1;
            }
            Take::Leased(connection, source) => {
                let uses = inner.pool.accept(&connection, source, now, site);
                return Ok(Some(Lease::new(account_ref, connection, uses)));
            }
            Take::Outdated(connection) => {
                inner.release(connection);
            }
            Take::Empty | Take::NotReady => break,
        }
    }
    // Whoever waits already may be the only reason; else the account cannot serve at all.
    match inner.pool.unready() {
        None => Ok(None),
        Some(unready) => Err(unready_error(&inner, unready)),
    }
}

impl<M: Manager> Drop for PoolInner<M> {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.runtime.context.closing.send_replace(true);
        self.close_accounts();
    }
}

impl<M: Manager> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<M: Manager> Clone for Account<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Manager> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("accounts", &self.inner.registry.len()).finish_non_exhaustive()
    }
}

impl<M: Manager> fmt::Debug for Account<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Account").field(&self.id()).finish()
    }
}
