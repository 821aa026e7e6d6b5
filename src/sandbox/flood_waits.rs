//! Flood waits: which methods somebody is refused, and until when.
//!
//! Owns the times. Never refuses anything itself.

use std::collections::HashMap;
use std::time::Duration;

use crate::base::clock::{Instant, now};
use crate::base::sync::Mutex;

/// Until when each method is refused with `FLOOD_WAIT_X`.
#[derive(Default)]
pub(super) struct FloodWaits(Mutex<HashMap<u32, Instant>>);

impl FloodWaits {
    /// For how many seconds a method is still refused.
    pub(super) fn remaining(&self, method: u32) -> Option<u32> {
        let mut waits = self.0.lock();
        let left = waits.get(&method)?.saturating_duration_since(now());
        if left.is_zero() {
            waits.remove(&method);
            return None;
        }
        Some(u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
    }

    /// Refuses a method from now on, for so many seconds.
    pub(super) fn start(&self, method: u32, seconds: u32) {
        let until = now() + Duration::from_secs(seconds.into());
        self.0.lock().insert(method, until);
    }
}
