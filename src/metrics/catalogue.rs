//! The catalogue of metrics: name, kind, unit and meaning of each.
//!
//! Owns the names and the bounds of the buckets. Never holds a value.

use metrics::{Recorder, Unit};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    kind: Kind,
    unit: Unit,
    pub(super) meaning: &'static str,
}

impl Metric {
    /// The type, as Prometheus calls it.
    pub(super) fn type_name(self) -> &'static str {
        match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }

    /// Whether whoever sees some groups only may see it, of those that are not of a group: it says nothing
    /// of what other groups do.
    pub(super) fn is_told_to_all(self) -> bool {
        let told = [BUILD_INFO, POOL_CONNECTIONS_MAX, REAPER_RUNS, REAPER_LAST_RUN];
        told.iter().any(|metric| metric.name == self.name)
    }
}

const fn counter(name: &'static str, meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, meaning }
}

const fn gauge(name: &'static str, meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: Unit::Count, meaning }
}

const fn histogram(name: &'static str, meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, unit: Unit::Seconds, meaning }
}

const fn in_seconds(metric: Metric) -> Metric {
    Metric { unit: Unit::Seconds, ..metric }
}

pub(super) const BUILD_INFO: Metric =
    gauge("telepool_build_info", "Always 1; the labels say what is running.");
/// By the state of `AccountHealth::state`: an account without a session counts as `quarantined`, and one that
/// is being closed as `draining`.
pub(super) const ACCOUNTS: Metric = gauge(
    "telepool_accounts",
    "Accounts that the pool knows. resting: not dialled for a while, and without a connection: \
     flooded on the login, its dials have failed, or none of its sessions may be dialled yet; suspect: quarantined, but a probe may clear it; quarantined: \
     no session may be used, or there is none; draining: taken out of service or being closed; paused: acquires wait \
     until it is resumed.",
);
pub(super) const ACCOUNTS_SATURATED: Metric =
    gauge("telepool_accounts_saturated", "Accounts at their cap with somebody in line.");
pub(super) const CONNECTIONS: Metric = gauge(
    "telepool_connections",
    "Connections. connecting: being opened; disconnected and error: being closed.",
);
pub(super) const CONNECTIONS_MAX: Metric = gauge(
    "telepool_connections_max",
    "The most connections that the group may have: the caps of its accounts together, at most \
     the cap of the pool. That bounds all groups together, so the sum says nothing.",
);
pub(super) const POOL_CONNECTIONS_MAX: Metric = gauge(
    "telepool_pool_connections_max",
    "The most connections that the pool may have: `pool.max_connections`.",
);
pub(super) const LEASES: Metric = gauge("telepool_leases", "Leases that are held.");
pub(super) const PENDING_ACQUIRES: Metric = gauge("telepool_pending_acquires", "Acquires in line.");
pub(super) const OLDEST_PENDING: Metric = in_seconds(gauge(
    "telepool_oldest_pending_seconds",
    "How long the first in line has waited, of the account where that is longest; 0 if nobody \
     waits.",
));
pub(super) const ACQUIRES: Metric =
    counter("telepool_acquires_total", "Acquires that ended, by how.");
pub(super) const ACQUIRED_CONNECTIONS: Metric = counter(
    "telepool_acquired_connections_total",
    "Acquires that got a lease, by what connection: idle, shared with others, or opened for it.",
);
pub(super) const RELEASES: Metric = counter(
    "telepool_releases_total",
    "Leases that ended. idle: the connection may serve again; closed: it takes no more leases.",
);
pub(super) const CONNECTION_OPENS: Metric = counter(
    "telepool_connection_opens_total",
    "Dials that ended, by data centre and result. auth: the server does not accept the session; \
     cancelled: nobody wanted the connection any more, or the pool was closed.",
);
pub(super) const CONNECTION_CLOSES: Metric =
    counter("telepool_connection_closes_total", "Connections closed, by reason.");
pub(super) const CONNECTION_ERRORS: Metric =
    counter("telepool_connection_errors_total", "Errors of open connections, by kind.");
pub(super) const CONNECTION_CHECKS: Metric = counter(
    "telepool_connection_checks_total",
    "Checks of connections that were idle for long, before they were lent again.",
);
pub(super) const SLOW_ACQUIRES: Metric = counter(
    "telepool_slow_acquires_total",
    "Acquires that got a lease after a wait above `watch.slow_acquire`.",
);
pub(super) const LEASE_LEAKS: Metric = counter(
    "telepool_lease_leaks_total",
    "Leases that were held for longer than `watch.held_lease`: they may have been forgotten.",
);
pub(super) const FLOOD_WAITS: Metric = counter(
    "telepool_flood_waits_total",
    "Times that the server told an account to wait, by what it may not do meanwhile. dial: log in, by a new \
     connection; other: a method of no known class.",
);
pub(super) const FLOOD_WAIT_SECONDS: Metric = in_seconds(counter(
    "telepool_flood_wait_imposed_seconds_total",
    "How long the server told accounts to wait, in whole seconds of the sum.",
));
pub(super) const SEND_TURNS: Metric = counter(
    "telepool_send_turns_total",
    "Turns that calls which send have asked for, of accounts that keep to limits. at_once: without a wait; waited: \
     after one; refused: there was none in the time that the caller had, or the caller left.",
);
pub(super) const SEND_TURN_WAIT_SECONDS: Metric = in_seconds(counter(
    "telepool_send_turn_wait_seconds_total",
    "How long calls waited for their turn to send, in whole seconds of the sum.",
));
pub(super) const QUARANTINES: Metric = counter(
    "telepool_quarantines_total",
    "Sessions and accounts that were put out of service, by reason.",
);
pub(super) const BREAKER_OPEN: Metric = gauge(
    "telepool_dial_breaker_open",
    "Ways out whose dials are slowed down because the server refused one. direct: the machine's \
     own address (0 or 1); proxy: how many proxies.",
);
pub(super) const ADDRESSES_DOWN: Metric = gauge(
    "telepool_addresses_down",
    "Addresses that have not answered the dials of several accounts, and that one dial at a time tries \
     again. Of an address behind several ways out, each counts.",
);
pub(super) const CALLS: Metric = counter(
    "telepool_calls_total",
    "Calls over connections, each time that one was made, by how it ended. flood: the server would have the \
     account wait; not_sent: nothing was sent; lost: the connection ended before the answer; client_error: \
     it failed on this side; cancelled: the caller left.",
);
pub(super) const CALL_SECONDS: Metric = histogram(
    "telepool_call_seconds",
    "How long calls took, but for those that were not sent or whose caller left.",
);
/// Of a group once it has made a call: there are more names than a group without any should be exported with.
pub(super) const RPC_ERRORS: Metric = counter(
    "telepool_rpc_errors_total",
    "Errors that the server answered calls with, by name and without the number in it. other: any name that \
     is not counted apart. Of a group from its first call on.",
);
pub(super) const NETWORK_BYTES: Metric = counter(
    "telepool_network_bytes_total",
    "Bytes that connections have carried, where the manager counts them: the wire does, grammers does not.",
);
pub(super) const OPENING_ROUND_TRIPS: Metric = counter(
    "telepool_opening_round_trips_total",
    "Times that a server was waited for until the first calls of connections were answered, after the one of \
     TCP.",
);
pub(super) const CALLS_RESENT: Metric = counter(
    "telepool_calls_resent_total",
    "Calls that were sent again because the server had refused their packet, for its salt or its clock.",
);
pub(super) const PACKETS_REFUSED: Metric =
    counter("telepool_packets_refused_total", "Packets that a server has refused.");
pub(super) const ACKNOWLEDGEMENTS_SENT: Metric =
    counter("telepool_acknowledgements_sent_total", "Messages of servers that were acknowledged.");
pub(super) const OLDEST_ANSWER: Metric = in_seconds(gauge(
    "telepool_oldest_answer_age_seconds",
    "Of the open connections, the longest time since a server has answered one. Each is asked every 15 s.",
));
pub(super) const UPDATES_RECEIVED: Metric = counter(
    "telepool_updates_received_total",
    "Updates that came by connections whose updates are read, as the server packs them.",
);
pub(super) const LAST_UPDATE: Metric = in_seconds(gauge(
    "telepool_last_update_timestamp_seconds",
    "When the last of these updates came, since 1970; 0 if none has.",
));
pub(super) const UPDATES_DROPPED: Metric =
    counter("telepool_updates_dropped_total", "Updates that nobody took in time.");
pub(super) const UPDATES_MISSED: Metric = counter(
    "telepool_updates_missed_total",
    "Times that the server told no details of what had come to an account or in a channel: so much, or so \
     long ago.",
);
pub(super) const UPDATES_INTERRUPTED: Metric = counter(
    "telepool_updates_interrupted_total",
    "Times that an account whose updates are read was left without a connection: what comes before its \
     next one is late.",
);
pub(super) const ACCOUNT_POOLS_OPENED: Metric =
    counter("telepool_account_pools_opened_total", "Accounts that the pool met.");
pub(super) const ACCOUNT_POOLS_CLOSED: Metric = counter(
    "telepool_account_pools_closed_total",
    "Accounts that the pool forgot. idle: they had nothing left; removed: by an operator; \
     shutdown: the pool closes.",
);
pub(super) const REAPER_RUNS: Metric =
    counter("telepool_reaper_runs_total", "Runs of the reaper, which closes what has expired.");
pub(super) const REAPER_LAST_RUN: Metric = in_seconds(gauge(
    "telepool_reaper_last_run_timestamp_seconds",
    "When the reaper last ran, since 1970; before its first run, when the pool was built.",
));
pub(super) const REAPER_VISITS: Metric = counter(
    "telepool_reaper_visits_total",
    "Looks of the reaper at a connection or an account whose time may have come.",
);
pub(super) const REAPER_TOOK: Metric = in_seconds(gauge(
    "telepool_reaper_last_run_seconds",
    "How long the last run of the reaper took, without the turns that other tasks got in it.",
));
pub(super) const ACQUIRE_WAIT: Metric = histogram(
    "telepool_acquire_wait_seconds",
    "How long acquires waited that got a lease and did not get it at once.",
);
pub(super) const CONNECTION_OPEN: Metric =
    histogram("telepool_connection_open_seconds", "How long the dials took that succeeded.");
pub(super) const LEASE_USE: Metric = histogram(
    "telepool_lease_use_seconds",
    "How long leases were held: of each connection the first, and then one in 64.",
);
pub(super) const CONNECTION_AGE: Metric =
    histogram("telepool_connection_age_seconds", "How old connections were when they closed.");
pub(super) const LABEL_OVERFLOW: Metric = gauge(
    "telepool_label_overflow_groups",
    "Accounts met so far whose group is counted as `other`, because 64 groups have a name.",
);
/// Of Prometheus' text alone.
pub(super) const RENDER_SECONDS: Metric = in_seconds(gauge(
    "telepool_metrics_render_seconds",
    "How long it took to make the text of the last scrape; 0 in the first.",
));

const ALL: &[Metric] = &[
    BUILD_INFO,
    ACCOUNTS,
    ACCOUNTS_SATURATED,
    CONNECTIONS,
    CONNECTIONS_MAX,
    POOL_CONNECTIONS_MAX,
    LEASES,
    PENDING_ACQUIRES,
    OLDEST_PENDING,
    ACQUIRES,
    ACQUIRED_CONNECTIONS,
    RELEASES,
    CONNECTION_OPENS,
    CONNECTION_CLOSES,
    CONNECTION_ERRORS,
    CONNECTION_CHECKS,
    SLOW_ACQUIRES,
    LEASE_LEAKS,
    FLOOD_WAITS,
    FLOOD_WAIT_SECONDS,
    SEND_TURNS,
    SEND_TURN_WAIT_SECONDS,
    QUARANTINES,
    BREAKER_OPEN,
    ADDRESSES_DOWN,
    CALLS,
    RPC_ERRORS,
    NETWORK_BYTES,
    OPENING_ROUND_TRIPS,
    CALLS_RESENT,
    PACKETS_REFUSED,
    ACKNOWLEDGEMENTS_SENT,
    OLDEST_ANSWER,
    UPDATES_RECEIVED,
    LAST_UPDATE,
    UPDATES_DROPPED,
    UPDATES_INTERRUPTED,
    ACCOUNT_POOLS_OPENED,
    ACCOUNT_POOLS_CLOSED,
    REAPER_RUNS,
    REAPER_LAST_RUN,
    REAPER_VISITS,
    REAPER_TOOK,
    ACQUIRE_WAIT,
    CONNECTION_OPEN,
    LEASE_USE,
    CONNECTION_AGE,
    CALL_SECONDS,
    LABEL_OVERFLOW,
];

/// The histograms of a group, in the order in which they are read.
pub(super) const HISTOGRAMS: [Metric; 5] =
    [ACQUIRE_WAIT, CONNECTION_OPEN, LEASE_USE, CONNECTION_AGE, CALL_SECONDS];

/// From a tenth of a millisecond, which is a handover, to the longest `acquire_timeout` in use.
const TIMES: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

/// From a second to a day.
const AGES: &[f64] = &[1.0, 10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0];

/// The upper bounds in seconds of the buckets of each histogram, by the histogram's name, for
/// recorders that must be told. The largest bound is not infinite.
#[must_use]
pub fn buckets() -> [(&'static str, &'static [f64]); 5] {
    [
        (ACQUIRE_WAIT.name, TIMES),
        (CONNECTION_OPEN.name, TIMES),
        (LEASE_USE.name, TIMES),
        (CONNECTION_AGE.name, AGES),
        (CALL_SECONDS.name, TIMES),
    ]
}

/// Tells a recorder what each metric means.
pub(super) fn describe(recorder: &dyn Recorder) {
    for metric in ALL {
        let (name, unit, meaning) = (metric.name.into(), Some(metric.unit), metric.meaning.into());
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, unit, meaning),
            Kind::Gauge => recorder.describe_gauge(name, unit, meaning),
            Kind::Histogram => recorder.describe_histogram(name, unit, meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_that_recorders_are_told_are_those_that_are_counted_by() {
        let all = buckets();
        let counters = crate::stats::GroupCounters::default();
        for (histogram, metric) in counters.histograms().into_iter().zip(HISTOGRAMS) {
            let told = all.iter().find(|(name, _)| *name == metric.name).unwrap();
            let counted = histogram.bounds().iter().map(|bound| *bound as f64 / 1e6);
            assert_eq!(told.1, counted.collect::<Vec<_>>(), "{}", metric.name);
        }
    }
}
