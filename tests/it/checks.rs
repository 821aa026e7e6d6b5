//! The check of a connection that was idle for long: whoever finds it may leave, and it is checked once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use telepool::{AcquireError, Stage};
use tokio::time::{Instant, sleep, timeout};

use crate::scripted::{Play, Scripted, account};

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Longer than `check_after_idle`.
const LONG: Duration = Duration::from_secs(31);

#[tokio::test(start_paused = true)]
async fn callers_without_patience_for_a_round_trip_do_a_healthy_account_no_harm() {
    for leaves in [true, false] {
        let manager = Scripted::new(1, 1);
        let pool = manager.pool(|_| ());
        manager.on_check(Play::Slow(millis(60)));
        let first = pool.acquire(account(1)).await.unwrap().connection_id();
        for _ in 0..10 {
            sleep(LONG).await;
            if leaves {
                assert!(timeout(millis(20), pool.acquire(account(1))).await.is_err());
            } else {
                let error = pool.acquire_timeout(account(1), millis(20)).await.unwrap_err();
                assert_eq!(error.stage(), Stage::Check, "{error}");
            }
            // Enough for the rest of the round trip.
            let began = Instant::now();
            let lease = pool.acquire(account(1)).await.unwrap();
            assert!(began.elapsed() <= millis(45), "{:?}", began.elapsed());
            assert_eq!(lease.connection_id(), first, "a healthy connection was lost");
        }
        let stats = pool.stats();
        assert_eq!((stats.total_connections_created, stats.total_connections_closed), (1, 0));
        assert_eq!(manager.state.checks.load(Ordering::SeqCst), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn many_who_leave_at_once_leave_a_sound_account_behind() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.check_after_idle = Duration::ZERO);
    manager.on_check(Play::Slow(millis(60)));
    let first = pool.acquire(account(1)).await.unwrap().connection_id();
    for _ in 0..5 {
        sleep(millis(100)).await;
        let leaving = (0..64).map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { timeout(millis(10), pool.acquire(account(1))).await.is_ok() })
        });
        for left in leaving.collect::<Vec<_>>() {
            assert!(!left.await.unwrap());
        }
    }
    assert_eq!(
        timeout(millis(70), pool.acquire(account(1))).await.unwrap().unwrap().connection_id(),
        first
    );
    assert_eq!(pool.stats().total_connections_created, 1);
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_for_a_check_has_no_other_connection_checked_or_dialled() {
    let manager = Scripted::new(4, 1);
    let pool = manager.pool(|_| ());
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(pool.acquire(account(1)).await.unwrap());
    }
    drop(leases);
    sleep(LONG).await;
    manager.on_check(Play::Slow(millis(60)));
    drop(pool.acquire(account(1)).await.unwrap());
    let checks = || manager.state.checks.load(Ordering::SeqCst);
    assert_eq!((checks(), manager.tally(|tally| tally.dials)), (1, 3));

    // Several at a time have one checked for each.
    sleep(LONG).await;
    let began = Instant::now();
    let waiting = (0..3).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.acquire(account(1)).await.unwrap() })
    });
    let mut leases = Vec::new();
    for waiting in waiting.collect::<Vec<_>>() {
        leases.push(waiting.await.unwrap());
    }
    assert!(began.elapsed() <= millis(70), "{:?} {:?}", began.elapsed(), pool.stats());
    assert_eq!((checks(), manager.tally(|tally| tally.dials)), (4, 3));
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_doubt_is_checked_while_another_serves() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|_| ());
    let one = pool.acquire(account(1)).await.unwrap();
    let other = pool.acquire(account(1)).await.unwrap();
    let (in_doubt, sound) = (one.connection_id(), other.connection_id());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _one = one;
        panic!("as it was told")
    }));
    assert!(panicked.is_err());
    drop(other);
    manager.on_check(Play::Slow(millis(60)));
    let began = Instant::now();
    let (first, second) = tokio::join!(pool.acquire(account(1)), pool.acquire(account(1)));
    let ids = [first.unwrap().connection_id(), second.unwrap().connection_id()];
    assert!(ids.contains(&in_doubt) && ids.contains(&sound));
    assert_eq!((began.elapsed(), manager.state.checks.load(Ordering::SeqCst)), (millis(60), 1));

    // The sound one comes at once, whichever is looked at first.
    let began = Instant::now();
    drop(pool.acquire(account(1)).await.unwrap());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_lent_a_shared_connection_while_it_is_checked() {
    let manager = Scripted::new(1, 2);
    let pool = manager.pool(|_| ());
    drop(pool.acquire(account(1)).await.unwrap());
    sleep(LONG).await;
    manager.on_check(Play::Slow(millis(60)));
    let began = Instant::now();
    let both: Vec<_> = (0..2)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.acquire(account(1)).await.unwrap() })
        })
        .collect();
    let mut leases = Vec::new();
    for lease in both {
        let lease = lease.await.unwrap();
        assert!(began.elapsed() >= millis(60), "{:?}", began.elapsed());
        leases.push(lease);
    }
    assert_eq!(manager.state.checks.load(Ordering::SeqCst), 1);

    // One who waits behind them is served when they are through, and does not spin until then.
    drop(leases);
    sleep(LONG).await;
    let error = pool.acquire_timeout(account(1), millis(20)).await.unwrap_err();
    let AcquireError::Timeout(timeout) = error else { panic!("{error}") };
    assert_eq!((timeout.stage, timeout.leases), (Stage::Check, 0));
    assert_eq!(timeout.oldest_lease_site, None, "the pool itself holds the lease");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_fails_makes_way_for_a_dial_at_once() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|_| ());
    // Often enough that its end is no reason for a pause.
    let mut first = None;
    for _ in 0..3 {
        first = Some(pool.acquire(account(1)).await.unwrap().connection_id());
    }
    sleep(LONG).await;
    manager.on_check(Play::Fail);
    manager.on_close(Play::Slow(millis(500)));
    let began = Instant::now();
    let lease = pool.acquire(account(1)).await.unwrap();
    assert!(began.elapsed() < millis(500), "its close is nobody's business");
    assert_ne!(Some(lease.connection_id()), first);
}

#[tokio::test(start_paused = true)]
async fn what_needs_no_check_serves_while_another_is_checked() {
    for leases in [1, 2] {
        let manager = Scripted::new(2, leases);
        let pool = manager.pool(|_| ());
        let mut all = Vec::new();
        for _ in 0..2 * leases {
            all.push(pool.acquire(account(1)).await.unwrap());
        }
        drop(all);
        sleep(LONG).await;
        let proved = pool.acquire(account(1)).await.unwrap().connection_id();
        // The other peer is gone, and nobody has told.
        manager.on_check(Play::Never);
        let began = Instant::now();
        let mut held = Vec::new();
        for _ in 0..leases {
            held.push(pool.acquire(account(1)).await.unwrap());
            assert_eq!(held.last().unwrap().connection_id(), proved);
        }
        assert_eq!((began.elapsed(), manager.tally(|tally| tally.dials)), (Duration::ZERO, 2));
        sleep(millis(1)).await;
        assert_eq!(manager.state.checks.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_check_of_a_connection_that_is_closed_meanwhile() {
    for is_replaced in [true, false] {
        let manager = Scripted::new(2, 2);
        let pool = manager.pool(|_| ());
        let first = pool.acquire(account(1)).await.unwrap().connection_id();
        sleep(LONG).await;
        manager.on_check(Play::Never);
        let began = Instant::now();
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.acquire(account(1)).await.unwrap().slot() }
        });
        sleep(millis(100)).await;
        if is_replaced {
            let mut config = pool.config().as_ref().clone();
            config.pool.max_leases_per_connection = 1;
            pool.reconfigure(config).unwrap();
        } else {
            assert!(pool.close_connection(account(1), first));
        }
        assert_eq!(waiting.await.unwrap(), 1);
        assert_eq!(began.elapsed(), millis(100));
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_promises_no_lease_that_another_holds() {
    let manager = Scripted::new(2, 2);
    let pool = manager.pool(|_| ());
    let held = pool.acquire(account(1)).await.unwrap();
    let other = pool.acquire(account(1)).await.unwrap();
    assert_eq!(other.connection_id(), held.connection_id());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _other = other;
        panic!("as it was told")
    }));
    assert!(panicked.is_err());
    manager.on_check(Play::Slow(millis(1000)));
    // Two wait, and one lease comes back.
    let began = Instant::now();
    let (first, second) = tokio::join!(pool.acquire(account(1)), pool.acquire(account(1)));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.connection_id(), began.elapsed()), (second.connection_id(), Duration::ZERO));
    assert_ne!(first.connection_id(), held.connection_id());
    assert_eq!(manager.tally(|tally| tally.dials), 2);
}
