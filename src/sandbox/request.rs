//! Requests: the methods that the data centre serves, and how they are read.
//!
//! Owns their names and the reading of wrappers. Never answers one: `response` does.

use grammers_tl_types::{
    Cursor, Deserializable, Identifiable, enums, functions, name_for_id, types,
};

use super::login::LoginCall;
use super::session::SequenceParity;
use crate::session::ClientIdentity;

/// The longest part of a request that a recursive type is read from: the schema has types that
/// hold themselves, and a hostile request could nest them until the stack ends.
const NESTED_LEN_MAX: usize = 4096;
/// The most wrappers around a request.
const WRAPPERS_MAX: usize = 4;

const INVOKE_WITH_LAYER: u32 = 0xda9b_0d0d;
pub(super) const INIT_CONNECTION: u32 = 0xc1cd_5ea9;
const INVOKE_WITHOUT_UPDATES: u32 = 0xbf94_59b7;
const VECTOR: u32 = 0x1cb5_c415;
/// It wraps a message, and nobody sends it; it is not served, as on the real servers.
const MSG_COPY: u32 = 0xe060_46b2;

/// The most messages that another one is about.
const IDS_MAX: usize = 8192;

/// Every method that a fault can be put on, by its name in the schema.
pub(super) const METHODS: [&str; 23] = [
    "ping",
    "help.getConfig",
    "help.getNearestDc",
    "help.getAppConfig",
    "users.getUsers",
    "users.getFullUser",
    "messages.sendMessage",
    "updates.getState",
    "updates.getDifference",
    "updates.getChannelDifference",
    "auth.sendCode",
    "auth.resendCode",
    "auth.cancelCode",
    "auth.signIn",
    "auth.importBotAuthorization",
    "auth.exportLoginToken",
    "auth.importLoginToken",
    "auth.acceptLoginToken",
    "account.getPassword",
    "auth.checkPassword",
    "auth.logOut",
    "auth.exportAuthorization",
    "auth.importAuthorization",
];

/// A message of a client.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    /// What gets no reply, such as `http_wait`, which means nothing over TCP.
    NoReply,
    /// Messages that the client has.
    Acknowledgement(Vec<i64>),
    /// Answered with a pong, without a result around it.
    Ping(i64),
    /// The same, and has the connection closed if no other one of its kind comes for so many
    /// seconds.
    PingDelayDisconnect {
        ping_id: i64,
        disconnect_delay: i32,
    },
    FutureSalts(i32),
    MessageStates(Vec<i64>),
    /// Messages of the server that the client asks for once more.
    Resend(Vec<i64>),
    /// The same, by the calls that they answer.
    ResendAnswers(Vec<i64>),
    DestroySession(i64),
    /// The call whose answer the client does not want any more.
    DropAnswer(i64),
    Call(RpcCall),
}

/// A call of a method.
#[derive(Debug, PartialEq)]
pub(super) struct RpcCall {
    /// The constructor id of the method.
    pub(super) id: u32,
    /// How the client introduces itself, if it is wrapped in `initConnection`.
    pub(super) introduction: Option<Box<ClientIntroduction>>,
    /// Whether it is wrapped in `invokeWithoutUpdates`.
    pub(super) without_updates: bool,
    pub(super) method: Method,
}

#[derive(Debug, PartialEq)]
pub(super) enum Method {
    Config,
    NearestDc,
    /// With the hash of the one that the client has.
    AppConfig(i32),
    Users(Vec<enums::InputUser>),
    FullUser(enums::InputUser),
    Send {
        peer: enums::InputPeer,
        message: String,
        random_id: i64,
    },
    State,
    Difference(functions::updates::GetDifference),
    Login(Box<LoginCall>),
    ChannelDifference(Box<functions::updates::GetChannelDifference>),
    /// A method of the schema that is not served, or a number that is no method.
    Unknown,
    /// A method whose arguments could not be read.
    Malformed,
}

impl Method {
    /// Whether it is carried out away from home as well.
    pub(super) fn is_anywhere(&self) -> bool {
        matches!(self, Self::Users(_) | Self::FullUser(_))
    }
}

impl Request {
    /// The schema's name of the method.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ping(_) | Self::PingDelayDisconnect { .. } => METHODS[0],
            Self::Call(call) => name_for_id(call.id),
            _ => "",
        }
    }

    /// Whether its sequence number has to be odd.
    pub(super) fn sequence_parity(&self) -> SequenceParity {
        match self {
            Self::NoReply => SequenceParity::Even,
            Self::Call(_) => SequenceParity::Odd,
            _ => SequenceParity::Either,
        }
    }

    /// Reads a message of at least four bytes.
    pub(super) fn read(body: &[u8]) -> Self {
        let Some((id, rest)) = split(body) else { return Self::NoReply };
        let long = || rest.first_chunk().map(|bytes| i64::from_le_bytes(*bytes));
        let service = match id {
            functions::Ping::CONSTRUCTOR_ID => long().map(Self::Ping),
            functions::PingDelayDisconnect::CONSTRUCTOR_ID => {
                functions::PingDelayDisconnect::from_bytes(rest).ok().map(|it| {
                    let functions::PingDelayDisconnect { ping_id, disconnect_delay } = it;
                    Self::PingDelayDisconnect { ping_id, disconnect_delay }
                })
            }
            functions::GetFutureSalts::CONSTRUCTOR_ID => {
                functions::GetFutureSalts::from_bytes(rest)
                    .ok()
                    .map(|salts| Self::FutureSalts(salts.num))
            }
            functions::DestroySession::CONSTRUCTOR_ID => long().map(Self::DestroySession),
            functions::RpcDropAnswer::CONSTRUCTOR_ID => long().map(Self::DropAnswer),
            id if is_notice(id) => Some(Self::NoReply),
            types::MsgsAck::CONSTRUCTOR_ID => ids(rest).map(Self::Acknowledgement),
            types::MsgsStateReq::CONSTRUCTOR_ID => ids(rest).map(Self::MessageStates),
            types::MsgResendReq::CONSTRUCTOR_ID => ids(rest).map(Self::Resend),
            types::MsgResendAnsReq::CONSTRUCTOR_ID => ids(rest).map(Self::ResendAnswers),
            _ => return Self::Call(RpcCall::read(id, rest)),
        };
        service.unwrap_or(Self::NoReply)
    }
}

/// Whether a message asks for nothing.
fn is_notice(id: u32) -> bool {
    [
        types::HttpWait::CONSTRUCTOR_ID,
        types::MsgsAllInfo::CONSTRUCTOR_ID,
        types::MsgsStateInfo::CONSTRUCTOR_ID,
        MSG_COPY,
    ]
    .contains(&id)
}

/// Message ids, no more of them than a message may name.
fn ids(bytes: &[u8]) -> Option<Vec<i64>> {
    let ids = Vec::<i64>::from_bytes(bytes).ok()?;
    (ids.len() <= IDS_MAX).then_some(ids)
}

impl RpcCall {
    fn read(mut id: u32, mut rest: &[u8]) -> Self {
        let (mut introduction, mut without_updates, mut layer) = (None, false, u32::MAX);
        for _ in 0..WRAPPERS_MAX {
            let inner = match id {
                INVOKE_WITH_LAYER => split(rest).map(|(announced, rest)| {
                    layer = announced;
                    rest
                }),
                INIT_CONNECTION => {
                    let read = init_connection(rest, layer);
                    introduction = read.as_ref().map(|(it, _)| Box::new(it.clone()));
                    read.map(|(_, rest)| rest)
                }
                INVOKE_WITHOUT_UPDATES => {
                    without_updates = true;
                    Some(rest)
                }
                _ => break,
            };
            match inner.and_then(split) {
                Some(inner) => (id, rest) = inner,
                None => {
                    return Self { id, introduction, without_updates, method: Method::Malformed };
                }
            }
        }
        Self { id, introduction, without_updates, method: Method::read(id, rest) }
    }
}

impl Method {
    fn read(id: u32, rest: &[u8]) -> Self {
        let read = match id {
            functions::help::GetConfig::CONSTRUCTOR_ID => Some(Self::Config),
            functions::help::GetNearestDc::CONSTRUCTOR_ID => Some(Self::NearestDc),
            functions::help::GetAppConfig::CONSTRUCTOR_ID => {
                split(rest).map(|(hash, _)| Self::AppConfig(hash.cast_signed()))
            }
            functions::users::GetUsers::CONSTRUCTOR_ID => users(rest).map(Self::Users),
            functions::users::GetFullUser::CONSTRUCTOR_ID => {
                nested(rest).map(|(user, _)| Self::FullUser(user))
            }
            functions::messages::SendMessage::CONSTRUCTOR_ID => message(rest),
            functions::updates::GetState::CONSTRUCTOR_ID => Some(Self::State),
            functions::updates::GetDifference::CONSTRUCTOR_ID => {
                functions::updates::GetDifference::from_bytes(rest).ok().map(Self::Difference)
            }
            functions::updates::GetChannelDifference::CONSTRUCTOR_ID => {
                nested(rest).map(|(asked, _)| Self::ChannelDifference(Box::new(asked)))
            }
            _ => match LoginCall::read(id, rest) {
                Some(read) => read.map(Box::new).map(Self::Login),
                None => Some(Self::Unknown),
            },
        };
        read.unwrap_or(Self::Malformed)
    }
}

/// How a client introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientIntroduction {
    pub(super) api_id: i32,
    pub(super) identity: ClientIdentity,
    /// The layer of the schema that it speaks.
    pub(super) layer: u32,
}

/// The arguments of `initConnection`, and what follows them.
fn init_connection(bytes: &[u8], layer: u32) -> Option<(ClientIntroduction, &[u8])> {
    let (flags, rest) = split(bytes)?;
    let (api_id, mut rest) = split(rest)?;
    let mut words: [String; 6] = Default::default();
    for word in &mut words {
        (*word, rest) = nested::<String>(rest)?;
    }
    let [device, system, application, system_language, _language_pack, language] = words;
    let mut identity = ClientIdentity::new(device, system, application);
    (identity.system_lang_code, identity.lang_code) = (system_language, language);
    if flags & 1 != 0 {
        rest = nested::<enums::InputClientProxy>(rest)?.1;
    }
    if flags & 2 != 0 {
        rest = nested::<enums::Jsonvalue>(rest)?.1;
    }
    Some((ClientIntroduction { api_id: api_id.cast_signed(), identity, layer }, rest))
}

fn users(bytes: &[u8]) -> Option<Vec<enums::InputUser>> {
    let (VECTOR, rest) = split(bytes)? else { return None };
    let (count, mut rest) = split(rest)?;
    let mut users = Vec::new();
    for _ in 0..count {
        let (user, after) = nested(rest)?;
        users.push(user);
        rest = after;
    }
    Some(users)
}

/// The peer, the text and its random id; what else a message may carry changes nothing here.
fn message(bytes: &[u8]) -> Option<Method> {
    let (flags, rest) = split(bytes)?;
    let (peer, mut rest) = nested(rest)?;
    if flags & 1 != 0 {
        rest = nested::<enums::InputReplyTo>(rest)?.1;
    }
    let mut cursor = Cursor::from_slice(rest);
    let message = String::deserialize(&mut cursor).ok()?;
    let random_id = i64::deserialize(&mut cursor).ok()?;
    Some(Method::Send { peer, message, random_id })
}

/// Reads a value that may nest, and what follows it.
fn nested<T: Deserializable>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let mut cursor = Cursor::from_slice(&bytes[..bytes.len().min(NESTED_LEN_MAX)]);
    let value = T::deserialize(&mut cursor).ok()?;
    Some((value, &bytes[cursor.pos()..]))
}

/// The first word, and what follows it.
fn split(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*word), rest))
}

#[cfg(test)]
mod tests {
    use grammers_tl_types::Serializable;

    use super::*;

    fn initialising<X>(query: X) -> functions::InvokeWithLayer<functions::InitConnection<X>> {
        let text = || "x".repeat(300);
        let proxy = types::InputClientProxy { address: text(), port: 1 }.into();
        let params = types::JsonObject { value: Vec::new() }.into();
        let query = functions::InitConnection {
            api_id: 1,
            device_model: text(),
            system_version: text(),
            app_version: text(),
            system_lang_code: text(),
            lang_pack: text(),
            lang_code: text(),
            proxy: Some(proxy),
            params: Some(params),
            query,
        };
        functions::InvokeWithLayer { layer: 1, query }
    }

    fn call(request: &impl Serializable) -> RpcCall {
        match Request::read(&request.to_bytes()) {
            Request::Call(call) => call,
            other => panic!("{other:?} is no call"),
        }
    }

    #[test]
    fn wrapped_and_bare_calls_are_read() {
        let config = call(&initialising(functions::help::GetConfig {}));
        assert_eq!((config.introduction.is_some(), config.method), (true, Method::Config));
        assert!(!config.without_updates);
        let bare = functions::InvokeWithoutUpdates { query: functions::updates::GetState {} };
        assert_eq!((call(&bare).introduction, call(&bare).method), (None, Method::State));
        let inner = functions::InvokeWithoutUpdates { query: functions::updates::GetState {} };
        assert!(call(&bare).without_updates && call(&initialising(inner)).without_updates);
        let users = functions::users::GetUsers { id: vec![enums::InputUser::UserSelf; 3] };
        assert_eq!(call(&users).method, Method::Users(users.id));
        assert_eq!(Request::read(&functions::Ping { ping_id: 7 }.to_bytes()), Request::Ping(7));
    }

    #[test]
    fn a_ping_that_asks_for_a_disconnect_is_told_from_one_that_does_not() {
        let ping = functions::PingDelayDisconnect { ping_id: 7, disconnect_delay: -75 };
        let bytes = ping.to_bytes();
        let read = Request::read(&bytes);
        assert_eq!(read, Request::PingDelayDisconnect { ping_id: 7, disconnect_delay: -75 });
        assert_eq!(read.name(), "ping");
        assert_eq!(Request::read(&bytes[..12]), Request::NoReply, "it says no delay");
    }

    #[test]
    fn names_are_those_of_the_schema() {
        let names = [
            functions::Ping::CONSTRUCTOR_ID,
            functions::help::GetConfig::CONSTRUCTOR_ID,
            functions::help::GetNearestDc::CONSTRUCTOR_ID,
            functions::help::GetAppConfig::CONSTRUCTOR_ID,
            functions::users::GetUsers::CONSTRUCTOR_ID,
            functions::users::GetFullUser::CONSTRUCTOR_ID,
            functions::messages::SendMessage::CONSTRUCTOR_ID,
            functions::updates::GetState::CONSTRUCTOR_ID,
            functions::updates::GetDifference::CONSTRUCTOR_ID,
            functions::updates::GetChannelDifference::CONSTRUCTOR_ID,
            functions::auth::SendCode::CONSTRUCTOR_ID,
            functions::auth::ResendCode::CONSTRUCTOR_ID,
            functions::auth::CancelCode::CONSTRUCTOR_ID,
            functions::auth::SignIn::CONSTRUCTOR_ID,
            functions::auth::ImportBotAuthorization::CONSTRUCTOR_ID,
            functions::auth::ExportLoginToken::CONSTRUCTOR_ID,
            functions::auth::ImportLoginToken::CONSTRUCTOR_ID,
            functions::auth::AcceptLoginToken::CONSTRUCTOR_ID,
            functions::account::GetPassword::CONSTRUCTOR_ID,
            functions::auth::CheckPassword::CONSTRUCTOR_ID,
            functions::auth::LogOut::CONSTRUCTOR_ID,
            functions::auth::ExportAuthorization::CONSTRUCTOR_ID,
            functions::auth::ImportAuthorization::CONSTRUCTOR_ID,
        ]
        .map(name_for_id);
        assert_eq!(names, METHODS);
        let state = Request::read(&functions::updates::GetState {}.to_bytes());
        assert_eq!(state.name(), "updates.getState");
    }

    #[test]
    fn deep_nesting_and_cut_requests_are_malformed_and_nothing_worse() {
        let from_message = 0xa87b_0a1c_u32.to_le_bytes();
        let mut deep = functions::messages::SendMessage::CONSTRUCTOR_ID.to_le_bytes().to_vec();
        deep.extend([0; 4]);
        deep.extend(from_message.repeat(250_000));
        assert_eq!(Request::read(&deep).name(), "messages.sendMessage");
        assert!(matches!(
            Request::read(&deep),
            Request::Call(RpcCall { method: Method::Malformed, .. })
        ));
        let whole = initialising(functions::help::GetConfig {}).to_bytes();
        for len in 0..whole.len() {
            // Any answer will do, so long as there is one.
            drop(Request::read(&whole[..len]));
        }
        let deep = initialising(initialising(initialising(functions::help::GetConfig {})));
        assert_eq!(call(&deep).method, Method::Unknown, "the wrappers are counted");
    }
}
