//! `telepool ctl` and `telepool top` against a run of `telepool serve`: over its socket, and over the network
//! with a token. What they show, what they change, and how they end.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::command::{fresh, run, telepool};
use crate::http_listen::Pair;
use crate::serving::Run;

/// One of the four accounts of a run.
const PHONE: &str = "+9996000001";
/// Another one, which is a bot.
const BOT: &str = "bot:5000000000";

/// A run of four accounts that are called at a steady rate, its socket and its address.
struct Served {
    run: Run,
    socket: PathBuf,
    url: String,
}

impl Served {
    fn start(name: &str, more: &[&str]) -> Self {
        let socket = fresh(name);
        let flag = format!("--socket={}", socket.display());
        let mut run = Run::small(&[&["--listen=127.0.0.1:0", "--rate=100", &flag], more].concat());
        let told = run.until("metrics on http");
        let url = told.split("metrics on ").nth(1).unwrap().split("/metrics").next().unwrap();
        let served = Self { socket, url: url.to_owned(), run };
        served.until(&["accounts", "--in-state=ready"], |it| it["matched"] == 4);
        served
    }

    fn ctl(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        run(&[&["ctl", "--socket", self.socket.to_str().unwrap()], arguments].concat())
    }

    /// What an operation prints that is done.
    fn done(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.ctl(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Asks until the answer is as it should be: of lists there is a new one each second.
    fn until(&self, arguments: &[&str], is_so: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..1200 {
            let answer = self.json(arguments);
            if is_so(&answer) {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{arguments:?} does not come to it: {}", self.json(arguments));
    }

    /// Ends the run, and returns its status: 1 if a call has failed, as to an account out of service.
    fn end(self) -> Option<i32> {
        self.run.signal("-TERM");
        let (code, _, _) = self.run.end();
        assert!(!self.socket.exists(), "a run that ends in order removes its socket");
        code
    }
}

#[test]
fn accounts_connections_and_settings_are_shown_in_full_to_the_user_of_the_run() {
    let served = Served::start("run-lists.sock", &[]);
    let text = served.done(&["accounts", "--sort=name"]);
    assert!(text.starts_with("account ") && text.contains(PHONE) && text.contains(BOT), "{text}");
    for search in ["9996000001", "+999 600-0001", "(999) 6000001"] {
        let one = served.done(&["accounts", "--search", search]);
        assert!(one.lines().count() == 2 && one.contains(PHONE), "{search}: {one}");
    }
    let (code, some, more) = served.ctl(&["accounts", "--limit=3"]);
    assert_eq!((code, some.lines().count()), (Some(0), 4), "{some}");
    assert!(more.contains("and 1 more: --limit 0 lists all"), "{more}");
    for (none, words) in [
        (&["accounts", "--in-state=quarantined"][..], "no account matches"),
        (&["accounts", "--search=nobody"], "no account matches"),
        (&["connections", "--group=none"], "no connection matches"),
        (&["events", "--kind=none"], "no event matches"),
    ] {
        let (code, stdout, stderr) = served.ctl(none);
        assert_eq!((code, &*stdout), (Some(0), ""), "{none:?}: {stderr}");
        assert!(stderr.contains(words), "{none:?}: {stderr}");
    }
    served.until(&["connections", "--in-state=idle"], |it| it["matched"].as_u64() > Some(0));
    let text = served.done(&["connections", "--sort=age", "--desc"]);
    assert!(text.starts_with("account ") && text.contains("uses"), "{text}");
    for spelled in [PHONE, "999 600 0001", "00999-6000001"] {
        let text = served.done(&["account", spelled]);
        assert!(text.contains(PHONE) && text.contains("\nevents:\n"), "{spelled}: {text}");
    }
    let text = served.done(&["config"]);
    assert!(text.contains("pool.max_idle_time") && text.contains("origin"), "{text}");
    assert_eq!(served.end(), Some(0));
}

#[test]
fn what_is_operated_is_done_and_stands_in_the_events_with_who_has_done_it() {
    let served = Served::start("run-operates.sock", &[]);
    for (operation, state) in
        [("drain", "draining"), ("reinstate", "ready"), ("pause", "paused"), ("resume", "ready")]
    {
        let told = served.done(&[operation, "999 600 0001", BOT]);
        assert!(told.starts_with(&format!("{PHONE}: ")) && told.lines().count() == 2, "{told}");
        served.until(&["account", PHONE], |it| it["state"] == state);
    }
    served.done(&["quarantine", BOT, "--reason=lent"]);
    served.until(&["account", BOT], |it| it["state"] == "quarantined");
    served.done(&["reinstate", BOT]);
    served.done(&["close", PHONE]);
    let events = served.until(&["events", "--kind=operation"], |it| {
        it["events"].as_array().is_some_and(|events| events.len() == 11)
    });
    let events = events["events"].as_array().unwrap();
    assert!(events.iter().all(|it| it["by"].as_str().is_some_and(|by| by.starts_with("uid "))));
    assert!(events[8]["text"].as_str().unwrap().contains("lent"), "{}", events[8]);
    let told = served.done(&["set", "pool.max_idle_time", "2m"]);
    assert!(told.contains("pool.max_idle_time") && told.contains("api"), "{told}");
    // One that is refused keeps the others from nothing.
    let (code, stdout, stderr) = served.ctl(&["close", "bot:1", PHONE]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stdout.starts_with(PHONE) && stderr.contains("bot:1: the pool knows no such"),
        "{stderr}"
    );
    for (arguments, status, words) in [
        (&["account", "bot:1"][..], 1, "or telepool ctl accounts"),
        (&["close-connection", PHONE, "1000000"], 1, "or telepool ctl account"),
        (&["close-connection", PHONE, "first"], 2, "decimal number"),
        (&["set", "pool.max_idle_time", "soon"], 2, "must be a time"),
        (&["set", "pool.size", "1"], 2, "no setting pool.size"),
        (&["accounts", "--in-state=happy"], 2, "ready, cooling"),
        (&["events", "--level=grave"], 2, "info, warn, error"),
    ] {
        let (code, stdout, stderr) = served.ctl(arguments);
        assert_eq!(code, Some(status), "{arguments:?}: {stdout}{stderr}");
        assert!(stderr.contains(words) && stdout.is_empty(), "{arguments:?}: {stdout}{stderr}");
    }
    served.end();
}

#[test]
fn events_are_followed_until_the_run_ends_and_the_status_tells_it() {
    let served = Served::start("run-follow.sock", &[]);
    let socket = served.socket.to_str().unwrap();
    let flags = ["--follow", "--kind=operation", "--account=999 600 0001", "--json"];
    let mut follower = telepool(&["ctl", "--socket", socket, "events"]);
    let follower = follower.args(flags).spawn().unwrap();
    // Whether they come before the stream begins or after that, each is shown once.
    for operation in ["pause", "resume"] {
        served.done(&[operation, BOT]);
        served.done(&[operation, PHONE]);
    }
    let has_all = |it: &Value| it["events"].as_array().is_some_and(|events| events.len() == 4);
    served.until(&["events", "--kind=operation"], has_all);
    assert_eq!(served.end(), Some(0));
    let output = follower.wait_with_output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
    assert_eq!(output.status.code(), Some(3), "{stdout}{stderr}");
    assert!(stderr.contains("the stream has ended, as it does with the run"), "{stderr}");
    let events: Vec<Value> = stdout.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(events.len(), 2, "{stdout}");
    assert!(events.iter().all(|it| it["account"] == PHONE && it["kind"] == "operation"));
}

/// A file of tokens, each in a file of its own as well.
struct TokenFiles {
    all: PathBuf,
    each: Vec<PathBuf>,
}

impl TokenFiles {
    fn make(name: &str, tokens: &[(&str, &[&str])]) -> Self {
        let all = fresh(&format!("{name}-tokens.jsonl"));
        let mut each = Vec::new();
        for (token, flags) in tokens {
            let create = ["token", "create", "--file", all.to_str().unwrap(), "--name", token];
            let (code, text, stderr) = run(&[&create[..], flags].concat());
            assert_eq!(code, Some(0), "{stderr}");
            each.push(fresh(&format!("{name}-{token}.token")));
            fs::write(each.last().unwrap(), text).unwrap();
        }
        Self { all, each }
    }
}

impl Drop for TokenFiles {
    fn drop(&mut self) {
        let lock = self.all.with_extension("jsonl.lock");
        for path in self.each.iter().chain([&self.all, &lock]) {
            fs::remove_file(path).ok();
        }
    }
}

#[test]
fn over_the_network_a_token_decides_what_is_seen_and_done() {
    let [read, operate] = ["--scope=read", "--scope=operate"];
    let tokens = TokenFiles::make(
        "run-network",
        &[
            ("reader", &[read]),
            ("operator", &[read, operate, "--phones"]),
            ("ended", &[read, "--expires=1s"]),
        ],
    );
    let tokens_flag = format!("--tokens={}", tokens.all.display());
    let served = Served::start("run-network.sock", &[&tokens_flag, "--require-token"]);
    let [reader, operator, ended] = [0, 1, 2].map(|at| tokens.each[at].to_str().unwrap());
    let by = |token: Option<&str>, arguments: &[&str]| {
        let shows = token.map_or(Vec::new(), |token| vec!["--token-file", token]);
        run(&[&["ctl", "--url", &served.url][..], &shows, arguments].concat())
    };
    let (code, stdout, stderr) = by(Some(reader), &["accounts"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("\np-") && !stdout.contains(PHONE), "{stdout}");
    let alias = stdout.lines().find(|line| line.starts_with("p-")).unwrap();
    let alias = alias.split(' ').next().unwrap();
    assert_eq!(by(Some(reader), &["account", alias]).0, Some(0));
    let (code, stdout, stderr) = by(Some(operator), &["pause", "999 600 0001"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with(&format!("{PHONE}: ")), "{stdout}");
    assert_eq!(by(Some(operator), &["resume", PHONE]).0, Some(0));
    // What is kept of an event comes a moment after it.
    let has_both = |it: &Value| it["events"].as_array().is_some_and(|events| events.len() == 2);
    let events = served.until(&["events", "--kind=operation"], has_both);
    assert_eq!(events["events"][0]["by"], "operator", "{events}");
    let wrong = fresh("run-network-wrong.token");
    let text = fs::read_to_string(reader).unwrap();
    let (public, secret) = text.trim().split_at(12);
    fs::write(&wrong, format!("{public}{}", "A".repeat(secret.len()))).unwrap();
    // The one that ends has ended by then.
    let has_ended = (0..1200).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        by(Some(ended), &["accounts"]).0 == Some(1)
    });
    assert!(has_ended);
    for (token, arguments, words) in [
        (None, &["accounts"][..], "needs a token: give --token-file"),
        (None, &["pause", BOT], "give --token-file"),
        (Some(reader), &["account", PHONE], "phone numbers are hidden"),
        (Some(reader), &["pause", BOT], "--scope operate"),
        (
            Some(ended),
            &["accounts"],
            "the time of this token is over: give --token-file with another",
        ),
        (Some(wrong.to_str().unwrap()), &["accounts"], "give --token-file with another"),
    ] {
        let (code, stdout, stderr) = by(token, arguments);
        assert_eq!((code, &*stdout), (Some(1), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
    // One that is revoked lets nobody in any more, and ends an operation with the first it is refused.
    let revoke = ["token", "revoke", "--file", tokens.all.to_str().unwrap(), "operator"];
    assert_eq!(run(&revoke).0, Some(0));
    let is_refused = (0..1200).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        by(Some(operator), &["config"]).0 == Some(1)
    });
    assert!(is_refused);
    let (code, stdout, stderr) = by(Some(operator), &["pause", BOT, PHONE]);
    assert_eq!((code, &*stdout), (Some(1), ""), "{stderr}");
    assert!(stderr.contains(&format!("{PHONE}: not done\n")), "{stderr}");
    fs::remove_file(wrong).unwrap();
    assert_eq!(served.end(), Some(0));
}

#[test]
fn over_https_the_certificate_is_one_that_is_given() {
    let tokens = TokenFiles::make("run-https", &[("reader", &["--scope=read"])]);
    let (pair, other) = (Pair::make("run-https"), Pair::make("run-https-other"));
    let signs = Pair::make_with("run-https-signs", "basicConstraints=critical,CA:TRUE");
    let [certificate, key] = pair.flags();
    let tokens_flag = format!("--tokens={}", tokens.all.display());
    let served = Served::start("run-https.sock", &[&tokens_flag, &certificate, &key]);
    let trusting = |url: &str, pair: &Pair, command: &str, more: &[&str]| {
        let ca_file = pair.certificate.to_str().unwrap();
        let token = tokens.each[0].to_str().unwrap();
        let flags = [command, "--url", url, "--ca-file", ca_file, "--token-file", token];
        run(&[&flags[..], more].concat())
    };
    let url = &*served.url;
    let named = url.replace("127.0.0.1", "localhost");
    for url in [url, &named] {
        let (code, stdout, stderr) = trusting(url, &pair, "ctl", &["accounts"]);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains(BOT), "{stdout}");
    }
    let (code, stdout, stderr) = trusting(url, &pair, "top", &["--once"]);
    assert!(code == Some(0) && stdout.contains(BOT), "{stdout}{stderr}");
    let refused = |url: &str, pair: &Pair, words: &str| {
        let (code, stdout, stderr) = trusting(url, pair, "ctl", &["accounts"]);
        assert_eq!((code, &*stdout), (Some(3), ""), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    };
    refused(url, &other, "give --ca-file with the certificate that has signed the server's");
    refused(&url.replace("https", "http"), &pair, "ask by https");
    served.end();
    // One that may sign others, as openssl makes it unless it is told otherwise.
    let [certificate, key] = signs.flags();
    let served = Served::start("run-https.sock", &[&tokens_flag, &certificate, &key]);
    refused(&served.url, &signs, "-addext basicConstraints=critical,CA:FALSE");
    served.end();
    let served = Served::start("run-https.sock", &[]);
    refused(&served.url.replace("http", "https"), &pair, "speaks no TLS");
    served.end();
}

#[test]
fn a_frame_of_top_has_tiles_accounts_and_events() {
    let served = Served::start("run-top.sock", &[]);
    served.done(&["pause", PHONE]);
    // A listing is up to a second old.
    served.until(&["accounts", "--in-state=paused"], |it| it["matched"] == 1);
    let socket = served.socket.to_str().unwrap();
    let (code, stdout, stderr) = run(&["top", "--once", "--socket", socket]);
    assert_eq!(code, Some(0), "{stderr}");
    for words in ["active ", "waiting ", "acquires/s ", "quarantined ", PHONE, "paused", "q quit"] {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
    assert!(stdout.contains("pause by uid "), "{stdout}");
    assert!(stdout.lines().all(|line| line.chars().count() <= 80), "{stdout}");
    served.done(&["resume", PHONE]);
    assert_eq!(served.end(), Some(0));
}
