//! Pings of a connection: by which the server keeps its end open, and shows that it is there.
//!
//! Owns when one is due, and when a server counts as silent. Never sends one itself.

use std::time::Duration;

use crate::base::clock::Instant;
use crate::telegram::wire::error::WireEnd;

/// When to ping.
#[derive(Debug)]
pub(super) struct Pings {
    every: Duration,
    next_at: Instant,
    is_due: bool,
    /// Since when none was answered.
    unanswered_since: Option<Instant>,
    /// When anything last came.
    heard_at: Instant,
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
            unanswered_since: Some(now),
            heard_at: now,
            refused: 0,
        }
    }

    /// Whether one is to be sent.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    pub(super) fn sent(&mut self) {
        self.is_due = false;
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
        (self.unanswered_since, self.refused) = (None, 0);
    }

    /// Something came, be it a part of a packet.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    pub(super) fn next_at(&self) -> Instant {
        self.next_at
    }

    /// To be called at [`next_at`](Self::next_at). A server that says other things has twice the time for its
    /// answer: they may stand before it.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), WireEnd> {
        if now < self.next_at {
            return Ok(());
        }
        if let Some(since) = self.unanswered_since {
            let has_said_nothing = self.heard_at <= since;
            if has_said_nothing || now.saturating_duration_since(since) >= 2 * self.every {
                return Err(WireEnd::Silent);
            }
        } else {
            self.unanswered_since = Some(now);
        }
        self.is_due = true;
        self.next_at = now + self.every;
        Ok(())
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
            pings.sent();
            pings.answered();
            assert!(pings.tick(pings.next_at() - Duration::from_millis(1)).is_ok());
            assert!(!pings.is_due());
            assert_eq!(pings.refused(), 1);
            assert!(pings.is_due());
            pings.sent();
            assert_eq!(pings.next_at(), start + (round + 1) * EVERY);
            pings.tick(pings.next_at()).unwrap();
        }
    }

    #[test]
    fn a_server_that_says_nothing_is_silent_and_one_that_says_other_things_a_little_later() {
        let start = now();
        let mut pings = Pings::new(EVERY, start);
        assert!(matches!(pings.tick(start + EVERY), Err(WireEnd::Silent)));
        let mut pings = Pings::new(EVERY, start);
        pings.heard(start + EVERY / 2);
        pings.tick(start + EVERY).unwrap();
        pings.heard(start + EVERY);
        assert!(matches!(pings.tick(start + 2 * EVERY), Err(WireEnd::Silent)));
    }
}
