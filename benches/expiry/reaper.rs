//! The reaper at work on a pool with as many connections as are asked for, on one thread.
//!
//! Owns the pool, whose manager does nothing. Time is virtual, so that what an hour takes is what
//! the pool's tasks do in it. What they do in as many minutes with nothing due, the ticks of the
//! coarse clock above all, is taken off: with few connections nothing may be left.

use std::time::{Duration, Instant};

use telepool::{AccountId, Config, NoopManager, Pool};

use crate::table::{Contender, Row};

const PER_ACCOUNT: u16 = 3;
const MINUTE: Duration = Duration::from_secs(60);
/// Minutes in which all looks fall that are due at one time: the connections open one after the
/// other, and a look may come a tick late.
const SPREAD: u32 = 4;
/// The reaper's first look at a connection, and its end, in minutes after it was opened.
const FIRST_LOOK: u32 = 10;
const IDLE: u32 = 60;

fn configuration(connections: u32) -> Config {
    let mut config = Config::default();
    config.pool.max_connections = connections;
    config.pool.max_idle_time = IDLE * MINUTE;
    config.pool.max_connection_age = 24 * IDLE * MINUTE;
    config.pool.cleanup_interval = MINUTE;
    config.watch.held_lease = FIRST_LOOK * MINUTE;
    config.dial.per_second = 100_000;
    config.dial.handshakes = 10_000;
    config
}

/// How long the pool takes, on a clock of the world, for what it does in so many minutes.
async fn minutes(count: u32) -> Duration {
    let began = Instant::now();
    tokio::time::sleep(count * MINUTE).await;
    began.elapsed()
}

pub(crate) async fn expire_a_pool(connections: u32) -> [Row; 6] {
    let manager = NoopManager::new(PER_ACCOUNT);
    let pool = Pool::builder(manager).config(configuration(connections)).build().unwrap();
    let began = Instant::now();
    open(&pool, connections).await;
    let opened = began.elapsed();

    // What was told of the waits is over after a minute, and then nothing is due for some.
    minutes(1).await;
    let idle_minutes = minutes(SPREAD).await;
    minutes(FIRST_LOOK - 2 - SPREAD).await;
    let looked = minutes(SPREAD).await.saturating_sub(idle_minutes);
    minutes(IDLE - FIRST_LOOK - SPREAD).await;
    assert_eq!(pool.stats().current_pool_size, u64::from(connections), "nothing is due yet");
    let ended = minutes(SPREAD).await.saturating_sub(idle_minutes);
    let stats = pool.stats();
    assert_eq!(
        (stats.current_pool_size, stats.total_connections_closed),
        (0, u64::from(connections))
    );
    let forgotten = minutes(2 * IDLE).await;
    let stats = pool.stats();
    assert_eq!((stats.accounts, stats.reaper_scheduled), (0, 0), "nothing is left");
    pool.close().await;

    let accounts = connections.div_ceil(PER_ACCOUNT.into());
    let each = |took: Duration, items: u32| took.as_secs_f64() * 1e9 / f64::from(items);
    let row = |title, unit, value| {
        let mut row = Row::new(title, unit, None);
        row.add(Contender::Wheel, value);
        row
    };
    [
        row("a pool: acquire, dial and release", "ns each", each(opened, connections)),
        row("a pool: a minute with nothing due", "ms", idle_minutes.as_secs_f64() * 250.0),
        row("a pool: the reaper looks and re-arms", "ns each", each(looked, connections)),
        row("a pool: claim, close and give the place back", "ns each", each(ended, connections)),
        row("a pool: the tick or two in which all end", "ms", ended.as_secs_f64() * 1000.0),
        row("a pool: forget an account", "ns each", each(forgotten, accounts)),
    ]
}

async fn open(pool: &Pool<NoopManager>, connections: u32) {
    let mut left = connections;
    for account in (79_160_000_000..).map(|number| AccountId::phone(number).unwrap()) {
        let mut leases = Vec::new();
        for _ in 0..left.min(PER_ACCOUNT.into()) {
            leases.push(pool.acquire(account).await.unwrap());
            left -= 1;
        }
        if left == 0 {
            break;
        }
    }
    assert_eq!(pool.stats().current_pool_size, u64::from(connections));
}
