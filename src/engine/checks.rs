//! Checks of idle connections before they are lent again.
//!
//! Owns what those that wait may expect of checks under way. A check holds a lease of its connection;
//! nobody is lent another before it has passed, and while it is to come back, none is dialled
//! instead, nor is another lent that would be checked too. One that needs no check serves at once. Who
//! asks, and for how long, is the pool's business.

use std::sync::Arc;

use crate::base::clock::Tick;
use crate::connection::{CloseReason, Source};
use crate::engine::connection::Connection;
use crate::engine::effects::Effects;
use crate::engine::{AccountPool, Body, Core};

impl<C, E> AccountPool<C, E> {
    /// Begins a check of a leased connection. Returns whether it is not being checked already; then the
    /// lease is the check's, which owes one [`fail_check`](Self::fail_check), or else
    /// [`Connection::pass_check`], a release, and [`end_check`](Self::end_check). What was used at
    /// `checked_since` or later needs none, as things are.
    pub(crate) fn begin_check(&self, connection: &Connection<C>, checked_since: Tick) -> bool {
        let mut core = self.body().core.lock();
        let begins = connection.set_checking(true);
        core.checking += u32::from(begins);
        core.checked_since = checked_since;
        begins
    }

    /// A connection that has passed has been released, which serves one waiter. Others may have waited
    /// for it as well, or for the end of its check.
    pub(crate) fn end_check(&self, now: Tick) -> Effects<C> {
        let body = self.body();
        let mut effects = Effects::none();
        let mut core = body.core.lock();
        core.checking -= 1;
        self.dispatch(body, &mut core, now, &mut effects);
        effects
    }

    /// The connection has failed, or nobody is left to ask: its lease ends with it, and those that wait are
    /// provided for otherwise.
    pub(crate) fn fail_check(
        &self,
        connection: Arc<Connection<C>>,
        reason: CloseReason,
        now: Tick,
    ) -> Effects<C> {
        let body = self.body();
        let mut effects = Effects::none();
        let mut core = body.core.lock();
        connection.set_checking(false);
        core.checking -= 1;
        self.discard(&mut core, connection, reason, &mut effects);
        self.dispatch(body, &mut core, now, &mut effects);
        effects
    }

    /// How many connections are being checked.
    pub(crate) fn checking(&self) -> u32 {
        self.body.get().map_or(0, |body| body.core.lock().checking)
    }

    /// Leases a connection that is not being checked; with `only_checked` none that would be checked too.
    pub(super) fn lease_beside_checks(
        &self,
        core: &Core<C, E>,
        only_checked: bool,
    ) -> Option<(Arc<Connection<C>>, Source)> {
        let is_checked_since =
            |it: &Connection<C>| !it.is_suspect() && it.last_used() >= core.checked_since;
        let serves =
            |it: &Connection<C>| !it.is_checking() && (!only_checked || is_checked_since(it));
        self.body.get()?.all_slots().find_map(|slot| Self::lease_through(slot, serves))
    }

    /// Connections take no more leases from now on: if a check of one was waited for, its waiters are
    /// provided for otherwise. Under the lock.
    pub(super) fn handle_retired(
        &self,
        body: &Body<C, E>,
        core: &mut Core<C, E>,
        now: Tick,
        effects: &mut Effects<C>,
    ) {
        if core.checking > 0 {
            self.dispatch(body, core, now, effects);
        } else {
            self.sync_shrink_flag(core);
        }
    }
}

impl<C, E> Body<C, E> {
    /// How many leases those that wait may hope for until the checks under way have ended, each of which
    /// has them looked at anew. None of a connection that ends with its check, nor those that others
    /// hold meanwhile.
    pub(super) fn coming_back(&self, core: &Core<C, E>, generation: u64) -> usize {
        if core.checking == 0 {
            return 0;
        }
        let comes_back = |it: &Connection<C>| {
            it.is_checking() && it.generation == generation && !it.word.snapshot().is_retiring()
        };
        let checked = self.all_slots().filter_map(|slot| slot.clone_if(comes_back));
        let leases = checked.map(|connection| {
            let others = connection.word.snapshot().leases().saturating_sub(1);
            u32::from(connection.max_leases).saturating_sub(others) as usize
        });
        leases.sum()
    }
}
