//! Framing of packets: the four transports of MTProto.
//!
//! Owns full, abridged, intermediate and padded intermediate in both directions, and the limits on
//! what any client may send. Never reads a socket: a reader is given what has arrived so far.

use std::ops::Range;

use crc32fast::hash as crc32;

/// The longest packet taken. Clients send up to 1 MiB and a little more.
const PAYLOAD_LEN_MAX: usize = 1_100_000;
/// The shortest packet: the id of a key.
const PAYLOAD_LEN_MIN: usize = 8;
/// Length, number and checksum of a full frame.
const FULL_LEN: usize = 12;
/// The most that may follow a padded packet.
const PADDING_LEN_MAX: usize = 15;
/// The key's id and the message's key, which stand before the blocks of the cipher.
const ENCRYPTED_HEADER_LEN: usize = 24;
const BLOCK_LEN: usize = 16;

/// How one connection frames its packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Length, number, packet, checksum.
    Full { received: u32, sent: u32 },
    /// The length in words, as one byte or four.
    Abridged,
    /// The length in bytes.
    Intermediate,
    /// The length in bytes, with that of the random bytes behind the packet.
    PaddedIntermediate,
}

/// A frame among the bytes that have arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where its packet lies.
    pub(super) payload: Range<usize>,
    /// Where the next frame begins.
    pub(super) next: usize,
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes")]
    Length(u64),
    #[error("frame {got} where {expected} was due")]
    Order { expected: u32, got: u32 },
    #[error("a wrong checksum")]
    Checksum,
}

impl Framing {
    /// Finds the first packet among `bytes`; `None` while it is incomplete.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
        let Some(found) = self.locate(bytes)? else { return Ok(None) };
        if let Self::Full { received, .. } = self {
            let end = found.next - 4;
            if word(bytes, end) != Some(crc32(&bytes[..end])) {
                return Err(FrameError::Checksum);
            }
            *received = received.wrapping_add(1);
        }
        Ok(Some(found))
    }

    /// The key that the first packet among `bytes` names, whether or not all of it is there.
    pub(super) fn first_key(&self, bytes: &[u8]) -> Option<[u8; 8]> {
        let start = match self {
            Self::Full { .. } => 8,
            Self::Abridged if *bytes.first()? & 0x7f == 0x7f => 4,
            Self::Abridged => 1,
            Self::Intermediate | Self::PaddedIntermediate => 4,
        };
        bytes.get(start..)?.first_chunk().copied()
    }

    fn locate(&self, bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
        let (start, len, trailer) = match self {
            Self::Full { received, .. } => {
                let Some(total) = word(bytes, 0) else { return Ok(None) };
                let Some(len) = (total as usize).checked_sub(FULL_LEN) else {
                    return Err(FrameError::Length(total.into()));
                };
                if let Some(got) = word(bytes, 4).filter(|got| got != received) {
                    return Err(FrameError::Order { expected: *received, got });
                }
                (8, len, 4)
            }
            // A high bit of a length asks for a quick acknowledgement, which nobody here gives.
            Self::Abridged => match bytes.first() {
                None => return Ok(None),
                Some(0x7f | 0xff) => {
                    let Some(word) = word(bytes, 0) else { return Ok(None) };
                    (4, (word >> 8) as usize * 4, 0)
                }
                Some(words) => (1, usize::from(words & 0x7f) * 4, 0),
            },
            Self::Intermediate | Self::PaddedIntermediate => match word(bytes, 0) {
                None => return Ok(None),
                Some(len) => (4, (len & 0x7fff_ffff) as usize, 0),
            },
        };
        let (len_max, is_whole) = match self {
            Self::PaddedIntermediate => (PAYLOAD_LEN_MAX + PADDING_LEN_MAX, true),
            _ => (PAYLOAD_LEN_MAX, len.is_multiple_of(4)),
        };
        if !(PAYLOAD_LEN_MIN..=len_max).contains(&len) || !is_whole {
            return Err(FrameError::Length(len as u64));
        }
        let next = start + len + trailer;
        if bytes.len() < next {
            return Ok(None);
        }
        let padding = match self {
            Self::PaddedIntermediate => padding_len(&bytes[start..next]),
            _ => 0,
        };
        Ok(Some(Frame { payload: start..start + len - padding, next }))
    }

    /// Frames a packet, whose length is a multiple of 4.
    pub(super) fn pack(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let len = u32::try_from(payload.len()).expect("BUG: answers are short");
        match self {
            Self::Full { sent, .. } => {
                let start = out.len();
                out.extend((len + 12).to_le_bytes());
                out.extend(sent.to_le_bytes());
                out.extend(payload);
                let checksum = crc32(&out[start..]);
                out.extend(checksum.to_le_bytes());
                *sent = sent.wrapping_add(1);
            }
            Self::Abridged => {
                match u8::try_from(len / 4) {
                    Ok(words @ 0..0x7f) => out.push(words),
                    _ => out.extend(((len / 4) << 8 | 0x7f).to_le_bytes()),
                }
                out.extend(payload);
            }
            Self::Intermediate => {
                out.extend(len.to_le_bytes());
                out.extend(payload);
            }
            Self::PaddedIntermediate => {
                // No more than 3 bytes, since some clients only take off what makes no whole word.
                // What comes out of the cipher is as random as they have to be.
                let padding = payload.last().map_or(0, |last| last & 3);
                out.extend((len + u32::from(padding)).to_le_bytes());
                out.extend(payload);
                out.extend(&payload[payload.len() - usize::from(padding)..]);
            }
        }
    }

    /// Frames a packet and says another length of it, in bytes.
    pub(super) fn pack_as(&mut self, payload: &[u8], length: i32, out: &mut Vec<u8>) {
        match self {
            Self::Full { .. } => {
                let start = out.len();
                self.pack(payload, out);
                out[start..start + 4].copy_from_slice(&length.to_le_bytes());
            }
            Self::Abridged => {
                out.extend(((length / 4) << 8 | 0x7f).to_le_bytes());
                out.extend(payload);
            }
            Self::Intermediate | Self::PaddedIntermediate => {
                out.extend(length.to_le_bytes());
                out.extend(payload);
            }
        }
    }

    /// A transport error, which goes out instead of a packet. In the full transport the code
    /// stands in the place of the length and is repeated, so that a reader of whole frames gets
    /// to see it. Nothing is padded: a client knows the code by its length.
    pub(super) fn pack_transport_error(&mut self, code: u16, out: &mut Vec<u8>) {
        let code = (-i32::from(code)).to_le_bytes();
        match self {
            Self::Full { .. } => out.extend(code.repeat(3)),
            Self::Abridged => self.pack(&code, out),
            Self::Intermediate | Self::PaddedIntermediate => Self::Intermediate.pack(&code, out),
        }
    }
}

/// How much of a padded packet is padding: what fills no block of the cipher. A packet that is not
/// encrypted keeps it, since nobody here reads more of one than its beginning.
fn padding_len(packet: &[u8]) -> usize {
    let is_encrypted = packet.first_chunk().is_some_and(|key_id| *key_id != [0; 8]);
    let blocks = packet.len().checked_sub(ENCRYPTED_HEADER_LEN).filter(|_| is_encrypted);
    blocks.map_or(0, |len| len % BLOCK_LEN)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> [Framing; 4] {
        [
            Framing::Full { received: 0, sent: 0 },
            Framing::Abridged,
            Framing::Intermediate,
            Framing::PaddedIntermediate,
        ]
    }

    #[test]
    fn packets_of_every_length_survive_every_transport() {
        for mut framing in fresh() {
            let mut bytes = Vec::new();
            let lens = [24, 40, 488, 504, 520, 70_008, 1_099_992];
            for len in lens {
                framing.pack(&vec![7; len], &mut bytes);
            }
            let mut rest = &bytes[..];
            for len in lens {
                let found = framing.next(rest).unwrap().unwrap();
                assert_eq!(rest[found.payload], vec![7; len], "{framing:?}");
                rest = &rest[found.next..];
            }
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_frame_is_found_only_once_all_of_it_is_there() {
        for mut framing in fresh() {
            let mut bytes = Vec::new();
            framing.pack(&[5; 600], &mut bytes);
            for len in 0..bytes.len() {
                assert_eq!(framing.next(&bytes[..len]), Ok(None), "{framing:?} {len}");
            }
            assert!(framing.next(&bytes).unwrap().is_some());
        }
    }

    #[test]
    fn padding_of_every_length_is_taken_off() {
        for (packet, padding) in (0..=15).flat_map(|padding| [(24, padding), (40, padding)]) {
            let len = u32::try_from(packet + padding).unwrap();
            let bytes = [&len.to_le_bytes()[..], &vec![7; packet + padding]].concat();
            let found = Framing::PaddedIntermediate.next(&bytes).unwrap().unwrap();
            assert_eq!(found, Frame { payload: 4..4 + packet, next: bytes.len() }, "{padding}");
        }
        // One that asks for a new key is not encrypted; what follows it is of no interest.
        let bytes = [&43_u32.to_le_bytes()[..], &[0; 43]].concat();
        let found = Framing::PaddedIntermediate.next(&bytes).unwrap().unwrap();
        assert_eq!(found, Frame { payload: 4..47, next: 47 });
    }

    #[test]
    fn an_answer_is_padded_by_what_is_no_word_and_a_code_by_nothing() {
        for last in 0..=255 {
            let mut out = Vec::new();
            let payload = [[9; 39].as_slice(), &[last]].concat();
            Framing::PaddedIntermediate.pack(&payload, &mut out);
            assert_eq!(out.len(), 44 + usize::from(last % 4));
            assert_eq!(word(&out, 0), u32::try_from(out.len() - 4).ok());
            let found = Framing::PaddedIntermediate.next(&out).unwrap().unwrap();
            assert_eq!(out[found.payload], payload);
        }
        let mut out = Vec::new();
        Framing::PaddedIntermediate.pack_transport_error(404, &mut out);
        assert_eq!(out, [4, 0, 0, 0, 0x6c, 0xfe, 0xff, 0xff]);
    }

    #[test]
    fn a_frame_can_say_another_length_than_it_has() {
        let lengths = fresh().map(|mut framing| {
            let mut out = Vec::new();
            framing.pack_as(&[7; 40], 1_200_000, &mut out);
            framing.next(&out)
        });
        let refused = |len| Err(FrameError::Length(len));
        let [full, rest @ ..] = lengths;
        assert_eq!(full, refused(1_199_988));
        assert_eq!(rest, [refused(1_200_000), refused(1_200_000), refused(1_200_000)]);
        let mut out = Vec::new();
        Framing::Full { received: 0, sent: 0 }.pack_as(&[7; 40], -1, &mut out);
        assert_eq!((word(&out, 0), out.len()), (Some(u32::MAX), 52));
    }

    #[test]
    fn the_key_is_seen_before_the_packet_is_whole() {
        for mut framing in fresh() {
            for len in [40, 4008] {
                let mut bytes = Vec::new();
                framing.pack(&[3; 8].repeat(len / 8), &mut bytes);
                let start = bytes.windows(8).position(|it| it == [3; 8]).unwrap();
                assert_eq!(framing.first_key(&bytes[..start + 8]), Some([3; 8]), "{framing:?}");
                assert_eq!(framing.first_key(&bytes[..start + 7]), None);
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_before_it_is_waited_for() {
        let full = |first: u32, second: u32| [first.to_le_bytes(), second.to_le_bytes()].concat();
        for (bytes, error) in [
            (full(11, 0), FrameError::Length(11)),
            (full(12, 0), FrameError::Length(0)),
            (full(u32::MAX, 0), FrameError::Length(u64::from(u32::MAX) - 12)),
            (full(1_100_016, 0), FrameError::Length(1_100_004)),
            (full(41, 0), FrameError::Length(29)),
            (full(52, 1), FrameError::Order { expected: 0, got: 1 }),
        ] {
            assert_eq!(Framing::Full { received: 0, sent: 0 }.next(&bytes), Err(error));
        }
        assert_eq!(Framing::Intermediate.next(&[0xff; 4]), Err(FrameError::Length(0x7fff_ffff)));
        let padded = |len: u32| Framing::PaddedIntermediate.next(&len.to_le_bytes());
        assert_eq!((padded(7), padded(1_100_015)), (Err(FrameError::Length(7)), Ok(None)));
        assert_eq!(padded(1_100_016), Err(FrameError::Length(1_100_016)));
        assert_eq!(Framing::Abridged.next(&[1]), Err(FrameError::Length(4)));
        let mut bytes = Vec::new();
        Framing::Full { received: 0, sent: 0 }.pack(&[9; 40], &mut bytes);
        *bytes.last_mut().unwrap() ^= 1;
        let broken = Framing::Full { received: 0, sent: 0 }.next(&bytes);
        assert_eq!(broken, Err(FrameError::Checksum));
    }
}
