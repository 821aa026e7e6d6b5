//! The frames that packets travel in, as bytes.
//!
//! Owns the three plain transports of MTProto (full, abridged, intermediate) in both directions,
//! and the limits on what a stranger may send. Never reads a socket: a reader is given what has
//! arrived so far.

use std::ops::Range;

use crc32fast::hash as crc32;

/// The longest packet taken. Clients send up to 1 MiB and a little more.
const PAYLOAD_LEN_MAX: usize = 1_100_000;
/// The shortest packet that can name a key.
const PAYLOAD_LEN_MIN: usize = 8;
/// Length, number and checksum of a full frame.
const FULL_LEN: usize = 12;

/// How one connection frames its packets, which its first bytes tell.
#[derive(Debug)]
pub(super) enum Framing {
    /// Length, number, packet, checksum.
    Full { received: u32, sent: u32 },
    /// The length in words, as one byte or four.
    Abridged,
    /// The length in bytes.
    Intermediate,
}

/// Where a packet lies among the bytes that have arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) payload: Range<usize>,
    /// Where the next frame begins.
    pub(super) next: usize,
}

/// Bytes that are no frame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes")]
    Length(u64),
    #[error("frame {got} where {expected} was due")]
    Order { expected: u32, got: u32 },
    #[error("a wrong checksum")]
    Checksum,
}

impl Framing {
    /// Recognises the transport by the first bytes of a connection, and says how many of them
    /// only announce it. `None`: too few bytes to tell.
    pub(super) fn recognise(bytes: &[u8]) -> Option<(Self, usize)> {
        if bytes.first() == Some(&0xef) {
            return Some((Self::Abridged, 1));
        }
        match bytes.first_chunk::<4>()? {
            [0xee, 0xee, 0xee, 0xee] => Some((Self::Intermediate, 4)),
            _ => Some((Self::Full { received: 0, sent: 0 }, 0)),
        }
    }

    /// Finds the first packet among `bytes`; `None` while it is incomplete.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Option<Found>, FrameError> {
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
    pub(super) fn key_id(bytes: &[u8]) -> Option<[u8; 8]> {
        let (framing, skip) = Self::recognise(bytes)?;
        let bytes = &bytes[skip..];
        let start = match framing {
            Self::Full { .. } => 8,
            Self::Abridged if *bytes.first()? == 0x7f => 4,
            Self::Abridged => 1,
            Self::Intermediate => 4,
        };
        bytes.get(start..)?.first_chunk().copied()
    }

    fn locate(&self, bytes: &[u8]) -> Result<Option<Found>, FrameError> {
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
            Self::Abridged => match bytes.first() {
                None => return Ok(None),
                Some(0x7f) => {
                    let Some(word) = word(bytes, 0) else { return Ok(None) };
                    (4, (word >> 8) as usize * 4, 0)
                }
                // The high bit asks for a quick acknowledgement, which nobody here gives.
                Some(words) => (1, usize::from(words & 0x7f) * 4, 0),
            },
            Self::Intermediate => match word(bytes, 0) {
                None => return Ok(None),
                Some(len) => (4, (len & 0x7fff_ffff) as usize, 0),
            },
        };
        if !(PAYLOAD_LEN_MIN..=PAYLOAD_LEN_MAX).contains(&len) || !len.is_multiple_of(4) {
            return Err(FrameError::Length(len as u64));
        }
        let next = start + len + trailer;
        Ok((bytes.len() >= next).then_some(Found { payload: start..start + len, next }))
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
        }
    }

    /// A transport error, which goes out instead of a packet. In the full transport the code
    /// stands in the place of the length and is repeated, so that a reader of whole frames gets
    /// to see it.
    pub(super) fn pack_code(&mut self, code: u16, out: &mut Vec<u8>) {
        let code = (-i32::from(code)).to_le_bytes();
        match self {
            Self::Full { .. } => out.extend(code.repeat(3)),
            Self::Abridged | Self::Intermediate => self.pack(&code, out),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> [Framing; 3] {
        [Framing::Full { received: 0, sent: 0 }, Framing::Abridged, Framing::Intermediate]
    }

    #[test]
    fn packets_of_every_length_survive_every_transport() {
        for mut framing in fresh() {
            let mut bytes = Vec::new();
            let lens = [8, 12, 500, 504, 508, 512, 70_000, 1_099_996];
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
    fn the_first_bytes_tell_the_transport_and_the_key() {
        let announced: [&[u8]; 3] = [&[], &[0xef], &[0xee; 4]];
        for (mut framing, announced) in fresh().into_iter().zip(announced) {
            for len in [40, 4000] {
                let mut bytes = announced.to_vec();
                framing.pack(&[3; 8].repeat(len / 8), &mut bytes);
                let (recognised, skip) = Framing::recognise(&bytes).unwrap();
                assert_eq!(skip, announced.len());
                assert_eq!(std::mem::discriminant(&recognised), std::mem::discriminant(&framing));
                assert_eq!(Framing::key_id(&bytes), Some([3; 8]));
                assert_eq!(Framing::key_id(&bytes[..8]), None);
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
        assert_eq!(Framing::Abridged.next(&[1]), Err(FrameError::Length(4)));
        let mut bytes = Vec::new();
        Framing::Full { received: 0, sent: 0 }.pack(&[9; 40], &mut bytes);
        *bytes.last_mut().unwrap() ^= 1;
        let broken = Framing::Full { received: 0, sent: 0 }.next(&bytes);
        assert_eq!(broken, Err(FrameError::Checksum));
    }
}
