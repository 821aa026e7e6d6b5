//! Statistics of the sandbox server.
//!
//! Owns the counters and their public view. They are relaxed: counts guard nothing.

use crate::base::sync::{AtomicU64, Ordering};

/// A snapshot of the data centre's counters; see [`DataCentre::stats`](super::DataCentre::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct DataCentreStats {
    /// TCP connections that are open now.
    pub connections: u64,
    /// Those of them whose client has set the timer that closes them if it falls silent.
    pub connections_timed: u64,
    /// Keys that clients have made here.
    pub keys_made: u64,
    /// TCP connections accepted so far.
    pub connections_total: u64,
    /// For how long the connections that have ended were open, added up, in milliseconds.
    pub connection_ms: u64,
    /// Connections whose first packet was that of a known key.
    pub handshakes: u64,
    /// Connections refused because they named a key that nobody has, or did not keep to the exchange of a new one.
    pub keys_unknown: u64,
    /// Connections ended because their first bytes were those of no transport.
    pub transports_unknown: u64,
    /// Calls received, pings included.
    pub calls: u64,
    /// Calls, connections and updates that a fault was injected into.
    pub faults_injected: u64,
    /// Messages of bots that were refused because they were too many ([`SendLimits`](super::SendLimits)). Each is
    /// one of the injected faults as well.
    pub send_floods: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Updates sent, other than in answers.
    pub updates_pushed: u64,
    /// Updates that a connection has missed because it did not read those before.
    pub updates_dropped: u64,
    /// Connections closed because no further `ping_delay_disconnect` came in time.
    pub closed_by_timer: u64,
    /// How often a key was used on a second connection while the first still lived: each would
    /// have cost the account its authorization.
    pub key_violations: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: Gauge,
    pub(super) connections_timed: Gauge,
    pub(super) connections_total: Counter,
    /// In microseconds, of which the short ones have few.
    pub(super) connection_us: Counter,
    pub(super) handshakes: Counter,
    pub(super) keys_made: Counter,
    pub(super) keys_unknown: Counter,
    pub(super) transports_unknown: Counter,
    pub(super) calls: Counter,
    pub(super) faults_injected: Counter,
    pub(super) send_floods: Counter,
    pub(super) bytes_received: Counter,
    pub(super) bytes_sent: Counter,
    pub(super) updates_pushed: Counter,
    pub(super) updates_dropped: Counter,
    pub(super) closed_by_timer: Counter,
    pub(super) key_violations: Counter,
}

impl Counters {
    pub(super) fn read(&self) -> DataCentreStats {
        DataCentreStats {
            connections: self.connections.0.read(),
            connections_timed: self.connections_timed.0.read(),
            connections_total: self.connections_total.read(),
            connection_ms: self.connection_us.read() / 1000,
            handshakes: self.handshakes.read(),
            keys_made: self.keys_made.read(),
            keys_unknown: self.keys_unknown.read(),
            transports_unknown: self.transports_unknown.read(),
            calls: self.calls.read(),
            faults_injected: self.faults_injected.read(),
            send_floods: self.send_floods.read(),
            bytes_received: self.bytes_received.read(),
            bytes_sent: self.bytes_sent.read(),
            updates_pushed: self.updates_pushed.read(),
            updates_dropped: self.updates_dropped.read(),
            closed_by_timer: self.closed_by_timer.read(),
            key_violations: self.key_violations.read(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Returns the count before.
    pub(super) fn add(&self, count: usize) -> u64 {
        self.0.fetch_add(count as u64, Ordering::Relaxed)
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Gauge(Counter);

impl Gauge {
    pub(super) fn increment(&self) {
        self.0.add(1);
    }

    pub(super) fn decrement(&self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
