//! Measurement of a pool with so many accounts.
//!
//! Owns the measurement of one number, in a fresh process: memory, what an acquire costs, the
//! numbers' text, the shutdown, and how late the reaper is. Connections are nothing here: what is
//! measured is the pool.

use serde::{Deserialize, Serialize};
use telepool::metrics::Prometheus;
use telepool::{AccountId, NoopManager, Pool};

use super::cost::{BareMap, Costs, acquire_each, compare};
use super::gauges::{broken, each, render_ms, resident};
use super::lateness::{Lateness, lateness};
use super::setup::{account_ids, unlimited_config};
use crate::bench::processes::report_phase;
use crate::clock::now;
use crate::failure::Failure;
use crate::runtime;

/// Below so many accounts, pages of 4 kB and what the process holds anyway tell nothing of one.
const TOLD_FROM: u64 = 1_000;
/// The default cap of the pool, below which a scrape has to be quick.
const CAP: usize = 10_000;
/// Sessions of an account, and so its connections at most.
const SLOTS: u16 = 3;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AccountsResult {
    pub(super) accounts: u64,
    pub(super) memory: AccountMemory,
    pub(super) costs: Costs,
    /// Of an acquire with lookup and release, if something is there that counts them.
    pub(super) instructions: Option<f64>,
    pub(super) render: Render,
    pub(super) close_connections: u64,
    pub(super) close_s: f64,
    pub(super) reaper: Lateness,
}

/// Resident bytes of one account; nothing for small numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AccountMemory {
    /// It is known, and no more.
    pub(super) cold: Option<f64>,
    pub(super) with_one_connection: Option<f64>,
    pub(super) with_three_connections: Option<f64>,
}

/// Milliseconds to make the text of `/metrics`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Render {
    pub(super) cold_ms: f64,
    /// With as many connections as the default cap allows, or one of each account.
    pub(super) connected: u64,
    pub(super) connected_ms: f64,
    /// With one connection of each account.
    pub(super) all_ms: f64,
}

pub(super) fn measure(count: u64) -> Result<AccountsResult, Failure> {
    let accounts = account_ids(count);
    // Before memory is first read, so that it is in no difference.
    let bare = BareMap::new(&accounts);
    runtime::multi_thread()?.block_on(async {
        let pool = Pool::builder(NoopManager::new(SLOTS))
            .config(unlimited_config())
            .build()
            .map_err(broken)?;
        let (memory, costs, render) = at_work(&pool, &accounts, &bare).await?;
        let close_connections = pool.stats().current_pool_size;
        report_phase(&format!("{count} accounts: shutdown"));
        let began = now();
        pool.close().await;
        let close_s = began.elapsed().as_secs_f64();
        drop((pool, bare));
        report_phase(&format!("{count} accounts: how late the reaper is"));
        let reaper = lateness(&accounts).await?;
        Ok(AccountsResult {
            accounts: count,
            memory,
            costs,
            instructions: None,
            render,
            close_connections,
            close_s,
            reaper,
        })
    })
}

/// Fills a pool step by step, and measures after each.
async fn at_work(
    pool: &Pool<NoopManager>,
    accounts: &[AccountId],
    bare: &BareMap,
) -> Result<(AccountMemory, Costs, Render), Failure> {
    let count = accounts.len() as u64;
    let bytes_each =
        |from: Option<u64>, to| (count >= TOLD_FROM).then(|| each(from, to, count)).flatten();
    let exporter = Prometheus::new(pool).map_err(broken)?;
    exporter.run_upkeep();
    report_phase(&format!("{count} accounts: memory"));
    let empty = resident();
    for account in accounts {
        drop(pool.account(*account).map_err(broken)?);
    }
    let cold = bytes_each(empty, resident());
    let cold_ms = render_ms(&exporter);

    let some = &accounts[..accounts.len().min(CAP)];
    acquire_each(pool, some).await?;
    let connected_ms = render_ms(&exporter);
    acquire_each(pool, accounts).await?;
    let with_one_connection = bytes_each(empty, resident());
    let all_ms = render_ms(&exporter);

    report_phase(&format!("{count} accounts: acquires"));
    let costs = compare(pool, accounts, bare).await?;

    report_phase(&format!("{count} accounts: three connections each"));
    for account in accounts {
        let mut leases = Vec::with_capacity(usize::from(SLOTS));
        for _ in 0..SLOTS {
            leases.push(pool.acquire(*account).await.map_err(broken)?);
        }
    }
    let with_three_connections = bytes_each(empty, resident());
    let connected = some.len() as u64;
    let memory = AccountMemory { cold, with_one_connection, with_three_connections };
    Ok((memory, costs, Render { cold_ms, connected, connected_ms, all_ms }))
}
