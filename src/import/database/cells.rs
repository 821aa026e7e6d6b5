//! The values of a database, which may be of any type whatever a column says.
//!
//! Owns what of them is taken for a number, a text, a key. What a session cannot do without is an error if it is
//! none; of a peer, the peer is passed over.

use std::net::{IpAddr, SocketAddr};

use rusqlite::types::ValueRef;

use crate::account_id::{AccountId, USER_ID_MAX};
use crate::import::{ImportError, PeerKind};
use crate::session::AuthKey;

/// The ids of channels, as clients mark them, lie below this one.
const CHANNEL_ZERO: i64 = -1_000_000_000_000;
/// The largest id of a small group, and of any peer.
const CHAT_MAX: i64 = -CHANNEL_ZERO - 1;
const PEER_MAX: i64 = (1 << 52) - 1;
/// The longest public name.
const USERNAME_LEN_MAX: usize = 64;

/// A number, also as one with decimals or a text.
pub(super) fn number(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Integer(number) => Some(number),
        #[expect(clippy::cast_possible_truncation, reason = "it has been checked")]
        ValueRef::Real(number) if number.trunc() == number && number.abs() < 9e15 => {
            Some(number as i64)
        }
        ValueRef::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
        _ => None,
    }
}

/// The same, of half the size.
pub(super) fn small(value: ValueRef<'_>) -> Option<i32> {
    number(value).and_then(|number| i32::try_from(number).ok())
}

/// A flag, unless nobody has set it.
pub(super) fn flag(value: ValueRef<'_>) -> Option<bool> {
    number(value).map(|number| number != 0)
}

/// A data centre, without which there is no session.
pub(super) fn data_centre(value: ValueRef<'_>) -> Result<i32, ImportError> {
    small(value).filter(|dc| (1..=255).contains(dc)).ok_or(ImportError::DataCentre)
}

/// An authorization key, or `None` where nobody is signed in.
pub(super) fn key(value: ValueRef<'_>) -> Result<Option<AuthKey>, ImportError> {
    let bytes = match value {
        ValueRef::Null => return Ok(None),
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes,
        _ => return Err(ImportError::Damaged { what: "a number stands in place of its key" }),
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let key = AuthKey::from_slice(bytes).ok_or(ImportError::KeyLength { len: bytes.len() })?;
    Ok(Some(key).filter(|key| !key.is_blank()))
}

/// An address and its port, if both are. A name is none: nothing here asks a name server.
pub(super) fn address(ip: ValueRef<'_>, port: ValueRef<'_>) -> Option<SocketAddr> {
    let ip: IpAddr = ip.as_str().ok()?.trim().parse().ok()?;
    let port = number(port).and_then(|port| u16::try_from(port).ok())?;
    checked(SocketAddr::new(ip, port))
}

/// An address with its port in one text.
pub(super) fn socket(value: ValueRef<'_>) -> Option<SocketAddr> {
    value.as_str().ok()?.trim().parse().ok().and_then(checked)
}

fn checked(address: SocketAddr) -> Option<SocketAddr> {
    Some(address).filter(|it| !it.ip().is_unspecified() && it.port() != 0)
}

/// The id of a user.
pub(super) fn user_id(value: ValueRef<'_>) -> Option<i64> {
    number(value).filter(|id| (1..=USER_ID_MAX).contains(id))
}

/// A phone number.
pub(super) fn phone(value: ValueRef<'_>) -> Option<AccountId> {
    let number = match value {
        ValueRef::Text(text) => {
            std::str::from_utf8(text).ok()?.trim().trim_start_matches('+').parse().ok()
        }
        _ => number(value).and_then(|number| u64::try_from(number).ok()),
    };
    AccountId::phone(number?).ok()
}

/// A public name.
pub(super) fn username(value: ValueRef<'_>) -> Option<Box<str>> {
    let name = value.as_str().ok()?.trim().trim_start_matches('@');
    let is_name = !name.is_empty()
        && name.len() <= USERNAME_LEN_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then(|| name.into())
}

/// A bare id, if a peer of this kind can have it.
pub(super) fn bare(kind: PeerKind, id: i64) -> Option<(PeerKind, i64)> {
    let max = match kind {
        PeerKind::User | PeerKind::Bot => USER_ID_MAX,
        PeerKind::Chat => CHAT_MAX,
        PeerKind::Channel | PeerKind::Megagroup => PEER_MAX,
    };
    (1..=max).contains(&id).then_some((kind, id))
}

/// The bare id of a channel that has the usual mark in front.
pub(super) fn channel(marked: i64) -> Option<i64> {
    CHANNEL_ZERO.checked_sub(marked).filter(|id| (1..=PEER_MAX).contains(id))
}

/// The channel that a row of update state is of: some programs mark it there, some do not.
pub(super) fn channel_of_state(id: i64) -> Option<i64> {
    if id > 0 { Some(id).filter(|id| *id <= PEER_MAX) } else { channel(id) }
}
