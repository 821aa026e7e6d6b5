//! Sessions that are put out of service, and looked at again.
//!
//! Owns the telling of it: to the manager, which keeps it, to the log and to whoever listens.

use std::sync::Arc;

use crate::base::caught::harmless;
use crate::base::clock::now;
use crate::events::Event;
use crate::manager::{Manager, QuarantineReason};
use crate::runtime::account::AccountInner;
use crate::runtime::command::Command;

/// How often a quarantine is told anew because it changed while it was told.
const LATCHES_MAX: usize = 16;

impl<M: Manager> AccountInner<M> {
    /// Puts one session, or all of them, out of service.
    pub(crate) fn quarantine(self: &Arc<Self>, slot: Option<u16>, reason: QuarantineReason) {
        let account = self.pool.account();
        let effects = self.pool.quarantine(slot, reason, self.context().clock.tick());
        let is_news = effects.persist != 0;
        self.apply(effects);
        // Each call under way on a lost session reports the same.
        if !is_news {
            return;
        }
        self.counters().count_quarantine(reason);
        let remedy = reason.remedy();
        match slot {
            Some(slot) => tracing::warn!(%account, slot, %reason, remedy, "quarantined"),
            None => tracing::warn!(%account, %reason, remedy, "every session is quarantined"),
        }
        self.context().events.emit(|| Event::Quarantined { account, slot, reason });
    }

    /// Tells the manager how these sessions stand now (as bits).
    pub(super) fn persist_quarantines(&self, sessions: u64) {
        for session in (0..self.pool.sessions()).filter(|it| sessions & (1 << it) != 0) {
            let mut told = None;
            // Two who tell at once may tell in the wrong order: whoever finds at the end that
            // things stand otherwise tells that as well.
            for _ in 0..LATCHES_MAX {
                let quarantines = self.pool.quarantines();
                let of_session = quarantines.into_iter().find(|(slot, _)| *slot == session);
                let reason = of_session.map(|(_, reason)| reason);
                if told == Some(reason) {
                    break;
                }
                self.latch_as(session, reason);
                told = Some(reason);
            }
        }
    }

    fn latch_as(&self, session: u16, reason: Option<QuarantineReason>) {
        let account = self.pool.account();
        let latch = || self.context().manager.latch(account, session, reason);
        if harmless(latch).is_none() {
            tracing::error!(%account, session, "the manager panicked: a quarantine is not kept");
        }
    }

    /// Has those of these sessions (as bits) that are in doubt dialled once more after a while. To be
    /// called once for each doubt, and once after each look at it that did not resolve it.
    pub(super) fn schedule_probes(self: &Arc<Self>, sessions: u64) {
        let at = now() + self.context().config().health.probe_after;
        for (session, reason) in self.pool.quarantines() {
            let is_meant = sessions & (1 << session) != 0;
            if is_meant && reason == QuarantineReason::Suspect {
                let command = Command::Probe(Arc::downgrade(self), session, at);
                // Without a worker nothing is dialled any more.
                drop(self.runtime.commands.send(command));
            }
        }
    }
}
