//! The engine without a runtime: every effect is applied by hand.

#![expect(
    clippy::unwrap_used,
    let_underscore_drop,
    reason = "a test carries out few of the duties"
)]

mod leases;
mod lifecycle;
mod pause;

use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::base::clock::{EPOCH, Tick};
use crate::connection::{CloseReason, ConnectionId, Source};
use crate::error::DialError;
use crate::manager::QuarantineReason;

type Engine = AccountPool<u32, std::io::Error>;

const NOW: Tick = EPOCH;

fn engine(slots: u16, cap: u16, leases: u16) -> Engine {
    AccountPool::new(AccountId::bot(1).unwrap(), slots, 0, cap, leases)
}

fn join(engine: &Engine, fresh: bool) -> (Arc<Waiter<u32, std::io::Error>>, Effects<u32>) {
    let waiter = Waiter::new(fresh, crate::base::clock::now(), None, Location::caller(), None);
    let effects = engine.enqueue_waiter(&waiter, false, NOW).expect("the account is ready");
    let effects = effects.unwrap_or_else(Effects::none);
    (waiter, effects)
}

fn served(waiter: &Waiter<u32, std::io::Error>) -> Option<Arc<Connection<u32>>> {
    match waiter.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(served) => Some(served.expect("served").0),
        Poll::Pending => None,
    }
}

fn dial(
    engine: &Engine,
    order: DialOrder,
    id: u64,
) -> Option<(Arc<Connection<u32>>, Effects<u32>)> {
    let connection = engine.begin_dial(order, ConnectionId(id))?;
    let effects = engine.complete_dial(&connection, 7, Tick::MAX, NOW);
    Some((connection, effects))
}

/// One lease of a new connection.
fn first_lease(engine: &Engine) -> Arc<Connection<u32>> {
    let (waiter, effects) = join(engine, false);
    let (_, done) = dial(engine, effects.dial[0], 1).expect("somebody waits");
    assert!(done.close.is_empty());
    served(&waiter).expect("the dial was for this waiter")
}

/// Two connections with two leases each.
fn two_shared(engine: &Engine) -> [Arc<Connection<u32>>; 2] {
    let leases = [0, 1].map(|id| {
        let (waiter, effects) = join(engine, false);
        let _ = dial(engine, effects.dial[0], id).unwrap();
        let lease = served(&waiter).unwrap();
        assert!(matches!(engine.try_lease(NOW, 0), Take::Leased(_, Source::Shared)));
        lease
    });
    assert!(matches!(engine.try_lease_any(NOW, 0), Take::Empty));
    leases
}
