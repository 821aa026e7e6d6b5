//! Which sessions have proved lately that they are logged in.
//!
//! Owns the time of each proof. Never asks the server.

use std::collections::HashMap;
use std::time::Duration;

use crate::account::AccountId;
use crate::clock::{Instant, now};
use crate::sync::Mutex;

/// Fewer proofs than this are never looked through for those that are of no more worth.
const SWEPT_AT_LEAST: usize = 1024;

#[derive(Debug)]
pub(super) struct Logins {
    /// For how long a proof is worth something.
    lasts: Duration,
    proofs: Mutex<Proofs>,
}

#[derive(Debug)]
struct Proofs {
    at: HashMap<(AccountId, u16), Instant>,
    /// At how many they are looked through.
    swept_at: usize,
}

impl Logins {
    pub(super) fn new(lasts: Duration) -> Self {
        let proofs = Proofs { at: HashMap::new(), swept_at: SWEPT_AT_LEAST };
        Self { lasts, proofs: Mutex::new(proofs) }
    }

    /// Whether the session has proved its login, and not long ago.
    pub(super) fn are_fresh(&self, account: AccountId, slot: u16) -> bool {
        let proofs = self.proofs.lock();
        proofs.at.get(&(account, slot)).is_some_and(|at| now() - *at < self.lasts)
    }

    /// The session has proved its login just now.
    pub(super) fn note(&self, account: AccountId, slot: u16) {
        if self.lasts.is_zero() {
            return;
        }
        let now = now();
        let mut proofs = self.proofs.lock();
        if proofs.at.len() >= proofs.swept_at {
            proofs.at.retain(|_, at| now - *at < self.lasts);
            proofs.swept_at = (2 * proofs.at.len()).max(SWEPT_AT_LEAST);
        }
        proofs.at.insert((account, slot), now);
    }

    /// The session is in doubt: its next dial has to prove the login first.
    pub(super) fn forget(&self, account: AccountId, slot: u16) {
        self.proofs.lock().at.remove(&(account, slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(id: u64) -> AccountId {
        AccountId::bot(id).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_proof_is_of_one_session_and_of_worth_for_a_time() {
        let logins = Logins::new(Duration::from_secs(10));
        logins.note(bot(1), 0);
        assert!(logins.are_fresh(bot(1), 0));
        assert!(!logins.are_fresh(bot(1), 1) && !logins.are_fresh(bot(2), 0));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!logins.are_fresh(bot(1), 0));
        logins.note(bot(1), 0);
        logins.forget(bot(1), 0);
        assert!(!logins.are_fresh(bot(1), 0));
    }

    #[test]
    fn nothing_is_kept_where_proofs_are_of_no_worth() {
        let logins = Logins::new(Duration::ZERO);
        logins.note(bot(1), 0);
        assert!(!logins.are_fresh(bot(1), 0));
        assert!(logins.proofs.lock().at.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn old_proofs_take_no_room() {
        let logins = Logins::new(Duration::from_secs(10));
        for round in 0..10 {
            for id in 1..=SWEPT_AT_LEAST as u64 {
                logins.note(bot(round * 10_000 + id), 0);
            }
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        assert!(logins.proofs.lock().at.len() <= SWEPT_AT_LEAST);
    }
}
