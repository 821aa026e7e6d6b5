//! Dispatches that nothing but time asks for.
//!
//! Owns the time of the next one. A session that may not be dialled yet is no reason to set a timer as
//! long as others provide for those that wait; when none does, its time has to be kept.

use crate::base::clock::Tick;
use crate::engine::{AccountPool, Body, Core, Effects};

impl<C, E> AccountPool<C, E> {
    /// Has the engine dispatch again when a session may be dialled that somebody wants, and that must
    /// wait. Nothing else may happen until then.
    pub(super) fn foresee_dials(
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
        let look =
            core.health.first_deferral(core.usable(), now).filter(|look| *look < core.look_at);
        if let Some(look) = look {
            core.look_at = look;
            effects.look = Some(look);
        }
    }

    /// The time of a look has come.
    pub(crate) fn look(&self, now: Tick) -> Effects<C> {
        let body = self.body();
        let mut effects = Effects::none();
        let mut core = body.core.lock();
        if core.look_at <= now {
            core.look_at = Tick::MAX;
        }
        self.dispatch(body, &mut core, now, &mut effects);
        effects
    }
}
