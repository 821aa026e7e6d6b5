//! What an idle connection costs in memory, at first and after rounds of opening and closing.
//!
//! The data centre runs as a process of its own, so that only the client's side is measured.
//! `cargo bench --bench memory` prints a table; with `-- unpinned` the allocator is left as it is.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "../src/bin/telepool/allocator.rs"]
#[allow(dead_code, reason = "only what a long run needs is used here")]
mod allocator;

use std::io::BufReader;
use std::process::{Child, Command};
use std::time::Duration;

use telepool::session::{DataCentres, SessionRecord, lines};
use telepool::telegram::{MemorySource, TelegramManager, TelegramSettings};
use telepool::{AccountId, Pool};

const CONNECTIONS: usize = 500;
const ROUNDS: usize = 6;

/// Ends the data centre with the benchmark.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn data_centre() -> (Served, Vec<SessionRecord>) {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let out = folder.join(format!("memory-{}.jsonl", std::process::id()));
    let child = Command::new(env!("CARGO_BIN_EXE_telepool"))
        .args(["datacenter", "--latency", "0ms", "--sessions-per-account", "1"])
        .args(["--accounts", &CONNECTIONS.to_string(), "--out", out.to_str().unwrap()])
        .spawn()
        .unwrap();
    let served = Served(child);
    for _ in 0..1000 {
        let records = std::fs::File::open(&out)
            .ok()
            .and_then(|file| lines::read_all(BufReader::new(file), &DataCentres::new()).ok());
        if let Some(records) = records.filter(|records| records.len() == CONNECTIONS) {
            std::fs::remove_file(&out).unwrap();
            return (served, records);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the data centre has written no sessions");
}

/// Resident memory in kilobytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn open(pool: &Pool<TelegramManager<MemorySource>>, accounts: &[AccountId]) {
    let mut opening = tokio::task::JoinSet::new();
    for account in accounts.iter().copied() {
        let pool = pool.clone();
        opening.spawn(async move { drop(pool.acquire(account).await.unwrap()) });
    }
    while let Some(opened) = opening.join_next().await {
        opened.unwrap();
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if !std::env::args().any(|argument| argument == "unpinned") {
        allocator::keep_no_buffers();
    }
    let (_served, records) = data_centre();
    let source = MemorySource::new(records).unwrap();
    let accounts: Vec<_> = source.accounts().collect();
    let pool = Pool::builder(TelegramManager::new(source, TelegramSettings::new(1)))
        .configure(|config| {
            config.dial.per_second = 2000;
            config.dial.handshakes = 64;
        })
        .build()
        .unwrap();
    let before = resident();
    println!("before any connection: {before} kB resident");
    for round in 1..=ROUNDS {
        open(&pool, &accounts).await;
        assert_eq!(pool.stats().current_pool_size, CONNECTIONS as u64);
        let each = (resident() - before) / CONNECTIONS as f64;
        println!("round {round}: {CONNECTIONS} idle connections, {each:.1} kB resident each");
        if round < ROUNDS {
            for account in &accounts {
                pool.close_account(*account).await;
            }
        }
    }
    pool.close().await;
}
