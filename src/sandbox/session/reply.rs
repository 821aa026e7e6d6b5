//! What leaves by a connection: messages, and what is done in place of them.
//!
//! Owns what is known of a message before it has an id. Never numbers or sends one.

use std::sync::Arc;

use super::memory::ServerSession;

/// What the server sends, or does in place of that.
#[derive(Debug, PartialEq)]
pub(in crate::sandbox) enum Reply {
    Message(ReplyMessage),
    /// What has left before and is not acknowledged, once more.
    Again {
        session: Arc<ServerSession>,
        id: i64,
    },
    /// A packet that is not encrypted.
    Plain(Vec<u8>),
    /// And the end of the connection.
    TransportError(u16),
    Close,
    Reset,
    /// The end of what is sent, and of the connection as soon as the client ends it.
    HalfClose,
    /// Nothing is read any more.
    StopReading,
}

/// A message on its way out.
#[derive(Debug, PartialEq)]
pub(in crate::sandbox) struct ReplyMessage {
    pub(in crate::sandbox) body: Vec<u8>,
    pub(super) kind: ReplyKind,
    /// The session that it belongs to; `None`: the one that the connection is used for when it leaves.
    pub(super) session: Option<Arc<ServerSession>>,
    /// What is wrong with it, so that it goes out alone.
    pub(super) forgery: Option<Forgery>,
}

/// What is wrong with a message that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forgery {
    /// A wrong checksum, or without one another ciphertext: the connection sees to that.
    Damage,
    FrameLength(i32),
    MessageKey,
    Session,
    OldId,
    RepeatedId,
    EvenId,
    MessageLength(i32),
    ContainerCount(i32),
    Nested(u32),
    MessageTwice,
    /// The client is only told of it.
    Withheld,
}

/// What a message is to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyKind {
    /// The answer to a call, whose id this is: kept until it is acknowledged.
    Answer(i64),
    /// The end of a call whose answer the client does not want any more, in place of that.
    AnswerDropped(i64),
    /// What the client has asked for and does not acknowledge, such as a pong.
    Service,
    /// What the client has not asked for and does not acknowledge, such as a refusal of its message.
    Notice,
    /// What the client has not asked for, and acknowledges.
    Update,
}

impl ReplyKind {
    /// Whether it is sent again until the client acknowledges it.
    pub(super) fn wants_acknowledgement(self) -> bool {
        matches!(self, Self::Answer(_) | Self::AnswerDropped(_) | Self::Update)
    }

    /// The call that it answers.
    pub(super) fn call(self) -> Option<i64> {
        match self {
            Self::Answer(call) | Self::AnswerDropped(call) => Some(call),
            _ => None,
        }
    }
}

impl Reply {
    pub(super) fn message(session: &Arc<ServerSession>, kind: ReplyKind, body: Vec<u8>) -> Self {
        let session = Some(Arc::clone(session));
        Self::Message(ReplyMessage { body, kind, session, forgery: None })
    }

    /// An update, for whoever uses the connection when it leaves.
    pub(in crate::sandbox) fn update(body: Vec<u8>) -> Self {
        let (kind, session) = (ReplyKind::Update, None);
        Self::Message(ReplyMessage { body, kind, session, forgery: None })
    }

    /// What is wrong with it.
    pub(super) fn forgery(&self) -> Option<Forgery> {
        match self {
            Self::Message(message) => message.forgery,
            _ => None,
        }
    }

    /// Whether it has to be in a packet of its own.
    pub(in crate::sandbox) fn is_alone(&self) -> bool {
        self.forgery().is_some()
    }

    /// Whether its packet is to be damaged on the way.
    pub(in crate::sandbox) fn is_damaged(&self) -> bool {
        self.forgery() == Some(Forgery::Damage)
    }

    /// How many bytes it has, of those that are known before it leaves.
    pub(in crate::sandbox) fn len(&self) -> usize {
        match self {
            Self::Message(message) => message.body.len(),
            _ => 0,
        }
    }
}

impl PartialEq for ServerSession {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}
