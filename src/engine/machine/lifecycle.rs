//! The actions on connections, limits and sessions: dials, closes, expiry, and what takes connections out
//! of service.

use super::*;

impl Machine {
    pub(super) fn dial(&mut self, index: usize, end: DialEnd) {
        let Attempt { order, begun } = &self.dials[index];
        let order = *order;
        match (begun.clone(), end) {
            (begun, DialEnd::Abandoned) => self.lose_dial(index, begun, DialLoss::Unwanted),
            (None, _) => self.begin_dial(index, order),
            (Some(link), DialEnd::Opens { age }) => {
                self.dials.swap_remove(index);
                let retire_at = self.now + Tick::from(age);
                let now = self.now;
                (self.failures, self.retry_at) = (0, 0);
                self.opened += 1;
                let cleared = order.purpose == Purpose::Probe && self.is_in_doubt(link.slot);
                if cleared {
                    self.barred.retain(|(barred, _)| *barred != link.slot);
                }
                let record = self.record(link.id);
                let retired = record.reason.is_some();
                (record.phase, record.last_used, record.retire_at) = (Phase::Open, now, retire_at);
                let effects = self.engine.complete_dial(&link, 7, retire_at, now);
                assert_eq!(effects.cleared, cleared, "whether a doubt was resolved");
                let due = (now + MAX_IDLE).min(retire_at);
                link.set_next_visit(due);
                self.visits.push((due, Arc::downgrade(&link), link.id));
                let step = Step { opened: Some(link.id), ..Step::default() };
                self.apply(effects, &step);
                let ended = self.record(link.id).phase == Phase::Final;
                assert!(!retired || ended, "retired while it was dialled, and opened");
            }
            (Some(link), DialEnd::Fails { pause }) => {
                let retry_at = self.now + Tick::from(pause);
                self.lose_dial(index, Some(link), DialLoss::Failed { retry_at });
            }
        }
    }

    pub(super) fn begin_dial(&mut self, index: usize, order: DialOrder) {
        let serves = self.serves() && !self.is_withheld(order.slot);
        let wanted = match order.purpose {
            Purpose::Waiter => serves && !self.queue.is_empty(),
            Purpose::WarmUp => serves,
            Purpose::Probe => self.may_probe(order.slot),
        };
        assert_eq!(self.engine.wants_dial(order), wanted);
        let may = self.excess() == 0;
        let id = ConnectionId(self.next_id);
        let Some(link) = self.engine.begin_dial(order, id) else {
            assert!(!wanted || !may, "a dial that is wanted was not begun");
            return self.lose_dial(index, None, DialLoss::Unwanted);
        };
        assert!(wanted && may, "a dial that nobody wants was begun");
        self.next_id += 1;
        self.dials[index].begun = Some(Arc::clone(&link));
        self.records.push(Record {
            link,
            generation: self.generation,
            phase: Phase::Dialing,
            leases: 0,
            uses: 0,
            shared_uses: 0,
            last_used: 0,
            retire_at: Tick::MAX,
            faulty: false,
            reason: None,
        });
    }

    pub(super) fn lose_dial(&mut self, index: usize, begun: Option<Link>, lost: DialLoss) {
        let Attempt { order, .. } = self.dials.swap_remove(index);
        let is_it = |it: &Record| begun.as_ref().is_some_and(|link| link.id == it.id());
        let faulty = self.records.iter().any(|it| is_it(it) && it.faulty);
        self.records.retain(|it| !is_it(it));
        let mut failure = None;
        if let DialLoss::Failed { retry_at } = lost {
            self.failures += 1;
            self.retry_at = retry_at;
            let error = DialError::Connect(Failure::other("refused"));
            failure = Some((error, "refused".to_owned()));
        }
        let dial_failed = failure.is_some();
        let nobody = self.queue.is_empty() || self.paused;
        let (effects, unheard) =
            self.engine.fail_dial(order, begun.as_deref(), lost, failure, self.now);
        assert_eq!(unheard.is_some(), dial_failed && nobody, "the failure went to nobody");
        if let Some(link) = begun {
            let faulty = faulty || matches!(lost, DialLoss::Failed { .. });
            let state = if faulty { ConnectionState::Error } else { ConnectionState::Disconnected };
            assert_eq!(link.word.snapshot().state(), state, "I11: the end of a dial");
        }
        let waiting = self.queue.len();
        self.apply(effects, &Step { dial_failed, ..Step::default() });
        let told = nobody || self.queue.len() < waiting;
        assert!(told || !dial_failed, "nobody was told of a failed dial");
    }

    pub(super) fn vacate(&mut self, index: usize) {
        let record = &mut self.records[index];
        let link = Arc::clone(&record.link);
        record.phase = Phase::Gone;
        let (uses, shared_uses) = (record.uses, record.shared_uses);
        self.gone += 1;
        self.past_uses += uses;
        self.past_shared_uses += shared_uses;
        if link.reason().is_fault() && uses <= 2 {
            self.breaks += 1;
            // The first is free; then a second, doubling, of which the model draws a hundredth.
            let pause = |breaks: u32| (1 << (breaks - 2).min(6)).min(60) * 10;
            let until = if self.breaks > 1 { self.now + pause(self.breaks) } else { 0 };
            self.retry_at = self.retry_at.max(until);
        }
        let effects = self.engine.vacate(&link, self.now, 0.01);
        self.apply(effects, &Step::default());
        self.forget_returned();
    }

    pub(super) fn reap(&mut self, index: usize) {
        let (due, link, id) = self.visits.swap_remove(index);
        let now = self.now;
        let found = self.records.iter().find(|it| it.id() == id);
        let live = found.filter(|it| matches!(it.phase, Phase::Open | Phase::Retiring));
        let expired = live.filter(|it| it.is_idle()).and_then(|it| {
            let reason = if it.retire_at <= now { CloseReason::Age } else { CloseReason::Idle };
            (now >= it.retire_at.min(it.last_used + MAX_IDLE)).then_some(reason)
        });
        let is_live = live.is_some();
        let reap = |it| self.engine.reap(&it, due, now, MAX_IDLE, Tick::MAX);
        match link.upgrade().map_or(Reap::Gone, reap) {
            Reap::Expired(effects) => {
                let reason = expired.expect("I14: reaped, and neither idle for long nor old");
                assert_eq!(effects.close.len(), 1);
                self.apply(effects, &Step::ending(id, reason));
            }
            Reap::Held(..) => panic!("nothing is held for ever here"),
            Reap::Again(next) => {
                assert!(is_live && expired.is_none(), "I14: it has expired, and stays");
                assert!(next > now, "the reaper spins");
                self.visits.push((next, link, id));
            }
            Reap::Gone => assert!(!is_live, "the reaper has forgotten a live connection"),
        }
    }

    pub(super) fn force(&mut self, which: u8) {
        let Some(index) = pick(&self.drains, which) else { return };
        let link = self.drains.swap_remove(index);
        let retiring =
            self.records.iter().any(|it| it.id() == link.id && it.phase == Phase::Retiring);
        let effects = self.engine.force(&link);
        assert_eq!(effects.close.len(), usize::from(retiring), "force ends what drains");
        self.apply(effects, &Step { forced: true, ..Step::default() });
    }

    pub(super) fn retire(&mut self, which: u8, reason: CloseReason) {
        let Some(index) = pick(&self.records, which) else { return };
        let record = &mut self.records[index];
        let link = Arc::clone(&record.link);
        let live = matches!(record.phase, Phase::Open | Phase::Retiring);
        let dialing = record.phase == Phase::Dialing;
        record.faulty |= (live || dialing) && reason.is_fault();
        if dialing {
            record.reason.get_or_insert(reason);
        }
        let effects = self.engine.retire(&link, reason, self.now);
        self.apply(effects, &Step::ending(link.id, reason));
        assert_ne!(self.record(link.id).phase, Phase::Open, "retired, and open");
    }

    pub(super) fn evict_idle(&mut self) {
        let idle = self.records.iter().filter(|it| it.is_idle());
        let longest = idle.map(|it| it.last_used).min();
        let effects = self.engine.evict_idle(|_| true);
        assert_eq!(effects.is_some(), longest.is_some(), "an idle connection gives way");
        if let Some(effects) = effects {
            let id = effects.close[0].id;
            assert_eq!(Some(self.record(id).last_used), longest, "not the longest idle");
            self.apply(effects, &Step::ending(id, CloseReason::Excess));
        }
    }

    pub(super) fn warm(&mut self) {
        let cold = self.taken() == 0 && self.serves() && self.can_dial();
        let effects = self.engine.warm(self.now);
        assert_eq!(effects.dial.len(), usize::from(cold), "warm dials for the cold only");
        self.apply(effects, &Step::default());
    }

    pub(super) fn set_limits(&mut self, cap: u16, leases: u16) {
        let leases = if leases == 0 { self.leases } else { leases };
        if self.has_body() && leases != self.leases {
            self.generation += 1;
            self.retire_dials(CloseReason::Drain);
        }
        (self.cap, self.leases) = (cap, leases);
        let effects = self.engine.set_limits(cap, leases, self.now);
        self.apply(effects, &Step::default());
    }

    /// Returns whether that is news.
    fn bar(&mut self, session: u16, reason: QuarantineReason) -> bool {
        let is_known = self.barred.contains(&(session, reason));
        let is_surely =
            |it: &(u16, QuarantineReason)| it.0 == session && it.1 != QuarantineReason::Suspect;
        if is_known
            || reason == QuarantineReason::Suspect && self.is_barred(session)
            || reason == QuarantineReason::Operator && self.barred.iter().any(is_surely)
        {
            return false;
        }
        self.barred.retain(|(barred, _)| *barred != session);
        self.barred.push((session, reason));
        true
    }

    /// The account has so many sessions from now on; the last one is quarantined if it is new.
    pub(super) fn set_sessions(&mut self, sessions: u16, last: Option<QuarantineReason>) {
        let (before, changes) = (self.sessions, !self.closed && sessions != self.sessions);
        let latched: Vec<_> = last.map(|it| (sessions.saturating_sub(1), it)).into_iter().collect();
        if changes {
            if sessions > self.slots {
                let body = self.engine.body.get();
                self.outgrown |= body.is_some_and(|body| body.idle.get().is_some());
                self.slots = sessions;
            }
            self.sessions = sessions;
            for (slot, reason) in latched.iter().filter(|it| it.0 >= before && sessions > 0) {
                self.bar(*slot, *reason);
            }
            self.retire_dials(CloseReason::Drain);
        }
        let effects = self.engine.set_sessions(sessions, &latched, self.now);
        assert_eq!(effects.is_some(), changes, "whether the number of sessions has changed");
        if let Some(effects) = effects {
            self.apply(effects, &Step::default());
        }
    }

    pub(super) fn probe(&mut self, which: u8) {
        let Some(slot) = u16::from(which).checked_rem(self.slots) else { return };
        let may = self.may_probe(slot);
        let room = self.is_vacant(slot) && self.taken() < self.cap();
        let effects = self.engine.probe(slot, self.now);
        assert_eq!(effects.dial.len(), usize::from(may && room), "a probe out of place");
        let again = if may && !room { 1 << slot } else { 0 };
        assert_eq!(effects.probe, again, "whether it is tried again");
        self.apply(effects, &Step::default());
    }

    pub(super) fn quarantine(&mut self, slot: Option<u8>, reason: QuarantineReason) {
        let slot = slot.filter(|_| self.slots > 0).map(|it| u16::from(it) % self.slots);
        let mut news = 0;
        for session in (0..self.sessions).filter(|it| slot.is_none_or(|slot| slot == *it)) {
            news |= u64::from(self.bar(session, reason)) << session;
        }
        if self.unready().is_some() {
            self.retire_dials(CloseReason::Quarantine);
        } else if let Some(record) = self
            .records
            .iter_mut()
            .find(|it| it.phase == Phase::Dialing && Some(it.link.slot) == slot)
        {
            record.reason.get_or_insert(CloseReason::Quarantine);
        }
        let effects = self.engine.quarantine(slot, reason, self.now);
        assert_eq!(effects.persist, news, "for which sessions a quarantine is news");
        self.apply(effects, &Step::default());
    }

    pub(super) fn pause(&mut self) {
        let changes = !self.paused && !self.closed;
        let (effects, has_changed) = self.engine.pause();
        assert_eq!((has_changed, effects.wake_dials), (changes, changes), "whether it was paused");
        assert!(effects.moves_nothing(), "a pause does nothing by itself");
        self.paused = true;
        self.apply(effects, &Step::default());
    }

    pub(super) fn resume(&mut self) {
        let changes = std::mem::take(&mut self.paused) && !self.closed;
        let (effects, has_changed) = self.engine.resume(self.now);
        assert_eq!(has_changed, changes, "whether it was resumed");
        self.apply(effects, &Step::default());
    }

    pub(super) fn raise_generation(&mut self) {
        self.generation += 1;
        let step = Step { swept: Some(CloseReason::Requested), ..Step::default() };
        self.retire_dials(CloseReason::Requested);
        let effects = self.engine.raise_generation(CloseReason::Requested, self.now);
        self.apply(effects, &step);
    }
}
