//! The handles of one group's counters and gauges.
//!
//! Owns their registration, every label value at once, and the copying. Never counts anything:
//! the pool's own counters are the truth.

use std::sync::Arc;

use metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder};

use crate::base::sync::{AtomicU64, Ordering};
use crate::connection::{CloseReason, ConnectionState, Source};
use crate::manager::{ErrorKind, QuarantineReason};
use crate::metrics::catalogue::{self, Metric};
use crate::metrics::reading::{GroupReading, Standing};
use crate::metrics::timings::Timings;
use crate::stats::{AccountEnd, AcquireEnd, DIAL_CLASS_LABELS, DIAL_CLASSES, Family, OpenEnd};

const METADATA: Metadata<'_> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// Registers metrics that have these labels in common.
pub(super) struct Registrar<'a> {
    recorder: &'a dyn Recorder,
    labels: Vec<Label>,
}

impl<'a> Registrar<'a> {
    /// For what concerns the pool as a whole.
    pub(super) fn of_pool(recorder: &'a dyn Recorder) -> Self {
        Self { recorder, labels: Vec::new() }
    }

    /// For what concerns one group.
    pub(super) fn of_group(recorder: &'a dyn Recorder, group: &Arc<str>) -> Self {
        Self { recorder, labels: vec![Label::new("group", Arc::clone(group))] }
    }

    fn key(&self, metric: Metric, more: &[(&'static str, &'static str)]) -> Key {
        let more = more.iter().map(|(name, value)| Label::from_static_parts(name, value));
        Key::from_parts(metric.name, self.labels.iter().cloned().chain(more).collect::<Vec<_>>())
    }

    pub(super) fn counter(
        &self,
        metric: Metric,
        labels: &[(&'static str, &'static str)],
    ) -> Counter {
        self.recorder.register_counter(&self.key(metric, labels), &METADATA)
    }

    pub(super) fn gauge(&self, metric: Metric, labels: &[(&'static str, &'static str)]) -> Gauge {
        self.recorder.register_gauge(&self.key(metric, labels), &METADATA)
    }

    pub(super) fn histogram(&self, metric: Metric) -> metrics::Histogram {
        self.recorder.register_histogram(&self.key(metric, &[]), &METADATA)
    }

    fn counters<const N: usize>(
        &self,
        metric: Metric,
        label: &'static str,
        values: [&'static str; N],
    ) -> [Counter; N] {
        values.map(|value| self.counter(metric, &[(label, value)]))
    }

    pub(super) fn gauges<const N: usize>(
        &self,
        metric: Metric,
        label: &'static str,
        values: [&'static str; N],
    ) -> [Gauge; N] {
        values.map(|value| self.gauge(metric, &[(label, value)]))
    }
}

/// The handles of one group.
pub(super) struct GroupHandles {
    #[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "only text needs it"))]
    name: Arc<str>,
    timings: Timings,
    accounts: [Gauge; Standing::ALL.len()],
    accounts_saturated: Gauge,
    connections: [Gauge; ConnectionState::ALL.len()],
    connections_max: Gauge,
    leases: Gauge,
    pending_acquires: Gauge,
    oldest_pending: Gauge,
    acquires_ok: Counter,
    acquires: [Counter; AcquireEnd::ALL.len()],
    acquired: [Counter; Source::ALL.len()],
    /// Idle, closed.
    releases: [Counter; 2],
    opens: [[Counter; OpenEnd::ALL.len()]; DIAL_CLASSES],
    closes: [Counter; CloseReason::ALL.len()],
    errors: [Counter; ErrorKind::ALL.len()],
    checks: [Counter; 2],
    slow_acquires: Counter,
    lease_leaks: Counter,
    flood_waits: Counter,
    flood_wait_seconds: Counter,
    quarantines: [Counter; QuarantineReason::ALL.len()],
    updates_dropped: Counter,
    updates_interrupted: Counter,
    accounts_opened: Counter,
    accounts_closed: [Counter; AccountEnd::ALL.len()],
}

impl GroupHandles {
    pub(super) fn new(
        registrar: &Registrar<'_>,
        name: &Arc<str>,
        records_times: bool,
        has_past: bool,
    ) -> Self {
        let it = registrar;
        let opens = |class| {
            OpenEnd::ALL.map(OpenEnd::label).map(|result| {
                it.counter(catalogue::CONNECTION_OPENS, &[("dc", class), ("result", result)])
            })
        };
        let errors = ErrorKind::ALL.map(ErrorKind::label);
        let reasons = QuarantineReason::ALL.map(QuarantineReason::label);
        let closes = CloseReason::ALL.map(CloseReason::label);
        Self {
            name: Arc::clone(name),
            timings: Timings::new(records_times.then_some(it), has_past),
            accounts: it.gauges(catalogue::ACCOUNTS, "state", Standing::ALL.map(Standing::label)),
            accounts_saturated: it.gauge(catalogue::ACCOUNTS_SATURATED, &[]),
            connections: it.gauges(
                catalogue::CONNECTIONS,
                "state",
                ConnectionState::ALL.map(ConnectionState::label),
            ),
            connections_max: it.gauge(catalogue::CONNECTIONS_MAX, &[]),
            leases: it.gauge(catalogue::LEASES, &[]),
            pending_acquires: it.gauge(catalogue::PENDING_ACQUIRES, &[]),
            oldest_pending: it.gauge(catalogue::OLDEST_PENDING, &[]),
            acquires_ok: it.counter(catalogue::ACQUIRES, &[("result", "ok")]),
            acquires: it.counters(
                catalogue::ACQUIRES,
                "result",
                AcquireEnd::ALL.map(AcquireEnd::label),
            ),
            acquired: it.counters(
                catalogue::ACQUIRED_CONNECTIONS,
                "source",
                Source::ALL.map(Source::label),
            ),
            releases: it.counters(catalogue::RELEASES, "outcome", ["idle", "closed"]),
            opens: DIAL_CLASS_LABELS.map(opens),
            closes: it.counters(catalogue::CONNECTION_CLOSES, "reason", closes),
            errors: it.counters(catalogue::CONNECTION_ERRORS, "kind", errors),
            checks: it.counters(catalogue::CONNECTION_CHECKS, "result", ["ok", "failed"]),
            slow_acquires: it.counter(catalogue::SLOW_ACQUIRES, &[]),
            lease_leaks: it.counter(catalogue::LEASE_LEAKS, &[]),
            flood_waits: it.counter(catalogue::FLOOD_WAITS, &[]),
            flood_wait_seconds: it.counter(catalogue::FLOOD_WAIT_SECONDS, &[]),
            quarantines: it.counters(catalogue::QUARANTINES, "reason", reasons),
            updates_dropped: it.counter(catalogue::UPDATES_DROPPED, &[]),
            updates_interrupted: it.counter(catalogue::UPDATES_INTERRUPTED, &[]),
            accounts_opened: it.counter(catalogue::ACCOUNT_POOLS_OPENED, &[]),
            accounts_closed: it.counters(
                catalogue::ACCOUNT_POOLS_CLOSED,
                "reason",
                AccountEnd::ALL.map(AccountEnd::label),
            ),
        }
    }

    /// Copies what a group has and has done.
    pub(super) fn set(&mut self, group: &GroupReading<'_>) {
        let (sums, counters) = (group.sums, group.counters);
        let totals = &sums.totals;
        set_all(&self.accounts, sums.accounts);
        self.accounts_saturated.set(totals.saturated as f64);
        set_all(&self.connections, totals.states);
        self.connections_max.set(sums.connections_max as f64);
        self.leases.set(totals.leases as f64);
        self.pending_acquires.set(totals.waiting as f64);
        self.oldest_pending.set(sums.oldest_wait);
        self.acquires_ok.absolute(totals.uses);
        copy_family(&self.acquires, &counters.acquires);
        let idle = totals.uses.saturating_sub(totals.shared_uses + totals.new_uses);
        copy_all(&self.acquired, [idle, totals.shared_uses, totals.new_uses]);
        let closed = counters.releases_closed.load(Ordering::Relaxed);
        let released = totals.uses.saturating_sub(totals.leases);
        copy_all(&self.releases, [released.saturating_sub(closed), closed]);
        for (handles, family) in self.opens.iter().zip(&counters.opens) {
            copy_family(handles, family);
        }
        copy_family(&self.closes, &counters.closes);
        copy_family(&self.errors, &counters.errors);
        copy_family(&self.checks, &counters.checks);
        copy(&self.slow_acquires, &counters.slow_acquires);
        copy(&self.lease_leaks, &counters.lease_leaks);
        copy(&self.flood_waits, &counters.flood_waits);
        self.flood_wait_seconds.absolute(counters.flood_wait_ms.load(Ordering::Relaxed) / 1000);
        copy_family(&self.quarantines, &counters.quarantines);
        self.updates_dropped.absolute(sums.updates_dropped);
        copy(&self.updates_interrupted, &counters.updates_interrupted);
        copy(&self.accounts_opened, &counters.accounts_opened);
        copy_family(&self.accounts_closed, &counters.accounts_closed);
        self.timings.set(counters.timings());
    }

    /// The group, and its histograms.
    #[cfg(feature = "metrics")]
    pub(super) fn timings(&self) -> (&Arc<str>, &Timings) {
        (&self.name, &self.timings)
    }
}

fn copy(handle: &Counter, counter: &AtomicU64) {
    handle.absolute(counter.load(Ordering::Relaxed));
}

fn copy_all<const N: usize>(handles: &[Counter; N], values: [u64; N]) {
    for (handle, value) in handles.iter().zip(values) {
        handle.absolute(value);
    }
}

fn copy_family<const N: usize>(handles: &[Counter; N], family: &Family<N>) {
    copy_all(handles, family.read());
}

fn set_all<const N: usize>(handles: &[Gauge; N], values: [u64; N]) {
    for (handle, value) in handles.iter().zip(values) {
        handle.set(value as f64);
    }
}
