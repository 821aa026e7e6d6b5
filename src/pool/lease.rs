//! The lease: an RAII guard of a connection that was acquired.
//!
//! Owns [`Lease`]: whoever holds one may use the connection, and dropping it returns the
//! connection. Dropping never blocks, awaits, allocates or spawns, and works on any thread,
//! without a runtime and after the pool has closed.

use std::fmt;
use std::ops::{AsyncFnOnce, Deref};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::account_id::AccountId;
use crate::base::clock::{Instant, now};
use crate::connection::{CloseReason, ConnectionId};
use crate::engine::Connection;
use crate::manager::{Manager, Reaction};
use crate::pool::Account;
use crate::runtime::account::AccountInner;
use crate::stats::Measure;

/// What keeps a lease's account alive: a borrowed or an owned [`Account`].
pub trait AccountRef<M: Manager>: Sealed<M> {
    /// The account.
    fn account(&self) -> &Account<M>;
}

/// Keeps [`AccountRef`] to the two kinds that there are.
#[expect(unnameable_types, reason = "a sealed trait is one that nobody else can name")]
pub trait Sealed<M: Manager> {}

impl<M: Manager> Sealed<M> for Account<M> {}
impl<M: Manager> Sealed<M> for &Account<M> {}

impl<M: Manager> AccountRef<M> for Account<M> {
    fn account(&self) -> &Self {
        self
    }
}

impl<M: Manager> AccountRef<M> for &Account<M> {
    fn account(&self) -> &Account<M> {
        self
    }
}

/// A connection on loan. Dereferences to the manager's connection, never mutably: others may
/// hold leases of the same connection.
///
/// With the default `A`, an [`OwnedLease`], the lease owns its account and may go anywhere; [`BorrowedLease`]
/// borrows it and is cheaper.
#[must_use = "dropping a lease returns the connection at once"]
pub struct Lease<M: Manager, A: AccountRef<M> = Account<M>> {
    /// Gone once it has been given back.
    loan: Option<Loan<M, A>>,
    /// When it began, for the one in 64 that is measured.
    measured: Option<Instant>,
}

struct Loan<M: Manager, A: AccountRef<M>> {
    account_ref: A,
    connection: Arc<Connection<M::Connection>>,
}

/// A lease that owns its account handle, and may go anywhere.
pub type OwnedLease<M> = Lease<M, Account<M>>;

/// A lease that borrows the account handle it was acquired with.
pub type BorrowedLease<'a, M> = Lease<M, &'a Account<M>>;

impl<M: Manager, A: AccountRef<M>> Lease<M, A> {
    #[inline]
    pub(crate) fn new(
        account_ref: A,
        connection: Arc<Connection<M::Connection>>,
        uses: u64,
    ) -> Self {
        let measured = (uses % 64 == 1).then(now);
        Self { loan: Some(Loan { account_ref, connection }), measured }
    }

    #[inline]
    fn loan(&self) -> &Loan<M, A> {
        self.loan.as_ref().expect("BUG: a lease was used after it had been given back")
    }

    #[inline]
    fn inner(&self) -> &Arc<AccountInner<M>> {
        self.loan().account_ref.account().inner()
    }

    #[inline]
    fn connection(&self) -> &Arc<Connection<M::Connection>> {
        &self.loan().connection
    }

    /// Whose connection this is.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.inner().pool.account()
    }

    /// Which connection this is.
    #[must_use]
    pub fn connection_id(&self) -> ConnectionId {
        self.connection().id
    }

    /// Which of the account's sessions it belongs to.
    #[must_use]
    pub fn slot(&self) -> u16 {
        self.connection().slot
    }

    /// How long ago the connection was opened.
    #[must_use]
    pub fn age(&self) -> Duration {
        let created = self.connection().leased().created;
        Duration::from_millis(self.inner().context().clock.coarse().saturating_sub(created))
    }

    /// How many leases the connection has served, this one included.
    #[must_use]
    pub fn use_count(&self) -> u64 {
        self.connection().uses()
    }

    /// Runs a call on the connection and lets the pool learn from its error.
    ///
    /// # Errors
    /// The call's own.
    pub async fn run<T>(
        &self,
        call: impl AsyncFnOnce(&M::Connection) -> Result<T, M::Error>,
    ) -> Result<T, M::Error> {
        let done = call(self).await;
        if let Err(error) = &done {
            self.report(error);
        }
        done
    }

    /// Tells the pool of an error that a call on the connection came back with. What follows is
    /// the manager's [`react`](Manager::react): a broken connection takes no new leases from
    /// now on and is closed when the last one is returned. Returns that reaction.
    pub fn report(&self, error: &M::Error) -> Reaction {
        let inner = self.inner();
        let connection = self.connection();
        let (reaction, reason) = inner.learn(error, connection.slot, Some(connection));
        if let Some(reason) = reason {
            let effects = inner.pool.retire(connection, reason, inner.context().clock.tick());
            inner.apply(effects);
        }
        reaction
    }

    /// Returns the lease and has the connection closed instead of reused.
    pub fn discard(mut self) {
        let Some(Loan { account_ref, connection }) = self.loan.take() else { return };
        let inner = account_ref.account().inner();
        if let Some(started) = self.measured {
            record_use(inner, started);
        }
        inner.counters().count_release_closed();
        inner.discard(connection, CloseReason::Requested);
    }

    /// Returns the lease, has the connection closed, and waits until it is, at most
    /// `drain_timeout` and `close_timeout` if others hold leases of it.
    pub async fn close(self) {
        let inner = Arc::clone(self.inner());
        let (slot, id) = (self.slot(), self.connection_id());
        self.discard();
        inner.until_closed(slot, id).await;
    }

    /// The account handle that the lease was acquired with.
    #[cfg(feature = "telegram")]
    pub(crate) fn account_handle(&self) -> &Account<M> {
        self.loan().account_ref.account()
    }

    #[cfg(feature = "telegram")]
    pub(crate) fn pool_manager(&self) -> &M {
        &self.inner().context().manager
    }

    pub(crate) fn report_waited(&self, waited: Duration, site: &'static Location<'static>) {
        self.inner().report_waited(waited, site);
    }
}

impl<M: Manager, A: AccountRef<M>> Deref for Lease<M, A> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        &self.connection().leased().connection
    }
}

impl<M: Manager, A: AccountRef<M>> Drop for Lease<M, A> {
    // Takes itself apart, so that the lease stays in registers: passed by address, it is stored and then
    // loaded with other widths, a store-forwarding stall, which costs as much as an atomic exchange.
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(Loan { account_ref, connection }) = self.loan.take() {
            release(account_ref, connection, self.measured);
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a reference would lead to the lease in memory")]
fn release<M: Manager, A: AccountRef<M>>(
    account_ref: A,
    connection: Arc<Connection<M::Connection>>,
    measured: Option<Instant>,
) {
    let inner = account_ref.account().inner();
    if let Some(started) = measured {
        record_use(inner, started);
    }
    if inner.release(connection) {
        inner.counters().count_release_closed();
    }
}

#[cold]
fn record_use<M: Manager>(inner: &AccountInner<M>, since: Instant) {
    let used = now().saturating_duration_since(since);
    inner.counters().observe(Measure::LeaseUse, used);
}

impl<M: Manager, A: AccountRef<M>> fmt::Debug for Lease<M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("account", &self.account())
            .field("connection", &self.connection_id())
            .finish_non_exhaustive()
    }
}
