//! The snapshot, and the lists of accounts and of connections.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use telepool::http::{Panel, Scope};
use telepool::{AccountId, Manager, NoopManager, Pool, Profile};

use crate::http::client::Client;
use crate::http::{access, serve, serve_panel};

/// Accounts in groups by their last digit: `even` and `odd`.
#[derive(Debug)]
pub(super) struct Grouped;

impl Manager for Grouped {
    type Connection = ();
    type Error = std::io::Error;

    fn profile(&self, account: AccountId) -> Option<Profile> {
        let mut profile = Profile::new(2);
        let is_even = account.number().is_multiple_of(2);
        profile.group = Arc::from(if is_even { "even" } else { "odd" });
        Some(profile)
    }

    async fn connect(&self, _account: AccountId, _slot: u16) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) const FIRST: u64 = 442_079_460_000;

/// A pool that knows so many phones and as many bots.
pub(super) fn grouped(count: u64) -> Pool<Grouped> {
    let pool = Pool::builder(Grouped).build().unwrap();
    for number in 0..count {
        pool.account(AccountId::phone(FIRST + number).unwrap()).unwrap();
        pool.account(AccountId::bot(1000 + number).unwrap()).unwrap();
    }
    pool
}

/// The rows of all pages of a list.
async fn pages(client: Client, path: &str, list: &str) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.json(&format!("{path}{cursor}")).await;
        rows.extend(page[list].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

#[tokio::test]
async fn the_snapshot_has_the_numbers_of_all_and_of_each_group() {
    let pool = grouped(3);
    let lease = pool.acquire(AccountId::phone(FIRST).unwrap()).await.unwrap();
    let client = serve(&pool, access(&[Scope::Read], None, false)).await;
    let snapshot = client.json("/api/v1/snapshot").await;
    assert_eq!(snapshot["totals"]["accounts"]["ready"], 6);
    assert_eq!(snapshot["totals"]["connections"]["active"], 1);
    assert_eq!(snapshot["totals"]["acquires"]["ok"], 1);
    assert_eq!(snapshot["readiness"]["ready"], true);
    assert_eq!(snapshot["alerts"], Value::Array(Vec::new()));
    assert_eq!(snapshot["access"]["name"], "tester");
    let groups = snapshot["groups"].as_array().unwrap();
    let counts: Vec<_> =
        groups.iter().map(|it| (&it["name"], &it["totals"]["accounts"]["ready"])).collect();
    assert_eq!(counts, [(&"even".into(), &4.into()), (&"odd".into(), &2.into())]);
    drop(lease);
}

#[tokio::test]
async fn a_page_follows_the_other_and_no_row_is_missed_in_any_order() {
    let pool = grouped(20);
    let client = serve(&pool, access(&[Scope::Read], None, true)).await;
    let sorts = "name state group active waiting oldest_wait created closed errors last_used";
    for sort in sorts.split(' ') {
        for order in ["asc", "desc"] {
            let path = format!("/api/v1/accounts?limit=7&sort={sort}&order={order}");
            let rows = pages(client, &path, "accounts").await;
            let ids: BTreeSet<_> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
            assert_eq!((rows.len(), ids.len()), (40, 40), "{path}");
        }
    }
    let rows = pages(client, "/api/v1/accounts?sort=name&limit=500", "accounts").await;
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(names[0], format!("+{FIRST}"));
}

#[tokio::test]
async fn accounts_are_found_by_what_is_shown_of_them() {
    let pool = grouped(10);
    let client = serve(&pool, access(&[Scope::Read], None, false)).await;
    let matched = async |query: &str| {
        let page = client.json(&format!("/api/v1/accounts?{query}")).await;
        assert_eq!(page["known"], 20);
        page["matched"].as_u64().unwrap()
    };
    assert_eq!(matched("q=bot:").await, 10);
    assert_eq!(matched("q=%2B4420").await, 10);
    assert_eq!(matched("q=79460").await, 0, "what is masked is not searched");
    assert_eq!(matched("q=ODD").await, 10);
    assert_eq!(matched("group=odd").await, 10);
    assert_eq!(matched("group=od").await, 0);
    assert_eq!(matched("q=bot&group=odd&state=ready").await, 5);
    assert_eq!(matched("state=quarantined").await, 0);
    assert_eq!(matched("reason=dead").await, 0);
    let page = client.json("/api/v1/accounts?q=%2B4420&limit=1").await;
    let alias = page["accounts"][0]["id"].as_str().unwrap();
    assert!(alias.starts_with("p-"), "{alias}");
    assert_eq!(matched(&format!("q={alias}")).await, 1);
    let account = client.json(&format!("/api/v1/accounts/{alias}")).await;
    assert_eq!(account["name"], page["accounts"][0]["name"]);
    client.get(&format!("/api/v1/accounts/+{FIRST}")).await.problem(404, "unknown");
}

#[tokio::test]
async fn an_answer_that_one_gets_is_given_to_nobody_who_sees_something_else() {
    let pool = grouped(10);
    drop(pool.acquire(AccountId::phone(FIRST).unwrap()).await.unwrap());
    drop(pool.acquire(AccountId::phone(FIRST + 1).unwrap()).await.unwrap());
    let mut panel = Panel::new(&pool).unwrap();
    let mut told = Vec::new();
    // Each asks the same of one panel, right after the other, and then once more.
    for _ in 0..2 {
        for (groups, phones) in
            [(None, true), (None, false), (Some(&["odd"][..]), true), (Some(&["odd"][..]), false)]
        {
            panel = panel.access(access(&[Scope::Read], groups, phones));
            let client = serve_panel(&panel).await;
            let page = client.json("/api/v1/accounts?q=%2B&limit=500").await;
            assert_eq!(page["known"], if groups.is_none() { 20 } else { 10 });
            assert_eq!(page["matched"], if groups.is_none() { 10 } else { 5 });
            let list = client.json("/api/v1/connections").await;
            assert_eq!(list["matched"], if groups.is_none() { 2 } else { 1 });
            for rows in [&page["accounts"], &list["connections"]] {
                for row in rows.as_array().unwrap() {
                    let is_full = !row["name"].as_str().unwrap().contains('*');
                    assert_eq!(is_full, phones, "{row}");
                }
            }
            let names = page["accounts"].as_array().unwrap().iter().map(|row| row["name"].clone());
            told.push(names.collect::<Vec<_>>());
        }
    }
    assert_eq!(told[..4], told[4..], "the same for the same access");
}

#[tokio::test]
async fn connections_are_listed_with_what_they_do() {
    let pool = grouped(4);
    let phone = AccountId::phone(FIRST).unwrap();
    let held = pool.acquire(phone).await.unwrap();
    drop(pool.acquire(AccountId::bot(1001).unwrap()).await.unwrap());
    let client = serve(&pool, access(&[Scope::Read], None, true)).await;
    let page = client.json("/api/v1/connections?sort=leases&order=desc").await;
    assert_eq!(page["matched"], 2);
    let rows = page["connections"].as_array().unwrap();
    assert_eq!((&rows[0]["state"], &rows[0]["leases"]), (&"active".into(), &1.into()));
    assert_eq!(rows[0]["account"], format!("+{FIRST}"));
    assert_eq!((&rows[1]["state"], &rows[1]["account"]), (&"idle".into(), &"bot:1001".into()));
    let idle = client.json("/api/v1/connections?state=idle&group=odd").await;
    assert_eq!(idle["matched"], 1);
    let account = client.json(&format!("/api/v1/accounts/+{FIRST}")).await;
    assert_eq!(account["connections_list"][0]["id"], rows[0]["id"]);
    assert_eq!(account["connections"]["active"], 1);
    drop(held);
}

#[tokio::test]
async fn a_query_that_is_not_as_described_is_refused_with_a_remedy() {
    let pool = Pool::builder(NoopManager::new(1)).build().unwrap();
    let client = serve(&pool, access(&[Scope::Read], None, false)).await;
    for query in [
        "limit=0",
        "limit=501",
        "limit=x",
        "limit=",
        "sort=size",
        "state=sleepy",
        "order=up",
        "unknown=1",
        "limit=1&limit=2",
        "q=%FF",
        "q=%zz",
        &format!("q={}", "x".repeat(101)),
    ] {
        client.get(&format!("/api/v1/accounts?{query}")).await.problem(400, "bad_query");
    }
    let cursor = "A".repeat(44);
    for path in ["accounts?sort=group&cursor=", "connections?cursor=", "accounts?cursor=x"] {
        client.get(&format!("/api/v1/{path}{cursor}")).await.problem(400, "bad_cursor");
    }
    client.get("/api/v1/nothing").await.problem(404, "unknown_path");
    client.get("/nothing").await.problem(404, "unknown_path");
    client.get("/api/v1/accounts/nobody").await.problem(404, "unknown");
    client.get("/api/v1/accounts/%FF").await.problem(400, "bad_path");
    let answer = client.ask("POST", "/api/v1/snapshot", None).await;
    answer.problem(405, "unknown_method");
    assert!(answer.head.contains("allow: get"), "{answer:?}");
}

#[tokio::test]
async fn nobody_reads_without_the_scope() {
    let pool = Pool::builder(NoopManager::new(1)).build().unwrap();
    let client = serve(&pool, access(&[], None, false)).await;
    for path in ["/api/v1/snapshot", "/api/v1/accounts", "/api/v1/openapi.json", "/metrics"] {
        client.get(path).await.problem(401, "no_access");
    }
    assert_eq!(client.get("/healthz").await.status, 200);
    let other = Pool::builder(NoopManager::new(1)).build().unwrap();
    let client = serve(&other, access(&[Scope::Operate], None, false)).await;
    client.get("/api/v1/snapshot").await.problem(403, "missing_scope");
}

#[tokio::test]
async fn a_panel_does_not_keep_its_pool_alive() {
    let pool = Pool::builder(NoopManager::new(1)).build().unwrap();
    let client = serve(&pool, access(&[Scope::Read], None, false)).await;
    assert_eq!(client.get("/api/v1/accounts").await.status, 200);
    let mut events = pool.events();
    drop(pool);
    // The stream ends when nothing of the pool is left.
    let over = async { while events.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(60), over).await.expect("the pool has gone");
    assert_eq!(client.get("/healthz").await.status, 503);
    client.get("/api/v1/connections").await.problem(503, "closing");
}
