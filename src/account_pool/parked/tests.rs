//! Parked leases, by hand.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::account::AccountId;
use crate::account_pool::{CloseReason, ConnectionId, Pressure, Purpose, Reap, Take, Totals};
use crate::clock::EPOCH;
use crate::state::Retired;
use crate::sync::thread_number;

type Engine = AccountPool<u32, std::io::Error>;
type Lease = Arc<Connection<u32>>;

const NOW: Tick = EPOCH;

/// An account where threads meet, with connections that bear so many leases.
fn engine(connections: u16, leases: u16) -> Engine {
    let account = AccountId::bot(1).unwrap();
    let engine = AccountPool::new(account, connections, 0, connections, leases);
    for id in 0..connections {
        let body = engine.body();
        let order = engine
            .take_slot(body, &mut body.core.lock(), NOW, Purpose::WarmUp)
            .expect("there is a slot");
        let connection = engine.begin_dial(order, ConnectionId(id.into())).unwrap();
        assert!(engine.complete_dial(&connection, 7, Tick::MAX, NOW).is_empty());
    }
    engine.front.traffic.set_contended(Tick::MAX);
    engine
}

fn leased(take: Take<u32>) -> (Lease, Source) {
    match take {
        Take::Leased(connection, source) => (connection, source),
        other => panic!("no lease: {other:?}"),
    }
}

fn lease(engine: &Engine) -> Lease {
    let (connection, source) = leased(engine.try_lease(NOW, thread_number()));
    engine.accept(&connection, source, NOW, std::panic::Location::caller());
    connection
}

fn park(engine: &Engine, lease: Lease) {
    let (before, slot) = (engine.body().parked(lease.slot), lease.slot);
    assert!(engine.release(lease, NOW, Pressure::Calm).is_none(), "nothing is left to do");
    assert_eq!(engine.body().parked(slot), before + 1);
}

/// One lease of its only connection, which is parked.
fn parked(engine: &Engine) -> Lease {
    let lease = lease(engine);
    let record = Arc::clone(&lease);
    park(engine, lease);
    record
}

fn vacate(engine: &Engine, orders: Orders<u32>) {
    for connection in orders.close {
        assert!(engine.vacate(&connection, NOW, 0.0).is_empty());
    }
}

fn totals(engine: &Engine) -> Totals {
    let mut totals = Totals::default();
    engine.add_to(&mut totals);
    totals
}

#[test]
fn a_parked_lease_is_seen_by_nobody_and_is_taken_over_by_its_thread() {
    let engine = engine(1, LEASES_MIN);
    let record = parked(&engine);
    assert_eq!(record.word.snapshot().leases(), 1, "the word goes on counting it");
    let stats = engine.stats(NOW, std::time::Duration::ZERO);
    assert_eq!((stats.leases, stats.pool_size, stats.active_connections), (0, 1, 0));
    let shown = &stats.connections[0];
    assert_eq!((shown.state, shown.leases), (ConnectionState::Idle, 0));
    assert!(engine.oldest_lease().is_none() && engine.has_room() && engine.has_idle());

    let word = record.word.snapshot();
    let taken = lease(&engine);
    assert_eq!((taken.word.snapshot(), engine.body().parked(0)), (word, 0));
    assert_eq!(engine.stats(NOW, std::time::Duration::ZERO).leases, 1);
}

#[test]
fn few_leases_are_not_parked() {
    let engine = engine(1, LEASES_MIN - 1);
    let lease = lease(&engine);
    let record = Arc::clone(&lease);
    assert!(engine.release(lease, NOW, Pressure::Calm).is_none());
    assert_eq!(record.word.snapshot().state(), ConnectionState::Idle);
    assert!(engine.body().parking.get().is_none(), "nor is a place made for them");
}

#[test]
fn one_lease_at_most_lies_at_a_place() {
    let engine = engine(1, LEASES_MIN);
    let (first, second) = (lease(&engine), lease(&engine));
    let record = Arc::clone(&first);
    park(&engine, first);
    assert!(engine.release(second, NOW, Pressure::Calm).is_none());
    assert_eq!((record.word.snapshot().leases(), engine.body().parked(0)), (1, 1));
}

#[test]
fn at_the_limit_what_another_thread_has_parked_is_free() {
    let engine = engine(1, LEASES_MIN);
    let mut held: Vec<_> = (0..LEASES_MIN).map(|_| lease(&engine)).collect();
    let other = thread_number() + 1;
    for in_order in [false, true] {
        park(&engine, held.pop().unwrap());
        assert!(matches!(engine.try_lease(NOW, other), Take::Empty), "no word shows it");
        let take = match in_order {
            true => engine.try_lease_in_order(),
            false => engine.try_lease_any(NOW, other),
        };
        held.push(leased(take).0);
        assert!(matches!(engine.try_lease_any(NOW, other), Take::Empty), "all are held");
    }
}

#[test]
fn a_connection_whose_leases_all_lie_parked_expires() {
    let engine = engine(1, LEASES_MIN);
    let record = parked(&engine);
    assert!(engine.unpark().expect("one lies parked").is_empty());
    assert!(engine.unpark().is_none(), "none does any more");
    let Reap::Expired(orders) = engine.reap(&record, 0, NOW + 100, 100, Tick::MAX) else {
        panic!("it has been idle for 100")
    };
    vacate(&engine, orders);
    assert_eq!(Arc::strong_count(&record), 1);
}

#[test]
fn a_connection_whose_leases_all_lie_parked_gives_way() {
    let engine = engine(1, LEASES_MIN);
    let record = parked(&engine);
    let orders = engine.give_up_idle().expect("nobody holds it");
    vacate(&engine, orders);
    assert_eq!(Arc::strong_count(&record), 1);
}

#[test]
fn a_lowered_cap_closes_what_is_idle_but_for_parked_leases() {
    let engine = engine(2, LEASES_MIN);
    let (first, second) = (leased(engine.try_lease(NOW, 0)).0, leased(engine.try_lease(NOW, 1)).0);
    assert_ne!(first.slot, second.slot, "one of each");
    park(&engine, first);
    let orders = engine.set_limits(1, LEASES_MIN, NOW);
    assert_eq!(orders.close.len(), 1, "nobody holds the first");
    vacate(&engine, orders);
    assert!(engine.release(second, NOW, Pressure::Calm).is_none());
}

#[test]
fn a_connection_that_goes_takes_its_parked_leases_along() {
    let ends: [fn(&Engine, &Lease) -> Orders<u32>; 4] = [
        |engine, _| engine.drain(NOW),
        |engine, _| engine.close(NOW),
        |engine, _| engine.set_limits(1, LEASES_MIN + 1, NOW),
        |engine, record| engine.retire(record, CloseReason::Requested, NOW),
    ];
    for end in ends {
        let engine = engine(1, LEASES_MIN);
        let record = parked(&engine);
        let orders = end(&engine, &record);
        assert_eq!((orders.close.len(), orders.drain.len()), (1, 0), "nothing is left to drain");
        vacate(&engine, orders);
        assert_eq!(Arc::strong_count(&record), 1, "nothing of it is kept");
    }
}

#[test]
fn a_discard_takes_parked_leases_of_the_same_connection_along() {
    let engine = engine(1, LEASES_MIN);
    let (held, other) = (lease(&engine), lease(&engine));
    park(&engine, other);
    let orders = engine.release_discarded(held, CloseReason::Broken, NOW);
    assert_eq!((orders.close.len(), orders.drain.len()), (1, 0));
    vacate(&engine, orders);
}

#[test]
fn a_parked_lease_of_a_connection_that_retires_is_not_lent() {
    for in_order in [false, true] {
        let engine = engine(1, LEASES_MIN);
        let record = parked(&engine);
        // As by a retirement that was held up between its two steps.
        assert_eq!(record.word.transition_to_retired(false), Retired::Draining { first: true });
        let take = match in_order {
            true => engine.try_lease_in_order(),
            false => engine.try_lease(NOW, thread_number()),
        };
        let Take::Outdated(lease) = take else { panic!("{take:?}") };
        let orders = engine.release(lease, NOW, Pressure::Calm).expect("it was the last");
        assert_eq!(orders.close.len(), 1);
        vacate(&engine, orders);
    }
}

#[test]
fn an_account_that_goes_leaves_nothing_parked() {
    let engine = engine(1, LEASES_MIN);
    let record = parked(&engine);
    drop(engine);
    assert_eq!(Arc::strong_count(&record), 1);
}

#[test]
fn a_lease_that_has_lain_parked_for_long_is_one_of_an_idle_connection() {
    let engine = engine(1, LEASES_MIN);
    let record = parked(&engine);
    let soon = leased(engine.try_lease(NOW + CONTENDED, thread_number())).1;
    assert_eq!(soon, Source::Shared);
    park(&engine, Arc::clone(&record));
    let (_, late) = leased(engine.try_lease(NOW + CONTENDED + 1, thread_number()));
    assert_eq!(late, Source::Idle, "so that it is checked before it is lent");
    park(&engine, Arc::clone(&record));
    engine.front.traffic.set_contended(0);
    let (_, alone) = leased(engine.try_lease(NOW, thread_number()));
    assert_eq!(alone, Source::Idle, "nobody else holds it");
}

#[test]
fn uses_of_parked_leases_are_counted_and_go_with_the_connection() {
    let engine = engine(1, LEASES_MIN);
    let record = parked(&engine);
    for uses in 1..=10 {
        assert_eq!(engine.uses(&record), uses);
        let (all, shared) = (totals(&engine).uses, totals(&engine).shared_uses);
        assert_eq!((all, shared), (uses, uses - 1), "the first was of an idle connection");
        let again = lease(&engine);
        park(&engine, again);
    }
    assert_eq!(record.uses(), 1, "the others were counted elsewhere");
    let orders = engine.retire(&record, CloseReason::Requested, NOW);
    vacate(&engine, orders);
    assert_eq!((record.uses(), record.shared_uses(), engine.uses(&record)), (11, 10, 11));
    assert_eq!((totals(&engine).uses, totals(&engine).shared_uses), (11, 10));
}

#[test]
fn a_lease_is_found_while_somebody_looks_at_its_place() {
    let engine = Arc::new(engine(1, LEASES_MIN));
    let mut held: Vec<_> = (0..LEASES_MIN).map(|_| lease(&engine)).collect();
    park(&engine, held.pop().unwrap());
    let places = &engine.body().parking.get().unwrap().places;
    let looks: Vec<_> = places.iter().map(|place| place.lease.lock()).collect();
    let taker = {
        let engine = Arc::clone(&engine);
        std::thread::spawn(move || matches!(engine.try_lease_any(NOW, 0), Take::Leased(..)))
    };
    // Long enough to come to the place, as a rule; the outcome is the same whenever it comes.
    std::thread::sleep(std::time::Duration::from_millis(20));
    drop(looks);
    assert!(taker.join().unwrap(), "one is free, and nobody took it");
}

/// Counts the checks.
#[derive(Debug, Default)]
struct Checked(AtomicU64);

impl crate::Manager for Checked {
    type Connection = u32;
    type Error = std::io::Error;

    fn profile(&self, _account: AccountId) -> Option<crate::Profile> {
        let mut profile = crate::Profile::new(1);
        profile.leases = LEASES_MIN;
        Some(profile)
    }

    async fn connect(&self, _account: AccountId, _slot: u16) -> Result<u32, std::io::Error> {
        Ok(7)
    }

    async fn check(&self, _connection: &u32) -> Result<(), std::io::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_returned_for_long_is_checked_where_leases_are_parked() {
    let pool = crate::Pool::builder(Checked::default()).build().unwrap();
    let account = pool.account(AccountId::bot(1).unwrap()).unwrap();
    let checks = || pool.manager().0.load(Ordering::Relaxed);
    let long = std::time::Duration::from_secs(100);
    let held = account.acquire().await.unwrap();
    tokio::time::sleep(long).await;
    drop(account.acquire().await.unwrap());
    assert_eq!(checks(), 0, "somebody holds it, so that it was proved when that lease began");
    account.entry().pool.front.traffic.set_contended(Tick::MAX);
    drop(account.acquire().await.unwrap());
    assert!(account.entry().pool.parks());
    tokio::time::sleep(long).await;
    drop(account.acquire().await.unwrap());
    assert_eq!(checks(), 1, "whether it lay idle but for parked leases cannot be told");
    drop(account.acquire().await.unwrap());
    assert_eq!(checks(), 1, "it was returned just now");
    drop(held);
}
