//! The pause of an account: acquires wait, and everything else goes on.
//!
//! Owns PAUSED, the flag of the gate, which changes under the lock only. While it is set, a dispatch serves
//! nobody and orders no dial, and no dial is begun but to look at a suspect session. Leases that are held
//! come back, dials under way end, and connections age as usual: what comes free lies idle. Whatever takes
//! the account out of service refuses those that wait all the same.

use crate::base::clock::Tick;
use crate::base::sync::{Ordering, set_bits_before_load};
use crate::engine::effects::Effects;
use crate::engine::{AccountPool, CLOSED, Core, PAUSED, WAIT};

impl<C, E> AccountPool<C, E> {
    /// Has acquires wait until the account is resumed. Returns whether that is a change: not if it is
    /// paused already, or closed.
    pub(crate) fn pause(&self) -> (Effects<C>, bool) {
        let _core = self.body().core.lock();
        let before = self.gate.fetch_or(PAUSED, Ordering::Relaxed);
        let changes = before & (PAUSED | CLOSED) == 0;
        // The dials that wait for their turn are given back.
        (Effects { mark_active: changes, wake_dials: changes, ..Effects::none() }, changes)
    }

    /// Ends the pause, and serves those that wait. Returns whether there was one.
    pub(crate) fn resume(&self, now: Tick) -> (Effects<C>, bool) {
        let body = self.body();
        let mut effects = Effects::none();
        let mut core = body.core.lock();
        let changes = self.end_pause(&core);
        if changes {
            effects.wake_dials = true;
            self.dispatch(body, &mut core, now, &mut effects);
        }
        (effects, changes && !self.is_closed())
    }

    /// Clears PAUSED. The caller holds the lock, and dispatches before it gives it up: those that came
    /// during the pause have looked at no connection, and are announced for that once more. Returns
    /// whether the account was paused.
    pub(super) fn end_pause(&self, core: &Core<C, E>) -> bool {
        let before = self.gate.fetch_and(!PAUSED, Ordering::Relaxed);
        if !core.queue.is_empty() {
            set_bits_before_load(&self.gate, WAIT);
        }
        before & PAUSED != 0
    }

    /// Whether somebody waits who may be served.
    pub(super) fn is_waited_for(&self, core: &Core<C, E>) -> bool {
        !core.queue.is_empty() && !self.is_paused()
    }

    /// Whether acquires wait for the account to be resumed.
    pub(crate) fn is_paused(&self) -> bool {
        self.gate.load(Ordering::Relaxed) & PAUSED != 0
    }
}
