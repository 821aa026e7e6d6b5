//! The manager against a data centre on this machine: connections come and go as told,
//! no authorization key is ever on two of them, and nothing redials by itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod calls;
mod keys;
mod logins;
mod pooled;
mod server;
#[cfg(feature = "metrics")]
mod traffic;
mod updates;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use server::{Reply, Server};
use telepool::session::{AuthKey, SessionRecord};
use telepool::telegram::client::tl::{self, RemoteCall, Serializable, enums, functions};
use telepool::telegram::{
    Engine, MemorySource, Refusal, TelegramConnection, TelegramError, TelegramManager,
    TelegramSettings,
};
use telepool::{AccountId, Manager, QuarantineReason, Reaction};

use super::ENGINE;

type GetNearestDc = functions::help::GetNearestDc;
/// What every connection begins with.
type Introduction = functions::InvokeWithLayer<functions::help::GetConfig>;

/// A server, and a manager of one account with some sessions on it.
struct Bench {
    server: Server,
    manager: TelegramManager<MemorySource>,
    keys: Vec<[u8; 256]>,
}

const DC: i32 = 2;

fn account() -> AccountId {
    AccountId::phone(9_996_621_234).unwrap()
}

fn settings() -> TelegramSettings {
    let mut settings = TelegramSettings::new(1);
    settings.engine = ENGINE;
    settings
}

fn bench(sessions: u16) -> Bench {
    bench_with(sessions, settings())
}

fn bench_with(sessions: u16, settings: TelegramSettings) -> Bench {
    let server = Server::start();
    let keys: Vec<[u8; 256]> =
        (0..sessions).map(|_| std::array::from_fn(|_| fastrand::u8(..))).collect();
    let records = keys.iter().zip(0..).map(|(key, slot)| {
        let mut record = enrolled(&server, *key);
        record.slot = slot;
        record
    });
    let source = MemorySource::new(records).unwrap();
    Bench { manager: TelegramManager::new(source, settings), server, keys }
}

/// A session that the server knows.
fn enrolled(server: &Server, key: [u8; 256]) -> SessionRecord {
    server.create_sessions(key);
    let mut record = SessionRecord::new(account(), DC, server.address, AuthKey::new(key));
    (record.user_id, record.is_bot) = (1, false);
    record
}

impl Bench {
    async fn connect(&self) -> Result<TelegramConnection, TelegramError> {
        self.manager.connect(account(), 0).await
    }

    async fn quiet(&self) {
        quiet(&self.server).await;
    }

    fn accepted(&self) -> u64 {
        self.server.state.accepted.load(Ordering::SeqCst)
    }
}

/// Waits until the server has seen every connection end.
async fn quiet(server: &Server) {
    for _ in 0..10_000 {
        if server.live() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{} connections are still there", server.live());
}

/// Waits for something that comes by itself.
async fn until(come: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if come() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it does not come");
}

/// A request whose body is of our making.
struct Raw(Vec<u8>);

impl Serializable for Raw {
    fn serialize(&self, buffer: &mut impl Extend<u8>) {
        buffer.extend(self.0.iter().copied());
    }
}

impl RemoteCall for Raw {
    type Return = enums::NearestDc;
}

/// Polls a future a number of times, as it asks for it, then drops it.
async fn abandon<F: Future>(future: F, polls: usize) {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        let over = left == 0 || future.as_mut().poll(context).is_ready();
        left = left.saturating_sub(1);
        if over || left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn a_connection_is_opened_checked_used_and_closed() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    assert_eq!((connection.account(), connection.slot()), (account(), 0));
    assert!(!bench.manager.is_broken(&connection));
    bench.manager.check(&connection).await.unwrap();
    let enums::NearestDc::Dc(nearest) = connection.invoke(&GetNearestDc {}).await.unwrap();
    assert_eq!(nearest.nearest_dc, DC);
    // The plain client works too.
    connection.client().invoke(&GetNearestDc {}).await.unwrap();
    assert_eq!(bench.server.live(), 1);
    bench.manager.close(&connection).await;
    assert!(bench.manager.is_broken(&connection));
    bench.quiet().await;
    assert_eq!((bench.accepted(), bench.server.violations()), (1, 0));
}

#[tokio::test]
async fn the_profile_has_a_slot_per_session() {
    let bench = bench(3);
    let profile = bench.manager.profile(account()).unwrap();
    assert_eq!((profile.slots, profile.leases), (3, 32));
    assert!(bench.manager.profile(AccountId::bot(1).unwrap()).is_none());
    let missing = bench.manager.connect(account(), 3).await.unwrap_err();
    assert!(matches!(missing, TelegramError::NoSession { slot: 3, .. }), "{missing}");
    let mut open = Vec::new();
    for slot in 0..3 {
        open.push(bench.manager.connect(account(), slot).await.unwrap());
    }
    assert_eq!((bench.server.live(), bench.server.violations()), (3, 0));
}
