//! Counters of a connection.
//!
//! Owns the numbers that others read while the connection works. Never decides anything by them.
//!
//! # Orderings
//! Each number stands for itself and guards nothing: all accesses are relaxed.

use std::time::Duration;

use crate::base::clock::{Instant, now};
use crate::base::sync::{AtomicU64, Ordering};

/// What the layer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LayerCounts {
    pub(super) packets_sent: u64,
    pub(super) packets_received: u64,
    pub(super) calls_sent: u64,
    pub(super) resends: u64,
    pub(super) refused_packets: u64,
    pub(super) acks_sent: u64,
    pub(super) ignored_messages: u64,
    pub(super) unclaimed_answers: u64,
    pub(super) opening_round_trips: u64,
    /// When the server last answered a call or a ping.
    pub(super) answered_at: Option<Instant>,
}

/// What a connection has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireCounts {
    /// Bytes that came from the socket.
    pub bytes_received: u64,
    /// Bytes that went to it.
    pub bytes_sent: u64,
    /// Packets that came.
    pub packets_received: u64,
    /// Packets that went.
    pub packets_sent: u64,
    /// Calls that went, each as often as it was sent.
    pub calls_sent: u64,
    /// Calls that went again because the server had refused their message.
    pub resends: u64,
    /// Packets of ours that the server refused: for a wrong salt or clock, as a rule.
    pub refused_packets: u64,
    /// Messages that were acknowledged.
    pub acks_sent: u64,
    /// Messages that came twice or late, or of another session.
    pub ignored_messages: u64,
    /// Answers that nobody waited for any more.
    pub unclaimed_answers: u64,
    /// How often the server was waited for until it had answered the first call.
    pub opening_round_trips: u64,
    /// How long ago the server last answered a call or a ping; `None` if it never has.
    pub answer_age: Option<Duration>,
}

/// The same, as the driver shows it.
#[derive(Debug)]
pub(super) struct SharedCounts {
    started: Instant,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    packets_received: AtomicU64,
    packets_sent: AtomicU64,
    calls_sent: AtomicU64,
    resends: AtomicU64,
    refused_packets: AtomicU64,
    acks_sent: AtomicU64,
    ignored_messages: AtomicU64,
    unclaimed_answers: AtomicU64,
    opening_round_trips: AtomicU64,
    /// In microseconds since the start, from 1 on; 0 if it never has.
    answered_at: AtomicU64,
}

impl SharedCounts {
    pub(super) fn new() -> Self {
        Self {
            started: now(),
            bytes_received: AtomicU64::default(),
            bytes_sent: AtomicU64::default(),
            packets_received: AtomicU64::default(),
            packets_sent: AtomicU64::default(),
            calls_sent: AtomicU64::default(),
            resends: AtomicU64::default(),
            refused_packets: AtomicU64::default(),
            acks_sent: AtomicU64::default(),
            ignored_messages: AtomicU64::default(),
            unclaimed_answers: AtomicU64::default(),
            opening_round_trips: AtomicU64::default(),
            answered_at: AtomicU64::default(),
        }
    }

    /// Shows what the layer and the driver have counted. Only one task writes.
    pub(super) fn publish(&self, layer: &LayerCounts, (received, sent): (u64, u64)) {
        let answered = layer.answered_at.map_or(0, |at| 1 + micros(at - self.started));
        for (shown, count) in [
            (&self.bytes_received, received),
            (&self.bytes_sent, sent),
            (&self.packets_received, layer.packets_received),
            (&self.packets_sent, layer.packets_sent),
            (&self.calls_sent, layer.calls_sent),
            (&self.resends, layer.resends),
            (&self.refused_packets, layer.refused_packets),
            (&self.acks_sent, layer.acks_sent),
            (&self.ignored_messages, layer.ignored_messages),
            (&self.unclaimed_answers, layer.unclaimed_answers),
            (&self.opening_round_trips, layer.opening_round_trips),
            (&self.answered_at, answered),
        ] {
            shown.store(count, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> WireCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let answered = read(&self.answered_at).checked_sub(1);
        let age = |at| (now() - self.started).saturating_sub(Duration::from_micros(at));
        WireCounts {
            bytes_received: read(&self.bytes_received),
            bytes_sent: read(&self.bytes_sent),
            packets_received: read(&self.packets_received),
            packets_sent: read(&self.packets_sent),
            calls_sent: read(&self.calls_sent),
            resends: read(&self.resends),
            refused_packets: read(&self.refused_packets),
            acks_sent: read(&self.acks_sent),
            ignored_messages: read(&self.ignored_messages),
            unclaimed_answers: read(&self.unclaimed_answers),
            opening_round_trips: read(&self.opening_round_trips),
            answer_age: answered.map(age),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX - 1)
}
