//! The engine against a plain model: random sequences of everything that can happen to one
//! account, every effect applied in any order, each step checked.
//!
//! Owns the actions, the model and what must hold after each step. The model learns what was
//! dialled, closed and answered from the effects alone, so a change that the engine made and did
//! not tell of shows as well. A step is checked for what it may do (no dial above the cap, no
//! close without a cause), for what it may not leave undone (nobody waits while somebody could
//! be helped), and against the engine's own books.
//!
//! `PROPTEST_CASES=100000 cargo test --no-default-features --lib machine` looks longer.

mod action;
mod check;
mod explain;
mod lifecycle;
mod oracle;
mod play;

use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering as AtomicOrdering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

#[cfg(test)]
use proptest::prelude::*;
#[cfg(test)]
use proptest::test_runner::FileFailurePersistence;

use self::action::{Action, DialEnd};
#[cfg(test)]
use self::action::{LEASES, actions};
#[cfg(fuzzing)]
use self::action::{LEASES, table};
use super::*;
use crate::base::clock::{EPOCH, Instant, Tick};
use crate::connection::{CloseReason, ConnectionId, ConnectionState, Source};
use crate::engine::health::Unready;
use crate::error::DialError;
use crate::manager::QuarantineReason;

type Failure = std::io::Error;
type Engine = AccountPool<u32, Failure>;
type Link = Arc<Connection<u32>>;

const MAX_IDLE: u64 = 100;
/// After how much idle time a connection is checked before reuse.
const CHECK_AFTER: Tick = 20;

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

impl Asker {
    /// The connection whose lease it was given and has not taken.
    fn given(&self) -> Option<ConnectionId> {
        self.waiter.peek(|served| served.as_ref().ok().map(|(link, _)| link.id)).flatten()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Dialing,
    Open,
    /// Takes no lease any more, and bears some.
    Retiring,
    /// To be closed.
    Final,
    /// Its slot has come back; a lease may still be out.
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
    /// Those there are, of which the first so many are sessions.
    slots: u16,
    sessions: u16,
    /// Whether there are more than the queue of idle connections was made for.
    outgrown: bool,
    cap: u16,
    leases: u16,
    generation: u64,
    closed: bool,
    draining: bool,
    paused: bool,
    barred: Vec<(u16, QuarantineReason)>,
    failures: u32,
    retry_at: Tick,
    /// Connections that broke before they were of much use.
    breaks: u32,
    now: Tick,
    started: Instant,
    records: Vec<Record>,
    queue: Vec<Asker>,
    answered: Vec<Asker>,
    /// The leases of checks under way.
    checks: Vec<Link>,
    /// What was used since needs no check, as of the last that began.
    checked_since: Tick,
    held: Vec<Link>,
    dials: Vec<Attempt>,
    drains: Vec<Link>,
    watches: Vec<Watch>,
    visits: Vec<(Tick, Weak<Connection<u32>>, ConnectionId)>,
    /// Whether threads meet at the account.
    meet: bool,
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
            sessions: slots,
            outgrown: false,
            cap,
            leases,
            generation: 0,
            closed: false,
            draining: false,
            paused: false,
            barred: Vec::new(),
            failures: 0,
            retry_at: 0,
            breaks: 0,
            now: EPOCH,
            started: crate::base::clock::now(),
            records: Vec::new(),
            queue: Vec::new(),
            answered: Vec::new(),
            checks: Vec::new(),
            checked_since: 0,
            held: Vec::new(),
            dials: Vec::new(),
            drains: Vec::new(),
            watches: Vec::new(),
            visits: Vec::new(),
            meet: false,
            next_id: 0,
            opened: 0,
            gone: 0,
            new_uses: 0,
            past_uses: 0,
            past_shared_uses: 0,
        }
    }
}

/// The end of a sequence: everything comes back.
impl Machine {
    fn finish(&mut self) {
        self.play(&Action::Resume);
        self.check();
        // Every turn ends a dial, a close, a wait or a lease.
        for _ in 0..10_000 {
            if let Some(attempt) = self.dials.first() {
                self.now = self.now.max(attempt.order.not_before);
                self.dial(0, DialEnd::Opens { age: 1000 });
            } else if let Some(index) = self.records.iter().position(Record::is_closing) {
                self.vacate(index);
            } else if !self.answered.is_empty() {
                self.take_and_hold(0);
            } else if !self.checks.is_empty() {
                self.end_check(0, true);
            } else if let Some(link) = self.held.pop() {
                self.release(link, self.now, Pressure::Calm);
            } else {
                break;
            }
            self.check();
        }
        assert!(self.queue.is_empty(), "I4: nothing is under way any more and somebody sleeps");
        self.play(&Action::CloseAccount);
        self.check();
        while let Some(index) = self.records.iter().position(Record::is_closing) {
            self.vacate(index);
            self.check();
        }
        self.play(&Action::Reinstate);
        self.check();
        assert!(self.records.is_empty() && self.dials.is_empty(), "I17: something is left");
        assert!(self.answered.is_empty() && self.held.is_empty() && self.checks.is_empty());
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
        machine.play(action);
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
    run(u16::from(slots % 5), u16::from(cap % 5 + 1), LEASES[usize::from(leases % 4)], &actions);
}

/// Enough for the usual run; the variable `PROPTEST_CASES` sets more.
#[cfg(test)]
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { 6000 };
    let kept = FileFailurePersistence::Direct("tests/regressions/machine.txt");
    let failure_persistence = Some(Box::new(kept) as Box<_>);
    ProptestConfig { cases, max_shrink_iters: 50_000, failure_persistence, ..given }
}

#[cfg(test)]
proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_engine_is_its_model(
        slots in prop_oneof![1 => Just(0_u16), 30 => 1_u16..5],
        cap in 1_u16..6,
        leases in prop::sample::select(LEASES.to_vec()),
        actions in actions(),
    ) {
        run(slots, cap, leases, &actions);
    }
}
