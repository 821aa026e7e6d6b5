//! The command, run as users run it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

pub(crate) fn telepool(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_telepool"));
    command.args(arguments).env_remove("TELEPOOL_API_ID");
    command.env_remove("TELEPOOL_LOG").env_remove("TELEPOOL_LOG_FORMAT");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = telepool(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A path in the build's own folder that nothing stands at.
pub(crate) fn fresh(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("{}-{name}", std::process::id()));
    std::fs::remove_file(&path).ok();
    path
}

/// The summary's numbers by name; all of them have to be there.
fn checked(stdout: &str) -> Value {
    let summary: Value = serde_json::from_str(stdout).unwrap();
    for key in [
        "accounts",
        "sessions",
        "acquires",
        "calls",
        "calls_failed",
        "calls_faulted",
        "connections_created",
        "connections_reused",
        "connections_closed",
        "reuse_ratio",
        "quarantined_before",
        "key_violations",
        "seed",
    ] {
        assert!(summary[key].is_number(), "{key} in {stdout}");
    }
    for (key, parts) in
        [("acquire_wait_us", &["p50", "p99", "max"][..]), ("call_ms", &["p50", "p99"])]
    {
        parts.iter().for_each(|part| assert!(summary[key][part].is_number(), "{key}.{part}"));
    }
    let number = |key: &str| summary[key].as_u64().unwrap();
    assert_eq!(number("connections_created"), number("connections_closed"));
    assert!(number("connections_reused") <= number("acquires"));
    summary
}

/// A running command and the lines of its standard error.
pub(crate) struct Running {
    child: Child,
    told: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        Self::of(&mut telepool(arguments))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        Self { child, told }
    }

    /// Reads on until a line has these words, and answers with the address that follows them.
    pub(crate) fn address_after(&mut self, words: &str) -> SocketAddr {
        let mut told = String::new();
        for _ in 0..20 {
            let mut line = String::new();
            self.told.read_line(&mut line).unwrap();
            if let Some((_, rest)) = line.split_once(words) {
                let end = rest.find([',', '/', ' ']).unwrap();
                return rest[..end].parse().unwrap();
            }
            told.push_str(&line);
        }
        panic!("{words:?} was not told: {told}");
    }

    /// Reads on until a line has these words.
    pub(crate) fn line_with(&mut self, words: &str) -> String {
        let mut told = String::new();
        for _ in 0..20 {
            let mut line = String::new();
            self.told.read_line(&mut line).unwrap();
            if line.contains(words) {
                return line;
            }
            told.push_str(&line);
        }
        panic!("{words:?} was not told: {told}");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    pub(crate) fn end(self) -> (Option<i32>, String) {
        let (code, stdout, _) = self.end_with_log();
        (code, stdout)
    }

    /// Waits for its end; answers with what it has said besides.
    pub(crate) fn end_with_log(mut self) -> (Option<i32>, String, String) {
        let (mut stdout, mut told) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.told.read_to_string(&mut told).unwrap();
        (self.child.wait().unwrap().code(), stdout, told)
    }
}

/// A test that fails leaves no process behind.
impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// One request, and the answer with its head.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const SMALL: [&str; 9] = [
    "serve",
    "--sandbox",
    "--json",
    "--accounts=20",
    "--concurrency=16",
    "--latency=1ms",
    "--seed=7",
    "--listen",
    "127.0.0.1:0",
];

fn small(more: &[&'static str]) -> Vec<&'static str> {
    SMALL.iter().chain(more).copied().collect()
}

#[test]
fn a_sandbox_run_ends_by_itself_and_tells_what_it_came_to() {
    let (code, stdout, stderr) = run(&small(&["--duration", "1s"]));
    assert_eq!(code, Some(0), "{stderr}");
    let summary = checked(&stdout);
    assert_eq!((&summary["accounts"], &summary["seed"]), (&20.into(), &7.into()));
    assert_eq!((&summary["calls_failed"], &summary["key_violations"]), (&0.into(), &0.into()));
    assert!(summary["calls"].as_u64() > Some(100), "{stdout}");
}

#[test]
fn faults_that_were_injected_are_no_failures() {
    let faults = fresh("faults.toml");
    std::fs::write(
        &faults,
        "[[rule]]\non = \"*\"\nfault = \"close\"\nchance = 0.01\n\n\
         [[rule]]\non = \"users.getUsers\"\nfault = \"error\"\ncode = 500\nmessage = \"OOPS\"\n\
         chance = 0.05\n",
    )
    .unwrap();
    let path = faults.to_str().unwrap().to_owned();
    let mut arguments = small(&["--duration", "2s", "--faults"]);
    arguments.push(&path);
    let (code, stdout, stderr) = run(&arguments);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let summary = checked(&stdout);
    assert!(summary["calls_faulted"].as_u64() > Some(0), "{stdout}");
    assert_eq!((&summary["calls_failed"], &summary["key_violations"]), (&0.into(), &0.into()));
    std::fs::remove_file(faults).unwrap();
}

#[cfg(unix)]
#[test]
fn ctrl_c_and_sigterm_end_a_run_in_order_and_the_numbers_are_served_meanwhile() {
    for signal in ["-INT", "-TERM"] {
        let mut running = Running::start(&SMALL);
        let address = running.address_after("metrics on http://");
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"));
        let metrics = get(address, "/metrics");
        assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
        assert!(metrics.contains("\ntelepool_acquires_total{"), "{metrics}");
        assert!(metrics.contains("group=\"bots\"") && metrics.contains("group=\"users\""));
        assert!(!metrics.contains("99960000"), "no number of an account is in it");
        running.signal(signal);
        let (code, stdout) = running.end();
        assert_eq!(code, Some(0), "{stdout}");
        checked(&stdout);
    }
}

#[cfg(unix)]
#[test]
fn sessions_of_a_file_are_served_against_a_data_centre_of_its_own() {
    let sessions = fresh("sessions.jsonl");
    let path = sessions.to_str().unwrap();
    let arguments = ["datacenter", "--accounts", "5", "--latency", "0ms", "--out", path];
    let mut data_centre = Running::start(&arguments);
    data_centre.address_after("listens on ");
    let serve = [
        "serve",
        "--json",
        "--rate=200",
        "--concurrency=8",
        "--duration=2s",
        "--listen=127.0.0.1:0",
        "--sessions",
        path,
    ];
    let output = telepool(&serve).env("TELEPOOL_API_ID", "1").output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    assert_eq!(checked(&stdout)["accounts"], 5);
    let (code, _, again) = run(&arguments);
    assert!(code == Some(2) && again.contains("not overwritten"), "{again}");
    data_centre.signal("-INT");
    let (code, stdout) = data_centre.end();
    assert_eq!(code, Some(0));
    let stats: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&stats["key_violations"], &stats["connections"]), (&0.into(), &0.into()));
    std::fs::remove_file(sessions).unwrap();
}

#[cfg(unix)]
#[test]
fn a_session_that_was_quarantined_is_not_dialled_by_the_next_run() {
    let [sessions, state, faults] = ["doomed.jsonl", "state.jsonl", "doom.toml"].map(fresh);
    let [path, state_path, plan] = [&sessions, &state, &faults].map(|it| it.to_str().unwrap());
    let doom = "[[rule]]\non = \"updates.getState\"\nfault = \"error\"\ncode = 406\n\
                message = \"AUTH_KEY_DUPLICATED\"\n";
    std::fs::write(&faults, doom).unwrap();
    let mut data_centre = Running::start(&[
        "datacenter",
        "--accounts=5",
        "--latency=0ms",
        "--faults",
        plan,
        "--out",
        path,
    ]);
    data_centre.address_after("listens on ");
    let count = std::fs::read_to_string(&sessions).unwrap().lines().count();
    for words in ["a call failed", "every session is quarantined"] {
        let serve = [
            "serve",
            "--json",
            "--rate=200",
            "--concurrency=8",
            // Ends with the last session. After a failure an account rests, up to one second and then
            // up to two, so that its third session's turn may come after three.
            "--duration=8s",
            "--listen=127.0.0.1:0",
            "--set=dial.per_second=1000",
            "--sessions",
            path,
            "--state",
            state_path,
        ];
        let output = telepool(&serve).env("TELEPOOL_API_ID", "1").output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
        let kept = std::fs::read_to_string(&state).unwrap();
        assert_eq!(kept.matches("key_duplicated").count(), count, "{kept}");
    }
    data_centre.signal("-INT");
    let stats: Value = serde_json::from_str(&data_centre.end().1).unwrap();
    assert_eq!(
        stats["connections_total"], count,
        "each session was dialled once, in the first run"
    );
    let lock = state.with_extension("jsonl.lock");
    for path in [sessions, state, lock, faults] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn bad_input_is_refused_by_name_before_anything_starts() {
    let broken = fresh("broken.jsonl");
    std::fs::write(&broken, "{\"phone\": \"12\", \"session\": \"x\"}\n").unwrap();
    let broken = broken.to_str().unwrap();
    let settings = fresh("settings.toml");
    std::fs::write(&settings, "[pool]\nmax_idle_tine = 5\n").unwrap();
    let settings = settings.to_str().unwrap();
    for (arguments, words) in [
        (vec!["serve"], "--sandbox"),
        (vec!["serve", "--sandbox", "--accounts", "0"], "from 1 to 1000000"),
        (vec!["serve", "--sandbox", "--latency", "soon"], "250ms"),
        (vec!["serve", "--sandbox", "--faults", "/none"], "none, mixed or a TOML file"),
        (vec!["serve", "--sandbox", "--faults", settings], "unknown field `pool`"),
        (vec!["serve", "--sandbox", "--config", settings], "did you mean pool.max_idle_time"),
        (vec!["serve", "--sandbox", "--config", "/none"], "cannot read /none"),
        (vec!["config", "--config", "/none"], "give --config a file in TOML"),
        (vec!["serve", "--sandbox", "--set", "pool.max_connections=0"], "from 1 to"),
        (vec!["serve", "--sandbox", "--listen", "0.0.0.0:0"], "give --tokens FILE"),
        (vec!["serve", "--sandbox", "--sessions", broken], "cannot be used with"),
        (vec!["serve", "--sessions", "/none"], "--sessions /none: cannot be read"),
        (vec!["serve", "--sessions", "/none"], "give a file with one line of JSON per session"),
        (vec!["serve", "--sessions", broken], "line 1"),
        (
            vec!["serve", "--sessions", broken, "--disconnect-delay-max", "1s"],
            "--disconnect-delay-max belongs to --sandbox",
        ),
        (vec!["serve", "--sessions", broken, "--incoming", "5"], "--incoming belongs to --sandbox"),
        (
            vec!["serve", "--sessions", broken, "--send-limits"],
            "--send-limits belongs to --sandbox",
        ),
        (vec!["serve", "--sandbox", "--state", broken], "cannot be used with"),
        (vec!["datacenter", "--out", "/none/x", "--listen", "192.0.2.1:0"], "not on the loopback"),
        (vec!["datacenter", "--out", broken], "not overwritten"),
        (vec!["datacenter", "--out", "/none/x", "--listen", "9464"], "such as 127.0.0.1:9464"),
        (vec!["serve", "--sandbox", "--seed", "abc"], "a whole number from 0 to"),
        (vec!["config", "--set", "pool=5"], "pool is a section"),
        (vec!["datacenter", "--out", "/none/x"], "--out /none/x"),
    ] {
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words) && stdout.is_empty(), "{arguments:?}: {stderr}");
    }
    for path in [broken, settings] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn an_address_that_is_taken_ends_every_command_with_the_status_of_what_another_process_has() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for arguments in [
        &["serve", "--sandbox", "--listen", &taken][..],
        &["datacenter", "--out", "/none/x", "--listen", &taken],
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!(code, Some(3), "{arguments:?}: {stderr}");
        let words = format!("--listen {taken}: another process listens there");
        assert!(stderr.contains(&words) && stderr.contains("0 for any free one"), "{stderr}");
        assert!(stdout.is_empty(), "{stdout}");
    }
    let (_, help, _) = run(&["--help"]);
    assert!(help.contains("3    another process has what is needed: sessions, a state file"));
}

/// So many keys take a while.
#[cfg(unix)]
#[test]
fn a_data_centre_that_still_makes_its_keys_tells_how_far_it_is_and_ends_when_it_is_asked_to() {
    let out = fresh("endless.jsonl");
    let path = out.to_str().unwrap();
    let many = ["--accounts=1000000", "--sessions-per-account=4", "--seed=7"];
    for (command, code) in [
        (&["datacenter", "--out", path][..], 130),
        (&["serve", "--sandbox", "--listen=127.0.0.1:0"], 130),
    ] {
        let mut running = Running::start(&[command, &many].concat());
        let mut told = String::new();
        running.told.read_line(&mut told).unwrap();
        assert!(told.contains("making the keys of accounts: "), "{told}");
        assert!(told.contains(" of 1000000; Ctrl-C ends it"), "{told}");
        running.signal("-INT");
        let (ended, stdout, log) = running.end_with_log();
        assert_eq!(ended, Some(code), "{log}");
        assert!(log.contains("ended before its time"), "{log}");
        assert!(stdout.is_empty() && !out.exists(), "{stdout}");
    }
}

#[test]
fn an_application_id_that_is_none_is_refused_and_not_repeated() {
    let sessions = fresh("sound.jsonl");
    let session = telepool::session::telethon_string(
        2,
        "127.0.0.1:1".parse().unwrap(),
        &telepool::session::AuthKey::new([7; 256]),
    )
    .unwrap();
    let line = format!("{{\"phone\": \"+442079460958\", \"session\": \"{}\"}}\n", *session);
    std::fs::write(&sessions, line).unwrap();
    let path = sessions.to_str().unwrap();
    let hash = "0123456789abcdef0123456789abcdef";
    for (value, words) in [
        (format!("12345:{hash}"), "is more than the digits before its colon"),
        (hash.to_owned(), "is no number"),
        ("\"12345\"".to_owned(), "has quotes around it"),
        (String::new(), "is not set"),
        ("0".to_owned(), "is no number from 1"),
        ("99999999999".to_owned(), "is no number from 1"),
    ] {
        let output = telepool(&["serve", "--sessions", path, "--listen=127.0.0.1:0"])
            .env("TELEPOOL_API_ID", &value)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(&format!("TELEPOOL_API_ID {words}")), "{stderr}");
        assert!(!stderr.contains("abcdef") && stderr.contains("my.telegram.org"), "{stderr}");
    }
    std::fs::remove_file(sessions).unwrap();
}

#[test]
fn a_file_of_another_kind_is_told_once_and_a_folder_by_name() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let database = fresh("442079460001.session");
    std::fs::write(&database, b"SQLite format 3\0\x10\0\n\n{\nx\ny\n").unwrap();
    for (path, words) in [
        (folder, "it is a folder: give a file with one line of JSON per session"),
        (database.to_str().unwrap(), "this is an SQLite database"),
    ] {
        let (code, _, stderr) = run(&["serve", "--sessions", path]);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(words) && stderr.lines().count() == 1, "{stderr}");
    }
    std::fs::remove_file(database).unwrap();
}

#[test]
fn an_empty_setting_of_the_environment_is_none() {
    let output = telepool(&["config"])
        .env("TELEPOOL_POOL__MAX_IDLE_TIME", "")
        .env("TELEPOOL_DATA_CENTRES__2", "")
        .output()
        .unwrap();
    let (stdout, stderr) = (output.stdout, String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(String::from_utf8(stdout).unwrap(), run(&["config"]).1);
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let secret = "S".repeat(353);
    let token = format!("5000000000:{}", "S".repeat(35));
    let lines = fresh("misplaced.jsonl");
    let line = format!("{{\"phone\": \"+447912345678\", \"session\": \"1{secret}\"}}\n");
    std::fs::write(&lines, line).unwrap();
    let file = lines.to_str().unwrap();
    for arguments in [
        &["config", "--config", file][..],
        &["serve", "--sandbox", "--faults", file],
        &["datacenter", "--out", "/nonexist/x", "--faults", file],
        &["state", "list", "--state", file],
        &["config", "--set", &secret],
        &["config", "--set", "data_centres.2=u:SSSSSS@127.0.0.1:1"],
        &["serve", "--sessions", &secret],
        &["serve", &secret],
        &["serve", &token],
        &["serve", "--sandbox", "--listen", &secret],
        &["state", "reinstate", "--state", "/nonexist", &token],
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert!(matches!(code, Some(1 | 2)), "{code:?} {stderr}");
        assert!(!stderr.contains("SSSSSS") && !stderr.contains("447912345678"), "{stderr}");
        assert!(stdout.is_empty() && stderr.len() < 700, "{stderr}");
    }
    for value in [&secret, &token] {
        let said = telepool(&["config"]).env("TELEPOOL_LOG", value).output().unwrap();
        let stderr = String::from_utf8(said.stderr).unwrap();
        assert!(said.status.code() == Some(2) && !stderr.contains("SSSSSS"), "{stderr}");
    }
    std::fs::remove_file(lines).unwrap();
}
