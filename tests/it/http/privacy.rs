//! What a token may not see is nowhere: in no answer of any route that there is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use telepool::http::{Access, Scope};
use telepool::{AccountId, Manager, Pool, Profile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::client::Client;
use crate::http::{access, serve};

/// Where the numbers of the phones begin, and of the bots in each group.
const PHONES: u64 = 447_700_900_100;
const BOTS: [u64; 2] = [71_000_000, 82_000_000];
/// What the groups are called: the second is the one that nobody may see.
const GROUPS: [&str; 2] = ["seen-7f3a", "unseen-9c1d"];

/// Accounts of two groups, of which some cannot be dialled: their errors name the account.
struct Telling;

fn group_of(account: AccountId) -> usize {
    match account.is_bot() {
        true => usize::from(account.number() >= BOTS[1]),
        false => usize::from(account.number() % 2 == 1),
    }
}

impl Manager for Telling {
    type Connection = AccountId;
    type Error = io::Error;

    fn profile(&self, account: AccountId) -> Option<Profile> {
        let mut profile = Profile::new(1);
        profile.group = Arc::from(GROUPS[group_of(account)]);
        Some(profile)
    }

    async fn connect(&self, account: AccountId, _slot: u16) -> io::Result<AccountId> {
        match account.number() % 4 {
            0 | 1 => Ok(account),
            _ => Err(told(account)),
        }
    }
}

fn told(account: AccountId) -> io::Error {
    io::Error::other(format!("no code for {}, that is {}", account.reveal(), account.number()))
}

/// Every path of the description that can be asked for as it is, and of each account and connection.
async fn paths(client: Client, ids: &[String]) -> Vec<String> {
    let description = client.json("/api/v1/openapi.json").await;
    let all = description["paths"].as_object().unwrap();
    let mut paths = Vec::new();
    for (path, _) in all.iter().filter(|(_, item)| !item["get"].is_null()) {
        match path.contains('{') {
            true => paths.extend(ids.iter().map(|id| path.replace("{id}", id))),
            false if path.ends_with("/stream") => {}
            false => paths.push(path.clone()),
        }
    }
    assert!(paths.iter().any(|path| path.ends_with("/accounts")), "{paths:?}");
    for sort in ["name", "group", "errors"] {
        paths.push(format!("/api/v1/accounts?sort={sort}&order=desc&limit=500"));
        paths.push(format!("/api/v1/accounts?sort={sort}&limit=1"));
    }
    for group in GROUPS {
        paths.push(format!("/api/v1/accounts?group={group}"));
        paths.push(format!("/api/v1/history?group={group}"));
        paths.push(format!("/api/v1/events?group={group}"));
    }
    paths.extend(["/metrics", "/readyz", "/healthz"].map(str::to_owned));
    paths
}

/// What a stream that begins before all events tells at first.
async fn stream(client: Client) -> String {
    let mut stream = TcpStream::connect(client.0).await.unwrap();
    let request =
        "GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 1\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    while !String::from_utf8_lossy(&told).contains("event: sample") {
        assert!(stream.read_buf(&mut told).await.unwrap() > 0);
    }
    String::from_utf8_lossy(&told).into_owned()
}

/// A pool that has done something with each account.
async fn busy(accounts: &[AccountId]) -> Pool<Telling> {
    let pool = Pool::builder(Telling).build().unwrap();
    for account in accounts {
        if let Ok(lease) = pool.acquire_timeout(*account, Duration::from_secs(5)).await {
            lease.report(&told(*account));
        }
    }
    pool
}

async fn check(numbers: Vec<(u8, bool)>, limited: bool) {
    let accounts: Vec<_> = numbers
        .iter()
        .map(|(number, is_bot)| match is_bot {
            true => AccountId::bot(BOTS[usize::from(number % 2)] + u64::from(*number)).unwrap(),
            false => AccountId::phone(PHONES + u64::from(*number)).unwrap(),
        })
        .collect();
    let pool = busy(&accounts).await;
    let groups = [GROUPS[0]];
    let asks: Access =
        access(&[Scope::Read, Scope::Operate], limited.then_some(&groups[..]), false);
    let client = serve(&pool, asks).await;
    let listed = client.json("/api/v1/accounts?limit=500").await;
    let shown = |it: &Value| it["id"].as_str().unwrap().to_owned();
    let mut ids: Vec<_> = listed["accounts"].as_array().unwrap().iter().map(shown).collect();
    let is_seen = |account: &&AccountId| !limited || group_of(**account) == 0;
    let mut seen: Vec<_> = accounts.iter().filter(is_seen).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(ids.len(), seen.len(), "all that may be seen is there: {listed}");
    // And those that may not, as somebody would try them.
    ids.extend(accounts.iter().map(|account| account.reveal().to_string()));
    let mut answers = vec![("the stream".to_owned(), stream(client).await)];
    for path in paths(client, &ids).await {
        let answer = client.get(&path).await;
        let may_be_unready = path == "/readyz" && answer.status == 503;
        assert!(may_be_unready || answer.status < 500, "{path}: {answer:?}");
        answers.push((path, answer.body));
    }
    for (path, answer) in answers {
        for account in &accounts {
            let number = account.number().to_string();
            let may_be_told = account.is_bot() && is_seen(&account);
            assert!(may_be_told || !answer.contains(&number), "{path} tells {number}: {answer}");
        }
        assert!(!limited || !answer.contains(GROUPS[1]), "{path} tells of a group: {answer}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_an_unseen_group_and_no_full_phone_number_is_in_any_answer(
        numbers in prop::collection::vec((0u8..100, any::<bool>()), 1..12),
        limited: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(numbers, limited));
    }
}
