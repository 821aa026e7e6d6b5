//! Acquiring and releasing, as a user sees it.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;

use telepool::{AcquireError, ConnectionState, Reaction, Stage};

use crate::scripted::{Failure, Play, Scripted, account};

#[tokio::test]
async fn a_released_connection_is_reused_and_the_numbers_say_so() {
    let manager = Scripted::new(3, 1);
    let pool = manager.pool(|_| ());
    for _ in 0..5 {
        drop(pool.acquire(account(1)).await.unwrap());
    }
    let stats = pool.stats();
    assert_eq!((stats.total_connections_created, stats.total_connections_reused), (1, 4));
    assert_eq!((stats.acquires, stats.leases, stats.current_pool_size), (5, 0, 1));
    let view = pool.account_stats(account(1)).unwrap();
    assert_eq!((view.pool_size, view.active_connections, view.total_connections), (1, 0, 1));
    assert_eq!(view.connections[0].state, ConnectionState::Idle);
    assert_eq!(view.connections[0].use_count, 5);
    assert_eq!(pool.close().await.still_open, 0);
    assert_eq!(manager.tally(|tally| tally.all), 0);
}

#[tokio::test]
async fn an_acquire_never_exceeds_the_sessions_of_an_account() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|config| config.pool.max_connections_per_account = 10);
    let handle = pool.account(account(1)).unwrap();
    let _first = handle.acquire().await.unwrap();
    let _second = handle.acquire().await.unwrap();
    assert!(handle.try_acquire().unwrap().is_none());
    let third = handle.acquire_timeout(Duration::from_millis(20)).await;
    assert!(matches!(third, Err(AcquireError::Timeout(_))));
    assert_eq!(manager.tally(|tally| tally.live_max[&account(1)]), 2);
}

#[tokio::test(start_paused = true)]
async fn asking_again_while_holding_the_only_lease_times_out_and_says_who_holds_it() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let line = line!() + 1;
    let _held = pool.acquire(account(1)).await.unwrap();
    tokio::time::advance(Duration::from_secs(3)).await;
    let error = pool.acquire(account(1)).await.unwrap_err();
    assert_eq!(error.stage(), Stage::Wait);
    let AcquireError::Timeout(timeout) = error else { panic!("{error}") };
    assert_eq!((timeout.leases, timeout.max_connections, timeout.waiting), (1, 1, 0));
    assert!(timeout.oldest_lease_age.unwrap() >= Duration::from_secs(12));
    let site = timeout.oldest_lease_site.unwrap();
    assert_eq!((site.line(), site.file()), (line, file!()));
    assert_eq!(pool.stats().waiting, 0);
}

#[tokio::test]
async fn waiters_are_served_first_come_first_served() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let held = pool.acquire(account(1)).await.unwrap();
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..10 {
        let (its_pool, order) = (pool.clone(), order.clone());
        tasks.push(tokio::spawn(async move {
            let lease = its_pool.acquire(account(1)).await.unwrap();
            order.lock().unwrap().push(number);
            tokio::task::yield_now().await;
            drop(lease);
        }));
        while pool.stats().waiting <= number {
            tokio::task::yield_now().await;
        }
    }
    drop(held);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn whoever_was_served_a_dead_connection_keeps_its_turn() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let outage = |is: bool| manager.state.outage.store(is, Ordering::SeqCst);
    let held = pool.acquire(account(1)).await.unwrap();
    let mut first = Box::pin(pool.acquire(account(1)));
    let mut second = Box::pin(pool.acquire(account(1)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending());
    drop(held);
    // It was handed to the first, and dies before the first looks.
    outage(true);
    assert!(first.as_mut().poll(&mut context).is_pending());
    outage(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(second.as_mut().poll(&mut context).is_pending(), "the second has overtaken it");
    drop(first.await.unwrap());
    drop(second.await.unwrap());
}

#[tokio::test]
async fn shared_leases_use_one_connection_until_it_is_full() {
    let manager = Scripted::new(3, 4);
    let pool = manager.pool(|_| ());
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(pool.acquire(account(1)).await.unwrap());
    }
    assert!(leases.iter().all(|lease| lease.connection_id() == leases[0].connection_id()));
    leases.push(pool.acquire(account(1)).await.unwrap());
    assert_ne!(leases[4].connection_id(), leases[0].connection_id());
    assert_eq!(pool.stats().leases, 5);
}

#[tokio::test]
async fn a_fresh_acquire_gets_a_connection_that_nobody_has_used() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let first = pool.acquire(account(1)).await.unwrap().connection_id();
    let fresh = pool.acquire_fresh(account(1)).await.unwrap();
    assert_ne!(fresh.connection_id(), first);
    assert_eq!(fresh.use_count(), 1);
    assert_eq!(manager.tally(|tally| (tally.live_max[&account(1)], tally.doubled)), (1, 0));
}

#[tokio::test]
async fn a_discarded_or_broken_connection_is_replaced_and_a_waiter_gets_the_new_one() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let held = pool.acquire(account(1)).await.unwrap();
    let first = held.connection_id();
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire(account(1)).await.unwrap() }
    });
    while pool.stats().waiting == 0 {
        tokio::task::yield_now().await;
    }
    held.discard();
    let second = waiter.await.unwrap();
    assert_ne!(second.connection_id(), first);
    second.broken.store(true, Ordering::SeqCst);
    let broken = second.connection_id();
    drop(second);
    assert_ne!(pool.acquire(account(1)).await.unwrap().connection_id(), broken);
    assert_eq!(manager.tally(|tally| tally.doubled), 0, "closed before it was dialled again");
}

#[tokio::test]
async fn a_reported_error_retires_the_connection_while_others_still_hold_it() {
    let manager = Scripted::new(2, 2);
    let pool = manager.pool(|_| ());
    let one = pool.acquire(account(1)).await.unwrap();
    let two = pool.acquire(account(1)).await.unwrap();
    assert_eq!(one.connection_id(), two.connection_id());
    let failed: Result<(), Failure> = one.run(async |_| Err(Failure(Reaction::Discard))).await;
    failed.unwrap_err();
    let three = pool.acquire(account(1)).await.unwrap();
    assert_ne!(three.connection_id(), one.connection_id(), "it takes no new lease");
    assert_eq!(pool.stats().connection_errors, 1);
    drop((one, two, three));
    assert_eq!(pool.stats().leases, 0);
}

#[tokio::test]
async fn a_quarantined_account_fails_at_once_costs_no_dial_and_can_be_reinstated() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|_| ());
    manager.on_connect(Play::Quarantine);
    let error = pool.acquire(account(1)).await.unwrap_err();
    assert!(matches!(error, AcquireError::Quarantined { .. }), "{error}");
    let dials = manager.tally(|tally| tally.dials);
    for _ in 0..10 {
        let again = pool.acquire(account(1)).await.unwrap_err();
        assert!(matches!(again, AcquireError::Quarantined { .. }), "{again}");
    }
    assert_eq!(manager.tally(|tally| tally.dials), dials);
    manager.on_connect(Play::Good);
    assert!(pool.reinstate(account(1)));
    drop(pool.acquire(account(1)).await.unwrap());
}

#[tokio::test]
async fn a_cooldown_concerns_one_method_and_keeps_the_connection() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let handle = pool.account(account(1)).unwrap();
    let lease = handle.acquire().await.unwrap();
    let wait = Duration::from_secs(30);
    lease.report(&Failure(Reaction::CoolDown { key: 5, wait }));
    let id = lease.connection_id();
    drop(lease);
    assert!(handle.cooldown_remaining(5).unwrap() <= wait);
    assert_eq!(handle.cooldown_remaining(6), None);
    assert_eq!(handle.acquire().await.unwrap().connection_id(), id);
    assert_eq!(pool.stats().flood_waits, 1);
}

#[tokio::test]
async fn an_account_that_does_not_exist_is_an_error_that_masks_its_number() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let unknown = telepool::AccountId::phone(442_079_460_958).unwrap();
    let error = pool.acquire(unknown).await.unwrap_err();
    assert!(matches!(error, AcquireError::UnknownAccount { .. }));
    assert!(!error.to_string().contains("2079460"), "{error}");
}

#[tokio::test]
async fn any_account_of_a_group_serves_a_broadcaster() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    for number in 1..=3 {
        drop(pool.acquire(account(number)).await.unwrap());
    }
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(pool.acquire_any("default").await.unwrap());
    }
    let mut accounts: Vec<_> = leases.iter().map(|lease| lease.account()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    assert_eq!(accounts.len(), 3);
    assert!(matches!(pool.acquire_any("nobody").await, Err(AcquireError::NoMember)));
}

#[tokio::test(start_paused = true)]
async fn a_try_tells_an_account_that_is_busy_from_one_that_is_out_of_service() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let handle = pool.account(account(1)).unwrap();
    assert!(handle.try_acquire().unwrap().is_none(), "nothing is open yet");
    let lease = handle.acquire().await.unwrap();
    assert!(handle.try_acquire().unwrap().is_none(), "its connection is leased");
    let waiting = handle.acquire();
    let mut waiting = std::pin::pin!(waiting);
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    assert!(handle.try_acquire().unwrap().is_none(), "somebody waits");
    drop(lease);
    drop(waiting.await.unwrap());
    drop(handle.try_acquire().unwrap().expect("a free connection"));
    assert!(pool.drain_account(account(1)).await);
    assert!(matches!(handle.try_acquire(), Err(AcquireError::Draining { .. })));
    assert!(matches!(pool.try_acquire(account(1)), Err(AcquireError::Draining { .. })));
    assert!(pool.reinstate(account(1)));
    assert!(handle.try_acquire().unwrap().is_none());
    pool.close().await;
    assert!(matches!(handle.try_acquire(), Err(AcquireError::Closed { .. })));
}
