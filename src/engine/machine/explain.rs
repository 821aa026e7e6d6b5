//! What a step leaves to be done, and whether the step had a right to it.

use super::*;

impl Machine {
    /// Takes over the effects of a step, and the answers that it gave.
    pub(super) fn apply(&mut self, effects: Effects<u32>, step: &Step) {
        for waker in effects.wake {
            waker.wake();
        }
        let wanted = self.wanted_dials();
        for order in effects.dial {
            self.take_dial(order, wanted);
        }
        // A connection may serve one waiter and then have to retire for the next.
        self.collect_answers(step);
        let coming = self.dials.len() + self.closing();
        let mut room = Room { excess: self.excess(), fresh: self.fresh().saturating_sub(coming) };
        // One that others hold only retires: not more of them than permits are wanted.
        let retiring = self.records.iter().filter(|it| it.phase == Phase::Retiring).count();
        let mut room_to_come = room.without(retiring);
        for link in effects.close {
            let record = self.record(link.id);
            let was = std::mem::replace(&mut record.phase, Phase::Final);
            assert!(matches!(was, Phase::Open | Phase::Retiring), "{was:?} was closed");
            let forced = was == Phase::Retiring && step.forced;
            assert!(forced || record.leases == 0, "closed, and leased");
            self.explain(&link, step, &mut room);
        }
        for link in effects.drain {
            let record = self.record(link.id);
            assert!(record.leases > 0, "nobody holds what is to be drained");
            let was = std::mem::replace(&mut record.phase, Phase::Retiring);
            assert_eq!(was, Phase::Open, "a connection retires once");
            self.explain(&link, step, &mut room_to_come);
            self.drains.push(link);
        }
        self.watches.extend(effects.watch);
    }

    pub(super) fn take_dial(&mut self, order: DialOrder, wanted: usize) {
        assert!(self.is_vacant(order.slot), "I1: slot {} is taken", order.slot);
        if order.purpose == Purpose::Probe {
            assert!(self.may_probe(order.slot), "slot {} is in no doubt", order.slot);
        } else {
            assert!(self.serves(), "T3: an account out of service, or paused, dials");
            assert!(!self.is_withheld(order.slot), "T3: slot {} is quarantined", order.slot);
        }
        assert!(order.not_before >= self.retry_at, "I16: a dial does not wait for its backoff");
        self.dials.push(Attempt { order, begun: None });
        assert!(self.taken() <= self.cap(), "I1: a dial above the cap");
        if order.purpose == Purpose::Waiter {
            assert!(self.dials.len() <= wanted, "more dials than the waiters ask for");
        }
    }

    /// Every end of a connection has a cause, and the reason that it carries is that cause.
    pub(super) fn explain(&mut self, link: &Link, step: &Step, room: &mut Room) {
        let id = link.id;
        let unready = self.unready().map(CloseReason::from);
        let generation = self.generation;
        let (barred, is_gone) = (self.is_barred(link.slot), self.is_gone(link.slot));
        let full = !self.can_dial();
        let record = self.record(id);
        let reason = link.reason();
        if let Some(noted) = record.reason {
            assert_eq!(reason, noted, "the first reason stands");
            return;
        }
        record.reason = Some(reason);
        let outdated = record.generation != generation;
        let told = step.ends.contains(&(id, reason))
            || unready == Some(reason)
            || outdated && (reason == CloseReason::Drain || step.swept == Some(reason))
            || barred && reason == CloseReason::Quarantine
            || is_gone && reason == CloseReason::Drain;
        if told {
            return;
        }
        // What is left makes room: under a lowered cap, or for a connection that is to be new.
        let asked_for = match reason {
            CloseReason::Excess => Some(&mut room.excess),
            CloseReason::Requested if full => Some(&mut room.fresh),
            _ => None,
        };
        let asked_for = asked_for.expect("I5: ended without a cause, or for another reason");
        *asked_for = asked_for.checked_sub(1).expect("I5: more made room than was asked for");
    }

    /// Finds who was answered by this step: in the order of the queue, each once, each woken.
    pub(super) fn collect_answers(&mut self, step: &Step) {
        let (mut passed_over, mut passed_over_any, mut told_of_dial) = (false, false, false);
        for asker in std::mem::take(&mut self.queue) {
            let answer = asker.waiter.peek(|served| match served {
                Ok((link, source)) => Ok((Arc::clone(link), *source)),
                Err(refusal) => Err(self.check_refusal(refusal, &asker, step)),
            });
            let woken = asker.alarm.0.load(AtomicOrdering::Relaxed);
            let Some(answer) = answer else {
                assert!(!woken, "woken without an answer");
                passed_over = true;
                passed_over_any |= !asker.fresh;
                self.queue.push(asker);
                continue;
            };
            assert!(woken || !asker.polled, "I4: answered, and sleeps on");
            assert!(answer.is_err() || !self.paused, "I23: served, and paused");
            match answer {
                Ok((link, Source::New)) => {
                    assert!(!passed_over, "I23: a new connection passed over the first waiter");
                    assert_eq!(Some(link.id), step.opened, "new, but not opened just now");
                    self.lend(&link, Source::New);
                }
                Ok((link, source)) => {
                    assert!(!asker.fresh, "an old connection for one who asked for a new one");
                    assert!(!passed_over_any, "I23: out of turn");
                    self.lend(&link, source);
                }
                Err(of_dial) => {
                    assert!(!of_dial || !passed_over && !told_of_dial, "I23: told out of turn");
                    told_of_dial |= of_dial;
                }
            }
            self.answered.push(asker);
        }
    }

    /// Whether the refusal tells of a failed dial.
    pub(super) fn check_refusal(
        &self,
        refusal: &WaitRefusal<Failure>,
        asker: &Asker,
        step: &Step,
    ) -> bool {
        match refusal {
            WaitRefusal::Dial(_) => {
                assert!(step.dial_failed && !self.paused, "no dial failed that was waited for");
                return true;
            }
            WaitRefusal::Timeout => {
                assert!(step.timers_fired, "nobody asked for expired waiters");
                let due = asker.deadline.is_some_and(|deadline| deadline <= self.instant());
                assert!(due, "timed out before its time");
            }
            other => self.check_unready(other),
        }
        false
    }

    pub(super) fn check_unready(&self, refusal: &WaitRefusal<Failure>) {
        let told = match refusal {
            WaitRefusal::Closed => Unready::Closed,
            WaitRefusal::Draining => Unready::Draining,
            WaitRefusal::NoSession => Unready::NoSession,
            WaitRefusal::Quarantined(reason) => Unready::Quarantined(*reason),
            WaitRefusal::Resting { .. } | WaitRefusal::Timeout | WaitRefusal::Dial(_) => {
                panic!("{refusal:?} is no standing")
            }
        };
        assert_eq!(Some(told), self.unready(), "refused for the wrong reason");
    }

    /// Dials that do not match any more end with the reason for which they were first retired.
    pub(super) fn retire_dials(&mut self, reason: CloseReason) {
        let (unready, generation) = (self.unready().map(CloseReason::from), self.generation);
        // A probe is judged when it ends: it is dialled because the account is out of service.
        let is_swept =
            |it: &&mut Record| it.phase == Phase::Dialing && it.link.purpose != Purpose::Probe;
        for record in self.records.iter_mut().filter(is_swept) {
            let is_gone = record.link.slot >= self.sessions;
            if unready.is_some() || is_gone || record.generation != generation {
                record.reason.get_or_insert(unready.unwrap_or(reason));
            }
        }
    }

    /// A lease comes into being.
    pub(super) fn lend(&mut self, link: &Link, source: Source) {
        let (generation, withheld) = (self.generation, self.is_withheld(link.slot));
        assert!(self.unready().is_none() && !withheld, "a lease of an account out of service");
        let record = self.record(link.id);
        assert!(record.has_room(), "a lease of one that is full, or {:?}", record.phase);
        assert_eq!(record.generation, generation, "I20: a lease of an old generation");
        let shared = record.leases > 0;
        let fits = source == Source::New || source == Source::of_live(shared);
        assert!(fits, "wrong source");
        assert!(source != Source::New || !shared, "new, and others have it already");
        record.leases += 1;
    }
}
