//! Numbering and encryption of what leaves.
//!
//! Owns the message ids. What wants an acknowledgement goes over to what is kept.

use std::sync::Arc;

use super::MtprotoSession;
use super::memory::{ServerSession, SessionMemory};
use super::received::Fate;
use super::reply::{Forgery, Reply, ReplyKind, ReplyMessage};
use crate::sandbox::envelope::{OutgoingMessage, write};
use crate::sandbox::frame::Framing;

/// What the low bits of a message id say of it: a response to a client's message, a notification.
const RESPONSE: i64 = 1;
pub(super) const NOTIFICATION: i64 = 3;

/// What is to be kept of a message that leaves: the call that it answers, if it is an answer.
pub(super) type KeptFor = Option<Option<i64>>;

impl MtprotoSession {
    /// The session that a reply belongs to: those of one packet are of one.
    pub(in crate::sandbox) fn session_of<'a>(&'a self, reply: &'a Reply) -> &'a Arc<ServerSession> {
        let session = match reply {
            Reply::Message(message) => message.session.as_ref(),
            Reply::Again { session, .. } => Some(session),
            _ => None,
        };
        session.unwrap_or(&self.current)
    }

    /// Encrypts messages of one session as one packet, and frames it. What the client does not want any more
    /// is left out; if nothing is left, there is no packet.
    pub(in crate::sandbox) fn seal(
        &mut self,
        batch: Vec<Reply>,
        framing: &mut Framing,
        out: &mut Vec<u8>,
    ) {
        let Some(first) = batch.first() else { return };
        if let Some(forgery) = first.forgery().filter(|forgery| *forgery != Forgery::Damage) {
            return batch
                .into_iter()
                .for_each(|reply| self.seal_forged(reply, forgery, framing, out));
        }
        let session = Arc::clone(self.session_of(first));
        let mut memory = session.memory.lock();
        let (messages, kept): (Vec<OutgoingMessage>, Vec<KeptFor>) =
            batch.into_iter().filter_map(|reply| self.number(reply, &mut memory)).unzip();
        if messages.is_empty() {
            return;
        }
        // A container is numbered after what it holds, and wants no acknowledgement.
        let container = (self.next_id(NOTIFICATION), memory.next_sequence(false));
        let salt = self.server.salt(&self.key, self.now().as_secs());
        let packet = write(&self.cipher, salt, session.id, &messages, container);
        framing.pack(&packet[..], out);
        for (message, keep) in messages.into_iter().zip(kept) {
            if let Some(call) = keep {
                memory.kept.keep(call, message);
            }
        }
    }

    /// Gives a reply its numbers, unless nobody wants it any more.
    pub(super) fn number(
        &mut self,
        reply: Reply,
        memory: &mut SessionMemory,
    ) -> Option<(OutgoingMessage, KeptFor)> {
        let ReplyMessage { body, kind, .. } = match reply {
            Reply::Message(message) => message,
            Reply::Again { id, .. } => return Some((memory.kept.find(id)?.message.clone(), None)),
            _ => return None,
        };
        if let ReplyKind::Answer(call) = kind {
            if memory.received.fate(call) == Some(Fate::Dropped) {
                return None;
            }
            memory.received.set_fate(call, Fate::Answered);
        }
        let id = self.next_id(match kind {
            ReplyKind::Notice | ReplyKind::Update => NOTIFICATION,
            _ => RESPONSE,
        });
        self.last_message = id;
        let is_kept = kind.wants_acknowledgement();
        let sequence = memory.next_sequence(is_kept);
        let keep = is_kept.then(|| kind.call());
        Some((OutgoingMessage { id, sequence, body }, keep))
    }

    /// A message id: the time of day, made greater than the last one.
    pub(super) fn next_id(&mut self, kind: i64) -> i64 {
        let now = self.now();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(0);
        let fraction = (i64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
        let id = (seconds << 32 | (fraction & !3)).max((self.last_id & !3) + 4);
        self.last_id = id;
        id | kind
    }
}
