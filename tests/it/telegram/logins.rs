//! Which dials wait for the login check of their session.

use super::*;

type GetState = functions::updates::GetState;

/// What becomes of the login check, once the session has passed one.
async fn logged_in_once(reply: Reply, settings: TelegramSettings) -> Bench {
    let bench = bench_with(1, settings);
    let connection = bench.connect().await.unwrap();
    bench.manager.close(&connection).await;
    bench.server.decide::<GetState>(reply);
    bench
}

#[tokio::test]
async fn a_session_that_has_passed_a_login_check_need_not_wait_for_the_next() {
    let mut settings = settings();
    settings.call_timeout = Duration::from_secs(2);
    let bench = logged_in_once(Reply::Silence, settings).await;
    let connection = bench.connect().await.unwrap();
    connection.invoke(&GetNearestDc {}).await.unwrap();
    until(|| bench.manager.is_broken(&connection)).await;
    drop(connection);
    let late = bench.connect().await.unwrap_err();
    assert!(matches!(late, TelegramError::Timeout { .. }), "{late}");
    bench.quiet().await;
    assert_eq!(bench.server.violations(), 0);
}

#[tokio::test]
async fn a_login_that_is_gone_since_its_proof_costs_one_connection_and_shows_in_the_next_dial() {
    let bench = logged_in_once(Reply::Error(401, "SESSION_REVOKED"), settings()).await;
    match bench.connect().await {
        Ok(connection) => until(|| bench.manager.is_broken(&connection)).await,
        // Over the wire the check has its answer as soon as the server says anything.
        Err(error) => assert_eq!(ENGINE, Engine::Wire, "{error}"),
    }
    let refused = bench.connect().await.unwrap_err();
    let reaction = Reaction::QuarantineSession(QuarantineReason::NeedsLogin);
    assert_eq!(bench.manager.react(&refused), reaction, "{refused}");
    bench.quiet().await;
}

#[tokio::test]
async fn a_login_check_counts_for_no_other_session_nor_after_a_quarantine_or_if_told_so() {
    let revoked = Reply::Error(401, "SESSION_REVOKED");
    let is_revoked = |connected: Result<TelegramConnection, TelegramError>| {
        matches!(connected.unwrap_err(), TelegramError::Rpc { code: 401, .. })
    };
    let bench = bench(2);
    drop(bench.connect().await.unwrap());
    bench.server.decide::<GetState>(revoked);
    assert!(is_revoked(bench.manager.connect(account(), 1).await));

    let bench = logged_in_once(revoked, settings()).await;
    bench.manager.set_quarantine(account(), 0, Some(QuarantineReason::Suspect));
    assert!(is_revoked(bench.connect().await));

    let mut settings = settings();
    settings.login_lasts = Duration::ZERO;
    let bench = logged_in_once(revoked, settings).await;
    assert!(is_revoked(bench.connect().await));
}

#[tokio::test]
async fn a_refused_introduction_is_an_error_of_every_dial() {
    let bench = logged_in_once(Reply::Answer, settings()).await;
    bench.server.decide::<Introduction>(Reply::Transport(429));
    let refused = bench.connect().await.unwrap_err();
    assert_eq!(bench.manager.react(&refused), Reaction::TripBreaker, "{refused}");
    bench.quiet().await;
}
