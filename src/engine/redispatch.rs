//! Dispatches that nothing but time asks for.
//!
//! Owns the time of the next one. A session that may not be dialled yet is no reason to set a timer as
//! long as others provide for those that wait; when none does, its time has to be kept.

use crate::base::clock::Tick;
use crate::engine::{AccountPool, Body, Core, Effects};

impl<C, E> AccountPool<C, E> {
    /// Has the engine dispatch again when a session may be dialled that somebody wants, and that must
    /// wait. Nothing else may happen until then.
    pub(super) fn schedule_redispatch(
        &self,
        body: &Body<C, E>,
        core: &mut Core<C, E>,
        wanted: usize,
        now: Tick,
        effects: &mut Effects<C>,
    ) {
        if core.dialing as usize >= wanted || body.permits.free() == 0 {
            return;
        }
        let next = core.health.first_deferral(core.usable(), now);
        if let Some(next) = next.filter(|next| *next < core.redispatch_at) {
            core.redispatch_at = next;
            effects.redispatch = Some(next);
        }
    }

    /// The time of such a dispatch has come.
    pub(crate) fn redispatch(&self, now: Tick) -> Effects<C> {
        let body = self.body();
        let mut effects = Effects::none();
        let mut core = body.core.lock();
        if core.redispatch_at <= now {
            core.redispatch_at = Tick::MAX;
        }
        self.dispatch(body, &mut core, now, &mut effects);
        effects
    }
}
