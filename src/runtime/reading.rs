//! One reading of a pool: what its groups have and have done.
//!
//! Owns the walk over the active accounts and the order of its steps, for `Pool::stats` and for the metrics
//! alike. All other accounts are only counted, and cost nothing. Takes no lock of an account.
//!
//! # Orderings
//! Relaxed, like the counters themselves, but for what a closed connection leaves. What counts is
//! the order of the steps: what closed connections have left is read before those that are open,
//! and uses are read before leases. So a reading that races with a change comes short of the truth
//! by what changed under it, which the next reading makes good. It goes beyond the truth in two
//! cases, by one step under way each, and until the counter has caught up: a release that ended
//! its connection counts as one that did not while its maker is between the two steps; and a
//! machine that reorders loads may see the steps in another order.

use std::mem::take;
use std::sync::Arc;

use crate::base::clock::Tick;
use crate::manager::Manager;
use crate::runtime::Accounts;
use crate::runtime::account::AccountInner;
use crate::runtime::context::PoolContext;
use crate::stats::{GroupCounters, Totals};

/// What a pool has and has done.
pub(crate) struct Reading<'a> {
    pub(crate) groups: Vec<GroupReading<'a>>,
    /// The cap of the pool.
    pub(crate) connections_max: u64,
    /// Open ones: of the machine's own address, and of proxies.
    pub(crate) breakers: [u64; 2],
    pub(crate) addresses_down: u64,
    /// Accounts whose group found no name left.
    pub(crate) overflow: u64,
}

/// What one group has and has done.
#[cfg_attr(
    not(feature = "metrics"),
    expect(dead_code, reason = "without metrics nobody asks which group it is")
)]
pub(crate) struct GroupReading<'a> {
    pub(crate) index: u16,
    pub(crate) name: Arc<str>,
    pub(crate) totals: Totals,
    /// What is counted when it happens: to be read after the totals.
    pub(crate) counters: &'a GroupCounters,
}

impl<'a> Reading<'a> {
    /// Reads a pool, and has each active account visited for what else there is to learn of it.
    pub(crate) fn new<M: Manager>(
        context: &'a PoolContext<M>,
        accounts: &Accounts<M>,
        now: Tick,
        mut visit: impl FnMut(&AccountInner<M>),
    ) -> Self {
        let mut totals = context.groups.past();
        accounts.for_each_active(now, |account| {
            let group = usize::from(account.pool.group());
            if group >= totals.len() {
                // It came after the first step: its past is that of a moment.
                totals.resize_with(group + 1, Totals::default);
            }
            account.pool.add_present_to(&mut totals[group]);
            visit(account);
        });
        let groups = context.groups.all().into_iter().map(|(index, name)| {
            let counters = context.groups.counters(index);
            let mut totals = totals.get_mut(usize::from(index)).map(take).unwrap_or_default();
            counters.add_counted(&mut totals);
            GroupReading { index, name, totals, counters }
        });
        Self {
            groups: groups.collect(),
            connections_max: context.budget.cap() as u64,
            breakers: context.dial_limiters.open_breakers(),
            addresses_down: context.dial_limiters.addresses_down(),
            overflow: context.groups.overflow(),
        }
    }
}
