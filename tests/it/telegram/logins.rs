//! Which dials wait for the proof that the session is logged in.

use super::*;

type GetState = functions::updates::GetState;

/// What becomes of the proof, once the session has given one.
async fn proved_once(fate: Fate, settings: TelegramSettings) -> Bench {
    let bench = bench_with(1, settings);
    let connection = bench.connect().await.unwrap();
    bench.manager.close(&connection).await;
    bench.server.decide::<GetState>(fate);
    bench
}

#[tokio::test]
async fn a_session_that_has_proved_its_login_need_not_wait_for_the_next_proof() {
    let mut settings = settings();
    settings.call_timeout = Duration::from_secs(2);
    let bench = proved_once(Fate::Silence, settings).await;
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
    let bench = proved_once(Fate::Error(401, "SESSION_REVOKED"), settings()).await;
    let connection = bench.connect().await.unwrap();
    until(|| bench.manager.is_broken(&connection)).await;
    drop(connection);
    let refused = bench.connect().await.unwrap_err();
    let reaction = Reaction::QuarantineSession(QuarantineReason::NeedsLogin);
    assert_eq!(bench.manager.react(&refused), reaction, "{refused}");
    bench.quiet().await;
}

#[tokio::test]
async fn a_proof_is_worth_nothing_to_another_session_after_a_quarantine_or_if_told_so() {
    let revoked = Fate::Error(401, "SESSION_REVOKED");
    let is_revoked = |connected: Result<TelegramConnection, TelegramError>| {
        matches!(connected.unwrap_err(), TelegramError::Rpc { code: 401, .. })
    };
    let bench = bench(2);
    drop(bench.connect().await.unwrap());
    bench.server.decide::<GetState>(revoked);
    assert!(is_revoked(bench.manager.connect(account(), 1).await));

    let bench = proved_once(revoked, settings()).await;
    bench.manager.set_quarantine(account(), 0, Some(QuarantineReason::Suspect));
    assert!(is_revoked(bench.connect().await));

    let mut settings = settings();
    settings.login_lasts = Duration::ZERO;
    let bench = proved_once(revoked, settings).await;
    assert!(is_revoked(bench.connect().await));
}

#[tokio::test]
async fn a_refused_introduction_is_an_error_of_every_dial() {
    let bench = proved_once(Fate::Answer, settings()).await;
    bench.server.decide::<Introduction>(Fate::Transport(429));
    let refused = bench.connect().await.unwrap_err();
    assert_eq!(bench.manager.react(&refused), Reaction::TripBreaker, "{refused}");
    bench.quiet().await;
}
