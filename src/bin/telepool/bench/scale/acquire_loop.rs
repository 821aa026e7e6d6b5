//! The loop of acquires whose instructions are counted.
//!
//! Owns the loop. Who counts is `instructions`, which starts a process with nothing else in it.

use telepool::{AccountId, NoopManager, Pool};
use tokio::runtime::Runtime;
use tokio::task::unconstrained;

use super::cost::acquire_each;
use super::gauges::broken;
use super::setup::{account_ids, unlimited_config};
use crate::failure::Failure;
use crate::runtime;

/// Acquires and releases so many times, of random accounts among so many.
pub(super) fn acquire_often(accounts: u64, turns: u64) -> Result<(), Failure> {
    let accounts = account_ids(accounts);
    let runtime = runtime::multi_thread()?;
    let pool = {
        let _runtime = runtime.enter();
        Pool::builder(NoopManager::new(3)).config(unlimited_config()).build().map_err(broken)?
    };
    for account in &accounts {
        drop(pool.account(*account).map_err(broken)?);
    }
    let mut random = fastrand::Rng::with_seed(7);
    let turns: Vec<_> = (0..turns).map(|_| accounts[random.usize(..accounts.len())]).collect();
    // Their connections are opened here.
    runtime.block_on(acquire_each(&pool, &turns))?;
    counted_acquires(&runtime, &pool, &turns)
}

/// Its own name in the binary is what the counting goes by. On this thread, while the pool's own
/// tasks are on others.
#[inline(never)]
fn counted_acquires(
    runtime: &Runtime,
    pool: &Pool<NoopManager>,
    turns: &[AccountId],
) -> Result<(), Failure> {
    runtime.block_on(unconstrained(acquire_each(pool, turns)))
}
