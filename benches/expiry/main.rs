//! Expiry with a million connections scheduled: the wheel beside tokio-util's `DelayQueue` and a
//! scan of everything, and the reaper of a whole pool.
//!
//! `cargo bench --no-default-features --features metrics --bench expiry` prints a table; with
//! `-- --test` it does the same with a thousand connections. The allocator counts what it is asked
//! for, which makes every call of it a little dearer, whoever calls.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads time, and fails by panicking"
)]

#[path = "../../src/expiry/wheel.rs"]
#[allow(dead_code, reason = "the pool needs more of it")]
mod wheel;

mod allocator;
mod base {
    //! What the wheel takes from the library.
    pub(crate) mod clock {
        pub(crate) type Tick = u64;
    }
}

mod reaper;
mod table;
mod timers;

use crate::table::Table;

// Time is virtual: it jumps to the next timer whenever no task has anything to do.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let count: u32 = if is_test { 1_000 } else { 1_000_000 };
    let mut table = Table::default();
    // First, while the heap is as a pool finds it.
    let of_a_pool = reaper::expire_a_pool(count).await;
    timers::compare(count, &mut table).await;
    table.extend(of_a_pool);
    println!("{count} connections scheduled; median (least to most) of the rounds.\n\n{table}");
}
