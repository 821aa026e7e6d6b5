//! Readiness: whether a pool can serve anybody.
//!
//! Owns the verdict over all accounts, and its text. Changes nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::account_health::{AccountHealth, AccountState};
use crate::base::clock::Tick;
use crate::manager::Manager;
use crate::metrics::sample::is_counted;
use crate::runtime::account::AccountInner;
use crate::runtime::{Accounts, Runtime};

/// Whether a pool can serve anybody, as far as it knows: whether any account is `ready` or `cooling`, as
/// `telepool_accounts` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// Some account may serve, or none was asked for yet.
    Ready,
    /// The pool is being closed, or gone.
    Closing,
    /// Every account that the pool knows is out of service: quarantined, without a session or drained; or
    /// an operator has paused it.
    NobodyServes {
        /// How many it knows.
        accounts: u64,
        /// How many of them are paused.
        paused: u64,
    },
    /// The same, but that some of them only rest, as [`AccountHealth::Resting`](crate::AccountHealth) has
    /// it: that ends by itself.
    EverybodyRests {
        /// How many it knows.
        accounts: u64,
        /// How many of them rest.
        resting: u64,
        /// How many of them are paused.
        paused: u64,
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
            Self::NobodyServes { accounts, paused } => {
                f.write_str("nobody serves: ")?;
                let lost = accounts - paused;
                write_counts(f, [(*paused, "are paused"), (lost, "are out of service")])
            }
            Self::EverybodyRests { accounts, resting, paused, remaining: left, why } => {
                f.write_str("nobody serves now: ")?;
                let lost = accounts - resting - paused;
                let counts =
                    [(*resting, "rest"), (*paused, "are paused"), (lost, "are out of service")];
                write_counts(f, counts)?;
                let seconds = left.as_millis().div_ceil(1000);
                write!(f, "; the first is dialled again in {seconds} s")?;
                why.as_ref().map_or(Ok(()), |why| write!(f, ", for the reason: {why}"))
            }
        }
    }
}

/// Lists how many accounts do what, but for those counts that are zero.
fn write_counts<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    counts: [(u64, &str); N],
) -> fmt::Result {
    let some: Vec<_> = counts.into_iter().filter(|(count, _)| *count > 0).collect();
    if let [(all, what)] = some[..] {
        return write!(f, "all {all} accounts {what}");
    }
    for (at, (count, what)) in some.iter().enumerate() {
        let (before, accounts) = match at {
            0 => ("", " accounts"),
            _ if at + 1 == some.len() => (" and ", ""),
            _ => (", ", ""),
        };
        write!(f, "{before}{count}{accounts} {what}")?;
    }
    Ok(())
}

impl Readiness {
    /// Judges a pool that is open.
    pub(crate) fn of<M: Manager>(runtime: &Runtime<M>, accounts: &Accounts<M>) -> Self {
        let context = &runtime.context;
        let now = context.clock.tick();
        let mut unavailable = Unavailable::default();
        // One that cannot serve is active for as long as that is so.
        accounts.for_each_active(now, |account| {
            if is_counted(account, now) {
                unavailable.add(account, now);
            }
        });
        let cap = context.config.load().pool.max_connections_per_account;
        let known = |index: u16| context.groups.counters(index).accounts(cap).0;
        let accounts: u64 = context.groups.all().iter().map(|(index, _)| known(*index)).sum();
        unavailable.readiness(accounts)
    }
}

/// Accounts that cannot serve.
#[derive(Default)]
struct Unavailable {
    out_of_service: u64,
    resting: u64,
    paused: u64,
    /// How long the first of those that rest still does so, and why.
    first: Option<(Duration, Option<String>)>,
}

impl Unavailable {
    fn add<M: Manager>(&mut self, account: &AccountInner<M>, now: Tick) {
        let health = account.health_in_short(now);
        if let AccountHealth::Resting { remaining } = health {
            self.resting += 1;
            if self.first.as_ref().is_none_or(|(first, _)| remaining < *first) {
                self.first = Some((remaining, account.pool.last_dial_error()));
            }
            return;
        }
        match health.state() {
            AccountState::Ready | AccountState::Cooling => {}
            AccountState::Paused => self.paused += 1,
            AccountState::Resting
            | AccountState::Suspect
            | AccountState::Quarantined
            | AccountState::Draining => self.out_of_service += 1,
        }
    }

    fn readiness(self, accounts: u64) -> Readiness {
        let unavailable = self.out_of_service + self.resting + self.paused;
        if accounts == 0 || unavailable < accounts {
            return Readiness::Ready;
        }
        let paused = self.paused;
        match self.first {
            None => Readiness::NobodyServes { accounts: unavailable, paused },
            Some((remaining, why)) => Readiness::EverybodyRests {
                accounts: unavailable,
                resting: self.resting,
                paused,
                remaining,
                why: why.map(Arc::from),
            },
        }
    }
}
