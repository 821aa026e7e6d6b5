//! Sessions that are put out of service, and looked at again.
//!
//! Owns the telling of it: to the manager, which stores it, to the log and to whoever listens.

use std::sync::Arc;

use crate::base::clock::now;
use crate::base::panics::catch;
use crate::events::Event;
use crate::manager::{Manager, QuarantineReason};
use crate::runtime::account::AccountInner;
use crate::runtime::command::Command;

/// How often a quarantine is stored anew because it changed while it was stored.
const STORES_MAX: usize = 16;

impl<M: Manager> AccountInner<M> {
    /// Puts one session, or all of them, out of service. Returns whether that is news of any.
    pub(crate) fn quarantine(
        self: &Arc<Self>,
        slot: Option<u16>,
        reason: QuarantineReason,
    ) -> bool {
        let account = self.pool.account();
        let effects = self.pool.quarantine(slot, reason, self.context().clock.tick());
        let is_news = effects.persist != 0;
        self.apply(effects);
        // Each call under way on a lost session reports the same.
        if !is_news {
            return false;
        }
        self.counters().count_quarantine(reason);
        let remedy = reason.remedy();
        match slot {
            Some(slot) => tracing::warn!(%account, slot, %reason, remedy, "quarantined"),
            None => tracing::warn!(%account, %reason, remedy, "every session is quarantined"),
        }
        self.context().events.emit(|| Event::Quarantined { account, slot, reason });
        true
    }

    /// Tells the manager how these sessions stand now (as bits).
    pub(super) fn store_quarantines(&self, sessions: u64) {
        for session in (0..self.pool.sessions()).filter(|it| sessions & (1 << it) != 0) {
            let mut stored = None;
            // Two who store at once may do so in the wrong order: whoever finds at the end that
            // things stand otherwise stores that as well.
            for _ in 0..STORES_MAX {
                let quarantines = self.pool.quarantines();
                let of_session = quarantines.into_iter().find(|(slot, _)| *slot == session);
                let reason = of_session.map(|(_, reason)| reason);
                if stored == Some(reason) {
                    break;
                }
                self.store_quarantine(session, reason);
                stored = Some(reason);
            }
        }
    }

    fn store_quarantine(&self, session: u16, reason: Option<QuarantineReason>) {
        let account = self.pool.account();
        let store = || self.context().manager.set_quarantine(account, session, reason);
        if catch(store).is_none() {
            tracing::error!(%account, session, "the manager panicked: a quarantine is not kept");
        }
    }

    /// Has those of these sessions (as bits) that are suspect dialled once more after a while. To be
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
