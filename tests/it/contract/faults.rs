//! Every fault, as the real client and the manager see it.

use telepool::sandbox::ProtocolFault;
use telepool::{QuarantineReason, Reaction};

use super::*;

/// What a call comes back with under a fault that strikes once, and whether the connection is
/// still good.
async fn struck(fault: Fault) -> (Result<(), TelegramError>, bool) {
    let bench = bench([FaultRule::new("users.getUsers", fault).limit(1)]).await;
    let connection = bench.connect(OWN).await;
    let limit = Duration::from_secs(2);
    let outcome = connection.invoke_within(&myself(), limit).await.map(drop);
    assert_eq!(bench.data_centre.stats().faults_injected, 1);
    assert!(bench.data_centre.since_last_fault(OWN).is_some());
    assert_eq!(bench.data_centre.since_last_fault(OTHER), None);
    let good = connection.invoke_within(&myself(), limit).await.is_ok();
    bench.manager.close(&connection).await;
    // Whatever happened, the session can be used again.
    let again = bench.connect(OWN).await;
    again.invoke(&myself()).await.unwrap();
    assert_eq!(bench.data_centre.stats().key_violations, 0);
    (outcome, good)
}

#[tokio::test]
async fn a_connection_that_is_closed_or_reset_in_a_call_is_lost() {
    for fault in [Fault::Close, Fault::Reset] {
        let (outcome, good) = struck(fault).await;
        let lost = matches!(outcome, Err(TelegramError::Io(_) | TelegramError::Dropped));
        assert!(lost && !good, "{outcome:?}");
    }
}

#[tokio::test]
async fn a_transport_error_carries_its_code() {
    let (outcome, good) = struck(Fault::Transport { code: 429 }).await;
    assert!(matches!(outcome, Err(TelegramError::Transport { code: 429 })), "{outcome:?}");
    assert!(!good);
}

#[tokio::test]
async fn a_damaged_answer_costs_the_connection() {
    let (outcome, good) = struck(Fault::BadCrc).await;
    assert!(matches!(outcome, Err(TelegramError::Protocol(_))), "{outcome:?}");
    assert!(!good);
}

#[tokio::test]
async fn a_silent_server_costs_the_call_and_a_black_hole_the_connection() {
    let (outcome, good) = struck(Fault::Silence).await;
    assert!(matches!(outcome, Err(TelegramError::Timeout { .. })) && good, "{outcome:?}");
    let (outcome, good) = struck_for_good().await;
    assert!(matches!(outcome, Err(TelegramError::Timeout { .. })) && !good, "{outcome:?}");
}

/// A black hole swallows the second call as well, which counts as struck.
async fn struck_for_good() -> (Result<(), TelegramError>, bool) {
    let bench = bench([FaultRule::new("users.getUsers", Fault::BlackHole).limit(1)]).await;
    let connection = bench.connect(OWN).await;
    let limit = Duration::from_millis(300);
    let outcome = connection.invoke_within(&myself(), limit).await.map(drop);
    let good = connection.invoke_within(&myself(), limit).await.is_ok();
    assert!(bench.data_centre.stats().faults_injected >= 2);
    (outcome, good)
}

#[tokio::test]
async fn errors_come_as_the_reactions_expect_them() {
    let error = |code, message: &str| Fault::Error { code, message: message.into() };
    for (fault, reaction) in [
        (
            error(406, "AUTH_KEY_DUPLICATED"),
            Reaction::QuarantineSession(QuarantineReason::KeyDuplicated),
        ),
        (error(401, "SESSION_REVOKED"), Reaction::QuarantineSession(QuarantineReason::NeedsLogin)),
        (
            error(401, "USER_DEACTIVATED_BAN"),
            Reaction::QuarantineAccount(QuarantineReason::Deactivated),
        ),
        (error(500, "RPC_CALL_FAIL"), Reaction::Keep),
    ] {
        let bench = bench([FaultRule::new("users.getUsers", fault)]).await;
        let connection = bench.connect(OWN).await;
        let error = connection.invoke(&myself()).await.unwrap_err();
        assert_eq!(bench.manager.react(&error), reaction, "{error}");
    }
}

#[tokio::test]
async fn a_flood_names_its_method_and_its_time() {
    let flood = Fault::FloodWait { seconds: 33 };
    let bench = bench([FaultRule::new("users.getUsers", flood).account(OWN).limit(1)]).await;
    let other = bench.connect(OTHER).await;
    other.invoke(&myself()).await.unwrap();
    let connection = bench.connect(OWN).await;
    for _ in 0..2 {
        let error = connection.invoke(&myself()).await.unwrap_err();
        let Reaction::CoolDown { wait, .. } = bench.manager.react(&error) else {
            panic!("{error}")
        };
        assert!(wait.as_secs() > 20 && wait.as_secs() <= 33, "{wait:?}");
    }
    connection.invoke(&message_to(enums::InputPeer::PeerSelf)).await.unwrap();
}

#[tokio::test]
async fn a_slow_answer_delays_no_other() {
    let slow = Fault::Delay(Duration::from_secs(5));
    let bench = bench([FaultRule::new("users.getUsers", slow).limit(1)]).await;
    let connection = bench.connect(OWN).await;
    let request = myself();
    tokio::select! {
        biased;
        answer = connection.invoke(&request) => panic!("it came at once: {answer:?}"),
        answer = async {
            // The slow one is under way once a call after it has been answered.
            connection.invoke(&functions::updates::GetState {}).await
        } => drop(answer.unwrap()),
    }
    assert_eq!(bench.data_centre.stats().faults_injected, 1);
}

#[tokio::test]
async fn what_goes_wrong_at_the_start_costs_the_attempt_alone() {
    for fault in [Fault::Close, Fault::Reset, Fault::Transport { code: 429 }] {
        let bench = bench([FaultRule::new("connect", fault).limit(1)]).await;
        bench.manager.connect(OWN, 0).await.unwrap_err();
        let connection = bench.connect(OWN).await;
        connection.invoke(&myself()).await.unwrap();
        assert_eq!(bench.data_centre.stats().key_violations, 0);
    }
    let bench = bench([FaultRule::new("connect", Fault::BlackHole).limit(1)]).await;
    let attempt = bench.manager.connect(OWN, 0);
    tokio::time::timeout(Duration::from_millis(300), attempt).await.unwrap_err();
    bench.connect(OWN).await.invoke(&myself()).await.unwrap();
    assert_eq!(bench.data_centre.stats().key_violations, 0);
}

/// The library panics over some of them, in a task of its own: that costs the connection and nothing else. The wire
/// takes no message that is too old or comes twice, and knows more of what a server may say.
#[tokio::test]
async fn a_fault_of_the_protocol_costs_the_connection_at_most() {
    use ProtocolFault as P;
    let (answered, lost, ended) = ((true, true), (false, true), (false, false));
    // What comes before the fault counts.
    let parted = (true, false);
    for (fault, over_grammers, over_wire) in [
        (P::OldMessageId, answered, lost),
        (P::RepeatedMessageId, answered, lost),
        (P::EvenMessageId, answered, ended),
        (P::NestedContainers { depth: 3 }, answered, answered),
        (P::StrayAnswer, answered, answered),
        (P::AnswerTwice, answered, answered),
        (P::MessageTwice, answered, answered),
        (P::BadSalt, answered, answered),
        (P::BadMessage { code: 16 }, answered, answered),
        (P::ClockJump { seconds: 3600 }, answered, answered),
        (P::ContainerCount { count: 0 }, lost, lost),
        (P::DetailedInfo, lost, answered),
        (P::GzipBomb { bytes: 1 << 20 }, lost, lost),
        (P::FrameLength { length: -1 }, ended, ended),
        (P::FrameLength { length: 4 }, ended, ended),
        (P::MessageKey, ended, ended),
        (P::WrongSession, ended, lost),
        (P::MessageLength { length: -4 }, ended, ended),
        (P::MessageLength { length: 100_000 }, ended, ended),
        (P::ContainerCount { count: -1 }, ended, ended),
        (P::ContainerCount { count: 5 }, ended, parted),
        (P::MsgCopy, ended, answered),
        (P::StrayService, ended, answered),
        (P::BadMessage { code: 64 }, ended, answered),
        (P::HalfClose, ended, ended),
    ] {
        let (outcome, is_good) = struck(Fault::Protocol(fault)).await;
        let expected = if ENGINE == Engine::Wire { over_wire } else { over_grammers };
        assert_eq!((outcome.is_ok(), is_good), expected, "{fault:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_server_that_takes_in_nothing_or_lives_in_the_past_costs_the_connection() {
    for fault in [ProtocolFault::StopReading, ProtocolFault::ClockJump { seconds: -3600 }] {
        let rule = FaultRule::new("users.getUsers", Fault::Protocol(fault)).limit(1);
        let bench = bench([rule]).await;
        let connection = bench.connect(OWN).await;
        for _ in 0..2 {
            let limit = Duration::from_millis(300);
            let outcome = connection.invoke_within(&myself(), limit).await.map(drop);
            assert!(matches!(outcome, Err(TelegramError::Timeout { .. })), "{outcome:?}");
        }
        bench.manager.close(&connection).await;
        // The session rests for a moment, since nobody knows what the server has noticed.
        let again = loop {
            match bench.manager.connect(OWN, 0).await {
                Err(TelegramError::KeyResting { remaining }) => {
                    tokio::time::sleep(remaining).await;
                }
                outcome => break outcome.unwrap(),
            }
        };
        again.invoke(&myself()).await.unwrap();
        assert_eq!(bench.data_centre.stats().key_violations, 0);
    }
}
