//! `telepool serve` in its surroundings: a socket in the file system, few files, little time to end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::Value;

use crate::command::{fresh, run, telepool};

const RUN: [&str; 5] = ["serve", "--sandbox", "--json", "--latency=1ms", "--seed=7"];

/// A run, and what it has said so far.
pub(crate) struct Run {
    child: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
}

impl Run {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, said: String::new() }
    }

    pub(crate) fn small(more: &[&str]) -> Self {
        Self::start(telepool(&RUN).args(["--accounts=4", "--concurrency=2"]).args(more))
    }

    /// Reads on until a line has these words, and answers with it.
    pub(crate) fn until(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            let length = self.stderr.read_line(&mut line).unwrap();
            assert!(length > 0, "{words:?} was not said: {}", self.said);
            self.said.push_str(&line);
            if line.contains(words) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Its status, its standard output, and all that it has said.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        let mut stdout = String::new();
        self.stderr.read_to_string(&mut self.said).unwrap();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        (self.child.wait().unwrap().code(), stdout, std::mem::take(&mut self.said))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn ask(mut stream: impl Read + Write, path: &str) -> String {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn over(socket: &Path, path: &str) -> String {
    ask(UnixStream::connect(socket).unwrap(), path)
}

#[test]
fn the_numbers_are_served_on_a_socket_that_only_its_user_can_reach() {
    let socket = fresh("numbers.sock");
    let place = format!("--listen=unix:{}", socket.display());
    let mut first = Run::small(&[&place]);
    let told = first.until("metrics on ");
    assert!(told.contains(&format!("curl --unix-socket {}", socket.display())), "{told}");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(over(&socket, "/metrics").contains("\ntelepool_acquires_total{"));
    for path in ["/healthz", "/readyz"] {
        assert!(over(&socket, path).starts_with("HTTP/1.1 200"), "{path}");
    }

    // Whoever comes second leaves it alone, and is told so.
    let (code, _, stderr) = run(&[&RUN[..], &[&place]].concat());
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("another process listens there"), "{stderr}");
    assert!(over(&socket, "/healthz").starts_with("HTTP/1.1 200"));

    // One that is killed leaves its socket, and the next run takes its place.
    first.signal("-KILL");
    drop(first);
    assert!(std::fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
    let mut second = Run::small(&[&place]);
    second.until("metrics on ");
    assert!(over(&socket, "/healthz").starts_with("HTTP/1.1 200"));
    second.signal("-TERM");
    let (code, _, stderr) = second.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!socket.exists(), "a run that ends in order removes it");
}

#[test]
fn what_is_no_socket_is_never_removed_and_no_other_address_is_served() {
    let file = fresh("precious");
    std::fs::write(&file, "precious").unwrap();
    for (listen, words) in [
        (format!("unix:{}", file.display()), "something that is no socket"),
        (format!("unix:{}/x", file.display()), "in a folder that is there"),
        (format!("unix:/tmp/{}", "x".repeat(200)), "at most 100 bytes"),
        ("unix:".into(), "must name a path after unix:"),
        ("0.0.0.0:9464".into(), "a socket such as unix:/run/telepool/http.sock"),
        ("172.17.0.1:9464".into(), "a socket such as unix:/run/telepool/http.sock"),
        ("9464".into(), "or a socket such as unix:"),
    ] {
        let (code, _, stderr) = run(&[&RUN[..], &["--listen", &listen]].concat());
        assert_eq!(code, Some(2), "{listen}: {stderr}");
        assert!(stderr.contains(words), "{listen}: {stderr}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    std::fs::remove_file(file).unwrap();
}

/// The command under a limit of open files, hard and soft.
fn limited(files: u32, more: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &files.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_telepool")).args(RUN).args(more);
    command.env_remove("TELEPOOL_LOG").env_remove("TELEPOOL_LOG_FORMAT");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn with_few_files_there_are_fewer_connections_and_everybody_is_served() {
    let accounts = ["--accounts=300", "--sessions-per-account=1", "--rate=300"];
    let short = ["--duration=4s", "--listen=127.0.0.1:0"];
    let mut run = Run::start(&mut limited(120, &[&accounts[..], &short].concat()));
    let told = run.until("pool.max_connections is ");
    let (_, rest) = told.split_once("pool.max_connections is ").unwrap();
    let cap: u64 = rest.split(' ').next().unwrap().parse().unwrap();
    assert!(told.contains("may open 120 files") && told.contains("instead of 10000"), "{told}");
    assert!((10..=44).contains(&cap), "two files each, and some for all else: {told}");
    let address = run.until("metrics on http://");
    let address = address.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let mut opened = 0;
    for _ in 0..15 {
        let numbers = ask(TcpStream::connect(&address).unwrap(), "/metrics");
        assert!(numbers.contains(&format!("\ntelepool_pool_connections_max {cap}\n")), "{numbers}");
        opened = numbers.matches("telepool_connection_opens_total{").count();
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    assert!(opened > 0);
    let (code, stdout, said) = run.end();
    assert_eq!(code, Some(0), "{stdout}{said}");
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    for none in ["calls_failed", "acquires_failed", "dials_failed", "connections_left"] {
        assert_eq!(summary[none], 0, "{none}: {stdout}{said}");
    }
    assert!(summary["connections_created"].as_u64() > Some(cap), "it was at its cap: {stdout}");
    assert_eq!(said.matches("pool.max_connections is").count(), 1, "{said}");
    assert!(!said.contains("lock"), "a sandbox of its own takes none: {said}");
}

#[test]
fn so_few_files_that_nothing_could_be_opened_are_refused_with_what_to_do() {
    let run = Run::start(&mut limited(40, &["--accounts=3", "--listen=127.0.0.1:0"]));
    let (code, stdout, said) = run.end();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("may open 40 files") && said.contains("ulimit -n"), "{said}");
    assert!(stdout.is_empty());
    // And a run that has enough is not bothered.
    let run = Run::start(&mut limited(
        120,
        &["--accounts=3", "--duration=200ms", "--listen=127.0.0.1:0"],
    ));
    let (code, _, said) = run.end();
    assert!(code == Some(0) && !said.contains("max_connections"), "{said}");
}

#[test]
fn a_run_that_is_asked_to_end_says_so_and_waits_no_longer_than_a_container_is_given() {
    // The data centre answers no call: whoever makes one waits for as long as it may.
    let faults = fresh("silence.toml");
    std::fs::write(
        &faults,
        "[[rule]]\non = \"ping\"\nfault = \"silence\"\n\n[[rule]]\non = \"users.getUsers\"\n\
         fault = \"silence\"\n\n[[rule]]\non = \"messages.sendMessage\"\nfault = \"silence\"\n",
    )
    .unwrap();
    let path = faults.to_str().unwrap();
    let wait = "--set=pool.drain_timeout=0.3";
    let mut run = Run::small(&["--listen=127.0.0.1:0", "--faults", path, wait, "--duration=1s"]);
    run.until("closing, for at most 0.3 s (pool.drain_timeout)");
    run.until("callers were still busy 300ms after the end");
    let (_, stdout, _) = run.end();
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(summary["connections_left"], 0, "{stdout}");
    assert!(summary["duration_s"].as_f64() > summary["worked_s"].as_f64(), "{stdout}");
    std::fs::remove_file(faults).unwrap();

    let mut run = Run::small(&["--listen=127.0.0.1:0"]);
    run.until("metrics on ");
    run.signal("-TERM");
    let told = run.until("closing, for at most");
    assert!(told.contains("at most 6 s"), "10 s, less those of close_timeout and some: {told}");
    assert_eq!(run.end().0, Some(0));
}

#[test]
fn a_flood_of_a_day_on_every_login_makes_a_run_not_ready() {
    let faults = fresh("flood.toml");
    let rule = "[[rule]]\non = \"initConnection\"\nfault = \"flood_wait\"\nseconds = 86400\n";
    std::fs::write(&faults, rule).unwrap();
    let mut run = Run::small(&["--listen=127.0.0.1:0", "--faults", faults.to_str().unwrap()]);
    let address = run.until("metrics on http://");
    let address = address.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let words = "all 4 accounts rest; the first is dialled again in 86";
    let answer = (0..1000).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let answer = ask(TcpStream::connect(&address).unwrap(), "/readyz");
        answer.contains(words).then_some(answer)
    });
    let answer = answer.expect("it is not ready in the end");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("FLOOD_WAIT"), "{answer}");
    run.signal("-TERM");
    run.end();
    std::fs::remove_file(faults).unwrap();
}

#[test]
fn rules_that_would_never_strike_or_are_written_otherwise_are_refused_with_what_would_do() {
    let faults = fresh("rules.toml");
    let path = faults.to_str().unwrap();
    let out = fresh("rules-sessions.jsonl");
    let rule = "[[rule]]\non = \"ping\"\nfault = \"close\"\n";
    let range = "with --accounts 4 it has the phones from +9996000001 to +9996000003";
    let brackets = "write [[rule]] above each rule";
    for (text, words) in [
        (format!("{rule}account = \"+9996000004\"\n"), vec!["rule 1", "+9996000004", range]),
        (format!("{rule}{rule}account = \"+9996000000\"\n"), vec!["rule 2", "+9996000000", range]),
        (format!("{rule}account = \"bot:5000000001\"\n"), vec!["bot:5000000001", range]),
        (format!("{rule}account = \"+442079460958\"\n"), vec!["+4420******58", range]),
        (format!("{rule}chance = \"0.5\"\n"), vec!["expected a number, such as 0.5"]),
        ("[[rule]]\non = \"ping\"\n".into(), vec!["missing field `fault`: add it"]),
        (rule.replace("[[rule]]", "[rule]"), vec!["line 1", brackets]),
        (rule.replace("[[rule]]", "[[rules]]"), vec!["unknown field `rules`", brackets]),
        (rule.replace("[[rule]]", ""), vec!["unknown field `", brackets]),
    ] {
        std::fs::write(&faults, &text).unwrap();
        for command in [
            &["serve", "--sandbox", "--accounts=4", "--faults", path][..],
            &["datacenter", "--accounts=4", "--out", out.to_str().unwrap(), "--faults", path],
        ] {
            let (code, _, stderr) = run(command);
            assert_eq!(code, Some(2), "{text}: {stderr}");
            assert!(words.iter().all(|it| stderr.contains(it)), "{text}: {stderr}");
            assert!(!stderr.contains("442079460958"), "{stderr}");
        }
    }
    assert!(!out.exists(), "nothing was started");
    std::fs::remove_file(faults).unwrap();
}

#[test]
fn a_run_that_reaches_nobody_says_what_its_last_dial_met() {
    let faults = fresh("refusing.toml");
    let rule = "[[rule]]\non = \"connect\"\nfault = \"transport\"\ncode = 404\n";
    std::fs::write(&faults, rule).unwrap();
    let path = faults.to_str().unwrap();
    let run = Run::small(&["--listen=127.0.0.1:0", "--faults", path, "--duration=1s"]);
    let (code, _, said) = run.end();
    assert_eq!(code, Some(1), "{said}");
    let words = "no connection could be opened: the last dial that failed was of ";
    let told = said.split(words).nth(1).unwrap_or_else(|| panic!("{said}"));
    assert!(told.contains("key") && !told.contains("reachable?"), "{told}");
    std::fs::remove_file(faults).unwrap();
}

#[test]
fn whoever_reads_what_a_run_says_may_go_and_it_ends_in_good_order() {
    let mut child = telepool(&RUN).args(["--accounts=4", "--concurrency=2"]).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("metrics on") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0);
    }
    drop(said);
    // It says that it is closing, to nobody.
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_told_changes_no_status() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    for (arguments, code) in [
        (&["config", "--set", "x"][..], 2),
        (&["state", "list", "--state", "/nonexist"], 2),
        (&["serve", "--no-such-flag"], 2),
        (&["config"], 0),
    ] {
        let status = telepool(arguments).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}

/// `nohup` has a process ignore the signal, which it then must not catch.
#[cfg(target_os = "linux")]
#[test]
fn a_lost_terminal_ends_a_run_unless_it_was_told_to_outlive_it() {
    let mask = |status: &str, name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap()
    };
    // Whoever runs this test may have had it ignore the signal, which it hands on.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let is_ignored = mask(&own, "SigIgn:") & 1 != 0;
    for (prelude, heeds) in [("", !is_ignored), ("trap '' HUP; ", false)] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{prelude}exec \"$@\""), "sh"]);
        command.arg(env!("CARGO_BIN_EXE_telepool")).args(RUN).args(["--accounts=4"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut run = Run::start(&mut command);
        run.until("metrics on");
        let status = format!("/proc/{}/status", run.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        assert_eq!(mask(&status, "SigCgt:") & 1 != 0, heeds, "{status}");
        run.signal(if heeds { "-HUP" } else { "-TERM" });
        assert_eq!(run.end().0, Some(0));
    }
}

/// The columns that are written to in what a terminal was sent, for each time that a line was begun.
#[cfg(target_os = "linux")]
fn lines_drawn(sent: &str) -> Vec<(String, usize)> {
    let begun = sent.split(['\r', '\n']);
    let begun = begun.map(|text| text.trim_start_matches("\x1b[2K"));
    begun.map(|text| (text.to_owned(), text.chars().count())).collect()
}

/// The terminal prints `^C` behind the line, which must not break it in two.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_on_a_terminal_leaves_no_copy_of_the_status_line() {
    let program = env!("CARGO_BIN_EXE_telepool");
    let inside = format!(
        "stty rows 20 cols 60 && exec '{program}' {} --accounts=4 --concurrency=2 \
         --listen=127.0.0.1:0",
        RUN.join(" ")
    );
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &inside, "/dev/null"])
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .env_remove("TELEPOOL_LOG")
        .env_remove("TELEPOOL_LOG_FORMAT")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of Debian's package bsdutils");
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut sent, mut some) = (Vec::new(), [0; 4096]);
    let mut is_pressed = false;
    loop {
        let length = screen.read(&mut some).unwrap();
        if length == 0 {
            break;
        }
        sent.extend(&some[..length]);
        if !is_pressed && String::from_utf8_lossy(&sent).contains("calls/s") {
            keys.write_all(b"\x03").unwrap();
            is_pressed = true;
        }
    }
    let sent = String::from_utf8(sent).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{sent:?}");
    assert!(sent.contains("^C") && sent.contains("telepool: closing"), "{sent:?}");
    let drawn = lines_drawn(&sent.replace("^C", ""));
    let drawn: Vec<_> = drawn.iter().filter(|(text, _)| text.contains("calls/s,")).collect();
    assert!(!drawn.is_empty() && drawn.iter().all(|(_, columns)| *columns == 57), "{drawn:?}");
}
