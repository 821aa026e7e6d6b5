//! What must hold after each step.

use super::*;
use crate::stats::Totals;

impl Machine {
    pub(super) fn check(&self) {
        let Some(body) = self.engine.body.get() else {
            assert!(self.records.is_empty() && self.dials.is_empty() && self.queue.is_empty());
            return;
        };
        self.check_gate();
        self.check_books(body);
        self.check_slots(body);
        self.check_counters();
        self.check_progress();
        self.check_timers();
    }

    pub(super) fn check_gate(&self) {
        let gate = self.engine.gate.load(Ordering::Relaxed);
        let unready = (0..self.sessions).all(|slot| self.is_barred(slot)) || self.draining;
        assert_eq!(gate & WAIT != 0, !self.queue.is_empty(), "WAIT says whether somebody waits");
        assert_eq!(gate & CLOSED != 0, self.closed, "CLOSED");
        assert_eq!(gate & UNREADY != 0, unready, "UNREADY");
        assert_eq!(gate & PAUSED != 0, self.paused, "PAUSED");
        assert_eq!(gate & SHRINK != 0, self.excess() > 0, "SHRINK says whether some must go");
        assert_eq!(gate / GENERATION, self.generation, "the generation");
        assert_eq!(self.engine.unready(), self.unready(), "the standing");
    }

    /// I1, I2, I3: permits and slots are neither minted nor burnt.
    pub(super) fn check_books(&self, body: &Body<u32, Failure>) {
        let core = body.core.lock();
        let (taken, cap) = (self.taken(), self.cap());
        assert_eq!(core.cap as usize, cap, "I2: the cap");
        assert_eq!(core.dialing as usize, self.dials.len(), "dials under way");
        assert_eq!(core.closing as usize, self.closing(), "closes under way");
        assert_eq!(core.checking as usize, self.checks.len(), "checks under way");
        assert_eq!(core.debt as usize, taken.saturating_sub(cap), "I2: debt");
        assert_eq!(body.permits.free(), cap.saturating_sub(taken), "I2, I3: free permits");
        assert_eq!((core.slots, self.engine.sessions()), (self.slots, self.sessions));
        let vacant = (0..self.slots).filter(|slot| self.is_vacant(*slot));
        assert_eq!(core.vacant, vacant.fold(0, |bits, slot| bits | 1 << slot), "vacant slots");
        assert_eq!(
            (core.queue.waiting_for_fresh(), core.queue.waiting_for_any()),
            (self.fresh(), self.any())
        );
        assert_eq!((core.failures, core.retry_at), (self.failures, self.retry_at));
    }

    /// I11: each connection is in one place and one state, and the engine agrees which.
    pub(super) fn check_slots(&self, body: &Body<u32, Failure>) {
        for (slot, cell) in (0..self.slots).zip(body.all_slots()) {
            let mut there =
                self.records.iter().filter(|it| it.link.slot == slot && it.phase != Phase::Gone);
            let record = there.next();
            assert!(there.next().is_none(), "I1: two connections of slot {slot} at once");
            let found = cell.load().map(|link| link.id);
            assert_eq!(found, record.map(Record::id), "what slot {slot} holds");
        }
        for record in &self.records {
            let word = record.link.word.snapshot();
            let state = match record.phase {
                Phase::Dialing => ConnectionState::Connecting,
                Phase::Open if record.leases == 0 => ConnectionState::Idle,
                Phase::Open | Phase::Retiring => ConnectionState::Active,
                Phase::Final | Phase::Gone if record.faulty => ConnectionState::Error,
                Phase::Final | Phase::Gone => ConnectionState::Disconnected,
            };
            assert_eq!(word.state(), state, "I11: {} is {:?}", record.id(), record.phase);
            assert_eq!(word.leases(), record.leases, "I24: the leases of {}", record.id());
            let closes = matches!(record.phase, Phase::Retiring);
            assert!(record.phase != Phase::Open || !word.is_retiring(), "retires untold");
            assert!(!closes || word.is_retiring() && record.leases > 0, "retires for nobody");
            if record.phase == Phase::Open {
                assert_eq!(record.generation, self.generation, "I20: open, and outdated");
                let withheld = self.is_withheld(record.link.slot);
                assert!(self.unready().is_none() && !withheld, "open, and out of service");
            }
        }
    }

    /// I13, I24: what is counted is what there is.
    pub(super) fn check_counters(&self) {
        let mut totals = Totals::default();
        self.engine.add_to(&mut totals);
        let count = |phase| self.records.iter().filter(|it| it.phase == phase).count() as u64;
        let sum = |of: fn(&Record) -> u64| {
            self.records.iter().filter(|it| it.phase != Phase::Gone).map(of).sum::<u64>()
        };
        let leases: u64 = self.records.iter().map(|it| u64::from(it.leases)).sum();
        assert_eq!(totals.leases, leases, "I24: leases");
        assert_eq!(totals.waiting, self.queue.len() as u64, "I24: waiting");
        assert_eq!(totals.opened, self.opened, "opened");
        assert_eq!(totals.closed, self.gone, "closed");
        let open = count(Phase::Open) + count(Phase::Retiring) + count(Phase::Final);
        assert_eq!(totals.opened - totals.closed, open, "I13: what was opened and not closed");
        assert_eq!(totals.uses, self.past_uses + sum(|it| it.uses), "uses");
        assert_eq!(totals.shared_uses, self.past_shared_uses + sum(|it| it.shared_uses));
        assert_eq!(totals.new_uses, self.new_uses, "new uses");
        let places = self.records.iter().filter(|it| it.phase != Phase::Gone).count() as u64;
        assert_eq!(totals.states.iter().sum::<u64>(), places, "I11: the sum over states");
        let stats = self.engine.stats(self.now, Duration::ZERO);
        assert_eq!(stats.total_connections as usize, self.live(), "connections");
        assert_eq!(stats.connections.len() as u64, places);
        assert_eq!(stats.max_connections as usize, self.cap().min(self.sessions.into()));

        let nothing = self.taken() == 0 && self.queue.is_empty();
        let barred = (0..self.sessions).any(|slot| self.is_barred(slot));
        let remembered = self.draining || self.paused || barred || self.retry_at > self.now;
        // What is held without a slot, of a connection that was forced, keeps no closed account.
        let clean = !remembered && leases == 0;
        assert_eq!(
            self.engine.is_empty(self.now),
            nothing && (clean || self.closed),
            "I21: may be collected"
        );
    }

    /// I4, I10: nobody is left waiting who could be helped now, and nothing stays too long.
    pub(super) fn check_progress(&self) {
        let idle = self.records.iter().any(Record::is_idle);
        assert!(!idle || self.excess() == 0, "idle, and above the cap");
        if self.unready().is_some() {
            assert!(self.queue.is_empty(), "I17: waits for an account out of service");
            return;
        }
        if self.paused {
            // Nobody is to be helped before its end; whoever was all the same is found by the step.
            return;
        }
        // What is shared is lent to nobody while it is checked.
        let is_free = |it: &&Record| it.has_room() && !self.is_checked(it.id());
        let mut free = self.records.iter().filter(is_free).map(|it| &it.link).peekable();
        // Whoever waits for a check to end is served then, or by what needs none.
        let sleeps = self.any() > self.coming_back();
        assert!(free.peek().is_none() || !sleeps, "I4: a connection is free and a waiter sleeps");
        let is_checked_since = |it: &Link| !it.is_suspect() && it.last_used() >= self.checked_since;
        let proved = free.any(is_checked_since);
        assert!(!proved || self.any() == 0, "I4: one that needs no check is free, a waiter sleeps");
        let dials = self.dials.len();
        assert!(!self.can_dial() || dials >= self.wanted_dials(), "I10: nobody dials");
        let coming = dials + self.closing();
        // After a failure one new connection at a time is enough.
        let wanted = if self.failures > 0 { self.fresh().min(1) } else { self.fresh() };
        assert!(!idle || coming >= wanted || self.can_dial(), "I10: no room for a new connection");
    }

    /// Every deadline has somebody who will ask for it in time.
    pub(super) fn check_timers(&self) {
        let has_lease = |it: &&Asker| it.given().is_some_and(|id| self.has_place(id));
        let given = self.answered.iter().filter(has_lease);
        for deadline in self.queue.iter().chain(given).filter_map(|it| it.deadline) {
            let watched = self
                .watches
                .iter()
                .any(|watch| watch.at <= deadline && self.engine.is_watched(*watch));
            assert!(watched, "I24: nobody comes back to a waiter at its deadline");
        }
        let live = |it: &&Record| matches!(it.phase, Phase::Open | Phase::Retiring);
        for record in self.records.iter().filter(live) {
            let visit = record.link.next_visit();
            let is_it = |entry: &(_, _, _)| (entry.0, entry.2) == (visit, record.id());
            assert!(self.visits.iter().any(is_it), "I14: {} is never looked at", record.id());
            // A borrower that panicked returns its connection as one last used in the far past.
            if record.is_idle() && record.last_used > 0 {
                let due = (record.last_used + MAX_IDLE).min(record.retire_at);
                assert!(visit <= due, "I14: {} is looked at too late", record.id());
            }
        }
    }
}
