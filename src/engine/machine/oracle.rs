//! What the model knows of the account, without asking the engine.

use super::*;

impl Machine {
    pub(super) fn instant(&self) -> Instant {
        self.started + Duration::from_millis(self.now - EPOCH)
    }

    pub(super) fn cap(&self) -> usize {
        usize::from(self.cap.min(self.slots))
    }

    pub(super) fn is_barred(&self, slot: u16) -> bool {
        self.barred.iter().any(|(barred, _)| *barred == slot)
    }

    pub(super) fn is_gone(&self, slot: u16) -> bool {
        slot >= self.sessions
    }

    /// Whether a session must not be dialled.
    pub(super) fn is_withheld(&self, slot: u16) -> bool {
        self.is_gone(slot) || self.is_barred(slot)
    }

    pub(super) fn is_in_doubt(&self, slot: u16) -> bool {
        !self.is_gone(slot) && self.barred.contains(&(slot, QuarantineReason::Suspect))
    }

    pub(super) fn may_probe(&self, slot: u16) -> bool {
        self.is_in_doubt(slot) && !self.closed && !self.draining
    }

    pub(super) fn unready(&self) -> Option<Unready> {
        if self.closed {
            Some(Unready::Closed)
        } else if self.draining {
            Some(Unready::Draining)
        } else if (0..self.sessions).all(|slot| self.is_barred(slot)) {
            let last = self.barred.iter().rfind(|(slot, _)| !self.is_gone(*slot));
            Some(last.map_or(Unready::NoSession, |(_, reason)| Unready::Quarantined(*reason)))
        } else {
            None
        }
    }

    /// Whether those that wait can be served, or dialled for.
    pub(super) fn serves(&self) -> bool {
        self.unready().is_none() && !self.paused
    }

    pub(super) fn closing(&self) -> usize {
        self.records.iter().filter(|it| it.is_closing()).count()
    }

    pub(super) fn live(&self) -> usize {
        let is_live = |it: &&Record| matches!(it.phase, Phase::Open | Phase::Retiring);
        self.records.iter().filter(is_live).count()
    }

    /// Slots that are dialled, live or being closed.
    pub(super) fn taken(&self) -> usize {
        self.dials.len() + self.live() + self.closing()
    }

    pub(super) fn is_vacant(&self, slot: u16) -> bool {
        let holds =
            |it: &Record| it.link.slot == slot && !matches!(it.phase, Phase::Dialing | Phase::Gone);
        !self.dials.iter().any(|it| it.order.slot == slot) && !self.records.iter().any(holds)
    }

    pub(super) fn excess(&self) -> usize {
        self.taken().saturating_sub(self.cap()).saturating_sub(self.closing())
    }

    pub(super) fn fresh(&self) -> usize {
        self.queue.iter().filter(|it| it.fresh).count()
    }

    pub(super) fn any(&self) -> usize {
        self.queue.len() - self.fresh()
    }

    /// The dials that serve those that wait.
    pub(super) fn wanted_dials(&self) -> usize {
        let unprovided = self.any().saturating_sub(self.coming_back());
        let wanted = self.fresh() + unprovided.div_ceil(usize::from(self.leases));
        if self.failures > 0 { wanted.min(1) } else { wanted }
    }

    pub(super) fn is_checked(&self, id: ConnectionId) -> bool {
        self.checks.iter().any(|link| link.id == id)
    }

    /// The leases that those in the queue wait for until every check has ended.
    pub(super) fn coming_back(&self) -> usize {
        // Of one that this step retires, no more than its word is known yet.
        let is_told = |it: &Record| it.link.word.snapshot().is_retiring();
        let stays = self.records.iter().filter(|it| it.phase == Phase::Open && !is_told(it));
        let checked = stays.filter(|it| self.is_checked(it.id()));
        // The check holds one of the leases.
        checked.map(|it| (u32::from(it.link.max_leases) + 1 - it.leases) as usize).sum()
    }

    pub(super) fn can_dial(&self) -> bool {
        let usable = |slot: &u16| self.is_vacant(*slot) && !self.is_withheld(*slot);
        self.taken() < self.cap() && (0..self.slots).any(|slot| usable(&slot))
    }

    /// Whether a connection still has its slot. The lease of one that was closed by force is worth
    /// nothing to the next waiter.
    pub(super) fn has_place(&self, id: ConnectionId) -> bool {
        self.records.iter().any(|it| it.id() == id && it.phase != Phase::Gone)
    }

    pub(super) fn record(&mut self, id: ConnectionId) -> &mut Record {
        self.records.iter_mut().find(|it| it.id() == id).expect("the model has lost a connection")
    }

    pub(super) fn has_body(&self) -> bool {
        self.engine.body.get().is_some()
    }
}
