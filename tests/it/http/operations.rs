//! Operations and the configuration: who may, what comes of it, and what is left of it.

use std::time::Duration;

use telepool::http::{Panel, Scope, SettingOrigin, StaticSetting};
use telepool::{AccountHealth, AccountId, Pool};

use crate::http::client::Client;
use crate::http::lists::{FIRST, Grouped, grouped};
use crate::http::{access, serve, serve_panel};

const BOTH: [Scope; 2] = [Scope::Read, Scope::Operate];

async fn post(client: Client, path: &str) -> serde_json::Value {
    let answer = client.ask("POST", path, None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn an_operator_closes_drains_and_reinstates_and_each_is_told_with_who_did_it() {
    let pool = grouped(1);
    let client = serve(&pool, access(&BOTH, None, true)).await;
    let account = AccountId::phone(FIRST).unwrap();
    drop(pool.acquire(account).await.unwrap());
    let path = format!("/api/v1/accounts/+{FIRST}");
    assert_eq!(post(client, &format!("{path}/close")).await["done"], true);
    assert_eq!(pool.account_stats(account).unwrap().total_connections, 0);
    assert_eq!(post(client, &format!("{path}/pause")).await["done"], true);
    assert_eq!(pool.account_health(account), Some(AccountHealth::Paused));
    assert_eq!(client.json(&path).await["state"], "paused");
    assert_eq!(post(client, &format!("{path}/pause")).await["done"], false);
    assert_eq!(post(client, &format!("{path}/resume")).await["done"], true);
    assert_eq!(post(client, &format!("{path}/drain")).await["done"], true);
    assert_eq!(pool.account_health(account), Some(AccountHealth::Draining));
    assert_eq!(post(client, &format!("{path}/reinstate")).await["done"], true);
    assert_eq!(pool.account_health(account), Some(AccountHealth::Ready));
    let again = post(client, &format!("{path}/reinstate")).await;
    assert_eq!(again["done"], false, "{again}");
    let told = client.json("/api/v1/events?kind=operation").await;
    let told = told["events"].as_array().unwrap();
    let texts: Vec<_> = told.iter().map(|it| it["text"].as_str().unwrap()).collect();
    let did = ["close by tester", "pause by tester", "pause by tester: there was nothing to do"];
    assert_eq!(texts[..3], did);
    let did = ["resume by tester", "drain by tester", "reinstate by tester"];
    assert_eq!(texts[3..6], did);
    assert!(told.iter().all(|it| it["by"] == "tester" && it["account"] == format!("+{FIRST}")));
}

#[tokio::test]
async fn a_held_lease_keeps_nobody_waiting_and_the_close_of_its_connection_goes_on() {
    let pool = grouped(1);
    let client = serve(&pool, access(&BOTH, None, false)).await;
    let account = AccountId::bot(1000).unwrap();
    let lease = pool.acquire(account).await.unwrap();
    let listed = client.json("/api/v1/connections").await;
    let id = listed["connections"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/accounts/bot:1000/connections/{id}/close");
    assert_eq!(post(client, &path).await["done"], true);
    assert_eq!(post(client, "/api/v1/accounts/bot:1000/drain").await["done"], false);
    drop(lease);
    while pool.account_stats(account).unwrap().total_connections > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ask = async |path: &str| client.ask("POST", path, None).await;
    ask(&path).await.problem(404, "unknown");
    ask("/api/v1/accounts/bot:1000/connections/x/close").await.problem(400, "bad_path");
    let beyond = "9".repeat(20);
    let beyond = format!("/api/v1/accounts/bot:1000/connections/{beyond}/close");
    ask(&beyond).await.problem(404, "unknown");
    ask("/api/v1/accounts/bot:77/drain").await.problem(404, "unknown");
}

#[tokio::test]
async fn nobody_changes_anything_without_the_scope_or_beyond_their_groups() {
    let pool = grouped(2);
    let limited = access(&BOTH, Some(&["odd"]), false);
    let reader = access(&[Scope::Read], None, false);
    let panel = Panel::new(&pool).unwrap().access(reader);
    let reader = serve_panel(&panel).await;
    let limited = serve_panel(&panel.access(limited)).await;
    let drain = "/api/v1/accounts/bot:1000/drain";
    reader.ask("POST", drain, None).await.problem(403, "missing_scope");
    limited.ask("POST", drain, None).await.problem(404, "unknown");
    let change = Some(r#"{"pool.max_connections":"5"}"#);
    reader.ask("PATCH", "/api/v1/config", change).await.problem(403, "missing_scope");
    limited.ask("PATCH", "/api/v1/config", change).await.problem(403, "limited_to_groups");
    assert_eq!(pool.account_health(AccountId::bot(1000).unwrap()), Some(AccountHealth::Ready));
    assert_eq!(pool.config().pool.max_connections, 10_000);
}

#[tokio::test]
async fn settings_are_changed_as_a_whole_or_not_at_all() {
    let pool: Pool<Grouped> = grouped(1);
    let origins = [("pool.max_idle_time".to_owned(), SettingOrigin::File)];
    let timer = StaticSetting {
        key: "telegram.redial_after_loss".to_owned(),
        value: "60".to_owned(),
        default: "120".to_owned(),
        accepts: "a time".to_owned(),
        about: "a session rests so long".to_owned(),
        origin: SettingOrigin::Environment,
    };
    let panel = Panel::new(&pool).unwrap().access(access(&BOTH, None, false));
    let panel = panel.origins(origins).static_settings([timer]);
    let client = serve_panel(&panel).await;
    let setting = async |key: &str| {
        let page = client.json("/api/v1/config").await;
        let settings = page["settings"].as_array().unwrap().clone();
        settings.into_iter().find(|it| it["key"] == key).unwrap()
    };
    assert_eq!(setting("pool.max_idle_time").await["origin"], "file");
    assert_eq!(setting("pool.max_connections").await["origin"], "default");
    let patch = async |body: &str| client.ask("PATCH", "/api/v1/config", Some(body)).await;
    let refused = patch(r#"{"pool.max_connections":"5","pool.max_idle_tine":"2m"}"#).await;
    let problem = refused.problem(400, "bad_setting");
    assert!(problem["detail"].as_str().unwrap().contains("did you mean pool.max_idle_time?"));
    assert_eq!(pool.config().pool.max_connections, 10_000, "nothing was changed");
    let own = setting("telegram.redial_after_loss").await;
    assert_eq!((&own["value"], &own["origin"]), (&"60".into(), &"environment".into()));
    assert_eq!(own["applies"], "restart");
    let own = r#"{"pool.max_connections":"5","telegram.redial_after_loss":"1m"}"#;
    let problem = patch(own).await.problem(400, "needs_restart");
    assert!(problem["detail"].as_str().unwrap().ends_with("only: telegram.redial_after_loss"));
    assert_eq!(pool.config().pool.max_connections, 10_000, "nothing was changed");
    for body in ["", "[]", "{", r#"{"pool.max_connections":5}"#, r#"{"a":null}"#] {
        assert_eq!(patch(body).await.problem(400, "bad_body")["stage"], "request");
    }
    let long = format!(r#"{{"pool.max_connections":"{}"}}"#, "5".repeat(20_000));
    patch(&long).await.problem(413, "body_too_large");
    let changed = patch(r#"{"pool.max_connections":"5","pool.max_idle_time":"2m"}"#).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(setting("pool.max_idle_time").await["origin"], "api");
    assert_eq!(setting("pool.max_idle_time").await["value"], "120");
    assert_eq!(pool.config().pool.max_connections, 5);
    let told = client.json("/api/v1/events?kind=operation").await;
    assert_eq!(
        told["events"][0]["text"],
        "reconfigure by tester: pool.max_connections, pool.max_idle_time"
    );
}
