//! The caps: per account and global, under resizes and fairness.

use std::time::Duration;

use crate::scripted::{Play, Scripted, account};

#[tokio::test]
async fn lowering_and_raising_the_cap_of_accounts_holds_at_once_for_the_idle_and_on_return_for_the_leased()
 {
    let manager = Scripted::new(8, 1);
    let pool = manager.pool(|config| config.pool.max_connections_per_account = 8);
    let resize = |cap: u16| {
        let mut config = (*pool.config()).clone();
        config.pool.max_connections_per_account = cap;
        pool.reconfigure(config).unwrap();
    };
    let mut leases = Vec::new();
    for _ in 0..8 {
        leases.push(pool.acquire(account(1)).await.unwrap());
    }
    resize(2);
    resize(8);
    resize(2);
    drop(leases);
    while pool.account_stats(account(1)).unwrap().connections.len() > 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        resize(8);
        resize(2);
    }
    let _two = [pool.acquire(account(1)).await.unwrap(), pool.acquire(account(1)).await.unwrap()];
    let third = pool.acquire_timeout(account(1), Duration::from_millis(20)).await;
    assert!(third.is_err(), "the cap is two");
}

#[tokio::test]
async fn idle_connections_of_other_accounts_give_way_at_the_global_cap() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.max_connections = 3);
    for number in 1..=20 {
        drop(pool.acquire(account(number)).await.unwrap());
    }
    assert!(manager.tally(|tally| tally.all_max) <= 3);
    assert_eq!(pool.stats().total_connections_created, 20);
}

#[tokio::test]
async fn a_hot_account_cannot_keep_a_cold_one_from_its_first_connection() {
    for sessions in [1, 3] {
        let manager = Scripted::new(sessions, 1);
        let pool = manager.pool(|config| {
            config.pool.max_connections = u32::from(sessions);
            config.pool.acquire_timeout = Duration::from_secs(20);
        });
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let mut hot = Vec::new();
        for _ in 0..8 {
            let (pool, stop) = (pool.clone(), stop.clone());
            hot.push(tokio::spawn(async move {
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let lease = pool.acquire(account(1)).await.unwrap();
                    tokio::task::yield_now().await;
                    drop(lease);
                }
            }));
        }
        while pool.stats().acquires < 100 {
            tokio::task::yield_now().await;
        }
        drop(pool.acquire(account(2)).await.unwrap());
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        for task in hot {
            task.await.unwrap();
        }
        assert!(manager.tally(|tally| tally.all_max) <= u64::from(sessions));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_waits_for_any_more_makes_way_as_soon_as_it_is_open() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.max_connections = 1);
    manager.on_connect(Play::Slow(Duration::from_secs(2)));
    let left = pool.acquire_timeout(account(1), Duration::from_secs(1)).await;
    assert!(left.is_err(), "its dial goes on without it");
    manager.on_connect(Play::Good);
    let began = tokio::time::Instant::now();
    drop(pool.acquire(account(2)).await.unwrap());
    assert_eq!(began.elapsed(), Duration::from_secs(1), "when the other dial has ended");
}

#[tokio::test]
async fn lowering_the_global_cap_closes_what_is_too_much() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.max_connections = 10);
    for number in 1..=10 {
        drop(pool.acquire(account(number)).await.unwrap());
    }
    let mut config = (*pool.config()).clone();
    config.pool.max_connections = 4;
    pool.reconfigure(config.clone()).unwrap();
    while manager.tally(|tally| tally.all) > 4 {
        tokio::task::yield_now().await;
    }
    config.pool.max_connections = 10;
    pool.reconfigure(config).unwrap();
    let mut leases = Vec::new();
    for number in 1..=10 {
        leases.push(pool.acquire(account(number)).await.unwrap());
    }
    assert_eq!(manager.tally(|tally| tally.all_max), 10);
}

#[tokio::test]
async fn a_bad_configuration_is_refused_and_the_old_one_stays() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let mut config = (*pool.config()).clone();
    config.pool.max_connections = 0;
    let error = pool.reconfigure(config).unwrap_err().to_string();
    assert!(error.contains("pool.max_connections = 0"), "{error}");
    assert_eq!(pool.config().pool.max_connections, 10_000);
}
