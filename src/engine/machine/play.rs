//! The actions, on the engine and on the model.

use super::*;
use crate::connection::{CloseReason, ConnectionId};

impl Machine {
    pub(super) fn play(&mut self, action: &Action) {
        match *action {
            Action::Lease { through_slots, thread } => self.try_lease(through_slots, thread),
            Action::Join { fresh, patience, polled } => {
                self.join(fresh, patience, false);
                // If it was let in, it is the last.
                if let Some(last) = self.queue.len().checked_sub(1).filter(|_| polled) {
                    self.poll(last);
                }
            }
            Action::Poll(which) => {
                if let Some(index) = pick(&self.queue, which) {
                    self.poll(index);
                }
            }
            Action::Proceed(which, end) => self.proceed(which, end),
            Action::TakeDead(which) => self.take_dead(which),
            Action::Leave(which) => self.leave(which),
            Action::Release { which, pressure, panicked } => {
                if let Some(index) = pick(&self.held, which) {
                    let link = self.held.swap_remove(index);
                    let now = if panicked { 0 } else { self.now };
                    self.release(link, now, pressure);
                }
            }
            Action::Discard { which, reason } => {
                if let Some(index) = pick(&self.held, which) {
                    let link = self.held.swap_remove(index);
                    self.discard(link, reason);
                }
            }
            Action::Check(which) => self.check_before_reuse(which),
            Action::EndCheck { which, passed } => {
                if let Some(index) = pick(&self.checks, which) {
                    self.end_check(index, passed);
                }
            }
            Action::Advance(by) => self.now += Tick::from(by),
            Action::Force(which) => self.force(which),
            Action::Retire { which, reason } => self.retire(which, reason),
            Action::EvictIdle => self.evict_idle(),
            Action::Meet(meet) => self.meet(meet),
            Action::Warm => self.warm(),
            Action::SetLimits { cap, leases } => self.set_limits(cap, leases),
            Action::SetSessions { sessions, last } => self.set_sessions(sessions, last),
            Action::RaiseGeneration => self.raise_generation(),
            Action::Drain => {
                self.draining = true;
                self.generation += 1;
                self.retire_dials(CloseReason::Drain);
                let effects = self.engine.drain(self.now);
                self.apply(effects, &Step::default());
            }
            Action::Quarantine(slot, reason) => self.quarantine(slot, reason),
            Action::Probe(which) => self.probe(which),
            Action::Reinstate => {
                self.draining = false;
                self.barred.clear();
                (self.failures, self.retry_at, self.breaks) = (0, 0, 0);
                let (effects, _) = self.engine.reinstate(self.now);
                self.apply(effects, &Step::default());
            }
            Action::CloseAccount => {
                self.closed = true;
                self.retire_dials(CloseReason::Shutdown);
                let effects = self.engine.close(self.now);
                self.apply(effects, &Step::default());
            }
        }
    }

    fn raise_generation(&mut self) {
        self.generation += 1;
        let step = Step { swept: Some(CloseReason::Requested), ..Step::default() };
        self.retire_dials(CloseReason::Requested);
        let effects = self.engine.raise_generation(CloseReason::Requested, self.now);
        self.apply(effects, &step);
    }

    pub(super) fn try_lease(&mut self, through_slots: bool, thread: u64) {
        let ready = self.unready().is_none() && self.queue.is_empty() && self.excess() == 0;
        let free = self.records.iter().any(Record::has_room);
        let take = match through_slots {
            true => self.engine.try_lease_any(self.now, thread),
            false => self.engine.try_lease(self.now, thread),
        };
        match take {
            Take::Leased(link, source) => {
                assert!(ready, "I23: leased past the queue, or out of service");
                self.lend(&link, source);
                self.accept(link, source);
            }
            Take::Outdated(link) => panic!("{} outlived its generation", link.id),
            Take::Empty => {
                let elsewhere = !through_slots && self.outgrown;
                assert!(ready && (!free || elsewhere), "a free connection was not found");
            }
            Take::NotReady => assert!(!ready, "nobody waits and the account is ready"),
        }
    }

    pub(super) fn accept(&mut self, link: Link, source: Source) {
        let now = self.now;
        let counted = self.engine.accept(&link, source, now, Location::caller());
        self.new_uses += u64::from(source == Source::New);
        let record = self.record(link.id);
        record.uses += 1;
        record.shared_uses += u64::from(source == Source::Shared && link.max_leases > 1);
        let uses = record.uses;
        assert_eq!(counted, uses);
        self.held.push(link);
    }

    pub(super) fn join(&mut self, fresh: bool, patience: Option<u16>, front: bool) {
        let deadline = patience.map(|millis| self.instant() + Duration::from_millis(millis.into()));
        let waiter = Waiter::new(fresh, self.instant(), deadline, Location::caller(), None);
        match self.engine.enqueue_waiter(&waiter, front, self.now) {
            Ok(effects) => {
                assert_eq!(self.unready(), None, "let into the queue, and out of service");
                let asker = Asker { waiter, fresh, deadline, alarm: Arc::default(), polled: false };
                let index = if front { 0 } else { self.queue.len() };
                self.queue.insert(index, asker);
                self.apply(effects.unwrap_or_else(Effects::none), &Step::default());
            }
            Err(refusal) => self.check_unready(&refusal),
        }
    }

    /// One who has no answer yet looks for it.
    pub(super) fn poll(&mut self, index: usize) {
        let asker = &mut self.queue[index];
        let waker = Waker::from(Arc::clone(&asker.alarm));
        let polled = asker.waiter.poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "the answer came from nowhere");
        asker.polled = true;
    }

    /// Something that is under way comes to its next stage.
    pub(super) fn proceed(&mut self, which: u8, end: DialEnd) {
        let (now, instant) = (self.now, self.instant());
        let places = |count: usize, is_due: &dyn Fn(usize) -> bool| {
            (0..count).filter(|index| is_due(*index)).collect::<Vec<_>>()
        };
        let dials = places(self.dials.len(), &|it| {
            let Attempt { order, begun } = &self.dials[it];
            begun.is_some() || order.not_before <= now
        });
        let closes = places(self.records.len(), &|it| self.records[it].is_closing());
        let watches = places(self.watches.len(), &|it| self.watches[it].at <= instant);
        let looks = places(self.visits.len(), &|it| self.visits[it].0 <= now);
        let answers = places(self.answered.len(), &|_| true);
        let kinds = [dials, closes, watches, looks, answers];
        let Some(mut index) = pick_of(kinds.iter().map(Vec::len).sum(), which) else { return };
        for (kind, places) in kinds.iter().enumerate() {
            let Some(place) = places.get(index) else {
                index -= places.len();
                continue;
            };
            return match kind {
                0 => self.dial(*place, end),
                1 => self.vacate(*place),
                2 => self.watch(*place),
                3 => self.reap(*place),
                _ => self.take_and_hold(*place),
            };
        }
    }

    pub(super) fn take_and_hold(&mut self, index: usize) {
        if let Some((link, source)) = self.take(index) {
            self.accept(link, source);
        }
    }

    /// Takes the answer of one who has it.
    pub(super) fn take(&mut self, index: usize) -> Option<(Link, Source)> {
        let asker = self.answered.swap_remove(index);
        match asker.waiter.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer.ok(),
            Poll::Pending => panic!("the answer is lost"),
        }
    }

    pub(super) fn take_dead(&mut self, which: u8) {
        let Some(index) = pick(&self.answered, which) else { return };
        let fresh = self.answered[index].fresh;
        if let Some((link, _)) = self.take(index) {
            self.discard(link, CloseReason::Broken);
            self.check();
            self.join(fresh, None, true);
        }
    }

    pub(super) fn leave(&mut self, which: u8) {
        let Some(index) = pick_of(self.queue.len() + self.answered.len(), which) else { return };
        if index < self.queue.len() {
            let asker = self.queue.remove(index);
            let effects = self.engine.cancel_waiter(&asker.waiter);
            assert!(effects.unused.is_empty(), "given in the dark");
            return;
        }
        let asker = self.answered.swap_remove(index - self.queue.len());
        let given = asker.given();
        let back = self.engine.cancel_waiter(&asker.waiter).unused.pop();
        assert_eq!(back.as_ref().map(|it| it.id), given, "I5: what was given is lost");
        if let Some(link) = back {
            self.check();
            self.release(link, self.now, Pressure::Calm);
        }
    }

    pub(super) fn release(&mut self, link: Link, now: Tick, pressure: Pressure) {
        let id = link.id;
        let ends = self.record(id).leases <= 1;
        let would_idle = self.queue.is_empty() && ends;
        // Of those that others hold as well, one at a time.
        let may_go = ends || self.records.iter().all(|it| it.phase != Phase::Retiring);
        let gives_way = match pressure {
            Pressure::Calm => false,
            Pressure::Pressed => would_idle || (self.live() > 1 && may_go),
            Pressure::Urgent => may_go,
        };
        let record = self.record(id);
        record.leases -= 1;
        record.last_used = now;
        let aged = now >= record.retire_at;
        let mut step = Step::default();
        step.ends.extend(aged.then_some((id, CloseReason::Age)));
        step.ends.extend(gives_way.then_some((id, CloseReason::Excess)));
        if let Some(effects) = self.engine.release(link, now, pressure) {
            self.apply(effects, &step);
        }
        let open = self.record(id).phase == Phase::Open;
        assert!(!open || !aged && !gives_way, "I14: kept although it was to go");
        self.forget_returned();
    }

    pub(super) fn discard(&mut self, link: Link, reason: CloseReason) {
        let id = link.id;
        let record = self.record(id);
        record.leases -= 1;
        record.faulty |= reason.is_fault() && !matches!(record.phase, Phase::Final | Phase::Gone);
        let effects = self.engine.release_discarded(link, reason, self.now);
        self.apply(effects, &Step::ending(id, reason));
        assert_ne!(self.record(id).phase, Phase::Open, "discarded, and open");
        self.forget_returned();
    }

    pub(super) fn check_before_reuse(&mut self, which: u8) {
        let Some(index) = pick(&self.held, which) else { return };
        let id = self.held[index].id;
        let begins = !self.is_checked(id);
        self.checked_since = self.now.saturating_sub(CHECK_AFTER);
        let has_begun = self.engine.begin_check(&self.held[index], self.checked_since);
        assert_eq!(has_begun, begins, "checked twice at a time");
        if begins {
            let link = self.held.swap_remove(index);
            self.checks.push(link);
        }
    }

    pub(super) fn end_check(&mut self, index: usize, passed: bool) {
        let link = self.checks.swap_remove(index);
        if passed {
            link.pass_check();
            self.release(link, self.now, Pressure::Calm);
            let effects = self.engine.end_check(self.now);
            return self.apply(effects, &Step::default());
        }
        let (id, reason) = (link.id, CloseReason::CheckFailed);
        let record = self.record(id);
        record.leases -= 1;
        record.faulty |= !matches!(record.phase, Phase::Final | Phase::Gone);
        let effects = self.engine.fail_check(link, reason, self.now);
        self.apply(effects, &Step::ending(id, reason));
        assert_ne!(self.record(id).phase, Phase::Open, "failed, and open");
        self.forget_returned();
    }

    /// A connection whose slot has come back is remembered for its leases only.
    pub(super) fn forget_returned(&mut self) {
        self.records.retain(|it| it.phase != Phase::Gone || it.leases > 0);
    }

    pub(super) fn dial(&mut self, index: usize, end: DialEnd) {
        let Attempt { order, begun } = &self.dials[index];
        let order = *order;
        match (begun.clone(), end) {
            (begun, DialEnd::Abandoned) => self.lose_dial(index, begun, Lost::Unwanted),
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
                self.lose_dial(index, Some(link), Lost::Failed { retry_at });
            }
        }
    }

    pub(super) fn begin_dial(&mut self, index: usize, order: DialOrder) {
        let serves = self.unready().is_none() && !self.is_withheld(order.slot);
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
            return self.lose_dial(index, None, Lost::Unwanted);
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

    pub(super) fn lose_dial(&mut self, index: usize, begun: Option<Link>, lost: Lost) {
        let Attempt { order, .. } = self.dials.swap_remove(index);
        let is_it = |it: &Record| begun.as_ref().is_some_and(|link| link.id == it.id());
        let faulty = self.records.iter().any(|it| is_it(it) && it.faulty);
        self.records.retain(|it| !is_it(it));
        let mut failure = None;
        if let Lost::Failed { retry_at } = lost {
            self.failures += 1;
            self.retry_at = retry_at;
            let error = DialError::Connect(Failure::other("refused"));
            failure = Some((error, "refused".to_owned()));
        }
        let dial_failed = failure.is_some();
        let nobody = self.queue.is_empty();
        let (effects, unheard) =
            self.engine.fail_dial(order, begun.as_deref(), lost, failure, self.now);
        assert_eq!(unheard.is_some(), dial_failed && nobody, "the failure went to nobody");
        if let Some(link) = begun {
            let faulty = faulty || matches!(lost, Lost::Failed { .. });
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

    pub(super) fn watch(&mut self, index: usize) {
        let now = self.instant();
        self.watches.swap_remove(index);
        let is_late = |it: &&Asker| it.deadline.is_some_and(|deadline| deadline <= now);
        let given = self.answered.iter().filter(is_late).filter_map(Asker::given);
        let mut overdue: Vec<_> = given.filter(|id| self.has_place(*id)).collect();
        let mut effects = self.engine.expire_waiters(now);
        let mut leases = std::mem::take(&mut effects.unused);
        self.apply(effects, &Step { timers_fired: true, ..Step::default() });
        overdue.sort_unstable();
        leases.sort_unstable_by_key(|link| link.id);
        let back: Vec<_> = leases.iter().map(|link| link.id).collect();
        assert_eq!(back, overdue, "I5: what was handed over comes back at the deadline");
        for link in leases {
            self.check();
            self.release(link, self.now, Pressure::Calm);
        }
    }

    pub(super) fn reap(&mut self, index: usize) {
        let (look, link, id) = self.visits.swap_remove(index);
        let now = self.now;
        let found = self.records.iter().find(|it| it.id() == id);
        let live = found.filter(|it| matches!(it.phase, Phase::Open | Phase::Retiring));
        let expired = live.filter(|it| it.is_idle()).and_then(|it| {
            let reason = if it.retire_at <= now { CloseReason::Age } else { CloseReason::Idle };
            (now >= it.retire_at.min(it.last_used + MAX_IDLE)).then_some(reason)
        });
        let is_live = live.is_some();
        let reap = |it| self.engine.reap(&it, look, now, MAX_IDLE, Tick::MAX);
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
        let effects = self.engine.evict_idle();
        assert_eq!(effects.is_some(), longest.is_some(), "an idle connection gives way");
        if let Some(effects) = effects {
            let id = effects.close[0].id;
            assert_eq!(Some(self.record(id).last_used), longest, "not the longest idle");
            self.apply(effects, &Step::ending(id, CloseReason::Excess));
        }
    }

    fn meet(&mut self, meet: bool) {
        self.meet = meet;
        self.engine.fast_path.contention.set_contended(if meet { Tick::MAX } else { 0 });
    }

    fn warm(&mut self) {
        let cold = self.taken() == 0 && self.unready().is_none() && self.can_dial();
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
        if is_known || reason == QuarantineReason::Suspect && self.is_barred(session) {
            return false;
        }
        self.barred.retain(|(barred, _)| *barred != session);
        self.barred.push((session, reason));
        true
    }

    /// The account has so many sessions from now on; the last one is quarantined if it is new.
    fn set_sessions(&mut self, sessions: u16, last: Option<QuarantineReason>) {
        let (before, changes) = (self.sessions, !self.closed && sessions != self.sessions);
        let quarantines: Vec<_> =
            last.map(|it| (sessions.saturating_sub(1), it)).into_iter().collect();
        if changes {
            if sessions > self.slots {
                let body = self.engine.body.get();
                self.outgrown |= body.is_some_and(|body| body.idle.get().is_some());
                self.slots = sessions;
            }
            self.sessions = sessions;
            for (slot, reason) in quarantines.iter().filter(|it| it.0 >= before && sessions > 0) {
                self.bar(*slot, *reason);
            }
            self.retire_dials(CloseReason::Drain);
        }
        let effects = self.engine.set_sessions(sessions, &quarantines, self.now);
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
}
