//! Checks of idle connections before they are lent again.
//!
//! Owns what those in line may expect of checks under way. A check holds a lease of its connection;
//! nobody is lent another before it has passed, and while it is to come back, none is dialled in its
//! place. Who asks, and for how long, is the pool's business.

use std::sync::Arc;

use crate::account_pool::connection::{CloseReason, Connection};
use crate::account_pool::duty::Orders;
use crate::account_pool::{AccountPool, Body, Core};
use crate::clock::Tick;

impl<C, E> AccountPool<C, E> {
    /// Begins a check of a leased connection. Answers whether it is not being checked already; then the
    /// lease is the check's, which owes one [`fail_check`](Self::fail_check), or else
    /// [`Connection::pass_check`], a release, and [`end_check`](Self::end_check).
    pub(crate) fn begin_check(&self, connection: &Connection<C>) -> bool {
        let mut core = self.body().core.lock();
        let begins = connection.set_checking(true);
        core.checking += u32::from(begins);
        begins
    }

    /// A connection that has passed has been released, which serves one in line. Others may have waited
    /// for it as well, or for the end of its check.
    pub(crate) fn end_check(&self, now: Tick) -> Orders<C> {
        let body = self.body();
        let mut orders = Orders::none();
        let mut core = body.core.lock();
        core.checking -= 1;
        self.dispatch(body, &mut core, now, &mut orders);
        orders
    }

    /// The connection has failed, or nobody is left to ask: its lease ends with it, and those in line are
    /// provided for otherwise.
    pub(crate) fn fail_check(
        &self,
        connection: Arc<Connection<C>>,
        reason: CloseReason,
        now: Tick,
    ) -> Orders<C> {
        let body = self.body();
        let mut orders = Orders::none();
        let mut core = body.core.lock();
        connection.set_checking(false);
        core.checking -= 1;
        self.discard(&mut core, connection, reason, &mut orders);
        self.dispatch(body, &mut core, now, &mut orders);
        orders
    }

    /// How many connections are being checked.
    pub(crate) fn checking(&self) -> u32 {
        self.body.get().map_or(0, |body| body.core.lock().checking)
    }
}

impl<C, E> Body<C, E> {
    /// How many leases those in line may hope for until the checks under way have ended, each of which
    /// has them looked at anew.
    pub(super) fn coming_back(&self, core: &Core<C, E>) -> usize {
        if core.checking == 0 {
            return 0;
        }
        let checked = self.all_slots().filter_map(|slot| slot.clone_if(Connection::is_checking));
        checked.map(|connection| usize::from(connection.max_leases)).sum()
    }
}
