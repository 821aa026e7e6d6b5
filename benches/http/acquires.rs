//! What a warm acquire costs with nobody looking, and while clients ask.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use telepool::{NoopManager, Pool};

use crate::{Size, account, clients};

/// Acquires between two looks at the clock.
const BATCH: u32 = 1_000;
/// Slices of each kind, in turn. What is told is the median of each.
const SLICES: usize = 5;

/// Nanoseconds of the thread for each acquire and release, alone and watched.
pub(crate) async fn compare(
    pool: &Pool<NoopManager>,
    size: Size,
    address: SocketAddr,
) -> (f64, f64) {
    // One that nobody else calls.
    let number = size.connected;
    let slice = Duration::from_secs(size.seconds / 5).max(Duration::from_millis(200));
    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    for _ in 0..SLICES {
        alone.push(acquire_for(pool, number, slice).await);
        let seconds = slice.as_secs().max(1);
        let asked = tokio::spawn(async move { clients("routes", address, seconds).await });
        watched.push(acquire_for(pool, number, slice).await);
        asked.await.unwrap();
    }
    (median(alone), median(watched))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The median of the batches, so that those count in which the thread was not taken off its core.
async fn acquire_for(pool: &Pool<NoopManager>, number: u64, time: Duration) -> f64 {
    let (end, mut batches) = (Instant::now() + time, Vec::new());
    while Instant::now() < end {
        let began = Instant::now();
        for _ in 0..BATCH {
            drop(pool.acquire(account(number)).await.unwrap());
        }
        batches.push(began.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH));
        tokio::task::yield_now().await;
    }
    median(batches)
}
