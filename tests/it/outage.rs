//! An outage of the data centre with 2,000 accounts and the default limits, on a paused clock.
//!
//! `OUTAGE_CHART=FILE cargo test --no-default-features --test it outage` draws what happens.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plotters::prelude::*;
use telepool::{AcquireError, DialError, Pool, WaitTimeout};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::scripted::{Play, Scripted, account};

const ACCOUNTS: u64 = 2000;
/// The default of `dial.per_second`.
const LIMIT: u64 = 10;
/// The longest pause of an account after failed dials.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What was seen in one second.
struct Second {
    dials: u64,
    live: u64,
}

/// Acquires again and again, as a bot that has something to say.
async fn insist(pool: Pool<Scripted>, number: u64) {
    loop {
        match pool.acquire(account(number)).await {
            Ok(lease) => drop(lease),
            Err(_refused) => sleep(Duration::from_millis(100 + number % 400)).await,
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Watches for so long, or until `enough`.
async fn watch(
    manager: &Scripted,
    seconds: u64,
    curve: &mut Vec<Second>,
    enough: impl Fn(&Second) -> bool,
) {
    let mut before = manager.tally(|tally| tally.dials);
    for _ in 0..seconds {
        sleep(Duration::from_secs(1)).await;
        let (dials, live) = manager.tally(|tally| (tally.dials, tally.all));
        curve.push(Second { dials: dials - before, live });
        before = dials;
        if enough(&curve[curve.len() - 1]) {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_dials_keep_to_the_limit_and_every_account_comes_back_in_time() {
    let manager = Scripted::new(1, 1);
    let pool = Pool::builder(manager.clone()).seed(7).build().unwrap();
    let mut callers = JoinSet::new();
    for number in 1..=ACCOUNTS {
        callers.spawn(insist(pool.clone(), number));
    }
    let mut curve = Vec::new();
    let all_live = |second: &Second| second.live == ACCOUNTS;
    watch(&manager, 600, &mut curve, all_live).await;
    assert!(all_live(&curve[curve.len() - 1]), "they never all connected");
    watch(&manager, 20, &mut curve, |_| false).await;

    let outage = curve.len();
    manager.on_connect(Play::Fail);
    manager.state.outage.store(true, Ordering::SeqCst);
    watch(&manager, 120, &mut curve, |_| false).await;
    let during: u64 = curve[outage..].iter().map(|second| second.dials).sum();
    assert!(during > 0 && curve[curve.len() - 1].live == 0);

    let back = curve.len();
    manager.on_connect(Play::Good);
    manager.state.outage.store(false, Ordering::SeqCst);
    watch(&manager, 600, &mut curve, all_live).await;
    let took = (curve.len() - back) as u64;
    // The steady pace is one below the limit, for the burst; an account may be resting.
    let allowed = ACCOUNTS / (LIMIT - 1) + PAUSE_MAX.as_secs();
    println!("{ACCOUNTS} accounts were back after {took} s; the limit allows {allowed} s");
    assert!(all_live(&curve[curve.len() - 1]), "not all came back");
    assert!(took <= allowed, "{took} s, and {allowed} s were enough");

    let dialled_at = manager.tally(|tally| tally.dialled_at.clone());
    assert!(never_above_the_limit(&dialled_at));
    callers.shutdown().await;
    assert_eq!(pool.close().await.still_open, 0);
    if let Some(path) = std::env::var_os("OUTAGE_CHART") {
        draw(Path::new(&path), &curve, outage, back);
    }
}

/// Acquires once a second until told otherwise, and counts what failed and the longest wait in vain.
async fn count_failures(pool: Pool<Scripted>, number: u64) -> (u64, Duration) {
    let (mut failed, mut longest) = (0, Duration::ZERO);
    for _ in 0..60 {
        let began = Instant::now();
        if pool.acquire(account(number)).await.is_err() {
            failed += 1;
            longest = longest.max(began.elapsed());
        }
        sleep(Duration::from_secs(1)).await;
    }
    (failed, longest)
}

#[tokio::test(start_paused = true)]
async fn addresses_that_are_silent_or_slow_cost_nobody_else_a_dial() {
    let manager = Scripted::new(1, 1);
    manager.live_at("silent", 1..=40);
    manager.live_at("refusing", 101..=140);
    manager.live_at("slow", 201..=206);
    manager.live_at("good", 301..=340);
    manager.on_connect_at("silent", Play::Never);
    manager.on_connect_at("refusing", Play::Fail);
    manager.on_connect_at("slow", Play::Slow(Duration::from_secs(4)));
    manager.on_connect_at("good", Play::Slow(Duration::from_millis(50)));
    let pool = Pool::builder(manager.clone()).seed(7).build().unwrap();
    let began = Instant::now();
    let dead: Vec<u64> = (1..=40).chain(101..=140).collect();
    let mut bad = JoinSet::new();
    for number in &dead {
        bad.spawn(count_failures(pool.clone(), *number));
    }
    let mut callers = JoinSet::new();
    for number in (201..=206).chain(301..=340) {
        callers.spawn(count_failures(pool.clone(), number));
    }
    while (301..=340).any(|it| !manager.tally(|tally| tally.live.contains_key(&account(it)))) {
        sleep(Duration::from_millis(100)).await;
    }
    // They and the first dials of the others at nine a second.
    assert!(began.elapsed() <= Duration::from_secs(7), "{:?}", began.elapsed());
    for (failed, _) in callers.join_all().await {
        assert_eq!(failed, 0, "an account whose address answers was refused");
    }
    // A look after 1, 2, 4, .. 30 s and ten for its own end; three before it was known.
    assert!((5..=9).contains(&manager.dials_at("silent")), "{}", manager.dials_at("silent"));
    assert!((5..=12).contains(&manager.dials_at("refusing")), "{}", manager.dials_at("refusing"));
    assert_eq!(pool.stats().addresses_down, 2);
    assert!(bad.join_all().await.iter().all(|(failed, _)| *failed >= 5));
    assert!(never_above_the_limit(&manager.tally(|tally| tally.dialled_at.clone())));

    let asked = Instant::now();
    let refused = pool.acquire(account(17)).await.unwrap_err();
    let AcquireError::Dial(DialError::Unreachable(it)) = &refused else { panic!("{refused}") };
    assert_eq!((&*it.address, asked.elapsed()), ("silent", Duration::ZERO));
    assert!(refused.to_string().contains("see whether it can be reached"), "{refused}");

    // Once it answers, everybody is served after one look.
    manager.on_connect_at("silent", Play::Good);
    sleep(Duration::from_secs(40)).await;
    let mut leases = vec![pool.acquire(account(1)).await.unwrap()];
    for number in 2..=40 {
        leases.push(pool.acquire(account(number)).await.unwrap());
    }
    assert_eq!(pool.stats().addresses_down, 1);
}

#[tokio::test(start_paused = true)]
async fn one_account_that_the_server_hangs_up_on_takes_its_address_from_nobody() {
    let manager = Scripted::new(1, 1);
    manager.live_at("one", 1..=9);
    manager.on_connect_at("one", Play::Fail);
    let pool = Pool::builder(manager.clone()).seed(7).build().unwrap();
    for _ in 0..10 {
        pool.acquire_timeout(account(1), Duration::from_secs(100)).await.unwrap_err();
    }
    assert_eq!((manager.dials_at("one"), pool.stats().addresses_down), (10, 0));
    manager.on_connect_at("one", Play::Good);
    drop(pool.acquire(account(2)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn dials_in_advance_to_a_silent_address_keep_no_other_from_warming_up() {
    let manager = Scripted::new(1, 1);
    manager.live_at("silent", 1..=40);
    manager.live_at("good", 101..=140);
    manager.on_connect_at("silent", Play::Never);
    let pool = Pool::builder(manager.clone()).seed(7).build().unwrap();
    assert_eq!(pool.warm_up((1..=40).chain(101..=140).map(account)), 80);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(manager.tally(|tally| tally.all), 40);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_pace_gives_back_neither_dials_nor_places() {
    let manager = Scripted::new(1, 1);
    manager.on_connect(Play::Slow(Duration::from_millis(100)));
    let pool = Pool::builder(manager.clone())
        .configure(|config| {
            config.dial.per_second = 2;
            config.dial.handshakes = 1;
        })
        .build()
        .unwrap();
    let mut callers = JoinSet::new();
    for number in 1..=2000 {
        callers.spawn(insist(pool.clone(), number));
    }
    for turn in 0..1000 {
        let mut config = (*pool.config()).clone();
        config.dial.per_second = 2 + turn % 2;
        pool.reconfigure(config).unwrap();
        sleep(Duration::from_millis(10)).await;
    }
    let (dials, at_once) = manager.tally(|tally| (tally.dials, tally.dialling_max));
    assert!((10..=30).contains(&dials), "{dials} dials in ten seconds");
    assert_eq!(at_once, 1);
    callers.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_room_for_another_connection_is_a_full_pool() {
    let manager = Scripted::new(1, 1);
    manager.state.room.store(20, Ordering::SeqCst);
    let pool = manager.pool(|_| ());
    let mut callers = JoinSet::new();
    for number in 1..=60 {
        let pool = pool.clone();
        callers.spawn(async move {
            for _ in 0..10 {
                let lease = pool.acquire(account(number)).await.unwrap();
                sleep(Duration::from_millis(20)).await;
                drop(lease);
            }
        });
    }
    callers.join_all().await;
    assert_eq!(manager.tally(|tally| tally.all_max), 20);
    assert_eq!(pool.stats().dials_failed, 0, "nothing is held against an account");

    // More room is found by itself, and soon.
    manager.state.room.store(50, Ordering::SeqCst);
    sleep(Duration::from_secs(10)).await;
    let mut leases = Vec::new();
    for number in 1..=50 {
        leases.push(pool.acquire(account(number)).await.unwrap());
    }
    let began = Instant::now();
    let refused = pool.acquire(account(51)).await.unwrap_err();
    assert!(refused.to_string().contains("scripted failure"), "{refused}");
    assert!(began.elapsed() <= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_dial_for_which_room_was_made_in_vain_names_the_shortage_and_what_to_raise() {
    let manager = Scripted::new(1, 1);
    manager.state.room.store(0, Ordering::SeqCst);
    let pool = manager.pool(|_| ());
    let patience = Duration::from_secs(600);
    let refused = pool.acquire_timeout(account(1), patience).await.unwrap_err();
    let AcquireError::Dial(DialError::Exhausted(_)) = &refused else { panic!("{refused}") };
    let told = refused.to_string();
    for words in ["dial: scripted failure: ", "no file descriptor, port", "ulimit -n", "port_range"]
    {
        assert!(told.contains(words), "{words} in {told}");
    }
    assert_eq!(manager.tally(|tally| tally.dials), 3);
}

/// What an acquire says that has waited in vain for so many milliseconds.
async fn timed_out(pool: &Pool<Scripted>, number: u64, millis: u64) -> WaitTimeout {
    let patience = Duration::from_millis(millis);
    match pool.acquire_timeout(account(number), patience).await.unwrap_err() {
        AcquireError::Timeout(timeout) => *timeout,
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_in_vain_for_room_on_the_machine_is_told_so_and_nobody_else() {
    let no_room = "no file descriptor, port or buffer left for another connection: raise its limit (of \
                   open files: ulimit -n; of ports: net.ipv4.ip_local_port_range), or lower \
                   pool.max_connections";
    let manager = Scripted::new(2, 1);
    manager.state.room.store(2, Ordering::SeqCst);
    let pool = manager.pool(|config| config.pool.max_connections = 8);
    let held = [pool.acquire(account(1)).await.unwrap(), pool.acquire(account(2)).await.unwrap()];
    // The first has met it; the second came after the pool was known to be full; the third has a
    // connection, which is leased, and could have another one.
    for (number, tried) in [(3, true), (4, false), (1, false)] {
        let told = timed_out(&pool, number, 300).await;
        assert!(told.machine_full && told.to_string().contains(no_room), "{told}");
        assert!(!told.to_string().contains("see whether the address"), "{told}");
        assert_eq!(told.last_dial_error.is_some(), tried, "{told}");
    }

    // With room again, a dial that is not answered is one of the address.
    manager.state.room.store(100, Ordering::SeqCst);
    manager.on_connect(Play::Never);
    let told = timed_out(&pool, 5, 1500).await;
    assert!(!told.machine_full && told.to_string().contains("see whether the address"), "{told}");
    // Nor does one wait for room whose account has all its connections.
    manager.on_connect(Play::Good);
    sleep(Duration::from_secs(5)).await;
    drop(held);
    let _both = [pool.acquire(account(6)).await.unwrap(), pool.acquire(account(6)).await.unwrap()];
    manager.state.room.store(0, Ordering::SeqCst);
    assert!(timed_out(&pool, 7, 100).await.machine_full);
    let told = timed_out(&pool, 6, 100).await;
    assert!(!told.machine_full && told.to_string().contains("2 leases held"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn an_account_that_cannot_connect_is_dialled_ever_more_seldom() {
    let manager = Scripted::new(1, 1);
    let pool = Pool::builder(manager.clone()).seed(7).build().unwrap();
    manager.on_connect(Play::Fail);
    let mut callers = JoinSet::new();
    for number in 1..=5 {
        callers.spawn(insist(pool.clone(), number));
    }
    let mut curve = Vec::new();
    watch(&manager, 1200, &mut curve, |_| false).await;
    let in_time =
        |from: usize, to: usize| -> u64 { curve[from..to].iter().map(|second| second.dials).sum() };
    // Pauses of 1, 2, 4, .. 60 s, of which half is waited on average.
    assert!((10..=60).contains(&in_time(0, 60)), "{} in the first minute", in_time(0, 60));
    assert!((30..=120).contains(&in_time(600, 1200)), "{} in ten minutes", in_time(600, 1200));
    callers.shutdown().await;
}

/// Whether no second, wherever it begins, saw more dials than the limit.
fn never_above_the_limit(dialled_at: &[Instant]) -> bool {
    let limit = usize::try_from(LIMIT).unwrap();
    // Timers are good to a millisecond.
    let second = Duration::from_millis(990);
    dialled_at.windows(limit + 1).all(|window| window[limit] - window[0] >= second)
}

/// Draws connections and dials over time.
fn draw(path: &Path, curve: &[Second], outage: usize, back: usize) {
    let root = SVGBackend::new(path, (900, 420)).into_drawing_area();
    root.fill(&WHITE).unwrap();
    let (upper, lower) = root.split_vertically(270);
    let end = curve.len();
    let mut connections = ChartBuilder::on(&upper)
        .margin(12)
        .caption("An outage of two minutes, 2,000 accounts, 10 dials a second", ("sans-serif", 18))
        .x_label_area_size(24)
        .y_label_area_size(60)
        .build_cartesian_2d(0..end, 0..ACCOUNTS + 100)
        .unwrap();
    connections
        .configure_mesh()
        .y_desc("connections")
        .light_line_style(TRANSPARENT)
        .draw()
        .unwrap();
    let shade = |top: u64| Rectangle::new([(outage, 0), (back, top)], RED.mix(0.12).filled());
    connections.draw_series([shade(ACCOUNTS + 100)]).unwrap();
    let live = curve.iter().enumerate().map(|(second, it)| (second, it.live));
    connections.draw_series(LineSeries::new(live, BLUE.stroke_width(2))).unwrap();
    let mut dials = ChartBuilder::on(&lower)
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(0..end, 0..LIMIT + 3)
        .unwrap();
    let mesh = &mut dials.configure_mesh();
    mesh.x_desc("seconds").y_desc("dials / s").light_line_style(TRANSPARENT).draw().unwrap();
    dials.draw_series([shade(LIMIT + 3)]).unwrap();
    let begun = curve.iter().enumerate().map(|(second, it)| (second, it.dials));
    dials.draw_series(LineSeries::new(begun, BLUE.stroke_width(1))).unwrap();
    dials.draw_series(LineSeries::new([(0, LIMIT), (end, LIMIT)], RED.stroke_width(1))).unwrap();
    root.present().unwrap();
}
