//! Measurement of the reaper's lateness, with so many accounts.
//!
//! Owns the measurement: connections are used one after the other, left alone, and seen to close.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use telepool::{AccountId, Pool};

use super::gauges::{Percentiles, broken, processor_s};
use super::setup::unlimited_config;
use super::timed_manager::TimedManager;
use crate::clock::now;
use crate::failure::Failure;

const MAX_IDLE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(100);
/// The last uses are spread over so many steps, so that not all fall due in one tick.
const STEPS: usize = 10;
const STEP: Duration = Duration::from_millis(50);
const POLL: Duration = Duration::from_millis(5);
/// How long all of them may take to expire.
const PATIENCE: Duration = Duration::from_secs(120);
/// Processor time is told to a hundredth of a second: less than ten of them tell nothing.
const LEAST_S: f64 = 0.1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Lateness {
    /// `pool.cleanup_interval`, within which an expiry has to come.
    pub(super) interval_ms: f64,
    /// From the end of its idle time to the manager's `close` of a connection.
    pub(super) late_ns: Percentiles,
    /// Processor time of the whole process for each connection, from when it falls due until it is
    /// closed and its slot is vacant; nothing if there were too few.
    pub(super) processor_ns_each: Option<f64>,
}

pub(super) async fn lateness(accounts: &[AccountId]) -> Result<Lateness, Failure> {
    let count = accounts.len() as u64;
    let mut config = unlimited_config();
    config.pool.cleanup_interval = INTERVAL;
    let pool = Pool::builder(TimedManager::new(MAX_IDLE))
        .config(config.clone())
        .build()
        .map_err(broken)?;
    for account in accounts {
        drop(pool.acquire(*account).await.map_err(broken)?);
    }
    for some in accounts.chunks(accounts.len().div_ceil(STEPS)) {
        tokio::time::sleep(STEP).await;
        for account in some {
            let lease = pool.acquire(*account).await.map_err(broken)?;
            pool.manager().touch(&lease);
        }
    }
    config.pool.max_idle_time = MAX_IDLE;
    pool.manager().arm();
    pool.reconfigure(config).map_err(broken)?;
    let before = processor_s();
    until_closed(&pool, count).await?;
    let spent = before.zip(processor_s()).map(|(before, after)| after - before);
    let processor_ns_each = spent.filter(|it| *it >= LEAST_S).map(|it| it * 1e9 / count as f64);
    let late_ns = pool.manager().late();
    pool.close().await;
    let interval_ms = INTERVAL.as_secs_f64() * 1000.0;
    Ok(Lateness { interval_ms, late_ns, processor_ns_each })
}

/// Waits until so many connections were closed.
async fn until_closed(pool: &Pool<TimedManager>, count: u64) -> Result<(), Failure> {
    let began = now();
    while pool.manager().closed() < count {
        tokio::time::sleep(POLL).await;
        if began.elapsed() > PATIENCE {
            return Err(Failure::broken(format!(
                "of {count} connections that had expired, {} were closed within {PATIENCE:?}",
                pool.manager().closed()
            )));
        }
    }
    Ok(())
}
