//! One scrape of a pool: what is exported of it, by group.
//!
//! Owns what is added to a [`Reading`] for that: how many accounts are in which state, and for how long
//! somebody has waited. Takes the lock of an active account to learn whether it rests, why it is out of
//! service, or since when somebody waits for it. Never counts anything itself.

use std::sync::Arc;

use crate::account_health::{AccountHealth, AccountState};
use crate::base::clock::{Instant, Tick, now};
use crate::manager::{Manager, MetricsSource, NetworkCounts, QuarantineReason, UpdateLosses};
use crate::runtime::account::AccountInner;
use crate::runtime::reading::Reading;
use crate::runtime::{Accounts, Runtime};
use crate::stats::{GroupCounters, Groups, Totals};

/// Of a manager that has none.
const NONE: &[&str] = &[];

/// What is exported of one group.
pub(crate) struct GroupSample<'a> {
    pub(crate) index: u16,
    pub(crate) name: &'a Arc<str>,
    pub(crate) totals: &'a Totals,
    pub(crate) counters: &'a GroupCounters,
    /// Accounts by state.
    pub(crate) accounts: [u64; AccountState::ALL.len()],
    /// Those out of service, by why they are: quarantined for a reason, or last, without a session.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only the API tells of it"))]
    pub(crate) lost: [u64; QuarantineReason::ALL.len() + 1],
    /// Sessions out of service whose account serves with its others.
    #[cfg(feature = "http")]
    pub(crate) sessions_quarantined: u64,
    pub(crate) connections_max: u64,
    /// In seconds.
    pub(crate) oldest_wait: f64,
    pub(crate) update_losses: UpdateLosses,
    pub(crate) network: NetworkCounts,
    /// The names of the errors that the manager counts apart, and its classes of floods.
    error_names: &'static [&'static str],
    flood_classes: &'static [&'static str],
}

impl GroupSample<'_> {
    /// What the server would have accounts wait for, by class: those of the manager, then `dial` and `other`.
    pub(crate) fn floods(&self) -> Vec<(&'static str, u64)> {
        named(self.flood_classes, &["dial", "other"], &self.counters.flood_waits.read())
    }

    /// Errors that the server answered calls with, by name; empty until the group has made a call: 64 series
    /// for each of 65 groups that never will are too many, while a rate sees the first error of one only if
    /// its series was there before.
    pub(crate) fn rpc_errors(&self) -> Vec<(&'static str, u64)> {
        let traffic = &self.counters.traffic;
        match traffic.calls().iter().any(|count| *count > 0) {
            true => named(self.error_names, &["other"], &traffic.errors()),
            false => Vec::new(),
        }
    }
}

/// Names counts: those of the manager's names come first, with room for the most of them that there can be, and
/// then those of `others`, of which the last takes what has no name.
fn named(
    names: &[&'static str],
    others: &[&'static str],
    counts: &[u64],
) -> Vec<(&'static str, u64)> {
    let (of_names, of_others) = counts.split_at(counts.len() - others.len());
    let (of_names, nameless) = of_names.split_at(names.len().min(of_names.len()));
    let all = names.iter().zip(of_names).chain(others.iter().zip(of_others));
    let mut all: Vec<_> = all.map(|(name, count)| (*name, *count)).collect();
    if let Some((_, last)) = all.last_mut() {
        *last += nameless.iter().sum::<u64>();
    }
    all
}

/// What is exported of the pool as a whole.
pub(crate) struct PoolSample {
    pub(crate) connections_max: u64,
    /// Open ones: of the machine's own address, and of proxies.
    pub(crate) breakers: [u64; 2],
    pub(crate) addresses_down: u64,
    pub(crate) reaper_runs: u64,
    /// In milliseconds since 1970.
    pub(crate) reaper_last_run: u64,
    pub(crate) reaper_visits: u64,
    /// The last run, in nanoseconds.
    pub(crate) reaper_took: u64,
    pub(crate) overflow: u64,
}

/// What the active accounts of a group add to its counters.
#[derive(Clone, Default)]
struct ActiveAccounts {
    by_state: [u64; AccountState::ALL.len()],
    lost: [u64; QuarantineReason::ALL.len() + 1],
    #[cfg(feature = "http")]
    sessions_quarantined: u64,
    oldest_wait: f64,
}

impl ActiveAccounts {
    fn add<M: Manager>(&mut self, account: &AccountInner<M>, now: Instant, tick: Tick) {
        if is_counted(account, tick) {
            let health = account.health_in_short(tick);
            self.by_state[health.state() as usize] += 1;
            match health {
                AccountHealth::Suspect => self.lost[QuarantineReason::Suspect as usize] += 1,
                AccountHealth::Quarantined(reason) => self.lost[reason as usize] += 1,
                AccountHealth::NoSession => self.lost[QuarantineReason::ALL.len()] += 1,
                AccountHealth::Draining | AccountHealth::Closed => {}
                // Only the API tells of them: no scrape has to look without it.
                #[cfg(feature = "http")]
                _ => self.sessions_quarantined += u64::from(account.pool.quarantined_sessions()),
                #[cfg(not(feature = "http"))]
                _ => {}
            }
        }
        if let Some(since) = account.pool.waited_since() {
            let waited = now.saturating_duration_since(since).as_secs_f64();
            self.oldest_wait = self.oldest_wait.max(waited);
        }
    }
}

/// Whether an account is one of those that the pool knows: one that was removed may still be held.
pub(crate) fn is_counted<M: Manager>(account: &AccountInner<M>, now: Tick) -> bool {
    !account.pool.is_closed() || !account.pool.is_empty(now)
}

/// What a manager counts itself, by the index of the group.
fn by_group<T: Clone + Default>(
    groups: &Groups,
    counts: Vec<(Arc<str>, T)>,
    add: impl Fn(&mut T, &T),
) -> Vec<T> {
    let mut sums = vec![T::default(); groups.capacity()];
    for (name, count) in counts {
        // Names that are not counted apart share one.
        add(&mut sums[usize::from(groups.expect(&name))], &count);
    }
    sums
}

/// Reads a pool, group by group and then as a whole.
pub(crate) fn read<M: Manager>(
    runtime: &Runtime<M>,
    accounts: &Accounts<M>,
    each: &mut dyn FnMut(&GroupSample<'_>),
) -> PoolSample {
    let context = &runtime.context;
    let source = context.manager.metrics();
    let losses = source.map_or_else(Vec::new, MetricsSource::update_losses);
    let update_losses = by_group(&context.groups, losses, |sum: &mut UpdateLosses, losses| {
        sum.dropped += losses.dropped;
        sum.missed += losses.missed;
    });
    let counts = source.map_or_else(Vec::new, MetricsSource::network_counts);
    let network = by_group(&context.groups, counts, NetworkCounts::add);
    let error_names = source.map_or(NONE, MetricsSource::error_names);
    let flood_classes = source.map_or(NONE, MetricsSource::flood_classes);
    let mut active = vec![ActiveAccounts::default(); context.groups.capacity()];
    let now = now();
    let tick = context.clock.tick_at(now);
    let reading = Reading::new(context, accounts, tick, |account| {
        active[usize::from(account.pool.group())].add(account, now, tick);
    });
    let cap_of_account = context.config.load().pool.max_connections_per_account;
    let all_others =
        if context.is_closing() { AccountState::Draining } else { AccountState::Ready };
    for group in &reading.groups {
        let index = usize::from(group.index);
        let mut by_state = active[index].by_state;
        let (known, connections_max) = group.counters.accounts(cap_of_account);
        let seen: u64 = by_state.iter().sum();
        by_state[all_others as usize] += known.saturating_sub(seen);
        each(&GroupSample {
            index: group.index,
            name: &group.name,
            totals: &group.totals,
            counters: group.counters,
            accounts: by_state,
            lost: active[index].lost,
            #[cfg(feature = "http")]
            sessions_quarantined: active[index].sessions_quarantined,
            connections_max: connections_max.min(reading.connections_max),
            oldest_wait: active[index].oldest_wait,
            update_losses: update_losses[index],
            network: network[index],
            error_names,
            flood_classes,
        });
    }
    PoolSample {
        connections_max: reading.connections_max,
        breakers: reading.breakers,
        addresses_down: reading.addresses_down,
        reaper_runs: runtime.schedule.runs(),
        reaper_last_run: runtime.schedule.last_run(),
        reaper_visits: runtime.schedule.visits(),
        reaper_took: runtime.schedule.last_took(),
        overflow: reading.overflow,
    }
}
