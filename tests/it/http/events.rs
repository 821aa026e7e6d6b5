//! Events, their stream, and the history.

use std::time::Duration;

use serde_json::Value;
use telepool::AccountId;
use telepool::http::{Panel, Scope};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::http::client::Client;
use crate::http::lists::{FIRST, grouped};
use crate::http::{access, serve, serve_panel};

/// A stream of server-sent events.
pub(super) struct Stream(BufReader<TcpStream>);

/// The id, the kind and the data of a frame.
pub(super) type Told = (Option<String>, String, Value);

impl Stream {
    pub(super) async fn open(client: Client, path: &str, more: &str) -> Self {
        Self::try_open(client, path, more).await.expect("200")
    }

    /// `None` unless it is answered with 200.
    pub(super) async fn try_open(client: Client, path: &str, more: &str) -> Option<Self> {
        Self::over(TcpStream::connect(client.0).await.unwrap(), path, more).await
    }

    pub(super) async fn over(mut stream: TcpStream, path: &str, more: &str) -> Option<Self> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut stream = Self(BufReader::new(stream));
        stream.line().await.unwrap().starts_with("HTTP/1.1 200").then_some(stream)
    }

    /// A line, without its end; `None` at the end of the stream.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).await.unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next frame; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<Told> {
        let (mut id, mut kind) = (None, String::new());
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("id", it)) => id = Some(it.to_owned()),
                Some(("event", it)) => kind = it.to_owned(),
                Some(("data", it)) => return Some((id, kind, serde_json::from_str(it).unwrap())),
                _ => {}
            }
        }
    }

    async fn until(&mut self, kind: &str) -> Told {
        loop {
            let told = self.next().await.expect("the stream goes on");
            if told.1 == kind {
                return told;
            }
        }
    }
}

/// Asks until an answer is as it should be: what is kept of an event comes a moment after it.
async fn until(client: Client, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    loop {
        let answer = client.json(path).await;
        if is_so(&answer) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn kinds(answer: &Value) -> Vec<&str> {
    answer["events"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn events_are_told_in_words_and_found_by_what_they_are_about() {
    let pool = grouped(2);
    let client = serve(&pool, access(&[Scope::Read], None, false)).await;
    let before = client.json("/api/v1/events").await["last"].as_str().unwrap().to_owned();
    let account = AccountId::bot(1001).unwrap();
    drop(pool.acquire(account).await.unwrap());
    pool.close_account(account).await;
    let has_both = |answer: &Value| kinds(answer).len() == 2;
    let path = format!("/api/v1/events?after={before}");
    let all = until(client, &path, has_both).await;
    assert_eq!(kinds(&all), ["connection_opened", "connection_closed"]);
    let [opened, closed] = [&all["events"][0], &all["events"][1]];
    assert_eq!((&opened["account"], &opened["group"]), (&"bot:1001".into(), &"odd".into()));
    assert_eq!(closed["text"], "closed after 1 uses: requested");
    assert_eq!(closed["connection"], opened["connection"]);
    assert_eq!(all["last"], closed["id"]);
    let count = async |query: &str| kinds(&client.json(&format!("{path}&{query}")).await).len();
    assert_eq!(count("kind=connection_opened").await, 1);
    assert_eq!(count("account=bot:1001").await, 2);
    assert_eq!(count("account=bot:1000").await, 0);
    assert_eq!(count("group=even").await, 0);
    assert_eq!(count("level=warn").await, 0);
    assert_eq!(count("limit=1&kind=connection_closed").await, 1);
    let account = client.json("/api/v1/accounts/bot:1001").await;
    assert_eq!(kinds(&account), ["account_opened", "connection_opened", "connection_closed"][1..]);
    for query in ["after=x", "after=", "level=grave", "limit=0", "limit=2001", "kind=a&kind=b"] {
        client.get(&format!("/api/v1/events?{query}")).await.problem(400, "bad_query");
    }
}

#[tokio::test]
async fn a_stream_goes_on_where_the_client_was_and_ends_when_the_panel_stops() {
    let pool = grouped(1);
    let panel = Panel::new(&pool).unwrap().access(access(&[Scope::Read], None, false));
    let client = serve_panel(&panel).await;
    let mut first = Stream::open(client, "/api/v1/events/stream", "").await;
    let (_, _, sample) = first.until("sample").await;
    assert_eq!(sample["totals"]["accounts"]["ready"], 2);
    let account = AccountId::bot(1000).unwrap();
    drop(pool.acquire(account).await.unwrap());
    let (id, _, opened) = first.until("event").await;
    assert_eq!(
        (opened["kind"].as_str(), id.as_deref()),
        (Some("connection_opened"), opened["id"].as_str())
    );
    drop(first);
    pool.close_account(account).await;
    let again = format!("Last-Event-ID: {}\r\n", id.unwrap());
    let mut second = Stream::open(client, "/api/v1/events/stream?samples=0", &again).await;
    let (_, _, closed) = second.next().await.unwrap();
    assert_eq!(closed["kind"], "connection_closed");
    // An id of another process: what came between is lost.
    let path = "/api/v1/events/stream?samples=0";
    let mut third = Stream::open(client, path, "Last-Event-ID: 1\r\n").await;
    assert_eq!(third.next().await.unwrap().1, "missed");
    assert_eq!(third.next().await.unwrap().2["kind"], "connection_opened");
    panel.stop();
    while second.next().await.is_some() {}
    while third.next().await.is_some() {}
}

#[tokio::test]
async fn a_stream_is_filtered_as_the_list_is() {
    let pool = grouped(2);
    let client = serve(&pool, access(&[Scope::Read], None, true)).await;
    let before = client.json("/api/v1/events").await["last"].as_str().unwrap().to_owned();
    let phone = AccountId::phone(FIRST).unwrap();
    for account in [phone, AccountId::bot(1001).unwrap()] {
        drop(pool.acquire(account).await.unwrap());
        pool.close_account(account).await;
    }
    let path = format!("/api/v1/events?after={before}");
    let all = until(client, &path, |it| kinds(it).len() == 4).await;
    let opened = "connection_opened";
    let spelled = format!("account={FIRST}");
    for (filter, kind, account) in [
        ("account=bot:1001&kind=connection_closed", "connection_closed", "bot:1001"),
        ("group=odd", opened, "bot:1001"),
        // However it is spelled.
        (&*spelled, opened, &*phone.reveal().to_string()),
    ] {
        let path = format!("/api/v1/events?after={before}&{filter}");
        let listed = client.json(&path).await;
        let path = format!("/api/v1/events/stream?samples=0&{filter}");
        let since = format!("Last-Event-ID: {before}\r\n");
        let mut stream = Stream::open(client, &path, &since).await;
        for event in listed["events"].as_array().unwrap() {
            assert_eq!(stream.next().await.unwrap().2, *event, "{filter}");
        }
        let first = &listed["events"][0];
        assert_eq!((&first["kind"], &first["account"]), (&kind.into(), &account.into()), "{all}");
    }
    let warned = client.json(&format!("/api/v1/events?after={before}&level=warn")).await;
    assert!(kinds(&warned).is_empty());
    let path = "/api/v1/events/stream";
    for query in ["level=grave", "kind=a&kind=b", "colour=red", "samples=2"] {
        client.get(&format!("{path}?{query}")).await.problem(400, "bad_query");
    }
    client.get(&format!("{path}?account=p-1")).await.problem(404, "unknown");
    // A sample comes whatever is filtered.
    let mut stream = Stream::open(client, &format!("{path}?kind=none"), "").await;
    assert_eq!(stream.next().await.unwrap().1, "sample");
}

#[tokio::test]
async fn streams_end_with_the_pool() {
    let pool = grouped(1);
    let client = serve(&pool, access(&[Scope::Read], None, false)).await;
    let mut stream = Stream::open(client, "/api/v1/events/stream?samples=0", "").await;
    pool.close().await;
    assert_eq!(stream.until("event").await.2["kind"], "closing");
    drop(pool);
    while stream.next().await.is_some() {}
}

#[tokio::test]
async fn the_history_has_the_series_of_the_groups_that_are_seen() {
    let pool = grouped(2);
    let lease = pool.acquire(AccountId::phone(FIRST).unwrap()).await.unwrap();
    let panel = Panel::new(&pool).unwrap();
    let even = serve_panel(&panel.access(access(&[Scope::Read], Some(&["even"]), false))).await;
    let path = "/api/v1/history?step=1";
    let has_some = |answer: &Value| !answer["at"].as_array().unwrap().is_empty();
    let history = until(even, path, has_some).await;
    assert_eq!(history["step_ms"], 1000);
    let series = history["series"].as_object().unwrap();
    for name in ["connections.idle", "acquires.ok", "wait_p99_s", "closes.idle", "oldest_wait_s"] {
        let length = series[name].as_array().unwrap().len();
        assert_eq!(length, history["at"].as_array().unwrap().len(), "{name}");
    }
    assert_eq!(series["connections.active"][0], 1.0);
    let odd = even.json("/api/v1/history?group=odd").await;
    assert_eq!(odd["series"]["connections.active"][0], 0.0, "it is not theirs to see");
    let last = history["at"].as_array().unwrap().last().unwrap().as_u64().unwrap() + 3_600_000;
    let later = even.json(&format!("/api/v1/history?since={last}")).await;
    assert_eq!(later["at"], Value::Array(Vec::new()));
    for query in ["step=0", "step=601", "since=-1", "since=x"] {
        even.get(&format!("/api/v1/history?{query}")).await.problem(400, "bad_query");
    }
    drop(lease);
}
