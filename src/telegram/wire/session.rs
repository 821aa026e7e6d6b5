//! Session of a connection: its id, and how its messages are numbered.
//!
//! Owns the ids and the sequence numbers. Never reads a clock, and never numbers a message twice.

use std::time::Duration;

/// What messages are numbered by.
#[derive(Debug)]
pub(super) struct WireSession {
    /// As every packet names it.
    pub(super) id: i64,
    /// Counts the sessions of a connection.
    pub(super) number: u32,
    last_id: i64,
    /// How many messages went out that want an acknowledgement.
    content_count: u32,
}

impl WireSession {
    pub(super) fn new(id: i64) -> Self {
        Self { id, number: 0, last_id: 0, content_count: 0 }
    }

    /// Begins anew, with other ids: what was numbered so far belongs to the session before.
    pub(super) fn renew(&mut self, id: i64) {
        *self = Self { id, number: self.number + 1, last_id: 0, content_count: 0 };
    }

    /// The id of the next message: the time by the server's clock, and greater than the one before.
    pub(super) fn next_id(&mut self, server_time: Duration) -> i64 {
        self.last_id = id_at(server_time).max(self.last_id.saturating_add(4));
        self.last_id
    }

    /// The number of the next message; odd if the server is to acknowledge it.
    pub(super) fn next_sequence(&mut self, is_content: bool) -> u32 {
        let before = self.content_count;
        self.content_count = before.wrapping_add(is_content.into());
        before.wrapping_mul(2).wrapping_add(is_content.into())
    }
}

/// The first id of an instant, since 1970.
pub(super) fn id_at(time: Duration) -> i64 {
    let seconds = i64::from(i32::try_from(time.as_secs()).unwrap_or(i32::MAX));
    let fraction = (i64::from(time.subsec_nanos()) << 32) / 1_000_000_000;
    seconds << 32 | (fraction & !3)
}

/// The second in which a message was made, since 1970.
pub(super) fn second_of(id: i64) -> i64 {
    id >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend_whatever_the_clock_does_and_tell_the_time() {
        let (mut session, noon) = (WireSession::new(1), Duration::from_secs(1_700_000_000));
        let mut last = 0;
        for (after, second) in [(0, 0), (0, 0), (7_000, 7), (3_000, 7), (8_500, 8)] {
            let id = session.next_id(noon + Duration::from_millis(after));
            assert!(id > last && id % 4 == 0);
            assert_eq!(second_of(id), 1_700_000_000 + second);
            last = id;
        }
        session.renew(2);
        assert!(session.next_id(noon) < last, "another session counts for itself");
        assert!(session.next_id(Duration::MAX) > 0);
        assert_eq!((session.id, session.number), (2, 1));
    }

    #[test]
    fn what_wants_an_acknowledgement_is_odd_and_counts() {
        let mut session = WireSession::new(1);
        let numbers = [true, false, true, true, false].map(|it| session.next_sequence(it));
        assert_eq!(numbers, [1, 2, 3, 5, 6]);
    }
}
