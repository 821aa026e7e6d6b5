//! `telepool ctl` and `telepool top` as clients of the HTTP API, over a socket that a server of this test has:
//! what they ask for, what they show, and how they end.

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::body::Frame;
use serde_json::{Value, json};
use telepool::http;
use tokio::sync::oneshot;

use crate::command::{fresh, run, telepool};

const PHONE: &str = "+442079460958";

/// What was asked, in its order.
type Asked = Arc<Mutex<Vec<String>>>;

/// A server of the API's answers on a socket.
pub(crate) struct Fixture {
    pub(crate) socket: PathBuf,
    asked: Asked,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fixture {
    pub(crate) fn start(name: &str) -> Self {
        let (socket, asked) = (fresh(name), Asked::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let entered = runtime.enter();
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        drop(entered);
        let router = router(&asked);
        let serve = async move {
            http::serve(listener, router, async { drop(stopped.await) }).await.unwrap();
        };
        let thread = std::thread::spawn(move || runtime.block_on(serve));
        Self { socket, asked, stop: Some(stop), thread: Some(thread) }
    }

    fn run(&self, command: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
        run(&[&[command, "--socket", self.socket.to_str().unwrap()], arguments].concat())
    }

    fn ctl(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        self.run("ctl", arguments)
    }

    /// What an operation prints that is done.
    fn done(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.ctl(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        fs::remove_file(&self.socket).ok();
    }
}

fn account(number: usize) -> Value {
    let id = if number == 0 { PHONE.to_owned() } else { format!("bot:{number}") };
    json!({
        "id": id, "name": id, "group": "shop", "state": "ready", "reason": null,
        "connections": {"active": 1, "idle": 2, "connecting": 0}, "connections_max": 4, "leases": 3,
        "waiting": 0, "oldest_wait_s": null, "errors": 7, "last_used_s": 61.0,
    })
}

fn event(id: u64, level: &str) -> Value {
    json!({
        "id": id.to_string(), "at": 1_798_117_230_042_u64, "kind": "operation", "level": level,
        "account": PHONE, "name": PHONE, "group": "shop", "text": format!("pause by uid 7: {id}"),
        "by": "uid 7",
    })
}

fn problem(status: StatusCode, detail: &str, remedy: &str) -> Response {
    let body = json!({"status": status.as_u16(), "detail": detail, "remedy": remedy});
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

type Asks = Query<std::collections::BTreeMap<String, String>>;

async fn list_accounts(State(asked): State<Asked>, Query(query): Asks) -> Response {
    asked.lock().unwrap().push(format!("accounts {query:?}"));
    if query.get("reason").is_some_and(|reason| reason == "happy") {
        return problem(StatusCode::BAD_REQUEST, "reason = happy: there is none", "give banned");
    }
    let limit: usize = query["limit"].parse().unwrap();
    let from: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
    let to = (from + limit.min(2)).min(5);
    let rows: Vec<Value> = (from..to).map(account).collect();
    let next = (to < 5).then(|| to.to_string());
    Json(json!({"at": 0, "known": 5, "matched": 5, "accounts": rows, "next": next})).into_response()
}

async fn get_account(Path(id): Path<String>) -> Response {
    if id != PHONE {
        return problem(StatusCode::NOT_FOUND, "there is no such account", "list the accounts");
    }
    let mut answer = account(0);
    answer["quarantines"] =
        json!([{"slot": 1, "reason": "key_duplicated", "remedy": "log in anew"}]);
    answer["connections_list"] = json!([{"id": "77", "slot": 0, "state": "idle", "age_s": 5.0,
        "uses": 12, "leases": 0, "errors": 1, "last_error": "bad\u{1b}[2J"}]);
    answer["cooldowns"] =
        json!([{"method": "1", "name": "messages.sendMessage", "remaining_s": 30.0}]);
    answer["events"] = json!([event(1, "info")]);
    Json(answer).into_response()
}

async fn operate(State(asked): State<Asked>, uri: Uri, body: Bytes) -> Response {
    let path = uri.path().strip_prefix("/api/v1/accounts/").unwrap().replace("%2B", "+");
    asked.lock().unwrap().push(format!("POST {path} {}", String::from_utf8_lossy(&body)));
    if path.starts_with("bot:9/") {
        return problem(StatusCode::CONFLICT, "it is drained", "reinstate it first");
    }
    if path.starts_with("bot:503/") {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the pool is closed", "ask again later");
    }
    if path.starts_with("bot:504/") {
        // What does not come to its end.
        let head = [(header::CONTENT_TYPE, "application/json"), (header::CONTENT_LENGTH, "100")];
        return (head, Body::new(BrokenOff)).into_response();
    }
    Json(json!({"done": true, "text": "is done"})).into_response()
}

async fn change(State(asked): State<Asked>, Json(body): Json<Value>) -> Response {
    asked.lock().unwrap().push(format!("PATCH {body}"));
    Json(settings()).into_response()
}

fn settings() -> Value {
    let row = |key: &str, value: &str| json!({"key": key, "value": value, "default": "300", "origin": "api", "applies": "now"});
    let rows = [row("pool.max_idle_time", "120"), row("dial.per_second", "10"), row("x.y", "1")];
    json!({"settings": rows})
}

/// A stream with no end but the server's: of some events at once, and of one again and again if there is a pace.
struct Stream {
    first: Option<Bytes>,
    pace: Option<tokio::time::Interval>,
}

fn frame(id: u64, level: &str) -> String {
    format!("id: {id}\nevent: event\ndata: {}\n\n", event(id, level))
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(pace) = &mut self.pace else { return Poll::Pending };
        pace.poll_tick(cx).map(|_| Some(Ok(Frame::data(frame(5, "info").into()))))
    }
}

/// An answer that breaks off.
struct BrokenOff;

impl HttpBody for BrokenOff {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(Err(std::io::Error::other("broken off"))))
    }
}

async fn list_events(State(asked): State<Asked>, Query(query): Asks) -> Response {
    asked.lock().unwrap().push(format!("events {query:?}"));
    Json(json!({"events": [event(1, "info"), event(2, "warn")], "last": "2"})).into_response()
}

async fn stream(State(asked): State<Asked>, Query(query): Asks, headers: HeaderMap) -> Response {
    let last = headers["last-event-id"].to_str().unwrap();
    asked.lock().unwrap().push(format!("stream {query:?} after {last}"));
    let first = [": hello\n\n", &frame(3, "warn"), &frame(4, "error")].concat();
    let is_endless = query.get("kind").is_some_and(|kind| kind == "endless");
    let pace = is_endless.then(|| tokio::time::interval(Duration::from_millis(10)));
    let body = Body::new(Stream { first: Some(first.into()), pace });
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

fn router(asked: &Asked) -> Router {
    let snapshot = json!({
        "at": 90_000, "started_at": 0, "version": "1.2.3",
        "readiness": {"ready": true, "text": "ready"},
        "totals": {"connections": {"active": 7, "idle": 5}, "connections_max": 100, "waiting": 2,
            "accounts": {"quarantined": 6}},
        "rates": {"acquires": 123.4}, "alerts": [],
    });
    let connections = json!({"matched": 1, "next": null, "connections": [{"id": "77",
        "account": PHONE, "slot": 0, "state": "active", "age_s": 5.0, "uses": 12}]});
    Router::new()
        .route("/api/v1/snapshot", get(|| async { Json(snapshot) }))
        .route("/api/v1/accounts", get(list_accounts))
        .route("/api/v1/accounts/{id}", get(get_account))
        .route("/api/v1/connections", get(|| async { Json(connections) }))
        .route("/api/v1/events", get(list_events))
        .route("/api/v1/events/stream", get(stream))
        .route("/api/v1/config", get(|| async { Json(settings()) }).patch(change))
        .fallback(operate)
        .with_state(Arc::clone(asked))
}

#[test]
fn lists_are_read_page_by_page_and_shown_as_tables_or_as_json() {
    let fixture = Fixture::start("ctl-lists.sock");
    let (code, stdout, stderr) =
        fixture.ctl(&["accounts", "--limit=3", "--sort=oldest_wait", "--desc"]);
    assert_eq!(code, Some(0), "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{stdout}");
    assert!(lines[0].starts_with("account") && lines[0].ends_with("last used"), "{stdout}");
    assert!(lines[1].starts_with(PHONE) && lines[1].ends_with("1m01s"), "{stdout}");
    assert!(stderr.contains("and 2 more"), "{stderr}");
    let asked = fixture.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked[1].contains("\"cursor\": \"2\"") && asked[1].contains("\"limit\": \"1\""),
        "{asked:?}"
    );
    assert!(asked[0].contains("\"sort\": \"oldest_wait\"") && asked[0].contains("\"desc\""));
    let all = fixture.done(&["--json", "accounts", "--limit=0", "--search=a&b c"]);
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all["accounts"].as_array().unwrap().len(), 5);
    assert!(all["next"].is_null());
    assert!(fixture.asked()[0].contains("\"q\": \"a&b c\""));
    let text = fixture.done(&["account", PHONE]);
    for words in [
        "connections:",
        "77",
        "bad\\u{1b}[2J",
        "key_duplicated",
        "messages.sendMessage",
        "by uid 7",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(fixture.done(&["connections"]).contains("active"));
    assert!(fixture.done(&["config"]).contains("pool.max_idle_time"));
    assert_eq!(fixture.done(&["events"]).lines().count(), 2);
}

#[test]
fn what_is_operated_is_sent_as_it_was_said_and_one_refusal_keeps_the_others_from_nothing() {
    let fixture = Fixture::start("ctl-operates.sock");
    for operation in ["close", "drain", "pause", "resume", "reinstate", "quarantine"] {
        assert_eq!(fixture.done(&[operation, PHONE]), format!("{PHONE}: is done\n"));
        assert_eq!(fixture.asked(), [format!("POST {PHONE}/{operation} ")]);
    }
    fixture.done(&["quarantine", "bot:1", "bot:2", "--reason", "sold"]);
    fixture.done(&["close-connection", PHONE, "77"]);
    let reason = "{\"reason\":\"sold\"}";
    let expected = [
        format!("POST bot:1/quarantine {reason}"),
        format!("POST bot:2/quarantine {reason}"),
        format!("POST {PHONE}/connections/77/close "),
    ];
    assert_eq!(fixture.asked(), expected);
    let (code, stdout, stderr) = fixture.ctl(&["pause", "bot:9", "bot:1"]);
    assert_eq!((code, stdout.as_str()), (Some(1), "bot:1: is done\n"), "{stderr}");
    assert!(stderr.contains("bot:9: it is drained: reinstate it first"), "{stderr}");
    let (code, stdout, stderr) =
        fixture.ctl(&["set", "pool.max_idle_time", "2m", "dial.per_second", "10"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("pool.max_idle_time") && !stdout.contains("x.y"), "{stdout}");
    let patch = "PATCH {\"dial.per_second\":\"10\",\"pool.max_idle_time\":\"2m\"}";
    assert_eq!(fixture.asked().last().unwrap(), patch);
}

#[test]
fn what_the_server_refuses_to_all_ends_an_operation_and_it_is_told_what_was_done() {
    let fixture = Fixture::start("ctl-stops.sock");
    let (code, stdout, stderr) = fixture.ctl(&["pause", "bot:1", "bot:503", "bot:2", "bot:3"]);
    assert_eq!((code, &*stdout), (Some(1), "bot:1: is done\n"), "{stderr}");
    let told: Vec<&str> = stderr.lines().collect();
    let left = ["bot:503", "bot:2", "bot:3"].map(|it| format!("telepool: {it}: not done"));
    assert_eq!(told[..3], left, "{stderr}");
    assert_eq!(told[3..], ["telepool: the pool is closed: ask again later"], "{stderr}");
    assert_eq!(fixture.asked().len(), 2, "the others were not asked for");
    let (code, stdout, stderr) = fixture.ctl(&["--json", "close", "bot:1", "bot:504", "bot:2"]);
    assert_eq!(code, Some(3), "{stderr}");
    let done: Value = serde_json::from_str(&stdout).unwrap();
    assert!(done.as_array().unwrap().len() == 1 && done[0]["account"] == "bot:1", "{stdout}");
    assert!(stderr.contains("bot:504: it is not known whether it was done\n"), "{stderr}");
    assert!(stderr.contains("bot:2: not done\n"), "{stderr}");
    assert_eq!(fixture.asked().len(), 2);
    // Nothing is asked if one of them can be no account.
    let (code, stdout, stderr) = fixture.ctl(&["pause", "bot:1", "020 7946 0958"]);
    assert_eq!((code, &*stdout), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("write it with its country code"), "{stderr}");
    assert!(fixture.asked().is_empty());
    let (code, _, stderr) = fixture.ctl(&["pause", "bot:9", "bot:1", "bot:9"]);
    assert!(code == Some(1) && stderr.contains("2 of 3 were not done"), "{stderr}");
}

/// Whoever reads them has gone: they are followed no more, however many come.
#[test]
fn events_that_nobody_reads_are_followed_no_more() {
    let fixture = Fixture::start("ctl-head.sock");
    let command = format!(
        "'{}' ctl --socket '{}' events --follow --kind=endless | head -n 1; echo \"${{PIPESTATUS[@]}}\"",
        env!("CARGO_BIN_EXE_telepool"),
        fixture.socket.display()
    );
    let output = Command::new("bash").args(["-c", &command]).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.ends_with(": 1\n0 0\n"), "{stdout}");
}

#[test]
fn events_are_followed_from_the_last_one_on_and_filtered_as_the_list_is() {
    let fixture = Fixture::start("ctl-follow.sock");
    let socket = fixture.socket.to_str().unwrap();
    let filters =
        ["--level=warn", "--account=0044 20 7946 0958", "--group=shop", "--kind=operation"];
    let arguments = [&["ctl", "--socket", socket, "events", "--follow"][..], &filters].concat();
    let mut follower = telepool(&arguments).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap());
    let mut told = String::new();
    for _ in 0..4 {
        lines.read_line(&mut told).unwrap();
    }
    for id in 1..=4 {
        assert!(told.contains(&format!("pause by uid 7: {id}\n")), "{told}");
    }
    let asked = fixture.asked();
    let [list, stream] = &asked[..] else { panic!("{asked:?}") };
    for filter in [
        r#""level": "warn""#,
        r#""account": "+442079460958""#,
        r#""group": "shop""#,
        r#""kind": "op"#,
    ] {
        assert!(list.contains(filter) && stream.contains(filter), "{filter}: {asked:?}");
    }
    assert!(stream.contains(r#""samples": "0""#) && stream.ends_with(" after 2"), "{asked:?}");
    drop(fixture);
    let output = follower.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("--after 4 goes on"), "{stderr}");
}

#[test]
fn what_will_not_do_is_told_from_a_refusal_and_from_nobody_who_answers() {
    let fixture = Fixture::start("ctl-fails.sock");
    for (arguments, status, words) in [
        (&["account", "bot:1"][..], 1, "there is no such account: list the accounts"),
        (&["pause", "bot:9"], 1, "it is drained: reinstate it first"),
        (&["set", "a", "1", "b"], 2, "a value is missing"),
        (&["set", "a", "1", "a", "2"], 2, "a is set twice"),
        (&["accounts", "--reason", "happy"], 2, "there is none: give banned"),
        (&["accounts", "--sort", "size"], 2, "oldest_wait"),
        (&["sing"], 2, "unrecognized"),
    ] {
        let (code, stdout, stderr) = fixture.ctl(arguments);
        assert_eq!(code, Some(status), "{arguments:?}: {stdout}{stderr}");
        assert!(stderr.contains(words) && stdout.is_empty(), "{arguments:?}: {stdout}{stderr}");
    }
    let nobody = fresh("ctl-nobody.sock");
    let nobody = nobody.to_str().unwrap();
    let url = "http://127.0.0.1:1";
    let far = "http://192.0.2.1:1";
    let token = fresh("ctl-token");
    fs::write(&token, "tp_x\n").unwrap();
    let token = token.to_str().unwrap();
    let fifo = fresh("ctl-fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let fifo = fifo.to_str().unwrap();
    for (arguments, status, words) in [
        (&["ctl", "--socket", nobody, "accounts"][..], 3, "as this user?"),
        (&["ctl", "--state", nobody, "accounts"], 3, "nobody.sock.sock"),
        (&["ctl", "--url", url, "accounts"], 3, "with that --listen?"),
        (&["ctl", "--url", "https://127.0.0.1:1", "accounts"], 2, "--ca-file"),
        (&["ctl", "--url", "pool:1", "accounts"], 2, "such as https://"),
        (&["ctl", "--url", url, "--token-file", "/none", "accounts"], 2, "first line is a token"),
        (&["ctl", "--url", url, "--token-file", "/dev/zero", "accounts"], 2, "it is a device"),
        (&["ctl", "--url", url, "--token-file", fifo, "accounts"], 2, "nobody writes to"),
        (
            &["ctl", "--url", "https://127.0.0.1:1", "--ca-file", "/dev/zero", "accounts"],
            2,
            "it is a device",
        ),
        (&["ctl", "--url", far, "--token-file", token, "accounts"], 2, "ask by https"),
        (&["ctl", "accounts"], 2, "give --state FILE, --socket PATH or --url URL"),
        (&["ctl", "--socket", nobody, "--url", url, "accounts"], 2, "cannot be used"),
        (&["top", "--socket", nobody, "--once"], 3, "as this user?"),
        (&["top", "--socket", nobody], 2, "--once"),
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!(code, Some(status), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words) && stdout.is_empty(), "{arguments:?}: {stderr}");
    }
    fs::remove_file(token).unwrap();
    fs::remove_file(fifo).unwrap();
}

#[test]
fn a_frame_of_top_has_tiles_accounts_and_events() {
    let fixture = Fixture::start("top-once.sock");
    let (code, stdout, stderr) = fixture.run("top", &["--once"]);
    assert_eq!(code, Some(0), "{stderr}");
    for words in
        ["active 7/100", "acquires/s 123", "quarantined 6", PHONE, "pause by uid 7: 2", "q quit"]
    {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
    assert!(stdout.lines().all(|line| line.chars().count() <= 80), "{stdout}");
}
