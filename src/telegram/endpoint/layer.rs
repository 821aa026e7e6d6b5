//! The server's side of a connection, without any I/O: bytes go in, calls and answers come out, and the other way
//! round.
//!
//! Owns the frames, the cipher and the numbers of one connection. Knows no method but those of the protocol itself,
//! and never believes a length.
//!
//! # What the client need not be told
//! Both ends are in one process, and what is between them loses nothing. So no message of the endpoint asks for an
//! acknowledgement, any salt is right, and a ping sets no timer.

use std::collections::VecDeque;

use grammers_crypto::DequeBuffer;
use grammers_mtproto::transport::{Full, Transport as _};

use super::reply::EndpointReply;
use super::requests::{EndpointRequest, RequestReader};
use crate::base::clock::unix_time;
use crate::mtproto::cipher::ServerCipher;
use crate::session::AuthKey;
use crate::telegram::wire::Breach;
use crate::telegram::wire::tl::{CONTAINER, short};

/// The longest frame of a client: what it sends at once, and what its own buffers hold.
const FRAME_LEN_MAX: usize = (1 << 20) + (8 << 10);
/// The longest first frame, in which the client introduces itself. Nothing more is kept for a stranger.
pub(super) const FIRST_FRAME_LEN_MAX: usize = 64 << 10;
/// Length, number and checksum of a frame.
const FRAME_OVERHEAD: usize = 12;
/// The longest message, packed or not: longer ones the client neither sends nor reads.
pub(super) const MESSAGE_LEN_MAX: usize = 1_044_440;
/// How many messages a container of the protocol may hold.
pub(super) const MESSAGES_MAX: usize = 1_020;
/// How many bytes several answers may come to in one packet. More at once saves nothing.
pub(super) const SEVERAL_LEN_MAX: usize = 128 << 10;
/// Message id, sequence number and length.
const MESSAGE_HEAD_LEN: usize = 16;
/// What the cipher puts in front of a packet: the id of the key, and the key of the message.
const CIPHER_HEAD_LEN: usize = 24;
/// What it puts behind, at the most.
const CIPHER_PADDING_LEN: usize = 32;
/// What is put in front of the messages of a packet at the end: salt and session, a container's own header, the
/// cipher's and the frame's.
const FRONT_LEN: usize = 16 + 24 + CIPHER_HEAD_LEN + 8;

/// Any salt is right, and this one lasts for ever: the client asks for no other.
pub(super) const SALT: i64 = 0;

/// The server's side of one connection.
pub(super) struct EndpointLayer {
    cipher: ServerCipher,
    frames: Full,
    frame_len_max: usize,
    requests: RequestReader,
    /// Of the message sent last.
    last_id: i64,
}

impl EndpointLayer {
    /// That of a client which has the key, and takes the endpoint for this data centre.
    pub(super) fn new(key: &AuthKey, data_centre: i32) -> Self {
        Self {
            cipher: ServerCipher::new(key),
            frames: Full::new(),
            frame_len_max: FIRST_FRAME_LEN_MAX,
            requests: RequestReader::new(data_centre),
            // The seconds of the day stand in the upper half of an id, and the lower bits say who sends it.
            last_id: unix_time().as_secs().cast_signed() << 32 | 1,
        }
    }

    /// How many bytes are missing before the next frame can be read, at the least.
    pub(super) fn missing(&self, bytes: &[u8]) -> usize {
        let len = bytes.first_chunk().map_or(4, |len| u32::from_le_bytes(*len) as usize);
        len.min(self.frame_len_max).saturating_sub(bytes.len())
    }

    /// Reads the frame that the bytes begin with, in place. Returns how long it is, or `None` if it is not
    /// whole. An error is the end of the connection.
    pub(super) fn receive(
        &mut self,
        bytes: &mut [u8],
        requests: &mut Vec<EndpointRequest>,
    ) -> Result<Option<usize>, Breach> {
        let Some(len) = bytes.first_chunk() else { return Ok(None) };
        let len = u32::from_le_bytes(*len) as usize;
        if !(FRAME_OVERHEAD..=self.frame_len_max).contains(&len) {
            return Err(Breach("no frame has such a length"));
        }
        let Some(frame) = bytes.get_mut(..len) else { return Ok(None) };
        let found = self.frames.unpack(frame).map_err(|_| Breach("a damaged frame"))?;
        let packet = frame.get_mut(found.data_range).unwrap_or_default();
        let plain = self.cipher.open(packet).ok_or(Breach("a packet of another key"))?;
        self.requests.read_packet(plain, requests)?;
        self.frame_len_max = FRAME_LEN_MAX;
        Ok(Some(len))
    }

    /// Packs and encrypts as many replies as go together, and frames them.
    pub(super) fn pack(
        &mut self,
        replies: &mut VecDeque<EndpointReply>,
    ) -> Option<DequeBuffer<u8>> {
        let session = self.requests.session()?;
        let (mut count, mut len) = (0, 0);
        for reply in replies.iter().take(MESSAGES_MAX) {
            let more = len + MESSAGE_HEAD_LEN + reply.len();
            if count > 0 && more > SEVERAL_LEN_MAX {
                break;
            }
            (count, len) = (count + 1, more);
        }
        if count == 0 {
            return None;
        }
        let mut plain = DequeBuffer::with_capacity(len + CIPHER_PADDING_LEN + 4, FRONT_LEN);
        for reply in replies.drain(..count) {
            plain.extend(self.message_head(reply.len()));
            reply.put(&mut plain);
        }
        if count > 1 {
            let mut head = [0; 24];
            head[..16].copy_from_slice(&self.message_head(8 + len));
            head[16..20].copy_from_slice(&CONTAINER.to_le_bytes());
            head[20..].copy_from_slice(&short(count).to_le_bytes());
            plain.extend_front(&head);
        }
        let mut head = [0; 16];
        head[..8].copy_from_slice(&SALT.to_le_bytes());
        head[8..].copy_from_slice(&session.to_le_bytes());
        plain.extend_front(&head);
        self.cipher.seal(&mut plain);
        self.frames.pack(&mut plain);
        Some(plain)
    }

    /// The head of the next message. Its sequence number says that it wants no acknowledgement.
    fn message_head(&mut self, len: usize) -> [u8; MESSAGE_HEAD_LEN] {
        self.last_id += 4;
        let mut head = [0; MESSAGE_HEAD_LEN];
        head[..8].copy_from_slice(&self.last_id.to_le_bytes());
        head[12..].copy_from_slice(&short(len).to_le_bytes());
        head
    }
}

#[cfg(test)]
mod tests;
