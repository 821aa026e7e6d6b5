//! Accounts that are paused: who waits, what goes on, and what ends it.

use std::time::Duration;

use telepool::{AccountHealth, AcquireError, Event, Pool, QuarantineReason, Reaction, Stage};
use tokio::time::sleep;

use crate::scripted::{Failure, Play, Scripted, account};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// An acquire of the first account that waits in a task of its own.
fn acquiring(
    pool: &Pool<Scripted>,
    patience: Duration,
) -> tokio::task::JoinHandle<Result<(), AcquireError<Failure>>> {
    let pool = pool.clone();
    tokio::spawn(async move { pool.acquire_timeout(account(1), patience).await.map(drop) })
}

#[tokio::test(start_paused = true)]
async fn acquires_of_a_paused_account_wait_until_it_is_resumed() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let mut events = pool.events();
    assert!(pool.pause(account(1)), "also before the pool has met it");
    assert!(!pool.pause(account(1)), "it is paused");
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::Paused));
    let waiting = [acquiring(&pool, seconds(100)), acquiring(&pool, seconds(100))];
    sleep(seconds(50)).await;
    assert!(pool.try_acquire(account(1)).unwrap().is_none());
    assert_eq!((pool.stats().waiting, manager.tally(|tally| tally.dials)), (2, 0));
    assert_eq!(pool.warm_up([account(1)]), 1);
    sleep(seconds(1)).await;
    assert_eq!(manager.tally(|tally| tally.dials), 0, "nor in advance");
    drop(pool.acquire(account(2)).await.expect("another is none of its business"));
    assert!(pool.resume(account(1)));
    assert!(!pool.resume(account(1)), "it is over");
    for task in waiting {
        task.await.unwrap().expect("served");
    }
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::Ready));
    pool.close().await;
    assert!(!pool.pause(account(3)) && !pool.resume(account(1)), "the pool is closed");
    let mut told = Vec::new();
    loop {
        match events.next().await.unwrap() {
            Event::Closing => break,
            event @ (Event::Paused { .. } | Event::Resumed { .. }) => told.push(event),
            _ => {}
        }
    }
    let account = account(1);
    assert_eq!(told, [Event::Paused { account }, Event::Resumed { account }]);
}

#[tokio::test(start_paused = true)]
async fn an_acquire_whose_deadline_passes_in_a_pause_is_told_of_it() {
    let pool = Scripted::new(1, 1).pool(|_| ());
    drop(pool.acquire(account(1)).await.unwrap());
    assert!(pool.pause(account(1)));
    let refused = pool.acquire_timeout(account(1), seconds(3)).await.unwrap_err();
    let AcquireError::Timeout(timeout) = &refused else { panic!("{refused}") };
    assert!(timeout.paused && timeout.waited == seconds(3));
    assert_eq!((refused.stage(), timeout.waiting), (Stage::Wait, 0));
    let text = "wait: account bot:1 is paused, and was not resumed within 3s (0 waiting): resume it, or \
                raise pool.acquire_timeout if pauses are longer than that";
    assert_eq!(refused.to_string(), text);
    assert_eq!(pool.stats().acquires_timed_out, 1);
    assert!(pool.resume(account(1)));
    let held = pool.acquire(account(1)).await.unwrap();
    let refused = pool.acquire_timeout(account(1), seconds(3)).await.unwrap_err();
    assert!(matches!(refused, AcquireError::Timeout(timeout) if !timeout.paused));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn leases_that_are_held_come_back_and_connections_stay_until_they_are_idle_for_long() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|config| config.pool.max_idle_time = seconds(60));
    let held = pool.acquire(account(1)).await.unwrap();
    let id = held.connection_id();
    assert!(pool.pause(account(1)));
    sleep(seconds(1)).await;
    assert_eq!(held.account(), account(1), "it goes on");
    let waiting = acquiring(&pool, seconds(1000));
    drop(held);
    sleep(seconds(30)).await;
    assert_eq!((pool.stats().current_pool_size, pool.stats().waiting), (1, 1));
    assert!(pool.resume(account(1)));
    waiting.await.unwrap().unwrap();
    assert_eq!(pool.acquire(account(1)).await.unwrap().connection_id(), id, "the same one");
    assert!(pool.pause(account(1)));
    sleep(seconds(3600)).await;
    assert_eq!((pool.stats().current_pool_size, pool.stats().accounts), (0, 1));
    sleep(seconds(100_000)).await;
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::Paused), "not forgotten");
    assert!(pool.resume(account(1)));
    sleep(seconds(100_000)).await;
    assert_eq!(pool.stats().accounts, 0, "nothing is left to remember");
}

#[tokio::test(start_paused = true)]
async fn a_dial_under_way_ends_and_one_that_waits_for_its_turn_is_given_back() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.dial.handshakes = 1);
    manager.on_connect(Play::Slow(seconds(5)));
    let waiting = acquiring(&pool, seconds(1000));
    sleep(seconds(1)).await;
    let second = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.acquire_timeout(account(2), seconds(1000)).await.map(drop) })
    };
    sleep(seconds(1)).await;
    assert!(pool.pause(account(1)) && pool.pause(account(2)));
    sleep(seconds(100)).await;
    assert_eq!((manager.tally(|tally| tally.dials), pool.stats().current_pool_size), (1, 1));
    assert!(!waiting.is_finished());
    assert!(pool.resume(account(1)) && pool.resume(account(2)));
    waiting.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(manager.tally(|tally| tally.dials), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_fails_in_a_pause_refuses_nobody_and_is_made_again_after_it() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.dial_timeout = seconds(5));
    manager.on_connect(Play::Never);
    let waiting = acquiring(&pool, seconds(1000));
    sleep(seconds(1)).await;
    assert!(pool.pause(account(1)));
    sleep(seconds(100)).await;
    assert!(!waiting.is_finished());
    assert_eq!((pool.stats().dials_failed, manager.tally(|tally| tally.dials)), (1, 1));
    manager.on_connect(Play::Good);
    assert!(pool.resume(account(1)));
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_ends_an_account_refuses_those_that_wait_for_its_pause_to_end() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let paused = async || {
        let lease = pool.acquire(account(1)).await.unwrap();
        assert!(pool.pause(account(1)));
        let waiting = acquiring(&pool, seconds(1000));
        sleep(seconds(1)).await;
        (lease, waiting)
    };
    let (lease, waiting) = paused().await;
    lease.report(&Failure(Reaction::QuarantineAccount(QuarantineReason::Deactivated)));
    drop(lease);
    let refused = waiting.await.unwrap();
    assert!(matches!(refused, Err(AcquireError::Quarantined { .. })), "{refused:?}");
    assert!(matches!(pool.acquire(account(1)).await, Err(AcquireError::Quarantined { .. })));
    assert!(pool.resume(account(1)), "it is still quarantined");
    assert!(matches!(pool.acquire(account(1)).await, Err(AcquireError::Quarantined { .. })));
    assert!(pool.reinstate(account(1)));

    let (lease, waiting) = paused().await;
    drop(lease);
    assert!(pool.drain_account(account(1)).await);
    assert!(matches!(waiting.await.unwrap(), Err(AcquireError::Draining { .. })));
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::Draining));
    assert!(pool.reinstate(account(1)), "fully back");

    let (lease, waiting) = paused().await;
    drop(lease);
    assert!(pool.remove_account(account(1)).await);
    assert!(matches!(waiting.await.unwrap(), Err(AcquireError::Closed { .. })));
    let (lease, waiting) = paused().await;
    drop(lease);
    assert_eq!(pool.close().await.still_open, 0);
    assert!(matches!(waiting.await.unwrap(), Err(AcquireError::Closed { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_pause_outlasts_closing_the_connections_other_settings_and_other_sessions() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    drop(pool.acquire(account(1)).await.unwrap());
    assert!(pool.pause(account(1)));
    assert_eq!(pool.close_account(account(1)).await, 1);
    let mut config = pool.config().as_ref().clone();
    config.pool.max_leases_per_connection = 2;
    pool.reconfigure(config).unwrap();
    manager.state.profile.lock().unwrap().slots = 3;
    sleep(seconds(10)).await;
    let refused = pool.acquire_timeout(account(1), seconds(1)).await.unwrap_err();
    assert!(matches!(refused, AcquireError::Timeout(timeout) if timeout.paused));
    assert_eq!(pool.account_stats(account(1)).unwrap().max_connections, 3, "it was read again");
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::Paused));
    assert!(pool.reinstate(account(1)), "which resumes it as well");
    drop(pool.acquire(account(1)).await.unwrap());
    assert!(!pool.resume(account(1)));
}

#[tokio::test(start_paused = true)]
async fn any_other_member_serves_for_one_that_is_paused() {
    let manager = Scripted::new(1, 1);
    *manager.state.members.lock().unwrap() = Some((1..=100).map(account).collect());
    let pool = manager.pool(|_| ());
    for number in 1..=99 {
        assert!(pool.pause(account(number)));
    }
    for _ in 0..20 {
        let lease = pool.acquire_any_for("any", 5).await.unwrap();
        assert_eq!(lease.account(), account(100));
        lease.report(&Failure(Reaction::CoolDown { key: 7, wait: seconds(3600) }));
    }
    assert!(pool.pause(account(100)));
    let waiting = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.acquire_any("any").await.map(|lease| lease.account()) })
    };
    sleep(seconds(1)).await;
    assert_eq!(pool.stats().waiting, 1, "there is no other");
    (1..=100).for_each(|number| assert!(pool.resume(account(number))));
    waiting.await.unwrap().unwrap();
}
