//! Acquires that are begun and not polled on: what they were handed goes to others in time.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;

use telepool::{Acquire, AcquireError};
use tokio::time::Instant;

use crate::scripted::{Scripted, account};

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Puts an acquire into the line, and leaves it there.
fn begun(mut acquire: Acquire<Scripted>) -> Pin<Box<Acquire<Scripted>>> {
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut acquire).poll(&mut context).is_pending());
    Box::pin(acquire)
}

#[tokio::test(start_paused = true)]
async fn what_an_acquire_was_handed_and_has_not_taken_goes_on_at_its_deadline() {
    for (leases, others) in [(1, 0), (3, 2)] {
        let pool = Scripted::new(1, leases).pool(|_| ());
        let held = pool.acquire(account(1)).await.unwrap();
        let mut kept = Vec::new();
        for _ in 0..others {
            kept.push(pool.acquire(account(1)).await.unwrap());
        }
        let began = Instant::now();
        let first = begun(pool.acquire_timeout(account(1), secs(3)));
        // Watched by nobody but for the first: it comes later, and its time is up later.
        let second = begun(pool.acquire_timeout(account(1), secs(4)));
        tokio::time::sleep(secs(1)).await;
        drop(held);
        let third = pool.acquire_timeout(account(1), secs(5)).await.unwrap();
        assert!(began.elapsed() >= secs(4) && began.elapsed() < secs(5), "{:?}", began.elapsed());
        for late in [first, second] {
            let AcquireError::Timeout(timeout) = late.await.unwrap_err() else { panic!() };
            assert!(timeout.oldest_lease_taken, "{timeout}");
        }
        drop((third, kept));
        let view = pool.account_stats(account(1)).unwrap();
        assert_eq!((view.leases, view.waiting, view.pool_size), (0, 0, 1));
        assert_eq!(pool.close().await.still_open, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_what_another_has_not_taken_is_told_who_that_is() {
    let pool = Scripted::new(1, 1).pool(|_| ());
    let held = pool.acquire(account(1)).await.unwrap();
    let line = line!() + 1;
    let first = begun(pool.acquire_timeout(account(1), secs(60)));
    drop(held);
    tokio::time::sleep(secs(2)).await;
    let error = pool.acquire_timeout(account(1), secs(1)).await.unwrap_err();
    let text = error.to_string();
    let AcquireError::Timeout(timeout) = error else { panic!("{text}") };
    assert_eq!(timeout.oldest_lease_age.unwrap().as_secs(), 3);
    assert_eq!(timeout.oldest_lease_site.unwrap().line(), line);
    assert!(!timeout.oldest_lease_taken);
    assert!(text.contains("was handed 3s ago to the acquire at tests/it/unpolled.rs"), "{text}");
    assert!(text.contains("which has not taken it: poll it, or drop it"), "{text}");

    // It does no harm to come late, as long as it is in time.
    let lease = first.await.unwrap();
    let AcquireError::Timeout(timeout) =
        pool.acquire_timeout(account(1), secs(1)).await.unwrap_err()
    else {
        panic!()
    };
    assert!(timeout.oldest_lease_taken);
    assert_eq!(timeout.oldest_lease_age.unwrap().as_secs(), 1, "since it was taken");
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn the_first_connection_of_an_account_goes_on_as_well() {
    let pool = Scripted::new(1, 1).pool(|_| ());
    let line = line!() + 1;
    let first = begun(pool.acquire_timeout(account(1), secs(3)));
    tokio::time::sleep(secs(1)).await;
    let error = pool.acquire_timeout(account(1), secs(1)).await.unwrap_err();
    assert!(error.to_string().contains(&format!("unpolled.rs:{line}:")), "{error}");
    let lease = pool.acquire_timeout(account(1), secs(5)).await.unwrap();
    assert_eq!(pool.stats().total_connections_created, 1);
    assert!(matches!(first.await, Err(AcquireError::Timeout(_))));
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn an_acquire_that_is_dropped_late_gives_back_only_what_is_still_its_own() {
    let pool = Scripted::new(1, 1).pool(|_| ());
    let held = pool.acquire(account(1)).await.unwrap();
    let first = begun(pool.acquire_timeout(account(1), secs(3)));
    drop(held);
    tokio::time::sleep(secs(4)).await;
    let lease = pool.acquire_timeout(account(1), secs(1)).await.unwrap();
    drop(first);
    let view = pool.account_stats(account(1)).unwrap();
    assert_eq!((view.leases, view.active_connections), (1, 1));
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn what_lay_unused_with_an_acquire_is_checked_like_what_lay_idle() {
    for is_dropped in [true, false] {
        let manager = Scripted::new(1, 1);
        let pool = manager.pool(|_| ());
        let held = pool.acquire(account(1)).await.unwrap();
        let first = begun(pool.acquire_timeout(account(1), secs(60)));
        drop(held);
        let second = if is_dropped {
            tokio::time::sleep(secs(40)).await;
            drop(first);
            pool.acquire(account(1)).await.unwrap()
        } else {
            tokio::time::sleep(secs(40)).await;
            // Taken back for this one, which began after it was used last.
            pool.acquire_timeout(account(1), secs(50)).await.unwrap()
        };
        assert_eq!(manager.state.checks.load(Ordering::SeqCst), 1, "{is_dropped}");
        drop(second);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_not_taken_before_its_connection_was_closed_is_replaced() {
    let pool = Scripted::new(1, 1).pool(|_| ());
    let held = pool.acquire(account(1)).await.unwrap();
    let id = held.connection_id();
    let first = begun(pool.acquire_timeout(account(1), secs(60)));
    drop(held);
    assert!(pool.close_connection(account(1), id));
    tokio::time::sleep(secs(31)).await;
    let lease = first.await.unwrap();
    assert_ne!(lease.connection_id(), id, "it was lent after it had been closed by force");
    let view = pool.account_stats(account(1)).unwrap();
    assert_eq!((view.leases, view.active_connections), (1, 1));
    drop(lease);
}
