//! Progress of a connection: what it is at, and until when that may last.
//!
//! Owns the deadlines. Pure: times come in as arguments.

use std::time::Duration;

use super::limits::ServeLimits;
use crate::base::clock::Instant;

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing of the next request has come.
    Idle,
    /// The head of a request is to come, or comes.
    Head,
    /// A request is answered.
    Request,
    /// A stream of events is under way.
    Stream,
}

/// How far a connection is.
#[derive(Debug)]
pub(super) struct Progress {
    phase: Phase,
    since: Instant,
    /// The answer has been handed over, although perhaps not sent.
    is_answered: bool,
    /// Since when the client has taken nothing of what is to be sent.
    stalled_since: Option<Instant>,
}

impl Progress {
    /// Of a connection that has just been accepted.
    pub(super) fn new(now: Instant) -> Self {
        Self { phase: Phase::Head, since: now, is_answered: false, stalled_since: None }
    }

    /// Some bytes have come.
    pub(super) fn read(&mut self, now: Instant) {
        if self.phase == Phase::Idle {
            self.enter(Phase::Head, now);
        }
    }

    /// The head of a request has come.
    pub(super) fn asked(&mut self, now: Instant) {
        self.enter(Phase::Request, now);
        self.is_answered = false;
    }

    /// Its answer is a stream of events.
    pub(super) fn streams(&mut self, now: Instant) {
        self.enter(Phase::Stream, now);
    }

    /// All of the answer has been handed over.
    pub(super) fn answered(&mut self) {
        self.is_answered = true;
    }

    /// All that was handed over has been sent.
    pub(super) fn flushed(&mut self, now: Instant) {
        if self.is_answered && !self.awaits_request() {
            self.enter(Phase::Idle, now);
        }
    }

    /// The client takes no more for now.
    pub(super) fn stalled(&mut self, now: Instant) {
        self.stalled_since.get_or_insert(now);
    }

    /// The client has taken something.
    pub(super) fn wrote(&mut self) {
        self.stalled_since = None;
    }

    /// Whether no request is under way.
    fn awaits_request(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Head)
    }

    /// Whether nothing is lost if the connection ends now: no request is under way, or only a stream of
    /// events that nobody reads.
    pub(super) fn may_end(&self) -> bool {
        let is_unread = self.phase == Phase::Stream && self.stalled_since.is_some();
        self.awaits_request() || is_unread
    }

    /// When the connection is to be closed unless it gets on.
    pub(super) fn deadline(&self, limits: &ServeLimits) -> Option<Instant> {
        let after = |since: Instant, limit: Duration| since.checked_add(limit);
        match self.phase {
            Phase::Idle => after(self.since, limits.idle_timeout),
            Phase::Head => after(self.since, limits.head_timeout),
            Phase::Request => after(self.since, limits.request_timeout),
            Phase::Stream => self.stalled_since.and_then(|it| after(it, limits.write_timeout)),
        }
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        (self.phase, self.since) = (phase, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::now;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_phase_has_its_time_and_a_stream_only_while_nobody_reads_it() {
        let (limits, start) = (ServeLimits::default(), now());
        let mut it = Progress::new(start);
        let left = |it: &Progress| it.deadline(&limits).map(|at| at - start);
        assert_eq!(left(&it), Some(10 * SECOND));
        it.read(start + SECOND);
        assert_eq!(left(&it), Some(10 * SECOND), "a byte gains no time");
        it.asked(start + SECOND);
        it.read(start + 2 * SECOND);
        it.flushed(start + 2 * SECOND);
        assert_eq!(left(&it), Some(31 * SECOND), "the head of an answer is not all of it");
        it.answered();
        it.stalled(start + 3 * SECOND);
        assert_eq!(left(&it), Some(31 * SECOND));
        it.wrote();
        it.flushed(start + 4 * SECOND);
        assert_eq!(left(&it), Some(34 * SECOND));
        assert!(it.may_end());
        it.read(start + 5 * SECOND);
        assert_eq!(left(&it), Some(15 * SECOND));
        it.asked(start + 6 * SECOND);
        it.streams(start + 7 * SECOND);
        assert!(left(&it).is_none() && !it.may_end());
        it.stalled(start + 8 * SECOND);
        it.stalled(start + 9 * SECOND);
        assert_eq!(left(&it), Some(18 * SECOND));
        assert!(it.may_end(), "nobody reads it");
        it.wrote();
        assert_eq!(left(&it), None);
    }
}
