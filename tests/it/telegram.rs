//! The grammers manager against a data centre on this machine: connections come and go as told,
//! no authorization key is ever on two of them, and nothing redials by itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "counters of the test's own server")]

mod server;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use server::{Fate, Server};
use telepool::session::{AuthKey, DataCentres, SessionRecord};
use telepool::telegram::client::tl::{
    self, Deserializable, RemoteCall, Serializable, enums, functions,
};
use telepool::telegram::{
    GrammersManager, MemorySource, Refusal, TelegramConnection, TelegramError, TelegramSettings,
};
use telepool::{AccountId, Manager, QuarantineReason, Reaction};

type GetNearestDc = functions::help::GetNearestDc;

/// A server, and a manager of one account with some sessions on it.
struct Bench {
    server: Server,
    manager: GrammersManager<MemorySource>,
    keys: Vec<[u8; 256]>,
}

const DC: i32 = 2;

fn account() -> AccountId {
    AccountId::phone(9_996_621_234).unwrap()
}

fn settings() -> TelegramSettings {
    TelegramSettings::new(1)
}

fn bench(sessions: u16) -> Bench {
    bench_with(sessions, settings())
}

fn bench_with(sessions: u16, settings: TelegramSettings) -> Bench {
    let server = Server::start();
    let keys: Vec<[u8; 256]> =
        (0..sessions).map(|_| std::array::from_fn(|_| fastrand::u8(..))).collect();
    let records = keys.iter().zip(0..).map(|(key, slot)| {
        server.enroll(*key);
        SessionRecord {
            account: account(),
            slot,
            dc: DC,
            address: server.address,
            user_id: 1,
            is_bot: false,
            key: AuthKey::new(*key),
            group: None,
            proxy: None,
        }
    });
    let source = MemorySource::new(records).unwrap();
    Bench { manager: GrammersManager::new(source, settings), server, keys }
}

impl Bench {
    async fn connect(&self) -> Result<TelegramConnection, TelegramError> {
        self.manager.connect(account(), 0).await
    }

    /// Waits until the server has seen every connection end.
    async fn quiet(&self) {
        for _ in 0..10_000 {
            if self.server.live() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{} connections are still there", self.server.live());
    }

    fn accepted(&self) -> u64 {
        self.server.state.accepted.load(Ordering::SeqCst)
    }
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

#[tokio::test]
async fn a_connection_is_opened_checked_used_and_closed() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    assert_eq!((connection.account(), connection.slot()), (account(), 0));
    assert!(!bench.manager.is_broken(&connection));
    bench.manager.check(&connection).await.unwrap();
    let enums::NearestDc::Dc(nearest) = connection.invoke(&GetNearestDc {}).await.unwrap();
    assert_eq!(nearest.nearest_dc, DC);
    // The plain client works too, through the deref.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn abandoned_connects_never_put_a_key_on_two_connections() {
    let bench = bench(1);
    for round in 0..200 {
        match round % 3 {
            // At some point of its own progress...
            0 => abandon(bench.connect(), fastrand::usize(0..8)).await,
            // ...or at some point of time...
            1 => {
                let limit = Duration::from_micros(fastrand::u64(0..1_500));
                drop(tokio::time::timeout(limit, bench.connect()).await);
            }
            // ...or just when it is there.
            _ => drop(bench.connect().await.unwrap()),
        }
        let connection = bench.connect().await.unwrap();
        bench.manager.check(&connection).await.unwrap();
        if fastrand::bool() {
            bench.manager.close(&connection).await;
        }
    }
    bench.quiet().await;
    assert_eq!(bench.server.violations(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rivals_for_one_session_take_turns() {
    let bench = bench(1);
    let rivals = (0..20).map(|_| async {
        let connection = bench.connect().await.unwrap();
        connection.invoke(&GetNearestDc {}).await.unwrap();
        drop(connection);
    });
    futures(rivals).await;
    bench.quiet().await;
    assert_eq!((bench.accepted(), bench.server.violations()), (20, 0));
}

/// Runs futures side by side on this task.
async fn futures<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut futures: Vec<_> = futures.map(Box::pin).map(Some).collect();
    std::future::poll_fn(|context| {
        for place in &mut futures {
            if place.as_mut().is_some_and(|future| future.as_mut().poll(context).is_ready()) {
                *place = None;
            }
        }
        if futures.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_panic_of_the_client_costs_one_connection_and_no_key() {
    let bench = bench(1);
    for _ in 0..50 {
        let connection = bench.connect().await.unwrap();
        // Past our checks, through the plain client.
        let lost = connection.client().invoke(&Raw(vec![1; 5])).await.unwrap_err();
        assert_eq!(bench.manager.react(&lost.into()), Reaction::Discard);
        let after = connection.invoke(&GetNearestDc {}).await.unwrap_err();
        assert!(matches!(after, TelegramError::Dropped), "{after}");
        assert!(bench.manager.is_broken(&connection));
    }
    bench.quiet().await;
    assert_eq!((bench.accepted(), bench.server.violations()), (50, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_stuck_in_a_foreign_dial_is_cut_off_without_a_violation() {
    // The system takes the connection, and nobody ever answers on it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = listener.local_addr().unwrap();
    let mut settings = settings();
    settings.data_centres = [(4, deaf)].into_iter().collect::<DataCentres>();
    settings.close_grace = Duration::from_millis(20);
    let bench = bench_with(1, settings);
    for _ in 0..20 {
        let connection = bench.connect().await.unwrap();
        let client = connection.client().clone();
        let abroad = tokio::time::timeout(
            Duration::from_millis(5),
            client.invoke_in_dc(4, &GetNearestDc {}),
        );
        assert!(abroad.await.is_err(), "nobody answers there");
        drop(connection);
        let next = bench.connect().await.unwrap();
        bench.manager.close(&next).await;
    }
    bench.quiet().await;
    assert_eq!(bench.server.violations(), 0);
}

#[tokio::test]
async fn a_lost_connection_is_not_redialled_by_the_client() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Fate::Close);
    let lost = connection.invoke(&GetNearestDc {}).await.unwrap_err();
    assert!(matches!(lost, TelegramError::Io(_)), "{lost}");
    assert!(bench.manager.is_broken(&connection));
    bench.server.decide::<GetNearestDc>(Fate::Answer);
    for _ in 0..3 {
        let after = connection.invoke(&GetNearestDc {}).await.unwrap_err();
        assert_eq!(bench.manager.react(&after), Reaction::Discard, "{after}");
        connection.client().invoke(&GetNearestDc {}).await.unwrap_err();
    }
    assert_eq!(bench.accepted(), 1);
    bench.manager.close(&connection).await;
    let next = bench.connect().await.unwrap();
    next.invoke(&GetNearestDc {}).await.unwrap();
    assert_eq!((bench.accepted(), bench.server.violations()), (2, 0));
}

#[tokio::test]
async fn a_clone_of_the_client_outlives_its_connection_without_reviving_it() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    let client = connection.client().clone();
    drop(connection);
    bench.quiet().await;
    client.invoke(&GetNearestDc {}).await.unwrap_err();
    assert_eq!(bench.accepted(), 1);
}

#[tokio::test]
async fn an_unknown_key_is_kept_and_becomes_suspect_the_second_time() {
    let bench = bench(1);
    bench.server.forget(bench.keys[0]);
    let first = bench.connect().await.unwrap_err();
    assert!(matches!(first, TelegramError::KeyUnknown { strikes: 1 }), "{first}");
    assert_eq!(bench.manager.react(&first), Reaction::Discard);
    let second = bench.connect().await.unwrap_err();
    assert_eq!(
        bench.manager.react(&second),
        Reaction::QuarantineSession(QuarantineReason::Suspect),
        "{second}"
    );
    // It was a passing fault: the same key still serves, and the count starts afresh.
    bench.server.enroll(bench.keys[0]);
    drop(bench.connect().await.unwrap());
    bench.quiet().await;
    bench.server.forget(bench.keys[0]);
    let again = bench.connect().await.unwrap_err();
    assert!(matches!(again, TelegramError::KeyUnknown { strikes: 1 }), "{again}");
}

#[tokio::test]
async fn a_key_that_is_forgotten_later_costs_the_connection_only() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Fate::Transport(404));
    let error = connection.invoke(&GetNearestDc {}).await.unwrap_err();
    assert!(matches!(error, TelegramError::Transport { code: 404 }), "{error}");
    assert!(bench.manager.is_broken(&connection));
    connection.invoke(&GetNearestDc {}).await.unwrap_err();
    let exchanges = bench.server.state.key_exchanges.load(Ordering::SeqCst);
    assert_eq!((bench.accepted(), exchanges), (1, 0), "no new key was made");
}

#[tokio::test]
async fn transport_codes_of_a_connect_have_their_reactions() {
    for (code, reaction) in [
        (429, Reaction::TripBreaker),
        (444, Reaction::QuarantineSession(QuarantineReason::Misconfigured)),
    ] {
        let bench = bench(1);
        bench.server.decide::<functions::updates::GetState>(Fate::Transport(code));
        let error = bench.connect().await.unwrap_err();
        assert_eq!(bench.manager.react(&error), reaction, "{error}");
        bench.quiet().await;
    }
}

#[tokio::test]
async fn a_session_that_is_not_logged_in_is_refused_at_connect() {
    for (code, message, reaction) in [
        (401, "AUTH_KEY_UNREGISTERED", Reaction::QuarantineSession(QuarantineReason::Suspect)),
        (401, "SESSION_REVOKED", Reaction::QuarantineSession(QuarantineReason::NeedsLogin)),
        (401, "USER_DEACTIVATED_BAN", Reaction::QuarantineAccount(QuarantineReason::Deactivated)),
        (406, "AUTH_KEY_DUPLICATED", Reaction::QuarantineSession(QuarantineReason::KeyDuplicated)),
    ] {
        let bench = bench(1);
        bench.server.decide::<functions::updates::GetState>(Fate::Error(code, message));
        let error = bench.connect().await.unwrap_err();
        assert_eq!(bench.manager.react(&error), reaction, "{error}");
        bench.quiet().await;
    }
}

#[tokio::test]
async fn a_flood_of_the_first_call_still_proves_the_login() {
    let bench = bench(1);
    bench.server.decide::<functions::updates::GetState>(Fate::Error(420, "FLOOD_WAIT_9"));
    let connection = bench.connect().await.unwrap();
    bench.manager.check(&connection).await.unwrap();
}

#[tokio::test]
async fn a_flood_names_its_method_and_costs_nothing_else() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Fate::Error(420, "FLOOD_WAIT_7"));
    let flood = connection.invoke(&GetNearestDc {}).await.unwrap_err();
    let key = <GetNearestDc as tl::Identifiable>::CONSTRUCTOR_ID;
    let wait = Duration::from_secs(7);
    assert_eq!(bench.manager.react(&flood), Reaction::CoolDown { key, wait });
    assert!(!bench.manager.is_broken(&connection));
    bench.manager.check(&connection).await.unwrap();
}

#[tokio::test]
async fn what_would_make_the_client_panic_is_not_sent() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    for (len, refusal) in [
        (0, Refusal::TooShort { len: 0 }),
        (3, Refusal::TooShort { len: 3 }),
        (6, Refusal::Ragged { len: 6 }),
        (1_040_004, Refusal::TooLong { len: 1_040_004, limit: 1_040_000 }),
        (8_000_000, Refusal::TooLong { len: 8_000_000, limit: 1_040_000 }),
    ] {
        let error = connection.invoke(&Raw(vec![1; len])).await.unwrap_err();
        assert!(matches!(&error, TelegramError::Refused(why) if *why == refusal), "{error}");
        assert_eq!(bench.manager.react(&error), Reaction::Keep);
    }
    bench.manager.check(&connection).await.unwrap();
    assert_eq!(connection.abandoned_calls(), 0);
}

#[tokio::test]
async fn the_longest_body_that_is_sent_arrives() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    // Random, so that it cannot be compressed.
    let mut body: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(1_040_000).collect();
    body[..4].copy_from_slice(&[1, 2, 3, 4]);
    connection.invoke(&Raw(body)).await.unwrap();
    bench.manager.check(&connection).await.unwrap();
}

#[tokio::test]
async fn calls_given_up_are_counted_and_many_end_the_connection() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Fate::Silence);
    let limit = Duration::from_millis(1);
    let late = connection.invoke_within(&GetNearestDc {}, limit).await.unwrap_err();
    assert!(matches!(late, TelegramError::Timeout { after } if after == limit), "{late}");
    abandon(connection.invoke(&GetNearestDc {}), 1).await;
    assert_eq!(connection.abandoned_calls(), 2);
    assert!(!bench.manager.is_broken(&connection));
    for _ in 0..20 {
        abandon(connection.invoke(&GetNearestDc {}), 1).await;
    }
    assert!(bench.manager.is_broken(&connection));
    bench.manager.close(&connection).await;
    bench.quiet().await;
}

#[tokio::test]
async fn a_close_that_is_abandoned_still_closes() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    abandon(bench.manager.close(&connection), 1).await;
    bench.quiet().await;
    drop(bench.connect().await.unwrap());
    assert_eq!(bench.server.violations(), 0);
}

#[tokio::test]
async fn a_close_ends_the_calls_that_are_under_way() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Fate::Silence);
    let call = connection.invoke(&GetNearestDc {});
    let (called, ()) = tokio::join!(call, async {
        tokio::task::yield_now().await;
        bench.manager.close(&connection).await;
    });
    let error = called.unwrap_err();
    assert!(matches!(error, TelegramError::Dropped), "{error}");
    assert_eq!(connection.abandoned_calls(), 0, "it had its answer");
}

#[tokio::test]
async fn updates_reach_the_subscriber_and_the_missed_ones_are_counted() {
    let bench = bench(1);
    let mut updates = bench.manager.subscribe(3);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Fate::Update);
    for _ in 0..5 {
        connection.invoke(&GetNearestDc {}).await.unwrap();
    }
    // The updates and the answers take different ways.
    while bench.manager.updates_dropped() < 2 {
        tokio::task::yield_now().await;
    }
    let update = updates.recv().await.unwrap();
    assert_eq!((update.account, update.slot), (account(), 0));
    drop(updates);
    connection.invoke(&GetNearestDc {}).await.unwrap();
    assert!(!bench.manager.is_broken(&connection));
}

#[tokio::test]
async fn a_session_with_a_proxy_is_not_dialled_without_it() {
    let server = Server::start();
    let key = [9; 256];
    server.enroll(key);
    let record = SessionRecord {
        account: account(),
        slot: 0,
        dc: DC,
        address: server.address,
        user_id: 1,
        is_bot: false,
        key: AuthKey::new(key),
        group: None,
        proxy: Some("socks5://127.0.0.1:9".into()),
    };
    let manager = GrammersManager::new(MemorySource::new([record]).unwrap(), settings());
    let error = manager.connect(account(), 0).await.unwrap_err();
    assert!(matches!(error, TelegramError::ProxyUnsupported), "{error}");
    assert_eq!(server.state.accepted.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_refused_dial_is_an_error_and_not_a_wait() {
    let bench = bench(1);
    let address = bench.server.address;
    drop(bench.server);
    // The acceptor ends with the connection that wakes it.
    while std::net::TcpStream::connect(address).is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let error = bench.manager.connect(account(), 0).await.unwrap_err();
    assert!(matches!(error, TelegramError::Io(_)), "{error}");
}

#[test]
fn answers_are_read_with_the_schema_of_the_client() {
    // Guards the test's own server: its words are those of the client's schema.
    let bytes = enums::NearestDc::Dc(tl::types::NearestDc {
        country: "XX".into(),
        this_dc: DC,
        nearest_dc: DC,
    })
    .to_bytes();
    assert!(enums::NearestDc::from_bytes(&bytes).is_ok());
}
