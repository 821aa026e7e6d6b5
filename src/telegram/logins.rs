//! Which sessions have proved lately that they are logged in.
//!
//! Owns the time of each proof. Never asks the server.

use std::collections::HashMap;
use std::time::Duration;

use crate::account_id::AccountId;
use crate::base::clock::{Instant, now};
use crate::base::sync::Mutex;

/// Fewer proofs than this are never looked through for those that are of no more worth.
const SWEPT_AT_LEAST: usize = 1024;

#[derive(Debug)]
pub(super) struct Logins {
    /// For how long a proof is worth something.
    lasts: Duration,
    proofs: Mutex<Proofs>,
}

/// A proof under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    key: u64,
    forgotten: u64,
}

#[derive(Debug)]
struct Proofs {
    /// When, and with which key.
    of: HashMap<(AccountId, u16), (Instant, u64)>,
    /// How often one was forgotten.
    forgotten: u64,
    /// At how many they are looked through.
    swept_at: usize,
}

impl Logins {
    pub(super) fn new(lasts: Duration) -> Self {
        let proofs = Proofs { of: HashMap::new(), forgotten: 0, swept_at: SWEPT_AT_LEAST };
        Self { lasts, proofs: Mutex::new(proofs) }
    }

    /// A proof begins. Returns whether the session has proved its login with this key not long ago,
    /// and with what the proof is to be noted.
    pub(super) fn begin(&self, account: AccountId, slot: u16, key: u64) -> (bool, Begun) {
        let proofs = self.proofs.lock();
        let last = proofs.of.get(&(account, slot));
        let fresh = last.is_some_and(|(at, with)| *with == key && now() - *at < self.lasts);
        (fresh, Begun { key, forgotten: proofs.forgotten })
    }

    /// The session has proved its login just now. Not noted if any was forgotten since the proof began:
    /// it may have been this one's.
    pub(super) fn note(&self, account: AccountId, slot: u16, begun: Begun) {
        if self.lasts.is_zero() {
            return;
        }
        let now = now();
        let mut proofs = self.proofs.lock();
        if proofs.forgotten != begun.forgotten {
            return;
        }
        if proofs.of.len() >= proofs.swept_at {
            proofs.of.retain(|_, (at, _)| now - *at < self.lasts);
            proofs.swept_at = (2 * proofs.of.len()).max(SWEPT_AT_LEAST);
        }
        proofs.of.insert((account, slot), (now, begun.key));
    }

    /// The session is in doubt: its next dial has to prove the login first.
    pub(super) fn forget(&self, account: AccountId, slot: u16) {
        let mut proofs = self.proofs.lock();
        proofs.forgotten += 1;
        proofs.of.remove(&(account, slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(id: u64) -> AccountId {
        AccountId::bot(id).unwrap()
    }

    fn is_fresh(logins: &Logins, account: AccountId, slot: u16) -> bool {
        logins.begin(account, slot, 7).0
    }

    fn prove(logins: &Logins, account: AccountId) {
        let (_, begun) = logins.begin(account, 0, 7);
        logins.note(account, 0, begun);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proof_is_of_one_session_with_one_key_and_of_worth_for_a_time() {
        let logins = Logins::new(Duration::from_secs(10));
        prove(&logins, bot(1));
        assert!(is_fresh(&logins, bot(1), 0));
        assert!(!is_fresh(&logins, bot(1), 1) && !is_fresh(&logins, bot(2), 0));
        assert!(!logins.begin(bot(1), 0, 8).0, "another key");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!is_fresh(&logins, bot(1), 0));
        prove(&logins, bot(1));
        logins.forget(bot(1), 0);
        assert!(!is_fresh(&logins, bot(1), 0));
    }

    #[test]
    fn a_proof_from_before_a_doubt_is_of_no_worth_after_it() {
        let logins = Logins::new(Duration::from_secs(10));
        let (_, begun) = logins.begin(bot(1), 0, 7);
        logins.forget(bot(1), 0);
        logins.note(bot(1), 0, begun);
        assert!(!is_fresh(&logins, bot(1), 0));
    }

    #[test]
    fn nothing_is_kept_where_proofs_are_of_no_worth() {
        let logins = Logins::new(Duration::ZERO);
        prove(&logins, bot(1));
        assert!(!is_fresh(&logins, bot(1), 0));
        assert!(logins.proofs.lock().of.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn old_proofs_take_no_room() {
        let logins = Logins::new(Duration::from_secs(10));
        for round in 0..10 {
            for id in 1..=SWEPT_AT_LEAST as u64 {
                prove(&logins, bot(round * 10_000 + id));
            }
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        assert!(logins.proofs.lock().of.len() <= SWEPT_AT_LEAST);
    }
}
