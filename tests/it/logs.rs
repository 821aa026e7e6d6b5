//! The log of the command: what is asked for, what is shown, and what others cannot forge in it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;

use serde_json::Value;

use crate::command::{Running, fresh, telepool};

const RUN: [&str; 8] = [
    "serve",
    "--sandbox",
    "--accounts=4",
    "--concurrency=2",
    "--latency=1ms",
    "--seed=7",
    "--duration=500ms",
    "--listen=127.0.0.1:0",
];

/// What a short run says on standard error with such variables, and its exit status.
fn said(more: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = telepool(&RUN);
    let Output { status, stderr, .. } =
        command.args(more).envs(variables.iter().copied()).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// A file of rules, by which every login ends so.
fn rules(name: &str, rule: &str) -> String {
    let path = fresh(name);
    std::fs::write(&path, format!("[[rule]]\non = \"updates.getState\"\n{rule}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_variable_of_the_log_that_makes_no_sense_is_refused_wherever_settings_are_read() {
    for (name, value, words) in [
        ("TELEPOOL_LOG", "loud", "TELEPOOL_LOG = loud: must be off"),
        ("TELEPOOL_LOG", "\"info\"", "the quotes are part of the value"),
        ("TELEPOOL_LOG", "'info'", "the quotes are part of the value"),
        ("TELEPOOL_LOG", "a\u{1b}b", "TELEPOOL_LOG = a\\u{1b}b: must be off"),
        ("TELEPOOL_LOG_FORMAT", "yaml", "TELEPOOL_LOG_FORMAT = yaml: must be text or json"),
    ] {
        for arguments in [&["config"][..], &["serve", "--sandbox"]] {
            let Output { status, stdout, stderr } =
                telepool(arguments).env(name, value).output().unwrap();
            let stderr = String::from_utf8(stderr).unwrap();
            assert_eq!(status.code(), Some(2), "{stderr}");
            assert!(stdout.is_empty() && stderr.contains(words), "{stderr}");
        }
    }
    for value in ["", " ", "warning", " info ", "telepool=debug,grammers=warn", "INFO"] {
        let ran = telepool(&["config"]).env("TELEPOOL_LOG", value).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{value:?}: {ran:?}");
    }
}

#[test]
fn an_empty_level_hides_no_warning() {
    let faults = rules(
        "log-quarantine.toml",
        "fault = \"error\"\ncode = 401\nmessage = \"SESSION_REVOKED\"",
    );
    for value in ["", "warning"] {
        let (_, told) = said(&["--faults", &faults], &[("TELEPOOL_LOG", value)]);
        assert!(told.contains("WARN quarantined account="), "{value:?}: {told}");
    }
    std::fs::remove_file(faults).unwrap();
}

#[test]
fn at_info_the_pool_tells_of_its_dials_and_closes_and_the_client_is_not_heard() {
    let (code, told) = said(&[], &[("TELEPOOL_LOG", "info")]);
    assert_eq!(code, Some(0), "{told}");
    for words in [" INFO connected account=", " INFO closed account=", "INFO the pool closes"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("future salt") && !told.contains("connecting..."), "{told}");
    let (_, told) = said(
        &["--set=telegram.engine=grammers"],
        &[("TELEPOOL_LOG", "telepool=warn,grammers=debug")],
    );
    assert!(!told.contains("INFO connected"), "{told}");
    assert!(told.contains("INFO") || told.contains("DEBUG"), "the client was asked for: {told}");
}

#[test]
fn a_log_for_machines_is_an_object_a_line() {
    let faults = rules(
        "log-json.toml",
        "fault = \"error\"\ncode = 400\nmessage = \"A\\nB\\u001b[31m\\u009b\\u2028\"",
    );
    let asked = [("TELEPOOL_LOG", "info"), ("TELEPOOL_LOG_FORMAT", "json")];
    let (_, told) = said(&["--faults", &faults], &asked);
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed = lines.iter().find(|it| it["message"] == "a dial failed").expect(&told);
    assert_eq!((&failed["level"], &failed["slot"]), (&"INFO".into(), &0.into()), "{failed}");
    let error = "A\\nB\\u{1b}[31m\\u{9b}\\u{2028}";
    assert!(failed["error"].as_str().unwrap().starts_with(error), "{failed}");
    assert!(failed["target"].as_str().unwrap().starts_with("telepool::"), "{failed}");
    let unshown = |it: char| it != '\n' && (it.is_control() || it == '\u{2028}');
    assert!(!told.contains(unshown), "{told:?}");
    assert!(told.lines().all(|it| it.starts_with('{')), "{told}");
    std::fs::remove_file(faults).unwrap();
}

/// Lines of JSON, each with what a line of the log has.
fn json(told: &str) -> Vec<Value> {
    let lines = told.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{told}"));
        for key in ["timestamp", "level", "message", "target"] {
            assert!(line[key].is_string(), "{key} in {line}");
        }
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
        line
    });
    lines.collect()
}

#[test]
fn what_the_command_says_itself_is_json_as_well_where_the_log_is() {
    let asked = ("TELEPOOL_LOG_FORMAT", "json");
    // Whatever the log hides, as it is with lines for people.
    for level in ["off", "info"] {
        let (code, told) = said(&[], &[("TELEPOOL_LOG", level), asked]);
        assert_eq!(code, Some(0), "{told}");
        let lines = json(&told);
        for words in ["sandbox data centre on ", "metrics on http://", "closing, for at most"] {
            let of_words = |line: &&Value| line["message"].as_str().unwrap().starts_with(words);
            let line = lines.iter().find(of_words).unwrap_or_else(|| panic!("{words}: {told}"));
            assert_eq!((&line["level"], &line["target"]), (&"INFO".into(), &"telepool".into()));
        }
    }
    let plan = rules("log-own.toml", "fault = \"error\"\ncode = 500\nmessage = \"A\nB\"");
    for (arguments, words) in [
        (&["serve", "--sessions", "/none"][..], "--sessions /none: cannot be read"),
        (&["serve", "--no-such-flag"], "--no-such-flag"),
        (&["config", "--set", "pool.max_connections=0"], "pool.max_connections = 0"),
        (&["state", "list", "--state", "/none"], "there is no such file"),
        (&["serve", "--sandbox", "--faults", &plan], "--faults"),
        (&["serve", "--sandbox", "--latency", "soon"], "250ms"),
    ] {
        let mut command = telepool(arguments);
        let Output { status, stdout, stderr } = command.env(asked.0, " JSON ").output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(status.code() == Some(2) && stdout.is_empty(), "{stderr}");
        let lines = json(&stderr);
        let [line] = &lines[..] else { panic!("{stderr}") };
        let message = line["message"].as_str().unwrap();
        assert!(message.contains(words) && !message.starts_with("telepool:"), "{stderr}");
        assert_eq!(line["level"], "ERROR", "{stderr}");
    }
    std::fs::remove_file(plan).unwrap();
    // What was asked for stays as it is.
    for arguments in [&["config"][..], &["--help"], &["--version"]] {
        let plain = telepool(arguments).output().unwrap();
        let with = telepool(arguments).env(asked.0, asked.1).output().unwrap();
        assert_eq!((plain.stdout, plain.stderr), (with.stdout, with.stderr));
    }
}

#[test]
fn what_a_server_says_forges_no_line_of_the_log_and_paints_no_terminal() {
    let evil = "EVIL\\n2026-11-28T00:00:00Z  WARN forged \\u001b[31mred\\u009b1m\\u202e";
    let faults =
        rules("log-forged.toml", &format!("fault = \"error\"\ncode = 400\nmessage = \"{evil}\""));
    let (_, told) = said(&["--faults", &faults], &[("TELEPOOL_LOG", "info")]);
    assert!(told.contains("EVIL\\n2026-11-28T00:00:00Z  WARN forged \\u{1b}[31mred"), "{told}");
    assert!(!told.contains(|it: char| it != '\n' && it.is_control()), "{told:?}");
    assert!(!told.contains('\u{202e}'), "{told:?}");
    // Nor by way of what is said of failed calls at the end.
    let began = told.lines().filter(|line| line.starts_with("2026-11-28T00:00:00Z")).count();
    assert_eq!(began, 0, "{told}");
    std::fs::remove_file(faults).unwrap();
}

#[test]
fn clients_of_no_transport_are_told_of_once_and_forge_nothing() {
    let path = fresh("log-strangers.jsonl");
    let mut command = telepool(&["datacenter", "--accounts=1", "--out"]);
    let mut running = Running::of(command.arg(&path));
    let address = running.address_after("listens on ");
    for hello in
        [&b"GET \x1b[3\n/bot77:secret"[..], b"POST / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02"]
    {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(hello).unwrap();
        // What was not read is thrown away with the connection, which may reset it.
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
    }
    running.signal("-INT");
    let (code, stdout, told) = running.end_with_log();
    assert_eq!(code, Some(0), "{told}");
    let stats: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(stats["transports_unknown"], 3, "{stats}");
    let told: Vec<_> = told.lines().filter(|line| line.contains("no transport")).collect();
    let [line] = &told[..] else { panic!("{told:?}") };
    for words in ["WARN", "seen=GET \\x1b[3\\n", "looks like HTTP", "obfuscated", "untold=0"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    assert!(!line.contains("secret") && !line.contains(char::is_control), "{line}");
    std::fs::remove_file(path).unwrap();
}
