//! Session strings whose bytes are TL: those of mtcute and MTKruto.
//!
//! Owns both layouts. Each is recognised by all of its parts, to the last byte: whatever differs in one is
//! another program's, or nobody's.

use std::net::{IpAddr, SocketAddr};

use zeroize::Zeroizing;

use super::{AuthKey, SessionFormat, SessionString, SessionStringError};
use crate::account_id::USER_ID_MAX;

/// Constructors that are written.
const DC_OPTION: u32 = 0x18b7_a10d;
const BOOL_TRUE: u32 = 0x9972_75b5;
const BOOL_FALSE: u32 = 0xbc79_9737;

/// Flags of mtcute's string: whose session it is stands in it, it is of the test servers (before version 3),
/// and it has a data centre for media.
const HAS_SELF: u32 = 1;
const IS_TEST: u32 = 1 << 1;
const HAS_MEDIA: u32 = 1 << 2;
/// Flag of a `dcOption`: a secret follows.
const HAS_SECRET: u32 = 1 << 10;
/// Flag of a data centre of version 3: it is one of the test servers.
const DC_IS_TEST: u8 = 1 << 2;

/// How many bytes a payload of MTKruto's may be once its runs of zeros are written out.
const UNPACKED_LEN_MAX: usize = 512;

/// Reads what mtcute or MTKruto has written. `None` if neither has.
pub(super) fn read(bytes: &[u8]) -> Option<Result<SessionString, SessionStringError>> {
    mtcute(bytes).or_else(|| mtkruto(&unpacked(bytes)?)).map(checked)
}

/// What was written as it should be may still be of no use.
fn checked(session: SessionString) -> Result<SessionString, SessionStringError> {
    match session {
        it if it.dc == 0 => Err(SessionStringError::DataCentre),
        it if it.key.is_blank() => Err(SessionStringError::NoKey),
        it => Ok(it),
    }
}

/// Where a session of mtcute is at home.
struct Home {
    dc: u8,
    address: Option<SocketAddr>,
    is_test: bool,
}

fn mtcute(bytes: &[u8]) -> Option<SessionString> {
    let mut fields = TlCursor(bytes);
    let [version] = fields.array()?;
    let flags = fields.number()?;
    let known = HAS_SELF | if version == 1 { IS_TEST } else { IS_TEST | HAS_MEDIA };
    if flags & !known != 0 {
        return None;
    }
    let has_media = flags & HAS_MEDIA != 0;
    let home = match version {
        1 | 2 => {
            let home = dc_option(&mut fields)?;
            if has_media {
                dc_option(&mut fields)?;
            }
            Home { is_test: flags & IS_TEST != 0, ..home }
        }
        3 if flags & IS_TEST == 0 => {
            let home = basic_dc_option(fields.bytes()?)?;
            if has_media {
                basic_dc_option(fields.bytes()?)?;
            }
            home
        }
        _ => return None,
    };
    let own = flags & HAS_SELF != 0;
    let user_id = if own { Some(user_id(u64::from_le_bytes(fields.array()?))?) } else { None };
    let is_bot = if own { Some(fields.boolean()?) } else { None };
    let key = AuthKey::from_slice(fields.bytes()?)?;
    fields.end()?;
    Some(SessionString {
        format: SessionFormat::Mtcute,
        dc: i32::from(home.dc),
        key,
        address: home.address,
        user_id: user_id.filter(|id| *id != 0),
        is_bot,
        test_mode: Some(home.is_test),
        api_id: None,
    })
}

/// A `dcOption` of Telegram's own, as versions 1 and 2 have it.
fn dc_option(fields: &mut TlCursor<'_>) -> Option<Home> {
    if fields.number()? != DC_OPTION {
        return None;
    }
    let flags = fields.number()?;
    let dc = u8::try_from(fields.number()?).ok()?;
    let ip = ip(fields.bytes()?)?;
    let port = port(fields.number()?)?;
    if flags & HAS_SECRET != 0 {
        fields.bytes()?;
    }
    Some(Home { dc, address: Some(SocketAddr::new(ip, port)), is_test: false })
}

/// That of version 3, in either form of it.
fn basic_dc_option(bytes: &[u8]) -> Option<Home> {
    let mut fields = TlCursor(bytes);
    let [version, dc, flags] = fields.array()?;
    let is_test = match version {
        1 => false,
        2 => flags & DC_IS_TEST != 0,
        _ => return None,
    };
    let ip = ip(fields.bytes()?)?;
    let port = port(fields.number()?)?;
    fields.end()?;
    Some(Home { dc, address: Some(SocketAddr::new(ip, port)), is_test })
}

fn ip(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified())
}

fn port(number: u32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port != 0)
}

fn user_id(number: u64) -> Option<i64> {
    i64::try_from(number).ok().filter(|id| *id <= USER_ID_MAX)
}

/// Reads what MTKruto writes: of late also which application has logged in, and as whom.
fn mtkruto(bytes: &[u8]) -> Option<SessionString> {
    let mut fields = TlCursor(bytes);
    let dc = std::str::from_utf8(fields.bytes()?).ok()?;
    let (number, is_test) = match dc.strip_suffix("-test") {
        Some(number) => (number, true),
        None => (dc, false),
    };
    let dc: u8 = number.parse().ok().filter(|dc: &u8| dc.to_string() == number)?;
    let key = AuthKey::from_slice(fields.bytes()?)?;
    let (mut api_id, mut own, mut is_bot) = (None, None, None);
    if !fields.0.is_empty() {
        api_id = Some(fields.number()?).filter(|id| *id != 0);
        is_bot = Some(match fields.array()? {
            [0] => false,
            [1] => true,
            [_] => return None,
        });
        own = Some(user_id(u64::from_le_bytes(fields.array()?))?).filter(|id| *id != 0);
    }
    fields.end()?;
    Some(SessionString {
        format: SessionFormat::MtKruto,
        dc: i32::from(dc),
        key,
        address: None,
        user_id: own,
        // Nobody has logged in where no user stands.
        is_bot: is_bot.filter(|_| own.is_some()),
        test_mode: Some(is_test),
        api_id,
    })
}

/// Writes out runs of zeros, of which a zero and their number stand. `None` if it is no such text.
fn unpacked(bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // With the capacity no reallocation leaves a copy of the key behind.
    let mut out = Zeroizing::new(Vec::with_capacity(UNPACKED_LEN_MAX));
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        let count = if *byte == 0 { usize::from(*rest.next()?) } else { 1 };
        let len = out.len() + count;
        if count == 0 || len > UNPACKED_LEN_MAX {
            return None;
        }
        out.resize(len, *byte);
    }
    Some(out)
}

/// A cursor over values of TL that only moves forward.
struct TlCursor<'a>(&'a [u8]);

impl<'a> TlCursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn boolean(&mut self) -> Option<bool> {
        match self.number()? {
            BOOL_TRUE => Some(true),
            BOOL_FALSE => Some(false),
            _ => None,
        }
    }

    /// Bytes with their length in front, in the shorter form where that is enough, and zeros up to a multiple
    /// of four behind them.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let (head, len) = match self.array()? {
            [254] => {
                let [low, middle, high] = self.array()?;
                let len = u32::from_le_bytes([low, middle, high, 0]);
                (4, usize::try_from(len).ok().filter(|len| *len > 253)?)
            }
            [255] => return None,
            [len] => (1, usize::from(len)),
        };
        let bytes = self.take(len)?;
        let padding = self.take((head + len).next_multiple_of(4) - head - len)?;
        padding.iter().all(|byte| *byte == 0).then_some(bytes)
    }

    fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
