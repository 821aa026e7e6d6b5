//! Every row of the table.

use grammers_client::InvocationError;
use grammers_client::sender::RpcError;
use grammers_client::tl;
use grammers_mtproto::{mtp, transport};

use super::*;
use crate::telegram::Refusal;

const METHOD: u32 = 0xdead_beef;

fn react(error: &TelegramError) -> Reaction {
    verdict(error).reaction
}

fn kind(error: &TelegramError) -> ErrorKind {
    verdict(error).kind
}

/// An error as the server words it, through the client's own parser.
fn told(code: i32, message: &str, method: u32) -> TelegramError {
    let raw = tl::types::RpcError { error_code: code, error_message: message.into() };
    InvocationError::Rpc(RpcError::from(raw).with_caused_by(method)).into()
}

#[test]
fn every_word_of_the_server_has_its_reaction() {
    use QuarantineReason::*;
    let session = Reaction::QuarantineSession;
    let cool = |wait| Reaction::CoolDown { key: METHOD, wait: Duration::from_secs(wait) };
    for (code, message, reaction, class) in [
        (406, "AUTH_KEY_DUPLICATED", session(KeyDuplicated), ErrorKind::Auth),
        (401, "AUTH_KEY_DUPLICATED", session(KeyDuplicated), ErrorKind::Auth),
        (401, "SESSION_REVOKED", session(NeedsLogin), ErrorKind::Auth),
        (401, "SESSION_EXPIRED", session(NeedsLogin), ErrorKind::Auth),
        (401, "SESSION_PASSWORD_NEEDED", session(NeedsLogin), ErrorKind::Auth),
        (401, "USER_DEACTIVATED", Reaction::QuarantineAccount(Deactivated), ErrorKind::Auth),
        (401, "USER_DEACTIVATED_BAN", Reaction::QuarantineAccount(Deactivated), ErrorKind::Auth),
        (401, "AUTH_KEY_UNREGISTERED", session(Suspect), ErrorKind::Auth),
        (401, "AUTH_KEY_INVALID", session(Suspect), ErrorKind::Auth),
        (420, "FLOOD_WAIT_31", cool(31), ErrorKind::Rpc),
        (420, "FLOOD_WAIT_0", cool(1), ErrorKind::Rpc),
        (420, "FLOOD_WAIT_86400", cool(86_400), ErrorKind::Rpc),
        (420, "FLOOD_WAIT_4294967295", cool(u64::from(u32::MAX)), ErrorKind::Rpc),
        (420, "FLOOD_WAIT_4294967296", cool(u64::from(u32::MAX)), ErrorKind::Rpc),
        (420, "FLOOD_WAIT_99999999999999999999999", cool(u64::from(u32::MAX)), ErrorKind::Rpc),
        (420, "FLOOD_PREMIUM_WAIT_4294967296", cool(u64::from(u32::MAX)), ErrorKind::Rpc),
        (303, "USER_MIGRATE_4294967296", session(Misconfigured), ErrorKind::Rpc),
        (420, "FLOOD_PREMIUM_WAIT_3", cool(3), ErrorKind::Rpc),
        (420, "SLOWMODE_WAIT_10", Reaction::Keep, ErrorKind::Rpc),
        (420, "FROZEN_METHOD_INVALID", Reaction::Restricted, ErrorKind::Rpc),
        (400, "PEER_FLOOD", Reaction::Restricted, ErrorKind::Rpc),
        (303, "USER_MIGRATE_4", session(Misconfigured), ErrorKind::Rpc),
        (303, "FILE_MIGRATE_4", Reaction::Keep, ErrorKind::Rpc),
        (303, "STATS_MIGRATE_4", Reaction::Keep, ErrorKind::Rpc),
        (303, "PHONE_MIGRATE_4", Reaction::Keep, ErrorKind::Rpc),
        (303, "NETWORK_MIGRATE_4", Reaction::Keep, ErrorKind::Rpc),
        (500, "INTERNAL", Reaction::Keep, ErrorKind::Rpc),
        (500, "AUTH_RESTART", Reaction::Keep, ErrorKind::Rpc),
        (-503, "Timeout", Reaction::Keep, ErrorKind::Rpc),
        (400, "CHAT_INVALID", Reaction::Keep, ErrorKind::Rpc),
        (400, "INPUT_USER_DEACTIVATED", Reaction::Keep, ErrorKind::Rpc),
        (400, "USER_DEACTIVATED", Reaction::Keep, ErrorKind::Rpc),
        (400, "CONNECTION_NOT_INITED", Reaction::Discard, ErrorKind::Rpc),
        (403, "CHAT_WRITE_FORBIDDEN", Reaction::Keep, ErrorKind::Rpc),
        (406, "UPDATE_APP_TO_LOGIN", Reaction::Keep, ErrorKind::Rpc),
        (401, "ACTIVE_USER_REQUIRED", Reaction::Keep, ErrorKind::Auth),
    ] {
        let error = told(code, message, METHOD);
        assert_eq!(react(&error), reaction, "{code} {message}");
        assert_eq!(kind(&error), class, "{code} {message}");
    }
}

#[test]
fn a_foreign_data_centre_does_not_condemn_the_home_key() {
    for method in [
        functions::upload::GetFile::CONSTRUCTOR_ID,
        functions::auth::ImportAuthorization::CONSTRUCTOR_ID,
    ] {
        assert_eq!(react(&told(401, "AUTH_KEY_UNREGISTERED", method)), Reaction::Discard);
        assert_ne!(react(&told(406, "AUTH_KEY_DUPLICATED", method)), Reaction::Discard);
    }
}

#[test]
fn a_flood_of_no_known_method_cools_nothing() {
    let raw = tl::types::RpcError { error_code: 420, error_message: "FLOOD_WAIT_5".into() };
    let error = TelegramError::from(RpcError::from(raw));
    assert_eq!(react(&error), Reaction::Keep);
}

#[test]
fn every_failure_of_a_connection_has_its_reaction() {
    let io = |kind: io::ErrorKind| InvocationError::Io(kind.into());
    let status = |status| InvocationError::Transport(transport::Error::BadStatus { status });
    let misconfigured = Reaction::QuarantineSession(QuarantineReason::Misconfigured);
    for (error, reaction, class) in [
        (io(io::ErrorKind::ConnectionReset), Reaction::Discard, ErrorKind::Io),
        (io(io::ErrorKind::ConnectionRefused), Reaction::Discard, ErrorKind::Refused),
        (io(io::ErrorKind::TimedOut), Reaction::Discard, ErrorKind::Timeout),
        (status(404), Reaction::Discard, ErrorKind::Auth),
        (status(429), Reaction::TripBreaker, ErrorKind::Refused),
        (status(444), misconfigured, ErrorKind::Protocol),
        (status(500), Reaction::Discard, ErrorKind::Protocol),
        (
            InvocationError::Transport(transport::Error::BadCrc { expected: 1, got: 2 }),
            Reaction::Discard,
            ErrorKind::Protocol,
        ),
        (
            InvocationError::Deserialize(mtp::DeserializeError::BadAuthKey { got: 1, expected: 2 }),
            Reaction::Discard,
            ErrorKind::Protocol,
        ),
        (
            InvocationError::Deserialize(mtp::DeserializeError::UnexpectedConstructor { id: 1 }),
            Reaction::Keep,
            ErrorKind::Protocol,
        ),
        (io(io::ErrorKind::NotFound), Reaction::Keep, ErrorKind::Io),
        (io(io::ErrorKind::StorageFull), Reaction::Keep, ErrorKind::Io),
        (InvocationError::InvalidDc, Reaction::Keep, ErrorKind::Protocol),
        (InvocationError::Session("other".into()), Reaction::Discard, ErrorKind::Io),
    ] {
        let shown = format!("{error:?}");
        let error = TelegramError::from(error);
        assert_eq!((react(&error), kind(&error)), (reaction, class), "{shown}");
    }
}

#[cfg(unix)]
#[test]
fn a_machine_without_room_is_no_fault_of_the_account() {
    use nix::errno::Errno;

    let of = |errno: Errno| io::Error::from_raw_os_error(errno as i32);
    for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::EADDRNOTAVAIL] {
        let dialled = TelegramError::from(InvocationError::Io(of(errno)));
        assert_eq!(react(&dialled), Reaction::Exhausted, "{errno}");
        let error = std::sync::Arc::new(of(errno));
        let locked = ClaimError::Folder { folder: "locks".into(), error };
        assert_eq!(react(&TelegramError::Claim(locked)), Reaction::Exhausted, "{errno}");
    }
    for errno in [Errno::ECONNREFUSED, Errno::ENETUNREACH, Errno::ECONNRESET] {
        assert_eq!(react(&TelegramError::Io(of(errno))), Reaction::Discard, "{errno}");
    }
}

#[test]
fn what_we_say_ourselves_has_its_reaction() {
    let account = crate::account_id::AccountId::bot(1).unwrap();
    let suspect = Reaction::QuarantineSession(QuarantineReason::Suspect);
    let after = Duration::from_secs(1);
    for (error, reaction, class) in [
        (TelegramError::KeyUnknown { strikes: 1 }, Reaction::Discard, ErrorKind::Auth),
        (TelegramError::KeyUnknown { strikes: 2 }, suspect.clone(), ErrorKind::Auth),
        (TelegramError::KeyChanged, suspect, ErrorKind::Auth),
        (TelegramError::Timeout { after }, Reaction::Check, ErrorKind::Timeout),
        (Refusal::TooShort { len: 1 }.into(), Reaction::Keep, ErrorKind::Protocol),
        (TelegramError::NoSession { account, slot: 0 }, Reaction::Discard, ErrorKind::Auth),
        (
            TelegramError::NoApiId { account },
            Reaction::QuarantineSession(QuarantineReason::Unsupported),
            ErrorKind::Auth,
        ),
    ] {
        assert_eq!((react(&error), kind(&error)), (reaction, class), "{error}");
    }
}

/// Every word of grammers 0.11.0, by where it comes from.
#[test]
fn what_the_client_gives_up_by_itself_keeps_its_text_and_the_connection() {
    for words in [
        // sender_pool.rs, sender.rs and updates_receiver.rs of grammers-mtsender.
        "SenderPoolRunner was dropped at send",
        "SenderPoolRunner was dropped during receive",
        "SenderPoolRunner was dropped during retry at send",
        "SenderPooLRunner was dropped during retry during receive",
        "response was non-retryable bad msg",
        "updates channel was closed",
    ] {
        let error = TelegramError::from(InvocationError::Dropped(words));
        assert!(matches!(error, TelegramError::Dropped), "{words}: {error}");
        assert_eq!((react(&error), kind(&error)), (Reaction::Discard, ErrorKind::Io), "{words}");
    }
    for words in [
        // update/callback_query.rs and message/message.rs of grammers-client.
        "cannot invoke request without a peer ref",
        // update/callback_query.rs.
        "cannot load message from inline callback queries",
        "cannot reply to inline callback query",
        // client/messages.rs and client/chats.rs.
        "could not obtain channel peer ref from message",
        "response did not contain peer matching the input id",
        "user ref did not actually belong to a user",
    ] {
        let error = TelegramError::from(InvocationError::Dropped(words));
        assert!(error.to_string().ends_with(words), "{words}: {error}");
        assert_eq!((react(&error), kind(&error)), (Reaction::Keep, ErrorKind::Protocol), "{words}");
    }
    let unknown = crate::telegram::one_shot_session::OneShotError::OwnUnknown;
    let error = TelegramError::from(InvocationError::Session(Box::new(unknown)));
    assert!(error.to_string().contains("add its user_id"), "{error}");
    assert_eq!(react(&error), Reaction::Keep);
}

#[test]
fn every_error_says_how_its_call_ended_and_whether_it_may_be_sent_again() {
    use CallOutcome::{ClientError, Flood, Lost, NotSent, RpcError, Timeout};
    use Resend::{AtOnce, IfIdempotent, Later, Never};

    let account = crate::AccountId::bot(1).unwrap();
    let other = || Box::from("other");
    for (error, ends, resend, outcome) in [
        (told(500, "INTERNAL", METHOD), false, Later, RpcError),
        (told(500, "RANDOM_ID_DUPLICATE", METHOD), false, Never, RpcError),
        (told(-503, "Timeout", METHOD), false, Later, RpcError),
        (told(400, "CHAT_INVALID", METHOD), false, Never, RpcError),
        (told(420, "FLOOD_WAIT_3", METHOD), false, Never, Flood),
        (told(420, "FLOOD_PREMIUM_WAIT_3", METHOD), false, Never, Flood),
        (told(420, "SLOWMODE_WAIT_3", METHOD), false, Never, RpcError),
        (told(400, "PEER_FLOOD", METHOD), false, Never, RpcError),
        (told(406, "AUTH_KEY_DUPLICATED", METHOD), false, Never, RpcError),
        (TelegramError::Io(io::ErrorKind::ConnectionReset.into()), true, IfIdempotent, Lost),
        (TelegramError::Transport { code: 404 }, true, IfIdempotent, Lost),
        (TelegramError::Transport { code: 429 }, true, IfIdempotent, Lost),
        (TelegramError::Protocol(other()), true, IfIdempotent, Lost),
        (TelegramError::Dropped, true, IfIdempotent, Lost),
        (TelegramError::NotSent, true, AtOnce, NotSent),
        (TelegramError::KeyChanged, true, Never, Lost),
        (TelegramError::Timeout { after: Duration::ZERO }, false, IfIdempotent, Timeout),
        (TelegramError::KeyUnknown { strikes: 1 }, false, Never, NotSent),
        (TelegramError::KeyExchange(other()), false, Never, NotSent),
        (TelegramError::Answer(other()), false, Never, ClientError),
        (TelegramError::Client("lacks a peer".into()), false, Never, ClientError),
        (TelegramError::File(io::ErrorKind::NotFound.into()), false, Never, ClientError),
        (TelegramError::KeyInUse, false, Never, NotSent),
        (TelegramError::UnknownDataCentre, false, Never, NotSent),
        (TelegramError::NoSession { account, slot: 0 }, false, Never, NotSent),
        (proxied(ProxyProblem::Forbidden), false, Never, NotSent),
    ] {
        let seen = verdict(&error);
        let seen = (seen.ends_connection, seen.resend, seen.outcome);
        assert_eq!(seen, (ends, resend, outcome), "{error}");
    }
}

fn proxied(problem: ProxyProblem) -> TelegramError {
    let proxy = "socks5://user:secret@proxy.example:1080".parse().unwrap();
    ProxyError::new(&proxy, problem).into()
}

#[test]
fn a_proxy_that_fails_is_never_the_sessions_fault() {
    use ErrorKind::{Io, Protocol, Refused, Timeout};
    use ProxyProblem as It;

    let io = |kind: io::ErrorKind| io::Error::from(kind);
    let (refused, reset) = (io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset);
    for (problem, class) in [
        (It::Unresolved(io(io::ErrorKind::NotFound)), Io),
        (It::Unreachable(io(refused)), Refused),
        (It::Unreachable(io(reset)), Io),
        (It::Timeout { after: Duration::from_secs(8) }, Timeout),
        (It::Credentials, Protocol),
        (It::CredentialsWanted, Protocol),
        (It::Forbidden, Refused),
        (It::Target("Host unreachable".into()), Io),
        (It::NoRoute(io(refused)), Refused),
        (It::Closed, Io),
        (It::Nonsense, Io),
        (It::NotOurs, Io),
        (It::Family, Io),
    ] {
        let error = proxied(problem);
        assert_eq!((react(&error), kind(&error)), (Reaction::Discard, class), "{error}");
        let told = error.to_string();
        assert!(told.contains("proxy.example:1080") && told.contains(": "), "{told}");
        assert!(!told.contains("secret") && !told.contains("user:s"), "{told}");
    }
    let full = proxied(It::Unreachable(io(io::ErrorKind::AddrNotAvailable)));
    assert_eq!(react(&full), Reaction::Exhausted, "this machine has no port left");
}
