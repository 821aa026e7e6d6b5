//! Frames: the intermediate transport, in which a packet follows its length.
//!
//! Owns the length's check and the codes that come in place of a packet. Never reads a socket: it is given what
//! has arrived so far, and says how much is missing before anything is kept for it.

use std::ops::Range;

use super::error::{Breach, WireEnd};

/// What a connection begins with, which names this transport.
pub(super) const START: [u8; 4] = [0xee; 4];
/// What stands before a packet.
pub(super) const HEADER_LEN: usize = 4;
/// A code in place of a packet.
const CODE_LEN: usize = 4;
/// The key's id, the key of the message, and the shortest message with its padding.
const PACKET_LEN_MIN: usize = 24 + 48;

/// What the bytes that have arrived begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framed {
    /// A part of a frame: so many bytes are missing, at the least.
    Part { missing: usize },
    /// A packet, which lies there among them. The next frame begins behind it.
    Packet(Range<usize>),
}

/// Finds the first frame among `bytes`.
pub(super) fn next_frame(bytes: &[u8], len_max: usize) -> Result<Framed, WireEnd> {
    let Some(len) = bytes.first_chunk() else {
        return Ok(Framed::Part { missing: HEADER_LEN - bytes.len() });
    };
    let len = u32::from_le_bytes(*len) as usize;
    let is_packet = (PACKET_LEN_MIN..=len_max).contains(&len) && len.is_multiple_of(4);
    if !is_packet && len != CODE_LEN {
        return Err(Breach("no frame has such a length").into());
    }
    let end = HEADER_LEN + len;
    let Some(frame) = bytes.get(HEADER_LEN..end) else {
        return Ok(Framed::Part { missing: end - bytes.len() });
    };
    match frame.first_chunk() {
        Some(code) if len == CODE_LEN => Err(match i32::from_le_bytes(*code) {
            code if code < 0 => WireEnd::Transport { code: code.unsigned_abs() },
            _ => Breach("a packet of four bytes").into(),
        }),
        _ => Ok(Framed::Packet(HEADER_LEN..end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN_MAX: usize = 1 << 20;

    fn frame(payload: &[u8]) -> Vec<u8> {
        [&u32::try_from(payload.len()).unwrap().to_le_bytes()[..], payload].concat()
    }

    #[test]
    fn a_frame_is_found_once_it_is_whole_and_what_is_missing_is_told() {
        let bytes = [frame(&[7; 104]), frame(&[8; 72])].concat();
        for len in 0..4 {
            assert_eq!(
                next_frame(&bytes[..len], LEN_MAX).unwrap(),
                Framed::Part { missing: 4 - len }
            );
        }
        for len in 4..108 {
            let missing = 108 - len;
            assert_eq!(next_frame(&bytes[..len], LEN_MAX).unwrap(), Framed::Part { missing });
        }
        assert_eq!(next_frame(&bytes, LEN_MAX).unwrap(), Framed::Packet(4..108));
        assert_eq!(next_frame(&bytes[108..], LEN_MAX).unwrap(), Framed::Packet(4..76));
    }

    #[test]
    fn a_length_is_checked_before_anything_is_waited_for() {
        for len in
            [0, 1, 3, 5, 8, 68, 73, 74, 75, u32::try_from(LEN_MAX).unwrap() + 4, 1 << 31, u32::MAX]
        {
            let end = next_frame(&len.to_le_bytes(), LEN_MAX).unwrap_err();
            assert!(matches!(end, WireEnd::Protocol(_)), "{len}: {end}");
        }
        let longest = u32::try_from(LEN_MAX).unwrap().to_le_bytes();
        assert_eq!(next_frame(&longest, LEN_MAX).unwrap(), Framed::Part { missing: LEN_MAX });
    }

    #[test]
    fn a_code_in_place_of_a_packet_is_the_end() {
        for (code, expected) in [(-404, 404), (-429, 429), (-444, 444), (i32::MIN, 1 << 31)] {
            let bytes = frame(&i32::to_le_bytes(code));
            for len in 0..8 {
                assert!(next_frame(&bytes[..len], LEN_MAX).is_ok(), "{len} of 8 bytes");
            }
            let end = next_frame(&bytes, LEN_MAX).unwrap_err();
            assert!(matches!(end, WireEnd::Transport { code } if code == expected), "{end}");
        }
        let end = next_frame(&frame(&5_i32.to_le_bytes()), LEN_MAX).unwrap_err();
        assert!(matches!(end, WireEnd::Protocol(_)), "{end}");
    }
}
