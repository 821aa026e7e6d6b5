//! RPC over a connection of either engine: the body of a request, and its answer.
//!
//! Owns the reading of answers, and the limit of a call. Never checks what may be sent, and never retries.

use std::io;
use std::time::Duration;

use grammers_client::sender::{RpcError, SenderPoolHandle};
use grammers_client::tl::{
    Deserializable as _, Identifiable as _, RemoteCall, Serializable as _, enums, functions, types,
};
use tokio::runtime::Handle;

use super::wire::{WireEnd, WireError, WireHandle};
use super::{Refusal, TelegramError};
use crate::base::text::display_safely;
use crate::base::timer::{after, timeout_at};

/// What a call that asks for no updates is wrapped in.
const WRAPPER: u32 = functions::InvokeWithoutUpdates::<()>::CONSTRUCTOR_ID;
pub(super) const WRAPPER_LEN: usize = 4;

/// Where the bodies of requests go, by one connection. A clone does not keep it open.
#[derive(Clone)]
pub(super) enum RpcHandle {
    /// To the home data centre of a client.
    Client {
        client: SenderPoolHandle,
        data_centre: i32,
        /// Where the client runs.
        runtime: Handle,
    },
    Wire(WireHandle),
}

impl RpcHandle {
    /// To the home data centre of a client that runs on this runtime.
    pub(super) fn of_client(client: SenderPoolHandle, data_centre: i32) -> Self {
        Self::Client { client, data_centre, runtime: Handle::current() }
    }

    /// Sends the body of a request and waits for its answer, for so long at most. Whoever calls may be on another
    /// runtime than the connection, or on none. What was not sent fails as such, whatever has become of the connection.
    pub(super) async fn call<R: RemoteCall>(
        &self,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<R::Return, TelegramError> {
        self.call_or::<R>(body, limit, |_| TelegramError::NotSent).await
    }

    /// The same for the calls that a connection begins with: why it has ended counts, sent or not.
    pub(super) async fn begin<R: RemoteCall>(
        &self,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<R::Return, TelegramError> {
        self.call_or::<R>(body, limit, TelegramError::from).await
    }

    async fn call_or<R: RemoteCall>(
        &self,
        body: Vec<u8>,
        limit: Duration,
        unsent: fn(WireEnd) -> TelegramError,
    ) -> Result<R::Return, TelegramError> {
        let called = method(&body);
        let (answer, named) = match self {
            Self::Client { client, data_centre, runtime } => {
                let answer = client.raw_invoke_in_dc(*data_centre, body);
                let timeout = Err(TelegramError::Timeout { after: limit });
                let answer = timeout_at(runtime, after(limit), answer).await;
                (
                    answer.map_or(timeout, |answer| answer.map_err(TelegramError::from)),
                    Some(WRAPPER),
                )
            }
            Self::Wire(wire) => {
                let answer = wire.call(body, limit).await.map_err(|error| match error {
                    WireError::Lost { was_sent: false, end } => unsent(end),
                    error => error.into(),
                });
                (answer, None)
            }
        };
        let answer = answer.map_err(|error| match error {
            // The client names the outermost part of the body, and the wire nothing.
            TelegramError::Rpc { code, name, value, method } if method == named => {
                TelegramError::Rpc { code, name, value, method: Some(called) }
            }
            error => error,
        })?;
        R::Return::from_bytes(&answer)
            .map_err(|error| TelegramError::Answer(display_safely(&error).into()))
    }

    /// Has the connection bring updates from here on, where that is not settled when it is opened.
    pub(super) fn want_updates(&self) {
        if let Self::Wire(wire) = self {
            wire.want_updates(true);
        }
    }

    /// Whether it takes no call any more, as far as that is known here.
    pub(super) fn is_ending(&self) -> bool {
        match self {
            Self::Client { .. } => false,
            Self::Wire(wire) => wire.is_ending(),
        }
    }

    /// Asks the connection to end.
    pub(super) fn quit(&self) {
        match self {
            Self::Client { client, .. } => drop(client.quit()),
            Self::Wire(wire) => wire.close(),
        }
    }
}

impl From<WireError> for TelegramError {
    fn from(error: WireError) -> Self {
        let may_be_carried_out = error.may_be_carried_out();
        match error {
            WireError::Rpc { code, message } => {
                let error_message = message.into_string();
                RpcError::from(types::RpcError { error_code: code, error_message }).into()
            }
            WireError::Lost { was_sent: false, .. } => Self::NotSent,
            WireError::Lost { end, .. } => end.into(),
            WireError::TimedOut { after, .. } => Self::Timeout { after },
            // Another connection has numbers of its own.
            WireError::Refused { .. } if !may_be_carried_out => Self::NotSent,
            WireError::Refused { .. } | WireError::Forgotten => Self::Forgotten,
            WireError::Unsendable { len, limit } => Self::Refused(Refusal::TooLong { len, limit }),
            WireError::Busy { limit } => Self::Refused(Refusal::TooMany { limit }),
            WireError::Full { limit } => Self::Refused(Refusal::TooMuch { limit }),
            WireError::Answer(words) => Self::Answer(words.into()),
        }
    }
}

impl From<WireEnd> for TelegramError {
    fn from(end: WireEnd) -> Self {
        match end {
            WireEnd::Transport { code } => Self::Transport { code },
            WireEnd::Io(error) => Self::Io(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error),
            }),
            WireEnd::HungUp => {
                Self::Io(io::Error::new(io::ErrorKind::UnexpectedEof, end.to_string()))
            }
            WireEnd::Protocol(words) => Self::Protocol(words.into()),
            WireEnd::Disordered { .. } => Self::Protocol(end.to_string().into()),
            WireEnd::Closed { .. } | WireEnd::Aborted | WireEnd::Silent => Self::Dropped,
        }
    }
}

/// The body of a request that asks for no updates.
pub(super) fn without_updates<R: RemoteCall>(request: &R) -> Vec<u8> {
    let mut body = WRAPPER.to_bytes();
    request.serialize(&mut body);
    body
}

/// The same of a body that is there.
pub(super) fn wrapped(body: &[u8]) -> Vec<u8> {
    [&WRAPPER.to_le_bytes(), body].concat()
}

/// The same request without that, if it has it.
pub(super) fn unwrapped(body: &[u8]) -> &[u8] {
    let name = WRAPPER.to_le_bytes();
    body.strip_prefix(&name).unwrap_or(body)
}

/// What only a session that is logged in is told: who it is.
pub(super) fn oneself() -> functions::users::GetUsers {
    functions::users::GetUsers { id: vec![enums::InputUser::UserSelf] }
}

/// The method that a body calls.
pub(super) fn method(body: &[u8]) -> u32 {
    let word = |at: &[u8]| at.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
    match word(body) {
        WRAPPER => word(&body[4..]),
        method => method,
    }
}
