//! The actions on leases and waits, and the choice among all actions: on the engine and on the model.

use super::*;

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
            Action::Pause => self.pause(),
            Action::Resume => self.resume(),
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
                (self.draining, self.paused) = (false, false);
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

    pub(super) fn try_lease(&mut self, through_slots: bool, thread: u64) {
        let ready = self.serves() && self.queue.is_empty() && self.excess() == 0;
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
        let would_idle = (self.queue.is_empty() || self.paused) && ends;
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

    fn meet(&mut self, meet: bool) {
        self.meet = meet;
        self.engine.fast_path.contention.set_contended(if meet { Tick::MAX } else { 0 });
    }
}
