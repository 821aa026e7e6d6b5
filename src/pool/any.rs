//! Acquires of any account of a group: which member serves.
//!
//! Owns the choice. It takes nothing: the acquire that follows takes its own chance.

use std::sync::Arc;
use std::time::Duration;

use crate::account_id::AccountId;
use crate::base::clock::Tick;
use crate::base::panics::call_manager;
use crate::manager::Manager;
use crate::pool::{Account, Pool};

/// How many members that can serve are compared before one of them is chosen.
const CANDIDATES: usize = 64;
/// How many members are looked at in one call for such: the next call goes on behind them. A index
/// takes a fraction of a microsecond.
const MEMBERS_MAX: usize = 1024;

/// How well a member suits, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// It can be lent now, or be dialled without another dial before it.
    Now,
    /// Somebody holds or waits for what it has; this many do.
    Later(u64),
    /// What it is wanted for must rest, for so many milliseconds.
    Rests(u64),
    /// It is paused.
    Paused,
}

impl<M: Manager> Pool<M> {
    /// A member of a group that can serve now, or soon: the one that was chosen longest ago among
    /// those that suit best. `method` must not have to rest, if one is named; else none at all.
    pub(super) fn any_member(&self, group: &str, method: Option<u32>) -> Option<Account<M>> {
        let context = self.context();
        let members = call_manager("members", || context.manager.members(group)).flatten();
        let members = members.unwrap_or_else(|| self.known_members(group));
        if members.is_empty() {
            return None;
        }
        let turn = &context.groups.counters(context.groups.find(group)).turn;
        let now = context.clock.tick();
        let start = turn.take(1);
        let mut best: Option<(Fit, usize, Account<M>)> = None;
        let mut candidates = 0;
        for index in 0..members.len().min(MEMBERS_MAX) {
            let account = members[start.wrapping_add(index) % members.len()];
            let Some(account) = self.able(account) else { continue };
            let fit = self.fit(&account, method, now);
            candidates += usize::from(fit != Fit::Paused);
            if best.as_ref().is_none_or(|(least, ..)| fit < *least) {
                best = Some((fit, index, account));
            }
            if fit == Fit::Now || candidates == CANDIDATES {
                break;
            }
        }
        let passed_over = match &best {
            Some((fit, index, _)) if *fit != Fit::Paused => *index,
            _ => members.len().min(MEMBERS_MAX) - 1,
        };
        // Those that cannot serve do not give their turns to whoever stands behind them.
        turn.take(passed_over);
        best.map(|(_, _, account)| account)
    }

    /// A member, unless it is out of service. One that the pool has not met is judged by what the
    /// manager keeps of it, so that a group of dead accounts costs no memory.
    fn able(&self, account: AccountId) -> Option<Account<M>> {
        let context = self.context();
        if self.find(account).is_none() {
            let quarantines = call_manager("quarantines", || context.manager.quarantines(account))
                .unwrap_or_default();
            let slots = || context.profile(account).map_or(0, |profile| usize::from(profile.slots));
            if !quarantines.is_empty() && quarantines.len() >= slots() {
                return None;
            }
        }
        let account = self.account(account).ok()?;
        let inner = account.inner();
        if inner.pool.unready().is_some() {
            // Nobody acquires from it, so that it would never be known that it has got a session.
            inner.reread_profile_if_due(context.clock.tick());
        }
        inner.pool.unready().is_none().then_some(account)
    }

    fn fit(&self, account: &Account<M>, method: Option<u32>, now: Tick) -> Fit {
        let pool = &account.inner().pool;
        if pool.is_paused() {
            return Fit::Paused;
        }
        let rests_until = match method {
            Some(method) => pool.cooling_until(method, now),
            None => pool.cooling_for_any(now),
        };
        if let Some(until) = rests_until.max(pool.rests_until(now)) {
            return Fit::Rests(until.saturating_sub(now));
        }
        if pool.has_room() || self.may_be_dialled_at_once(account) {
            return Fit::Now;
        }
        let stats = pool.stats(now, Duration::ZERO);
        Fit::Later(stats.waiting + stats.leases)
    }

    /// Whether an account without a connection would be dialled as soon as the pace allows.
    fn may_be_dialled_at_once(&self, account: &Account<M>) -> bool {
        let context = self.context();
        let inner = account.inner();
        let is_cold = !inner.pool.has_connections() && !inner.pool.has_waiters();
        is_cold && !context.budget.is_full() && context.dial_limiter(&inner.egress).is_free()
    }

    /// The accounts of a group that the pool has met.
    fn known_members(&self, group: &str) -> Arc<[AccountId]> {
        let context = self.context();
        let index = context.groups.find(group);
        let mut members = Vec::new();
        self.inner.registry.for_each(|inner| {
            if inner.pool.group() == index {
                members.push(inner.pool.account());
            }
        });
        // Groups that found no name are counted together, and are groups of their own all the same.
        if context.groups.is_other(index) {
            members.retain(|account| {
                context.profile(*account).is_some_and(|profile| *profile.group == *group)
            });
        }
        // Whichever shard each lies in, they take turns.
        members.sort_unstable();
        members.into()
    }
}
