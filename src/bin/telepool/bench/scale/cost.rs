//! Measurement of an acquire's cost, beside the least that any pool keyed by account could do.
//!
//! Owns both loops and their order: a round of one, a round of the other, over the same random
//! accounts, so that whatever else the machine does strikes both.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use telepool::{AccountId, NoopManager, Pool};

use super::gauges::{Percentiles, Steps, broken, median};
use crate::clock::now;
use crate::failure::Failure;

const ROUNDS: usize = 41;
/// Of each loop in a round.
const TURNS: usize = 8_192;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Costs {
    /// A turn in a loop, in nanoseconds: the median of the rounds.
    pub(super) acquire_mean_ns: f64,
    pub(super) bare_mean_ns: f64,
    /// How many times as long an acquire takes: the median of the rounds' own ratios.
    pub(super) ratio: f64,
    /// Single turns, each with two readings of the clock in it.
    pub(super) acquire_ns: Percentiles,
    pub(super) bare_ns: Percentiles,
    /// Two readings of the clock and nothing between them.
    pub(super) clock_ns: Percentiles,
}

/// A lookup, a clone of the `Arc` that is found, and one change of an atomic in it.
pub(super) struct BareMap(DashMap<AccountId, Arc<AtomicU64>, RandomState>);

impl BareMap {
    pub(super) fn new(accounts: &[AccountId]) -> Self {
        let map = DashMap::with_hasher(RandomState::default());
        for account in accounts {
            map.insert(*account, Arc::new(AtomicU64::new(0)));
        }
        Self(map)
    }

    fn turn(&self, account: AccountId) {
        if let Some(found) = self.0.get(&account) {
            let clone = Arc::clone(&found);
            drop(found);
            clone.fetch_add(1, Ordering::AcqRel);
            black_box(clone);
        }
    }
}

/// Compares the two over accounts that all have an idle connection.
pub(super) async fn compare(
    pool: &Pool<NoopManager>,
    accounts: &[AccountId],
    bare: &BareMap,
) -> Result<Costs, Failure> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut draw = || {
        let one = |_| accounts[random.usize(..accounts.len())];
        (0..TURNS).map(one).collect::<Vec<_>>()
    };
    let (mut acquires, mut bares, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let turns = draw();
        let began = now();
        acquire_each(pool, &turns).await?;
        let acquire = began.elapsed().as_nanos() as f64 / TURNS as f64;
        let turns = draw();
        let began = now();
        turns.iter().for_each(|account| bare.turn(*account));
        let least = began.elapsed().as_nanos() as f64 / TURNS as f64;
        acquires.push(acquire);
        bares.push(least);
        ratios.push(acquire / least.max(f64::MIN_POSITIVE));
    }
    let mut steps = [Steps::new(), Steps::new(), Steps::new()];
    for account in draw().into_iter().chain(draw()) {
        let began = now();
        drop(pool.acquire(account).await.map_err(broken)?);
        steps[0].record(began.elapsed());
        let began = now();
        steps[2].record(began.elapsed());
    }
    for account in draw().into_iter().chain(draw()) {
        let began = now();
        bare.turn(account);
        steps[1].record(began.elapsed());
    }
    let [acquire_ns, bare_ns, clock_ns] = steps.map(|steps| steps.percentiles());
    Ok(Costs {
        acquire_mean_ns: median(acquires),
        bare_mean_ns: median(bares),
        ratio: median(ratios),
        acquire_ns,
        bare_ns,
        clock_ns,
    })
}

/// Acquires and releases once for each of these.
pub(super) async fn acquire_each(
    pool: &Pool<NoopManager>,
    accounts: &[AccountId],
) -> Result<(), Failure> {
    for account in accounts {
        drop(pool.acquire(*account).await.map_err(broken)?);
    }
    Ok(())
}
