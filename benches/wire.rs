//! The wire beside the client that it stands in for: latency, rate, processor time, opening and memory.
//!
//! Both are measured in one run, in turns, against a data centre in a process of its own: read the ratios.
//! `cargo bench --bench wire` takes three minutes; each figure stands with its aim and whether it was reached.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the time by itself")]
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use telepool::AccountId;
use telepool::sandbox::{DataCentre, DataCentreOptions};
use telepool::session::{ClientIdentity, DataCentres, SessionRecord, lines};
use telepool::telegram::client::sender::{
    ConnectionParams, NoRetries, SenderPool, SenderPoolHandle,
};
use telepool::telegram::client::session::storages::MemorySession;
use telepool::telegram::client::session::types::DcOption;
use telepool::telegram::client::session::{Session as _, SessionData};
use telepool::telegram::client::tl::{Deserializable, Serializable, enums, functions};
use telepool::telegram::wire::{KeyMemory, WireEnd, WireHandle, WireOptions, introduction, open};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

const LIMIT: Duration = Duration::from_secs(30);
const ENGINES: [Engine; 2] = [Engine::Grammers, Engine::Wire];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Engine {
    Grammers,
    Wire,
}

/// A data centre in a process of its own.
struct Server {
    process: Child,
    input: ChildStdin,
    output: Box<dyn BufRead>,
    sessions: Vec<SessionRecord>,
}

impl Server {
    fn start(accounts: usize) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--data-centre", &accounts.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let mut output = Box::new(BufReader::new(process.stdout.take().unwrap()));
        let mut text = String::new();
        for _ in 0..=accounts {
            output.read_line(&mut text).unwrap();
        }
        let (address, text) = text.split_once('\n').unwrap();
        let centres = DataCentres::new();
        let mut sessions = lines::read_all(text.as_bytes(), &centres).unwrap();
        let address: SocketAddr = address.parse().unwrap();
        sessions.iter_mut().for_each(|session| session.address = address);
        Self { process, input, output, sessions }
    }

    fn set_latency(&mut self, millis: u64) {
        writeln!(self.input, "{millis}").unwrap();
        self.output.read_line(&mut String::new()).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// What the process of the data centre does.
async fn serve(accounts: u64) {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    println!("{}", data_centre.address());
    for account in 0..accounts {
        let account = AccountId::bot(5_000_000 + account).unwrap();
        for record in data_centre.create_sessions(account, 1, None) {
            lines::write_line(std::io::stdout(), &record).unwrap();
        }
    }
    let commands = tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            data_centre.set_latency(Duration::from_millis(line.parse().unwrap()));
            println!("done");
        }
    });
    commands.await.unwrap();
}

/// A connection of either kind.
enum Connection {
    Grammers(SenderPoolHandle, i32, JoinHandle<()>),
    Wire(WireHandle, JoinHandle<WireEnd>),
}

impl Connection {
    async fn open(engine: Engine, record: &SessionRecord, memory: KeyMemory) -> Arc<Self> {
        Arc::new(match engine {
            Engine::Grammers => open_grammers(record).await,
            Engine::Wire => {
                let mut options = WireOptions::new(record.key.clone());
                (options.memory, options.introduction) =
                    (memory, introduction(1, ClientIdentity::new("bench", "1", "1")));
                let stream = TcpStream::connect(record.address).await.unwrap();
                let (handle, driver) = open(stream, (), options, |_| {});
                Self::Wire(handle, tokio::spawn(driver))
            }
        })
    }

    /// Asks for the state of the updates, and reads the answer.
    async fn call(&self) {
        let query = functions::updates::GetState {};
        let body = functions::InvokeWithoutUpdates { query }.to_bytes();
        let answer = match self {
            Self::Grammers(handle, dc, _) => handle.raw_invoke_in_dc(*dc, body).await.unwrap(),
            Self::Wire(handle, _) => handle.call(body, LIMIT).await.unwrap(),
        };
        enums::updates::State::from_bytes(&answer).unwrap();
    }

    async fn close(self: Arc<Self>) -> KeyMemory {
        match Arc::into_inner(self).expect("nobody calls") {
            Self::Grammers(handle, _, runner) => {
                handle.quit();
                runner.await.unwrap();
                KeyMemory::default()
            }
            Self::Wire(handle, driver) => {
                handle.close();
                assert!(driver.await.unwrap().is_confirmed());
                handle.memory()
            }
        }
    }
}

async fn open_grammers(record: &SessionRecord) -> Connection {
    let SocketAddr::V4(ipv4) = record.address else { panic!("{}", record.address) };
    let ipv6 = SocketAddrV6::new(ipv4.ip().to_ipv6_mapped(), ipv4.port(), 0, 0);
    let mut data = SessionData::default();
    // The client knows the real addresses: none of them may be dialled.
    let nowhere = SocketAddrV4::new([127, 0, 0, 1].into(), 9);
    for option in data.dc_options.values_mut() {
        (option.ipv4, option.ipv6) = (nowhere, ipv6);
    }
    let session = Arc::new(MemorySession::from(data));
    let auth_key = Some(*record.key.expose());
    session.set_dc_option(&DcOption { id: record.dc, ipv4, ipv6, auth_key }).await.unwrap();
    session.set_home_dc_id(record.dc).await.unwrap();
    // All fields by hand: the defaults start a process.
    let params = ConnectionParams {
        device_model: "bench".to_owned(),
        system_version: "1".to_owned(),
        app_version: "1".to_owned(),
        system_lang_code: "en".to_owned(),
        lang_code: "en".to_owned(),
        use_ipv6: false,
        retry_policy: Box::new(NoRetries),
        updates_channel_capacity: std::num::NonZeroUsize::new(100).unwrap(),
        __non_exhaustive: (),
    };
    let SenderPool { runner, handle, mut updates } =
        SenderPool::with_configuration(session, 1, params);
    tokio::spawn(async move { while updates.recv().await.is_some() {} });
    Connection::Grammers(handle.thin, record.dc, tokio::spawn(runner.run()))
}

/// Processor time of this process.
fn processor() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let time = |it: nix::sys::time::TimeVal| {
        Duration::new(it.tv_sec().unsigned_abs(), u32::try_from(it.tv_usec()).unwrap() * 1000)
    };
    time(usage.user_time()) + time(usage.system_time())
}

fn percentile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times[(times.len() - 1) * percent / 100]
}

fn median(mut figures: Vec<f64>) -> f64 {
    percentile(&mut figures, 50)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Calls at random moments, so many in a second. Returns how long each took in milliseconds.
async fn at_random_moments(connection: &Arc<Connection>, rate: f64, time: Duration) -> Vec<f64> {
    let (mut calls, start, mut at) = (JoinSet::new(), tokio::time::Instant::now(), 0.0);
    loop {
        at -= fastrand::f64().max(1e-9).ln() / rate;
        if at > time.as_secs_f64() {
            break;
        }
        tokio::time::sleep_until(start + Duration::from_secs_f64(at)).await;
        let connection = Arc::clone(connection);
        calls.spawn(async move {
            let start = Instant::now();
            connection.call().await;
            millis(start.elapsed())
        });
    }
    calls.join_all().await
}

/// So many callers, each of which calls again once it has its answer. Returns how long each call took in
/// milliseconds, and the processor time of a thousand of them.
async fn in_a_loop(
    connection: &Arc<Connection>,
    callers: usize,
    time: Duration,
) -> (Vec<f64>, f64) {
    let (before, end) = (processor(), Instant::now() + time);
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let connection = Arc::clone(connection);
        tasks.spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < end {
                let start = Instant::now();
                connection.call().await;
                times.push(millis(start.elapsed()));
            }
            times
        });
    }
    let times = tasks.join_all().await.concat();
    let cost = millis(processor() - before) / times.len() as f64 * 1e3;
    (times, cost)
}

fn tell(what: &str, [grammers, wire]: [f64; 2], unit: &str, aim: &str, is_reached: bool) {
    let verdict = match (aim, is_reached) {
        ("", _) => "shown",
        (_, true) => "reached",
        (_, false) => "NOT reached",
    };
    println!("| {what} | {grammers:.2} {unit} | {wire:.2} {unit} | {aim} | {verdict} |");
}

/// Both connections, in the order of the engines.
async fn open_both(server: &Server) -> [Arc<Connection>; 2] {
    let mut both = Vec::new();
    for (engine, record) in ENGINES.into_iter().zip(&server.sessions) {
        let connection = Connection::open(engine, record, KeyMemory::default()).await;
        connection.call().await;
        both.push(connection);
    }
    both.try_into().unwrap_or_else(|_| unreachable!())
}

async fn latencies(server: &mut Server, rounds: usize, time: Duration) {
    let both = open_both(server).await;
    server.set_latency(50);
    for rate in [100.0, 400.0] {
        let mut added = [vec![], vec![]];
        for _ in 0..rounds {
            for (connection, added) in both.iter().zip(&mut added) {
                let times = at_random_moments(connection, rate, time).await;
                added.extend(times.iter().map(|time| time - 50.0));
            }
        }
        let means = added.each_ref().map(|it| it.iter().sum::<f64>() / it.len() as f64);
        let what = format!("added to 50 ms at {rate} calls/s at random moments, mean");
        tell(&what, means, "ms", "<= 2.5 ms", means[1] <= 2.5);
        let p99 = added.map(|mut it| percentile(&mut it, 99));
        tell("the same, p99", p99, "ms", "", true);
    }
    server.set_latency(20);
    for callers in [2, 8, 32, 100] {
        let mut medians = [vec![], vec![]];
        for _ in 0..rounds {
            for (connection, medians) in both.iter().zip(&mut medians) {
                medians.push(median(in_a_loop(connection, callers, time).await.0));
            }
        }
        let p50 = medians.map(median);
        let what = format!("{callers} callers at 20 ms, p50");
        tell(&what, p50, "ms", "<= 0.55x", p50[1] <= 0.55 * p50[0]);
    }
    server.set_latency(0);
    for (callers, share) in [(1, 1.05), (8, 1.0), (32, 0.6), (100, 0.6)] {
        let mut costs = [vec![], vec![]];
        for _ in 0..2 * rounds {
            for (connection, costs) in both.iter().zip(&mut costs) {
                costs.push(in_a_loop(connection, callers, time / 2).await.1);
            }
        }
        let costs = costs.map(median);
        let what = format!("processor time of 1,000 calls, {callers} callers at 0 ms");
        tell(&what, costs, "ms", &format!("<= {share}x"), costs[1] <= share * costs[0]);
    }
    for connection in both {
        connection.close().await;
    }
}

async fn opening(server: &mut Server, rounds: usize) {
    server.set_latency(50);
    let (mut times, mut costs) = ([vec![], vec![], vec![]], [vec![], vec![], vec![]]);
    for round in 0..rounds {
        let mut memory = KeyMemory::default();
        let ways = [Engine::Grammers, Engine::Wire, Engine::Wire];
        let both = times.iter_mut().zip(&mut costs);
        for (engine, (times, costs)) in ways.into_iter().zip(both) {
            let record = &server.sessions[2 + round % (server.sessions.len() - 2)];
            let (before, start) = (processor(), Instant::now());
            let connection = Connection::open(engine, record, memory).await;
            connection.call().await;
            memory = connection.close().await;
            times.push(millis(start.elapsed()));
            costs.push(millis(processor() - before));
        }
    }
    let [grammers, unknown, known] = times.map(median);
    tell("open, call, close at 50 ms", [grammers, unknown], "ms", "<= 110 ms", unknown <= 110.0);
    tell("the same with a known salt", [grammers, known], "ms", "<= 60 ms", known <= 60.0);
    let [grammers, _, known] = costs.map(median);
    tell("its processor time", [grammers, known], "ms", "<= 0.55x", known <= 0.55 * grammers);
    server.set_latency(0);
}

/// Resident memory in kB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("VmRSS: 0");
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What the process does that only holds connections: it says how many kB each takes, fresh and after five rounds.
async fn hold(engine: Engine, connections: usize) {
    let server = Server::start(connections);
    let mut held = vec![];
    let before = resident();
    let mut figures = vec![];
    for round in 0..6 {
        for record in &server.sessions {
            let connection = Connection::open(engine, record, KeyMemory::default()).await;
            connection.call().await;
            held.push(connection);
        }
        if round == 0 || round == 5 {
            // What they have begun is done by then.
            tokio::time::sleep(Duration::from_millis(200)).await;
            figures.push((resident() - before) / connections as f64);
        }
        for connection in held.drain(..) {
            connection.close().await;
        }
    }
    println!("{} {}", figures[0], figures[1]);
}

fn memory(connections: usize) {
    let figures = ENGINES.map(|engine| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([&format!("--hold-{engine:?}"), &connections.to_string()])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut numbers = text.split_whitespace().map(|it| it.parse::<f64>().unwrap());
        [numbers.next().unwrap(), numbers.next().unwrap()]
    });
    let what = format!("one of {connections} idle connections, fresh");
    for (at, what) in [what.as_str(), "the same after five rounds"].into_iter().enumerate() {
        let each = figures.map(|it| it[at]);
        tell(what, each, "kB", "<= 12 kB", each[1] <= 12.0);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<usize>().ok()
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Some(accounts) = number("--data-centre") {
        return runtime.block_on(serve(accounts as u64));
    }
    for engine in ENGINES {
        if let Some(connections) = number(&format!("--hold-{engine:?}")) {
            return runtime.block_on(hold(engine, connections));
        }
    }
    let is_short = arguments.iter().any(|argument| argument == "--test");
    let (rounds, time, opens, held) = match is_short {
        true => (1, Duration::from_millis(100), 2, 10),
        false => (3, Duration::from_secs(3), 40, 500),
    };
    println!("| | grammers | wire | aim | verdict |\n|---|---:|---:|---|---|");
    let mut server = Server::start(2 + opens);
    runtime.block_on(latencies(&mut server, rounds, time));
    runtime.block_on(opening(&mut server, opens));
    drop(server);
    memory(held);
}
