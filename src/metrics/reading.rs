//! One reading of a pool: everything that its groups have and have done.
//!
//! Owns the walk over the accounts that have something afoot; all others are counted, and ready.
//! Takes an account's lock to learn whether it is at rest, why it is out of service, or since when
//! somebody waits for it.
//!
//! # Orderings
//! Relaxed, like the counters themselves, but for what a closed connection leaves. What counts is
//! the order of the steps: what closed connections have left is read before those that are open,
//! and uses are read before leases. So a reading that races with a change comes short of the truth
//! by what changed under it, which the next reading makes good. It goes beyond the truth in two
//! cases, by one step under way each, and until the counter has caught up: a release that ended
//! its connection counts as one that did not while its maker is between the two steps; and a
//! machine that reorders loads may see the steps in another order.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::base::clock::{Instant, Tick, now};
use crate::base::labels::labelled;
use crate::engine::health::Unready;
use crate::manager::{Manager, MetricsSource, QuarantineReason};
use crate::runtime::Runtime;
use crate::runtime::account::AccountInner;
use crate::stats::{GroupCounters, Totals};

labelled! {
    /// How an account stands, as far as it is exported.
    pub(super) enum Standing {
        Ready = "ready",
        Cooling = "cooling",
        Resting = "resting",
        Suspect = "suspect",
        Quarantined = "quarantined",
        Draining = "draining",
    }
}

/// Sums over the accounts of a group.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) totals: Totals,
    /// Accounts by standing.
    pub(super) accounts: [u64; Standing::ALL.len()],
    pub(super) connections_max: u64,
    /// In seconds.
    pub(super) oldest_wait: f64,
    pub(super) updates_dropped: u64,
}

/// One group.
pub(super) struct GroupReading<'a> {
    pub(super) index: u16,
    pub(super) name: &'a Arc<str>,
    pub(super) sums: &'a Sums,
    pub(super) counters: &'a GroupCounters,
}

/// The pool as a whole.
pub(super) struct PoolReading {
    pub(super) connections_max: u64,
    /// Open ones: of the machine's own address, and of proxies.
    pub(super) breakers: [u64; 2],
    pub(super) addresses_down: u64,
    pub(super) reaper_runs: u64,
    /// In milliseconds since 1970.
    pub(super) reaper_last_run: u64,
    pub(super) reaper_visits: u64,
    /// The last run, in nanoseconds.
    pub(super) reaper_took: u64,
    pub(super) overflow: u64,
}

/// Whether a pool can serve anybody, as far as it knows: whether any account is `ready` or `cooling`, as
/// `telepool_accounts` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// Some account may serve, or none was asked for yet.
    Ready,
    /// The pool is being closed, or gone.
    Closing,
    /// Every account that the pool knows is out of service: quarantined, without a session or drained.
    NobodyServes {
        /// How many it knows.
        accounts: u64,
    },
    /// The same, but that some of them only rest, as [`AccountHealth::Resting`](crate::AccountHealth) has
    /// it: that ends by itself.
    EverybodyRests {
        /// How many it knows.
        accounts: u64,
        /// How many of them rest.
        resting: u64,
        /// How long it is until the first of them may be dialled.
        remaining: Duration,
        /// Why that one rests: what its last dial failed with, or waits for.
        why: Option<Arc<str>>,
    },
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Closing => f.write_str("closing"),
            Self::NobodyServes { accounts } => {
                write!(f, "nobody serves: all {accounts} accounts are out of service")
            }
            Self::EverybodyRests { accounts, resting, remaining: left, why } => {
                f.write_str("nobody serves now: ")?;
                match accounts - resting {
                    0 => write!(f, "all {accounts} accounts rest")?,
                    lost => write!(f, "{resting} accounts rest and {lost} are out of service")?,
                }
                let seconds = left.as_millis().div_ceil(1000);
                write!(f, "; the first is dialled again in {seconds} s")?;
                why.as_ref().map_or(Ok(()), |why| write!(f, ", for the reason: {why}"))
            }
        }
    }
}

/// What a walk over the accounts has found that cannot serve.
#[derive(Default)]
struct Unserving {
    lost: u64,
    resting: u64,
    /// Until when the first of those that rest does so, and why.
    first: Option<(Tick, Option<String>)>,
}

impl Unserving {
    fn look<M: Manager>(&mut self, entry: &AccountInner<M>, now: Tick) {
        match standing(entry, now) {
            Standing::Ready | Standing::Cooling => {}
            Standing::Suspect | Standing::Quarantined | Standing::Draining => self.lost += 1,
            Standing::Resting => {
                self.resting += 1;
                // Over in between, it rests no more.
                let until = entry.pool.rests_until(now).unwrap_or(now);
                if self.first.as_ref().is_none_or(|(first, _)| until < *first) {
                    self.first = Some((until, entry.pool.last_dial_error()));
                }
            }
        }
    }

    fn readiness(self, accounts: u64, now: Tick) -> Readiness {
        if accounts == 0 || self.lost + self.resting < accounts {
            return Readiness::Ready;
        }
        let Some((until, why)) = self.first else { return Readiness::NobodyServes { accounts } };
        Readiness::EverybodyRests {
            accounts: self.lost + self.resting,
            resting: self.resting,
            remaining: Duration::from_millis(until.saturating_sub(now)),
            why: why.map(Arc::from),
        }
    }
}

/// What can be read, whatever its manager is.
pub(super) trait Readable: Send + Sync {
    /// Reads everything, group by group. `None`: the pool is gone.
    fn read(&self, each: &mut dyn FnMut(&GroupReading<'_>)) -> Option<PoolReading>;

    /// Gives a group its name before any account of it has come.
    fn expect_group(&self, name: &Arc<str>);

    /// Whether the pool is being closed, or gone.
    fn is_closing(&self) -> bool;

    /// Whether anybody could be served.
    fn readiness(&self) -> Readiness;
}

/// A pool that may go while its numbers are still asked for.
pub(super) struct PoolSource<M: Manager>(pub(super) Weak<Runtime<M>>);

impl<M: Manager> Readable for PoolSource<M> {
    fn read(&self, each: &mut dyn FnMut(&GroupReading<'_>)) -> Option<PoolReading> {
        let runtime = self.0.upgrade()?;
        let context = &runtime.context;
        let registry = runtime.registry()?;
        let mut sums: Vec<Sums> = (0..)
            .take(context.groups.capacity())
            .map(|index| {
                let mut sums = Sums::default();
                context.groups.add_past(index, &mut sums.totals);
                sums
            })
            .collect();
        let now = now();
        let tick = context.clock.tick_at(now);
        registry.for_each_active(tick, |entry| {
            add(entry, &mut sums[usize::from(entry.pool.group())], now, tick);
        });
        let source = context.manager.metrics();
        for (name, dropped) in source.map_or_else(Vec::new, MetricsSource::updates_dropped) {
            // A group that nobody has met is not counted apart.
            sums[usize::from(context.groups.expect(&name))].updates_dropped += dropped;
        }
        let cap = context.budget.cap() as u64;
        let cap_of_account = context.config.load().pool.max_connections_per_account;
        let others = if context.is_closing() { Standing::Draining } else { Standing::Ready };
        for (index, name) in &context.groups.all() {
            let sums = &mut sums[usize::from(*index)];
            let counters = context.groups.counters(*index);
            counters.add_counted(&mut sums.totals);
            let (accounts, connections_max) = counters.accounts(cap_of_account);
            let seen: u64 = sums.accounts.iter().sum();
            sums.accounts[others as usize] += accounts.saturating_sub(seen);
            sums.connections_max = connections_max.min(cap);
            each(&GroupReading { index: *index, name, sums, counters });
        }
        Some(PoolReading {
            connections_max: cap,
            breakers: context.dial_limiters.open_breakers(),
            addresses_down: context.dial_limiters.addresses_down(),
            reaper_runs: runtime.schedule.runs(),
            reaper_last_run: runtime.schedule.last_run(),
            reaper_visits: runtime.schedule.visits(),
            reaper_took: runtime.schedule.last_took(),
            overflow: context.groups.overflow(),
        })
    }

    fn expect_group(&self, name: &Arc<str>) {
        if let Some(runtime) = self.0.upgrade() {
            runtime.context.groups.expect(name);
        }
    }

    fn is_closing(&self) -> bool {
        self.0.upgrade().is_none_or(|runtime| runtime.context.is_closing())
    }

    fn readiness(&self) -> Readiness {
        let Some(runtime) = self.0.upgrade().filter(|it| !it.context.is_closing()) else {
            return Readiness::Closing;
        };
        let context = &runtime.context;
        let Some(registry) = runtime.registry() else { return Readiness::Closing };
        let now = now();
        let tick = context.clock.tick_at(now);
        let mut unserving = Unserving::default();
        // One that cannot serve is afoot for as long as that is so.
        registry.for_each_active(tick, |entry| {
            if is_counted(entry, tick) {
                unserving.look(entry, tick);
            }
        });
        let cap = context.config.load().pool.max_connections_per_account;
        let known = |index: u16| context.groups.counters(index).accounts(cap).0;
        let accounts: u64 = context.groups.all().iter().map(|(index, _)| known(*index)).sum();
        unserving.readiness(accounts, tick)
    }
}

fn add<M: Manager>(entry: &AccountInner<M>, sums: &mut Sums, now: Instant, tick: Tick) {
    let pool = &entry.pool;
    pool.add_present_to(&mut sums.totals);
    if is_counted(entry, tick) {
        sums.accounts[standing(entry, tick) as usize] += 1;
    }
    if let Some(since) = pool.waited_since() {
        let waited = now.saturating_duration_since(since).as_secs_f64();
        sums.oldest_wait = sums.oldest_wait.max(waited);
    }
}

/// Whether an account is one of those that the pool knows: one that was removed may still be held.
fn is_counted<M: Manager>(entry: &AccountInner<M>, now: Tick) -> bool {
    !entry.pool.is_closed() || !entry.pool.is_empty(now)
}

fn standing<M: Manager>(entry: &AccountInner<M>, now: Tick) -> Standing {
    match entry.pool.unready() {
        None if entry.pool.rests_until(now).is_some() => Standing::Resting,
        None if entry.pool.cooling_for_any(now).is_some() => Standing::Cooling,
        None => Standing::Ready,
        Some(Unready::Draining | Unready::Closed) => Standing::Draining,
        Some(Unready::Quarantined(QuarantineReason::Suspect)) => Standing::Suspect,
        Some(Unready::Quarantined(_) | Unready::NoSession) => Standing::Quarantined,
    }
}
