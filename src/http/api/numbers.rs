//! Numbers as the API tells them: of all groups that are seen, or of one.
//!
//! Owns their names, which are those of the metrics without their prefix, and their labels, which are the
//! same. Counts nothing.

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::account_health::AccountState;
use crate::connection::{CloseReason, ConnectionState, Source};
use crate::http::monitor::{SampledNumbers, WindowRates};
use crate::manager::{CallOutcome, ErrorKind, QuarantineReason};
use crate::stats::{AcquireEnd, OpenEnd};

/// Counts by the label that they are counted under.
#[derive(Clone, Debug, Default)]
pub(super) struct LabelledCounts(Vec<(&'static str, u64)>);

impl LabelledCounts {
    fn new<const N: usize>(labels: [&'static str; N], counts: &[u64; N]) -> Self {
        Self(labels.into_iter().zip(counts.iter().copied()).collect())
    }
}

impl Serialize for LabelledCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// What a group, or several together, have and have done. Counters are totals since the service began.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Numbers {
    /// Accounts that the pool knows, by state.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    accounts: LabelledCounts,
    /// Accounts that have all the connections that they may have, and for which somebody waits.
    saturated: u64,
    /// Connections by state.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    connections: LabelledCounts,
    /// The most connections that there may be.
    connections_max: u64,
    /// Leases that are held.
    leases: u64,
    /// Acquires that wait.
    waiting: u64,
    /// For how long the first of them has waited.
    oldest_wait_s: f64,
    /// Acquires by result.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    acquires: LabelledCounts,
    /// Leases by where their connection came from.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    acquired: LabelledCounts,
    /// Leases that were given back, by what became of the connection.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    releases: LabelledCounts,
    /// Dials by result.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    opens: LabelledCounts,
    /// Connections that were closed, by reason.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    closes: LabelledCounts,
    /// Errors of connections by kind.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    errors: LabelledCounts,
    /// Flood waits by class of method.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    floods: LabelledCounts,
    /// Calls by outcome.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    calls: LabelledCounts,
    /// Errors that the server answered calls with, by name; none until a call was made.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    rpc_errors: LabelledCounts,
    /// Updates that came.
    updates_received: u64,
    /// When the last of them came; null if none has.
    last_update_at: Option<u64>,
    /// Sessions and accounts that were quarantined, by reason.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    quarantines: LabelledCounts,
    /// Acquires that waited for longer than `watch.slow_acquire`.
    slow_acquires: u64,
    /// Leases that were held for longer than `watch.held_lease`.
    lease_leaks: u64,
    /// Updates that nobody took in time.
    updates_dropped: u64,
    /// Times that the server told no details of what had come.
    updates_missed: u64,
    /// Egresses whose breaker is open. They are of no group: 0 for whoever sees some groups only.
    breakers_open: u64,
    /// Addresses that do not answer. They are of no group either.
    addresses_down: u64,
}

impl Numbers {
    /// Names the numbers; `whole` are the breakers that are open and the addresses that are down.
    pub(super) fn of(numbers: &SampledNumbers, [breakers_open, addresses_down]: [u64; 2]) -> Self {
        let mut acquires = vec![("ok", numbers.acquires_ok)];
        acquires.extend(AcquireEnd::LABELS.into_iter().zip(numbers.acquires));
        Self {
            accounts: LabelledCounts::new(AccountState::LABELS, &numbers.accounts),
            saturated: numbers.saturated,
            connections: LabelledCounts::new(ConnectionState::LABELS, &numbers.connections),
            connections_max: numbers.connections_max,
            leases: numbers.leases,
            waiting: numbers.waiting,
            oldest_wait_s: numbers.oldest_wait,
            acquires: LabelledCounts(acquires),
            acquired: LabelledCounts::new(Source::LABELS, &numbers.acquired),
            releases: LabelledCounts::new(["idle", "closed"], &numbers.releases),
            opens: LabelledCounts::new(OpenEnd::LABELS, &numbers.opens),
            closes: LabelledCounts::new(CloseReason::LABELS, &numbers.closes),
            errors: LabelledCounts::new(ErrorKind::LABELS, &numbers.errors),
            floods: LabelledCounts(numbers.floods.iter().collect()),
            calls: LabelledCounts::new(CallOutcome::LABELS, &numbers.calls),
            rpc_errors: LabelledCounts(numbers.rpc_errors.iter().collect()),
            updates_received: numbers.updates_received,
            last_update_at: (numbers.last_update > 0).then_some(numbers.last_update),
            quarantines: LabelledCounts::new(QuarantineReason::LABELS, &numbers.quarantines),
            slow_acquires: numbers.slow_acquires,
            lease_leaks: numbers.lease_leaks,
            updates_dropped: numbers.updates_dropped,
            updates_missed: numbers.updates_missed,
            breakers_open,
            addresses_down,
        }
    }
}

/// What is done per second, over the last ten seconds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rates {
    /// Acquires that got a lease.
    acquires: f64,
    /// Acquires that waited in vain, or whose dial failed.
    acquires_failed: f64,
    /// Dials that succeeded.
    opens: f64,
    /// Dials that failed.
    opens_failed: f64,
    /// Connections that were closed.
    closes: f64,
    /// Flood waits that the server imposed.
    floods: f64,
    /// Calls that ended, in any way.
    calls: f64,
    /// Calls that were not answered well, though their caller stayed.
    calls_failed: f64,
    /// Updates that came.
    updates: f64,
    /// The time that half of the acquires waited for at most, in seconds; null without any.
    wait_p50_s: Option<f64>,
    /// The time that 99 of 100 acquires waited for at most.
    wait_p99_s: Option<f64>,
    /// The time that half of the calls took at most.
    call_p50_s: Option<f64>,
    /// The time that 99 of 100 calls took at most.
    call_p99_s: Option<f64>,
}

impl From<WindowRates> for Rates {
    fn from(rates: WindowRates) -> Self {
        Self {
            acquires: rates.acquires,
            acquires_failed: rates.acquires_failed,
            opens: rates.opens,
            opens_failed: rates.opens_failed,
            closes: rates.closes,
            floods: rates.floods,
            calls: rates.calls,
            calls_failed: rates.calls_failed,
            updates: rates.updates,
            wait_p50_s: rates.wait_p50,
            wait_p99_s: rates.wait_p99,
            call_p50_s: rates.call_p50,
            call_p99_s: rates.call_p99,
        }
    }
}
