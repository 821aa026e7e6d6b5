//! What calls and first calls end with, and what they cost.

use telepool::Pool;
use telepool::telegram::{InvokeError, ProxyProblem};
use tokio::runtime::Builder;

use super::*;
use crate::surroundings::wait_for;

#[tokio::test]
async fn transport_codes_of_a_connect_have_their_reactions() {
    for (code, reaction) in [
        (429, Reaction::TripBreaker),
        (444, Reaction::QuarantineSession(QuarantineReason::Misconfigured)),
    ] {
        let bench = bench(1);
        bench.server.decide::<functions::updates::GetState>(Reply::Transport(code));
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
        bench.server.decide::<functions::updates::GetState>(Reply::Error(code, message));
        let error = bench.connect().await.unwrap_err();
        assert_eq!(bench.manager.react(&error), reaction, "{error}");
        bench.quiet().await;
    }
}

#[tokio::test]
async fn a_flood_of_the_first_call_still_proves_the_login() {
    let bench = bench(1);
    bench.server.decide::<functions::updates::GetState>(Reply::Error(420, "FLOOD_WAIT_9"));
    let connection = bench.connect().await.unwrap();
    bench.manager.check(&connection).await.unwrap();
}

#[tokio::test]
async fn a_flood_names_its_method_and_costs_nothing_else() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Reply::Error(420, "FLOOD_WAIT_7"));
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
        (6, Refusal::Unaligned { len: 6 }),
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

only_over_grammers! {
    #[tokio::test]
    async fn calls_given_up_are_counted_and_many_end_the_connection() {
        let bench = bench(1);
        let connection = bench.connect().await.unwrap();
        bench.server.decide::<GetNearestDc>(Reply::Silence);
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
}

only_over_wire! {
    #[tokio::test]
    async fn calls_given_up_are_counted_and_leave_nothing_behind() {
        let bench = bench(1);
        let connection = bench.connect().await.unwrap();
        bench.server.decide::<GetNearestDc>(Reply::Silence);
        let limit = Duration::from_millis(1);
        for _ in 0..40 {
            let late = connection.invoke_within(&GetNearestDc {}, limit).await.unwrap_err();
            assert!(matches!(late, TelegramError::Timeout { after } if after == limit), "{late}");
        }
        assert_eq!(connection.abandoned_calls(), 40);
        assert!(!bench.manager.is_broken(&connection));
        bench.server.decide::<GetNearestDc>(Reply::Answer);
        connection.invoke(&GetNearestDc {}).await.unwrap();
        bench.manager.close(&connection).await;
        bench.quiet().await;
    }
}

#[tokio::test]
async fn a_close_ends_the_calls_that_are_under_way() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Reply::Silence);
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
async fn a_session_with_a_proxy_is_not_dialled_without_it() {
    let server = Server::start();
    let key = [9; 256];
    let mut record = enrolled(&server, key);
    record.proxy = Some(std::sync::Arc::new("socks5://127.0.0.1:9".parse().unwrap()));
    let manager = TelegramManager::new(MemorySource::new([record]).unwrap(), settings());
    let error = manager.connect(account(), 0).await.unwrap_err();
    let TelegramError::Proxy(refused) = &error else { panic!("{error}") };
    assert_eq!(refused.label(), "127.0.0.1:9");
    assert!(matches!(refused.problem(), ProxyProblem::Unreachable(_)), "{error}");
    assert_eq!(server.state.accepted.load(Ordering::SeqCst), 0);
}

/// The pool's runtime is another one.
#[test]
fn whoever_has_no_timers_or_no_runtime_calls_as_well() {
    let home = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let Bench { server, manager, .. } = bench(1);
    let pool = Pool::builder(manager).runtime(home.handle().clone()).build().unwrap();
    let pool = &pool;
    let calls = |failure, limit| {
        server.decide::<functions::help::GetAppConfig>(Reply::Silence);
        server.decide::<functions::help::GetInviteText>(failure);
        async move {
            let lease = pool.acquire(account()).await.unwrap();
            lease.invoke(&GetNearestDc {}).await.unwrap();
            lease.run(async |it| it.invoke(&GetNearestDc {}).await).await.unwrap();
            let unanswered = functions::help::GetAppConfig { hash: 0 };
            let limited = lease.invoke_within(&unanswered, Duration::from_millis(20)).await;
            let error = limited.unwrap_err();
            let InvokeError::Call(error) = error else { panic!("{error}") };
            assert!(matches!(error, TelegramError::Timeout { .. }), "{error}");
            lease.report(&error);
            drop(lease);
            let account = pool.account(account()).unwrap();
            account.invoke(&GetNearestDc {}).await.unwrap();
            // Sleeps for a second, and fails again.
            account.invoke_within(&functions::help::GetInviteText {}, limit).await.unwrap_err()
        }
    };
    let limit = Duration::from_millis(1900);
    let flood = wait_for(calls(Reply::Error(420, "FLOOD_WAIT_1"), limit));
    assert!(matches!(flood, InvokeError::RetryAfter { .. }), "{flood}");
    let bare = Builder::new_current_thread().enable_io().build().unwrap();
    let failure = bare.block_on(calls(Reply::Error(500, "INTERNAL"), limit));
    assert!(
        matches!(failure, InvokeError::Call(TelegramError::Rpc { code: 500, .. })),
        "{failure}"
    );
    assert_eq!(wait_for(pool.close()).still_open, 0);
}

#[tokio::test]
async fn of_an_error_that_is_long_or_would_forge_a_line_little_is_kept() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    let forged = "EVIL\n2026-11-28T00:00:00Z  WARN forged \u{1b}[31mred";
    for (sent, kept) in [
        ("X".repeat(900_000), "X".repeat(500) + "…"),
        (forged.to_owned(), forged.replace('\n', "\\n").replace('\u{1b}', "\\u{1b}")),
    ] {
        bench.server.decide::<GetNearestDc>(Reply::Error(400, sent.leak()));
        let error = connection.invoke(&GetNearestDc {}).await.unwrap_err();
        let TelegramError::Rpc { name, .. } = &error else {
            panic!("it was {}", bench.manager.kind(&error).label())
        };
        assert_eq!(**name, *kept);
        assert!(!error.to_string().contains(char::is_control), "{error}");
        assert_eq!(bench.manager.react(&error), Reaction::Keep);
    }
    bench.manager.check(&connection).await.unwrap();
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
