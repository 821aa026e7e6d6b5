//! Quarantines of a store's sessions, as this process knows them: what is not on disk yet counts already.
//!
//! Owns the few accounts that have any, and which of that has still to be written.

use std::collections::HashMap;

use crate::manager::QuarantineReason;
use crate::store::{StoreId, StoredAccount};

/// Which sessions are out of service, by account.
#[derive(Debug, Default)]
pub(super) struct SessionQuarantines {
    known: HashMap<StoreId, Box<[(u16, QuarantineReason)]>>,
    /// What the store does not have yet, the last of each session.
    unwritten: HashMap<(StoreId, u16), Option<QuarantineReason>>,
}

impl SessionQuarantines {
    /// Takes in what the store says of an account. Slots without a session are out of service as well: whoever has
    /// removed it wants that. Returns whether sessions went out of service by that, or came back.
    pub(super) fn take_in(&mut self, account: &StoredAccount) -> bool {
        let removed = account.gaps.iter().map(|slot| (*slot, QuarantineReason::Operator));
        let mut all: Vec<_> = account.quarantines.iter().copied().chain(removed).collect();
        for ((id, slot), reason) in &self.unwritten {
            if *id == account.id {
                all.retain(|(other, _)| other != slot);
                all.extend(reason.map(|reason| (*slot, reason)));
            }
        }
        all.sort_unstable_by_key(|(slot, _)| *slot);
        let before = self.of(account.id);
        match all.is_empty() {
            true => self.known.remove(&account.id),
            false => self.known.insert(account.id, all.as_slice().into()),
        };
        let slots = |all: &[(u16, QuarantineReason)]| -> Vec<u16> {
            all.iter().map(|(slot, _)| *slot).collect()
        };
        slots(&before) != slots(&all)
    }

    /// Those of an account, in the order of its slots.
    pub(super) fn of(&self, account: StoreId) -> Vec<(u16, QuarantineReason)> {
        self.known.get(&account).map(|all| all.to_vec()).unwrap_or_default()
    }

    /// Notes what has still to be written.
    pub(super) fn set(&mut self, account: StoreId, slot: u16, reason: Option<QuarantineReason>) {
        self.unwritten.insert((account, slot), reason);
        let mut all = self.known.remove(&account).map(Vec::from).unwrap_or_default();
        all.retain(|(other, _)| *other != slot);
        all.extend(reason.map(|reason| (slot, reason)));
        all.sort_unstable_by_key(|(slot, _)| *slot);
        if !all.is_empty() {
            self.known.insert(account, all.into());
        }
    }

    /// It is in the store, unless something else has come since.
    pub(super) fn written(
        &mut self,
        account: StoreId,
        slot: u16,
        reason: Option<QuarantineReason>,
    ) {
        if self.unwritten.get(&(account, slot)) == Some(&reason) {
            self.unwritten.remove(&(account, slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: StoreId = StoreId::new(7);

    fn stored(quarantines: &[(u16, QuarantineReason)]) -> StoredAccount {
        let mut account = StoredAccount::empty(ACCOUNT);
        account.quarantines = quarantines.to_vec();
        account
    }

    #[test]
    fn what_is_not_on_disk_yet_is_not_forgotten_for_what_is() {
        let dead = (1, QuarantineReason::Dead);
        let mut quarantines = SessionQuarantines::default();
        quarantines.set(ACCOUNT, 1, Some(QuarantineReason::Dead));
        assert!(!quarantines.take_in(&stored(&[])), "the store does not know it yet");
        assert_eq!(quarantines.of(ACCOUNT), [dead]);
        // Lifted before the first was written: that is the one which counts.
        quarantines.set(ACCOUNT, 1, None);
        quarantines.written(ACCOUNT, 1, Some(QuarantineReason::Dead));
        assert!(!quarantines.take_in(&stored(&[dead])));
        assert_eq!(quarantines.of(ACCOUNT), []);
        quarantines.written(ACCOUNT, 1, None);
        assert!(quarantines.take_in(&stored(&[dead])), "somebody else has quarantined it");
        assert_eq!(quarantines.of(ACCOUNT), [dead]);
    }
}
