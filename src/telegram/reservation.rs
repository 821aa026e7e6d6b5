//! Keys that are kept for dials which wait for their turn.
//!
//! Owns the locked keys from a slot's clearance to its dial. Never dials, and never locks a key itself.

use std::collections::HashMap;
use std::sync::Arc;

use super::key_lock::KeyGuard;
use crate::account_id::AccountId;
use crate::base::sync::Mutex;

type Slot = (AccountId, u16);
type Locked = Arc<Mutex<HashMap<Slot, KeyGuard>>>;

/// The locked key of each dial that waits for its turn.
#[derive(Default)]
pub(super) struct Reservations(Locked);

/// A key that is kept for a dial. Gives it back when dropped, unless the dial has begun.
pub(super) struct Reservation {
    locked: Locked,
    slot: Slot,
}

impl Reservations {
    /// Keeps a key for the dial that was just cleared.
    pub(super) fn reserve(&self, slot: Slot, guard: KeyGuard) -> Reservation {
        let before = self.0.lock().insert(slot, guard);
        drop(before);
        Reservation { locked: Arc::clone(&self.0), slot }
    }

    /// The key that was kept for a dial, which begins.
    pub(super) fn take(&self, slot: Slot) -> Option<KeyGuard> {
        self.0.lock().remove(&slot)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let unused = self.locked.lock().remove(&self.slot);
        drop(unused);
    }
}
