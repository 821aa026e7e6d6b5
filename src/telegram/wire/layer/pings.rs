//! Pings of a connection: by which the server keeps its end open, and shows that it is there.
//!
//! Owns when one is due, and when a server counts as silent. Never sends one itself.
//!
//! # Silence
//! An answer is waited for from the moment at which the ping has left, not from when it was due: on a busy line
//! what stands before it may take its time. Whatever comes meanwhile shows that there is somebody, and so does a
//! socket that takes more after it was full. But a server that talks and never answers is no use either: it is left
//! after [`PATIENCE`] rounds.

use std::time::Duration;

use crate::base::clock::Instant;
use crate::telegram::wire::error::WireEnd;

/// For how many rounds a ping may stay without an answer while other things come: 120 s of 15 s each.
const PATIENCE: u32 = 8;

/// When to ping.
#[derive(Debug)]
pub(super) struct Pings {
    every: Duration,
    next_at: Instant,
    is_due: bool,
    /// One is packed, and has not left yet.
    is_leaving: bool,
    /// Since when an answer is owed: from when the first ping without one was due.
    owed_since: Option<Instant>,
    /// When that one had left.
    left_at: Option<Instant>,
    /// When the last one had left.
    last_left_at: Option<Instant>,
    /// When the other side last showed that it is there.
    alive_at: Instant,
    /// How many were refused since one was answered.
    refused: u32,
}

impl Pings {
    /// The first one is due at once: it is what a connection begins with.
    pub(super) fn new(every: Duration, now: Instant) -> Self {
        let every = every.max(Duration::from_millis(1));
        Self {
            every,
            next_at: now + every,
            is_due: true,
            is_leaving: false,
            owed_since: None,
            left_at: None,
            last_left_at: None,
            alive_at: now,
            refused: 0,
        }
    }

    /// Whether one is to be sent.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// One is packed.
    pub(super) fn sent(&mut self, now: Instant) {
        (self.is_due, self.is_leaving) = (false, true);
        self.owe(now);
    }

    /// All that was packed has left.
    pub(super) fn left(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_leaving) {
            self.left_at.get_or_insert(now);
            self.last_left_at = Some(now);
        }
    }

    /// When the last one had left: so long after it the server closes its end at the latest.
    pub(super) fn last_left_at(&self) -> Option<Instant> {
        self.last_left_at
    }

    /// Another one is to be sent at once.
    pub(super) fn send_now(&mut self) {
        self.is_due = true;
    }

    /// The server has not taken the last one. Returns how many in a row.
    pub(super) fn refused(&mut self) -> u32 {
        self.is_due = true;
        self.refused += 1;
        self.refused
    }

    pub(super) fn answered(&mut self) {
        (self.owed_since, self.left_at, self.refused) = (None, None, 0);
    }

    /// Something came, be it a part of a packet, or a socket that was full takes more.
    pub(super) fn heard(&mut self, now: Instant) {
        self.alive_at = now;
    }

    /// When the next one is due.
    pub(super) fn next_at(&self) -> Instant {
        self.next_at
    }

    /// When [`tick`](Self::tick) is to be called.
    pub(super) fn wakes_at(&self) -> Instant {
        self.silent_at().map_or(self.next_at, |silent_at| silent_at.min(self.next_at))
    }

    /// Does what is due. An error is the end: nobody is there.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), WireEnd> {
        if self.silent_at().is_some_and(|silent_at| silent_at <= now) {
            return Err(WireEnd::Silent);
        }
        if self.next_at <= now {
            self.is_due = true;
            self.next_at = now + self.every;
            self.owe(now);
        }
        Ok(())
    }

    fn owe(&mut self, now: Instant) {
        if self.owed_since.is_none() {
            (self.owed_since, self.left_at) = (Some(now), None);
        }
    }

    /// When the server counts as silent, if an answer is owed.
    fn silent_at(&self) -> Option<Instant> {
        let owed_since = self.owed_since?;
        let shown_at = self.left_at.unwrap_or(owed_since).max(self.alive_at);
        Some((shown_at + self.every).min(owed_since + self.every * PATIENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::now;

    const EVERY: Duration = Duration::from_secs(15);

    #[test]
    fn one_is_due_at_first_and_then_as_often_as_told() {
        let start = now();
        let mut pings = Pings::new(EVERY, start);
        for round in 0..4 {
            assert!(pings.is_due(), "{round}");
            let now = start + round * EVERY;
            pings.sent(now);
            pings.left(now);
            pings.answered();
            assert!(pings.tick(pings.next_at() - Duration::from_millis(1)).is_ok());
            assert!(!pings.is_due());
            assert_eq!(pings.refused(), 1);
            assert!(pings.is_due());
            pings.sent(now);
            pings.answered();
            assert_eq!(pings.wakes_at(), start + (round + 1) * EVERY);
            pings.tick(pings.wakes_at()).unwrap();
        }
        assert_eq!(pings.last_left_at(), Some(start + 3 * EVERY));
    }

    #[test]
    fn a_server_is_silent_that_says_nothing_once_a_ping_has_left() {
        let start = now();
        let mut pings = Pings::new(EVERY, start);
        pings.tick(start + 100 * EVERY).unwrap();
        let begun = start + 100 * EVERY;
        pings.sent(begun);
        // What stands before it takes its time, and moves.
        for second in 1..40 {
            let now = begun + Duration::from_secs(second);
            pings.heard(now);
            pings.tick(now).unwrap();
        }
        let left = begun + Duration::from_secs(40);
        pings.left(left);
        assert_eq!(pings.wakes_at(), begun + 3 * EVERY, "another one is due");
        pings.tick(begun + 3 * EVERY).unwrap();
        assert_eq!(pings.wakes_at(), left + EVERY);
        assert!(matches!(pings.tick(left + EVERY), Err(WireEnd::Silent)));
    }

    #[test]
    fn a_socket_that_takes_nothing_more_is_silent_as_well() {
        let start = now();
        let mut pings = Pings::new(EVERY, start);
        pings.sent(start);
        pings.heard(start + EVERY / 2);
        assert_eq!(pings.wakes_at(), start + EVERY);
        pings.tick(start + EVERY).unwrap();
        assert!(matches!(pings.tick(start + EVERY + EVERY / 2), Err(WireEnd::Silent)));
    }

    #[test]
    fn one_that_says_other_things_for_ever_is_left_in_the_end() {
        let start = now();
        let mut pings = Pings::new(EVERY, start);
        let mut at = start;
        let end = loop {
            if pings.is_due() {
                pings.sent(at);
                pings.left(at);
            }
            at += Duration::from_secs(1);
            pings.heard(at);
            if let Err(end) = pings.tick(at) {
                break end;
            }
        };
        assert!(matches!(end, WireEnd::Silent));
        assert_eq!(at, start + Duration::from_secs(120));
    }
}
