//! The pressure of the global cap, and the other reasons to close a connection as it is returned.
//!
//! Owns the reasons for which a leased connection is not kept. Each is judged behind the account's lock,
//! and as many go as somebody waits for, no more.

use crate::base::clock::Tick;
use crate::base::sync::Ordering;
use crate::connection::{CloseReason, ConnectionState};
use crate::engine::connection::Connection;
use crate::engine::{AccountPool, Body, Core, FLAGS};

/// How urgently another account waits for a permit of the global cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    /// Nobody waits.
    Calm,
    /// Somebody waits: idle connections and second connections give way.
    Pressed,
    /// Somebody has waited so long that an account's only connection gives way too.
    Urgent,
}

impl<C, E> Body<C, E> {
    /// Leased connections that end with their last lease.
    fn retiring(&self) -> u32 {
        let retires = |connection: &Connection<C>| {
            let now = connection.word.snapshot();
            now.is_retiring() && now.state() == ConnectionState::Active
        };
        let count = self.all_slots().filter(|slot| slot.clone_if(retires).is_some()).count();
        u32::try_from(count).expect("BUG: there are 64 slots at most")
    }
}

impl<C, E> AccountPool<C, E> {
    pub(super) fn reason_to_close(
        &self,
        body: &Body<C, E>,
        core: &Core<C, E>,
        connection: &Connection<C>,
        now: Tick,
        pressure: Pressure,
    ) -> Option<CloseReason> {
        let gate = self.gate.load(Ordering::Relaxed);
        if let Some(unready) = core.unready(gate) {
            return Some(unready.into());
        }
        if connection.generation != gate & !FLAGS {
            return Some(CloseReason::Drain);
        }
        if now >= connection.retire_at() {
            return Some(CloseReason::Age);
        }
        if self.must_go(body, connection, core.excess())
            || self.gives_way(body, core, connection, pressure)
        {
            return Some(CloseReason::Excess);
        }
        let yields = !self.is_paused() && self.must_yield_to_fresh(body, core, connection);
        yields.then_some(CloseReason::Requested)
    }

    /// Whether a leased connection is among the `wanted` that have to go. One that others hold
    /// as well would only retire, and its permit comes much later: if each of those went, one
    /// permit too few would take every connection of the account out of service.
    fn must_go(&self, body: &Body<C, E>, connection: &Connection<C>, wanted: u32) -> bool {
        let ends = connection.word.snapshot().leases() <= 1;
        wanted > 0 && (ends || wanted > body.retiring())
    }

    /// Whether a leased connection makes way for an acquire that takes only a new one.
    pub(super) fn must_yield_to_fresh(
        &self,
        body: &Body<C, E>,
        core: &Core<C, E>,
        connection: &Connection<C>,
    ) -> bool {
        self.must_go(body, connection, core.unprovided_fresh(&body.permits))
            && (core.queue.waiting_for_any() == 0 || core.queue.fresh_is_first())
    }

    /// Whether this connection's permit goes to another account.
    fn gives_way(
        &self,
        body: &Body<C, E>,
        core: &Core<C, E>,
        connection: &Connection<C>,
        pressure: Pressure,
    ) -> bool {
        let live = core.taken().saturating_sub(core.dialing + core.closing);
        let ends = connection.word.snapshot().leases() <= 1;
        let would_idle = !self.is_waited_for(core) && ends;
        // One that others hold as well comes free much later, and provides for nobody until
        // then: at most one at a time.
        let may_go = ends || body.retiring() == 0;
        match pressure {
            Pressure::Calm => false,
            Pressure::Pressed => would_idle || (live > 1 && may_go),
            Pressure::Urgent => may_go,
        }
    }
}
