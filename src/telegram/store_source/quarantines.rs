//! Quarantines of a store's sessions, as this process knows them: what is not on disk yet counts already.
//!
//! Owns the few accounts that have any.

use std::collections::HashMap;

use crate::manager::QuarantineReason;
use crate::store::{StoreId, StoredAccount};

/// Which sessions are out of service, by account.
#[derive(Debug, Default)]
pub(super) struct SessionQuarantines(HashMap<StoreId, Box<[(u16, QuarantineReason)]>>);

impl SessionQuarantines {
    /// Takes in what the store says of an account. Slots without a session are out of service as well: whoever has
    /// removed it wants that.
    pub(super) fn take_in(&mut self, account: &StoredAccount) {
        let removed = account.gaps.iter().map(|slot| (*slot, QuarantineReason::Operator));
        let all: Box<[_]> = account.quarantines.iter().copied().chain(removed).collect();
        match all.is_empty() {
            true => self.0.remove(&account.id),
            false => self.0.insert(account.id, all),
        };
    }

    pub(super) fn of(&self, account: StoreId) -> Vec<(u16, QuarantineReason)> {
        self.0.get(&account).map(|all| all.to_vec()).unwrap_or_default()
    }

    pub(super) fn set(&mut self, account: StoreId, slot: u16, reason: Option<QuarantineReason>) {
        let mut all = self.0.remove(&account).map(Vec::from).unwrap_or_default();
        all.retain(|(other, _)| *other != slot);
        all.extend(reason.map(|reason| (slot, reason)));
        if !all.is_empty() {
            self.0.insert(account, all.into());
        }
    }
}
