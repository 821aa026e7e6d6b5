//! Compressed messages, unpacked within limits.
//!
//! Owns what is left of a packet's allowance. Never keeps more than a message may come to.

use std::io::Read as _;

use flate2::read::GzDecoder;

use crate::telegram::wire::error::Breach;
use crate::telegram::wire::limits::WireLimits;
use crate::telegram::wire::tl::WireReader;

/// What is left of what a packet may cost.
#[derive(Debug)]
pub(super) struct Allowance {
    messages: usize,
    unpacked: usize,
    unpacked_message_max: usize,
    nesting_max: usize,
}

impl Allowance {
    /// That of one packet.
    pub(super) fn new(limits: &WireLimits) -> Self {
        Self {
            messages: limits.messages_max,
            unpacked: limits.unpacked_packet_max,
            unpacked_message_max: limits.unpacked_message_max,
            nesting_max: limits.nesting_max,
        }
    }

    /// Takes one more message into account, so deep in others.
    pub(super) fn message(&mut self, depth: usize) -> Result<(), Breach> {
        if depth > self.nesting_max {
            return Err(Breach("messages lie too deep in each other"));
        }
        let left = self.messages.checked_sub(1).ok_or(Breach("a packet of too many messages"))?;
        self.messages = left;
        Ok(())
    }

    /// Unpacks what follows the constructor of a compressed message.
    pub(super) fn unpack(&mut self, mut packed: WireReader<'_>) -> Result<Vec<u8>, Breach> {
        let packed = packed.bytes()?;
        let max = self.unpacked.min(self.unpacked_message_max);
        // Its own length stands at its end. It may lie, but is no more than a hint here.
        let told = packed.last_chunk().map_or(0, |len| u32::from_le_bytes(*len) as usize);
        let mut plain = Vec::with_capacity(told.min(max).min(1024 * packed.len()));
        let mut unpacking = GzDecoder::new(packed).take(max as u64 + 1);
        let read = unpacking.read_to_end(&mut plain);
        // What is damaged has cost as much.
        self.unpacked = self.unpacked.saturating_sub(plain.len());
        match read {
            Err(_) => Err(Breach("a compressed message is damaged")),
            Ok(_) if plain.len() > max => Err(Breach("a compressed message is too large")),
            Ok(_) => Ok(plain),
        }
    }
}
