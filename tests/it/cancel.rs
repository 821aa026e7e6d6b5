//! Callers that leave, and dials and checks that do not end.

use std::time::Duration;

use telepool::{AcquireError, ConnectionState, DialError};

use crate::scripted::{Play, Scripted, account};

#[tokio::test(start_paused = true)]
async fn a_dial_whose_caller_left_is_pooled() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    manager.on_connect(Play::Slow(Duration::from_secs(2)));
    let left = tokio::time::timeout(Duration::from_secs(1), pool.acquire(account(1))).await;
    assert!(left.is_err());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stats = pool.stats();
    assert_eq!((stats.current_pool_size, stats.acquires_cancelled, stats.waiting), (1, 1, 0));
    drop(pool.acquire(account(1)).await.unwrap());
    assert_eq!(manager.tally(|tally| tally.dials), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_never_ends_costs_one_attempt_and_its_slot_comes_back() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| {
        config.pool.dial_timeout = Duration::from_secs(3);
        config.pool.acquire_timeout = Duration::from_secs(60);
    });
    manager.on_connect(Play::Never);
    let error = pool.acquire(account(1)).await.unwrap_err();
    assert!(matches!(error, AcquireError::Dial(DialError::Timeout(_))), "{error}");
    manager.on_connect(Play::Good);
    drop(pool.acquire(account(1)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_check_that_finds_no_answer_never_returns_the_connection_to_the_pool() {
    for dropped in [true, false] {
        let manager = Scripted::new(1, 1);
        let pool = manager.pool(|config| config.pool.acquire_timeout = Duration::from_secs(60));
        let first = pool.acquire(account(1)).await.unwrap().connection_id();
        tokio::time::sleep(Duration::from_secs(40)).await;
        manager.on_check(Play::Never);
        if dropped {
            let acquire = pool.acquire(account(1));
            assert!(tokio::time::timeout(Duration::from_secs(1), acquire).await.is_err());
            // It goes on without its caller.
            let seen = pool.account_stats(account(1)).unwrap().connections;
            assert_eq!((seen[0].id, seen[0].state), (first, ConnectionState::Active));
        }
        let second = pool.acquire(account(1)).await.unwrap();
        assert_ne!(second.connection_id(), first);
    }
}

#[test]
fn a_lease_can_be_dropped_without_a_runtime_and_after_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let manager = Scripted::new(2, 1);
    let (pool, one, two) = runtime.block_on(async {
        let pool = manager.pool(|_| ());
        let one = pool.acquire(account(1)).await.unwrap();
        let two = pool.acquire(account(1)).await.unwrap();
        (pool, one, two)
    });
    drop(one);
    assert_eq!(pool.stats().current_pool_size, 1);
    drop(runtime);
    two.discard();
    assert_eq!(pool.stats().leases, 0);
    drop(pool);
    assert_eq!(manager.tally(|tally| tally.all), 0);
}
