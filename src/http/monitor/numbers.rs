//! The numbers of a group at one moment, what has come since another, and quantiles of waits.
//!
//! Owns their sums and differences. Counts nothing itself: the pool's own counters are the truth.

use crate::account_health::AccountState;
use crate::base::histogram::TIMES_US;
use crate::base::sync::Ordering;
use crate::connection::{CloseReason, ConnectionState, Source};
use crate::manager::{CallOutcome, ErrorKind, QuarantineReason};
use crate::metrics::sample::GroupSample;
use crate::stats::{AcquireEnd, OpenEnd};

/// Buckets of a histogram of times.
pub(super) const BUCKETS: usize = TIMES_US.len() + 1;

/// How often a time fell into each bucket.
pub(super) type Buckets = [u64; BUCKETS];

/// What one group, or several together, have and have done since the pool began.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SampledNumbers {
    pub(crate) accounts: [u64; AccountState::ALL.len()],
    /// Accounts out of service, by why they are; the last have no session.
    pub(crate) lost: [u64; QuarantineReason::ALL.len() + 1],
    /// Sessions out of service whose account serves with its others.
    pub(crate) sessions_quarantined: u64,
    pub(crate) saturated: u64,
    pub(crate) connections: [u64; ConnectionState::ALL.len()],
    pub(crate) connections_max: u64,
    pub(crate) leases: u64,
    pub(crate) waiting: u64,
    /// In seconds.
    pub(crate) oldest_wait: f64,
    pub(crate) acquires_ok: u64,
    pub(crate) acquires: [u64; AcquireEnd::ALL.len()],
    pub(crate) acquired: [u64; Source::ALL.len()],
    /// Back to idle, and closed.
    pub(crate) releases: [u64; 2],
    pub(crate) opens: [u64; OpenEnd::ALL.len()],
    pub(crate) closes: [u64; CloseReason::ALL.len()],
    pub(crate) errors: [u64; ErrorKind::ALL.len()],
    pub(crate) quarantines: [u64; QuarantineReason::ALL.len()],
    /// Floods by class, those of the manager and then `dial` and `other`.
    pub(crate) floods: NamedCounts,
    pub(crate) calls: [u64; CallOutcome::ALL.len()],
    /// Errors that the server answered with, by name; empty until the group has made a call.
    pub(crate) rpc_errors: NamedCounts,
    pub(crate) updates_received: u64,
    /// When the last came, in milliseconds since 1970; 0 if none has.
    pub(crate) last_update: u64,
    pub(crate) slow_acquires: u64,
    pub(crate) lease_leaks: u64,
    pub(crate) updates_dropped: u64,
    pub(crate) updates_missed: u64,
    /// Of the acquires that waited: all others got their lease at once.
    pub(crate) waits: Buckets,
    /// Of the calls that tell how long one takes.
    pub(crate) call_times: Buckets,
}

impl SampledNumbers {
    /// Copies what a group has and has done.
    pub(crate) fn of(group: &GroupSample<'_>) -> Self {
        let (totals, counters) = (group.totals, group.counters);
        let closed = counters.releases_closed.load(Ordering::Relaxed);
        let released = totals.uses.saturating_sub(totals.leases);
        let mut opens = [0; OpenEnd::ALL.len()];
        for class in &counters.opens {
            add(&mut opens, &class.read());
        }
        let [wait, .., call] = counters.histograms();
        let [waits, call_times] = [wait, call].map(|times| times.read().counts);
        let traffic = &counters.traffic;
        let idle = totals.uses.saturating_sub(totals.shared_uses + totals.new_uses);
        Self {
            accounts: group.accounts,
            lost: group.lost,
            sessions_quarantined: group.sessions_quarantined,
            saturated: totals.saturated,
            connections: totals.states,
            connections_max: group.connections_max,
            leases: totals.leases,
            waiting: totals.waiting,
            oldest_wait: group.oldest_wait,
            acquires_ok: totals.uses,
            acquires: counters.acquires.read(),
            acquired: [idle, totals.shared_uses, totals.new_uses],
            releases: [released.saturating_sub(closed), closed],
            opens,
            closes: counters.closes.read(),
            errors: counters.errors.read(),
            quarantines: counters.quarantines.read(),
            floods: NamedCounts(group.floods()),
            calls: traffic.calls(),
            rpc_errors: NamedCounts(group.rpc_errors()),
            updates_received: traffic.updates(),
            last_update: traffic.last_update(),
            slow_acquires: counters.slow_acquires.load(Ordering::Relaxed),
            lease_leaks: counters.lease_leaks.load(Ordering::Relaxed),
            updates_dropped: group.update_losses.dropped,
            updates_missed: group.update_losses.missed,
            waits,
            call_times,
        }
    }

    /// Adds those of another group.
    pub(crate) fn add(&mut self, other: &Self) {
        add(&mut self.accounts, &other.accounts);
        add(&mut self.lost, &other.lost);
        self.sessions_quarantined += other.sessions_quarantined;
        self.saturated += other.saturated;
        add(&mut self.connections, &other.connections);
        self.connections_max += other.connections_max;
        self.leases += other.leases;
        self.waiting += other.waiting;
        self.oldest_wait = self.oldest_wait.max(other.oldest_wait);
        self.acquires_ok += other.acquires_ok;
        add(&mut self.acquires, &other.acquires);
        add(&mut self.acquired, &other.acquired);
        add(&mut self.releases, &other.releases);
        add(&mut self.opens, &other.opens);
        add(&mut self.closes, &other.closes);
        add(&mut self.errors, &other.errors);
        add(&mut self.quarantines, &other.quarantines);
        self.floods.add(&other.floods);
        add(&mut self.calls, &other.calls);
        self.rpc_errors.add(&other.rpc_errors);
        self.updates_received += other.updates_received;
        self.last_update = self.last_update.max(other.last_update);
        self.slow_acquires += other.slow_acquires;
        self.lease_leaks += other.lease_leaks;
        self.updates_dropped += other.updates_dropped;
        self.updates_missed += other.updates_missed;
        add(&mut self.waits, &other.waits);
        add(&mut self.call_times, &other.call_times);
    }

    /// Accounts that the pool knows.
    pub(crate) fn known(&self) -> u64 {
        self.accounts.iter().sum()
    }

    /// Accounts in a state.
    pub(crate) fn in_state(&self, state: AccountState) -> u64 {
        self.accounts[state as usize]
    }

    /// Accounts that serve.
    pub(crate) fn serving(&self) -> u64 {
        self.in_state(AccountState::Ready) + self.in_state(AccountState::Cooling)
    }

    /// Acquires that ended without a lease though the account was in service: in vain, or by a failed dial.
    pub(crate) fn acquires_failed(&self) -> u64 {
        self.acquires[AcquireEnd::Timeout as usize] + self.acquires[AcquireEnd::Error as usize]
    }

    pub(crate) fn opens_ok(&self) -> u64 {
        self.opens[OpenEnd::Ok as usize]
    }

    /// Dials that failed; one that nobody wanted any more did not.
    pub(crate) fn opens_failed(&self) -> u64 {
        let all: u64 = self.opens.iter().sum();
        all - self.opens_ok() - self.opens[OpenEnd::Cancelled as usize]
    }

    pub(crate) fn closes_all(&self) -> u64 {
        self.closes.iter().sum()
    }

    pub(crate) fn calls_all(&self) -> u64 {
        self.calls.iter().sum()
    }

    /// Calls that were not answered well, though their caller stayed.
    pub(crate) fn calls_failed(&self) -> u64 {
        let [ok, cancelled] =
            [CallOutcome::Ok, CallOutcome::Cancelled].map(|end| self.calls[end as usize]);
        self.calls_all() - ok - cancelled
    }

    /// Those of them that no answer of the server ended.
    pub(crate) fn calls_unanswered(&self) -> u64 {
        use CallOutcome::{ClientError, Lost, NotSent, Timeout};
        [ClientError, Lost, NotSent, Timeout].iter().map(|end| self.calls[*end as usize]).sum()
    }

    /// How many acquires ended with a lease since an earlier moment, by how long they waited: the first
    /// number is of those that did not wait.
    pub(super) fn waits_since(&self, earlier: &Self) -> (u64, Buckets) {
        let waits = since(&self.waits, &earlier.waits);
        let waited: u64 = waits.iter().sum();
        let all = self.acquires_ok.saturating_sub(earlier.acquires_ok);
        (all.saturating_sub(waited), waits)
    }
}

/// Counts under names that the manager gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NamedCounts(Vec<(&'static str, u64)>);

impl NamedCounts {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    fn add(&mut self, other: &Self) {
        for (name, count) in other.iter() {
            match self.0.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += count,
                None => self.0.push((name, count)),
            }
        }
    }
}

fn add<const N: usize>(sum: &mut [u64; N], other: &[u64; N]) {
    sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
}

/// What has come since; nothing where a reading that raced with a change comes short of the one before.
pub(super) fn since<const N: usize>(now: &[u64; N], earlier: &[u64; N]) -> [u64; N] {
    std::array::from_fn(|index| now[index].saturating_sub(earlier[index]))
}

/// The time in seconds that this share of all stayed below, within the bucket by a straight line, as
/// Prometheus does it. `None` without any; beyond the last bound, that bound.
pub(super) fn quantile(share: f64, at_once: u64, buckets: &Buckets) -> Option<f64> {
    let all = at_once + buckets.iter().sum::<u64>();
    if all == 0 {
        return None;
    }
    let rank = share * all as f64;
    if rank <= at_once as f64 {
        return Some(0.0);
    }
    let mut below = at_once as f64;
    let mut low = 0.0;
    for (bucket, count) in buckets.iter().enumerate() {
        let Some(bound) = TIMES_US.get(bucket) else { break };
        let (bound, count) = (*bound as f64 / 1e6, *count as f64);
        if below + count >= rank {
            return Some(low + (bound - low) * (rank - below) / count.max(1.0));
        }
        below += count;
        low = bound;
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let mut buckets = [0; BUCKETS];
        assert_eq!(quantile(0.5, 0, &buckets), None);
        assert_eq!(quantile(0.99, 10, &buckets), Some(0.0));
        // Ten between 250 and 500 ms.
        buckets[11] = 10;
        assert_eq!(quantile(0.5, 0, &buckets), Some(0.375));
        assert_eq!(quantile(0.5, 10, &buckets), Some(0.0));
        assert_eq!(quantile(0.75, 10, &buckets), Some(0.375));
        buckets = [0; BUCKETS];
        buckets[BUCKETS - 1] = 1;
        assert_eq!(quantile(0.5, 0, &buckets), Some(30.0), "beyond the last bound");
    }

    #[test]
    fn sums_keep_the_oldest_wait_and_differences_never_go_below_nothing() {
        let mut one = SampledNumbers { waiting: 2, oldest_wait: 1.5, ..Default::default() };
        let two =
            SampledNumbers { waiting: 3, oldest_wait: 0.5, acquires_ok: 7, ..Default::default() };
        one.add(&two);
        assert_eq!((one.waiting, one.oldest_wait, one.acquires_ok), (5, 1.5, 7));
        assert_eq!(since(&[3, 5], &[4, 1]), [0, 4]);
        let mut later = one.clone();
        (later.acquires_ok, later.waits[2]) = (17, 4);
        assert_eq!(later.waits_since(&one).0, 6, "four of ten have waited");
    }

    #[test]
    fn dials_and_acquires_that_were_called_off_have_not_failed() {
        let mut numbers = SampledNumbers::default();
        for (index, end) in OpenEnd::ALL.into_iter().enumerate() {
            numbers.opens[end as usize] = 10u64.pow(u32::try_from(index).unwrap());
        }
        assert_eq!((numbers.opens_ok(), numbers.opens_failed()), (1, 111_110));
        numbers.acquires = [1, 10, 100, 1000, 10_000];
        assert_eq!(numbers.acquires_failed(), 10_001);
    }
}
