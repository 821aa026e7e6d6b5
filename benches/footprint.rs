//! What an account costs in memory, and how often an acquire asks the allocator.
//!
//! `cargo bench --no-default-features --features metrics --bench footprint` prints a table, and
//! fails if a warm acquire allocates or an account costs more than it did; it takes a few seconds, with
//! `-- --test` as well. Bytes are those that were requested of the allocator and not given back:
//! what it adds for its own book-keeping is in no number.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "peers/pools.rs"]
#[allow(dead_code, reason = "the race of the peers needs more of it")]
mod pools;

use std::alloc::System;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use dashmap::DashMap;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use telepool::AccountId;

use crate::pools::Nothing;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ACCOUNTS: u64 = 10_000;
/// Connections of an account that has any.
const CONNECTIONS: u16 = 3;
/// Acquires of which the allocations are counted.
const ACQUIRES: usize = 10_000;
/// As many are made before, so that whatever is made once has been made: the runtime's list of tasks
/// that give others a turn, too, which an acquire asks for so seldom that it takes thousands.
const WARM: usize = 10_000;

/// What a number may be.
#[derive(Clone, Copy)]
struct Budget {
    target: f64,
    stretch: f64,
    /// What has been reached, be it more than the target: above it the benchmark fails.
    held: f64,
}

struct Row {
    title: &'static str,
    budget: Option<Budget>,
    telepool: f64,
    deadpool: Option<f64>,
    bb8: Option<f64>,
}

// Time is virtual: it jumps to the next timer whenever no task has anything to do.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    let mut rows = allocations().await;
    rows.extend(bytes(ACCOUNTS).await);
    print(&rows);
    let mut code = ExitCode::SUCCESS;
    for row in &rows {
        if let Some(Budget { held, .. }) = row.budget.filter(|it| row.telepool > it.held) {
            eprintln!("more than the {held} that it was: {}, {:.2}", row.title, row.telepool);
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn print(rows: &[Row]) {
    let cell = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.1}"));
    println!("Bytes requested and not given back, of {ACCOUNTS} accounts, less the empty pool.\n");
    println!("| | telepool | deadpool | bb8 | target | stretch | reached |");
    println!("|---|---|---|---|---|---|---|");
    for row in rows {
        let reached = match row.budget {
            None => "",
            Some(it) if row.telepool <= it.stretch => "stretch",
            Some(it) if row.telepool <= it.target => "target",
            Some(_) => "no",
        };
        let [telepool, deadpool, bb8] = [Some(row.telepool), row.deadpool, row.bb8].map(cell);
        let target = cell(row.budget.map(|it| it.target));
        let stretch = cell(row.budget.map(|it| it.stretch));
        let title = row.title;
        println!(
            "| {title} | {telepool} | {deadpool} | {bb8} | {target} | {stretch} | {reached} |"
        );
    }
}

async fn allocations() -> Vec<Row> {
    let pool = pools::telepool(1, 1);
    let account = AccountId::bot(1).unwrap();
    let handle = pools::account(&pool);
    let (deadpool, bb8) = (pools::deadpool(1), pools::bb8(1).await);
    let none = Some(Budget { target: 0.0, stretch: 0.0, held: 0.0 });
    let row = |title, budget, telepool| Row { title, budget, telepool, deadpool: None, bb8: None };
    let borrowed = asked(async || drop(handle.acquire().await.unwrap())).await;
    let owned = asked(async || drop(handle.acquire_owned().await.unwrap())).await;
    let by_account = asked(async || drop(pool.acquire(account).await.unwrap())).await;
    let in_line = asked_in_line(async || handle.acquire().await.unwrap()).await;
    let rows = vec![
        Row {
            deadpool: Some(asked(async || drop(deadpool.get().await.unwrap())).await),
            bb8: Some(asked(async || drop(bb8.get().await.unwrap())).await),
            ..row("allocations of an acquire and release: borrowed lease", none, borrowed)
        },
        row("allocations of an acquire and release: owned lease", none, owned),
        row("allocations of an acquire and release: by account", none, by_account),
        Row {
            deadpool: Some(asked_in_line(async || deadpool.get().await.unwrap()).await),
            bb8: Some(asked_in_line(async || bb8.get().await.unwrap()).await),
            ..row("allocations of an acquire that waits for a release", None, in_line)
        },
    ];
    pool.close().await;
    rows
}

/// How often a turn of `work` asks the allocator.
async fn asked(work: impl AsyncFn()) -> f64 {
    for _ in 0..WARM {
        work().await;
    }
    settled().await;
    let before = ALLOCATOR.stats();
    for _ in 0..ACQUIRES {
        work().await;
    }
    let asked = ALLOCATOR.stats() - before;
    (asked.allocations + asked.reallocations) as f64 / ACQUIRES as f64
}

/// The same for an acquire that finds the only connection leased, and gets it from the release.
async fn asked_in_line<L>(acquire: impl AsyncFn() -> L) -> f64 {
    let mut held = acquire().await;
    let mut before = ALLOCATOR.stats();
    for turn in 0..WARM + ACQUIRES {
        if turn == WARM {
            before = ALLOCATOR.stats();
        }
        let mut next = pin!(acquire());
        assert!(is_pending(next.as_mut()).await, "nobody else returns a lease");
        drop(held);
        held = next.await;
    }
    let asked = ALLOCATOR.stats() - before;
    drop(held);
    (asked.allocations + asked.reallocations) as f64 / ACQUIRES as f64
}

async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

async fn bytes(accounts: u64) -> Vec<Row> {
    let [cold, connected, closed] = of_telepool(accounts).await;
    let [deadpool_cold, deadpool_connected] = of_deadpool(accounts).await;
    let [bb8_cold, bb8_connected] = of_bb8(accounts).await;
    vec![
        Row {
            title: "bytes of an account that is known",
            budget: Some(Budget { target: 256.0, stretch: 128.0, held: 214.0 }),
            telepool: cold,
            deadpool: Some(deadpool_cold),
            bb8: Some(bb8_cold),
        },
        Row {
            title: "bytes of an account with 3 connections",
            budget: Some(Budget { target: 1200.0, stretch: 700.0, held: 1880.0 }),
            telepool: connected,
            deadpool: Some(deadpool_connected),
            bb8: Some(bb8_connected),
        },
        Row {
            title: "bytes of an account whose 3 connections were closed",
            budget: None,
            telepool: closed,
            deadpool: None,
            bb8: None,
        },
    ]
}

/// Accounts that are known, with their connections, and after these were closed.
async fn of_telepool(accounts: u64) -> [f64; 3] {
    let pool = pools::telepool(CONNECTIONS, 1);
    let ids: Vec<_> =
        (0..accounts).map(|it| AccountId::phone(79_160_000_000 + it).unwrap()).collect();
    let empty = settled().await;
    for id in &ids {
        drop(pool.account(*id).unwrap());
    }
    let cold = settled().await;
    for id in &ids {
        let leases = async || pool.acquire(*id).await.unwrap();
        drop(tokio::join!(leases(), leases(), leases()));
    }
    let connected = settled().await;
    assert_eq!(pool.stats().current_pool_size, accounts * u64::from(CONNECTIONS));
    for id in &ids {
        pool.close_account(*id).await;
    }
    let closed = settled().await;
    assert_eq!(pool.stats().current_pool_size, 0);
    let each = |bytes: usize| (bytes - empty) as f64 / accounts as f64;
    [each(cold), each(connected), each(closed)]
}

/// What the replaced code would do with a general pool: one of it for each phone number, here all
/// with one manager.
async fn of_deadpool(accounts: u64) -> [f64; 2] {
    let manager = Nothing::default();
    let pools = DashMap::new();
    let empty = settled().await;
    for phone in phones(accounts) {
        let pool = deadpool::managed::Pool::<Nothing>::builder(manager.clone());
        pools.insert(phone, Arc::new(pool.max_size(CONNECTIONS.into()).build().unwrap()));
    }
    let cold = settled().await;
    for phone in phones(accounts) {
        let pool = Arc::clone(&pools.get(&phone).unwrap());
        drop(tokio::try_join!(pool.get(), pool.get(), pool.get()).unwrap());
    }
    let connected = settled().await;
    [cold, connected].map(|bytes| (bytes - empty) as f64 / accounts as f64)
}

/// The same with bb8, as it comes: each pool has a task that looks after expired connections.
async fn of_bb8(accounts: u64) -> [f64; 2] {
    let manager = Nothing::default();
    let pools = DashMap::new();
    let empty = settled().await;
    for phone in phones(accounts) {
        let pool = bb8::Pool::builder().max_size(CONNECTIONS.into());
        pools.insert(phone, pool.build(manager.clone()).await.unwrap());
    }
    let cold = settled().await;
    for phone in phones(accounts) {
        let pool = pools.get(&phone).unwrap().clone();
        drop(tokio::try_join!(pool.get(), pool.get(), pool.get()).unwrap());
    }
    let connected = settled().await;
    [cold, connected].map(|bytes| (bytes - empty) as f64 / accounts as f64)
}

fn phones(accounts: u64) -> impl Iterator<Item = String> {
    (0..accounts).map(|number| format!("+{}", 79_160_000_000 + number))
}

/// The bytes in use once the tasks of the pools have nothing left to do, and no deadline of an
/// acquire is left to be watched.
async fn settled() -> usize {
    tokio::time::sleep(Duration::from_secs(20)).await;
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}
