//! What a test asks of a data centre about the connections of an account.
//!
//! Owns the record of when each of them came and ended. Never decides whether they break a rule: that is for
//! `duplicate_key`.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use super::DataCentre;
use super::accounts::Key;
use super::server_state::ServerState;
use crate::account_id::AccountId;
use crate::base::sync::{Mutex, Ordering};
use crate::session::ClientIdentity;

/// How many connections of a key are remembered: of each of a million keys there may be so many.
const CONNECTIONS_MAX: usize = 4;

/// When a connection came and ended, as the data centre saw it.
///
/// Each moment is a number: what was seen later, on whatever connection, has a greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionObservation {
    /// Which connection of the data centre it is, in the order in which they were accepted.
    pub connection: u64,
    /// When it was accepted.
    pub accepted: u64,
    /// When its first packet had named the key.
    pub first_packet: u64,
    /// When the client's end of it was seen: that it sends no more (FIN), or that it is gone (RST).
    pub client_ended: Option<u64>,
    /// When it was closed at this end.
    pub closed: Option<u64>,
}

impl ConnectionObservation {
    /// When the data centre knew that it had ended, by whichever side.
    #[must_use]
    pub fn ended(&self) -> Option<u64> {
        self.client_ended.into_iter().chain(self.closed).min()
    }

    /// Whether its end had been seen before the first packet of another connection: then the other one is
    /// no violation.
    #[must_use]
    pub fn ended_before_first_packet_of(&self, next: &Self) -> bool {
        self.ended().is_some_and(|ended| ended < next.first_packet)
    }

    /// Whether its end had been seen before another connection was accepted. A client that waits for the
    /// data centre's end of one connection before it dials the next has that always; one that only
    /// closes its own end has it by luck.
    #[must_use]
    pub fn ended_before_dial_of(&self, next: &Self) -> bool {
        self.ended().is_some_and(|ended| ended < next.accepted)
    }
}

/// The connections of one authorization key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyObservation {
    /// The session's place in its account.
    pub slot: u16,
    /// How many sockets are open that have used the key.
    pub open: usize,
    /// It was used on two of them at once, so that it is void.
    pub is_invalidated: bool,
    /// The last 4 connections that have used it, in the order of their first packets.
    pub connections: Vec<ConnectionObservation>,
}

/// The connections of a key that are remembered.
#[derive(Debug, Default)]
pub(super) struct KeyHistory(Mutex<VecDeque<ConnectionObservation>>);

impl KeyHistory {
    /// The first packet of a connection that was accepted at this moment has named the key.
    pub(super) fn note_first_packet(&self, connection: u64, accepted: u64, now: u64) {
        let mut connections = self.0.lock();
        if connections.len() == CONNECTIONS_MAX {
            connections.pop_front();
        }
        let (first_packet, client_ended, closed) = (now, None, None);
        connections.push_back(ConnectionObservation {
            connection,
            accepted,
            first_packet,
            client_ended,
            closed,
        });
    }

    /// The client's end of a connection was seen; what was seen before counts.
    pub(super) fn note_client_end(&self, connection: u64, now: u64) {
        self.note(connection, |it| &mut it.client_ended, now);
    }

    /// A connection is closed at this end.
    pub(super) fn note_close(&self, connection: u64, now: u64) {
        self.note(connection, |it| &mut it.closed, now);
    }

    fn note(
        &self,
        connection: u64,
        what: fn(&mut ConnectionObservation) -> &mut Option<u64>,
        now: u64,
    ) {
        let mut connections = self.0.lock();
        if let Some(it) = connections.iter_mut().rev().find(|it| it.connection == connection) {
            what(it).get_or_insert(now);
        }
    }
}

impl ServerState {
    /// Numbers what is seen now: greater than all before.
    pub(super) fn next_moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl DataCentre {
    /// How many connections of an account are open now and have used a key of it.
    #[must_use]
    pub fn live_connections(&self, account: AccountId) -> usize {
        self.key_observations(account).iter().map(|it| it.open).sum()
    }

    /// When the connections of each session of an account came and ended, in the order in which the sessions
    /// were made: whether a client has kept the rule of one connection per key, and how closely.
    ///
    /// ```no_run
    /// # fn check(data_centre: &telepool::sandbox::DataCentre, account: telepool::AccountId) {
    /// for key in data_centre.key_observations(account) {
    ///     for two in key.connections.windows(2) {
    ///         assert!(two[0].ended_before_first_packet_of(&two[1]), "{two:?}");
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn key_observations(&self, account: AccountId) -> Vec<KeyObservation> {
        let Some(user) = self.running.server.user(account) else { return Vec::new() };
        let keys = user.keys.lock().clone();
        let observe = |key: &Arc<Key>| KeyObservation {
            slot: key.login().map_or(0, |login| login.slot),
            open: key.connections.lock().len(),
            is_invalidated: key.is_invalidated.load(Ordering::Relaxed),
            connections: key.history.0.lock().iter().copied().collect(),
        };
        keys.iter().map(observe).collect()
    }

    /// How the clients of an account have introduced themselves last, with which application id and as which device,
    /// by the order in which its sessions were made; nothing of those that nobody has used.
    #[must_use]
    pub fn introductions(&self, account: AccountId) -> Vec<Option<(i32, ClientIdentity)>> {
        let Some(user) = self.running.server.user(account) else { return Vec::new() };
        let keys = user.keys.lock();
        let introduction = |key: &Arc<Key>| {
            let told = key.introduction.lock().clone()?;
            Some((told.api_id, told.identity))
        };
        keys.iter().map(introduction).collect()
    }

    /// From which addresses the keys of an account have been used so far, the first 64, each once: whether a
    /// client has come by way of a proxy.
    #[must_use]
    pub fn client_addresses(&self, account: AccountId) -> Vec<IpAddr> {
        self.running.server.user(account).map(|user| user.addresses()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_that_was_seen_counts_and_old_connections_are_forgotten() {
        let history = KeyHistory::default();
        history.note_first_packet(7, 1, 2);
        history.note_client_end(7, 5);
        history.note_client_end(7, 9);
        history.note_close(7, 6);
        history.note_first_packet(8, 4, 6);
        history.note_client_end(99, 10);
        let seen: Vec<_> = history.0.lock().iter().copied().collect();
        assert_eq!((seen[0].ended(), seen[1].ended()), (Some(5), None));
        assert!(seen[0].ended_before_first_packet_of(&seen[1]));
        assert!(!seen[0].ended_before_dial_of(&seen[1]));
        assert!(!seen[1].ended_before_first_packet_of(&seen[0]));
        for connection in 100..200 {
            history.note_first_packet(connection, connection, connection);
        }
        let kept = history.0.lock();
        assert_eq!((kept.len(), kept[0].connection), (CONNECTIONS_MAX, 196));
    }
}
