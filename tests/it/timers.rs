//! Every timer, to the millisecond, on a paused clock: none comes early, none comes late, and a
//! clock that jumps does no harm.

use std::time::Duration;

use telepool::{AcquireError, CloseReason, Event, EventStream, Pool, Stage};
use tokio::time::{Instant, advance, sleep, timeout};

use crate::scripted::{Play, Scripted, account};

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// How late a timer may be: the clock of the pool counts milliseconds, as tokio's timers do.
const GRAIN: Duration = millis(3);
/// The pool's coarse clock, which a release goes by.
const COARSE: Duration = millis(10);

#[track_caller]
fn assert_on_time(began: Instant, limit: Duration, late: Duration) {
    let took = began.elapsed();
    assert!(took >= limit && took <= limit + late, "{took:?} instead of {limit:?}");
}

async fn closed(events: &mut EventStream) -> CloseReason {
    loop {
        match events.next().await {
            Some(Event::ConnectionClosed { reason, .. }) => return reason,
            Some(_) => {}
            None => panic!("the pool is gone"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_acquire_gives_up_at_its_deadline() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.acquire_timeout = millis(1234));
    let _held = pool.acquire(account(1)).await.unwrap();
    for own in [None, Some(millis(17)), Some(seconds(4000))] {
        let began = Instant::now();
        let acquire = match own {
            None => pool.acquire(account(1)),
            Some(limit) => pool.acquire_timeout(account(1), limit),
        };
        let error = acquire.await.unwrap_err();
        let AcquireError::Timeout(report) = error else { panic!("{error}") };
        assert_eq!(report.stage, Stage::Wait);
        assert_on_time(began, own.unwrap_or(millis(1234)), GRAIN);
        assert!(report.waited >= own.unwrap_or(millis(1234)), "{:?}", report.waited);
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_waiter_with_an_earlier_deadline_is_told_first() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let _held = pool.acquire(account(1)).await.unwrap();
    let began = Instant::now();
    let mut ended = tokio::task::JoinSet::new();
    for limit in [700, 20, 400, 20, 90_000, 3] {
        let acquire = pool.acquire_timeout(account(1), millis(limit));
        ended.spawn(async move {
            acquire.await.unwrap_err();
            (limit, began.elapsed())
        });
    }
    let mut order = Vec::new();
    while let Some(done) = ended.join_next().await {
        let (limit, took) = done.unwrap();
        assert!(took >= millis(limit) && took <= millis(limit) + GRAIN, "{took:?} {limit}");
        order.push(limit);
    }
    assert_eq!(order, [3, 20, 20, 400, 700, 90_000]);
}

#[tokio::test(start_paused = true)]
async fn a_dial_a_check_and_a_close_end_at_their_deadlines() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| {
        config.pool.acquire_timeout = seconds(600);
        config.pool.dial_timeout = millis(2100);
        config.pool.check_timeout = millis(1300);
        config.pool.close_timeout = millis(800);
        config.pool.max_idle_time = seconds(3600);
    });
    manager.on_connect(Play::Never);
    let began = Instant::now();
    pool.acquire(account(1)).await.unwrap_err();
    assert_on_time(began, millis(2100), GRAIN);

    manager.on_connect(Play::Good);
    // Often enough that its end is no reason for a pause.
    for _ in 0..3 {
        drop(pool.acquire(account(1)).await.unwrap());
    }
    sleep(seconds(31)).await;
    manager.on_check(Play::Never);
    manager.on_close(Play::Never);
    let began = Instant::now();
    drop(pool.acquire(account(1)).await.unwrap());
    // The check, then the close of what did not answer: its successor never meets it.
    assert_on_time(began, millis(1300 + 800), 2 * GRAIN);

    let lease = pool.acquire(account(1)).await.unwrap();
    let began = Instant::now();
    lease.close().await;
    assert_on_time(began, millis(800), GRAIN);
    assert_eq!(manager.tally(|tally| (tally.all, tally.doubled)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_acquire_waits_for_a_check_with_its_own_patience_and_the_check_goes_on() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let first = pool.acquire(account(1)).await.unwrap().connection_id();
    sleep(seconds(31)).await;
    manager.on_check(Play::Never);
    let began = Instant::now();
    let error = pool.acquire_timeout(account(1), millis(250)).await.unwrap_err();
    assert!(matches!(&error, AcquireError::Timeout(it) if it.stage == Stage::Check), "{error}");
    assert_on_time(began, millis(250), GRAIN);

    // The next waits for the same check, whose time is up at `check_timeout`.
    let second = pool.acquire(account(1)).await.unwrap();
    assert_on_time(began, pool.config().pool.check_timeout, 2 * GRAIN);
    assert_ne!(second.connection_id(), first);
    assert_eq!(manager.state.checks.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_check_before_reuse_is_asked_after_check_after_idle_and_not_before() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.check_after_idle = seconds(3));
    let checks = || manager.state.checks.load(std::sync::atomic::Ordering::SeqCst);
    drop(pool.acquire(account(1)).await.unwrap());
    sleep(seconds(3) - COARSE).await;
    drop(pool.acquire(account(1)).await.unwrap());
    assert_eq!(checks(), 0);
    sleep(seconds(3) + 2 * COARSE).await;
    drop(pool.acquire(account(1)).await.unwrap());
    assert_eq!(checks(), 1);
    drop(pool.acquire(account(1)).await.unwrap());
    assert_eq!(checks(), 1, "a check counts as a use");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_lives_for_max_idle_time_and_at_most_one_tick_longer() {
    for (idle, tick) in [(7_000, 1000), (500, 40), (10, 60_000)] {
        let manager = Scripted::new(1, 1);
        let pool = manager.pool(|config| {
            config.pool.max_idle_time = millis(idle);
            config.pool.cleanup_interval = millis(tick);
        });
        let mut events = pool.events();
        drop(pool.acquire(account(1)).await.unwrap());
        let mut released = Instant::now();
        // Trickling traffic, each time a little before the end.
        for _ in 0..20 {
            if idle < 100 {
                break;
            }
            sleep(millis(idle - idle / 10)).await;
            drop(pool.acquire(account(1)).await.unwrap());
            released = Instant::now();
        }
        assert_eq!(closed(&mut events).await, CloseReason::Idle);
        assert!(released.elapsed() + COARSE >= millis(idle), "{:?}", released.elapsed());
        assert_on_time(released - COARSE, millis(idle), millis(tick) + 2 * COARSE + GRAIN);
        assert_eq!(manager.tally(|tally| tally.dials), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_age_ends_within_its_jitter_and_one_tick() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| {
        config.pool.max_idle_time = seconds(100_000);
        config.pool.max_connection_age = seconds(1000);
        config.pool.age_jitter = 0.25;
        config.pool.cleanup_interval = seconds(5);
    });
    let mut events = pool.events();
    let began = Instant::now();
    assert_eq!(pool.warm_up((1..=40).map(account)), 40);
    let mut ages = Vec::new();
    for _ in 0..40 {
        assert_eq!(closed(&mut events).await, CloseReason::Age);
        ages.push(began.elapsed());
    }
    assert!(ages.iter().all(|age| *age >= seconds(750) && *age <= seconds(1006)), "{ages:?}");
    let spread = *ages.last().unwrap() - ages[0];
    assert!(spread > seconds(180), "a quarter of the age, and they died within {spread:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_after_a_drain_is_taken_at_its_deadline() {
    for kind in ["connection", "account", "drain", "remove", "pool"] {
        let manager = Scripted::new(1, 1);
        let pool = manager.pool(|config| config.pool.drain_timeout = millis(4321));
        let held = pool.acquire(account(1)).await.unwrap();
        let mut events = pool.events();
        let began = Instant::now();
        match kind {
            "connection" => assert!(pool.close_connection(account(1), held.connection_id())),
            "account" => assert_eq!(pool.close_account(account(1)).await, 1),
            "drain" => assert!(pool.drain_account(account(1)).await),
            "remove" => drop(timeout(seconds(60), pool.remove_account(account(1))).await),
            _ => assert_eq!(pool.close().await.still_open, 0),
        }
        closed(&mut events).await;
        if kind != "remove" {
            assert_on_time(began, millis(4321), GRAIN);
        }
        assert_eq!(manager.tally(|tally| tally.all), 0, "{kind}");
        assert_eq!(pool.stats().leases, 1, "{kind}: the lease is held still");
        drop(held);
        assert_eq!(pool.stats().leases, 0, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_interval_of_the_reaper_holds_at_once() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.cleanup_interval = seconds(3600));
    let mut events = pool.events();
    let began = Instant::now();
    drop(pool.acquire(account(1)).await.unwrap());
    let mut config = (*pool.config()).clone();
    config.pool.cleanup_interval = seconds(1);
    config.pool.max_idle_time = seconds(10);
    pool.reconfigure(config).unwrap();
    assert_eq!(closed(&mut events).await, CloseReason::Idle);
    assert_on_time(began, seconds(10) - COARSE, seconds(1) + 2 * COARSE + GRAIN);
}

/// One connection idle, one leased, one caller in line.
async fn busy(pool: &Pool<Scripted>) -> [telepool::Lease<Scripted>; 1] {
    drop(pool.acquire(account(1)).await.unwrap());
    [pool.acquire(account(2)).await.unwrap()]
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_ends_what_is_over_and_nothing_else() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.cleanup_interval = seconds(1));
    let [held] = busy(&pool).await;
    let waiting = tokio::spawn({
        let acquire = pool.acquire_timeout(account(2), seconds(90_000));
        async move { acquire.await.map(drop) }
    });
    tokio::task::yield_now().await;
    for jump in [seconds(61), seconds(3), seconds(200), seconds(86_400)] {
        advance(jump).await;
        sleep(millis(1100)).await;
        assert_eq!(pool.stats().leases, 1, "a jump takes no lease away");
        assert!(!waiting.is_finished(), "a jump ends no wait before its deadline");
    }
    assert_eq!(pool.stats().current_pool_size, 0, "what was idle for a day is closed");
    drop(held);
    waiting.await.unwrap().unwrap();
    drop(pool.acquire(account(1)).await.unwrap());
    assert_eq!(pool.close().await.still_open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_jump_shorter_than_the_idle_time_closes_nothing() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.cleanup_interval = seconds(1));
    for number in 1..=50 {
        drop(pool.acquire(account(number)).await.unwrap());
    }
    for _ in 0..20 {
        advance(seconds(250)).await;
        sleep(millis(1500)).await;
        for number in 1..=50 {
            drop(pool.acquire(account(number)).await.unwrap());
        }
    }
    // Each reached its age once or twice in these 84 minutes, and nothing else befell it.
    let dials = manager.tally(|tally| tally.dials);
    assert!((100..=150).contains(&dials), "{dials}");
}
