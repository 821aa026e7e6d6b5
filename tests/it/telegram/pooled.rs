//! The pool over real connections: calls go through, and no key is ever on two connections.

use std::sync::{Arc, Mutex};

use telepool::telegram::{QuarantineFile, SessionProfile, SessionSource};
use telepool::{AcquireError, Pool};

use super::*;

fn pool_of<S: SessionSource>(manager: TelegramManager<S>) -> Pool<TelegramManager<S>> {
    Pool::builder(manager)
        .configure(|config| {
            config.dial.per_second = 2000;
            config.dial.handshakes = 64;
        })
        .build()
        .unwrap()
}

#[tokio::test]
async fn many_callers_share_few_connections() {
    let Bench { server, manager, .. } = bench(2);
    let pool = pool_of(manager);
    let mut callers = Vec::new();
    for _ in 0..50 {
        let pool = pool.clone();
        callers.push(tokio::spawn(async move {
            for _ in 0..10 {
                let lease = pool.acquire(account()).await.unwrap();
                lease.run(async |it| it.invoke(&GetNearestDc {}).await).await.unwrap();
            }
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
    let stats = pool.stats();
    assert_eq!((stats.acquires, stats.leases), (500, 0));
    assert!(stats.total_connections_created <= 2);
    assert_eq!(pool.close().await.still_open, 0);
    quiet(&server).await;
    assert_eq!(server.violations(), 0);
}

#[tokio::test]
async fn recycling_under_load_never_overlaps_two_connections_of_a_key() {
    let Bench { server, manager, .. } = bench(3);
    let pool = pool_of(manager);
    let mut callers = Vec::new();
    for caller in 0..24_u32 {
        let pool = pool.clone();
        callers.push(tokio::spawn(async move {
            for round in 0..20 {
                let lease = pool.acquire(account()).await.unwrap();
                lease.invoke(&GetNearestDc {}).await.unwrap();
                match (caller + round) % 11 {
                    0 => lease.discard(),
                    5 => {
                        pool.close_connection(account(), lease.connection_id());
                    }
                    _ => {}
                }
            }
        }));
    }
    for _ in 0..5 {
        pool.close_account(account()).await;
        let mut config = (*pool.config()).clone();
        config.pool.max_connections_per_account = 4 - config.pool.max_connections_per_account;
        pool.reconfigure(config).unwrap();
    }
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(pool.close().await.still_open, 0);
    quiet(&server).await;
    assert_eq!(server.violations(), 0);
    assert!(pool.stats().total_connections_created > 10, "there was something to overlap");
}

#[tokio::test]
async fn a_session_that_was_revoked_while_it_was_idle_ends_in_quarantine() {
    let Bench { server, manager, .. } = bench(1);
    let pool = pool_of(manager);
    drop(pool.acquire(account()).await.unwrap());
    pool.close_account(account()).await;
    let revoked = Reply::Error(401, "SESSION_REVOKED");
    server.decide::<functions::updates::GetState>(revoked);
    server.decide::<GetNearestDc>(revoked);
    // The dial takes it at its word; the call, or else the next dial, learns better.
    match pool.acquire(account()).await {
        Ok(lease) => drop(lease.invoke(&GetNearestDc {}).await.unwrap_err()),
        // Over the wire the check has its answer as soon as the server says anything.
        Err(error) => assert_eq!(ENGINE, Engine::Wire, "{error}"),
    }
    let refused = pool.acquire(account()).await.unwrap_err();
    let reason = QuarantineReason::NeedsLogin;
    let quarantined =
        matches!(&refused, AcquireError::Quarantined { reason: it, .. } if *it == reason);
    assert!(quarantined, "{refused}");
    assert_eq!(pool.close().await.still_open, 0);
    quiet(&server).await;
    assert_eq!(server.violations(), 0);
}

/// Sessions of one account that come and go.
#[derive(Default)]
struct Changing(Mutex<Vec<SessionRecord>>);

impl Changing {
    fn now_are(&self, records: &[&SessionRecord]) {
        *self.0.lock().unwrap() = records.iter().copied().cloned().collect();
    }
}

impl SessionSource for Changing {
    fn profile(&self, _: AccountId) -> Option<SessionProfile> {
        let sessions = u16::try_from(self.0.lock().unwrap().len()).unwrap();
        (sessions > 0).then(|| SessionProfile::new(sessions))
    }

    fn session(&self, _: AccountId, slot: u16) -> Option<SessionRecord> {
        let mut record = self.0.lock().unwrap().get(usize::from(slot)).cloned()?;
        record.slot = slot;
        Some(record)
    }
}

/// Also if one moves to the slot of another, which no source should do.
#[tokio::test]
async fn no_key_is_on_two_connections_however_sessions_come_go_and_move() {
    let server = Server::start();
    let [first, second] = [[1; 256], [2; 256]].map(|key| enrolled(&server, key));
    let source = Arc::new(Changing::default());
    source.now_are(&[&first]);
    let pool = pool_of(TelegramManager::new(Arc::clone(&source), settings()));
    let handle = pool.account(account()).unwrap();
    let one = handle.acquire().await.unwrap();
    source.now_are(&[&first, &second]);
    pool.reinstate(account());
    let mut config = (*pool.config()).clone();
    config.pool.max_leases_per_connection = 1;
    pool.reconfigure(config).unwrap();
    let two = loop {
        let lease = handle.acquire().await.unwrap();
        if lease.slot() == 1 {
            break lease;
        }
        lease.discard();
    };
    two.invoke(&GetNearestDc {}).await.unwrap();
    // The second is the first now, and its connection is still held.
    source.now_are(&[&second]);
    pool.reinstate(account());
    drop(one);
    let in_use = handle.acquire_timeout(Duration::from_millis(300)).await;
    assert!(in_use.is_err(), "its key is on another connection");
    two.invoke(&GetNearestDc {}).await.unwrap();
    drop(two);
    pool.reinstate(account());
    handle.acquire().await.unwrap().invoke(&GetNearestDc {}).await.unwrap();
    source.now_are(&[]);
    pool.reinstate(account());
    let none = handle.acquire().await;
    assert!(matches!(none, Err(AcquireError::NoSession { .. })));
    quiet(&server).await;
    assert_eq!(server.violations(), 0);
}

/// What no server has said is no reason to leave a session alone.
#[tokio::test]
async fn a_session_whose_proxy_is_down_is_not_quarantined_and_serves_as_soon_as_it_has_none() {
    let server = Server::start();
    let key = [7; 256];
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.jsonl");
    let mut record = enrolled(&server, key);
    record.proxy = Some(Arc::new("socks5://user:secret@127.0.0.1:9".parse().unwrap()));
    let source = MemorySource::new([record.clone()]).unwrap();
    let kept = Arc::new(QuarantineFile::open(&state, source).unwrap());
    let pool = pool_of(TelegramManager::new(Arc::clone(&kept), settings()));
    for _ in 0..2 {
        let refused = pool.acquire(account()).await.unwrap_err().to_string();
        assert!(refused.contains("the proxy 127.0.0.1:9 cannot be reached"), "{refused}");
        assert!(!refused.contains("secret"), "{refused}");
        pool.reinstate(account());
    }
    assert_eq!(server.state.accepted.load(Ordering::SeqCst), 0, "it was not dialled directly");
    pool.close().await;
    assert!(kept.flush(Duration::from_secs(60)));
    assert_eq!(std::fs::read_to_string(&state).unwrap(), "");
    drop((pool, kept));
    // The pool's last task may outlast it by a moment, and hold the file.
    record.proxy = None;
    let other = folder.path().join("other.jsonl");
    std::fs::copy(&state, &other).unwrap();
    let source = MemorySource::new([record]).unwrap();
    let source = QuarantineFile::open(&other, source).unwrap();
    let pool = pool_of(TelegramManager::new(source, settings()));
    drop(pool.acquire(account()).await.unwrap());
    assert_eq!(pool.close().await.still_open, 0);
    quiet(&server).await;
}
