//! What a scrape costs, by how many accounts the pool knows and how many of them have
//! connections.
//!
//! `cargo bench --bench scrape` prints a table; with `-- --test` it runs the smallest case once.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads time, and fails by panicking"
)]

use std::time::{Duration, Instant};

use telepool::metrics::Prometheus;
use telepool::{AccountId, Config, NoopManager, Pool};

const TURNS: usize = 31;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    println!(
        "{:>9} {:>12} {:>10} {:>10} {:>10}",
        "accounts", "connections", "median", "most", "text"
    );
    let sizes: &[(u64, u64)] = match std::env::args().any(|argument| argument == "--test") {
        true => &[(1_000, 100)],
        false => &[
            (1_000, 1_000),
            (10_000, 10_000),
            (100_000, 0),
            (100_000, 1_000),
            (100_000, 10_000),
            (100_000, 100_000),
            (1_000_000, 10_000),
        ],
    };
    for (accounts, connected) in sizes {
        measure(*accounts, *connected).await;
    }
}

async fn measure(accounts: u64, connected: u64) {
    let mut config = Config::default();
    config.pool.max_connections = 100_000;
    config.pool.max_idle_time = Duration::from_secs(3600);
    config.dial.per_second = 100_000;
    config.dial.handshakes = 1_000;
    let pool = Pool::builder(NoopManager::new(3)).config(config).build().unwrap();
    let exporter = Prometheus::new(&pool).unwrap();
    let id = |number| AccountId::bot(number).unwrap();
    for number in 1..=accounts {
        pool.account(id(number)).unwrap();
    }
    for number in 1..=connected {
        drop(pool.acquire(id(number)).await.unwrap());
    }
    exporter.run_upkeep();
    let (mut took, mut size) = (Vec::new(), 0);
    for _ in 0..TURNS {
        // Something happens between two scrapes.
        for number in 1..=connected.min(100) {
            drop(pool.acquire(id(number)).await.unwrap());
        }
        let began = Instant::now();
        size = exporter.render().len();
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
    let (median, most) = (ms(took[TURNS / 2]), ms(took[TURNS - 1]));
    println!("{accounts:>9} {connected:>12} {median:>10} {most:>10} {size:>8} B");
    pool.close().await;
}
