//! Health of an account, as callers and metrics see it.
//!
//! Owns the translation of the engine's facts into [`AccountHealth`]. Changes nothing.

use std::time::Duration;

use crate::account_health::{AccountHealth, Cooldown};
use crate::base::clock::Tick;
use crate::engine::health::Unready;
use crate::manager::{Manager, QuarantineReason};
use crate::runtime::account::AccountInner;

impl<M: Manager> AccountInner<M> {
    /// The health of the account, with every method that must rest.
    pub(crate) fn health(&self, now: Tick) -> AccountHealth {
        self.health_with(now, || self.cooldowns(now))
    }

    /// Every method that must rest.
    pub(crate) fn cooldowns(&self, now: Tick) -> Vec<Cooldown> {
        let left = |until: Tick| Duration::from_millis(until.saturating_sub(now));
        let rests = self.pool.cooldowns(now).into_iter();
        rests.map(|(key, until)| Cooldown::new(key, left(until))).collect()
    }

    /// The same without the list of those methods, which a listing does not need: nothing is allocated.
    pub(crate) fn health_in_short(&self, now: Tick) -> AccountHealth {
        self.health_with(now, Vec::new)
    }

    fn health_with(&self, now: Tick, cooldowns: impl FnOnce() -> Vec<Cooldown>) -> AccountHealth {
        match self.pool.unready() {
            None if self.pool.is_paused() => AccountHealth::Paused,
            None => match self.pool.rests_until(now) {
                Some(until) => {
                    AccountHealth::Resting { remaining: Duration::from_millis(until - now) }
                }
                None if self.pool.cooling_for_any(now).is_some() => {
                    AccountHealth::Cooling(cooldowns())
                }
                None => AccountHealth::Ready,
            },
            Some(Unready::Quarantined(QuarantineReason::Suspect)) => AccountHealth::Suspect,
            Some(Unready::Quarantined(reason)) => AccountHealth::Quarantined(reason),
            Some(Unready::NoSession) => AccountHealth::NoSession,
            Some(Unready::Draining) => AccountHealth::Draining,
            Some(Unready::Closed) => AccountHealth::Closed,
        }
    }
}
