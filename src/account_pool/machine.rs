//! The engine against a plain model: random sequences of everything that can happen to one
//! account, every duty carried out in any order, each step checked.
//!
//! Owns the actions, the model and what must hold after each step. The model learns what was
//! dialled, closed and answered from the orders alone, so a change that the engine made and did
//! not tell of shows as well. A step is checked for what it may do (no dial above the cap, no
//! close without a cause), for what it may not leave undone (nobody in line while somebody could
//! be helped), and against the engine's own books.
//!
//! `PROPTEST_CASES=100000 cargo test --no-default-features --lib machine` looks longer.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as AtomicOrdering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

#[cfg(test)]
use proptest::collection::vec;
#[cfg(test)]
use proptest::prelude::*;

use super::*;
use crate::clock::EPOCH;
use crate::error::DialError;
use crate::health::Unready;
use crate::manager::QuarantineReason;
use crate::state::ConnectionState;

type Failure = std::io::Error;
type Engine = AccountPool<u32, Failure>;
type Link = Arc<Connection<u32>>;

const MAX_IDLE: u64 = 100;

/// One thing that happens. A number picks among what there is, modulo how many there are; where
/// there is nothing to pick, nothing happens.
#[derive(Clone, Debug)]
enum Action {
    /// A try to lease without waiting.
    Lease {
        through_slots: bool,
    },
    /// An acquire stands in line, and looks for its answer at once or later.
    Join {
        fresh: bool,
        patience: Option<u16>,
        polled: bool,
    },
    Poll(u8),
    /// Something that is under way comes to its next stage: a dial, a close, a timer that is
    /// due, or a waiter that was answered.
    Proceed(u8, DialEnd),
    /// A waiter takes its answer, finds the connection dead and goes back to the front.
    TakeDead(u8),
    Leave(u8),
    Release {
        which: u8,
        pressure: Pressure,
        panicked: bool,
    },
    Discard {
        which: u8,
        reason: CloseReason,
    },
    Advance(u8),
    /// A connection has drained for long enough.
    Force(u8),
    Retire {
        which: u8,
        reason: CloseReason,
    },
    GiveUpIdle,
    Warm,
    SetLimits {
        cap: u16,
        leases: u16,
    },
    RaiseGeneration,
    Drain,
    Quarantine(Option<u8>, QuarantineReason),
    Reinstate,
    CloseAccount,
}

#[derive(Clone, Copy, Debug)]
enum DialEnd {
    Opens { age: u16 },
    Fails { pause: u16 },
    Abandoned,
}

/// What happens to one account: in a crowd somebody always waits, in a trickle connections lie
/// idle, and the two meet different code.
#[cfg(test)]
fn actions() -> impl Strategy<Value = Vec<Action>> {
    let (crowd, trickle) = (action(28, 3), action(8, 12));
    prop_oneof![vec(crowd, 0..200), vec(trickle, 0..200)]
}

type Make = fn(u8, u16) -> Action;

/// One thing of all that can happen, with these chances that somebody comes and that time passes.
///
/// Drawn as three numbers and not as a union of strategies, which takes most of the run. They
/// shrink towards zero, so the plainest actions come first.
#[cfg(test)]
fn action(comes: usize, passes: usize) -> impl Strategy<Value = Action> {
    let table = table(comes, passes);
    (0..table.len(), any::<u8>(), any::<u16>())
        .prop_map(move |(roll, which, more)| table[roll](which, more))
}

/// Every kind of action, as often as its weight says.
fn table(comes: usize, passes: usize) -> Vec<Make> {
    let kinds: [(usize, Make); 19] = [
        (8, |_, _| Action::Reinstate),
        (60, |which, more| Action::Proceed(which, dial_end(more))),
        (comes, |which, more| Action::Join {
            fresh: which % 8 == 7,
            patience: (more % 2 == 1).then_some(more / 2 % 200),
            polled: which / 8 % 4 < 3,
        }),
        (passes, |which, _| Action::Advance(which % 90)),
        (24, |which, more| Action::Release {
            which,
            pressure: *of(&PRESSURES, more % 20),
            panicked: more / 20 % 32 == 31,
        }),
        (8, |which, _| Action::Lease { through_slots: which % 2 == 1 }),
        (3, |which, _| Action::Poll(which)),
        (2, |which, _| Action::TakeDead(which)),
        (3, |which, _| Action::Leave(which)),
        (2, |which, more| Action::Discard { which, reason: *of(&REASONS, more % 4) }),
        (2, |which, _| Action::Force(which)),
        (2, |which, more| Action::Retire { which, reason: *of(&REASONS, more % 4) }),
        (1, |_, _| Action::GiveUpIdle),
        (1, |_, _| Action::Warm),
        (5, |which, more| {
            // Zero stands for "as it was": other leases replace every connection.
            let leases = if more % 8 == 7 { more / 8 % 3 + 1 } else { 0 };
            Action::SetLimits { cap: u16::from(which % 5 + 1), leases }
        }),
        (1, |_, _| Action::RaiseGeneration),
        (2, |which, more| {
            let reason =
                *of(&[QuarantineReason::KeyDuplicated, QuarantineReason::Operator], more % 2);
            Action::Quarantine((more / 2 % 8 < 7).then_some(which), reason)
        }),
        // Out of service nothing much happens, so that it should be rare and not last.
        (1, |which, _| if which % 4 == 3 { Action::Drain } else { Action::Reinstate }),
        (1, |which, _| if which % 16 == 15 { Action::CloseAccount } else { Action::Reinstate }),
    ];
    kinds.iter().flat_map(|(weight, make)| std::iter::repeat_n(*make, *weight)).collect()
}

const PRESSURES: [Pressure; 3] = [Pressure::Calm, Pressure::Pressed, Pressure::Urgent];

const REASONS: [CloseReason; 4] = [
    CloseReason::Broken,
    CloseReason::CheckFailed,
    CloseReason::Requested,
    CloseReason::Quarantine,
];

/// The numbers that are left over stand for the first.
fn of<T>(from: &[T], roll: u16) -> &T {
    from.get(usize::from(roll)).unwrap_or(&from[0])
}

fn dial_end(more: u16) -> DialEnd {
    match more % 20 {
        0..16 => DialEnd::Opens { age: more / 20 % 400 + 1 },
        16..19 => DialEnd::Fails { pause: more / 20 % 60 },
        _ => DialEnd::Abandoned,
    }
}

/// Notes that somebody was woken.
#[derive(Debug, Default)]
struct Alarm(AtomicBool);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.store(true, AtomicOrdering::Relaxed);
    }
}

/// An acquire that waits, or has its answer and has not taken it.
#[derive(Debug)]
struct Asker {
    waiter: Arc<Waiter<u32, Failure>>,
    fresh: bool,
    deadline: Option<Instant>,
    alarm: Arc<Alarm>,
    polled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Dialing,
    Open,
    /// Takes no lease any more, and bears some.
    Retiring,
    /// To be closed.
    Final,
    /// Its place has come back; a lease may still be out.
    Gone,
}

/// What the model knows of a connection.
#[derive(Debug)]
struct Record {
    link: Link,
    generation: u64,
    phase: Phase,
    leases: u32,
    uses: u64,
    shared_uses: u64,
    last_used: Tick,
    retire_at: Tick,
    faulty: bool,
    reason: Option<CloseReason>,
}

impl Record {
    fn id(&self) -> ConnectionId {
        self.link.id
    }

    fn has_room(&self) -> bool {
        self.phase == Phase::Open && self.leases < u32::from(self.link.max_leases)
    }

    fn is_idle(&self) -> bool {
        self.phase == Phase::Open && self.leases == 0
    }

    fn is_closing(&self) -> bool {
        self.phase == Phase::Final
    }
}

/// A dial under way, and the connection that it has begun.
#[derive(Debug)]
struct Attempt {
    order: DialOrder,
    begun: Option<Link>,
}

/// What a step is about: what it may do beyond what the account's condition asks for.
#[derive(Debug, Default)]
struct Step {
    /// The connections that it may end, and why.
    ends: Vec<(ConnectionId, CloseReason)>,
    /// Why it may end those of an old generation.
    swept: Option<CloseReason>,
    dial_failed: bool,
    opened: Option<ConnectionId>,
    timers_fired: bool,
    forced: bool,
}

impl Step {
    fn ending(id: ConnectionId, reason: CloseReason) -> Self {
        Self { ends: vec![(id, reason)], ..Self::default() }
    }
}

/// How many connections a step may end to make room: under a lowered cap, and for acquires that
/// take only a new connection.
struct Room {
    excess: usize,
    fresh: usize,
}

impl Room {
    fn without(&self, retiring: usize) -> Self {
        let Self { excess, fresh } = self;
        Self { excess: excess.saturating_sub(retiring), fresh: fresh.saturating_sub(retiring) }
    }
}

/// The engine and its model.
struct Machine {
    engine: Engine,
    slots: u16,
    cap: u16,
    leases: u16,
    generation: u64,
    closed: bool,
    draining: bool,
    barred: Vec<(u16, QuarantineReason)>,
    failures: u32,
    retry_at: Tick,
    now: Tick,
    started: Instant,
    records: Vec<Record>,
    line: Vec<Asker>,
    answered: Vec<Asker>,
    held: Vec<Link>,
    dials: Vec<Attempt>,
    drains: Vec<Link>,
    watches: Vec<Instant>,
    looks: Vec<(Tick, u16, ConnectionId)>,
    next_id: u64,
    opened: u64,
    gone: u64,
    new_uses: u64,
    past_uses: u64,
    past_shared_uses: u64,
}

fn pick<T>(from: &[T], which: u8) -> Option<usize> {
    pick_of(from.len(), which)
}

fn pick_of(count: usize, which: u8) -> Option<usize> {
    usize::from(which).checked_rem(count)
}

impl Machine {
    fn new(slots: u16, cap: u16, leases: u16) -> Self {
        let account = AccountId::bot(1).expect("an account");
        Self {
            engine: AccountPool::new(account, slots, 0, cap, leases),
            slots,
            cap,
            leases,
            generation: 0,
            closed: false,
            draining: false,
            barred: Vec::new(),
            failures: 0,
            retry_at: 0,
            now: EPOCH,
            started: crate::clock::now(),
            records: Vec::new(),
            line: Vec::new(),
            answered: Vec::new(),
            held: Vec::new(),
            dials: Vec::new(),
            drains: Vec::new(),
            watches: Vec::new(),
            looks: Vec::new(),
            next_id: 0,
            opened: 0,
            gone: 0,
            new_uses: 0,
            past_uses: 0,
            past_shared_uses: 0,
        }
    }

    // What the model knows.

    fn instant(&self) -> Instant {
        self.started + Duration::from_millis(self.now - EPOCH)
    }

    fn cap(&self) -> usize {
        usize::from(self.cap.min(self.slots))
    }

    fn is_barred(&self, slot: u16) -> bool {
        self.barred.iter().any(|(barred, _)| *barred == slot)
    }

    fn unready(&self) -> Option<Unready> {
        if self.closed {
            Some(Unready::Closed)
        } else if self.draining {
            Some(Unready::Draining)
        } else if (0..self.slots).all(|slot| self.is_barred(slot)) {
            let last = self.barred.last();
            Some(last.map_or(Unready::NoSession, |(_, reason)| Unready::Quarantined(*reason)))
        } else {
            None
        }
    }

    fn closing(&self) -> usize {
        self.records.iter().filter(|it| it.is_closing()).count()
    }

    fn live(&self) -> usize {
        let is_live = |it: &&Record| matches!(it.phase, Phase::Open | Phase::Retiring);
        self.records.iter().filter(is_live).count()
    }

    /// Slots that are dialled, live or being closed.
    fn taken(&self) -> usize {
        self.dials.len() + self.live() + self.closing()
    }

    fn is_vacant(&self, slot: u16) -> bool {
        let holds =
            |it: &Record| it.link.slot == slot && !matches!(it.phase, Phase::Dialing | Phase::Gone);
        !self.dials.iter().any(|it| it.order.slot == slot) && !self.records.iter().any(holds)
    }

    fn excess(&self) -> usize {
        self.taken().saturating_sub(self.cap()).saturating_sub(self.closing())
    }

    fn fresh(&self) -> usize {
        self.line.iter().filter(|it| it.fresh).count()
    }

    fn plain(&self) -> usize {
        self.line.len() - self.fresh()
    }

    /// The dials that serve the line as it stands.
    fn wanted_dials(&self) -> usize {
        let wanted = self.fresh() + self.plain().div_ceil(usize::from(self.leases));
        if self.failures > 0 { wanted.min(1) } else { wanted }
    }

    fn can_dial(&self) -> bool {
        let usable = |slot: &u16| self.is_vacant(*slot) && !self.is_barred(*slot);
        self.taken() < self.cap() && (0..self.slots).any(|slot| usable(&slot))
    }

    fn record(&mut self, id: ConnectionId) -> &mut Record {
        self.records.iter_mut().find(|it| it.id() == id).expect("the model has lost a connection")
    }

    fn has_body(&self) -> bool {
        self.engine.body.get().is_some()
    }

    // What a step leaves to be done.

    /// Takes over the orders of a step, and the answers that it gave.
    fn carry_out(&mut self, orders: Orders<u32>, step: &Step) {
        for waker in orders.wake {
            waker.wake();
        }
        let wanted = self.wanted_dials();
        for order in orders.dial {
            self.take_dial(order, wanted);
        }
        // A connection may serve one in line and then have to retire for the next.
        self.collect_answers(step);
        let coming = self.dials.len() + self.closing();
        let mut room = Room { excess: self.excess(), fresh: self.fresh().saturating_sub(coming) };
        // One that others hold only retires: not more of them than places are wanted.
        let retiring = self.records.iter().filter(|it| it.phase == Phase::Retiring).count();
        let mut room_to_come = room.without(retiring);
        for link in orders.close {
            let record = self.record(link.id);
            let was = std::mem::replace(&mut record.phase, Phase::Final);
            assert!(matches!(was, Phase::Open | Phase::Retiring), "{was:?} was closed");
            let forced = was == Phase::Retiring && step.forced;
            assert!(forced || record.leases == 0, "closed, and leased");
            self.explain(&link, step, &mut room);
        }
        for link in orders.drain {
            let record = self.record(link.id);
            assert!(record.leases > 0, "nobody holds what is to be drained");
            let was = std::mem::replace(&mut record.phase, Phase::Retiring);
            assert_eq!(was, Phase::Open, "a connection retires once");
            self.explain(&link, step, &mut room_to_come);
            self.drains.push(link);
        }
        self.watches.extend(orders.watch);
    }

    fn take_dial(&mut self, order: DialOrder, wanted: usize) {
        assert!(self.unready().is_none(), "an account out of service dials");
        assert!(self.is_vacant(order.slot), "I1: slot {} is taken", order.slot);
        assert!(!self.is_barred(order.slot), "slot {} is quarantined", order.slot);
        assert!(order.not_before >= self.retry_at, "I16: a dial does not wait for its backoff");
        self.dials.push(Attempt { order, begun: None });
        assert!(self.taken() <= self.cap(), "I1: a dial above the cap");
        if !order.unasked {
            assert!(self.dials.len() <= wanted, "more dials than the line asks for");
        }
    }

    /// Every end of a connection has a cause, and the reason that it carries is that cause.
    fn explain(&mut self, link: &Link, step: &Step, room: &mut Room) {
        let id = link.id;
        let unready = self.unready().map(CloseReason::from);
        let generation = self.generation;
        let barred = self.is_barred(link.slot);
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
            || barred && reason == CloseReason::Quarantine;
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

    /// Finds who was answered by this step: in the order of the line, each once, each woken.
    fn collect_answers(&mut self, step: &Step) {
        let (mut passed_over, mut passed_over_plain, mut told_of_dial) = (false, false, false);
        for asker in std::mem::take(&mut self.line) {
            let answer = asker.waiter.peek(|served| match served {
                Ok((link, source)) => Ok((Arc::clone(link), *source)),
                Err(refusal) => Err(self.check_refusal(refusal, &asker, step)),
            });
            let woken = asker.alarm.0.load(AtomicOrdering::Relaxed);
            let Some(answer) = answer else {
                assert!(!woken, "woken without an answer");
                passed_over = true;
                passed_over_plain |= !asker.fresh;
                self.line.push(asker);
                continue;
            };
            assert!(woken || !asker.polled, "I4: answered, and sleeps on");
            match answer {
                Ok((link, Source::New)) => {
                    assert!(!passed_over, "I23: a new connection passed over the first in line");
                    assert_eq!(Some(link.id), step.opened, "new, but not opened just now");
                    self.lend(&link, Source::New);
                }
                Ok((link, source)) => {
                    assert!(!asker.fresh, "an old connection for one who asked for a new one");
                    assert!(!passed_over_plain, "I23: out of turn");
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
    fn check_refusal(&self, refusal: &Refusal<Failure>, asker: &Asker, step: &Step) -> bool {
        match refusal {
            Refusal::Dial(_) => {
                assert!(step.dial_failed, "no dial failed");
                return true;
            }
            Refusal::Timeout => {
                assert!(step.timers_fired, "nobody asked for expired waiters");
                let due = asker.deadline.is_some_and(|deadline| deadline <= self.instant());
                assert!(due, "timed out before its time");
            }
            other => self.check_unready(other),
        }
        false
    }

    fn check_unready(&self, refusal: &Refusal<Failure>) {
        let told = match refusal {
            Refusal::Closed => Unready::Closed,
            Refusal::Draining => Unready::Draining,
            Refusal::NoSession => Unready::NoSession,
            Refusal::Quarantined(reason) => Unready::Quarantined(*reason),
            Refusal::Timeout | Refusal::Dial(_) => panic!("{refusal:?} is no standing"),
        };
        assert_eq!(Some(told), self.unready(), "refused for the wrong reason");
    }

    /// Dials that no longer fit end with the reason of the first sweep that met them.
    fn sweep_dials(&mut self, reason: CloseReason) {
        let (unready, generation) = (self.unready().map(CloseReason::from), self.generation);
        for record in self.records.iter_mut().filter(|it| it.phase == Phase::Dialing) {
            if unready.is_some() || record.generation != generation {
                record.reason.get_or_insert(unready.unwrap_or(reason));
            }
        }
    }

    /// A lease comes into being.
    fn lend(&mut self, link: &Link, source: Source) {
        let (generation, barred) = (self.generation, self.is_barred(link.slot));
        assert!(self.unready().is_none() && !barred, "a lease of an account out of service");
        let record = self.record(link.id);
        assert!(record.has_room(), "a lease of one that is full, or {:?}", record.phase);
        assert_eq!(record.generation, generation, "I20: a lease of an old generation");
        let shared = record.leases > 0;
        assert!(source == Source::New || source == Source::of_live(shared), "wrong source");
        assert!(source != Source::New || !shared, "new, and others have it already");
        record.leases += 1;
    }

    // The actions.

    fn apply(&mut self, action: &Action) {
        match *action {
            Action::Lease { through_slots } => self.try_lease(through_slots),
            Action::Join { fresh, patience, polled } => {
                self.join(fresh, patience, false);
                // If it was let in, it is the last.
                if let Some(last) = self.line.len().checked_sub(1).filter(|_| polled) {
                    self.poll(last);
                }
            }
            Action::Poll(which) => {
                if let Some(index) = pick(&self.line, which) {
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
            Action::Advance(by) => self.now += Tick::from(by),
            Action::Force(which) => self.force(which),
            Action::Retire { which, reason } => self.retire(which, reason),
            Action::GiveUpIdle => self.give_up_idle(),
            Action::Warm => {
                let cold = self.taken() == 0 && self.unready().is_none() && self.can_dial();
                let orders = self.engine.warm(self.now);
                assert_eq!(orders.dial.len(), usize::from(cold), "warm dials for the cold only");
                self.carry_out(orders, &Step::default());
            }
            Action::SetLimits { cap, leases } => self.set_limits(cap, leases),
            Action::RaiseGeneration => {
                self.generation += 1;
                let step = Step { swept: Some(CloseReason::Requested), ..Step::default() };
                self.sweep_dials(CloseReason::Requested);
                let orders = self.engine.raise_generation(CloseReason::Requested, self.now);
                self.carry_out(orders, &step);
            }
            Action::Drain => {
                self.draining = true;
                self.generation += 1;
                self.sweep_dials(CloseReason::Drain);
                let orders = self.engine.drain(self.now);
                self.carry_out(orders, &Step::default());
            }
            Action::Quarantine(slot, reason) => self.quarantine(slot, reason),
            Action::Reinstate => {
                self.draining = false;
                self.barred.clear();
                (self.failures, self.retry_at) = (0, 0);
                let orders = self.engine.reinstate(self.now);
                self.carry_out(orders, &Step::default());
            }
            Action::CloseAccount => {
                self.closed = true;
                self.sweep_dials(CloseReason::Shutdown);
                let orders = self.engine.close(self.now);
                self.carry_out(orders, &Step::default());
            }
        }
    }

    fn try_lease(&mut self, through_slots: bool) {
        let ready = self.unready().is_none() && self.line.is_empty() && self.excess() == 0;
        let free = self.records.iter().any(Record::has_room);
        let take =
            if through_slots { self.engine.try_lease_any() } else { self.engine.try_lease() };
        match take {
            Take::Leased(link, source) => {
                assert!(ready, "I23: leased past the line, or out of service");
                self.lend(&link, source);
                self.accept(link, source);
            }
            Take::Outdated(link) => panic!("{} outlived its generation", link.id),
            Take::Empty => assert!(ready && !free, "a free connection was not found"),
            Take::NotReady => assert!(!ready, "nobody waits and the account is ready"),
        }
    }

    fn accept(&mut self, link: Link, source: Source) {
        let now = self.now;
        let counted = self.engine.accept(&link, source, now, Location::caller());
        self.new_uses += u64::from(source == Source::New);
        let record = self.record(link.id);
        record.uses += 1;
        record.shared_uses += u64::from(source == Source::Shared && link.max_leases > 1);
        assert_eq!(counted, record.uses);
        self.held.push(link);
    }

    fn join(&mut self, fresh: bool, patience: Option<u16>, front: bool) {
        let deadline = patience.map(|millis| self.instant() + Duration::from_millis(millis.into()));
        let waiter = Waiter::new(fresh, self.instant(), deadline);
        match self.engine.join_line(&waiter, front, self.now) {
            Ok(orders) => {
                assert_eq!(self.unready(), None, "let into the line, and out of service");
                let asker = Asker { waiter, fresh, deadline, alarm: Arc::default(), polled: false };
                let place = if front { 0 } else { self.line.len() };
                self.line.insert(place, asker);
                self.carry_out(orders, &Step::default());
            }
            Err(refusal) => self.check_unready(&refusal),
        }
    }

    /// One who has no answer yet looks for it.
    fn poll(&mut self, index: usize) {
        let asker = &mut self.line[index];
        let waker = Waker::from(Arc::clone(&asker.alarm));
        let polled = asker.waiter.poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "the answer came from nowhere");
        asker.polled = true;
    }

    /// Something that is under way comes to its next stage.
    fn proceed(&mut self, which: u8, end: DialEnd) {
        let (now, instant) = (self.now, self.instant());
        let places = |count: usize, is_due: &dyn Fn(usize) -> bool| {
            (0..count).filter(|index| is_due(*index)).collect::<Vec<_>>()
        };
        let dials = places(self.dials.len(), &|it| {
            let Attempt { order, begun } = &self.dials[it];
            begun.is_some() || order.not_before <= now
        });
        let closes = places(self.records.len(), &|it| self.records[it].is_closing());
        let watches = places(self.watches.len(), &|it| self.watches[it] <= instant);
        let looks = places(self.looks.len(), &|it| self.looks[it].0 <= now);
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

    fn take_and_hold(&mut self, index: usize) {
        if let Some((link, source)) = self.take(index) {
            self.accept(link, source);
        }
    }

    /// Takes the answer of one who has it.
    fn take(&mut self, index: usize) -> Option<(Link, Source)> {
        let asker = self.answered.swap_remove(index);
        match asker.waiter.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer.ok(),
            Poll::Pending => panic!("the answer is lost"),
        }
    }

    fn take_dead(&mut self, which: u8) {
        let Some(index) = pick(&self.answered, which) else { return };
        let fresh = self.answered[index].fresh;
        if let Some((link, _)) = self.take(index) {
            self.discard(link, CloseReason::Broken);
            self.check();
            self.join(fresh, None, true);
        }
    }

    fn leave(&mut self, which: u8) {
        let Some(index) = pick_of(self.line.len() + self.answered.len(), which) else { return };
        if index < self.line.len() {
            let asker = self.line.remove(index);
            assert!(self.engine.leave_line(&asker.waiter).is_none(), "given in the dark");
            return;
        }
        let asker = self.answered.swap_remove(index - self.line.len());
        let given = asker.waiter.peek(|served| served.as_ref().ok().map(|(link, _)| link.id));
        let back = self.engine.leave_line(&asker.waiter);
        assert_eq!(back.as_ref().map(|it| it.id), given.flatten(), "I5: what was given is lost");
        if let Some(link) = back {
            self.check();
            self.release(link, self.now, Pressure::Calm);
        }
    }

    fn release(&mut self, link: Link, now: Tick, pressure: Pressure) {
        let id = link.id;
        let ends = self.record(id).leases <= 1;
        let would_idle = self.line.is_empty() && ends;
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
        if let Some(orders) = self.engine.release(link, now, pressure) {
            self.carry_out(orders, &step);
        }
        let open = self.record(id).phase == Phase::Open;
        assert!(!open || !aged && !gives_way, "I14: kept although it was to go");
        self.forget_returned();
    }

    fn discard(&mut self, link: Link, reason: CloseReason) {
        let id = link.id;
        let record = self.record(id);
        record.leases -= 1;
        record.faulty |= reason.is_fault() && !matches!(record.phase, Phase::Final | Phase::Gone);
        let orders = self.engine.release_discarded(link, reason);
        self.carry_out(orders, &Step::ending(id, reason));
        assert_ne!(self.record(id).phase, Phase::Open, "discarded, and open");
        self.forget_returned();
    }

    /// A connection whose place has come back is remembered for its leases only.
    fn forget_returned(&mut self) {
        self.records.retain(|it| it.phase != Phase::Gone || it.leases > 0);
    }

    fn dial(&mut self, index: usize, end: DialEnd) {
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
                let record = self.record(link.id);
                let retired = record.reason.is_some();
                (record.phase, record.last_used, record.retire_at) = (Phase::Open, now, retire_at);
                let orders = self.engine.complete_dial(&link, 7, retire_at, now);
                let due = (now + MAX_IDLE).min(retire_at);
                link.set_look(due);
                self.looks.push((due, link.slot, link.id));
                let step = Step { opened: Some(link.id), ..Step::default() };
                self.carry_out(orders, &step);
                let ended = self.record(link.id).phase == Phase::Final;
                assert!(!retired || ended, "retired while it was dialled, and opened");
            }
            (Some(link), DialEnd::Fails { pause }) => {
                let retry_at = self.now + Tick::from(pause);
                self.lose_dial(index, Some(link), Lost::Failed { retry_at });
            }
        }
    }

    fn begin_dial(&mut self, index: usize, order: DialOrder) {
        let asked_for = order.unasked || !self.line.is_empty();
        let wanted = asked_for && self.unready().is_none() && !self.is_barred(order.slot);
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

    fn lose_dial(&mut self, index: usize, begun: Option<Link>, lost: Lost) {
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
        let nobody = self.line.is_empty();
        let (orders, unheard) =
            self.engine.fail_dial(order, begun.as_deref(), lost, failure, self.now);
        assert_eq!(unheard.is_some(), dial_failed && nobody, "the failure went to nobody");
        if let Some(link) = begun {
            let faulty = faulty || matches!(lost, Lost::Failed { .. });
            let state = if faulty { ConnectionState::Error } else { ConnectionState::Disconnected };
            assert_eq!(link.word.snapshot().state(), state, "I11: the end of a dial");
        }
        let waiting = self.line.len();
        self.carry_out(orders, &Step { dial_failed, ..Step::default() });
        let told = nobody || self.line.len() < waiting;
        assert!(told || !dial_failed, "nobody was told of a failed dial");
    }

    fn vacate(&mut self, index: usize) {
        let record = &mut self.records[index];
        let link = Arc::clone(&record.link);
        record.phase = Phase::Gone;
        let (uses, shared_uses) = (record.uses, record.shared_uses);
        self.gone += 1;
        self.past_uses += uses;
        self.past_shared_uses += shared_uses;
        let orders = self.engine.vacate(&link, self.now);
        self.carry_out(orders, &Step::default());
        self.forget_returned();
    }

    fn watch(&mut self, index: usize) {
        let now = self.instant();
        self.watches.swap_remove(index);
        let orders = self.engine.expire_waiters(now);
        self.carry_out(orders, &Step { timers_fired: true, ..Step::default() });
    }

    fn reap(&mut self, index: usize) {
        let (look, slot, id) = self.looks.swap_remove(index);
        let now = self.now;
        let found = self.records.iter().find(|it| it.id() == id);
        let live = found.filter(|it| matches!(it.phase, Phase::Open | Phase::Retiring));
        let expired = live.filter(|it| it.is_idle()).and_then(|it| {
            let reason = if it.retire_at <= now { CloseReason::Age } else { CloseReason::Idle };
            (now >= it.retire_at.min(it.last_used + MAX_IDLE)).then_some(reason)
        });
        let is_live = live.is_some();
        match self.engine.reap(slot, id, look, now, MAX_IDLE) {
            Reap::Expired(orders) => {
                let reason = expired.expect("I14: reaped, and neither idle for long nor old");
                assert_eq!(orders.close.len(), 1);
                self.carry_out(orders, &Step::ending(id, reason));
            }
            Reap::Again(next) => {
                assert!(is_live && expired.is_none(), "I14: it has expired, and stays");
                assert!(next > now, "the reaper spins");
                self.looks.push((next, slot, id));
            }
            Reap::Gone => assert!(!is_live, "the reaper has forgotten a live connection"),
        }
    }

    fn force(&mut self, which: u8) {
        let Some(index) = pick(&self.drains, which) else { return };
        let link = self.drains.swap_remove(index);
        let retiring =
            self.records.iter().any(|it| it.id() == link.id && it.phase == Phase::Retiring);
        let orders = self.engine.force(&link);
        assert_eq!(orders.close.len(), usize::from(retiring), "force ends what drains");
        self.carry_out(orders, &Step { forced: true, ..Step::default() });
    }

    fn retire(&mut self, which: u8, reason: CloseReason) {
        let Some(index) = pick(&self.records, which) else { return };
        let record = &mut self.records[index];
        let link = Arc::clone(&record.link);
        let live = matches!(record.phase, Phase::Open | Phase::Retiring);
        let dialing = record.phase == Phase::Dialing;
        record.faulty |= (live || dialing) && reason.is_fault();
        if dialing {
            record.reason.get_or_insert(reason);
        }
        let orders = self.engine.retire(&link, reason);
        self.carry_out(orders, &Step::ending(link.id, reason));
        assert_ne!(self.record(link.id).phase, Phase::Open, "retired, and open");
    }

    fn give_up_idle(&mut self) {
        let idle = self.records.iter().filter(|it| it.is_idle());
        let longest = idle.map(|it| it.last_used).min();
        let orders = self.engine.give_up_idle();
        assert_eq!(orders.is_some(), longest.is_some(), "an idle connection gives way");
        if let Some(orders) = orders {
            let id = orders.close[0].id;
            assert_eq!(Some(self.record(id).last_used), longest, "not the longest idle");
            self.carry_out(orders, &Step::ending(id, CloseReason::Excess));
        }
    }

    fn set_limits(&mut self, cap: u16, leases: u16) {
        let leases = if leases == 0 { self.leases } else { leases };
        if self.has_body() && leases != self.leases {
            self.generation += 1;
            self.sweep_dials(CloseReason::Drain);
        }
        (self.cap, self.leases) = (cap, leases);
        let orders = self.engine.set_limits(cap, leases, self.now);
        self.carry_out(orders, &Step::default());
    }

    fn quarantine(&mut self, slot: Option<u8>, reason: QuarantineReason) {
        let slot = slot.filter(|_| self.slots > 0).map(|it| u16::from(it) % self.slots);
        for session in (0..self.slots).filter(|it| slot.is_none_or(|slot| slot == *it)) {
            self.barred.retain(|(barred, _)| *barred != session);
            self.barred.push((session, reason));
        }
        if self.unready().is_some() {
            self.sweep_dials(CloseReason::Quarantine);
        } else if let Some(record) = self
            .records
            .iter_mut()
            .find(|it| it.phase == Phase::Dialing && Some(it.link.slot) == slot)
        {
            record.reason.get_or_insert(CloseReason::Quarantine);
        }
        let orders = self.engine.quarantine(slot, reason, self.now);
        self.carry_out(orders, &Step::default());
    }
}

/// What must hold after each step.
impl Machine {
    fn check(&self) {
        let Some(body) = self.engine.body.get() else {
            assert!(self.records.is_empty() && self.dials.is_empty() && self.line.is_empty());
            return;
        };
        self.check_gate();
        self.check_books(body);
        self.check_slots(body);
        self.check_counters();
        self.check_progress();
        self.check_timers();
    }

    fn check_gate(&self) {
        let gate = self.engine.gate.load(Ordering::Relaxed);
        let unready = (0..self.slots).all(|slot| self.is_barred(slot)) || self.draining;
        assert_eq!(gate & WAIT != 0, !self.line.is_empty(), "WAIT says whether somebody waits");
        assert_eq!(gate & CLOSED != 0, self.closed, "CLOSED");
        assert_eq!(gate & UNREADY != 0, unready, "UNREADY");
        assert_eq!(gate & SHRINK != 0, self.excess() > 0, "SHRINK says whether some must go");
        assert_eq!(gate / GENERATION, self.generation, "the generation");
        assert_eq!(self.engine.unready(), self.unready(), "the standing");
    }

    /// I1, I2, I3: permits and slots are neither minted nor burnt.
    fn check_books(&self, body: &Body<u32, Failure>) {
        let core = body.core.lock();
        let (taken, cap) = (self.taken(), self.cap());
        assert_eq!(core.cap as usize, cap, "I2: the cap");
        assert_eq!(core.dialing as usize, self.dials.len(), "dials under way");
        assert_eq!(core.closing as usize, self.closing(), "closes under way");
        assert_eq!(core.debt as usize, taken.saturating_sub(cap), "I2: debt");
        assert_eq!(body.permits.free(), cap.saturating_sub(taken), "I2, I3: free permits");
        let vacant = (0..self.slots).filter(|slot| self.is_vacant(*slot));
        assert_eq!(core.vacant, vacant.fold(0, |bits, slot| bits | 1 << slot), "vacant slots");
        assert_eq!((core.line.fresh(), core.line.plain()), (self.fresh(), self.plain()));
        assert_eq!((core.failures, core.retry_at), (self.failures, self.retry_at));
    }

    /// I11: each connection is in one place and one state, and the engine agrees which.
    fn check_slots(&self, body: &Body<u32, Failure>) {
        for (slot, cell) in (0..self.slots).zip(body.slots.iter()) {
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
                let barred = self.is_barred(record.link.slot);
                assert!(self.unready().is_none() && !barred, "open, and out of service");
            }
        }
    }

    /// I13, I24: what is counted is what there is.
    fn check_counters(&self) {
        let mut totals = Totals::default();
        self.engine.add_to(&mut totals);
        let count = |phase| self.records.iter().filter(|it| it.phase == phase).count() as u64;
        let sum = |of: fn(&Record) -> u64| {
            self.records.iter().filter(|it| it.phase != Phase::Gone).map(of).sum::<u64>()
        };
        let leases: u64 = self.records.iter().map(|it| u64::from(it.leases)).sum();
        assert_eq!(totals.leases, leases, "I24: leases");
        assert_eq!(totals.waiting, self.line.len() as u64, "I24: waiting");
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
        assert_eq!(stats.max_connections as usize, self.cap());

        let nothing = self.taken() == 0 && self.line.is_empty() && leases == 0;
        let clean = !self.draining && self.barred.is_empty() && self.retry_at <= self.now;
        assert_eq!(
            self.engine.is_empty(self.now),
            nothing && (clean || self.closed),
            "I21: may be collected"
        );
    }

    /// I4, I10: nobody is left in line who could be helped now, and nothing stays too long.
    fn check_progress(&self) {
        let idle = self.records.iter().any(Record::is_idle);
        assert!(!idle || self.excess() == 0, "idle, and above the cap");
        if self.unready().is_some() {
            assert!(self.line.is_empty(), "I17: waits for an account out of service");
            return;
        }
        let free = self.records.iter().any(Record::has_room);
        assert!(!free || self.plain() == 0, "I4: a connection is free and a waiter sleeps");
        let dials = self.dials.len();
        assert!(!self.can_dial() || dials >= self.wanted_dials(), "I10: nobody dials");
        let coming = dials + self.closing();
        // After a failure one new connection at a time is enough.
        let wanted = if self.failures > 0 { self.fresh().min(1) } else { self.fresh() };
        assert!(!idle || coming >= wanted || self.can_dial(), "I10: no room for a new connection");
    }

    /// Every deadline has somebody who will ask for it in time.
    fn check_timers(&self) {
        for deadline in self.line.iter().filter_map(|it| it.deadline) {
            let watched = self.watches.iter().any(|watch| *watch <= deadline);
            assert!(watched, "I24: nobody will refuse a waiter at its deadline");
        }
        let live = |it: &&Record| matches!(it.phase, Phase::Open | Phase::Retiring);
        for record in self.records.iter().filter(live) {
            let look = record.link.look();
            let entry = (look, record.link.slot, record.id());
            assert!(self.looks.contains(&entry), "I14: {} is never looked at", record.id());
            // A borrower that panicked returns its connection as one last used in the far past.
            if record.is_idle() && record.last_used > 0 {
                let due = (record.last_used + MAX_IDLE).min(record.retire_at);
                assert!(look <= due, "I14: {} is looked at too late", record.id());
            }
        }
    }
}

/// The end of a sequence: everything comes back.
impl Machine {
    fn finish(&mut self) {
        // Every turn ends a dial, a close, a wait or a lease.
        for _ in 0..10_000 {
            if let Some(attempt) = self.dials.first() {
                self.now = self.now.max(attempt.order.not_before);
                self.dial(0, DialEnd::Opens { age: 1000 });
            } else if let Some(index) = self.records.iter().position(Record::is_closing) {
                self.vacate(index);
            } else if !self.answered.is_empty() {
                self.take_and_hold(0);
            } else if let Some(link) = self.held.pop() {
                self.release(link, self.now, Pressure::Calm);
            } else {
                break;
            }
            self.check();
        }
        assert!(self.line.is_empty(), "I4: nothing is under way any more and somebody sleeps");
        self.apply(&Action::CloseAccount);
        self.check();
        while let Some(index) = self.records.iter().position(Record::is_closing) {
            self.vacate(index);
            self.check();
        }
        self.apply(&Action::Reinstate);
        self.check();
        assert!(self.records.is_empty() && self.dials.is_empty(), "I17: something is left");
        assert!(self.answered.is_empty() && self.held.is_empty());
        assert_eq!(self.opened, self.gone, "opened and closed balance");
        assert!(self.engine.is_empty(self.now), "I22: nothing is left that would be missed");
        if let Some(body) = self.engine.body.get() {
            assert_eq!(body.permits.free(), self.cap(), "I2: every permit is back");
        }
    }
}

fn run(slots: u16, cap: u16, leases: u16, actions: &[Action]) {
    let mut machine = Machine::new(slots, cap, leases);
    machine.check();
    for action in actions {
        machine.apply(action);
        machine.check();
    }
    machine.finish();
}

/// The same from any bytes, four to an action.
#[cfg(fuzzing)]
pub(crate) fn run_bytes(data: &[u8]) {
    const ACTIONS_MAX: usize = 500;
    let [slots, cap, leases, kind, actions @ ..] = data else { return };
    let table = if kind % 2 == 0 { table(28, 3) } else { table(8, 12) };
    let actions: Vec<_> = actions
        .chunks_exact(4)
        .take(ACTIONS_MAX)
        .map(|it| {
            table[usize::from(it[0]) % table.len()](it[1], u16::from_le_bytes([it[2], it[3]]))
        })
        .collect();
    run(u16::from(slots % 5), u16::from(cap % 5 + 1), u16::from(leases % 3 + 1), &actions);
}

/// Enough for the usual run; the variable `PROPTEST_CASES` sets more.
#[cfg(test)]
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { 6000 };
    ProptestConfig { cases, max_shrink_iters: 50_000, ..given }
}

#[cfg(test)]
proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_engine_is_its_model(
        slots in prop_oneof![1 => Just(0_u16), 30 => 1_u16..5],
        cap in 1_u16..6,
        leases in 1_u16..4,
        actions in actions(),
    ) {
        run(slots, cap, leases, &actions);
    }
}
