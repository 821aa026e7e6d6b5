//! Measurement of many connections of the real client, all open at once.
//!
//! Owns the measurement: opening them at the pace of a sandbox, holding them, finding one among
//! them, telling their numbers, and closing them all. Makes no call beside the one that the
//! client makes to open a connection.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use telepool::metrics::Prometheus;
use telepool::session::DataCentres;
use telepool::telegram::{Engine, TelegramManager, TelegramSettings};
use telepool::{AccountId, Pool};

use super::gauges::{Percentiles, Steps, broken, each, render_ms, resident};
use crate::accounts::PoolManager;
use crate::accounts::ServedAccounts;
use crate::bench::processes::report_phase;
use crate::clock::now;
use crate::failure::Failure;
use crate::runtime;
use crate::sessions;
use crate::settings::Settings;

/// How many acquires are timed.
const ACQUIRES: usize = 50_000;
const POLL: Duration = Duration::from_millis(5);
const HOUR: Duration = Duration::from_secs(3600);
/// How much longer than their pace asks the dials may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ConnectionsResult {
    pub(super) connections: u64,
    pub(super) warm_up_s: f64,
    /// What `dial.per_second` asks for.
    pub(super) warm_up_least_s: f64,
    pub(super) dials_per_s: f64,
    pub(super) resident_bytes_each: Option<f64>,
    pub(super) acquire_ns: Percentiles,
    pub(super) render_ms: f64,
    pub(super) close_s: f64,
    /// Still open when the deadline of the close had passed.
    pub(super) left: u64,
}

/// The same as everywhere in the command, so that the compiler makes the pool but once.
type Client = Pool<PoolManager>;

pub(super) fn measure(sessions: &Path) -> Result<ConnectionsResult, Failure> {
    // The sessions hold the address of the data centre that made them.
    let records = sessions::read(sessions, &DataCentres::new())?;
    let ServedAccounts { source, accounts, .. } = ServedAccounts::new(records, None)?;
    runtime::multi_thread()?.block_on(async {
        let mut telegram = TelegramSettings::new(1);
        telegram.engine = Engine::Wire;
        let manager = TelegramManager::new(source, telegram);
        let mut config = Settings::for_sandbox().config().clone();
        config.pool.max_connections = u32::try_from(accounts.len()).map_err(broken)?;
        // Nothing expires and nothing is checked: an acquire makes no call.
        config.pool.max_idle_time = HOUR;
        config.pool.check_after_idle = HOUR;
        config.health.login_check_every = HOUR;
        let per_second = config.dial.per_second;
        let pool = Pool::builder(manager).config(config).build().map_err(broken)?;
        measure_on(&pool, &accounts, per_second).await
    })
}

async fn measure_on(
    pool: &Client,
    accounts: &[AccountId],
    per_second: u32,
) -> Result<ConnectionsResult, Failure> {
    let exporter = Prometheus::new(pool).map_err(broken)?;
    let connections = accounts.len() as u64;
    let warm_up_least_s = connections as f64 / f64::from(per_second);
    let before = resident();
    let warm_up_s = warm_up(pool, accounts, Duration::from_secs_f64(warm_up_least_s)).await?;
    let resident_bytes_each = each(before, resident(), connections);
    report_phase(&format!("acquires among {connections} real connections"));
    let acquire_ns = acquire(pool, accounts).await?;
    exporter.run_upkeep();
    let render_ms = render_ms(&exporter);
    report_phase(&format!("closing {connections} real connections"));
    let began = now();
    let left = pool.close().await.still_open;
    let close_s = began.elapsed().as_secs_f64();
    let dials_per_s = connections as f64 / warm_up_s;
    Ok(ConnectionsResult {
        connections,
        warm_up_s,
        warm_up_least_s,
        dials_per_s,
        resident_bytes_each,
        acquire_ns,
        render_ms,
        close_s,
        left,
    })
}

/// Opens one connection of each account; returns how long that took.
async fn warm_up(pool: &Client, accounts: &[AccountId], least: Duration) -> Result<f64, Failure> {
    let wanted = accounts.len() as u64;
    let began = now();
    pool.warm_up(accounts.iter().copied());
    loop {
        tokio::time::sleep(POLL).await;
        let stats = pool.stats();
        let open = stats.current_pool_size;
        if open == wanted {
            return Ok(began.elapsed().as_secs_f64());
        }
        if stats.dials_failed > 0 || began.elapsed() > least + PATIENCE {
            return Err(Failure::broken(format!(
                "of {wanted} connections {open} are open, and {} dials failed: is something else \
                 in need of this machine's ports or files? TELEPOOL_LOG=info tells of each dial",
                stats.dials_failed
            )));
        }
        report_phase(&format!("real connections: {open} of {wanted} are open"));
    }
}

async fn acquire(pool: &Client, accounts: &[AccountId]) -> Result<Percentiles, Failure> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut steps = Steps::new();
    for _ in 0..ACQUIRES {
        let account = accounts[random.usize(..accounts.len())];
        let began = now();
        drop(pool.acquire(account).await.map_err(broken)?);
        steps.record(began.elapsed());
    }
    Ok(steps.percentiles())
}
