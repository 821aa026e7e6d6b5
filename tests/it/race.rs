//! Races between those who remove or forget an account and those who come for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use telepool::{Account, AcquireError, Pool};

use crate::scripted::{Play, Scripted, account};

const ROUNDS: u64 = 3000;
const ACCOUNTS: u64 = 3;

/// Comes for accounts in every way, and keeps a handle for a while.
async fn come(pool: Pool<Scripted>, seed: u64, over: Arc<AtomicBool>, served: Arc<AtomicU64>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut handle: Option<Account<Scripted>> = None;
    while !over.load(Ordering::SeqCst) {
        let id = account(random.u64(1..=ACCOUNTS));
        let lease = match (random.u8(..4), &handle) {
            (0, _) => {
                handle = pool.account(id).ok();
                continue;
            }
            (1, Some(handle)) => handle.acquire_owned(),
            _ => pool.acquire(id),
        };
        match lease.await {
            Ok(lease) => {
                served.fetch_add(1, Ordering::SeqCst);
                if random.bool() {
                    tokio::task::yield_now().await;
                }
                match random.u8(..8) {
                    0 => lease.discard(),
                    _ => drop(lease),
                }
            }
            // Of an account that is being removed, by a handle from before.
            Err(AcquireError::Closed { .. }) => {
                handle = None;
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_account_that_is_removed_and_come_for_at_once_never_has_two_pools() {
    let manager = Scripted::new(2, 1);
    // Accounts are forgotten as soon as nobody looks, and connections take their time to close.
    let pool = manager.pool(|config| {
        config.pool.max_idle_time = Duration::from_millis(1);
        config.pool.cleanup_interval = Duration::from_millis(1);
    });
    manager.on_close(Play::Slow(Duration::from_millis(1)));
    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU64::new(0));
    let comers: Vec<_> = (0..6)
        .map(|seed| tokio::spawn(come(pool.clone(), seed, over.clone(), served.clone())))
        .collect();
    let removers: Vec<_> = (0..2_u64)
        .map(|seed| {
            let (pool, served) = (pool.clone(), served.clone());
            tokio::spawn(async move {
                let mut removed = 0_u64;
                while removed < 50 || served.load(Ordering::SeqCst) < ROUNDS {
                    let id = account(1 + (removed + seed) % ACCOUNTS);
                    removed += u64::from(pool.remove_account(id).await);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for remover in removers {
        remover.await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    for comer in comers {
        comer.await.unwrap();
    }
    manager.tally(|tally| {
        assert_eq!(tally.doubled, 0, "two pools of one account held the same slot");
        assert!(tally.live_max.values().all(|live| *live <= 2), "{:?}", tally.live_max);
    });
    for id in (1..=ACCOUNTS).map(account) {
        pool.remove_account(id).await;
    }
    let stats = pool.stats();
    assert_eq!((stats.accounts, stats.leases, stats.waiting), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.total_connections_created, stats.total_connections_closed);
    assert_eq!(manager.tally(|tally| tally.all), 0);
}
