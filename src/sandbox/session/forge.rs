//! Packets that no server of good faith sends.
//!
//! Owns what is forged of a numbered message, each in a packet of its own. What is kept of it is the true one.

use std::sync::Arc;

use super::MtprotoSession;
use super::memory::{ServerSession, SessionMemory};
use super::reply::{Forgery, Reply};
use super::seal::NOTIFICATION;
use crate::sandbox::envelope::{CONTAINER, OutgoingMessage, put_message, write, write_plain};
use crate::sandbox::frame::Framing;
use crate::sandbox::response;

/// How old an old id is, in seconds.
const OLD: i64 = 3600;

impl MtprotoSession {
    /// Encrypts and frames a message as the forgery has it.
    pub(super) fn seal_forged(
        &mut self,
        reply: Reply,
        forgery: Forgery,
        framing: &mut Framing,
        out: &mut Vec<u8>,
    ) {
        let session = Arc::clone(self.session_of(&reply));
        let mut memory = session.memory.lock();
        let before = self.last_message;
        let Some((message, kept_for)) = self.number(reply, &mut memory) else { return };
        let mut forged = message.clone();
        match forgery {
            Forgery::OldId => forged.id -= OLD << 32,
            Forgery::RepeatedId if before != 0 => forged.id = before,
            Forgery::EvenId => forged.id &= !3,
            Forgery::Withheld => {
                let body =
                    response::detailed_info(kept_for.flatten(), message.id, message.body.len());
                let (id, sequence) = (self.next_id(NOTIFICATION), memory.next_sequence(false));
                forged = OutgoingMessage { id, sequence, body };
            }
            _ => {}
        }
        if let Some(call) = kept_for {
            memory.kept.keep(call, message);
        }
        self.pack_forged(&session, &mut memory, (&forged, forgery), framing, out);
    }

    fn pack_forged(
        &mut self,
        session: &Arc<ServerSession>,
        memory: &mut SessionMemory,
        (message, forgery): (&OutgoingMessage, Forgery),
        framing: &mut Framing,
        out: &mut Vec<u8>,
    ) {
        let container = (self.next_id(NOTIFICATION), memory.next_sequence(false));
        let salt = self.server.salt(&self.key, self.now().as_secs());
        let plain = match forgery {
            Forgery::MessageLength(length) => Some(put_with_length(message, length)),
            Forgery::ContainerCount(count) => Some(contain(container, count, &[message])),
            Forgery::MessageTwice => Some(contain(container, 2, &[message, message])),
            Forgery::Nested(depth) => Some(nest(message, container, depth)),
            _ => None,
        };
        let id = match forgery {
            Forgery::Session => session.id ^ 1,
            _ => session.id,
        };
        let mut packet = match plain {
            Some(plain) => write_plain(&self.cipher, salt, id, &plain),
            None => write(&self.cipher, salt, id, std::slice::from_ref(message), container),
        };
        match forgery {
            Forgery::MessageKey => packet[8] ^= 0x55,
            Forgery::FrameLength(length) => return framing.pack_as(&packet[..], length, out),
            _ => {}
        }
        framing.pack(&packet[..], out);
    }
}

/// A message that says another length than it has.
fn put_with_length(message: &OutgoingMessage, length: i32) -> Vec<u8> {
    let mut plain = Vec::new();
    put_message(message, &mut plain);
    plain[12..16].copy_from_slice(&length.to_le_bytes());
    plain
}

/// A container that says to have so many messages.
fn contain((id, sequence): (i64, u32), count: i32, messages: &[&OutgoingMessage]) -> Vec<u8> {
    let mut body = CONTAINER.to_le_bytes().to_vec();
    body.extend(count.to_le_bytes());
    messages.iter().for_each(|message| put_message(message, &mut body));
    let mut plain = Vec::new();
    put_message(&OutgoingMessage { id, sequence, body }, &mut plain);
    plain
}

/// A message in so many containers, one in the other, whose ids rise from the innermost one.
fn nest(message: &OutgoingMessage, (id, sequence): (i64, u32), depth: u32) -> Vec<u8> {
    // A header of 16 bytes for what a container holds, and 8 of its own.
    const LEVEL_LEN: usize = 24;
    let depth = usize::try_from(depth).unwrap_or(usize::MAX);
    let mut innermost = Vec::new();
    put_message(message, &mut innermost);
    let mut plain = Vec::with_capacity(depth * LEVEL_LEN + innermost.len());
    for level in (0..depth).rev() {
        let len = innermost.len() + level * LEVEL_LEN + 8;
        plain.extend((id + 4 * i64::try_from(level).unwrap_or(0)).to_le_bytes());
        plain.extend(sequence.to_le_bytes());
        plain.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        plain.extend(CONTAINER.to_le_bytes());
        plain.extend(1_u32.to_le_bytes());
    }
    plain.extend(innermost);
    plain
}
