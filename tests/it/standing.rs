//! How accounts stand: in doubt, quarantined, back in service; and what that costs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use telepool::{
    AccountHealth, AcquireError, ConnectionState, Event, Manager, Pool, QuarantineReason, Reaction,
};
use tokio::time::{Instant, sleep};

use crate::scripted::{Failure, Play, Scripted, account};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn dials(manager: &Scripted) -> u64 {
    manager.tally(|tally| tally.dials)
}

async fn refused(pool: &Pool<Scripted>) -> QuarantineReason {
    match pool.acquire(account(1)).await {
        Err(AcquireError::Quarantined { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_server_did_not_know_is_dialled_once_more_and_serves_again() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let mut events = pool.events();
    manager.on_connect(Play::Unknown);
    pool.acquire(account(1)).await.unwrap_err();
    assert_eq!(refused(&pool).await, QuarantineReason::Suspect);
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::Suspect));
    manager.on_connect(Play::Good);
    sleep(seconds(299)).await;
    assert_eq!((refused(&pool).await, dials(&manager)), (QuarantineReason::Suspect, 1));
    sleep(seconds(2)).await;
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::Ready));
    assert_eq!((pool.stats().current_pool_size, dials(&manager)), (1, 2));
    drop(pool.acquire(account(1)).await.unwrap());
    let cleared =
        async { while !matches!(events.next().await.unwrap(), Event::Cleared { slot: 0, .. }) {} };
    cleared.await;
    assert!(manager.quarantines(account(1)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_still_unknown_is_dead_and_dialled_no_more() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.health.probe_after = seconds(60));
    manager.on_connect(Play::Unknown);
    pool.acquire(account(1)).await.unwrap_err();
    sleep(seconds(61)).await;
    assert_eq!((refused(&pool).await, dials(&manager)), (QuarantineReason::Dead, 2));
    sleep(seconds(100_000)).await;
    assert_eq!(dials(&manager), 2);
    assert!(pool.reinstate(account(1)), "an operator may still try");
    manager.on_connect(Play::Good);
    drop(pool.acquire(account(1)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_for_another_reason_is_made_again_later() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|config| config.health.probe_after = seconds(60));
    manager.on_connect(Play::Unknown);
    pool.acquire(account(1)).await.unwrap_err();
    for play in [Play::Fail, Play::Never, Play::Panic] {
        manager.on_connect(play);
        let before = dials(&manager);
        sleep(seconds(75)).await;
        assert_eq!(dials(&manager), before + 1, "{play:?}");
    }
    manager.on_connect(Play::Good);
    sleep(seconds(75)).await;
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::Ready));
    assert_eq!(pool.stats().current_pool_size, 1);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_that_many_report_is_one_and_looked_into_once_at_a_time() {
    let manager = Scripted::new(1, 8);
    let pool = manager.pool(|config| config.health.probe_after = seconds(60));
    let mut leases = Vec::new();
    for _ in 0..8 {
        leases.push(pool.acquire(account(1)).await.unwrap());
    }
    for lease in &leases {
        lease.report(&Failure(Reaction::QuarantineSession(QuarantineReason::Suspect)));
    }
    assert_eq!(pool.stats().quarantines, 1);
    drop(leases);
    manager.on_connect(Play::Fail);
    for _ in 0..4 {
        let before = dials(&manager);
        sleep(seconds(70)).await;
        assert!(dials(&manager) - before <= 2, "{} dials in 70 s", dials(&manager) - before);
    }
    assert!(dials(&manager) > 3, "it is looked into again");
}

#[tokio::test(start_paused = true)]
async fn a_doubt_about_one_session_delays_no_other() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|config| config.health.probe_after = seconds(60));
    manager.on_connect(Play::Unknown);
    pool.acquire(account(1)).await.unwrap_err();
    manager.on_connect(Play::Good);
    let lease = pool.acquire(account(1)).await.unwrap();
    assert_eq!(lease.slot(), 1);
    manager.on_connect(Play::Fail);
    sleep(seconds(70)).await;
    // The probe has failed; whoever waits for the other session hears nothing of it.
    let waiting = tokio::spawn({
        let acquire = pool.acquire_timeout(account(1), seconds(300));
        async move { acquire.await.map(|lease| lease.slot()) }
    });
    sleep(seconds(70)).await;
    drop(lease);
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_slows_no_dial_of_another_session() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|config| config.health.probe_after = seconds(60));
    manager.on_connect(Play::Unknown);
    pool.acquire(account(1)).await.unwrap_err();
    manager.on_connect(Play::Fail);
    let mut events = pool.events();
    loop {
        if let Some(Event::DialFailed { retry_in, .. }) = events.next().await {
            assert_eq!(retry_in, seconds(60), "the pace of the probes");
            break;
        }
    }
    manager.on_connect(Play::Good);
    let before = Instant::now();
    drop(pool.acquire(account(1)).await.unwrap());
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_outlasts_the_pool_and_costs_no_dial() {
    let manager = Scripted::new(1, 1);
    {
        let pool = manager.pool(|_| ());
        manager.on_connect(Play::Quarantine);
        pool.acquire(account(1)).await.unwrap_err();
        pool.close().await;
    }
    manager.on_connect(Play::Good);
    let pool = manager.pool(|_| ());
    assert_eq!(refused(&pool).await, QuarantineReason::KeyDuplicated);
    sleep(seconds(100_000)).await;
    assert_eq!((refused(&pool).await, dials(&manager)), (QuarantineReason::KeyDuplicated, 1));
    assert!(pool.remove_account(account(1)).await);
    assert_eq!(refused(&pool).await, QuarantineReason::KeyDuplicated, "removal lifts nothing");

    let third = manager.pool(|_| ());
    assert!(third.reinstate(account(1)), "also of an account that the pool has not met");
    drop(third.acquire(account(1)).await.unwrap());
    let fourth = manager.pool(|_| ());
    drop(fourth.acquire(account(1)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_doubt_that_outlasts_the_pool_is_looked_into_by_the_next() {
    let manager = Scripted::new(1, 1);
    {
        let pool = manager.pool(|_| ());
        manager.on_connect(Play::Unknown);
        pool.acquire(account(1)).await.unwrap_err();
        pool.close().await;
    }
    manager.on_connect(Play::Good);
    let pool = manager.pool(|_| ());
    assert_eq!(refused(&pool).await, QuarantineReason::Suspect);
    sleep(seconds(301)).await;
    drop(pool.acquire(account(1)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn cooling_names_each_method_and_how_long_it_rests() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let lease = pool.acquire(account(1)).await.unwrap();
    for (key, wait) in [(7, seconds(30)), (8, seconds(90))] {
        lease.report(&Failure(Reaction::CoolDown { key, wait }));
    }
    sleep(seconds(10)).await;
    let Some(AccountHealth::Cooling(rests)) = pool.account_health(account(1)) else {
        panic!("two methods rest")
    };
    let rests: Vec<_> = rests.iter().map(|it| (it.key, it.remaining.as_secs())).collect();
    assert_eq!(rests, [(7, 20), (8, 80)]);
    sleep(seconds(81)).await;
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::Ready));
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_doubt_is_checked_before_anybody_else_gets_it() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let checks = || manager.state.checks.load(Ordering::SeqCst);
    let lease = pool.acquire(account(1)).await.unwrap();
    let first = lease.connection_id();
    lease.report(&Failure(Reaction::Check));
    drop(lease);
    assert!(pool.try_acquire(account(1)).unwrap().is_none(), "nobody waits for a check here");
    assert_eq!(pool.acquire(account(1)).await.unwrap().connection_id(), first);
    assert_eq!(checks(), 1);
    assert_eq!(
        pool.try_acquire(account(1)).unwrap().unwrap().connection_id(),
        first,
        "it has passed"
    );

    manager.on_check(Play::Never);
    pool.acquire(account(1)).await.unwrap().report(&Failure(Reaction::Check));
    assert_ne!(pool.acquire(account(1)).await.unwrap().connection_id(), first, "the peer was gone");
    let seen = pool.account_stats(account(1)).unwrap().connections;
    assert!(seen.iter().all(|it| it.state == ConnectionState::Idle), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_on_every_login_is_dialled_ever_more_seldom() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.acquire_timeout = seconds(600));
    let began = Instant::now();
    while began.elapsed() < seconds(600) {
        let lease = pool.acquire(account(1)).await.unwrap();
        lease.broken.store(true, Ordering::SeqCst);
        drop(lease);
    }
    let dials = dials(&manager);
    assert!((10..60).contains(&dials), "{dials} dials in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn one_connection_that_breaks_is_dialled_again_at_once() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    for _ in 0..20 {
        let began = Instant::now();
        for _ in 0..5 {
            drop(pool.acquire(account(1)).await.unwrap());
        }
        let lease = pool.acquire(account(1)).await.unwrap();
        lease.broken.store(true, Ordering::SeqCst);
        drop(lease);
        drop(pool.acquire(account(1)).await.unwrap());
        assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_held_for_long_is_told_once_with_where_it_was_acquired() {
    for leases in [1, 4] {
        let manager = Scripted::new(1, leases);
        let pool = manager.pool(|config| {
            config.watch.held_lease = seconds(30);
            config.pool.cleanup_interval = seconds(1);
        });
        let mut events = pool.events();
        let line = line!() + 1;
        let held = pool.acquire(account(1)).await.unwrap();
        sleep(seconds(1000)).await;
        drop(held);
        // One that is used again and again is no leak.
        for _ in 0..100 {
            let lease = pool.acquire(account(1)).await.unwrap();
            sleep(seconds(10)).await;
            drop(lease);
        }
        pool.close().await;
        let mut told = Vec::new();
        loop {
            match events.next().await.unwrap() {
                Event::LeaseHeld { held, site, .. } => told.push((held, site.unwrap().line())),
                Event::Closing => break,
                _ => {}
            }
        }
        let [(held, at)] = told[..] else { panic!("{told:?}") };
        assert!(held >= seconds(30) && held < seconds(65) && at == line, "{held:?} {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_acquire_that_waited_for_long_is_told_and_a_quick_one_is_not() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let mut events = pool.events();
    for hold in [seconds(3), Duration::from_millis(900)] {
        let held = pool.acquire(account(1)).await.unwrap();
        let waiting = pool.acquire(account(1));
        let release = async {
            sleep(hold).await;
            drop(held);
        };
        let (waited, ()) = tokio::join!(waiting, release);
        drop(waited.unwrap());
    }
    pool.close().await;
    let mut told = Vec::new();
    loop {
        match events.next().await.unwrap() {
            Event::SlowAcquire { waited, site, .. } => told.push((waited.as_secs(), site.file())),
            Event::Closing => break,
            _ => {}
        }
    }
    assert_eq!(told, [(3, file!())]);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_must_rest_after_its_login_says_so_and_refuses_at_once() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let mut events = pool.events();
    let (day, began) = (Duration::from_secs(86_400), Instant::now());
    manager.on_connect(Play::Rest(day));
    pool.acquire(account(1)).await.unwrap_err();
    let health = Some(AccountHealth::Resting { remaining: day });
    assert_eq!(pool.account_health(account(1)), health);
    for _ in 0..3 {
        let refused = pool.acquire(account(1)).await.unwrap_err();
        let AcquireError::Resting { remaining: left, .. } = refused else { panic!("{refused}") };
        assert_eq!(left, day);
        assert!(refused.to_string().contains("86400s more"), "{refused}");
    }
    assert_eq!((began.elapsed(), manager.tally(|tally| tally.dials)), (Duration::ZERO, 1));
    assert_eq!(pool.stats().flood_waits, 1);
    while !matches!(events.next().await, Some(Event::FloodWait { wait, .. }) if wait == day) {}

    // Whoever has the patience is served then.
    manager.on_connect(Play::Good);
    drop(pool.acquire_timeout(account(1), 2 * day).await.unwrap());
    assert_eq!(began.elapsed(), day);
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::Ready));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_refused_once_a_backoff_outlasts_its_patience() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    manager.on_connect(Play::Rest(Duration::from_secs(5)));
    let mut waiting = tokio::task::JoinSet::new();
    for seconds in [3, 4, 8] {
        let pool = pool.clone();
        waiting.spawn(async move {
            let timeout = Duration::from_secs(seconds);
            let refused = pool.acquire_timeout(account(1), timeout).await.err();
            (seconds, refused.map(|it| it.to_string()), Instant::now())
        });
    }
    sleep(Duration::from_millis(1)).await;
    manager.on_connect(Play::Good);
    let began = Instant::now();
    let mut ends: Vec<_> = waiting.join_all().await;
    ends.sort_by_key(|(seconds, ..)| *seconds);
    // The first in line was told what its dial came to, the second what follows from it.
    assert!(ends[0].1.is_some() && ends[0].2 < began);
    assert!(ends[1].1.as_ref().is_some_and(|it| it.contains("is not dialled for 5s")), "{ends:?}");
    assert!(ends[1].2 < began);
    assert!(ends[2].1.is_none() && ends[2].2 > began, "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn an_account_with_a_connection_serves_however_long_its_next_dial_rests() {
    let manager = Scripted::new(2, 1);
    let pool = manager.pool(|_| ());
    let lease = pool.acquire(account(1)).await.unwrap();
    manager.on_connect(Play::Rest(Duration::from_secs(86_400)));
    pool.acquire(account(1)).await.unwrap_err();
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::Ready));
    let waits = tokio::spawn(pool.acquire(account(1)));
    sleep(Duration::from_secs(1)).await;
    drop(lease);
    drop(waits.await.unwrap().unwrap());
    let refused = pool.acquire_fresh(account(1)).await.unwrap_err();
    assert!(matches!(refused, AcquireError::Resting { .. }), "{refused}");
}
