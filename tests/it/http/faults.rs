//! What a manager tells the API: the names of methods, sessions that are lost, and panics, which cost the
//! answer that asked and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use telepool::http::Scope;
use telepool::{
    AccountId, Manager, MetricsSource, Pool, Profile, QuarantineReason, Reaction, UpdateLosses,
};

use crate::http::{access, serve};

/// Names its methods, unless it is told to panic instead.
#[derive(Debug, Default)]
struct Named {
    panics: Arc<AtomicBool>,
}

impl Named {
    fn may_panic(&self) {
        assert!(!self.panics.load(Ordering::Relaxed), "a secret of the manager's");
    }
}

#[derive(Debug, thiserror::Error)]
#[error("wait")]
struct Flood;

impl Manager for Named {
    type Connection = ();
    type Error = Flood;

    fn profile(&self, _account: AccountId) -> Option<Profile> {
        Some(Profile::new(2))
    }

    async fn connect(&self, _account: AccountId, _slot: u16) -> Result<(), Flood> {
        Ok(())
    }

    fn react(&self, _error: &Flood) -> Reaction {
        Reaction::CoolDown { key: 0xff, wait: Duration::from_secs(3600) }
    }

    fn quarantines(&self, account: AccountId) -> Vec<(u16, QuarantineReason)> {
        let lost = account.number().is_multiple_of(2).then_some((1, QuarantineReason::Dead));
        lost.into_iter().collect()
    }

    fn metrics(&self) -> Option<&dyn MetricsSource> {
        Some(self)
    }
}

impl MetricsSource for Named {
    fn method_name(&self, _key: u32) -> Option<&'static str> {
        self.may_panic();
        Some("messages.sendMessage")
    }

    fn update_losses(&self) -> Vec<(Arc<str>, UpdateLosses)> {
        self.may_panic();
        Vec::new()
    }
}

#[tokio::test]
async fn a_manager_that_panics_costs_the_answer_that_asked_it_and_tells_nobody_what_it_said() {
    let panics = Arc::new(AtomicBool::new(false));
    let manager = Named { panics: Arc::clone(&panics) };
    let pool = Pool::builder(manager).build().unwrap();
    let account = AccountId::bot(1).unwrap();
    pool.acquire(account).await.unwrap().report(&Flood);
    let client = serve(&pool, access(&[Scope::Read], None, false)).await;
    let rests = client.json("/api/v1/accounts/bot:1").await["cooldowns"][0].clone();
    assert_eq!(rests["method"], "000000ff");
    assert_eq!(rests["name"], "messages.sendMessage");
    panics.store(true, Ordering::Relaxed);
    let failed = client.get("/api/v1/accounts/bot:1").await;
    failed.problem(500, "bug");
    assert!(!failed.body.contains("secret"), "{failed:?}");
    assert_eq!(client.get("/metrics").await.status, 500);
    assert_eq!(client.get("/api/v1/accounts").await.status, 200);
    let sampled_at = async || client.json("/api/v1/snapshot").await["at"].as_u64().unwrap();
    let before = sampled_at().await;
    // Until a sample has failed.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    panics.store(false, Ordering::Relaxed);
    while sampled_at().await == before {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.get("/api/v1/accounts/bot:1").await.status, 200);
    assert_eq!(client.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn a_session_that_is_lost_is_told_while_its_account_serves_with_the_others() {
    let pool = Pool::builder(Named::default()).build().unwrap();
    drop(pool.acquire(AccountId::bot(2).unwrap()).await.unwrap());
    let client = serve(&pool, access(&[Scope::Read], None, false)).await;
    let alerts = async || client.json("/api/v1/snapshot").await["alerts"].clone();
    let told = alerts().await[0].clone();
    assert_eq!((&told["kind"], &told["count"]), (&"sessions_quarantined".into(), &1.into()));
    let account = client.json("/api/v1/accounts/bot:2").await;
    assert_eq!(account["state"], "ready");
    assert_eq!(account["quarantines"][0]["reason"], "dead");
    pool.drain_account(AccountId::bot(2).unwrap()).await;
    let kinds = |alerts: &serde_json::Value| -> Vec<String> {
        let all = alerts.as_array().unwrap().iter();
        all.map(|it| it["kind"].as_str().unwrap().to_owned()).collect()
    };
    while kinds(&alerts().await).contains(&"sessions_quarantined".to_owned()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
