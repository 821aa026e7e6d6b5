//! An outage of the data centre with 2,000 accounts and the default limits, on a paused clock.
//!
//! `OUTAGE_CHART=FILE cargo test --no-default-features --test it outage` draws what happens.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plotters::prelude::*;
use telepool::Pool;
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
    assert_eq!(pool.close().await.left, 0);
    if let Some(path) = std::env::var_os("OUTAGE_CHART") {
        draw(Path::new(&path), &curve, outage, back);
    }
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
