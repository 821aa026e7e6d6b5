//! What the server remembers of an MTProto session, past the connection that it is used on.
//!
//! Owns the sessions of a key, within a limit. Never reads a packet.

use std::sync::Arc;

use super::kept::KeptMessages;
use super::received::ReceivedMessages;
use super::reply::ReplyMessage;
use crate::base::sync::Mutex;

/// How many sessions of a key are remembered: a client uses one at a time, and leaves it behind when it
/// begins another.
const SESSIONS_MAX: usize = 2;
/// How many messages that have not left when a connection ended wait for the next one.
const UNSENT_MAX: usize = 256;

/// A session, as all connections that use it share it.
pub(in crate::sandbox) struct ServerSession {
    /// The number that the client has chosen.
    pub(super) id: i64,
    pub(super) memory: Mutex<SessionMemory>,
}

/// What is remembered of a session.
#[derive(Default)]
pub(super) struct SessionMemory {
    /// The lowest id of a message when the client was last told that the session is new.
    pub(super) announced: Option<i64>,
    /// The client has had it destroyed: its next message makes a new one.
    pub(super) is_destroyed: bool,
    pub(super) received: ReceivedMessages,
    pub(super) kept: KeptMessages,
    /// What was to go out when the connection ended.
    pub(super) unsent: Vec<ReplyMessage>,
    /// How many messages went out that want an acknowledgement.
    sent: u32,
}

impl ServerSession {
    pub(super) fn new(id: i64) -> Self {
        Self { id, memory: Mutex::default() }
    }

    /// What a connection has before its first packet: none that any packet could mean.
    pub(super) fn none() -> Self {
        let memory = SessionMemory { is_destroyed: true, ..SessionMemory::default() };
        Self { id: 0, memory: Mutex::new(memory) }
    }

    /// Keeps what has not left on a connection for the next one.
    pub(super) fn keep_unsent(&self, mut message: ReplyMessage) {
        // What it holds does not hold it.
        message.session = None;
        let mut memory = self.memory.lock();
        if memory.unsent.len() < UNSENT_MAX {
            memory.unsent.push(message);
        }
    }
}

impl std::fmt::Debug for ServerSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerSession").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SessionMemory {
    /// The sequence number of the next message: odd if the client is to acknowledge it.
    pub(super) fn next_sequence(&mut self, wants_acknowledgement: bool) -> u32 {
        let sequence = self.sent.wrapping_mul(2);
        if !wants_acknowledgement {
            return sequence;
        }
        self.sent = self.sent.wrapping_add(1);
        sequence | 1
    }
}

/// The sessions of a key, the one that was begun last at the end.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct SessionTable(Vec<Arc<ServerSession>>);

impl SessionTable {
    pub(super) fn find(&self, id: i64) -> Option<Arc<ServerSession>> {
        self.0.iter().find(|it| it.id == id).cloned()
    }

    pub(super) fn add(&mut self, session: Arc<ServerSession>) {
        self.0.retain(|it| it.id != session.id);
        if self.0.len() == SESSIONS_MAX {
            self.0.remove(0);
        }
        self.0.push(session);
    }

    /// Forgets all sessions. Returns how many there were.
    pub(in crate::sandbox) fn forget(&mut self) -> usize {
        let sessions = std::mem::take(&mut self.0);
        sessions.iter().for_each(|it| it.memory.lock().is_destroyed = true);
        sessions.len()
    }

    /// Forgets a session. Returns whether there was one.
    pub(super) fn destroy(&mut self, id: i64) -> bool {
        let Some(place) = self.0.iter().position(|it| it.id == id) else { return false };
        self.0.remove(place).memory.lock().is_destroyed = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_session_is_forgotten_and_one_that_is_destroyed_knows_it() {
        let mut table = SessionTable::default();
        (1..=4).for_each(|id| table.add(Arc::new(ServerSession::new(id))));
        let found = |table: &SessionTable| [1, 2, 3, 4].map(|id| table.find(id).is_some());
        assert_eq!(found(&table), [false, false, true, true]);
        let held = [3, 4].map(|id| table.find(id).unwrap());
        assert!(table.destroy(3) && !table.destroy(3));
        assert_eq!(found(&table), [false, false, false, true]);
        assert_eq!((table.forget(), table.forget()), (1, 0));
        assert!(held.iter().all(|it| it.memory.lock().is_destroyed));
    }

    #[test]
    fn only_what_wants_an_acknowledgement_is_counted() {
        let mut memory = SessionMemory::default();
        let sequences = [false, true, false, true, true, false].map(|it| memory.next_sequence(it));
        assert_eq!(sequences, [0, 1, 2, 3, 5, 6]);
    }
}
