//! Changes of an account's status: drained, quarantined, suspect, reinstated; the cooldowns of methods,
//! and the rest of its dials.
//!
//! Owns the steps that change the health and UNREADY, the flag of the gate that follows it: both under
//! the lock, so that they never disagree.

use crate::base::clock::Tick;
use crate::base::sync::Ordering;
use crate::connection::CloseReason;
use crate::engine::connection::Purpose;
use crate::engine::effects::Effects;
use crate::engine::health::Unready;
use crate::engine::{AccountPool, CLOSED, Core, GENERATION, UNREADY};
use crate::manager::QuarantineReason;

impl<C, E> AccountPool<C, E> {
    /// What is to be done once the pool knows the account.
    pub(crate) fn admit(&self) -> Effects<C> {
        let is_out = self.gate.load(Ordering::Relaxed) & UNREADY != 0;
        Effects { mark_active: is_out, probe: u64::MAX, vacated: true, ..Effects::none() }
    }

    /// Takes the account out of service until it is reinstated.
    pub(crate) fn drain(&self, now: Tick) -> Effects<C> {
        {
            let mut core = self.body().core.lock();
            core.health.drain();
            self.gate.fetch_add(GENERATION, Ordering::Relaxed);
            self.gate.fetch_or(UNREADY, Ordering::Relaxed);
        }
        let swept = self.retire_mismatched(CloseReason::Drain, now);
        Effects { mark_active: true, wake_dials: true, ..swept }
    }

    /// Bars one session, or every one; the account is out of service when none is left. A session
    /// that is barred for good does not become suspect again. For which sessions this is news is what the
    /// manager is told.
    pub(crate) fn quarantine(
        &self,
        slot: Option<u16>,
        reason: QuarantineReason,
        now: Tick,
    ) -> Effects<C> {
        let body = self.body();
        let (unready, news) = {
            let mut core = body.core.lock();
            let news = core.health.quarantine(slot, reason);
            let unready = core.health.unready().is_some();
            if unready {
                self.gate.fetch_or(UNREADY, Ordering::Relaxed);
            }
            (unready, news)
        };
        let concerned = || slot.and_then(|slot| body.slot(usize::from(slot))?.load());
        let effects = match unready {
            true => self.retire_mismatched(CloseReason::Quarantine, now),
            false => concerned().map_or_else(Effects::none, |connection| {
                self.retire(&connection, CloseReason::Quarantine, now)
            }),
        };
        Effects { mark_active: true, wake_dials: true, persist: news, probe: news, ..effects }
    }

    /// Puts the account back into service, and resumes it. Returns whether anything kept it from serving
    /// that does so no more: not if it was closed.
    pub(crate) fn reinstate(&self, now: Tick) -> (Effects<C>, bool) {
        let body = self.body();
        let mut effects = Effects { wake_dials: true, persist: u64::MAX, ..Effects::none() };
        let mut core = body.core.lock();
        let rests = core.retry_at > now;
        let was_paused = self.end_pause(&core);
        let changes = core.health.reinstate() || rests || was_paused;
        core.failures = 0;
        core.last_dial_error = None;
        core.retry_at = 0;
        core.backoff.forget();
        self.sync_unready_flag(&core);
        self.dispatch(body, &mut core, now, &mut effects);
        (effects, changes && !self.is_closed())
    }

    /// Clears UNREADY when the account can serve. The caller holds the lock.
    pub(super) fn sync_unready_flag(&self, core: &Core<C, E>) {
        if core.health.unready().is_none() {
            self.gate.fetch_and(!UNREADY, Ordering::Relaxed);
        }
    }

    /// Notes that a method must rest until a tick.
    pub(crate) fn cool_down(&self, key: u32, until: Tick, now: Tick) -> Effects<C> {
        let mut core = self.body().core.lock();
        core.health.cool_down(key, until, now);
        self.counters().resting_until.fetch_max(until, Ordering::Relaxed);
        Effects { mark_active: true, ..Effects::none() }
    }

    /// Each session that is out of service, and why.
    pub(crate) fn quarantines(&self) -> Vec<(u16, QuarantineReason)> {
        let Some(body) = self.body.get() else { return Vec::new() };
        body.core.lock().health.quarantines().collect()
    }

    /// How many sessions are out of service.
    #[cfg(feature = "http")]
    pub(crate) fn quarantined_sessions(&self) -> u32 {
        self.body.get().map_or(0, |body| body.core.lock().health.quarantined().count_ones())
    }

    /// Every method that must rest, and until when.
    pub(crate) fn cooldowns(&self, now: Tick) -> Vec<(u32, Tick)> {
        let Some(body) = self.body.get() else { return Vec::new() };
        body.core.lock().health.cooldowns(now).collect()
    }

    /// Until when a method must rest, if it must.
    pub(crate) fn cooling_until(&self, key: u32, now: Tick) -> Option<Tick> {
        self.body.get()?.core.lock().health.cooling_until(key, now)
    }

    /// Until when some method must rest, if one must; the latest, without a lock.
    pub(crate) fn cooling_for_any(&self, now: Tick) -> Option<Tick> {
        let until = self.body.get()?.counters.resting_until.load(Ordering::Relaxed);
        (until > now).then_some(until)
    }

    /// Why the account cannot serve, if it cannot.
    pub(crate) fn unready(&self) -> Option<Unready> {
        let gate = self.gate.load(Ordering::Relaxed);
        if gate & (CLOSED | UNREADY) == 0 {
            return None;
        }
        self.body().core.lock().unready(gate)
    }

    /// Dials a suspect session, to learn whether the server knows it. If there is no room for the dial, it
    /// is tried again later.
    pub(crate) fn probe(&self, slot: u16, now: Tick) -> Effects<C> {
        let mut effects = Effects::none();
        let body = self.body();
        let mut guard = body.core.lock();
        let core = &mut *guard;
        let gate = self.gate.load(Ordering::Relaxed);
        if !core.may_probe(gate, slot) {
            return effects;
        }
        let is_vacant = core.vacant & (1 << slot) != 0;
        let take = || self.take_this_slot(body, core, slot, now, Purpose::Probe);
        match is_vacant.then(take).flatten() {
            Some(order) => effects.dial.push(order),
            None => effects.probe = 1 << slot,
        }
        effects
    }

    /// Until when the account is not dialled, or none of its sessions may be, if it has no connection that
    /// serves meanwhile.
    pub(crate) fn rests_until(&self, now: Tick) -> Option<Tick> {
        let body = self.body.get()?;
        if self.is_open() {
            return None;
        }
        let core = body.core.lock();
        let until = core.retry_at.max(core.health.all_deferred_until(now).unwrap_or_default());
        (until > now).then_some(until)
    }
}
