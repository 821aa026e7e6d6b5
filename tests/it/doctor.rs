//! `telepool doctor`, run as users run it, against the sandbox and against what is no data centre at all.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use telepool::AccountId;
use telepool::sandbox::{DataCentre, DataCentreOptions, Fault, FaultPlan, FaultRule};
use telepool::session::lines;

use crate::command::{Running, fresh, run, telepool};

/// The steps of each engine, in order, with keys of a sandbox.
const STEPS: [(&str, &str); 27] = [
    ("grammers", "help.getConfig"),
    ("grammers", "help.getNearestDc"),
    ("grammers", "help.getAppConfig"),
    ("grammers", "users.getUsers"),
    ("grammers", "ping"),
    ("grammers", "many calls at once"),
    ("grammers", "a call after 1s"),
    ("grammers", "close"),
    ("wire", "help.getConfig"),
    ("wire", "help.getNearestDc"),
    ("wire", "help.getAppConfig"),
    ("wire", "users.getUsers"),
    ("wire", "ping"),
    ("wire", "opening"),
    ("wire", "many calls at once"),
    ("wire", "a call after 1s"),
    ("wire", "cut off"),
    ("wire", "opened anew with its salt"),
    ("wire", "close in good order"),
    ("wire", "no more pings"),
    ("wire", "a wrong salt"),
    ("wire", "a clock an hour ahead"),
    ("wire", "a clock an hour behind"),
    ("wire", "an unknown key"),
    ("both", "help.getConfig compared"),
    ("both", "help.getNearestDc compared"),
    ("both", "help.getAppConfig compared"),
];

fn account() -> AccountId {
    "+9996620001".parse().unwrap()
}

/// What a server says of a key that nobody is logged in with.
fn nobody() -> FaultRule {
    let message = "AUTH_KEY_UNREGISTERED".into();
    FaultRule::new("users.getUsers", Fault::Error { code: 401, message })
}

/// A sandbox, and the file of its sessions.
struct Bench {
    data_centre: DataCentre,
    sessions: PathBuf,
}

impl Bench {
    async fn new(name: &str, rules: impl IntoIterator<Item = FaultRule>) -> Self {
        let mut options = DataCentreOptions::default();
        options.faults = FaultPlan::new(rules).unwrap();
        let data_centre = DataCentre::start(options).await.unwrap();
        let sessions = fresh(name);
        let mut file = std::fs::File::create(&sessions).unwrap();
        for record in data_centre.create_sessions(account(), 2, None) {
            lines::write_line(&mut file, &record).unwrap();
        }
        Self { data_centre, sessions }
    }

    fn arguments(&self) -> Vec<String> {
        let address = self.data_centre.address();
        let mut arguments = at(address);
        arguments.push(format!("--sandbox-sessions={}", self.sessions.display()));
        arguments
    }

    /// Runs it to its end.
    async fn examine(&self, more: &[&str]) -> (Option<i32>, String, String) {
        let mut arguments = self.arguments();
        arguments.extend(more.iter().map(|&it| it.to_owned()));
        tokio::task::spawn_blocking(move || doctor(&arguments)).await.unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        std::fs::remove_file(&self.sessions).ok();
    }
}

/// Quick, at this address.
fn at(address: SocketAddr) -> Vec<String> {
    let address = format!("--address={address}");
    ["doctor", "--test-servers", "--idle=1s", "--disconnect-after=1s", &address]
        .map(str::to_owned)
        .into()
}

fn doctor(arguments: &[String]) -> (Option<i32>, String, String) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = telepool(&arguments).env("TELEPOOL_API_ID", "1").output().unwrap();
    let Output { status, stdout, stderr } = output;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// The row of a step.
fn row<'a>(table: &'a str, engine: &str, step: &str) -> &'a str {
    let is_meant = |line: &&str| {
        let rest = line.strip_prefix(engine).map(str::trim_start);
        rest.is_some_and(|rest| rest.starts_with(step) && rest[step.len()..].starts_with("  "))
    };
    table.lines().find(is_meant).unwrap_or_else(|| panic!("no {engine} {step} in\n{table}"))
}

fn numbers(value: &Value, all: &mut Vec<f64>) {
    match value {
        Value::Number(number) => all.extend(number.as_f64()),
        Value::Array(values) => values.iter().for_each(|it| numbers(it, all)),
        Value::Object(fields) => fields.values().for_each(|it| numbers(it, all)),
        _ => {}
    }
}

fn captured(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_comes_as_expected_and_the_capture_tells_no_key_no_salt_and_no_id() {
    let bench = Bench::new("doctor.jsonl", [nobody()]).await;
    let capture = fresh("doctor-capture.jsonl");
    let more = format!("--capture={}", capture.display());
    let (code, table, stderr) = bench.examine(&[&more]).await;
    assert_eq!(code, Some(0), "{table}{stderr}");
    for (engine, step) in STEPS {
        assert!(row(&table, engine, step).contains("  ok  "), "{table}");
    }
    let address = bench.data_centre.address().to_string();
    assert!(stderr.contains(&address) && stderr.contains("No account, no login"), "{stderr}");
    assert!(stderr.contains("came as expected"), "{stderr}");
    let stats = bench.data_centre.stats();
    assert_eq!((stats.connections, stats.key_violations, stats.keys_unknown), (0, 0, 1));
    let lines = captured(&capture);
    let said = |name: &str| lines.iter().filter(|line| line["said"] == *name).count();
    for name in ["new_session_created", "bad_server_salt", "bad_msg_notification", "pong"] {
        assert!(said(name) > 0, "{name}");
    }
    assert!(said("rpc_result") > 5 && said("future_salts") > 0 && said("msg_container") > 0);
    let packed = lines.iter().find(|line| line["packed_len"].is_number()).unwrap();
    assert_eq!(packed["answer"], "help.appConfig");
    let ended = |line: &&Value| line["ended"].is_string() && line["counts"].is_object();
    assert!(lines.iter().filter(ended).count() > 5);
    // Ids and salts have 64 bits.
    let mut all = Vec::new();
    lines.iter().for_each(|line| numbers(line, &mut all));
    assert!(all.len() > 200 && all.iter().all(|number| number.abs() < 1e9), "{all:?}");
    std::fs::remove_file(capture).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_otherwise_is_told_for_what_it_is() {
    let odd = Fault::Error { code: 400, message: "ODD".into() };
    // The first of both engines gets it, and the other does not.
    let odd = FaultRule::new("help.getAppConfig", odd).limit(1);
    let bench = Bench::new("doctor-odd.jsonl", [odd]).await;
    let (code, table, stderr) = bench.examine(&[]).await;
    assert_eq!(code, Some(1), "{table}{stderr}");
    let logged_in = row(&table, "wire", "users.getUsers");
    assert!(logged_in.contains("DIFFERS") && logged_in.contains("logged in"), "{table}");
    let odd = row(&table, "grammers", "help.getAppConfig");
    assert!(odd.contains("DIFFERS") && odd.contains("400 ODD"), "{table}");
    assert!(row(&table, "wire", "help.getAppConfig").contains("  ok  "), "{table}");
    let compared = row(&table, "both", "help.getAppConfig compared");
    assert!(compared.contains("DIFFERS") && compared.contains("grammers: 400 ODD"), "{table}");
    assert!(stderr.contains("4 came otherwise and 0 failed"), "{stderr}");
    assert!(stderr.contains("--capture FILE"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_in_the_middle_fails_its_step_and_the_others_go_on() {
    let close = FaultRule::new("help.getNearestDc", Fault::Close).limit(2);
    let bench = Bench::new("doctor-close.jsonl", [nobody(), close]).await;
    let (code, table, stderr) = bench.examine(&[]).await;
    assert_eq!(code, Some(1), "{table}{stderr}");
    for engine in ["grammers", "wire", "both"] {
        let step =
            if engine == "both" { "help.getNearestDc compared" } else { "help.getNearestDc" };
        assert!(row(&table, engine, step).contains("failed"), "{table}");
    }
    assert!(row(&table, "both", "help.getConfig compared").contains("  ok  "), "{table}");
    assert!(!table.contains("ping"), "{table}");
    assert_eq!(bench.data_centre.stats().key_violations, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_connections_and_answers_nothing_is_not_reached() {
    for (name, fault) in
        [("doctor-hang-up.jsonl", Fault::Close), ("doctor-silent.jsonl", Fault::Silence)]
    {
        let bench = Bench::new(name, [FaultRule::new("connect", fault)]).await;
        let (code, table, stderr) = bench.examine(&["--patience=1s"]).await;
        assert_eq!(code, Some(2), "{table}{stderr}");
        assert!(stderr.contains("answers nothing") && stderr.contains("--address"), "{stderr}");
        assert!(row(&table, "wire", "help.getConfig").contains("failed"), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_another_key_than_telegrams_is_told_so() {
    let bench = Bench::new("doctor-keys.jsonl", []).await;
    let arguments = at(bench.data_centre.address());
    let (code, table, stderr) =
        tokio::task::spawn_blocking(move || doctor(&arguments)).await.unwrap();
    assert_eq!(code, Some(1), "{table}{stderr}");
    let agreement = row(&table, "grammers", "key agreement");
    assert!(agreement.contains("DIFFERS") && agreement.contains("none of the keys"), "{table}");
}

#[test]
fn nobody_a_server_that_hangs_up_and_a_silent_one_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let quick = || [at(address), vec!["--patience=500ms".to_owned()]].concat();
    // The kernel takes the connection, and nobody the bytes.
    let (code, table, stderr) = doctor(&quick());
    assert_eq!(code, Some(2), "{table}{stderr}");
    assert!(stderr.contains("the server was silent for 500ms"), "{stderr}");
    let serving = std::thread::spawn(move || {
        // That of the silent run is still in the queue.
        for stream in listener.incoming().take(2) {
            drop(stream.unwrap().read(&mut [0; 64]));
        }
    });
    let (code, _, stderr) = doctor(&quick());
    serving.join().unwrap();
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("the server has hung up"), "{stderr}");
    let (code, table, stderr) = doctor(&quick());
    assert_eq!(code, Some(2), "{table}{stderr}");
    assert!(stderr.contains("refused") && stderr.contains("name another one"), "{stderr}");
}

#[test]
fn without_being_told_to_it_dials_nothing_and_what_will_not_do_is_refused() {
    let (code, stdout, stderr) = run(&["doctor"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("--test-servers") && stdout.contains("no account"), "{stdout}");
    let there = fresh("doctor-there.jsonl");
    std::fs::write(&there, "").unwrap();
    let there = format!("--capture={}", there.display());
    for (arguments, words) in [
        (vec!["--idle=1s"], "--test-servers"),
        (vec!["--data-centre=2"], "--test-servers"),
        (vec!["--test-servers", "--data-centre=4"], "from 1 to 3"),
        (vec!["--test-servers", "--disconnect-after=1500ms"], "whole seconds"),
        (vec!["--test-servers", "--address=149.154.167.41:80"], "where accounts live"),
        (vec!["--test-servers", "--address=[::ffff:149.154.167.41]:80"], "where accounts live"),
        (vec!["--test-servers", "--sandbox-sessions=x"], "--address"),
        (
            vec!["--test-servers", "--address=192.0.2.1:443", "--sandbox-sessions=x"],
            "for a sandbox on this machine",
        ),
        (
            vec!["--test-servers", "--address=127.0.0.1:1", "--sandbox-sessions=/none"],
            "cannot be read",
        ),
        (vec!["--test-servers", "--address=127.0.0.1:1", &there], "choose another file"),
    ] {
        let arguments = [vec!["doctor"], arguments].concat();
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let (code, stdout, stderr) = doctor(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words) && stdout.is_empty(), "{arguments:?}: {stderr}");
    }
    let (code, _, stderr) = run(&["doctor", "--test-servers", "--address=127.0.0.1:1"]);
    assert!(code == Some(2) && stderr.contains("TELEPOOL_API_ID is not set"), "{stderr}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_it_and_closes_what_is_open_and_tells_what_has_come() {
    for (engine, step, times) in [
        ("grammers", "many calls at once", ["--idle=1h", "--disconnect-after=1s"]),
        ("wire", "close in good order", ["--idle=1s", "--disconnect-after=1h"]),
    ] {
        let bench = Bench::new("doctor-stop.jsonl", [nobody()]).await;
        let mut arguments = bench.arguments();
        arguments.retain(|it| !it.starts_with("--idle=") && !it.starts_with("--disconnect-after="));
        arguments.extend(times.map(str::to_owned));
        let words = if engine == "wire" { "no more pings" } else { "grammers idles" };
        let stopped = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let mut running = Running::of(telepool(&arguments).env("TELEPOOL_API_ID", "1"));
            running.line_with(words);
            running.signal("-INT");
            running.end_with_log()
        });
        let (code, table, stderr) = stopped.await.unwrap();
        assert_eq!(code, Some(130), "{table}{stderr}");
        assert!(stderr.contains("ended before its time"), "{stderr}");
        assert!(row(&table, engine, step).contains("  ok  "), "{table}");
        assert!(!table.contains("a wrong salt") && !table.contains("compared"), "{table}");
        let is_quiet = async || {
            while bench.data_centre.stats().connections > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), is_quiet()).await.unwrap();
        assert_eq!(bench.data_centre.stats().key_violations, 0);
    }
}
