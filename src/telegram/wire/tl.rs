//! Numbers and byte strings as the schema language writes them.
//!
//! Owns the reading of what a server has sent, each length checked against what is there. Never knows what a
//! message means.

use grammers_tl_types::{Identifiable as _, functions, types};

use super::error::Breach;

pub(in crate::telegram) const RPC_RESULT: u32 = 0xf35c_6d01;
pub(in crate::telegram) const RPC_ERROR: u32 = types::RpcError::CONSTRUCTOR_ID;
pub(in crate::telegram) const CONTAINER: u32 = 0x73f1_f8dc;
pub(in crate::telegram) const COPY: u32 = 0xe060_46b2;
pub(in crate::telegram) const GZIP_PACKED: u32 = 0x3072_cfa1;
pub(in crate::telegram) const ACK: u32 = types::MsgsAck::CONSTRUCTOR_ID;
pub(in crate::telegram) const BAD_MESSAGE: u32 = types::BadMsgNotification::CONSTRUCTOR_ID;
pub(in crate::telegram) const BAD_SALT: u32 = types::BadServerSalt::CONSTRUCTOR_ID;
pub(in crate::telegram) const STATE_REQUEST: u32 = types::MsgsStateReq::CONSTRUCTOR_ID;
pub(in crate::telegram) const STATE_INFO: u32 = types::MsgsStateInfo::CONSTRUCTOR_ID;
pub(in crate::telegram) const ALL_INFO: u32 = types::MsgsAllInfo::CONSTRUCTOR_ID;
pub(in crate::telegram) const DETAILED_INFO: u32 = types::MsgDetailedInfo::CONSTRUCTOR_ID;
pub(in crate::telegram) const NEW_DETAILED_INFO: u32 = types::MsgNewDetailedInfo::CONSTRUCTOR_ID;
pub(in crate::telegram) const RESEND_REQUEST: u32 = types::MsgResendReq::CONSTRUCTOR_ID;
pub(in crate::telegram) const RESEND_ANSWER_REQUEST: u32 = types::MsgResendAnsReq::CONSTRUCTOR_ID;
pub(in crate::telegram) const FUTURE_SALTS: u32 = types::FutureSalts::CONSTRUCTOR_ID;
pub(in crate::telegram) const PONG: u32 = types::Pong::CONSTRUCTOR_ID;
pub(in crate::telegram) const NEW_SESSION: u32 = types::NewSessionCreated::CONSTRUCTOR_ID;
pub(in crate::telegram) const SESSION_DESTROYED: u32 = types::DestroySessionOk::CONSTRUCTOR_ID;
pub(in crate::telegram) const NO_SUCH_SESSION: u32 = types::DestroySessionNone::CONSTRUCTOR_ID;
pub(in crate::telegram) const HTTP_WAIT: u32 = types::HttpWait::CONSTRUCTOR_ID;
pub(in crate::telegram) const PING: u32 = functions::Ping::CONSTRUCTOR_ID;
pub(in crate::telegram) const PING_DELAY_DISCONNECT: u32 =
    functions::PingDelayDisconnect::CONSTRUCTOR_ID;
pub(in crate::telegram) const GET_FUTURE_SALTS: u32 = functions::GetFutureSalts::CONSTRUCTOR_ID;
pub(in crate::telegram) const DROP_ANSWER: u32 = functions::RpcDropAnswer::CONSTRUCTOR_ID;
pub(in crate::telegram) const DESTROY_SESSION: u32 = functions::DestroySession::CONSTRUCTOR_ID;
const VECTOR: u32 = 0x1cb5_c415;

/// Returns the constructor that a body begins with, or 0 for one that is too short to have any.
pub(in crate::telegram) fn constructor(body: &[u8]) -> u32 {
    body.first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

/// Reads a message from its beginning.
#[derive(Clone, Copy, Debug)]
pub(in crate::telegram) struct WireReader<'a>(pub(in crate::telegram) &'a [u8]);

impl<'a> WireReader<'a> {
    /// Takes so many bytes.
    pub(in crate::telegram) fn take(&mut self, len: usize) -> Result<&'a [u8], Breach> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Breach("a message is cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Breach> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Breach("a message is cut short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(in crate::telegram) fn word(&mut self) -> Result<u32, Breach> {
        self.array().map(u32::from_le_bytes)
    }

    pub(in crate::telegram) fn int(&mut self) -> Result<i32, Breach> {
        self.array().map(i32::from_le_bytes)
    }

    pub(in crate::telegram) fn long(&mut self) -> Result<i64, Breach> {
        self.array().map(i64::from_le_bytes)
    }

    /// A length or a count.
    pub(in crate::telegram) fn len(&mut self) -> Result<usize, Breach> {
        usize::try_from(self.int()?).map_err(|_negative| Breach("a length is negative"))
    }

    /// A byte string: a length of one byte or, after 254, of three, and padding up to a whole word.
    pub(in crate::telegram) fn bytes(&mut self) -> Result<&'a [u8], Breach> {
        let [first] = self.array()?;
        let (start, len) = match first {
            254 => {
                let [a, b, c] = self.array()?;
                (4, u32::from_le_bytes([a, b, c, 0]) as usize)
            }
            len => (1, usize::from(len)),
        };
        let bytes = self.take(len)?;
        self.take((start + len).next_multiple_of(4) - start - len)?;
        Ok(bytes)
    }

    /// A vector of numbers, which is no longer than what is left of the message.
    pub(in crate::telegram) fn longs(
        &mut self,
    ) -> Result<impl Iterator<Item = i64> + Clone + use<'a>, Breach> {
        if self.word()? != VECTOR {
            return Err(Breach("a list is none"));
        }
        let len = self.len()?;
        let items = self.take(len.checked_mul(8).ok_or(Breach("a message is cut short"))?)?;
        let long = |item: &[u8]| item.first_chunk().map(|item| i64::from_le_bytes(*item));
        Ok(items.chunks_exact(8).filter_map(long))
    }
}

/// Writes a vector of numbers.
pub(in crate::telegram) fn put_longs(out: &mut Vec<u8>, longs: &[i64]) {
    out.extend(VECTOR.to_le_bytes());
    out.extend(short(longs.len()).to_le_bytes());
    longs.iter().for_each(|long| out.extend(long.to_le_bytes()));
}

/// Writes a byte string.
pub(in crate::telegram) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    match u8::try_from(bytes.len()) {
        Ok(len @ ..254) => out.push(len),
        _ => out.extend((short(bytes.len()) << 8 | 254).to_le_bytes()),
    }
    out.extend(bytes);
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
}

/// A length as it is written: nothing that is sent is longer than a packet.
pub(in crate::telegram) fn short(len: usize) -> u32 {
    u32::try_from(len).expect("BUG: packets are shorter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_refused() {
        for len in [0, 1, 3, 4, 253, 254, 255, 70_000] {
            let bytes = vec![7; len];
            let mut out = Vec::new();
            put_bytes(&mut out, &bytes);
            put_longs(&mut out, &[1, -2, i64::MAX]);
            assert!(out.len().is_multiple_of(4));
            let mut reader = WireReader(&out);
            assert_eq!(reader.bytes().unwrap(), bytes);
            assert_eq!(reader.longs().unwrap().collect::<Vec<_>>(), [1, -2, i64::MAX]);
            assert!(reader.0.is_empty());
            for cut in (0..out.len()).step_by(1 + len / 20) {
                let mut reader = WireReader(&out[..cut]);
                let read = reader.bytes().and_then(|_| reader.longs().map(drop));
                assert!(read.is_err(), "{len} bytes cut at {cut}");
            }
        }
        let mut negative = WireReader(&[0xff; 4]);
        assert!(negative.len().is_err());
        let huge = [&VECTOR.to_le_bytes()[..], &i32::MAX.to_le_bytes(), &[0; 64]].concat();
        assert!(WireReader(&huge).longs().is_err());
    }
}
