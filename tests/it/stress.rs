//! Many tasks at once: nobody starves, no cap is exceeded, nothing is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use telepool::AcquireError;

use crate::scripted::{Scripted, account};

/// Every task acquires, holds across a yield, and releases, some discarding.
async fn work(sessions: u16, leases: u16, tasks: u64, rounds: u64, accounts: u64) {
    let manager = Scripted::new(sessions, leases);
    let pool = manager.pool(|config| config.pool.max_connections = 20);
    let served: Arc<Vec<AtomicU64>> = Arc::new((0..tasks).map(|_| AtomicU64::new(0)).collect());
    let mut running = Vec::new();
    for task in 0..tasks {
        let (pool, served) = (pool.clone(), served.clone());
        running.push(tokio::spawn(async move {
            for round in 0..rounds {
                let lease = pool.acquire(account(1 + (task + round) % accounts)).await.unwrap();
                tokio::task::yield_now().await;
                if (task + round) % 97 == 0 {
                    lease.discard();
                } else {
                    drop(lease);
                }
                served[usize::try_from(task).unwrap()].fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for task in running {
        task.await.unwrap();
    }
    let stats = pool.stats();
    assert_eq!((stats.leases, stats.waiting), (0, 0));
    assert!(manager.tally(|tally| tally.all_max) <= 20);
    let most = u64::from(sessions.min(3));
    assert!(manager.tally(|tally| tally.live_max.values().all(|live| *live <= most)));
    assert_eq!(manager.tally(|tally| tally.doubled), 0);
    assert_eq!(pool.close().await.still_open, 0);
    assert_eq!(manager.tally(|tally| tally.all), 0);
    // A reading while a connection is closed may come short of its uses.
    assert_eq!(pool.stats().acquires, tasks * rounds);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_tasks_on_three_exclusive_connections() {
    work(3, 1, 64, 400, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_tasks_on_shared_connections() {
    work(2, 5, 64, 400, 1).await;
}

/// So few tasks that leases are left over, and so many that they run out.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_on_connections_of_many_leases() {
    work(1, 16, 12, 10_000, 1).await;
    work(2, 8, 17, 5000, 1).await;
    work(1, 32, 64, 1000, 1).await;
    work(2, 16, 64, 200, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_accounts_than_the_global_cap_allows() {
    work(2, 1, 64, 100, 50).await;
}

/// What an operator does, and acquires that need every lease or a new connection, while threads meet at
/// connections of many leases.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_ends_connections_meets_tasks_on_many_leases() {
    let manager = Scripted::new(2, 16);
    let pool = manager.pool(|config| config.pool.max_connections_per_account = 2);
    let over = Arc::new(AtomicBool::new(false));
    let mut running = Vec::new();
    for _ in 0..6 {
        let (pool, over) = (pool.clone(), Arc::clone(&over));
        running.push(tokio::spawn(async move {
            let mut served = 0;
            while !over.load(Ordering::Relaxed) {
                match pool.acquire(account(1)).await {
                    Ok(lease) => {
                        served += 1;
                        drop(lease);
                    }
                    Err(AcquireError::Draining { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
            served
        }));
    }
    for round in 0..180 {
        match round % 6 {
            0 | 3 => {
                let stats = pool.account_stats(account(1));
                for connection in stats.into_iter().flat_map(|stats| stats.connections) {
                    pool.close_connection(account(1), connection.id);
                }
            }
            1 => {
                // So many that no connection has room.
                let held: Vec<_> =
                    (0..26).map_while(|_| pool.try_acquire(account(1)).ok()?).collect();
                drop(held);
            }
            2 => drop(pool.acquire_fresh(account(1)).await.unwrap()),
            4 => {
                let mut config = (*pool.config()).clone();
                config.pool.max_connections_per_account = 1 + round / 6 % 2;
                config.pool.max_leases_per_connection = 8 + round % 24;
                pool.reconfigure(config).unwrap();
            }
            _ => {
                pool.drain_account(account(1)).await;
                assert_eq!(pool.stats().leases, 0, "it has drained");
                pool.reinstate(account(1));
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut served = 0;
    for task in running {
        served += task.await.unwrap();
    }
    assert!(served > 0);
    let stats = pool.stats();
    assert_eq!((stats.leases, stats.waiting), (0, 0));
    assert!(manager.tally(|tally| tally.live_max.values().all(|live| *live <= 2)));
    assert_eq!(manager.tally(|tally| tally.doubled), 0);
    assert_eq!(pool.close().await.still_open, 0);
    assert_eq!(manager.tally(|tally| tally.all), 0);
}
