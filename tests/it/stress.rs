//! Many tasks at once: nobody starves, no cap is exceeded, nothing is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    assert_eq!(pool.close().await.left, 0);
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

/// So few tasks on so many leases that these are parked, and so many that they run out.
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
