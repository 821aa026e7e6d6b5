//! What the data centre answers.
//!
//! Owns the bodies of answers, byte by byte where the schema's types have far more fields than
//! anybody here fills. Never sends one.

use grammers_tl_types::{Identifiable, RawVec, Serializable, enums, types};

use super::accounts::{Key, User};
use super::help;
use super::request::{Method, RpcCall};
use super::schema::Schema;
use super::server_state::ServerState;
use super::updates;
use crate::base::clock::unix_time;

const RPC_RESULT: u32 = 0xf35c_6d01;
const VECTOR: u32 = 0x1cb5_c415;
const BOOL_FALSE: u32 = 0xbc79_9737;
/// The most users of one request.
const USERS_MAX: usize = 200;
/// The longest message, in characters.
const MESSAGE_LEN_MAX: usize = 4096;
/// The numbers of the data centres.
const DATA_CENTRES: std::ops::RangeInclusive<i32> = 1..=5;

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RpcError {
    pub(super) code: i32,
    pub(super) message: String,
}

impl RpcError {
    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The outcome of a call, as it goes out.
pub(super) fn result(to: i64, outcome: Result<Vec<u8>, RpcError>) -> Vec<u8> {
    let mut body = RPC_RESULT.to_bytes();
    to.serialize(&mut body);
    match outcome {
        Ok(answer) => body.extend(answer),
        Err(RpcError { code, message }) => {
            let error = types::RpcError { error_code: code, error_message: message };
            enums::RpcError::Error(error).serialize(&mut body);
        }
    }
    body
}

/// Carries a call out.
pub(super) fn execute(
    server: &ServerState,
    (key, user): (&Key, Option<&User>),
    call: &RpcCall,
) -> Result<Vec<u8>, RpcError> {
    match (&call.method, user) {
        (Method::Config, _) => Ok(config(server)),
        (Method::NearestDc, _) => Ok(help::nearest_dc(server.dc)),
        (Method::AppConfig(hash), _) => Ok(help::app_config(*hash)),
        (Method::Login(_), _) => unreachable!("BUG: the session carries it out"),
        (Method::Unknown, _) => {
            Err(RpcError::new(400, format!("INPUT_METHOD_INVALID_{}", call.id)))
        }
        (Method::Malformed, _) => Err(RpcError::new(400, "INPUT_REQUEST_INVALID")),
        (_, None) if key.pending.lock().wants_password() => {
            Err(RpcError::new(401, "SESSION_PASSWORD_NEEDED"))
        }
        (_, None) => Err(RpcError::new(401, "AUTH_KEY_UNREGISTERED")),
        (method, Some(user)) if user.home_dc != server.dc && !method.is_anywhere() => {
            let home = user.home_dc;
            Err(RpcError::new(303, format!("USER_MIGRATE_{home}")))
        }
        (method, Some(user)) => execute_as(server, (key, user), method),
    }
}

/// Carries a call out for which somebody has to be signed in.
fn execute_as(
    server: &ServerState,
    (key, user): (&Key, &User),
    method: &Method,
) -> Result<Vec<u8>, RpcError> {
    match method {
        Method::Users(ids) if ids.len() > USERS_MAX => Err(RpcError::new(400, "LIMIT_INVALID")),
        Method::Users(ids) => {
            let mut body = VECTOR.to_bytes();
            u32::try_from(ids.len()).unwrap_or(0).serialize(&mut body);
            let schema = key.schema();
            ids.iter().for_each(|id| put_user(&mut body, schema, (server, user), id));
            Ok(body)
        }
        Method::FullUser(id) => full_user(key.schema(), (server, user), id),
        Method::Send { peer, message, random_id } => {
            user.random_ids.send_once(*random_id, || send(server, (key, user), peer, message))
        }
        Method::State => Ok(updates::state(key, user)),
        Method::Difference(asked) => updates::difference(server, key, user, asked),
        Method::ChannelDifference(asked) => updates::channel_difference(server, key, user, asked),
        Method::Config
        | Method::NearestDc
        | Method::AppConfig(_)
        | Method::Login(_)
        | Method::Unknown
        | Method::Malformed => unreachable!("BUG: anybody may call it"),
    }
}

/// The configuration lists all data centres, and this one under every number that none has: whoever looks for another
/// one stays on this machine.
fn config(server: &ServerState) -> Vec<u8> {
    let mut body = types::Config::CONSTRUCTOR_ID.to_bytes();
    let flags = 0_u32;
    flags.serialize(&mut body);
    date().serialize(&mut body);
    date().saturating_add(3600).serialize(&mut body);
    BOOL_FALSE.serialize(&mut body);
    server.dc.serialize(&mut body);
    VECTOR.serialize(&mut body);
    5_i32.serialize(&mut body);
    for id in DATA_CENTRES {
        let address = server.world.address(id).unwrap_or(server.address);
        let option = types::DcOption {
            ipv6: address.is_ipv6(),
            media_only: false,
            tcpo_only: false,
            cdn: false,
            r#static: true,
            this_port_only: false,
            id,
            ip_address: address.ip().to_string(),
            port: address.port().into(),
            secret: None,
        };
        enums::DcOption::Option(option).serialize(&mut body);
    }
    // An empty domain, 18 numbers, an empty prefix and the numbers behind it: no client that
    // only calls methods looks at them.
    body.extend([0; 26 * 4]);
    body
}

/// All that is known of a user, which is no more than of any.
fn full_user(
    schema: Schema,
    (server, own): (&ServerState, &User),
    id: &enums::InputUser,
) -> Result<Vec<u8>, RpcError> {
    let number = match id {
        enums::InputUser::UserSelf => own.id,
        enums::InputUser::User(user) => user.user_id,
        _ => return Err(RpcError::new(400, "USER_ID_INVALID")),
    };
    let is_known = server.user_by_id(number).is_some() || updates::stranger_name(number).is_some();
    if !is_known {
        return Err(RpcError::new(400, "USER_ID_INVALID"));
    }
    let nothing = 0_u32;
    let mut body = types::users::UserFull::CONSTRUCTOR_ID.to_bytes();
    schema.user_full.serialize(&mut body);
    // Its flags, the user, and settings without any.
    let words = if schema.has_second_flags() { 2 } else { 1 };
    (0..words).for_each(|_| nothing.serialize(&mut body));
    number.serialize(&mut body);
    updates::put_settings(&mut body, schema.peer_settings);
    updates::put_settings(&mut body, schema.notify_settings);
    // No chat in common, and none in the list; one user.
    nothing.serialize(&mut body);
    VECTOR.serialize(&mut body);
    nothing.serialize(&mut body);
    VECTOR.serialize(&mut body);
    1_u32.serialize(&mut body);
    put_user(&mut body, schema, (server, own), id);
    Ok(body)
}

fn put_user(
    body: &mut Vec<u8>,
    schema: Schema,
    (server, own): (&ServerState, &User),
    id: &enums::InputUser,
) {
    match id {
        enums::InputUser::UserSelf => updates::put_user(body, schema, (server, own), own.id),
        enums::InputUser::User(user) => {
            updates::put_user(body, schema, (server, own), user.user_id)
        }
        enums::InputUser::Empty | enums::InputUser::FromMessage(_) => {
            enums::User::Empty(types::UserEmpty { id: 0 }).serialize(body);
        }
    }
}

/// Whether a message can have this text.
pub(super) fn is_message(text: &str) -> bool {
    check_message(text).is_ok()
}

fn check_message(text: &str) -> Result<(), RpcError> {
    if text.is_empty() {
        return Err(RpcError::new(400, "MESSAGE_EMPTY"));
    }
    if text.chars().count() > MESSAGE_LEN_MAX {
        return Err(RpcError::new(400, "MESSAGE_TOO_LONG"));
    }
    Ok(())
}

fn send(
    server: &ServerState,
    from: (&Key, &User),
    peer: &enums::InputPeer,
    message: &str,
) -> Result<Vec<u8>, RpcError> {
    check_message(message)?;
    let own = from.1.id;
    let to = match peer {
        // Of a basic group nothing is known here but that somebody writes to it.
        enums::InputPeer::PeerSelf | enums::InputPeer::Chat(_) => own,
        enums::InputPeer::User(peer) => peer.user_id,
        _ => return Err(RpcError::new(400, "PEER_ID_INVALID")),
    };
    if to != own && server.user_by_id(to).is_none() && updates::stranger_name(to).is_none() {
        return Err(RpcError::new(400, "PEER_ID_INVALID"));
    }
    let sent = updates::send_message(server, from, to, message);
    let sent = types::UpdateShortSentMessage {
        out: true,
        id: sent.id,
        pts: sent.pts,
        pts_count: 1,
        date: sent.date,
        media: None,
        entities: None,
        ttl_period: None,
    };
    Ok(enums::Updates::UpdateShortSentMessage(sent).to_bytes())
}

pub(super) fn pong(msg_id: i64, ping_id: i64) -> Vec<u8> {
    enums::Pong::Pong(types::Pong { msg_id, ping_id }).to_bytes()
}

/// As many of the salts to come as were asked for, but no fewer than two: a client that is given
/// one asks at once again. The time is that of the connection, in seconds since 1970.
pub(super) fn future_salts(
    server: &ServerState,
    key: &Key,
    (req_msg_id, now): (i64, u64),
    count: i32,
) -> Vec<u8> {
    let count = usize::try_from(count.clamp(2, 64)).expect("BUG: it was just made positive");
    let salts = server.salts(key, now).take(count).map(|salt| types::FutureSalt {
        valid_since: salt.since,
        valid_until: salt.until,
        salt: salt.value,
    });
    let salts = RawVec(salts.collect());
    let now = i32::try_from(now).unwrap_or(i32::MAX);
    enums::FutureSalts::Salts(types::FutureSalts { req_msg_id, now, salts }).to_bytes()
}

/// What is known of messages, a byte each.
pub(super) fn message_states(req_msg_id: i64, info: Vec<u8>) -> Vec<u8> {
    enums::MsgsStateInfo::Info(types::MsgsStateInfo { req_msg_id, info }).to_bytes()
}

/// That there is a message which the client may ask for: the answer to a call, or what nobody has asked for.
pub(super) fn detailed_info(call: Option<i64>, answer_msg_id: i64, len: usize) -> Vec<u8> {
    let bytes = i32::try_from(len).unwrap_or(i32::MAX);
    let info = match call {
        Some(msg_id) => types::MsgDetailedInfo { msg_id, answer_msg_id, bytes, status: 0 }.into(),
        None => types::MsgNewDetailedInfo { answer_msg_id, bytes, status: 0 }.into(),
    };
    enums::MsgDetailedInfo::to_bytes(&info)
}

pub(super) fn session_destroyed(session_id: i64, was_there: bool) -> Vec<u8> {
    let told: enums::DestroySessionRes = match was_there {
        true => types::DestroySessionOk { session_id }.into(),
        false => types::DestroySessionNone { session_id }.into(),
    };
    told.to_bytes()
}

/// What has become of an answer that the client does not want any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DroppedAnswer {
    Unknown,
    Running,
    Sent { id: i64, sequence: u32, len: usize },
}

pub(super) fn dropped_answer(dropped: &DroppedAnswer) -> Vec<u8> {
    let told = match dropped {
        DroppedAnswer::Unknown => enums::RpcDropAnswer::RpcAnswerUnknown,
        DroppedAnswer::Running => enums::RpcDropAnswer::RpcAnswerDroppedRunning,
        DroppedAnswer::Sent { id, sequence, len } => {
            let (msg_id, seq_no) = (*id, sequence.cast_signed());
            let bytes = i32::try_from(*len).unwrap_or(i32::MAX);
            types::RpcAnswerDropped { msg_id, seq_no, bytes }.into()
        }
    };
    told.to_bytes()
}

/// That a message of the client has come.
pub(super) fn acknowledgement(id: i64) -> Vec<u8> {
    enums::MsgsAck::Ack(types::MsgsAck { msg_ids: vec![id] }).to_bytes()
}

pub(super) fn new_session(first_msg_id: i64, unique_id: i64, server_salt: i64) -> Vec<u8> {
    let created = types::NewSessionCreated { first_msg_id, unique_id, server_salt };
    enums::NewSession::Created(created).to_bytes()
}

pub(super) fn bad_salt(bad_msg_id: i64, bad_msg_seqno: i32, new_server_salt: i64) -> Vec<u8> {
    let error_code = 48;
    let bad = types::BadServerSalt { bad_msg_id, bad_msg_seqno, error_code, new_server_salt };
    enums::BadMsgNotification::BadServerSalt(bad).to_bytes()
}

pub(super) fn bad_message(bad_msg_id: i64, bad_msg_seqno: i32, error_code: i32) -> Vec<u8> {
    let bad = types::BadMsgNotification { bad_msg_id, bad_msg_seqno, error_code };
    enums::BadMsgNotification::Notification(bad).to_bytes()
}

fn date() -> i32 {
    i32::try_from(unix_time().as_secs()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use grammers_tl_types::Deserializable;

    use super::*;
    use crate::account_id::AccountId;
    use crate::sandbox::faults::FaultInjector;
    use crate::sandbox::world::World;

    fn server() -> ServerState {
        ServerState::new(
            (2, "127.0.0.1:4430".parse().unwrap()),
            Arc::new(World::new()),
            7,
            FaultInjector::default(),
        )
    }

    fn call(method: Method) -> RpcCall {
        RpcCall { id: 77, introduction: None, without_updates: false, method }
    }

    #[tokio::test]
    async fn what_is_written_by_hand_is_what_the_schema_reads() {
        let server = server();
        let account: AccountId = "+9996620001".parse().unwrap();
        server.create_sessions(account, 1, None);
        server.create_sessions(AccountId::bot(5).unwrap(), 1, None);
        let user = server.user(account).unwrap();
        let key = Arc::clone(&user.keys.lock()[0]);
        let answer = execute(&server, (&key, Some(&user)), &call(Method::Config)).unwrap();
        let enums::Config::Config(config) = enums::Config::from_bytes(&answer).unwrap();
        assert_eq!((config.this_dc, config.dc_options.len()), (2, 5));
        for enums::DcOption::Option(option) in config.dc_options {
            assert_eq!((&*option.ip_address, option.port), ("127.0.0.1", 4430));
        }
        let input = |user_id| types::InputUser { user_id, access_hash: 0 }.into();
        let ids = vec![enums::InputUser::UserSelf, input(5), input(6)];
        let answer = execute(&server, (&key, Some(&user)), &call(Method::Users(ids))).unwrap();
        let users = Vec::<enums::User>::from_bytes(&answer).unwrap();
        let [enums::User::User(own), enums::User::User(bot), enums::User::Empty(_)] = &users[..]
        else {
            panic!("{users:?}")
        };
        assert_eq!((own.is_self, own.bot, own.id), (true, false, user.id));
        assert_eq!(own.phone.as_deref(), Some("9996620001"));
        assert_eq!((bot.is_self, bot.bot, bot.id), (false, true, 5));
    }

    #[tokio::test]
    async fn what_is_not_served_gets_an_error_of_the_servers_kind() {
        let server = server();
        let account = AccountId::bot(5).unwrap();
        server.create_sessions(account, 1, None);
        let user = server.user(account).unwrap();
        let key = Arc::clone(&user.keys.lock()[0]);
        let nobody = types::InputPeerUser { user_id: 99, access_hash: 0 }.into();
        let send =
            |peer, message: &str| Method::Send { peer, message: message.to_owned(), random_id: 1 };
        for (what, error) in [
            (Method::Unknown, "INPUT_METHOD_INVALID_77"),
            (Method::Malformed, "INPUT_REQUEST_INVALID"),
            (send(nobody, "x"), "PEER_ID_INVALID"),
            (send(enums::InputPeer::PeerSelf, ""), "MESSAGE_EMPTY"),
            (send(enums::InputPeer::PeerSelf, &"x".repeat(4097)), "MESSAGE_TOO_LONG"),
            (Method::Users(vec![enums::InputUser::UserSelf; 201]), "LIMIT_INVALID"),
        ] {
            let refusal = execute(&server, (&key, Some(&user)), &call(what)).unwrap_err();
            assert_eq!(refusal, RpcError::new(400, error));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_rests_one_method_until_it_has_passed() {
        let server = server();
        server.create_sessions(AccountId::bot(5).unwrap(), 1, None);
        let user = server.user(AccountId::bot(5).unwrap()).unwrap();
        user.flood_waits.start(1, 3);
        assert_eq!((user.flood_waits.remaining(1), user.flood_waits.remaining(2)), (Some(3), None));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(user.flood_waits.remaining(1), Some(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(user.flood_waits.remaining(1), None);
    }
}
