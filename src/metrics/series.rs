//! The series of a pool: each metric with its labels and its value.
//!
//! Owns the one list of them, which both exporters go through: that of a recorder and that of Prometheus'
//! text. Never counts anything: the pool's own counters are the truth.
//!
//! # Orderings
//! Relaxed: what has to be read before what is said in `runtime::reading`.

use crate::account_health::AccountState;
use crate::base::sync::{AtomicU64, Ordering};
use crate::connection::{CloseReason, ConnectionState, Source};
use crate::manager::{CallOutcome, ErrorKind, NetworkCounts, QuarantineReason, TurnOutcome};
use crate::metrics::catalogue::{self, Metric};
use crate::metrics::histograms::HistogramSample;
use crate::metrics::sample::{GroupSample, PoolSample};
use crate::stats::{AccountEnd, AcquireEnd, DIAL_CLASS_LABELS, OpenEnd};

/// The commit that this was built from, if the build told by the environment.
const REVISION: &str = match option_env!("TELEPOOL_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// The name and the value of a label.
pub(super) type LabelPair = (&'static str, &'static str);

/// The value of a series.
pub(super) enum SeriesValue<'a> {
    Counter(u64),
    Gauge(f64),
    Histogram(&'a HistogramSample),
}

/// Where series go: of one group, or of the pool as a whole.
pub(super) trait Sink {
    /// Takes one series. Their order is the same for each group and at every time, and those of a metric
    /// follow each other. Those that a group has only later come last.
    fn put(&mut self, metric: &Metric, labels: &[LabelPair], value: SeriesValue<'_>);

    fn counter(&mut self, metric: &Metric, count: u64) {
        self.put(metric, &[], SeriesValue::Counter(count));
    }

    fn load(&mut self, metric: &Metric, counter: &AtomicU64) {
        self.counter(metric, counter.load(Ordering::Relaxed));
    }

    fn gauge(&mut self, metric: &Metric, value: f64) {
        self.put(metric, &[], SeriesValue::Gauge(value));
    }

    /// One counter for each value of a label.
    fn counters<const N: usize>(
        &mut self,
        metric: &Metric,
        label: &'static str,
        values: [&'static str; N],
        counts: [u64; N],
    ) {
        for (value, count) in values.into_iter().zip(counts) {
            self.put(metric, &[(label, value)], SeriesValue::Counter(count));
        }
    }

    /// One counter for each name.
    fn named_counters(
        &mut self,
        metric: &Metric,
        label: &'static str,
        counts: Vec<(&'static str, u64)>,
    ) {
        for (name, count) in counts {
            self.put(metric, &[(label, name)], SeriesValue::Counter(count));
        }
    }

    /// One gauge for each value of a label.
    fn gauges<const N: usize>(
        &mut self,
        metric: &Metric,
        label: &'static str,
        values: [&'static str; N],
        now: [u64; N],
    ) {
        for (value, now) in values.into_iter().zip(now) {
            self.put(metric, &[(label, value)], SeriesValue::Gauge(now as f64));
        }
    }
}

/// What was last exported of a group.
#[derive(Default)]
pub(super) struct LastExport {
    /// In the order of `catalogue::HISTOGRAMS`.
    histograms: [HistogramSample; 5],
    /// In the order of the series.
    counters: Vec<u64>,
}

/// Keeps counters from going back, as one may seem to when its reading raced with a change.
struct MonotonicSink<'a, S> {
    sink: &'a mut S,
    counters: &'a mut Vec<u64>,
    next: usize,
}

impl<S: Sink> Sink for MonotonicSink<'_, S> {
    fn put(&mut self, metric: &Metric, labels: &[LabelPair], value: SeriesValue<'_>) {
        let SeriesValue::Counter(count) = value else {
            return self.sink.put(metric, labels, value);
        };
        if self.next == self.counters.len() {
            self.counters.push(0);
        }
        let highest = &mut self.counters[self.next];
        *highest = count.max(*highest);
        self.next += 1;
        self.sink.put(metric, labels, SeriesValue::Counter(*highest));
    }
}

/// Every series of one group.
pub(super) fn put_group(sink: &mut impl Sink, group: &GroupSample<'_>, last: &mut LastExport) {
    let LastExport { histograms, counters } = last;
    let sink = &mut MonotonicSink { sink, counters, next: 0 };
    let (totals, counters) = (group.totals, group.counters);
    let states = AccountState::LABELS;
    sink.gauges(&catalogue::ACCOUNTS, "state", states, group.accounts);
    sink.gauge(&catalogue::ACCOUNTS_SATURATED, totals.saturated as f64);
    let states = ConnectionState::LABELS;
    sink.gauges(&catalogue::CONNECTIONS, "state", states, totals.states);
    sink.gauge(&catalogue::CONNECTIONS_MAX, group.connections_max as f64);
    sink.gauge(&catalogue::LEASES, totals.leases as f64);
    sink.gauge(&catalogue::PENDING_ACQUIRES, totals.waiting as f64);
    sink.gauge(&catalogue::OLDEST_PENDING, group.oldest_wait);
    put_acquires(sink, group);
    put_connections(sink, group);
    sink.load(&catalogue::SLOW_ACQUIRES, &counters.slow_acquires);
    sink.load(&catalogue::LEASE_LEAKS, &counters.lease_leaks);
    put_floods(sink, group);
    let reasons = QuarantineReason::LABELS;
    sink.counters(&catalogue::QUARANTINES, "reason", reasons, counters.quarantines.read());
    put_traffic(sink, group);
    put_network(sink, &group.network);
    sink.counter(&catalogue::UPDATES_DROPPED, group.update_losses.dropped);
    sink.counter(&catalogue::UPDATES_MISSED, group.update_losses.missed);
    sink.load(&catalogue::UPDATES_INTERRUPTED, &counters.updates_interrupted);
    sink.load(&catalogue::ACCOUNT_POOLS_OPENED, &counters.accounts_opened);
    let ends = AccountEnd::LABELS;
    sink.counters(
        &catalogue::ACCOUNT_POOLS_CLOSED,
        "reason",
        ends,
        counters.accounts_closed.read(),
    );
    let histograms = histograms.iter_mut().zip(counters.histograms());
    for (metric, (sample, histogram)) in catalogue::HISTOGRAMS.iter().zip(histograms) {
        sample.update(histogram);
        sink.put(metric, &[], SeriesValue::Histogram(sample));
    }
    sink.named_counters(&catalogue::RPC_ERRORS, "error", group.rpc_errors());
}

/// What became of calls, and what came unasked.
fn put_traffic(sink: &mut impl Sink, group: &GroupSample<'_>) {
    let traffic = &group.counters.traffic;
    let outcomes = CallOutcome::LABELS;
    sink.counters(&catalogue::CALLS, "outcome", outcomes, traffic.calls());
    let outcomes = TurnOutcome::LABELS;
    sink.counters(&catalogue::SEND_TURNS, "outcome", outcomes, traffic.turns());
    sink.counter(&catalogue::SEND_TURN_WAIT_SECONDS, traffic.turn_wait_ms() / 1000);
    sink.counter(&catalogue::UPDATES_RECEIVED, traffic.updates());
    sink.gauge(&catalogue::LAST_UPDATE, traffic.last_update() as f64 / 1000.0);
}

/// What connections have sent and received.
fn put_network(sink: &mut impl Sink, network: &NetworkCounts) {
    let bytes = [network.bytes_received, network.bytes_sent];
    sink.counters(&catalogue::NETWORK_BYTES, "direction", ["received", "sent"], bytes);
    sink.counter(&catalogue::OPENING_ROUND_TRIPS, network.opening_round_trips);
    sink.counter(&catalogue::CALLS_RESENT, network.calls_resent);
    sink.counter(&catalogue::PACKETS_REFUSED, network.packets_refused);
    sink.counter(&catalogue::ACKNOWLEDGEMENTS_SENT, network.acknowledgements_sent);
    sink.gauge(&catalogue::OLDEST_ANSWER, network.oldest_answer.as_secs_f64());
}

/// What the server would have accounts wait for.
fn put_floods(sink: &mut impl Sink, group: &GroupSample<'_>) {
    sink.named_counters(&catalogue::FLOOD_WAITS, "class", group.floods());
    let imposed = group.counters.flood_wait_ms.load(Ordering::Relaxed) / 1000;
    sink.counter(&catalogue::FLOOD_WAIT_SECONDS, imposed);
}

/// What became of acquires and leases.
fn put_acquires(sink: &mut impl Sink, group: &GroupSample<'_>) {
    let (totals, counters) = (group.totals, group.counters);
    sink.put(&catalogue::ACQUIRES, &[("result", "ok")], SeriesValue::Counter(totals.uses));
    let ends = AcquireEnd::LABELS;
    sink.counters(&catalogue::ACQUIRES, "result", ends, counters.acquires.read());
    let idle = totals.uses.saturating_sub(totals.shared_uses + totals.new_uses);
    let sources = Source::LABELS;
    let acquired = [idle, totals.shared_uses, totals.new_uses];
    sink.counters(&catalogue::ACQUIRED_CONNECTIONS, "source", sources, acquired);
    let closed = counters.releases_closed.load(Ordering::Relaxed);
    let released = totals.uses.saturating_sub(totals.leases);
    let released = [released.saturating_sub(closed), closed];
    sink.counters(&catalogue::RELEASES, "outcome", ["idle", "closed"], released);
}

/// What became of dials and connections.
fn put_connections(sink: &mut impl Sink, group: &GroupSample<'_>) {
    let counters = group.counters;
    for (centre, ends) in DIAL_CLASS_LABELS.into_iter().zip(&counters.opens) {
        for (end, count) in OpenEnd::ALL.into_iter().zip(ends.read()) {
            let labels = [("dc", centre), ("result", end.label())];
            sink.put(&catalogue::CONNECTION_OPENS, &labels, SeriesValue::Counter(count));
        }
    }
    let reasons = CloseReason::LABELS;
    sink.counters(&catalogue::CONNECTION_CLOSES, "reason", reasons, counters.closes.read());
    let kinds = ErrorKind::LABELS;
    sink.counters(&catalogue::CONNECTION_ERRORS, "kind", kinds, counters.errors.read());
    let results = ["ok", "failed"];
    sink.counters(&catalogue::CONNECTION_CHECKS, "result", results, counters.checks.read());
}

/// Every series of the pool as a whole.
pub(super) fn put_pool(sink: &mut impl Sink, pool: &PoolSample) {
    let build = [("version", env!("CARGO_PKG_VERSION")), ("revision", REVISION)];
    sink.put(&catalogue::BUILD_INFO, &build, SeriesValue::Gauge(1.0));
    sink.gauge(&catalogue::POOL_CONNECTIONS_MAX, pool.connections_max as f64);
    sink.gauges(&catalogue::BREAKER_OPEN, "egress", ["direct", "proxy"], pool.breakers);
    sink.gauge(&catalogue::ADDRESSES_DOWN, pool.addresses_down as f64);
    sink.counter(&catalogue::REAPER_RUNS, pool.reaper_runs);
    sink.gauge(&catalogue::REAPER_LAST_RUN, pool.reaper_last_run as f64 / 1000.0);
    sink.counter(&catalogue::REAPER_VISITS, pool.reaper_visits);
    sink.gauge(&catalogue::REAPER_TOOK, pool.reaper_took as f64 / 1e9);
    sink.gauge(&catalogue::LABEL_OVERFLOW, pool.overflow as f64);
}
