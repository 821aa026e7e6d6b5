//! Cache of login checks: which sessions have passed one lately.
//!
//! Owns the time of each. Never asks the server.

use std::collections::HashMap;
use std::time::Duration;

use crate::account_id::AccountId;
use crate::base::clock::{Instant, now};
use crate::base::sync::Mutex;

/// The cache is not pruned of what has expired while it has fewer entries than this.
const PRUNE_MIN: usize = 1024;

/// The cache, by session and key.
#[derive(Debug)]
pub(super) struct LoginCache {
    /// For how long an entry counts.
    ttl: Duration,
    state: Mutex<CacheState>,
}

/// A login check under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingCheck {
    key: u64,
    forgotten: u64,
}

#[derive(Debug)]
struct CacheState {
    /// When each session passed its check, and with which key.
    checks: HashMap<(AccountId, u16), (Instant, u64)>,
    /// How often one was forgotten.
    forgotten: u64,
    /// At how many entries it is pruned.
    prune_at: usize,
}

impl LoginCache {
    pub(super) fn new(ttl: Duration) -> Self {
        let state = CacheState { checks: HashMap::new(), forgotten: 0, prune_at: PRUNE_MIN };
        Self { ttl, state: Mutex::new(state) }
    }

    /// A check begins. Returns whether the session has passed one with this key not long ago,
    /// and with what this one is to be noted.
    pub(super) fn begin(&self, account: AccountId, slot: u16, key: u64) -> (bool, PendingCheck) {
        let state = self.state.lock();
        let last = state.checks.get(&(account, slot));
        let fresh = last.is_some_and(|(at, with)| *with == key && now() - *at < self.ttl);
        (fresh, PendingCheck { key, forgotten: state.forgotten })
    }

    /// The session has passed its check just now. Not noted if any was forgotten since the check began:
    /// it may have been this one's.
    pub(super) fn note(&self, account: AccountId, slot: u16, begun: PendingCheck) {
        if self.ttl.is_zero() {
            return;
        }
        let now = now();
        let mut state = self.state.lock();
        if state.forgotten != begun.forgotten {
            return;
        }
        if state.checks.len() >= state.prune_at {
            state.checks.retain(|_, (at, _)| now - *at < self.ttl);
            state.prune_at = (2 * state.checks.len()).max(PRUNE_MIN);
        }
        state.checks.insert((account, slot), (now, begun.key));
    }

    /// The session is suspect: its next dial has to pass the check first.
    pub(super) fn forget(&self, account: AccountId, slot: u16) {
        let mut state = self.state.lock();
        state.forgotten += 1;
        state.checks.remove(&(account, slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(id: u64) -> AccountId {
        AccountId::bot(id).unwrap()
    }

    fn is_fresh(logins: &LoginCache, account: AccountId, slot: u16) -> bool {
        logins.begin(account, slot, 7).0
    }

    fn pass(logins: &LoginCache, account: AccountId) {
        let (_, begun) = logins.begin(account, 0, 7);
        logins.note(account, 0, begun);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_is_of_one_session_with_one_key_and_counts_for_a_time() {
        let logins = LoginCache::new(Duration::from_secs(10));
        pass(&logins, bot(1));
        assert!(is_fresh(&logins, bot(1), 0));
        assert!(!is_fresh(&logins, bot(1), 1) && !is_fresh(&logins, bot(2), 0));
        assert!(!logins.begin(bot(1), 0, 8).0, "another key");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!is_fresh(&logins, bot(1), 0));
        pass(&logins, bot(1));
        logins.forget(bot(1), 0);
        assert!(!is_fresh(&logins, bot(1), 0));
    }

    #[test]
    fn a_check_that_began_before_the_session_became_suspect_does_not_count() {
        let logins = LoginCache::new(Duration::from_secs(10));
        let (_, begun) = logins.begin(bot(1), 0, 7);
        logins.forget(bot(1), 0);
        logins.note(bot(1), 0, begun);
        assert!(!is_fresh(&logins, bot(1), 0));
    }

    #[test]
    fn nothing_is_kept_where_checks_do_not_count() {
        let logins = LoginCache::new(Duration::ZERO);
        pass(&logins, bot(1));
        assert!(!is_fresh(&logins, bot(1), 0));
        assert!(logins.state.lock().checks.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn old_checks_take_no_room() {
        let logins = LoginCache::new(Duration::from_secs(10));
        for round in 0..10 {
            for id in 1..=PRUNE_MIN as u64 {
                pass(&logins, bot(round * 10_000 + id));
            }
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        assert!(logins.state.lock().checks.len() <= PRUNE_MIN);
    }
}
