//! Traffic of connections: calls and updates, as the manager counts them for the metrics of its pool.
//!
//! Owns the counters of one group, and the outcomes of calls. Knows neither what is called nor who calls.
//!
//! # Orderings
//! Relaxed: counters guard nothing.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::base::clock::{Instant, millis, now, unix_time};
use crate::base::histogram::{Histogram, TIMES_US};
use crate::base::labels::labelled;
use crate::base::sync::{AtomicU64, Ordering};

/// The most names of errors that a manager has counted apart; all others are counted together.
pub(crate) const ERROR_NAMES_MAX: usize = 63;

labelled! {
    /// How a call over a connection ended, as `telepool_calls_total` has it.
    #[non_exhaustive]
    pub enum CallOutcome {
        /// With the server's answer.
        Ok = "ok",
        /// The server answered with an error.
        RpcError = "rpc_error",
        /// The server would have the caller wait.
        Flood = "flood",
        /// It was not sent: its connection had ended before, or it may not be sent.
        NotSent = "not_sent",
        /// Its connection ended before the answer.
        Lost = "lost",
        /// No answer in time.
        Timeout = "timeout",
        /// It failed on this side: its answer could not be read, for one.
        ClientError = "client_error",
        /// The caller left before the answer.
        Cancelled = "cancelled",
    }
}

impl CallOutcome {
    /// Whether it tells how long a call takes: not if nothing was sent, or if the caller left.
    const fn is_timed(self) -> bool {
        !matches!(self, Self::NotSent | Self::Cancelled)
    }
}

labelled! {
    /// How a call that sends got its turn, as `telepool_send_turns_total` has it.
    #[non_exhaustive]
    pub enum TurnOutcome {
        /// Without a wait.
        AtOnce = "at_once",
        /// After a wait.
        Waited = "waited",
        /// There was none in the time that the caller had, or the caller left.
        Refused = "refused",
    }
}

/// The counters of what goes over the connections of one group: calls and updates. A manager gets them
/// from [`TrafficGroups`], and a call pays a few relaxed additions.
///
/// ```
/// use telepool::{CallOutcome, TrafficCounters};
///
/// let counters = TrafficCounters::default();
/// let call = counters.begin_call();
/// // .. dropped here, by a caller that leaves, it counts as cancelled.
/// call.end(CallOutcome::Ok);
/// counters.count_update();
/// ```
#[derive(Debug)]
pub struct TrafficCounters {
    calls: [AtomicU64; CallOutcome::ALL.len()],
    call_times: Histogram,
    /// By the index of the name, the others last. Made at the first error: few groups of many have any.
    errors: OnceLock<Box<[AtomicU64; ERROR_NAMES_MAX + 1]>>,
    turns: [AtomicU64; TurnOutcome::ALL.len()],
    turn_wait_ms: AtomicU64,
    updates: AtomicU64,
    /// In milliseconds since 1970; zero while there was none.
    last_update: AtomicU64,
}

impl Default for TrafficCounters {
    fn default() -> Self {
        Self {
            calls: std::array::from_fn(|_| AtomicU64::new(0)),
            call_times: Histogram::often(TIMES_US),
            errors: OnceLock::new(),
            turns: std::array::from_fn(|_| AtomicU64::new(0)),
            turn_wait_ms: AtomicU64::new(0),
            updates: AtomicU64::new(0),
            last_update: AtomicU64::new(0),
        }
    }
}

impl TrafficCounters {
    /// Begins a call: once for each time that it is sent, and not for those that only check a connection.
    pub fn begin_call(&self) -> CallTimer<'_> {
        CallTimer { counters: self, began: now() }
    }

    /// Counts an error that the server answered a call with, by its place among the
    /// [names](super::MetricsSource::error_names); any other number counts as `other`.
    pub fn count_error(&self, name: usize) {
        let errors =
            self.errors.get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
        errors[name.min(ERROR_NAMES_MAX)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a turn to send that a call has asked for, and how long it waited for it.
    pub fn count_turn(&self, outcome: TurnOutcome, waited: Duration) {
        self.turns[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if outcome == TurnOutcome::Waited {
            self.turn_wait_ms.fetch_add(millis(waited), Ordering::Relaxed);
        }
    }

    /// Counts an update that has come now.
    pub fn count_update(&self) {
        self.updates.fetch_add(1, Ordering::Relaxed);
        // Two who come at once may leave the older time, which is as good.
        self.last_update.store(millis(unix_time()), Ordering::Relaxed);
    }

    fn count_call(&self, outcome: CallOutcome, began: Instant) {
        self.calls[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if outcome.is_timed() {
            self.call_times.record(now().saturating_duration_since(began));
        }
    }
}

/// What is read of them.
#[cfg(feature = "metrics")]
impl TrafficCounters {
    /// In the order of [`CallOutcome::ALL`].
    pub(crate) fn calls(&self) -> [u64; CallOutcome::ALL.len()] {
        std::array::from_fn(|outcome| self.calls[outcome].load(Ordering::Relaxed))
    }

    /// How long calls took whose outcome [is timed](CallOutcome::is_timed).
    pub(crate) fn call_times(&self) -> &Histogram {
        &self.call_times
    }

    /// By the index of the name, the others last.
    pub(crate) fn errors(&self) -> [u64; ERROR_NAMES_MAX + 1] {
        let errors = self.errors.get();
        std::array::from_fn(|name| errors.map_or(0, |all| all[name].load(Ordering::Relaxed)))
    }

    /// In the order of [`TurnOutcome::ALL`].
    pub(crate) fn turns(&self) -> [u64; TurnOutcome::ALL.len()] {
        std::array::from_fn(|outcome| self.turns[outcome].load(Ordering::Relaxed))
    }

    /// How long those waited for their turn that have got one after a wait, in milliseconds.
    pub(crate) fn turn_wait_ms(&self) -> u64 {
        self.turn_wait_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn updates(&self) -> u64 {
        self.updates.load(Ordering::Relaxed)
    }

    /// When the last one came, in milliseconds since 1970; zero while there was none.
    pub(crate) fn last_update(&self) -> u64 {
        self.last_update.load(Ordering::Relaxed)
    }
}

/// A call under way. Dropped before its [end](Self::end) it counts as cancelled.
#[must_use = "dropping it at once counts a call that was cancelled"]
#[derive(Debug)]
pub struct CallTimer<'a> {
    counters: &'a TrafficCounters,
    began: Instant,
}

impl CallTimer<'_> {
    /// The call has ended.
    pub fn end(self, outcome: CallOutcome) {
        self.counters.count_call(outcome, self.began);
        std::mem::forget(self);
    }
}

impl Drop for CallTimer<'_> {
    fn drop(&mut self) {
        self.counters.count_call(CallOutcome::Cancelled, self.began);
    }
}

/// The traffic counters of every group of a pool. A cheap clone. By default of none: what is counted then
/// nobody reads.
#[derive(Clone)]
pub struct TrafficGroups {
    find: Arc<FindCounters>,
}

type FindCounters = dyn Fn(&Arc<str>) -> Arc<TrafficCounters> + Send + Sync;

impl TrafficGroups {
    pub(crate) fn new(
        find: impl Fn(&Arc<str>) -> Arc<TrafficCounters> + Send + Sync + 'static,
    ) -> Self {
        Self { find: Arc::new(find) }
    }

    /// Returns the counters of a group. All groups beyond the 64 that have a name share theirs. Takes a
    /// lock: to be asked once per connection.
    #[must_use]
    pub fn counters(&self, group: &Arc<str>) -> Arc<TrafficCounters> {
        (self.find)(group)
    }
}

impl Default for TrafficGroups {
    fn default() -> Self {
        Self::new(|_| Arc::default())
    }
}

impl fmt::Debug for TrafficGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrafficGroups").finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "metrics", not(pool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_counted_once_and_timed_if_it_was_sent_and_waited_for() {
        let counters = TrafficCounters::default();
        for outcome in CallOutcome::ALL {
            counters.begin_call().end(outcome);
        }
        drop(counters.begin_call());
        let mut calls = [1; CallOutcome::ALL.len()];
        calls[CallOutcome::Cancelled as usize] = 2;
        assert_eq!(counters.calls(), calls);
        let timed: u64 = counters.call_times().read().counts.iter().sum();
        assert_eq!(timed, calls.iter().sum::<u64>() - 1 - 2, "not sent, and cancelled");
    }

    #[test]
    fn errors_without_a_name_of_their_own_are_counted_together() {
        let counters = TrafficCounters::default();
        assert_eq!(counters.errors(), [0; ERROR_NAMES_MAX + 1]);
        for name in [0, 62, 63, 64, usize::MAX] {
            counters.count_error(name);
        }
        let errors = counters.errors();
        assert_eq!((errors[0], errors[62], errors[ERROR_NAMES_MAX]), (1, 1, 3));
    }

    #[test]
    fn the_last_update_has_its_time() {
        let counters = TrafficCounters::default();
        assert_eq!((counters.updates(), counters.last_update()), (0, 0));
        let before = millis(unix_time());
        counters.count_update();
        assert_eq!(counters.updates(), 1);
        assert!(counters.last_update() >= before);
    }
}
