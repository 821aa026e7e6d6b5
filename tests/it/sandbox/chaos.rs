//! Everything at once: callers, operators and faults against real connections, by a seed.
//!
//! `SEED=7 CHAOS_SECONDS=3600 cargo test --test it chaos` repeats a run, or runs for an hour.
//! After each round everything is back where it was: leases, line, permits, slots, tasks, sockets,
//! descriptors and memory, and no key was ever on two connections. The run has a process of its
//! own, because descriptors and memory are counted by process.

use std::sync::Arc;
use std::time::Instant;

use telepool::{Account, AccountHealth, Config, NoopManager, Pool};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::*;

type World = Pool<GrammersManager<MemorySource>>;

/// How long a run takes unless the environment says otherwise.
const SECONDS: u64 = 30;
const ROUND: Duration = Duration::from_millis(1500);
const ACCOUNTS: u64 = 12;
const CALLERS: u64 = 24;
/// Rounds until whatever is made once, such as buffers of a runtime's threads, is there.
const WARM_ROUNDS: u64 = 4;
/// How many bytes more than after the first rounds may be in use: what is made
/// once, and late.
const SLACK: usize = 32 * 1024;

fn accounts() -> Vec<(AccountId, u16)> {
    (1..=ACCOUNTS).map(|id| (AccountId::bot(id).unwrap(), 1 + (id % 3) as u16)).collect()
}

fn random_faults(random: &mut fastrand::Rng) -> FaultPlan {
    let error = |code, message: &str| Fault::Error { code, message: message.into() };
    let all = [
        ("*", Fault::Close),
        ("*", Fault::Reset),
        ("*", Fault::Silence),
        ("*", Fault::BlackHole),
        ("*", Fault::BadCrc),
        ("*", Fault::Delay(Duration::from_millis(80))),
        ("*", Fault::Transport { code: 404 }),
        ("*", Fault::Transport { code: 429 }),
        ("*", error(500, "RPC_CALL_FAIL")),
        ("users.getUsers", Fault::FloodWait { seconds: 1 }),
        ("users.getUsers", error(401, "SESSION_REVOKED")),
        ("users.getUsers", error(406, "AUTH_KEY_DUPLICATED")),
        ("updates.getState", error(401, "AUTH_KEY_UNREGISTERED")),
        ("connect", Fault::Close),
        ("connect", Fault::Reset),
        ("connect", Fault::Silence),
        ("connect", Fault::Transport { code: 404 }),
    ];
    let rules = all.into_iter().filter(|_| random.bool()).map(|(on, fault)| {
        let chance = if on == "connect" { 0.1 } else { 0.01 };
        FaultRule::new(on, fault).chance(chance)
    });
    FaultPlan::new(rules).unwrap()
}

fn random_config(random: &mut fastrand::Rng) -> Config {
    let mut config = Config::default();
    config.pool.max_connections_per_account = random.u16(1..=3);
    config.pool.max_connections = random.u32(6..=40);
    config.pool.max_leases_per_connection = random.u16(1..=6);
    config.pool.max_idle_time = Duration::from_millis(random.u64(5..400));
    config.pool.max_connection_age = Duration::from_millis(random.u64(20..1000));
    config.pool.cleanup_interval = Duration::from_millis(random.u64(1..50));
    config.pool.check_after_idle = Duration::from_millis(random.u64(0..60));
    config.pool.check_timeout = Duration::from_millis(100);
    config.pool.acquire_timeout = Duration::from_millis(random.u64(1..400));
    config.pool.dial_timeout = Duration::from_millis(200);
    config.pool.drain_timeout = Duration::from_millis(random.u64(0..300));
    config.dial.per_second = 100_000;
    config.dial.handshakes = 64;
    config
}

/// Everything allowed and nothing in a hurry, so that what is left over shows.
fn calm_config() -> Config {
    let mut config = Config::default();
    // An open breaker may let the next dial through in eight seconds.
    config.pool.acquire_timeout = Duration::from_secs(30);
    config.pool.max_leases_per_connection = 1;
    config.dial.per_second = 100_000;
    config.dial.handshakes = 64;
    config
}

/// One caller: takes leases in every way there is, calls, and gives them back in every way.
async fn call_at_random(pool: World, mut random: fastrand::Rng, until: Instant) {
    let accounts = accounts();
    let mut kept: Option<Account<GrammersManager<MemorySource>>> = None;
    while Instant::now() < until {
        let (account, _) = accounts[random.usize(..accounts.len())];
        if random.u8(..8) == 0 {
            kept = pool.account(account).ok();
        }
        let patience = Duration::from_micros(random.u64(1..200_000));
        let lease = match random.u8(..6) {
            0 => pool.acquire_fresh(account),
            1 => pool.acquire_any("default"),
            2 => pool.acquire_timeout(account, patience),
            3 if kept.is_some() => kept.as_ref().unwrap().acquire_owned(),
            _ => pool.acquire(account),
        };
        // A caller that leaves at any moment takes nothing with it.
        let Ok(Ok(lease)) = tokio::time::timeout(patience * 2, lease).await else { continue };
        for _ in 0..random.u8(..4) {
            let limit = Duration::from_micros(random.u64(1..100_000));
            let outcome = match random.bool() {
                true => lease.invoke_within(&myself(), limit).await.map(drop),
                false => {
                    let ping = functions::Ping { ping_id: 1 };
                    let call = lease.invoke(&ping);
                    tokio::time::timeout(limit, call).await.map_or(Ok(()), |it| it.map(drop))
                }
            };
            if outcome.is_err() {
                break;
            }
        }
        match random.u8(..12) {
            0 => lease.discard(),
            1 => lease.close().await,
            2 => {
                let id = lease.id();
                pool.close_connection(lease.account(), id);
            }
            _ => drop(lease),
        }
    }
}

/// One operator: turns every knob.
async fn operate_at_random(
    pool: World,
    data_centre: DataCentre,
    mut random: fastrand::Rng,
    until: Instant,
) {
    let accounts = accounts();
    while Instant::now() < until {
        let (account, _) = accounts[random.usize(..accounts.len())];
        match random.u8(..10) {
            0 | 1 => pool.reconfigure(random_config(&mut random)).unwrap(),
            2 => drop(pool.close_account(account).await),
            3 => drop(pool.remove_account(account).await),
            4 => {
                pool.drain_account(account).await;
                pool.reinstate(account);
            }
            5 => accounts.iter().for_each(|(account, _)| {
                pool.reinstate(*account);
            }),
            6 => data_centre.set_faults(&random_faults(&mut random)),
            7 => {
                let how = [Fault::Close, Fault::Reset, Fault::Transport { code: 404 }];
                data_centre.disconnect(account, &how[random.usize(..3)]);
            }
            8 => drop(pool.warm_up([account])),
            _ => data_centre.set_latency(Duration::from_micros(random.u64(..20_000))),
        }
        tokio::time::sleep(Duration::from_millis(random.u64(..30))).await;
    }
}

/// Waits until nobody waits, dials or holds a lease.
async fn settled(pool: &World) {
    let mut stats = pool.stats();
    for _ in 0..10_000 {
        stats = pool.stats();
        if (stats.leases, stats.waiting, stats.current_connecting) == (0, 0, 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let accounts = accounts().into_iter().filter_map(|(account, _)| {
        let stats = pool.account_stats(account)?;
        (stats.leases + stats.waiting > 0 || stats.total_connections == 0).then_some(stats)
    });
    panic!("it does not settle: {stats:#?} {:#?}", accounts.collect::<Vec<_>>());
}

/// Every session of every account can be leased at once: no slot and no permit was lost.
async fn everything_serves(pool: &World) {
    pool.reconfigure(calm_config()).unwrap();
    for (account, slots) in accounts() {
        // A dial that was under way when the account was removed still keeps it.
        let is_open = || pool.account_health(account) != Some(AccountHealth::Closed);
        wait_until("a removed account is gone", || pool.account(account).is_ok() && is_open())
            .await;
        pool.close_account(account).await;
        pool.reinstate(account);
        let mut leases = Vec::new();
        for slot in 0..slots {
            let lease = pool.acquire(account).await;
            let lease = lease.unwrap_or_else(|error| {
                let (stats, of_account) = (pool.stats(), pool.account_stats(account));
                panic!("{account} {slot}: {error}: {stats:#?} {of_account:#?}")
            });
            lease.invoke(&functions::Ping { ping_id: 1 }).await.unwrap();
            leases.push(lease);
        }
        assert!(pool.try_acquire(account).unwrap().is_none(), "there is no session beyond");
        let mut seen: Vec<_> = leases.iter().map(|lease| lease.slot()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..slots).collect::<Vec<_>>());
    }
}

async fn round(data_centre: &DataCentre, records: &[SessionRecord], random: &mut fastrand::Rng) {
    let tasks = Handle::current().metrics().num_alive_tasks();
    let mut settings = TelegramSettings::new(1);
    settings.call_timeout = Duration::from_millis(300);
    settings.close_grace = Duration::from_millis(200);
    let source = MemorySource::new(records.iter().cloned()).unwrap();
    let manager = GrammersManager::new(source, settings);
    let pool = Pool::builder(manager).config(random_config(random)).seed(random.u64(..));
    let pool = pool.build().unwrap();
    let until = Instant::now() + ROUND;
    let mut everybody = JoinSet::new();
    for _ in 0..CALLERS {
        everybody.spawn(call_at_random(pool.clone(), random.fork(), until));
    }
    let operator = operate_at_random(pool.clone(), data_centre.clone(), random.fork(), until);
    everybody.spawn(operator);
    while let Some(ended) = everybody.join_next().await {
        ended.unwrap();
    }
    data_centre.set_faults(&FaultPlan::default());
    data_centre.set_latency(Duration::ZERO);
    settled(&pool).await;
    everything_serves(&pool).await;
    assert_eq!(pool.close().await.left, 0);
    let stats = pool.stats();
    assert_eq!(stats.total_connections_created, stats.total_connections_closed, "{stats:?}");
    assert_eq!((stats.leases, stats.waiting), (0, 0), "{stats:?}");
    drop(pool);
    wait_until("every socket is closed", || data_centre.stats().connections == 0).await;
    wait_until("every task has ended", || Handle::current().metrics().num_alive_tasks() <= tasks)
        .await;
    assert_eq!(data_centre.stats().key_violations, 0);
}

/// What the process holds.
#[derive(Clone, Copy, Debug)]
struct Holdings {
    descriptors: usize,
    bytes: usize,
}

impl Holdings {
    fn least(self, other: Self) -> Self {
        Self {
            descriptors: self.descriptors.min(other.descriptors),
            bytes: self.bytes.min(other.bytes),
        }
    }
}

fn holdings() -> Holdings {
    let stats = crate::ALLOCATOR.stats();
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    Holdings { descriptors, bytes: stats.bytes_allocated - stats.bytes_deallocated }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

async fn run(seed: u64) {
    let seconds = from_environment("CHAOS_SECONDS").unwrap_or(SECONDS);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut options = DataCentreOptions::default();
    options.seed = seed;
    let data_centre = DataCentre::start(options).await.unwrap();
    let records: Vec<_> = accounts()
        .into_iter()
        .flat_map(|(account, sessions)| data_centre.enroll(account, sessions, None))
        .collect();
    // Whatever a runtime starts once is started before the first count.
    drop(Arc::new(Pool::builder(NoopManager::new(1)).build().unwrap()));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut base: Option<Holdings> = None;
    let mut rounds = 0;
    while Instant::now() < until || rounds < 2 * WARM_ROUNDS {
        round(&data_centre, &records, &mut random).await;
        rounds += 1;
        let Some(base) = base.filter(|_| rounds > WARM_ROUNDS) else {
            base = Some(base.map_or_else(holdings, |base| base.least(holdings())));
            continue;
        };
        // What a socket or a task held may go a moment after it.
        let is_back = || holdings().bytes <= base.bytes + SLACK;
        wait_until(&format!("memory is back at {base:?}"), is_back).await;
        let is_back = || holdings().descriptors <= base.descriptors;
        wait_until(&format!("descriptors are back at {base:?}"), is_back).await;
    }
    println!("{rounds} rounds, from {base:?} to {:?}", holdings());
    let stats = data_centre.stats();
    assert!(stats.calls > 500 && stats.faults_injected > 0, "{stats:?}");
}

#[test]
fn chaos_leaves_nothing_behind() {
    if let Some(seed) = from_environment("CHAOS_PROCESS") {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        return runtime.unwrap().block_on(run(seed));
    }
    let seed = from_environment("SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("SEED={seed} repeats this run");
    let process = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::chaos::chaos_leaves_nothing_behind", "--nocapture"])
        .env("CHAOS_PROCESS", seed.to_string())
        .output()
        .unwrap();
    let told = [process.stdout, process.stderr].map(|text| String::from_utf8(text).unwrap());
    println!("{}{}", told[0], told[1]);
    assert!(process.status.success(), "SEED={seed} repeats this run");
    assert!(told[0].contains("1 passed"), "the process ran no test");
}
