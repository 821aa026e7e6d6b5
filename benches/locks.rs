//! What it takes to lock the keys of a process.
//!
//! `cargo bench --no-default-features --features telegram --bench locks` claims 100,000 keys, asks for
//! one of them again as each dial does, and gives all back, with the figure, the aim and whether it was
//! reached. `-- --test` does it once with fewer keys, and compares nothing.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::time::{Duration, Instant};

use telepool::ownership::{HostLocks, HostLocksOptions, KeyId, Ownership};

const ROUNDS: usize = 5;
const ASKS: u32 = 100_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (count, rounds) = if is_test { (1_000, 1) } else { (100_000, ROUNDS) };
    let mut took: Vec<[Duration; 3]> = Vec::new();
    for _ in 0..rounds {
        took.push(round(count).await);
    }
    if is_test {
        println!("{count} keys were locked and given back");
        return;
    }
    let middle = |of: usize| {
        let mut times: Vec<Duration> = took.iter().map(|took| took[of]).collect();
        times.sort();
        times[times.len() / 2]
    };
    println!("the middle of {rounds} rounds");
    tell(&format!("lock {count} keys"), middle(0), Duration::from_secs(1));
    tell("ask for a key that is locked", middle(1) / ASKS, Duration::from_micros(1));
    tell(&format!("give {count} keys back"), middle(2), Duration::from_secs(1));
}

fn tell(what: &str, took: Duration, aim: Duration) {
    let verdict = if took <= aim { "reached" } else { "NOT reached" };
    println!("{what:<32} {took:>12.1?}   aim {aim:>6.1?}   {verdict}");
}

/// How long it took to lock keys, to ask for one of them so many times, and to give them back.
async fn round(count: u64) -> [Duration; 3] {
    let folder = tempfile::tempdir().unwrap();
    let mut options = HostLocksOptions::default();
    options.folder = Some(folder.path().to_owned());
    let locks = HostLocks::new(options);
    let keys: Vec<KeyId> =
        (0..count).map(|_| format!("{:016x}", fastrand::u64(..)).parse().unwrap()).collect();
    let began = Instant::now();
    assert!(locks.claim(&keys).await.iter().all(Result::is_ok));
    let locked = began.elapsed();
    let began = Instant::now();
    for _ in 0..ASKS {
        assert!(locks.claim(&keys[..1]).await[0].is_ok());
    }
    let asked = began.elapsed();
    let began = Instant::now();
    locks.release(&keys);
    [locked, asked, began.elapsed()]
}
