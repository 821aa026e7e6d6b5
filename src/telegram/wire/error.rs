//! Errors of the wire: why a call has no answer, and why a connection has ended.
//!
//! Owns the error types. Never holds the body of a request, and changes nothing in what a server says.

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that no sound server sends, in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(in crate::telegram) struct Breach(pub(in crate::telegram) &'static str);

/// Why a call over the wire has no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The server refused the call, in its own words.
    #[error("{message} (code {code})")]
    Rpc {
        /// Like an HTTP status.
        code: i32,
        /// As it was sent, byte for byte where it is UTF-8.
        message: Box<str>,
    },
    /// The server refused the message that the call was sent in, again and again.
    #[error("the server refused the message of the call with code {code}")]
    Refused {
        /// The code of `bad_msg_notification`, or 0 if the server only said that the message had not come. After
        /// 20 (too old to tell) and what this version does not know the call may have been carried out.
        code: i32,
    },
    /// The connection ended before the answer.
    #[error("the connection ended before the answer: {end}")]
    Lost {
        /// Whether the server may have carried the call out.
        was_sent: bool,
        /// Why it ended.
        end: WireEnd,
    },
    /// No answer in time.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// Whether the server may have carried the call out.
        was_sent: bool,
        /// The limit.
        after: Duration,
    },
    /// The server has forgotten the session that the call was sent in, and with it whether it has carried the
    /// call out.
    #[error("the server has lost the call: it may or may not have been carried out")]
    Forgotten,
    /// The call was not sent, since no server takes such a body.
    #[error("a body of {len} bytes is not sent: it takes whole words, from 4 to {limit} bytes")]
    Unsendable {
        /// How many bytes it has.
        len: usize,
        /// The most.
        limit: usize,
    },
    /// The call was not sent, since too many wait already.
    #[error("{limit} calls wait on this connection: spread them over more connections")]
    Busy {
        /// How many may wait.
        limit: usize,
    },
    /// The call was not sent, since the bodies of those that wait already are too large together.
    #[error("calls of {limit} bytes wait on this connection: spread them over more connections")]
    Full {
        /// How many bytes may wait.
        limit: usize,
    },
    /// The answer is larger than allowed once it is unpacked, or cannot be unpacked. The connection is sound.
    #[error("the answer could not be unpacked: {0}")]
    Answer(&'static str),
}

impl WireError {
    /// Whether the server may have carried the call out.
    #[must_use]
    pub fn may_be_carried_out(&self) -> bool {
        match self {
            Self::Lost { was_sent, .. } | Self::TimedOut { was_sent, .. } => *was_sent,
            Self::Refused { code } => !matches!(code, 0 | 16..=19 | 32..=35 | 48 | 64),
            Self::Forgotten | Self::Answer(_) => true,
            Self::Rpc { .. } | Self::Unsendable { .. } | Self::Busy { .. } | Self::Full { .. } => {
                false
            }
        }
    }
}

/// Why a connection has ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireEnd {
    /// It was closed from here.
    #[error("it was closed")]
    Closed {
        /// Whether the other side has closed its end since. If not, that may be open.
        is_confirmed: bool,
    },
    /// It was cut from here, without a word; so it also ends with its runtime, or by a panic.
    #[error("it was cut off")]
    Aborted,
    /// The other side has closed it.
    #[error("the server has closed it")]
    HungUp,
    /// The network failed.
    #[error("{0}")]
    Io(#[source] Arc<io::Error>),
    /// The server sent a code instead of a packet.
    #[error("the server refused it with transport code {code}")]
    Transport {
        /// 404: unknown key, 429: too many connections, 444: wrong data centre.
        code: u32,
    },
    /// The server sent what no sound one sends.
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
    /// The server takes no number of the session any more. Another session beside it might cost the key: another
    /// connection begins with the right time.
    #[error("the server refuses the numbers of the session with code {code}: connect anew")]
    Disordered {
        /// The code of `bad_msg_notification`: 17 (the clock here was ahead) or 32 to 35.
        code: i32,
    },
    /// No answer came to a ping, or nothing more could be sent.
    #[error("the server fell silent")]
    Silent,
}

impl WireEnd {
    /// Whether the server is at fault, or refuses the connection.
    pub(super) fn is_a_fault(&self) -> bool {
        matches!(self, Self::Transport { .. } | Self::Protocol(_) | Self::Disordered { .. })
    }

    /// Whether the other end of the connection is known to be closed: after such an end nothing is left that the
    /// server could take for a second connection. Behind a proxy this says so of the proxy's end only.
    ///
    /// Of an end by a fault of the server's the end itself does not tell it:
    /// [`WireNote::is_confirmed`](super::WireNote::is_confirmed) does.
    ///
    /// A reset counts like a close: whatever sent it keeps nothing of the connection. Boxes on the way that cut
    /// idle connections may send either in the server's name; then its end is open until
    /// [`WireTimes::disconnect_delay`](super::WireTimes::disconnect_delay) has passed since the last ping.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        match self {
            Self::Closed { is_confirmed } => *is_confirmed,
            Self::HungUp => true,
            Self::Io(error) => {
                matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
            }
            Self::Aborted
            | Self::Transport { .. }
            | Self::Protocol(_)
            | Self::Disordered { .. }
            | Self::Silent => false,
        }
    }
}

impl From<Breach> for WireEnd {
    fn from(breach: Breach) -> Self {
        Self::Protocol(breach.0)
    }
}

impl From<io::Error> for WireEnd {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
