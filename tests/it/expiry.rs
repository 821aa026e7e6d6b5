//! Idle and age expiry, collection, and the deadlines of a close, on a paused clock.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use telepool::{AccountId, AcquireError, CloseReason, Event, EventStream, NoopManager, Pool};

use crate::scripted::{Play, Scripted, account};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_within_one_tick_and_its_account_collected() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    drop(pool.acquire(account(1)).await.unwrap());
    tokio::time::sleep(seconds(299)).await;
    assert_eq!(pool.stats().current_pool_size, 1);
    tokio::time::sleep(seconds(62)).await;
    let stats = pool.stats();
    assert_eq!((stats.current_pool_size, stats.total_connections_closed), (0, 1));
    tokio::time::sleep(seconds(400)).await;
    let stats = pool.stats();
    assert_eq!((stats.accounts, stats.reaper_scheduled), (0, 0));
    assert_eq!((stats.total_connections_created, stats.acquires), (1, 1), "totals stay");
}

/// What a future comes to without waiting.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Whose updates are late from now on, and why.
fn interruptions(events: &mut EventStream) -> Vec<(AccountId, CloseReason)> {
    std::iter::from_fn(|| at_once(events.next()).flatten())
        .filter_map(|event| match event {
            Event::UpdatesInterrupted { account, reason } => Some((account, reason)),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn who_is_listened_to_and_left_without_a_connection_is_told_once_for_each_time() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|_| ());
    let mut events = pool.events();
    // Nobody listens.
    drop(pool.acquire(account(1)).await.unwrap());
    tokio::time::sleep(seconds(361)).await;
    assert_eq!(pool.stats().current_pool_size, 0);
    assert_eq!(interruptions(&mut events), []);
    manager.state.listened.store(true, Ordering::SeqCst);
    // The second connection of an account still hears what the first would have heard.
    let (first, second) = tokio::join!(pool.acquire(account(1)), pool.acquire(account(1)));
    let (first, second) = (first.unwrap(), second.unwrap());
    first.discard();
    tokio::time::sleep(seconds(1)).await;
    let stats = pool.stats();
    assert_eq!((stats.current_pool_size, stats.current_active_connections), (0, 1));
    assert_eq!(interruptions(&mut events), []);
    second.discard();
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(interruptions(&mut events), [(account(1), CloseReason::Requested)]);
    // It is dialled again by whoever acquires, and does not idle away while somebody listens.
    drop(pool.acquire(account(1)).await.unwrap());
    tokio::time::sleep(seconds(1_000)).await;
    assert_eq!(pool.stats().current_pool_size, 1);
    // The end of the pool is meant.
    pool.close().await;
    assert_eq!(interruptions(&mut events), []);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_listened_to_idles_away_once_its_listener_has_gone() {
    let manager = Scripted::new(2, 1);
    manager.state.listened.store(true, Ordering::SeqCst);
    let pool = manager.pool(|_| ());
    drop(pool.acquire(account(1)).await.unwrap());
    tokio::time::sleep(seconds(2_000)).await;
    assert_eq!(pool.stats().current_pool_size, 1);
    manager.state.listened.store(false, Ordering::SeqCst);
    tokio::time::sleep(seconds(361)).await;
    assert_eq!(pool.stats().current_pool_size, 0);
}

#[tokio::test(start_paused = true)]
async fn age_ends_a_connection_that_is_listened_to() {
    let manager = Scripted::new(1, 1);
    manager.state.listened.store(true, Ordering::SeqCst);
    let pool = manager.pool(|config| config.pool.age_jitter = 0.0);
    let mut events = pool.events();
    drop(pool.acquire(account(1)).await.unwrap());
    tokio::time::sleep(seconds(3_700)).await;
    assert_eq!(interruptions(&mut events), [(account(1), CloseReason::Age)]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_listened_to_makes_no_room_for_another_account() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|config| config.pool.max_connections = 1);
    manager.state.listened.store(true, Ordering::SeqCst);
    drop(pool.acquire(account(1)).await.unwrap());
    // Neither one that lies idle, nor one that comes back while the other waits.
    let lease = pool.acquire(account(1)).await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire_timeout(account(2), seconds(60)).await.map(drop) }
    });
    tokio::time::sleep(seconds(5)).await;
    drop(lease);
    waiting.await.unwrap().unwrap_err();
    manager.state.listened.store(false, Ordering::SeqCst);
    drop(pool.acquire(account(2)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn traffic_keeps_a_connection_and_age_ends_it_on_its_return() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.age_jitter = 0.0);
    let mut events = pool.events();
    let first = pool.acquire(account(1)).await.unwrap().connection_id();
    for _ in 0..35 {
        tokio::time::sleep(seconds(100)).await;
        assert_eq!(pool.acquire(account(1)).await.unwrap().connection_id(), first);
    }
    let held = pool.acquire(account(1)).await.unwrap();
    tokio::time::sleep(seconds(200)).await;
    assert_eq!(held.connection_id(), first, "age does not take a lease away");
    drop(held);
    assert_ne!(pool.acquire(account(1)).await.unwrap().connection_id(), first);
    let reason = loop {
        if let Some(Event::ConnectionClosed { reason, .. }) = events.next().await {
            break reason;
        }
    };
    assert_eq!(reason, CloseReason::Age);
}

#[tokio::test(start_paused = true)]
async fn connections_born_together_do_not_die_together() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| {
        config.pool.max_idle_time = seconds(100_000);
        config.pool.cleanup_interval = seconds(1);
    });
    pool.warm_up((1..=100).map(account));
    tokio::time::sleep(seconds(10)).await;
    assert_eq!(pool.stats().current_pool_size, 100);
    let mut deaths = Vec::new();
    for _ in 0..3700 {
        let before = pool.stats().total_connections_closed;
        tokio::time::sleep(seconds(1)).await;
        deaths.push(pool.stats().total_connections_closed - before);
    }
    assert_eq!(deaths.iter().sum::<u64>(), 100);
    assert!(*deaths.iter().max().unwrap() <= 10, "{:?}", deaths.iter().max());
    assert!(deaths.iter().filter(|count| **count > 0).count() > 50);
}

#[tokio::test(start_paused = true)]
async fn shorter_times_reach_connections_that_were_opened_before() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    drop(pool.acquire(account(1)).await.unwrap());
    let mut config = (*pool.config()).clone();
    config.pool.max_idle_time = seconds(5);
    config.pool.cleanup_interval = seconds(1);
    pool.reconfigure(config).unwrap();
    tokio::time::sleep(seconds(8)).await;
    assert_eq!(pool.stats().current_pool_size, 0);
}

#[tokio::test(start_paused = true)]
async fn closing_wakes_waiters_refuses_acquires_and_forces_what_is_held_too_long() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let held = pool.acquire(account(1)).await.unwrap();
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire_timeout(account(1), seconds(1000)).await.map(drop) }
    });
    tokio::time::sleep(seconds(1)).await;
    let report = pool.close().await;
    assert_eq!((report.open, report.still_open), (1, 0), "forced after the drain deadline");
    assert!(matches!(waiter.await.unwrap(), Err(AcquireError::Closed { .. })));
    assert!(matches!(pool.acquire(account(1)).await, Err(AcquireError::Closed { .. })));
    assert!(matches!(pool.acquire(account(2)).await, Err(AcquireError::Closed { .. })));
    assert_eq!(manager.tally(|tally| tally.all), 0);
    assert_eq!(pool.stats().leases, 1);
    drop(held);
    assert_eq!(pool.stats().leases, 0);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_hangs_and_a_dial_that_hangs_do_not_hold_up_the_end() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|_| ());
    drop(pool.acquire(account(1)).await.unwrap());
    manager.on_connect(Play::Never);
    manager.on_close(Play::Never);
    let dialling = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire(account(2)).await.map(drop) }
    });
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(pool.close().await.still_open, 0);
    assert!(dialling.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_drained_account_refuses_until_it_is_reinstated() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    drop(pool.acquire(account(1)).await.unwrap());
    assert!(pool.drain_account(account(1)).await);
    assert_eq!(manager.tally(|tally| tally.all), 0);
    let refused = pool.acquire(account(1)).await;
    assert!(matches!(refused, Err(AcquireError::Draining { .. })));
    assert!(pool.reinstate(account(1)));
    drop(pool.acquire(account(1)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_removed_account_leaves_nothing_and_can_come_back() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|_| ());
    let first = pool.acquire(account(1)).await.unwrap().connection_id();
    assert!(pool.remove_account(account(1)).await);
    assert_eq!((pool.stats().accounts, manager.tally(|tally| tally.all)), (0, 0));
    assert_ne!(pool.acquire(account(1)).await.unwrap().connection_id(), first);
    assert_eq!(manager.tally(|tally| tally.doubled), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_known_of_a_removed_account_keeps_nobody_from_it() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.drain_timeout = Duration::from_secs(1));
    // Its only session is quarantined, and it would rest for a while after the failed dial.
    *manager.state.connect.lock().unwrap() = Play::Quarantine;
    drop(pool.acquire(account(1)).await.unwrap_err());
    *manager.state.connect.lock().unwrap() = Play::Good;
    assert!(matches!(pool.acquire(account(1)).await, Err(AcquireError::Quarantined { .. })));
    pool.remove_account(account(1)).await;
    // A manager that keeps no quarantine.
    manager.state.quarantines.lock().unwrap().clear();
    let lease = pool.acquire(account(1)).await.unwrap();
    // A lease that outlasts the removal has lost its connection, and keeps nobody from the account.
    pool.remove_account(account(1)).await;
    let next = pool.acquire(account(1)).await.unwrap();
    assert_eq!(pool.stats().leases, 2, "both are held");
    drop(lease);
    assert_eq!(pool.stats().leases, 1);
    drop(next);
    assert_eq!(manager.tally(|tally| (tally.doubled, tally.all)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_lease_keeps_a_removed_account_from_nobody() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    for _ in 0..3 {
        std::mem::forget(pool.acquire(account(1)).await.unwrap());
        let removing = pool.remove_account(account(1));
        let coming = async {
            tokio::time::sleep(seconds(1)).await;
            assert!(!pool.reinstate(account(1)), "it is being removed");
            pool.acquire(account(1)).await.map(drop)
        };
        let (removed, refused) = tokio::join!(removing, coming);
        assert!(removed);
        assert!(matches!(refused, Err(AcquireError::Closed { .. })), "{refused:?}");
        assert_eq!(pool.account_health(account(1)), None);
        drop(pool.acquire(account(1)).await.unwrap());
        assert_eq!(manager.tally(|tally| (tally.doubled, tally.all)), (0, 1), "never two sockets");
    }
    assert_eq!(pool.stats().leases, 3, "what was forgotten is still counted");
}

#[tokio::test(start_paused = true)]
async fn a_reinstatement_that_changes_nothing_says_so() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let mut events = pool.events();
    drop(pool.acquire(account(1)).await.unwrap());
    assert!(!pool.reinstate(account(1)), "it serves");
    assert!(!pool.reinstate(account(1_000_000)), "it is unknown");
    assert!(pool.drain_account(account(1)).await);
    assert!(pool.reinstate(account(1)));
    assert!(!pool.reinstate(account(1)), "it serves again");
    manager.on_connect(Play::Rest(seconds(86_400)));
    pool.acquire(account(1)).await.unwrap_err();
    assert!(pool.reinstate(account(1)), "it would have rested for a day");
    pool.close().await;
    assert!(!pool.reinstate(account(1)), "the pool is closed");
    let mut told = 0;
    loop {
        match events.next().await.unwrap() {
            Event::Reinstated { .. } => told += 1,
            Event::Closing => break,
            _ => {}
        }
    }
    assert_eq!(told, 2);
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_comes_late_spares_the_account_pool_that_has_come_since() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let held = pool.acquire(account(1)).await.unwrap();
    let mut early = Box::pin(pool.remove_account(account(1)));
    let mut late = Box::pin(pool.remove_account(account(1)));
    assert!(tokio::time::timeout(seconds(1), &mut early).await.is_err());
    assert!(tokio::time::timeout(seconds(1), &mut late).await.is_err());
    drop(held);
    tokio::time::sleep(seconds(1)).await;
    assert!(early.await);
    let handle = pool.account(account(1)).unwrap();
    assert!(late.await);
    let lease = handle.acquire().await.unwrap();
    assert_eq!(pool.stats().accounts, 1, "it removed what it had closed, nothing else");
    assert!(pool.acquire_timeout(account(1), seconds(1)).await.is_err(), "one session");
    drop(lease);
    assert_eq!(manager.tally(|tally| tally.doubled), 0);
}

#[tokio::test(start_paused = true)]
async fn an_account_is_in_the_wheel_while_it_has_no_connection() {
    let pool = Pool::builder(NoopManager::new(1)).build().unwrap();
    let scheduled = || pool.stats().reaper_scheduled;
    let account = pool.account(AccountId::bot(1).unwrap()).unwrap();
    assert_eq!(scheduled(), 1, "it is merely known");
    let lease = account.acquire().await.unwrap();
    assert_eq!(scheduled(), 2, "its connection as well");
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(scheduled(), 1, "nothing comes of a look at an account with a connection");
    lease.discard();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(scheduled(), 2, "its last connection is gone, whose entry is not due yet");
    drop(account);
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!((scheduled(), pool.stats().accounts), (0, 0));
}
