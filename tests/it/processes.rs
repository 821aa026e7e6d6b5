//! Several processes on one machine, stopped, killed and restarted, over a line that keeps the server's
//! ends open: none of it may cost a login, nor a quarantine that was told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use telepool::sandbox::{
    DataCentre, DataCentreOptions, DataCentreStats, Fault, FaultPlan, FaultRule,
};
use telepool::session::{KeyId, SessionRecord, lines};
use telepool::telegram::client::tl::functions::Ping;
use telepool::telegram::{MemorySource, TelegramManager, TelegramSettings};
use telepool::{AccountId, Pool};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::relay::Relay;

/// The data centre closes its end so long after a connection was last heard of...
const DELAY: Duration = Duration::from_secs(3);
/// ...and so long a process leaves keys alone that another one has lost.
const REST: &str = "telegram.redial_after_loss=5s";
const PATIENCE: Duration = Duration::from_secs(60);

/// A data centre behind a line, and a folder for the files of its users.
struct Farm {
    data_centre: DataCentre,
    relay: Relay,
    records: Vec<SessionRecord>,
    folder: TempDir,
}

async fn farm(accounts: u64) -> Farm {
    farm_with(accounts, None).await
}

/// Its data centre closes its end of each connection soon, whatever the client asks for.
async fn hasty_farm(accounts: u64) -> Farm {
    farm_with(accounts, Some(DELAY)).await
}

async fn farm_with(accounts: u64, delay: Option<Duration>) -> Farm {
    let mut options = DataCentreOptions::default();
    options.disconnect_delay_max = delay;
    let data_centre = DataCentre::start(options).await.unwrap();
    let relay = Relay::start(data_centre.address()).await;
    let create_sessions = |id| {
        let mut records = data_centre.create_sessions(AccountId::bot(id).unwrap(), 1, None);
        records[0].address = relay.address;
        records.remove(0)
    };
    let records = (1..=accounts).map(create_sessions).collect();
    let folder = tempfile::tempdir().unwrap();
    Farm { data_centre, relay, records, folder }
}

impl Farm {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes sessions to a file.
    fn file(&self, name: &str, records: &[SessionRecord]) -> PathBuf {
        let mut text = Vec::new();
        for record in records {
            lines::write_line(&mut text, record).unwrap();
        }
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn serve(&self, sessions: &Path, more: &[&str]) -> Serving {
        self.serve_under("true", sessions, more)
    }

    /// The same after what a shell does first.
    fn serve_under(&self, first: &str, sessions: &Path, more: &[&str]) -> Serving {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{first} && exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_telepool"))
            .args(["serve", "--json", "--rate=100", "--concurrency=8", "--listen=127.0.0.1:0"])
            .args(["--set", "dial.per_second=1000", "--set", "dial.handshakes=64", "--set", REST])
            .args(["--set", "pool.check_timeout=1s", "--set", "pool.acquire_timeout=20s"])
            .arg("--sessions")
            .arg(sessions)
            .args(more)
            .env("TELEPOOL_API_ID", "1")
            .env("TELEPOOL_LOCKS", self.path("locks"))
            .env_remove("TELEPOOL_LOG");
        Serving::start(command)
    }

    /// Waits until every session has a connection, of which the data centre knows when to close it. What
    /// happens to a connection before that, in its first round trip, nobody can mend.
    async fn until_all_are_connected(&self) {
        let count = self.records.len() as u64;
        self.until("all are connected", |stats| {
            (stats.connections, stats.connections_timed) == (count, count)
        })
        .await;
    }

    /// Waits until the data centre sees something.
    async fn until(&self, what: &str, is_so: impl Fn(&DataCentreStats) -> bool) {
        let seen = async {
            while !is_so(&self.data_centre.stats()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        assert!(seen.is_ok(), "it never came to pass that {what}: {:?}", self.data_centre.stats());
    }

    /// Waits until as many calls as these have come since.
    async fn until_served(&self, calls: u64) {
        let before = self.data_centre.stats().calls;
        self.until("calls are served", |stats| stats.calls >= before + calls).await;
    }

    fn violations(&self) -> u64 {
        self.data_centre.stats().key_violations
    }

    /// The names of what lies in the folder of the locks.
    fn among_the_locks(&self) -> BTreeSet<String> {
        let files = std::fs::read_dir(self.path("locks")).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// How many processes that are no more have left something to wait for among the locks.
    fn left_behind(&self) -> usize {
        let paths = std::fs::read_dir(self.path("locks")).unwrap().map(|file| file.unwrap().path());
        let records = paths.filter(|path| path.extension().is_some_and(|it| it == "json"));
        let said =
            records.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
        said.filter(|said: &Value| said["open"]["unix"] != 0 || said["rest_until"]["unix"] != 0)
            .count()
    }
}

/// A process, and what it has said on its standard error so far.
struct Serving {
    child: Child,
    said: watch::Receiver<String>,
}

impl Serving {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, said) = watch::channel(String::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = told.next_line().await {
                tell.send_modify(|said| *said += &(line + "\n"));
            }
        });
        Self { child, said }
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    async fn until_it_says(&mut self, words: &str) {
        let said = self.said.wait_for(|said| said.contains(words));
        let is_said = matches!(tokio::time::timeout(PATIENCE, said).await, Ok(Ok(_)));
        assert!(is_said, "it does not say {words:?}: {}", *self.said.borrow());
    }

    /// Waits until it serves, or is refused.
    async fn until_it_is_decided(&mut self) {
        let decided = self.said.wait_for(|said| {
            said.contains("metrics on") || said.contains("in use by another process")
        });
        tokio::time::timeout(PATIENCE, decided).await.expect("in time").expect("it says so");
    }

    fn is_refused(&self) -> bool {
        self.said.borrow().contains("in use by another process")
    }

    fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = std::process::Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end, and answers with the status, what it printed and what it said.
    async fn end(mut self) -> (Option<i32>, String, String) {
        let mut out = String::new();
        let mut stdout = self.child.stdout.take().unwrap();
        let ended = async {
            stdout.read_to_string(&mut out).await.unwrap();
            self.child.wait().await.unwrap()
        };
        let status = tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
        // The last it says may come later than its end.
        drop(
            tokio::time::timeout(PATIENCE, async { while self.said.changed().await.is_ok() {} })
                .await,
        );
        let said = self.said.borrow().clone();
        (status.code(), out, said)
    }

    async fn killed(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Ends it in order, and answers with its summary. It has had no failure.
    async fn stopped(self) -> Value {
        self.signal("-TERM");
        let (status, out, said) = self.end().await;
        assert_eq!(status, Some(0), "{out}{said}");
        serde_json::from_str(&out).unwrap()
    }

    /// Ends it in order. A server that hangs up now and then may have cost it calls.
    async fn asked_to_end(self) {
        self.signal("-TERM");
        let (status, out, said) = self.end().await;
        assert!(matches!(status, Some(0 | 1)), "{out}{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_is_refused_before_it_dials_and_told_who_has_the_sessions() {
    let farm = farm(10).await;
    let (same, state) = (farm.file("a.jsonl", &farm.records), farm.path("state.jsonl"));
    let other = farm.file("b.jsonl", &farm.records[9..]);
    // A quarantine of a session that this file has not.
    let line = format!(
        "{{\"account\":\"bot:77\",\"slot\":0,\"key_id\":\"{}\",\"reason\":\"key_duplicated\",\
         \"since\":1}}\n",
        KeyId::of(&telepool::session::AuthKey::new([9; 256]))
    );
    std::fs::write(&state, &line).unwrap();
    let state_flag = ["--state", state.to_str().unwrap()];
    let first = farm.serve(&same, &state_flag);
    farm.until_all_are_connected().await;
    for (file, flags) in [(&same, &state_flag[..]), (&same, &[]), (&other, &[])] {
        let (status, _, said) = farm.serve(file, flags).end().await;
        assert_eq!(status, Some(3), "{said}");
        let holder = format!("process {} (telepool) since 20", first.pid());
        assert!(said.contains(&holder) && said.contains("a.jsonl"), "{said}");
        assert!(said.contains("Nothing was dialled"), "{said}");
    }
    assert_eq!(first.stopped().await["quarantined_before"], 0);
    let stats = farm.data_centre.stats();
    assert_eq!((stats.key_violations, stats.handshakes), (0, 10), "{stats:?}");
    assert_eq!(std::fs::read_to_string(&state).unwrap(), line, "it stays until it is lifted");
    assert_eq!(farm.left_behind(), 0, "an orderly end leaves nothing behind");
    let next = farm.serve(&same, &state_flag);
    farm.until_all_are_connected().await;
    assert!(!next.said.borrow().contains("rest for"), "nobody has anything to wait for");
    next.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_processes_over_overlapping_files_never_meet_at_a_key() {
    overlap(10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_three() {
    overlap(3).await;
}

/// Starts so many processes at once, each with the sessions of a file that overlaps with its
/// neighbours'.
async fn overlap(count: usize) {
    let farm = farm(12).await;
    let start = |number: usize| {
        let name = format!("{number}.jsonl");
        farm.serve(&farm.file(&name, &farm.records[number..number + 3]), &[])
    };
    let mut all: Vec<Serving> = (0..count).map(start).collect();
    for one in &mut all {
        one.until_it_is_decided().await;
    }
    farm.until_served(200).await;
    let mut served = 0;
    for one in all {
        if one.is_refused() {
            assert_eq!(one.end().await.0, Some(3));
        } else {
            served += 1;
            one.stopped().await;
        }
    }
    // Each file shares sessions with two on either side.
    assert!((1..=count.div_ceil(3)).contains(&served), "{served} have served");
    assert_eq!(farm.violations(), 0);
}

/// Kills a process whose connections the server goes on having, and starts another one at once.
async fn kill_and_restart(farm: &Farm, flags: &[&str]) -> Serving {
    let file = farm.file("a.jsonl", &farm.records);
    let count = farm.records.len() as u64;
    let first = farm.serve(&file, &[]);
    farm.until_all_are_connected().await;
    farm.relay.keep_servers_ends_open();
    first.killed().await;
    // Before the next one starts: it may have dialled all of them by the time that it says anything.
    let before = farm.data_centre.stats().handshakes;
    let mut next = farm.serve(&file, flags);
    next.until_it_says("metrics on").await;
    farm.until("all have been dialled", |stats| stats.handshakes >= before + count).await;
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_costs_a_pause_and_no_login_though_the_server_has_not_noticed() {
    let farm = hasty_farm(5).await;
    let mut next = kill_and_restart(&farm, &[]).await;
    next.until_it_says("5 of 5 sessions rest for").await;
    farm.until_served(50).await;
    next.asked_to_end().await;
    assert_eq!(farm.violations(), 0);
}

/// What a run answers to whoever asks it.
async fn asked(serving: &Serving, path: &str) -> String {
    let said = serving.said.borrow().clone();
    let address = said.split("metrics on http://").nth(1).expect("it serves");
    let address = address.split('/').next().expect("an address");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_every_session_rests_after_a_crash_the_next_run_is_not_ready_and_says_until_when() {
    let farm = hasty_farm(3).await;
    let file = farm.file("a.jsonl", &farm.records);
    let long = ["--set", "telegram.redial_after_loss=120"];
    let first = farm.serve(&file, &long);
    farm.until_all_are_connected().await;
    first.killed().await;
    let mut next = farm.serve(&file, &long);
    next.until_it_says("metrics on").await;
    let is_told = async {
        loop {
            let answer = asked(&next, "/readyz").await;
            if answer.contains("all 3 accounts rest; the first is dialled again in 1") {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, is_told).await.expect("in time");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("the session rests"), "{answer}");
    let numbers = asked(&next, "/metrics").await;
    assert!(numbers.contains("state=\"resting\"} 3\n"), "{numbers}");
    assert!(asked(&next, "/healthz").await.starts_with("HTTP/1.1 200"));
    next.asked_to_end().await;
    assert_eq!(farm.violations(), 0);
}

/// The counterpart, which shows that the line and the data centre would tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_locks_that_costs_every_login() {
    let farm = hasty_farm(5).await;
    let mut next = kill_and_restart(&farm, &["--without-locks"]).await;
    next.until_it_says("--without-locks: if another process").await;
    farm.until("it has cost every login", |stats| stats.key_violations == 5).await;
    next.asked_to_end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_machine_has_lost_its_power_every_session_rests() {
    let farm = hasty_farm(4).await;
    let first = farm.serve(&farm.file("a.jsonl", &farm.records[..2]), &[]);
    farm.until("they are connected", |stats| {
        (stats.connections, stats.connections_timed) == (2, 2)
    })
    .await;
    farm.relay.keep_servers_ends_open();
    first.killed().await;
    // As it would look after another start of the machine, with what was written last lost.
    let record = farm.path("locks/process-0.json");
    let mut said: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    assert!(said["open"]["unix"].as_u64().unwrap() > 0);
    said["boot"] = "another".into();
    std::fs::write(&record, said.to_string()).unwrap();
    std::fs::write(farm.path("locks/process-0.keys"), "").unwrap();
    let mut next = farm.serve(&farm.file("b.jsonl", &farm.records), &[]);
    next.until_it_says("4 of 4 sessions rest for").await;
    farm.until_served(50).await;
    next.asked_to_end().await;
    assert_eq!(farm.violations(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_past_the_delay_costs_nothing() {
    let farm = hasty_farm(5).await;
    let file = farm.file("a.jsonl", &farm.records);
    let first = farm.serve(&file, &[]);
    farm.until_all_are_connected().await;
    let closed = farm.data_centre.stats().closed_by_timer;
    first.signal("-STOP");
    // Whoever comes meanwhile is refused: it may wake up at any time.
    let (status, _, said) = farm.serve(&file, &[]).end().await;
    assert_eq!(status, Some(3), "{said}");
    farm.until("the server has closed its ends", |stats| {
        stats.connections == 0 && stats.closed_by_timer > closed
    })
    .await;
    first.signal("-CONT");
    farm.until_served(100).await;
    first.asked_to_end().await;
    assert_eq!(farm.violations(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_costs_nothing() {
    let farm = farm(8).await;
    let file = farm.file("a.jsonl", &farm.records);
    let mut running = farm.serve(&file, &[]);
    for _ in 0..3 {
        running.until_it_says("metrics on").await;
        farm.until_served(100).await;
        // The next one is there before the last has gone, and tries until it may.
        running.signal("-TERM");
        let (ended, next) = tokio::join!(running.end(), async {
            loop {
                let mut next = farm.serve(&file, &[]);
                next.until_it_is_decided().await;
                if !next.is_refused() {
                    return next;
                }
                assert_eq!(next.end().await.0, Some(3));
            }
        });
        assert_eq!(ended.0, Some(0), "{}{}", ended.1, ended.2);
        running = next;
    }
    farm.until_served(100).await;
    let summary = running.stopped().await;
    assert_eq!(summary["calls_failed"], 0, "{summary}");
    assert_eq!(farm.violations(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantine_that_was_told_is_there_after_every_kind_of_end() {
    let farm = farm(3).await;
    let revoked = Fault::Error { code: 401, message: "SESSION_REVOKED".into() };
    let rule = FaultRule::new("updates.getState", revoked).account(farm.records[2].account);
    farm.data_centre.set_faults(&FaultPlan::new([rule]).unwrap());
    let (file, state) = (farm.file("a.jsonl", &farm.records), farm.path("state.jsonl"));
    let flags = ["--state", state.to_str().unwrap()];
    let mut running = farm.serve(&file, &flags);
    running.until_it_says("needs_login").await;
    // Whoever imposes one does not wait for the disk.
    let kept = || std::fs::read_to_string(&state).unwrap_or_default();
    let written = async {
        while kept().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("it is kept");
    let (line, handshakes) = (kept(), |farm: &Farm| farm.data_centre.stats().handshakes);
    // The quarantine may come before the others are dialled, and one of them may serve before the other is.
    farm.until("all are dialled", |stats| stats.handshakes >= 3).await;
    for signal in ["-KILL", "-TERM", "-STOP", "-INT", "-KILL"] {
        farm.until_served(10).await;
        running.signal(signal);
        if signal == "-STOP" {
            running.signal("-CONT");
            running.signal("-TERM");
        }
        running.end().await;
        assert_eq!(kept(), line, "after {signal}");
        let before = handshakes(&farm);
        running = farm.serve(&file, &flags);
        running.until_it_says("1 of 3 sessions are quarantined").await;
        farm.until("the others are dialled", |stats| stats.handshakes >= before + 2).await;
    }
    farm.until_served(10).await;
    running.asked_to_end().await;
    assert_eq!(farm.violations(), 0);
    assert_eq!(handshakes(&farm), 3 + 5 * 2, "what is quarantined is not dialled");
}

/// The number after some words.
fn number_after(said: &str, words: &str) -> u64 {
    let (_, rest) = said.split_once(words).unwrap_or_else(|| panic!("{words:?}: {said}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{words:?}: {said}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_few_files_the_sessions_of_a_file_are_served_with_fewer_connections() {
    let farm = farm(300).await;
    let file = farm.file("a.jsonl", &farm.records);
    let mut running = farm.serve_under("ulimit -n 120", &file, &[]);
    running.until_it_says("metrics on").await;
    let said = running.said.borrow().clone();
    let cap = number_after(&said, "pool.max_connections is ");
    assert!((40..=80).contains(&cap), "the locks of 300 keys take 16 files: {said}");
    let wanted = number_after(&said, "for all 300 at once, raise the limit (ulimit -n ");
    assert!((300..420).contains(&wanted), "{said}");
    // More than may be open at a time, so that some have made way.
    farm.until("more sessions are dialled", |stats| stats.handshakes > cap + 20).await;
    let most = farm.data_centre.stats().connections;
    assert!(most <= cap, "{most}");
    let summary = running.stopped().await;
    assert_eq!(summary["acquires_failed"], 0, "{summary}");
    assert_eq!((farm.violations(), farm.left_behind()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_too_few_files_the_limit_that_is_needed_is_named_and_is_enough() {
    let farm = farm(30).await;
    let file = farm.file("a.jsonl", &farm.records);
    for limit in [10, 20, 45] {
        let first = format!("ulimit -n {limit}");
        let (status, _, said) = farm.serve_under(&first, &file, &[]).end().await;
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(&format!("may open {limit} files, and needs ")), "{said}");
        assert!(!said.contains("port") && !said.contains("TELEPOOL_LOCKS"), "{said}");
        let needed = number_after(&said, "(ulimit -n ");
        assert!(said.contains(&format!("LimitNOFILE={needed} of systemd")), "{said}");
        let mut running = farm.serve_under(&format!("ulimit -n {needed}"), &file, &[]);
        running.until_it_says("metrics on").await;
        farm.until_served(20).await;
        running.stopped().await;
    }
    assert_eq!(farm.violations(), 0);
}

/// A process that may write no file dies of its first word on itself, with that half written.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_has_half_written_when_it_dies_does_not_stay() {
    let farm = farm(2).await;
    let file = farm.file("a.jsonl", &farm.records);
    let (status, _, said) = farm.serve_under("ulimit -f 0", &file, &[]).end().await;
    assert_eq!(status, None, "a signal has ended it: {said}");
    let left = farm.among_the_locks();
    assert!(left.iter().any(|name| name.starts_with("process-0.")), "{left:?}");
    // Another number than that of the first one who comes.
    for kind in ["json.new", "keys.new", "keys"] {
        std::fs::write(farm.path("locks").join(format!("process-7.{kind}")), "half").unwrap();
    }
    let running = farm.serve(&file, &[]);
    farm.until_served(20).await;
    running.stopped().await;
    let left = farm.among_the_locks();
    assert_eq!(left, ["keys", "processes"].map(str::to_owned).into());
}

/// What tells a test that it is the child of itself: the sessions that it is to dial.
const CHILD: &str = "TELEPOOL_TEST_SESSIONS";

/// A process of a library user: dials every session, says what came of it, and ends with its input.
async fn as_a_library(sessions: &Path) {
    let file = std::io::BufReader::new(std::fs::File::open(sessions).unwrap());
    let records = lines::read_all(file, &telepool::session::DataCentres::production()).unwrap();
    let accounts: Vec<AccountId> = records.iter().map(|record| record.account).collect();
    let source = MemorySource::new(records).unwrap();
    let manager = TelegramManager::new(source, TelegramSettings::new(1));
    let pool = Pool::builder(manager).build().unwrap();
    let (mut served, mut refused) = (0, String::new());
    for account in accounts {
        match pool.account(account).unwrap().invoke(&Ping { ping_id: 1 }).await {
            Ok(_) => served += 1,
            Err(error) => refused = error.to_string(),
        }
    }
    println!("served {served}, refused: {refused}.");
    let input = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(input).await.unwrap().unwrap();
    pool.close().await;
    // Nothing is dropped, as with a pool in a static: the close alone is promised to be an orderly end.
    std::process::exit(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_library_processes_never_meet_at_a_key() {
    if let Some(sessions) = std::env::var_os(CHILD) {
        return as_a_library(Path::new(&sessions)).await;
    }
    let farm = farm(4).await;
    let start = |name: &str, records: &[SessionRecord]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let test = "processes::two_library_processes_never_meet_at_a_key";
        command.args(["--exact", test, "--nocapture"]);
        command.env(CHILD, farm.file(name, records)).env("TELEPOOL_LOCKS", farm.path("locks"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, said)
    };
    let says = async |said: &mut tokio::io::Lines<BufReader<tokio::process::ChildStdout>>| loop {
        let line = tokio::time::timeout(PATIENCE, said.next_line()).await.unwrap().unwrap();
        let line = line.expect("it says what came of it");
        if line.contains("served ") {
            return line;
        }
    };
    let (mut first, mut said) = start("a.jsonl", &farm.records[..3]);
    let line = says(&mut said).await;
    assert!(line.contains("served 3"), "{line}");
    let (mut second, mut said) = start("b.jsonl", &farm.records[1..]);
    let line = says(&mut said).await;
    assert!(line.contains("served 1"), "{line}");
    let holder = format!("holds the key: process {}", first.id().unwrap());
    assert!(line.contains(&holder), "{line}");
    // Each ends with its input, and gives its keys back.
    for child in [&mut first, &mut second] {
        drop(child.stdin.take());
        assert!(child.wait().await.unwrap().success());
    }
    let (mut third, mut said) = start("c.jsonl", &farm.records);
    let line = says(&mut said).await;
    assert!(line.contains("served 4"), "{line}");
    drop(third.stdin.take());
    assert!(third.wait().await.unwrap().success());
    assert_eq!((farm.violations(), farm.left_behind()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_another_program_ends_shows_in_log_state_and_status() {
    let farm = farm(3).await;
    let (file, state) = (farm.file("a.jsonl", &farm.records), farm.path("state.jsonl"));
    let flags = ["--set", "health.login_check_every=1s", "--set", "pool.cleanup_interval=100ms"];
    let flags = [&["--state", state.to_str().unwrap()][..], &flags].concat();
    let mut first = farm.serve(&file, &flags);
    farm.until_all_are_connected().await;
    // It does not ask who has the sessions.
    let rival = farm.serve(&file, &["--without-locks"]);
    farm.until("the logins are lost", |stats| stats.key_violations == 3).await;
    rival.killed().await;
    first.until_it_says("key_duplicated").await;
    let lines = || std::fs::read_to_string(&state).unwrap_or_default().lines().count();
    let kept = async {
        while lines() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, kept).await.expect("all are kept in the state file");
    first.signal("-TERM");
    let (status, out, said) = first.end().await;
    assert_eq!(status, Some(1), "{out}{said}");
    let told = std::fs::read_to_string(&state).unwrap();
    assert_eq!(told.matches("key_duplicated").count(), 3, "{told}");
    // Nor does the next run dial them.
    let (status, _, said) = farm.serve(&file, &flags).end().await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("3 of 3 sessions are quarantined"), "{said}");
}
