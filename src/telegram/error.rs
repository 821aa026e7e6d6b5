//! The error of a connection or a call.
//!
//! Owns the error type and the translation from the client's. Never holds a key, a session
//! string, more of a proxy than its label or the body of a request.

use std::io;
use std::time::Duration;

use grammers_client::InvocationError;
use grammers_client::sender::RpcError;
use grammers_client::tl;
use grammers_mtproto::mtp::DeserializeError;
use grammers_mtproto::transport;

use super::bridge::ProxyError;
use super::endpoint::error::local_error;
use super::one_shot_session::OneShotError;
use crate::account_id::AccountId;
use crate::base::text::display_safely;
use crate::ownership::{ClaimError, Fenced};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelegramError {
    /// The server refused the call.
    #[error("{name}{} (code {code}{})", shown_value(.value), shown_method(.method))]
    Rpc {
        /// Like an HTTP status.
        code: i32,
        /// The name without its number: `FLOOD_WAIT`. Of whatever else a server sends, the first 500
        /// characters in one line.
        name: Box<str>,
        /// The number in the name: seconds, a data centre.
        value: Option<u32>,
        /// The constructor id of the method.
        method: Option<u32>,
    },
    /// The network failed.
    #[error("the connection failed: {0}")]
    Io(#[source] io::Error),
    /// The server sent a code instead of an answer and closes the connection.
    #[error("the server refused the connection with transport code {code}")]
    Transport {
        /// 404: unknown key, 429: too many connections, 444: wrong data centre.
        code: u32,
    },
    /// The server does not know the key when a connection begins. At times it is mistaken, so
    /// that the first time proves nothing.
    #[error("the server does not know the authorization key (refusal {strikes} in a row)")]
    KeyUnknown {
        /// How often in a row.
        strikes: u32,
    },
    /// The client tried to replace the key, which it may not.
    #[error("the server does not know the authorization key: the old one was kept")]
    KeyChanged,
    /// Making a key with a data centre failed. Only foreign ones need it: in a connect it means
    /// that the home does not know ours.
    #[error("no key could be agreed on with the data centre: {0}")]
    KeyExchange(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The bytes from the server make no sense; the connection is lost.
    #[error("the server broke the protocol: {0}")]
    Protocol(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An answer that cannot be understood; the connection is sound.
    #[error("the answer could not be read: {0}")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time. The server may have carried out the call.
    #[error("no answer within {after:?}: the call may or may not have been carried out")]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// The client gave the call up by itself, for a reason in its own words: it lacks something that
    /// the call needs (the peer's access hash, for one), or an answer was not what it expects. The
    /// connection is sound. Some of its helpers look after the call, so that it may have been carried
    /// out.
    #[error("the client gave the call up by itself: {0}")]
    Client(Box<str>),
    /// A file of this machine could not be read or written, which the client was to send or to save.
    /// The connection is sound.
    #[error("a file could not be read or written: {0}")]
    File(#[source] io::Error),
    /// The connection ended before the answer. The server may have carried out the call.
    #[error("the connection ended before the answer: acquire another one")]
    Dropped,
    /// The server has forgotten the call, and whether it has carried it out. The connection is sound.
    #[error("the server has lost the call: it may or may not have been carried out")]
    Forgotten,
    /// The connection had ended before the call was sent: the server has not seen it.
    #[error("the connection had ended before the call was sent: acquire another one")]
    NotSent,
    /// The call was not sent, because it would have cost the connection.
    #[error("the call was not sent: {0}")]
    Refused(#[from] Refusal),
    /// The client knows no address of a data centre that it needs.
    #[error("the call needs a data centre whose address is not in the settings")]
    UnknownDataCentre,
    /// Another pool or connection of this process is using the key.
    #[error(
        "another connection of this process is using the key: give each pool sessions of its own"
    )]
    KeyInUse,
    /// The last connection with the key ended without the server's being known to have noticed. Its
    /// end may be open until its timer strikes, and a second connection would cost the login.
    #[error(
        "the session rests for {} s more: Telegram may not have noticed the end of its last \
         connection, and would void the login at a second one",
        .remaining.as_secs() + 1
    )]
    KeyResting {
        /// For how much longer.
        remaining: Duration,
    },
    /// The key could not be claimed for this process: another one has it.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The process did not run for so long that its connections count for nothing any more.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The source has no such session.
    #[error("account {account} has no session for slot {slot}: add one, or reload")]
    NoSession {
        /// Whose.
        account: AccountId,
        /// The slot.
        slot: u16,
    },
    /// Nobody has said which application the session belongs to.
    #[error(
        "nobody has said which application the session of account {account} belongs to: give it its own api_id, or the \
         process one for sessions that have none"
    )]
    NoApiId {
        /// Whose.
        account: AccountId,
    },
    /// The session could not be dialled by its proxy, or from its address. It is dialled in no other way,
    /// which would show the account from another address.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

/// The words of the client's senders, whose connection is gone or has lost the call. All its others
/// are of its helpers, which give a call up over a connection that is sound. Those of grammers 0.11.0:
/// the client is pinned to it.
const CONNECTION_GONE: [&str; 6] = [
    "SenderPoolRunner was dropped at send",
    "SenderPoolRunner was dropped during receive",
    "SenderPoolRunner was dropped during retry at send",
    "SenderPooLRunner was dropped during retry during receive",
    "response was non-retryable bad msg",
    "updates channel was closed",
];

/// Whether an error can be of a file alone. The client tells those of its files and of its sockets by
/// the same name.
fn is_of_a_file(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, DirectoryNotEmpty, FileTooLarge, InvalidFilename, IsADirectory,
        NotADirectory, NotFound, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    matches!(
        error.kind(),
        AlreadyExists
            | DirectoryNotEmpty
            | FileTooLarge
            | InvalidFilename
            | IsADirectory
            | NotADirectory
            | NotFound
            | QuotaExceeded
            | ReadOnlyFilesystem
            | StorageFull
    )
}

/// Why a call was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Too long for one message.
    #[error("its {len} bytes are more than {limit}: send files in parts")]
    TooLong {
        /// How many bytes it has.
        len: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Too short to name a method.
    #[error("its {len} bytes name no method")]
    TooShort {
        /// How many bytes it has.
        len: usize,
    },
    /// Too many calls wait on the connection.
    #[error("{limit} calls wait on its connection: spread them over more connections")]
    TooMany {
        /// How many may.
        limit: usize,
    },
    /// The bodies of the calls that wait on the connection are too large together.
    #[error("calls of {limit} bytes wait on its connection: spread them over more connections")]
    TooMuch {
        /// How many bytes may.
        limit: usize,
    },
    /// Not made of whole words of 4 bytes.
    #[error("its {len} bytes are not a multiple of 4")]
    Unaligned {
        /// How many bytes it has.
        len: usize,
    },
}

impl From<InvocationError> for TelegramError {
    fn from(error: InvocationError) -> Self {
        match error {
            InvocationError::Rpc(error) => match local_error(&error) {
                Some(error) => error.into(),
                None => error.into(),
            },
            InvocationError::Io(error) if is_of_a_file(&error) => Self::File(error),
            InvocationError::Io(error) => Self::Io(error),
            InvocationError::Transport(transport::Error::BadStatus { status }) => {
                Self::Transport { code: status }
            }
            InvocationError::Transport(error) => Self::Protocol(error.into()),
            InvocationError::Deserialize(error) => match error {
                // One answer that this version of the schema does not know.
                DeserializeError::UnexpectedConstructor { .. }
                | DeserializeError::DecompressionFailed
                | DeserializeError::MessageBufferTooSmall => Self::Answer(error.into()),
                _ => Self::Protocol(error.into()),
            },
            InvocationError::Dropped(words) if CONNECTION_GONE.contains(&words) => Self::Dropped,
            InvocationError::Dropped(words) => Self::Client(words.into()),
            InvocationError::InvalidDc => Self::UnknownDataCentre,
            InvocationError::Authentication(error) => Self::KeyExchange(error.into()),
            InvocationError::Session(error) => match error.downcast_ref() {
                Some(OneShotError::KeyChanged) => Self::KeyChanged,
                Some(error @ (OneShotError::OwnUnknown | OneShotError::NoDoor)) => {
                    Self::Client(error.to_string().into())
                }
                Some(OneShotError::Redial) | None => Self::Dropped,
            },
        }
    }
}

impl From<RpcError> for TelegramError {
    fn from(error: RpcError) -> Self {
        let RpcError { code, name, mut value, caused_by } = error;
        // As the first thing: from here on it is told, kept and compared.
        let mut name = display_safely(&name);
        if value.is_none()
            && let Some(word) = name.split('_').find(|word| is_number(word))
        {
            // Too large for the client, which then takes it for a part of the name: a wait of more than
            // a century is one all the same.
            name = name.replace(&format!("_{word}"), "");
            value = Some(u32::MAX);
        }
        Self::Rpc { code, name: name.into(), value, method: caused_by }
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn shown_value(value: &Option<u32>) -> String {
    value.map(|value| format!(" {value}")).unwrap_or_default()
}

fn shown_method(method: &Option<u32>) -> String {
    method.map(|method| format!(", {}", tl::name_for_id(method))).unwrap_or_default()
}
