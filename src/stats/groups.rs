//! The counters of a pool, by group.
//!
//! Owns the totals that outlive accounts. What a connection counts itself
//! stays there and is summed when somebody reads; one that is closed leaves its count to its
//! group, so that no total ever goes back.
//!
//! # Orderings
//! Relaxed: counters guard nothing. Only what a connection leaves is added with release, after it
//! has left its slot, and read with acquire, so that nobody counts it here and there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::base::histogram::{AGES_US, Histogram, TIMES_US};
use crate::base::sync::{AtomicU64, Mutex, Ordering};
use crate::connection::CloseReason;
use crate::manager::{
    ErrorKind, FLOOD_CLASSES_MAX, QuarantineReason, SLOTS_MAX, TrafficCounters, TrafficGroups,
};
use crate::stats::Totals;
use crate::stats::ends::{AccountEnd, AcquireEnd, OpenEnd};

/// Named groups; accounts of any further group are counted together as [`OTHER`].
const NAMED: usize = 64;

/// The label of all groups that found no name left, and of a group that calls itself so.
const OTHER: &str = "other";

/// What is measured in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// How long acquires waited that got a lease and did not get it at once.
    AcquireWait,
    ConnectionOpen,
    LeaseUse,
    ConnectionAge,
}

/// Classes of dials that are counted apart; all others are counted together, last.
pub(crate) const DIAL_CLASSES: usize = 6;

/// The classes of dials as metric labels.
#[cfg(feature = "metrics")]
pub(crate) const DIAL_CLASS_LABELS: [&str; DIAL_CLASSES] = ["1", "2", "3", "4", "5", OTHER];

/// Where floods on a dial are counted, after the classes of the manager.
pub(crate) const DIAL_FLOOD: usize = FLOOD_CLASSES_MAX;

/// Where floods of no class are counted, last.
const OTHER_FLOOD: usize = DIAL_FLOOD + 1;

/// A family of counters with one label.
#[derive(Debug)]
pub(crate) struct Family<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Family<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Family<N> {
    pub(crate) fn add(&self, label: usize) {
        self.0[label].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> [u64; N] {
        std::array::from_fn(|label| self.0[label].load(Ordering::Relaxed))
    }
}

/// The counters of one group.
#[derive(Debug, Default)]
pub(crate) struct GroupCounters {
    pub(crate) acquires: Family<{ AcquireEnd::ALL.len() }>,
    /// By class of dial.
    pub(crate) opens: [Family<{ OpenEnd::ALL.len() }>; DIAL_CLASSES],
    pub(crate) closes: Family<{ CloseReason::ALL.len() }>,
    pub(crate) errors: Family<{ ErrorKind::ALL.len() }>,
    /// Passed, failed.
    pub(crate) checks: Family<2>,
    pub(crate) quarantines: Family<{ QuarantineReason::ALL.len() }>,
    /// Releases after which the connection was closed.
    pub(crate) releases_closed: AtomicU64,
    timings: Timings,
    pub(crate) slow_acquires: AtomicU64,
    pub(crate) lease_leaks: AtomicU64,
    /// By class: those of the manager, [`DIAL_FLOOD`] and all others.
    pub(crate) flood_waits: Family<{ OTHER_FLOOD + 1 }>,
    pub(crate) flood_wait_ms: AtomicU64,
    /// Times that an account whose updates are read was left without a connection.
    pub(crate) updates_interrupted: AtomicU64,
    /// Counted by the manager.
    pub(crate) traffic: Arc<TrafficCounters>,
    pub(crate) accounts_opened: AtomicU64,
    pub(crate) accounts_closed: Family<{ AccountEnd::ALL.len() }>,
    /// The accounts that the pool knows, by how many sessions they have.
    sessions: AccountsBySessions,
    /// Leases that were served by the connection dialled for them.
    new_uses: AtomicU64,
    /// Uses of connections that are gone.
    past_uses: AtomicU64,
    past_shared_uses: AtomicU64,
    /// Whose turn it is when any member will do.
    pub(crate) turn: RoundRobin,
}

/// A count of turns that members of a group have had, or were passed over for. Relaxed: two who take
/// the same turn at once take the same member, which harms nobody.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin(AtomicU64);

impl RoundRobin {
    /// Takes so many turns, and returns the first of them.
    pub(crate) fn take(&self, turns: usize) -> usize {
        // Beyond the width of a word the turns begin anew.
        usize::try_from(self.0.fetch_add(turns as u64, Ordering::Relaxed) & u64::from(u32::MAX))
            .unwrap_or_default()
    }
}

/// A histogram for each [`Measure`], in the order of declaration.
#[derive(Debug)]
struct Timings([Histogram; 4]);

impl Default for Timings {
    fn default() -> Self {
        Self([
            Histogram::often(TIMES_US),
            Histogram::seldom(TIMES_US),
            Histogram::seldom(TIMES_US),
            Histogram::seldom(AGES_US),
        ])
    }
}

/// How many accounts have how many sessions.
#[derive(Debug)]
struct AccountsBySessions([AtomicU64; SLOTS_MAX as usize + 1]);

impl Default for AccountsBySessions {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl GroupCounters {
    pub(crate) fn count_acquire(&self, end: AcquireEnd) {
        self.acquires.add(end as usize);
    }

    /// Counts the end of a dial of a class.
    pub(crate) fn count_open(&self, class: u8, end: OpenEnd) {
        let named = usize::from(class).checked_sub(1).filter(|index| *index < DIAL_CLASSES - 1);
        self.opens[named.unwrap_or(DIAL_CLASSES - 1)].add(end as usize);
    }

    /// Dials that failed. One that nobody wanted any more did not.
    pub(crate) fn opens_failed(&self) -> u64 {
        let failed = |ends: &Family<{ OpenEnd::ALL.len() }>| {
            let [_ok, failed @ .., _cancelled] = ends.read();
            failed.iter().sum::<u64>()
        };
        self.opens.iter().map(failed).sum()
    }

    pub(crate) fn observe(&self, measure: Measure, time: Duration) {
        self.timings.0[measure as usize].record(time);
    }

    /// The histogram of each [`Measure`], in the order of declaration, and that of the calls.
    #[cfg(feature = "metrics")]
    pub(crate) fn histograms(&self) -> [&Histogram; 5] {
        let [wait, open, lease, age] = &self.timings.0;
        [wait, open, lease, age, self.traffic.call_times()]
    }

    #[cold]
    pub(crate) fn count_release_closed(&self) {
        self.releases_closed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_close(&self, reason: CloseReason) {
        self.closes.add(reason as usize);
    }

    pub(crate) fn count_error(&self, kind: ErrorKind) {
        self.errors.add(kind as usize);
    }

    pub(crate) fn count_check(&self, passed: bool) {
        self.checks.add(usize::from(!passed));
    }

    pub(crate) fn count_quarantine(&self, reason: QuarantineReason) {
        self.quarantines.add(reason as usize);
    }

    /// Counts a flood of a class of the manager's, or [`DIAL_FLOOD`].
    pub(crate) fn count_flood(&self, class: usize, wait: Duration) {
        self.flood_waits.add(class.min(OTHER_FLOOD));
        self.flood_wait_ms.fetch_add(crate::base::clock::millis(wait), Ordering::Relaxed);
    }

    /// An account comes. Under the lock of the map that it comes to.
    pub(crate) fn count_account(&self, sessions: u16) {
        self.accounts_opened.fetch_add(1, Ordering::Relaxed);
        self.sessions.0[usize::from(sessions)].fetch_add(1, Ordering::Relaxed);
    }

    /// An account has another number of sessions.
    pub(crate) fn recount_account(&self, before: u16, sessions: u16) {
        self.sessions.0[usize::from(sessions)].fetch_add(1, Ordering::Relaxed);
        self.sessions.0[usize::from(before)].fetch_sub(1, Ordering::Relaxed);
    }

    /// An account is forgotten. Under the same lock.
    pub(crate) fn discount_account(&self, sessions: u16, end: AccountEnd) {
        self.sessions.0[usize::from(sessions)].fetch_sub(1, Ordering::Relaxed);
        self.accounts_closed.add(end as usize);
    }

    /// How many accounts there are, and how many connections they may have if each account is
    /// allowed `cap`.
    #[cfg(feature = "metrics")]
    pub(crate) fn accounts(&self, cap: u16) -> (u64, u64) {
        let by_sessions = (0..).zip(&self.sessions.0);
        by_sessions.fold((0, 0), |(accounts, connections), (sessions, count)| {
            let count = count.load(Ordering::Relaxed);
            (accounts + count, connections + count * u64::from(cap).min(sessions))
        })
    }

    /// A lease is about to be served by the connection that was dialled for it.
    pub(crate) fn count_new_use(&self) {
        self.new_uses.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps the uses of a connection that has left its slot. Those that were shared come first
    /// and are read last: they are never seen to be fewer than they are of those seen.
    pub(crate) fn keep_uses(&self, uses: u64, shared: u64) {
        self.past_shared_uses.fetch_add(shared, Ordering::Relaxed);
        self.past_uses.fetch_add(uses, Ordering::Release);
    }

    /// Adds the uses of connections that are gone. To be read before those of connections that
    /// are there: one that goes meanwhile is then missed once, and never counted twice.
    pub(crate) fn add_past(&self, totals: &mut Totals) {
        totals.uses += self.past_uses.load(Ordering::Acquire);
        totals.shared_uses += self.past_shared_uses.load(Ordering::Relaxed);
    }

    /// Adds what is counted when it happens. To be read after the uses of all connections.
    pub(crate) fn add_counted(&self, totals: &mut Totals) {
        totals.new_uses += self.new_uses.load(Ordering::Relaxed);
        totals.closed += self.closes.read().iter().sum::<u64>();
        let opened = self.opens.iter().map(|ends| ends.read()[OpenEnd::Ok as usize]);
        totals.opened += opened.sum::<u64>();
    }
}

/// All groups of a pool.
#[derive(Debug)]
pub(crate) struct Groups {
    names: Mutex<Vec<Arc<str>>>,
    /// Made when a group is first counted: few pools have as many groups as there can be.
    counters: Box<[OnceLock<Box<GroupCounters>>]>,
    /// How often the answer was `other`: until then it is no group.
    others: AtomicU64,
    /// Accounts that asked for a group beyond the named ones.
    overflow: AtomicU64,
}

impl Groups {
    pub(crate) fn new() -> Self {
        Self {
            names: Mutex::new(Vec::new()),
            counters: (0..=NAMED).map(|_| OnceLock::new()).collect(),
            others: AtomicU64::new(0),
            overflow: AtomicU64::new(0),
        }
    }

    /// The index of an account's group, which gets one if it has none and there is room.
    pub(crate) fn index_of(&self, name: &Arc<str>) -> u16 {
        let index = self.expect(name);
        let overflows = usize::from(index) == NAMED && **name != *OTHER;
        self.overflow.fetch_add(u64::from(overflows), Ordering::Relaxed);
        index
    }

    /// The same before any account of the group has come.
    pub(crate) fn expect(&self, name: &Arc<str>) -> u16 {
        let mut names = self.names.lock();
        let known = names.iter().position(|known| known == name);
        let index = known.unwrap_or_else(|| {
            if names.len() == NAMED || **name == *OTHER {
                self.others.fetch_add(1, Ordering::Relaxed);
                return NAMED;
            }
            names.push(Arc::clone(name));
            names.len() - 1
        });
        u16::try_from(index).expect("BUG: there are 65 groups at most")
    }

    /// The index of a group that may have no name.
    pub(crate) fn find(&self, name: &str) -> u16 {
        let found = self.names.lock().iter().position(|known| **known == *name);
        u16::try_from(found.unwrap_or(NAMED)).expect("BUG: there are 65 groups at most")
    }

    /// The name of a group.
    pub(crate) fn name(&self, index: u16) -> Arc<str> {
        let named = self.names.lock().get(usize::from(index)).cloned();
        named.unwrap_or_else(|| Arc::from(OTHER))
    }

    /// The names of all groups, by their index; those that there are not are called `other` as well.
    pub(crate) fn names_by_index(&self) -> Vec<Arc<str>> {
        let mut names = vec![Arc::from(OTHER); NAMED + 1];
        names
            .iter_mut()
            .zip(&*self.names.lock())
            .for_each(|(name, known)| *name = Arc::clone(known));
        names
    }

    /// Whether this is the index of all groups that have no name.
    pub(crate) fn is_other(&self, index: u16) -> bool {
        usize::from(index) == NAMED
    }

    pub(crate) fn counters(&self, index: u16) -> &GroupCounters {
        self.counters[usize::from(index)].get_or_init(Box::default)
    }

    /// The traffic counters of every group, for the manager. It may ask for one before any account of it has
    /// come, and keep them for longer than there is a pool.
    pub(crate) fn traffic(groups: &Arc<Self>) -> TrafficGroups {
        let groups = Arc::clone(groups);
        TrafficGroups::new(move |name| Arc::clone(&groups.counters(groups.expect(name)).traffic))
    }

    /// The uses of connections that are gone, as [`GroupCounters::add_past`] adds them, by the index of the
    /// group. Of one that nothing was counted of there are none.
    pub(crate) fn past(&self) -> Vec<Totals> {
        let others = self.others.load(Ordering::Relaxed) > 0;
        let in_use = if others { NAMED + 1 } else { self.names.lock().len() };
        let past = self.counters[..in_use].iter().map(|counters| {
            let mut totals = Totals::default();
            if let Some(counters) = counters.get() {
                counters.add_past(&mut totals);
            }
            totals
        });
        past.collect()
    }

    /// Every group that has a name so far, and `other` if it is in use.
    pub(crate) fn all(&self) -> Vec<(u16, Arc<str>)> {
        let mut all: Vec<_> = (0..).zip(self.names.lock().iter().cloned()).collect();
        if self.others.load(Ordering::Relaxed) > 0 {
            let other = u16::try_from(NAMED).expect("BUG: 64 fits");
            all.push((other, Arc::from(OTHER)));
        }
        all
    }

    /// How many groups there can be.
    #[cfg(feature = "metrics")]
    pub(crate) fn capacity(&self) -> usize {
        self.counters.len()
    }

    /// Accounts whose group found no name left.
    pub(crate) fn overflow(&self) -> u64 {
        self.overflow.load(Ordering::Relaxed)
    }
}
