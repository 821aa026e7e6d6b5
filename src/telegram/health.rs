//! Health of a connection: what is known of it without asking the server.
//!
//! Owns the flags and times that the supervisor and the callers set and `is_broken` reads. Never does I/O.
//!
//! # Orderings
//! All accesses are relaxed. None guards other data: a reader that sees an old value
//! takes the connection for sound a moment longer, and its next call tells it otherwise.

use std::time::Duration;

use crate::base::clock::{Instant, millis, now};
use crate::base::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// How many calls may be given up on one connection. The client keeps the request of each until
/// the answer comes, which for a lost one is never.
const ABANDONED_MAX: u32 = 16;

#[derive(Debug)]
pub(super) struct ConnectionHealth {
    broken: AtomicBool,
    started: Instant,
    /// When the server last answered anything, in milliseconds since the start.
    answered: AtomicU64,
    /// Whether a call was given up since.
    unanswered: AtomicBool,
    /// When it last answered what only a session that is logged in may ask, as in a login check.
    logged_in: AtomicU64,
    /// Nobody wanted its updates when it was opened, so that it can bring none.
    without_updates: AtomicBool,
    abandoned: AtomicU32,
    /// How many of those it can bear.
    abandoned_max: u32,
}

impl Default for ConnectionHealth {
    fn default() -> Self {
        Self {
            broken: AtomicBool::default(),
            started: now(),
            answered: AtomicU64::default(),
            unanswered: AtomicBool::default(),
            logged_in: AtomicU64::default(),
            without_updates: AtomicBool::default(),
            abandoned: AtomicU32::default(),
            abandoned_max: ABANDONED_MAX,
        }
    }
}

impl ConnectionHealth {
    /// Of a connection on which a call that was given up leaves nothing behind.
    pub(super) fn unburdened() -> Self {
        Self { abandoned_max: u32::MAX, ..Self::default() }
    }

    /// The server has answered something.
    pub(super) fn note_answer(&self) {
        self.answered.store(self.age(), Ordering::Relaxed);
        self.unanswered.store(false, Ordering::Relaxed);
    }

    /// Whether a call was given up since the server last answered.
    pub(super) fn has_unanswered(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Whether the server has answered in this time, and left no call without an answer since.
    pub(super) fn has_answered_within(&self, time: Duration) -> bool {
        self.silence() <= time && !self.has_unanswered()
    }

    /// For how long the server has said nothing.
    pub(super) fn silence(&self) -> Duration {
        self.since(&self.answered)
    }

    /// The server has shown that the session is logged in.
    pub(super) fn note_login(&self) {
        self.logged_in.store(self.age(), Ordering::Relaxed);
    }

    /// Returns for how long nothing has shown that the session is logged in.
    pub(super) fn since_login(&self) -> Duration {
        self.since(&self.logged_in)
    }

    fn age(&self) -> u64 {
        millis(now().saturating_duration_since(self.started))
    }

    fn since(&self, then: &AtomicU64) -> Duration {
        Duration::from_millis(self.age().saturating_sub(then.load(Ordering::Relaxed)))
    }

    pub(super) fn mark_broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// The connection can bring no updates.
    pub(super) fn mark_without_updates(&self) {
        self.without_updates.store(true, Ordering::Relaxed);
    }

    /// Whether the connection can bring updates.
    pub(super) fn can_bring_updates(&self) -> bool {
        !self.without_updates.load(Ordering::Relaxed)
    }

    /// Whether the connection is dead.
    pub(super) fn is_dead(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Whether the connection is of no more use: dead, or burdened with too many lost calls.
    pub(super) fn is_broken(&self) -> bool {
        self.is_dead() || self.abandoned() >= self.abandoned_max
    }

    pub(super) fn abandoned(&self) -> u32 {
        self.abandoned.load(Ordering::Relaxed)
    }
}

/// A call under way: counts as abandoned unless it is answered.
pub(super) struct PendingCall<'a>(&'a ConnectionHealth);

impl<'a> PendingCall<'a> {
    pub(super) fn begin(health: &'a ConnectionHealth) -> Self {
        Self(health)
    }

    /// The call has its answer or its error.
    pub(super) fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        self.0.abandoned.fetch_add(1, Ordering::Relaxed);
        self.0.unanswered.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_without_an_answer_count_and_only_many_matter() {
        let health = ConnectionHealth::default();
        for _ in 0..100 {
            PendingCall::begin(&health).end();
        }
        for given_up in 0..ABANDONED_MAX {
            assert!(!health.is_broken(), "after {given_up}");
            drop(PendingCall::begin(&health));
        }
        assert!(health.is_broken());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_no_login_check_but_one_of_a_check_is_told_apart() {
        let (health, second) = (ConnectionHealth::default(), Duration::from_secs(1));
        tokio::time::advance(second).await;
        health.note_answer();
        tokio::time::advance(second).await;
        assert_eq!((health.silence(), health.since_login()), (second, 2 * second));
        health.note_login();
        assert_eq!(health.since_login(), Duration::ZERO);
        assert!(health.has_answered_within(second));
        drop(PendingCall::begin(&health));
        assert!(!health.has_answered_within(second), "the server has not seen that one");
        health.note_answer();
        assert!(health.has_answered_within(second));
    }

    #[test]
    fn broken_stays_broken() {
        let health = ConnectionHealth::default();
        health.mark_broken();
        assert!(health.is_broken() && health.is_dead());
    }

    #[test]
    fn one_that_can_bring_no_updates_still_works() {
        let health = ConnectionHealth::default();
        assert!(health.can_bring_updates());
        health.mark_without_updates();
        assert!(!health.can_bring_updates() && !health.is_broken());
    }
}
