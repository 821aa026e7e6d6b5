//! Everything at once: callers, operators and faults against real connections, by a seed.
//!
//! `SEED=7 CHAOS_SECONDS=3600 cargo test --test it chaos` repeats a run, or runs for an hour;
//! `-- --ignored` takes 300 accounts instead of a dozen, as the checks of each change do.
//! After each round everything is back where it was: leases, line, permits, slots, tasks, sockets,
//! descriptors and memory, and no key was ever on two connections. The run has a process of its
//! own, because descriptors and memory are counted by process, and because all that it says is
//! searched for secrets.

mod secrets;

use std::sync::Arc;
use std::time::Instant;

use telepool::telegram::InvokeError;
use telepool::{Account, AccountHealth, AcquireError, Config, DialError, Event, NoopManager, Pool};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::*;

type TestPool = Pool<TelegramManager<MemorySource>>;

/// How long a run takes unless the environment says otherwise.
const SECONDS: u64 = 30;
const ROUND: Duration = Duration::from_millis(1500);
/// Rounds until whatever is made once, such as buffers of a runtime's threads, is there.
const WARM_ROUNDS: u64 = 4;
/// How many bytes more than after the first rounds may be in use: what is made
/// once, and late.
const SLACK: usize = 32 * 1024;
/// The same for each account: the data centre keeps its floods, and the log's registry keeps room
/// for as many spans as were ever open at once. 300 accounts were seen to level off at 450 each.
const SLACK_OF_ACCOUNT: usize = 600;

/// Who takes part: phones and bots, with one to three sessions each.
#[derive(Clone, Debug)]
struct TestAccounts {
    accounts: Arc<[(AccountId, u16)]>,
    callers: u64,
}

impl TestAccounts {
    fn of(accounts: u64) -> Self {
        let name = |id: u64| match id % 2 {
            0 => AccountId::bot(id).unwrap(),
            _ => AccountId::phone(99_966_000_000 + id).unwrap(),
        };
        let accounts = (1..=accounts).map(|id| (name(id), 1 + (id % 3) as u16));
        let accounts: Arc<[_]> = accounts.collect();
        Self { callers: 2 * accounts.len() as u64, accounts }
    }

    fn any(&self, random: &mut fastrand::Rng) -> AccountId {
        self.accounts[random.usize(..self.accounts.len())].0
    }
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
        ("*", error(-503, "Timeout")),
        ("users.getUsers", Fault::FloodWait { seconds: 1 }),
        ("users.getUsers", error(420, "FLOOD_PREMIUM_WAIT_1")),
        ("users.getUsers", error(420, "SLOWMODE_WAIT_30")),
        ("users.getUsers", error(420, "FROZEN_METHOD_INVALID")),
        ("users.getUsers", error(400, "PEER_FLOOD")),
        ("users.getUsers", error(401, "USER_DEACTIVATED_BAN")),
        ("users.getUsers", error(401, "AUTH_KEY_INVALID")),
        ("users.getUsers", error(303, "USER_MIGRATE_4")),
        ("initConnection", Fault::FloodWait { seconds: 1 }),
        ("users.getUsers", error(401, "SESSION_REVOKED")),
        ("users.getUsers", error(406, "AUTH_KEY_DUPLICATED")),
        ("updates.getState", error(401, "AUTH_KEY_UNREGISTERED")),
        ("connect", Fault::Close),
        ("connect", Fault::Reset),
        ("connect", Fault::Silence),
        ("connect", Fault::Transport { code: 404 }),
        ("connect", Fault::Transport { code: 429 }),
        ("connect", Fault::Transport { code: 444 }),
    ];
    let rules = all.into_iter().filter(|_| random.bool()).map(|(on, fault)| {
        let chance = if on == "connect" { 0.1 } else { 0.01 };
        FaultRule::new(on, fault).chance(chance)
    });
    FaultPlan::new(rules).unwrap()
}

fn random_config(random: &mut fastrand::Rng, cast: &TestAccounts) -> Config {
    let sessions: u32 = cast.accounts.iter().map(|(_, sessions)| u32::from(*sessions)).sum();
    let mut config = Config::default();
    config.pool.max_connections_per_account = random.u16(1..=3);
    config.pool.max_connections = random.u32(sessions / 4..=2 * sessions);
    config.pool.max_leases_per_connection = random.u16(1..=6);
    config.pool.max_idle_time = Duration::from_millis(random.u64(5..400));
    config.pool.max_connection_age = Duration::from_millis(random.u64(20..1000));
    config.pool.cleanup_interval = Duration::from_millis(random.u64(1..50));
    config.pool.check_after_idle = Duration::from_millis(random.u64(0..60));
    config.pool.check_timeout = Duration::from_millis(100);
    config.pool.acquire_timeout = Duration::from_millis(random.u64(1..400));
    config.pool.dial_timeout = Duration::from_millis(200);
    config.pool.drain_timeout = Duration::from_millis(random.u64(0..300));
    config.health.probe_after = Duration::from_secs(1);
    config.flood.wait_max = Duration::from_millis(random.u64(0..2000));
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
async fn call_at_random(
    pool: TestPool,
    cast: TestAccounts,
    mut random: fastrand::Rng,
    until: Instant,
) {
    let mut kept: Option<Account<TelegramManager<MemorySource>>> = None;
    while Instant::now() < until {
        let account = cast.any(&mut random);
        if random.u8(..8) == 0 {
            kept = pool.account(account).ok();
        }
        let patience = Duration::from_micros(random.u64(1..200_000));
        if let (0, Some(kept)) = (random.u8(..6), &kept) {
            let request = myself();
            let outcome = match random.bool() {
                true => kept.invoke_within(&request, patience).await,
                false => kept.invoke_idempotent(&request, patience).await,
            };
            outcome.map(drop).unwrap_or_else(|error| expected(&error));
            continue;
        }
        let lease = match random.u8(..6) {
            0 => pool.acquire_fresh(account),
            1 => pool.acquire_any("default"),
            2 => pool.acquire_timeout(account, patience),
            3 if kept.is_some() => kept.as_ref().unwrap().acquire_owned(),
            _ => pool.acquire(account),
        };
        // A caller that leaves at any moment takes nothing with it.
        let lease = match tokio::time::timeout(patience * 2, lease).await {
            Ok(Ok(lease)) => lease,
            Ok(Err(error)) => {
                expected(&error.into());
                continue;
            }
            Err(_) => continue,
        };
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
            if let Err(error) = outcome {
                expected(&error);
                break;
            }
        }
        match random.u8(..12) {
            0 => lease.discard(),
            1 => lease.close().await,
            2 => {
                let id = lease.connection_id();
                pool.close_connection(lease.account(), id);
            }
            _ => drop(lease),
        }
    }
}

/// Every failure has one of the reasons that the faults and the operators give. All of it is
/// printed, to be searched for secrets.
fn expected(error: &InvokeError) {
    println!("{error} {error:?}");
    let known = match error {
        InvokeError::RetryAfter { .. } => true,
        InvokeError::Acquire(error) => matches!(
            error,
            AcquireError::Timeout(_)
                | AcquireError::Dial(_)
                | AcquireError::Closed { .. }
                | AcquireError::Draining { .. }
                | AcquireError::Quarantined { .. }
                | AcquireError::Resting { .. }
                | AcquireError::NoMember
        ),
        InvokeError::Call(error) => matches!(
            error,
            TelegramError::Rpc { .. }
                | TelegramError::Io(_)
                | TelegramError::Transport { .. }
                | TelegramError::Protocol(_)
                | TelegramError::Timeout { .. }
                | TelegramError::Dropped
                | TelegramError::NotSent
        ),
        _ => false,
    };
    assert!(known, "nothing that was done explains {error:?}");
}

/// One operator: turns every knob.
async fn operate_at_random(
    pool: TestPool,
    data_centre: DataCentre,
    cast: TestAccounts,
    mut random: fastrand::Rng,
    until: Instant,
) {
    while Instant::now() < until {
        let account = cast.any(&mut random);
        match random.u8(..10) {
            0 | 1 => pool.reconfigure(random_config(&mut random, &cast)).unwrap(),
            2 => drop(pool.close_account(account).await),
            3 => drop(pool.remove_account(account).await),
            4 => {
                pool.drain_account(account).await;
                pool.reinstate(account);
            }
            5 => cast.accounts.iter().for_each(|(account, _)| {
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
async fn settled(pool: &TestPool, cast: &TestAccounts) {
    let mut stats = pool.stats();
    for _ in 0..10_000 {
        stats = pool.stats();
        if (stats.leases, stats.waiting, stats.current_connecting) == (0, 0, 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let accounts = cast.accounts.iter().filter_map(|(account, _)| {
        let stats = pool.account_stats(*account)?;
        (stats.leases + stats.waiting > 0 || stats.total_connections == 0).then_some(stats)
    });
    panic!("it does not settle: {stats:#?} {:#?}", accounts.collect::<Vec<_>>());
}

/// What is out of service for good costs nothing: it refuses at once, and is not dialled.
async fn quarantined_cost_nothing(pool: &TestPool, cast: &TestAccounts) {
    let mut events = pool.events();
    let is_out = |(account, _): &&(AccountId, u16)| {
        matches!(pool.account_health(*account), Some(AccountHealth::Quarantined(_)))
    };
    let out: Vec<_> = cast.accounts.iter().filter(is_out).map(|(account, _)| *account).collect();
    for account in &out {
        for _ in 0..3 {
            let refused = pool.acquire(*account).await.unwrap_err();
            assert!(matches!(refused, AcquireError::Quarantined { .. }), "{refused}");
        }
    }
    // A last event, to know that all before it have been handled.
    pool.reconfigure((*pool.config()).clone()).unwrap();
    loop {
        match events.next().await.unwrap() {
            Event::Reconfigured => break,
            Event::DialFailed { account, .. } | Event::ConnectionOpened { account, .. } => {
                assert!(!out.contains(&account), "{account} is quarantined, and was dialled");
            }
            _ => {}
        }
    }
}

fn is_flood(error: &AcquireError<TelegramError>) -> bool {
    let AcquireError::Dial(DialError::Connect(error)) = error else { return false };
    matches!(error, TelegramError::Rpc { code: 420, .. })
}

fn is_unreachable(error: &AcquireError<TelegramError>) -> bool {
    matches!(error, AcquireError::Dial(DialError::Unreachable { .. }))
}

/// Every session of every account can be leased at once: no slot and no permit was lost.
async fn everything_serves(pool: &TestPool, cast: &TestAccounts) {
    pool.reconfigure(calm_config()).unwrap();
    for (account, slots) in cast.accounts.iter().copied() {
        // A dial that was under way when the account was removed still keeps it.
        let is_open = || pool.account_health(account) != Some(AccountHealth::Closed);
        wait_until("a removed account is gone", || pool.account(account).is_ok() && is_open())
            .await;
        pool.close_account(account).await;
        pool.reinstate(account);
        let mut leases = Vec::new();
        for slot in 0..slots {
            let mut lease = pool.acquire(account).await;
            // An address that was down is tried again after a pause, and refuses until then.
            let patience = Instant::now() + Duration::from_secs(60);
            while lease.as_ref().is_err_and(is_unreachable) && Instant::now() < patience {
                tokio::time::sleep(Duration::from_millis(50)).await;
                lease = pool.acquire(account).await;
            }
            // A flood on the login outlasts the faults; the account waits for its end by itself.
            if lease.as_ref().is_err_and(is_flood) {
                lease = pool.acquire(account).await;
            }
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

async fn round(
    data_centre: &DataCentre,
    records: &[SessionRecord],
    cast: &TestAccounts,
    random: &mut fastrand::Rng,
    is_first: bool,
) {
    let tasks = Handle::current().metrics().num_alive_tasks();
    let mut settings = settings();
    // Here the data centre notices every end at once.
    settings.redial_after_loss = Duration::from_millis(50);
    settings.call_timeout = Duration::from_millis(300);
    settings.close_grace = Duration::from_millis(200);
    let source = MemorySource::new(records.iter().cloned()).unwrap();
    let manager = TelegramManager::new(source, settings);
    let pool = Pool::builder(manager).config(random_config(random, cast)).seed(random.u64(..));
    let pool = pool.on_event(|event| println!("{event:?}")).build().unwrap();
    let until = Instant::now() + ROUND;
    let mut everybody = JoinSet::new();
    for _ in 0..cast.callers {
        let call = call_at_random(pool.clone(), cast.clone(), random.fork(), until);
        everybody.spawn(call);
    }
    let world = (pool.clone(), data_centre.clone(), cast.clone());
    let operator = operate_at_random(world.0, world.1, world.2, random.fork(), until);
    everybody.spawn(operator);
    while let Some(ended) = everybody.join_next().await {
        ended.unwrap();
    }
    data_centre.set_faults(&FaultPlan::default());
    data_centre.set_latency(Duration::ZERO);
    settled(&pool, cast).await;
    quarantined_cost_nothing(&pool, cast).await;
    secrets::show(&pool, cast);
    if is_first {
        secrets::show_metrics(&pool);
    }
    everything_serves(&pool, cast).await;
    assert_eq!(pool.close().await.still_open, 0);
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

async fn run(seed: u64, cast: TestAccounts) {
    let seconds = from_environment("CHAOS_SECONDS").unwrap_or(SECONDS);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut options = DataCentreOptions::default();
    options.seed = seed;
    let data_centre = DataCentre::start(options).await.unwrap();
    let records: Vec<_> = cast
        .accounts
        .iter()
        .flat_map(|(account, sessions)| data_centre.create_sessions(*account, *sessions, None))
        .collect();
    secrets::deposit(&records);
    secrets::listen();
    // Whatever a runtime starts once is started before the first count.
    drop(Arc::new(Pool::builder(NoopManager::new(1)).build().unwrap()));
    let slack = SLACK + SLACK_OF_ACCOUNT * cast.accounts.len();
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut base: Option<Holdings> = None;
    let mut rounds = 0;
    while Instant::now() < until || rounds < 2 * WARM_ROUNDS {
        round(&data_centre, &records, &cast, &mut random, rounds == 0).await;
        rounds += 1;
        // What the data centre remembers of those that do not come back is not what is counted here.
        cast.accounts.iter().for_each(|(account, _)| {
            data_centre.forget_mtproto_sessions(*account);
        });
        let Some(base) = base.filter(|_| rounds > WARM_ROUNDS) else {
            base = Some(base.map_or_else(holdings, |base| base.least(holdings())));
            continue;
        };
        // What a socket or a task held may go a moment after it.
        let is_back = || holdings().bytes <= base.bytes + slack;
        wait_until(&format!("memory is back at {base:?}"), is_back).await;
        let is_back = || holdings().descriptors <= base.descriptors;
        wait_until(&format!("descriptors are back at {base:?}"), is_back).await;
    }
    println!("{rounds} rounds, from {base:?} to {:?}", holdings());
    let stats = data_centre.stats();
    assert!(stats.calls > 500 && stats.faults_injected > 0, "{stats:?}");
}

/// Has the run done in a process of its own, and searches what it said.
fn in_a_process(test: &str, accounts: u64) {
    if let Some(seed) = from_environment("CHAOS_PROCESS") {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        return runtime.unwrap().block_on(run(seed, TestAccounts::of(accounts)));
    }
    let seed = from_environment("SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("SEED={seed} repeats this run");
    let folder = tempfile::tempdir().unwrap();
    let [said, deposit] = ["said", "secrets"].map(|name| folder.path().join(name));
    let out = std::fs::File::create(&said).unwrap();
    let name = format!("{}::{test}", crate::surroundings::test_path(module_path!()));
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture", "--include-ignored"])
        .env("CHAOS_PROCESS", seed.to_string())
        .env("CHAOS_SECRETS", &deposit)
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .status()
        .unwrap();
    let told = secrets::end_of(&said);
    println!("{told}");
    assert!(status.success(), "SEED={seed} repeats this run");
    assert!(told.contains("1 passed"), "the process ran no test");
    secrets::search(&said, &deposit);
}

#[test]
fn chaos_leaves_nothing_behind() {
    in_a_process("chaos_leaves_nothing_behind", 12);
}

#[test]
#[ignore = "takes minutes; `.ci/run` has a step for it"]
fn chaos_of_three_hundred_accounts_leaves_nothing_behind() {
    in_a_process("chaos_of_three_hundred_accounts_leaves_nothing_behind", 300);
}
