//! The page and the API of a pool of 100,000 accounts, of which 1,000 are connected and make 2,000 calls in
//! a second.
//!
//! `cargo bench --no-default-features --features http --bench http` prints a table with what was aimed at
//! in two minutes; with `-- --seconds 5` each phase is as long as that, and with `-- --test` everything is as
//! small as it can be. The clients are a process of their own, so that what is told of the processor is the
//! server's alone.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a benchmark reads time, divides counts, and fails by panicking"
)]

mod acquires;
mod client;
mod crowd;
mod usage;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use telepool::{AccountId, Config, NoopManager, Pool, http};

use crate::client::{PAGES_POLLING, PAGES_STREAMING};
use crate::crowd::Latency;
use crate::usage::{processor_time, resident_mb};

/// How large everything is.
#[derive(Clone, Copy)]
struct Size {
    accounts: u64,
    connected: u64,
    calls_per_second: u64,
    /// Of each phase.
    seconds: u64,
}

const FULL: Size =
    Size { accounts: 100_000, connected: 1_000, calls_per_second: 2_000, seconds: 20 };
const SMALLEST: Size = Size { accounts: 1_000, connected: 10, calls_per_second: 100, seconds: 2 };

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Some(at) = arguments.iter().position(|it| it == "--client") {
        let [mode, address, seconds] = &arguments[at + 1..at + 4] else {
            panic!("--client: three values")
        };
        return runtime.block_on(client::run(
            mode,
            address.parse().unwrap(),
            seconds.parse().unwrap(),
        ));
    }
    let is_test = arguments.iter().any(|it| it == "--test");
    let mut size = if is_test { SMALLEST } else { FULL };
    if let Some(at) = arguments.iter().position(|it| it == "--seconds") {
        size.seconds = arguments[at + 1].parse().unwrap();
    }
    runtime.block_on(measure(size));
}

fn account(number: u64) -> AccountId {
    AccountId::bot(number + 1).unwrap()
}

async fn start_pool(size: Size) -> Pool<NoopManager> {
    let mut config = Config::default();
    config.pool.max_connections = 100_000;
    config.pool.max_idle_time = Duration::from_secs(3600);
    config.dial.per_second = 100_000;
    config.dial.handshakes = 1_000;
    let pool = Pool::builder(NoopManager::new(3)).config(config).build().unwrap();
    for number in 0..size.accounts {
        pool.account(account(number)).unwrap();
    }
    for number in 0..size.connected {
        drop(pool.acquire(account(number)).await.unwrap());
    }
    pool
}

/// Acquires and releases so many times in a second, one account after the other.
async fn call(pool: Pool<NoopManager>, size: Size) {
    const STEP: Duration = Duration::from_millis(10);
    let began = Instant::now();
    let (mut interval, mut made) = (tokio::time::interval(STEP), 0);
    loop {
        interval.tick().await;
        let due = began.elapsed().as_millis() as u64 * size.calls_per_second / 1000;
        for number in made..due {
            drop(pool.acquire(account(number % size.connected)).await.unwrap());
        }
        made = due;
    }
}

async fn measure(size: Size) {
    let pool = start_pool(size).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = http::router(&pool).unwrap();
    tokio::spawn(http::serve(listener, router, std::future::pending()));
    let calls = tokio::spawn(call(pool.clone(), size));
    println!(
        "{} accounts, {} of them connected, {} calls/s\n",
        size.accounts, size.connected, size.calls_per_second
    );

    let before = busy(size.seconds, None).await;
    let memory_before = resident_mb();
    let answers = clients("routes", address, size.seconds).await;
    let memory = resident_mb();
    let latency = Latency::read(&answers);
    println!("{latency}");
    let pages = Some(("pages", address));
    let with_pages = busy(size.seconds, pages).await;
    println!("| what | figure | aim | verdict |\n|---|---:|---:|---|");
    verdict(
        "20 clients on every route once a second: p99 of all answers",
        "ms",
        latency.p99_ms(),
        20.0,
    );
    println!("| the pool with nobody looking: of a core | {before:.1} % | | |");
    verdict(
        &format!("{PAGES_STREAMING} pages that stream and {PAGES_POLLING} that poll: of a core"),
        "%",
        with_pages - before,
        10.0,
    );
    println!("| resident memory, with nobody looking | {memory_before:.0} MB | | |");
    println!(
        "| the same while 20 clients ask, with two listings: beside that | {:.0} MB | | |",
        memory - memory_before
    );
    let (alone, watched) = acquires::compare(&pool, size, address).await;
    println!("| a warm acquire and release, with nobody looking | {alone:.1} ns | | |");
    verdict(
        "the same while 20 clients ask: beside that",
        "%",
        (watched / alone - 1.0) * 100.0,
        5.0,
    );
    calls.abort();
    pool.close().await;
}

fn verdict(what: &str, unit: &str, figure: f64, aim: f64) {
    let verdict = if figure <= aim { "reached" } else { "NOT reached" };
    println!("| {what} | {figure:.1} {unit} | <= {aim:.0} {unit} | {verdict} |");
}

/// How much of one core this process takes, in percent, while clients do as they are told.
async fn busy(seconds: u64, load: Option<(&str, SocketAddr)>) -> f64 {
    let (before, began) = (processor_time(), Instant::now());
    match load {
        Some((mode, address)) => drop(clients(mode, address, seconds).await),
        None => tokio::time::sleep(Duration::from_secs(seconds)).await,
    }
    (processor_time() - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0
}

/// Runs the clients in a process of their own. Returns what they print.
async fn clients(mode: &str, address: SocketAddr, seconds: u64) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--client", mode, &address.to_string(), &seconds.to_string()]);
    command.stderr(Stdio::inherit());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "the clients failed");
    String::from_utf8(output.stdout).unwrap()
}
