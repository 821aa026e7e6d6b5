//! Binary layouts of session strings, format by format.
//!
//! Owns the layouts. Each format is recognised by all of its parts, so that none is taken for
//! another: the length, each flag, the address, the port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::{AuthKey, SessionFormat, SessionString, SessionStringError};
use crate::account_id::USER_ID_MAX;

/// Bytes of what Telethon writes, with an IPv4 and with an IPv6 address.
const TELETHON_V4: usize = 1 + 4 + 2 + AuthKey::LEN;
const TELETHON_V6: usize = 1 + 16 + 2 + AuthKey::LEN;
/// Bytes of what GramJS writes, without the address.
const GRAMJS: usize = 1 + 2 + 2 + AuthKey::LEN;
/// How long an address in text can be: `::1`, and the longest name of a host.
const ADDRESS_LEN: RangeInclusive<usize> = 3..=253;
/// Bytes of the longest payload of any format.
pub(super) const PAYLOAD_LEN_MAX: usize = GRAMJS + *ADDRESS_LEN.end();
/// Bytes of the shortest one that a version stands in front of.
pub(super) const VERSIONED_LEN_MIN: usize = TELETHON_V4;

/// Reads what follows the version in strings of Telethon and GramJS. `None` if it is neither.
pub(super) fn versioned(bytes: &[u8]) -> Option<Result<SessionString, SessionStringError>> {
    // The text of an address within makes a Telethon address that begins with two bytes such as 00 0e,
    // which no IPv6 host in the world has, so that what fits both is never Telethon's.
    match (gramjs_address(bytes), bytes.len()) {
        (Some(host), _) => Some(gramjs(bytes, host)),
        (None, TELETHON_V4) => Some(telethon::<4>(bytes)),
        (None, TELETHON_V6) => Some(telethon::<16>(bytes)),
        (None, _) => None,
    }
}

fn telethon<const IP: usize>(bytes: &[u8]) -> Result<SessionString, SessionStringError> {
    let mut fields = PayloadCursor(bytes);
    let dc = fields.data_centre()?;
    let ip = match fields.take(IP)? {
        &[a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        ip => IpAddr::V6(Ipv6Addr::from(
            <[u8; 16]>::try_from(ip).map_err(|_| SessionStringError::Damaged)?,
        )),
    };
    if ip.is_unspecified() {
        return Err(SessionStringError::Damaged);
    }
    fields.rest_of(SessionFormat::Telethon, dc, Some(ip))
}

/// What GramJS calls the address.
enum Host {
    Ip(IpAddr),
    /// A name, as browsers need one. Nothing here asks a name server, so the table of data centres
    /// has to know the number.
    Name,
}

/// The address within, if the length in front of it is right to the byte and it is one.
fn gramjs_address(bytes: &[u8]) -> Option<Host> {
    let len = usize::from(u16::from_be_bytes(bytes.get(1..3)?.try_into().ok()?));
    if !ADDRESS_LEN.contains(&len) || bytes.len() != GRAMJS + len {
        return None;
    }
    let text = std::str::from_utf8(bytes.get(3..3 + len)?).ok()?;
    match text.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => None,
        Ok(ip) => Some(Host::Ip(ip)),
        Err(_) => is_host_name(text).then_some(Host::Name),
    }
}

fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
    };
    (text.contains('.') || text == "localhost")
        && text.split('.').all(is_label)
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn gramjs(bytes: &[u8], host: Host) -> Result<SessionString, SessionStringError> {
    let mut fields = PayloadCursor(bytes);
    let dc = fields.data_centre()?;
    let len = u16::from_be_bytes(fields.array()?);
    fields.take(usize::from(len))?;
    let ip = match host {
        Host::Ip(ip) => Some(ip),
        Host::Name => None,
    };
    fields.rest_of(SessionFormat::GramJs, dc, ip)
}

/// Reads what Pyrogram writes.
pub(super) fn pyrogram(
    format: SessionFormat,
    bytes: &[u8],
) -> Result<SessionString, SessionStringError> {
    let mut fields = PayloadCursor(bytes);
    let dc = fields.data_centre()?;
    let api_id = match format {
        SessionFormat::Pyrogram2 => Some(u32::from_be_bytes(fields.array()?)),
        _ => None,
    };
    let test_mode = fields.flag()?;
    let key = fields.key()?;
    let user_id = match format {
        SessionFormat::Pyrogram1Narrow => u64::from(u32::from_be_bytes(fields.array()?)),
        _ => u64::from_be_bytes(fields.array()?),
    };
    let user_id = i64::try_from(user_id).ok().filter(|id| *id <= USER_ID_MAX);
    let user_id = user_id.ok_or(SessionStringError::Damaged)?;
    let is_bot = fields.flag()?;
    fields.end()?;
    Ok(SessionString {
        format,
        dc,
        key,
        address: None,
        // Pyrogram writes 0 when it does not know.
        user_id: Some(user_id).filter(|id| *id != 0),
        is_bot: Some(is_bot),
        test_mode: Some(test_mode),
        api_id: api_id.filter(|id| *id != 0),
    })
}

/// A cursor over a payload that only moves forward.
struct PayloadCursor<'a>(&'a [u8]);

impl<'a> PayloadCursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], SessionStringError> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(SessionStringError::Damaged)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SessionStringError> {
        self.take(N)?.try_into().map_err(|_| SessionStringError::Damaged)
    }

    fn data_centre(&mut self) -> Result<i32, SessionStringError> {
        match self.array()? {
            [0] => Err(SessionStringError::DataCentre),
            [dc] => Ok(i32::from(dc)),
        }
    }

    fn flag(&mut self) -> Result<bool, SessionStringError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [_] => Err(SessionStringError::Damaged),
        }
    }

    fn key(&mut self) -> Result<AuthKey, SessionStringError> {
        let key =
            AuthKey::from_slice(self.take(AuthKey::LEN)?).ok_or(SessionStringError::Damaged)?;
        if key.is_blank() { Err(SessionStringError::NoKey) } else { Ok(key) }
    }

    /// Port and key, with which Telethon and GramJS end.
    fn rest_of(
        mut self,
        format: SessionFormat,
        dc: i32,
        ip: Option<IpAddr>,
    ) -> Result<SessionString, SessionStringError> {
        let port = u16::from_be_bytes(self.array()?);
        if port == 0 {
            return Err(SessionStringError::Damaged);
        }
        let key = self.key()?;
        self.end()?;
        Ok(SessionString {
            format,
            dc,
            key,
            address: ip.map(|ip| SocketAddr::new(ip, port)),
            user_id: None,
            is_bot: None,
            test_mode: None,
            api_id: None,
        })
    }

    fn end(self) -> Result<(), SessionStringError> {
        if self.0.is_empty() { Ok(()) } else { Err(SessionStringError::Damaged) }
    }
}
