//! What is known of a connection without asking the server.
//!
//! Owns the words that the supervisor and the callers set and `is_broken` reads. Never does I/O.
//!
//! # Orderings
//! All accesses are relaxed. No word guards other data: a reader that sees an old value
//! takes the connection for sound a moment longer, and its next call tells it otherwise.

use std::time::Duration;

use crate::base::clock::{Instant, millis, now};
use crate::base::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// How many calls may be given up on one connection. The client keeps the request of each until
/// the answer comes, which for a lost one is never.
const ABANDONED_MAX: u32 = 16;

#[derive(Debug)]
pub(super) struct Health {
    broken: AtomicBool,
    started: Instant,
    /// When the server last answered anything, in milliseconds since the start.
    heard: AtomicU64,
    /// Whether a call was given up since.
    unanswered: AtomicBool,
    /// When it last answered what only a session that is logged in may ask.
    proved: AtomicU64,
    /// If it brings no updates: the number of the next subscription there will be. Zero if it does.
    deaf: AtomicU64,
    abandoned: AtomicU32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            broken: AtomicBool::default(),
            started: now(),
            heard: AtomicU64::default(),
            unanswered: AtomicBool::default(),
            proved: AtomicU64::default(),
            deaf: AtomicU64::default(),
            abandoned: AtomicU32::default(),
        }
    }
}

impl Health {
    /// The server has answered something.
    pub(super) fn hear(&self) {
        self.heard.store(self.age(), Ordering::Relaxed);
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
        self.since(&self.heard)
    }

    /// The server has shown that the session is logged in.
    pub(super) fn prove(&self) {
        self.proved.store(self.age(), Ordering::Relaxed);
    }

    /// For how long nothing has shown that the session is logged in.
    pub(super) fn unproved(&self) -> Duration {
        self.since(&self.proved)
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

    /// The connection brings no updates, after so many subscriptions.
    pub(super) fn mark_deaf(&self, subscriptions: u64) {
        self.deaf.store(subscriptions + 1, Ordering::Relaxed);
    }

    /// Whether the connection brings updates.
    pub(super) fn hears(&self) -> bool {
        self.deaf.load(Ordering::Relaxed) == 0
    }

    /// Whether the connection brings no updates, and somebody has come to want them.
    pub(super) fn is_missed(&self, subscriptions: impl FnOnce() -> u64) -> bool {
        let deaf = self.deaf.load(Ordering::Relaxed);
        deaf != 0 && subscriptions() >= deaf
    }

    /// Whether the connection is dead.
    pub(super) fn is_dead(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Whether the connection is of no more use: dead, or burdened with too many lost calls.
    pub(super) fn is_broken(&self) -> bool {
        self.is_dead() || self.abandoned() >= ABANDONED_MAX
    }

    pub(super) fn abandoned(&self) -> u32 {
        self.abandoned.load(Ordering::Relaxed)
    }
}

/// A call under way: counts as abandoned unless it is answered.
pub(super) struct Call<'a>(&'a Health);

impl<'a> Call<'a> {
    pub(super) fn begin(health: &'a Health) -> Self {
        Self(health)
    }

    /// The call has its answer or its error.
    pub(super) fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for Call<'_> {
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
        let health = Health::default();
        for _ in 0..100 {
            Call::begin(&health).end();
        }
        for given_up in 0..ABANDONED_MAX {
            assert!(!health.is_broken(), "after {given_up}");
            drop(Call::begin(&health));
        }
        assert!(health.is_broken());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_no_proof_of_the_login_but_a_proof_is_told_apart() {
        let (health, second) = (Health::default(), Duration::from_secs(1));
        tokio::time::advance(second).await;
        health.hear();
        tokio::time::advance(second).await;
        assert_eq!((health.silence(), health.unproved()), (second, 2 * second));
        health.prove();
        assert_eq!(health.unproved(), Duration::ZERO);
        assert!(health.has_answered_within(second));
        drop(Call::begin(&health));
        assert!(!health.has_answered_within(second), "the server has not seen that one");
        health.hear();
        assert!(health.has_answered_within(second));
    }

    #[test]
    fn broken_stays_broken() {
        let health = Health::default();
        health.mark_broken();
        assert!(health.is_broken() && health.is_dead());
    }

    #[test]
    fn a_deaf_one_is_missed_from_the_next_subscription_on() {
        let health = Health::default();
        assert!(health.hears() && !health.is_missed(|| 9));
        health.mark_deaf(3);
        assert!(!health.is_missed(|| 3) && health.is_missed(|| 4));
        assert!(!health.hears() && !health.is_broken(), "and it still works");
    }
}
