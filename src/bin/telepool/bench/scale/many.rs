//! Measurement of a million accounts, and of a million connections that expire at once.
//!
//! Owns both measurements. They run on one thread, so that a time is the time of the work and of
//! nobody's waking up.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use telepool::metrics::Prometheus;
use telepool::{AccountId, NoopManager, Pool};
use tokio::runtime::Builder;

use super::gauges::{broken, each, exported, median, resident};
use super::setup::{account_ids, unlimited_config};
use super::timed_manager::TimedManager;
use crate::allocator::give_back;
use crate::bench::processes::report_phase;
use crate::clock::now;
use crate::failure::Failure;

/// How long an account that nobody uses stays known, for each of them: longer than it takes to
/// make them all, so that the first is not collected before the last has come.
const STAY_EACH: Duration = Duration::from_micros(8);
const STAY_LEAST: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);
/// How long they may take to be collected after that.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many connections are opened at a time.
const BATCH: usize = 1_000;
/// How long a connection may be idle, for each of them: longer than it takes to open them all and
/// to look at some empty ticks.
const IDLE_EACH: Duration = Duration::from_micros(30);
const IDLE_LEAST: Duration = Duration::from_secs(8);
/// Ticks with nothing due.
const EMPTY_TICKS: usize = 7;
const EMPTY_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ManyResult {
    pub(super) accounts: ManyAccounts,
    pub(super) connections: ManyConnections,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ManyAccounts {
    pub(super) count: u64,
    pub(super) create_s: f64,
    pub(super) resident_before: Option<u64>,
    pub(super) resident_with: Option<u64>,
    /// After the last was collected, and the allocator was told to return what it keeps.
    pub(super) resident_after: Option<u64>,
    pub(super) bytes_each: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ManyConnections {
    pub(super) count: u64,
    pub(super) open_s: f64,
    pub(super) bytes_each: Option<f64>,
    /// Runs of the reaper with nothing due, in milliseconds.
    pub(super) empty_tick_ms: f64,
    pub(super) empty_tick_ms_max: f64,
    /// What the reaper itself took for each connection that expired: the wheel, the look, the
    /// claim, and the errand to close it; and a look at its account, which falls due at the same time.
    pub(super) reap_ns_each: f64,
}

pub(super) fn measure(count: u64) -> Result<ManyResult, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(broken)?;
    let ids = account_ids(count);
    runtime.block_on(async {
        Ok(ManyResult { accounts: accounts(&ids).await?, connections: connections(&ids).await? })
    })
}

/// Makes accounts known, and sees them forgotten.
async fn accounts(ids: &[AccountId]) -> Result<ManyAccounts, Failure> {
    let count = ids.len() as u64;
    report_phase(&format!("{count} accounts at once"));
    let mut config = unlimited_config();
    let stay = STAY_EACH * u32::try_from(count).map_err(broken)?;
    config.pool.max_idle_time = stay.max(STAY_LEAST);
    config.pool.cleanup_interval = Duration::from_millis(250);
    let pool = Pool::builder(NoopManager::new(3)).config(config).build().map_err(broken)?;
    let resident_before = resident();
    let began = now();
    for id in ids {
        drop(pool.account(*id).map_err(broken)?);
    }
    let create_s = began.elapsed().as_secs_f64();
    let resident_with = resident();
    while pool.stats().accounts > 0 {
        tokio::time::sleep(POLL).await;
        if began.elapsed() > stay + PATIENCE {
            let left = pool.stats().accounts;
            return Err(Failure::broken(format!("{left} of {count} accounts were not collected")));
        }
    }
    give_back();
    let resident_after = resident();
    pool.close().await;
    let bytes_each = each(resident_before, resident_with, count);
    Ok(ManyAccounts { count, create_s, resident_before, resident_with, resident_after, bytes_each })
}

/// Opens connections, lets the reaper look past them, and then sees it close them all.
async fn connections(ids: &[AccountId]) -> Result<ManyConnections, Failure> {
    let count = ids.len() as u64;
    let mut config = unlimited_config();
    let max_idle = IDLE_LEAST + IDLE_EACH * u32::try_from(count).map_err(broken)?;
    config.pool.cleanup_interval = EMPTY_INTERVAL;
    config.pool.max_idle_time = max_idle;
    let pool = Pool::builder(TimedManager::new(max_idle))
        .config(config.clone())
        .build()
        .map_err(broken)?;
    let exporter = Prometheus::new(&pool).map_err(broken)?;
    let before = resident();
    let open_s = open(&pool, ids).await?;
    let bytes_each = each(before, resident(), count);

    report_phase(&format!("{count} connections: ticks with nothing due"));
    let mut empty = Vec::new();
    for _ in 0..EMPTY_TICKS {
        tokio::time::sleep(EMPTY_INTERVAL).await;
        empty.push(exported(&exporter, "telepool_reaper_last_run_seconds ")? * 1000.0);
    }
    let looks = exported(&exporter, "telepool_reaper_visits_total ")?;
    if looks > 0.0 || pool.manager().closed() > 0 {
        let late = "the connections were not open before the first of them expired: this machine \
                    is too busy";
        return Err(Failure::broken(late));
    }
    let empty_tick_ms_max = empty.iter().copied().fold(0.0, f64::max);

    report_phase(&format!("{count} connections expire"));
    // Longer than a run takes, so that each run is read before the next one comes.
    config.pool.cleanup_interval = (max_idle / 4).max(EMPTY_INTERVAL);
    pool.reconfigure(config).map_err(broken)?;
    let seconds = reaped(&pool, &exporter, count).await?;
    pool.close().await;
    Ok(ManyConnections {
        count,
        open_s,
        bytes_each,
        empty_tick_ms: median(empty),
        empty_tick_ms_max,
        reap_ns_each: seconds * 1e9 / count as f64,
    })
}

/// Waits until all are closed, and sums the seconds of the reaper's runs up as they come.
async fn reaped(
    pool: &Pool<TimedManager>,
    exporter: &Prometheus,
    count: u64,
) -> Result<f64, Failure> {
    let (mut seconds, mut seen) = (0.0, 0.0);
    let (began, mut closed) = (now(), 0);
    while closed < count {
        tokio::time::sleep(POLL).await;
        let is_closed = pool.manager().closed();
        if is_closed > closed {
            // The numbers are asked for when they have changed: the text takes long to make.
            closed = is_closed;
            let looks = exported(exporter, "telepool_reaper_visits_total ")?;
            if looks > seen {
                seen = looks;
                seconds += exported(exporter, "telepool_reaper_last_run_seconds ")?;
            }
        }
        if began.elapsed() > PATIENCE {
            return Err(Failure::broken(format!("{closed} of {count} connections have expired")));
        }
    }
    if seen < count as f64 {
        return Err(Failure::broken(format!("the reaper has looked at {seen} of {count}")));
    }
    Ok(seconds)
}

async fn open(pool: &Pool<TimedManager>, ids: &[AccountId]) -> Result<f64, Failure> {
    let began = now();
    let mut wanted = 0;
    for batch in ids.chunks(BATCH) {
        wanted += batch.len() as u64;
        pool.warm_up(batch.iter().copied());
        while pool.manager().opened() < wanted {
            tokio::task::yield_now().await;
        }
        report_phase(&format!("{wanted} of {} connections are open", ids.len()));
    }
    Ok(began.elapsed().as_secs_f64())
}
