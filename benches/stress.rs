//! Tasks that really wait, on a pool as it is in production: who is served how often, and how long
//! the unluckiest waits.
//!
//! Prints a table, and ends with an error if anybody is starved: the share that the least served
//! task has of the most served one's must be 0.9 at least, in one of three tries. Whose thread the
//! system took off the processor is served less without the pool's doing, but not each time. Times
//! are printed and not judged.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads time")]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use telepool::{Account, AccountId, NoopManager, Pool};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// The least share that counts as fair.
const FAIR: f64 = 0.9;
/// How often a case is tried until it is fair.
const TRIES: u32 = 3;
/// How long each case runs; `--test` makes it short.
const LONG: Duration = Duration::from_secs(3);
const SHORT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
enum Hold {
    /// Across a yield to the scheduler.
    Yield,
    /// Across a timer, as a call on the network would.
    Timer,
}

impl Hold {
    async fn pass(self) {
        match self {
            Self::Yield => tokio::task::yield_now().await,
            Self::Timer => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

fn pool(connections: u16, leases: u16, global: u32) -> Pool<NoopManager> {
    Pool::builder(NoopManager::new(connections).leases(leases))
        .configure(|config| {
            config.pool.max_connections = global;
            config.pool.acquire_timeout = Duration::from_secs(60);
            config.dial.per_second = 100_000;
            config.dial.handshakes = 1000;
        })
        .build()
        .expect("a valid configuration")
}

fn account(number: u64) -> AccountId {
    AccountId::bot(number).expect("a valid account")
}

/// What each task was served, and every wait in microseconds, in order.
struct Outcome {
    served: Vec<u64>,
    waits: Vec<u64>,
}

impl Outcome {
    fn fairness(&self) -> f64 {
        let least = self.served.iter().min().copied().unwrap_or(0);
        let most = self.served.iter().max().copied().unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let share = least as f64 / most.max(1) as f64;
        share
    }

    /// Nobody was served more than once beyond anybody else: with a few turns each that is as even
    /// as it can be when the time is up.
    fn is_even(&self) -> bool {
        let most = self.served.iter().max().copied().unwrap_or(0);
        self.served.iter().all(|served| *served > 0 && served + 1 >= most)
    }

    fn wait(&self, per_mille: usize) -> u64 {
        self.waits.get(self.waits.len() * per_mille / 1000).copied().unwrap_or(0)
    }
}

/// Tasks that acquire from one account, hold, and release, until the time is up.
async fn contend(
    account: Account<NoopManager>,
    tasks: usize,
    hold: Hold,
    time: Duration,
) -> Outcome {
    let over = Arc::new(AtomicBool::new(false));
    // All begin together: a task that was spawned late would seem starved.
    let begin = Arc::new(Barrier::new(tasks + 1));
    let mut running = JoinSet::new();
    for _ in 0..tasks {
        let (account, over, begin) = (account.clone(), Arc::clone(&over), Arc::clone(&begin));
        running.spawn(async move {
            let mut waits = Vec::new();
            begin.wait().await;
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let lease = account.acquire().await.expect("nobody waits for a minute");
                waits.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
                hold.pass().await;
                drop(lease);
            }
            waits
        });
    }
    begin.wait().await;
    tokio::time::sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let by_task = running.join_all().await;
    let served = by_task.iter().map(|waits| waits.len() as u64).collect();
    let mut waits: Vec<u64> = by_task.into_iter().flatten().collect();
    waits.sort_unstable();
    Outcome { served, waits }
}

/// A hot account and hundreds of idle connections hold every place; a cold account wants one.
/// Answers how long its first connection took, by the worst of some tries, in microseconds.
async fn come_in_from_the_cold(tries: u64) -> u64 {
    let pool = pool(3, 1, 300);
    for number in 1000..1297 {
        drop(pool.acquire(account(number)).await.expect("a place"));
    }
    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU64::new(0));
    let mut hot = JoinSet::new();
    let handle = pool.account(account(1)).expect("an account");
    for _ in 0..64 {
        let (handle, over, served) = (handle.clone(), Arc::clone(&over), Arc::clone(&served));
        hot.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let lease = handle.acquire().await.expect("nobody waits for a minute");
                served.fetch_add(1, Ordering::Relaxed);
                Hold::Yield.pass().await;
                drop(lease);
            }
        });
    }
    let mut worst = 0;
    for cold in 0..tries {
        let began = Instant::now();
        drop(pool.acquire(account(5000 + cold)).await.expect("a place in time"));
        worst = worst.max(began.elapsed().as_micros());
    }
    over.store(true, Ordering::Relaxed);
    while hot.join_next().await.is_some() {}
    assert!(served.load(Ordering::Relaxed) > 0, "the hot account was served as well");
    u64::try_from(worst).unwrap_or(u64::MAX)
}

fn main() -> ExitCode {
    let time = if std::env::args().any(|argument| argument == "--test") { SHORT } else { LONG };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut unfair = 0;
    println!("tasks  connections x leases  hold      served  fairness   p50 us   p99 us  p99.9 us");
    for (tasks, connections, leases) in [(64, 3, 1), (1024, 3, 1), (64, 1, 8)] {
        for hold in [Hold::Yield, Hold::Timer] {
            let run = || {
                runtime.block_on(async {
                    let pool = pool(connections, leases, 10_000);
                    let account = pool.account(account(1)).expect("an account");
                    contend(account, tasks, hold, time).await
                })
            };
            let is_fair = |it: &Outcome| it.fairness() >= FAIR || it.is_even();
            let mut outcome = run();
            for _ in 1..TRIES {
                if !is_fair(&outcome) {
                    outcome = run();
                }
            }
            let total: u64 = outcome.served.iter().sum();
            let fair = is_fair(&outcome);
            unfair += u32::from(!fair);
            println!(
                "{tasks:>5}  {connections:>11} x {leases:<6}  {:<6} {total:>9}  {:>8.3} {:>8} {:>8} {:>9}",
                format!("{hold:?}"),
                outcome.fairness(),
                outcome.wait(500),
                outcome.wait(990),
                outcome.wait(999),
            );
        }
    }
    let worst = runtime.block_on(come_in_from_the_cold(50));
    println!(
        "300 places, 297 held by idle accounts and 3 by a hot one with 64 tasks: \
         the worst of 50 cold accounts waited {worst} us"
    );
    if unfair > 0 {
        eprintln!("{unfair} cases are unfair: below {FAIR}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
