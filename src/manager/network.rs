//! What a manager's connections have sent and received, for one that counts it.
//!
//! Owns the numbers. Never counts anything itself.

use std::time::Duration;

/// What the connections of a group have sent and received so far, those that have ended included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkCounts {
    /// Bytes that came (`telepool_network_bytes_total`).
    pub bytes_received: u64,
    /// Bytes that went out.
    pub bytes_sent: u64,
    /// How often a server was waited for until the first calls of connections were answered
    /// (`telepool_opening_round_trips_total`).
    pub opening_round_trips: u64,
    /// Calls that were sent again because the server had refused their packet
    /// (`telepool_calls_resent_total`).
    pub calls_resent: u64,
    /// Packets that a server has refused (`telepool_packets_refused_total`).
    pub packets_refused: u64,
    /// Messages that were acknowledged (`telepool_acknowledgements_sent_total`).
    pub acknowledgements_sent: u64,
    /// Of the open connections, the longest time since a server has answered one
    /// (`telepool_oldest_answer_age_seconds`).
    pub oldest_answer: Duration,
}

impl NetworkCounts {
    /// Adds those of others.
    pub fn add(&mut self, other: &Self) {
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        self.opening_round_trips += other.opening_round_trips;
        self.calls_resent += other.calls_resent;
        self.packets_refused += other.packets_refused;
        self.acknowledgements_sent += other.acknowledgements_sent;
        self.oldest_answer = self.oldest_answer.max(other.oldest_answer);
    }
}
