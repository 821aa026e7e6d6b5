//! Session strings: how Telethon and Pyrogram write one authorized session as text.
//!
//! Owns the two families of formats, byte by byte. Never repeats a string or a part of it in an
//! error: whoever holds the string is the account.
//!
//! | format | text | bytes (`struct` notation) |
//! |---|---|---|
//! | Telethon | `1` + 352 or 368 characters | `>B4sH256s`; 16 address bytes for IPv6 |
//! | Pyrogram 2 | 362 characters | `>BI?256sQ?` |
//! | Pyrogram 1 | 356 characters | `>B?256sQ?` |
//! | Pyrogram 1, before 64-bit user ids | 351 characters | `>B?256sI?` |
//!
//! All are URL-safe base64; Telethon pads, Pyrogram does not. The lengths without padding differ
//! in every case, so the length alone tells the format.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::{Zeroize, Zeroizing};

use super::AuthKey;

/// The longest text looked at; every format is shorter, padding and blanks included.
const TEXT_LEN_MAX: usize = 512;
/// Bytes of the largest payload (Telethon with an IPv6 address).
const PAYLOAD_LEN_MAX: usize = 275;

/// Which program writes a session like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionFormat {
    /// Telethon's `StringSession`, version 1.
    Telethon,
    /// Pyrogram 2: has the api id.
    Pyrogram2,
    /// Pyrogram 1 with 64-bit user ids.
    Pyrogram1,
    /// Pyrogram 1 with 32-bit user ids.
    Pyrogram1Narrow,
}

/// What a session string holds. Which of the optional values are there depends on the format.
///
/// ```
/// use telepool::session::{SessionString, SessionStringError};
///
/// let error = "not a session".parse::<SessionString>().unwrap_err();
/// assert_eq!(error, SessionStringError::Length { len: 13 });
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionString {
    /// Which program wrote it.
    pub format: SessionFormat,
    /// The home data centre, 1 to 255.
    pub dc: i32,
    /// The authorization key.
    pub key: AuthKey,
    /// Where the home data centre listens (Telethon).
    pub address: Option<SocketAddr>,
    /// The user that the session is logged in as (Pyrogram).
    pub user_id: Option<i64>,
    /// Whether the user is a bot (Pyrogram).
    pub is_bot: Option<bool>,
    /// Whether the session belongs to the test servers (Pyrogram).
    pub test_mode: Option<bool>,
    /// The application that logged in (Pyrogram 2).
    pub api_id: Option<u32>,
}

impl fmt::Debug for SessionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionString")
            .field("format", &self.format)
            .field("dc", &self.dc)
            .field("address", &self.address)
            .field("test_mode", &self.test_mode)
            .finish_non_exhaustive()
    }
}

impl FromStr for SessionString {
    type Err = SessionStringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.as_bytes())
    }
}

impl SessionString {
    /// Reads any of the formats. Blanks around the text and missing or surplus padding do no
    /// harm.
    ///
    /// # Errors
    /// What is wrong with the text, without the text.
    pub fn parse(text: &[u8]) -> Result<Self, SessionStringError> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(SessionStringError::Empty);
        }
        let len = text.len();
        if len > TEXT_LEN_MAX {
            return Err(SessionStringError::Length { len });
        }
        let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
        let text = &text[..len - padding];
        match (text.len(), text.first()) {
            (352, Some(b'1')) => telethon::<4>(&decode(&text[1..])?),
            (368, Some(b'1')) => telethon::<16>(&decode(&text[1..])?),
            (352 | 368, Some(_)) => Err(SessionStringError::Version),
            (362, _) => pyrogram(SessionFormat::Pyrogram2, &decode(text)?),
            (356, _) => pyrogram(SessionFormat::Pyrogram1, &decode(text)?),
            (351, _) => pyrogram(SessionFormat::Pyrogram1Narrow, &decode(text)?),
            _ => Err(SessionStringError::Length { len }),
        }
    }
}

/// Writes a session the way Telethon does, ready for its `StringSession`. The text is wiped when
/// dropped.
///
/// # Errors
/// The format has one byte for the data centre.
pub fn telethon_string(
    dc: i32,
    address: SocketAddr,
    key: &AuthKey,
) -> Result<Zeroizing<String>, SessionStringError> {
    let dc = u8::try_from(dc).ok().filter(|dc| *dc != 0).ok_or(SessionStringError::DataCentre)?;
    // The capacities are exact, so that no reallocation leaves a copy of the key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(PAYLOAD_LEN_MAX));
    bytes.push(dc);
    match address.ip() {
        IpAddr::V4(ip) => bytes.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
    }
    bytes.extend_from_slice(&address.port().to_be_bytes());
    bytes.extend_from_slice(key.expose());
    let mut text = Zeroizing::new(String::with_capacity(1 + PAYLOAD_LEN_MAX.div_ceil(3) * 4));
    text.push('1');
    base64::engine::general_purpose::URL_SAFE.encode_string(&*bytes, &mut text);
    Ok(text)
}

/// The bytes behind a text of either base64 alphabet, without padding.
fn decode(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, SessionStringError> {
    let mut text = Zeroizing::new(text.to_vec());
    for byte in text.iter_mut() {
        // Some tools re-encode strings with the ordinary alphabet.
        match byte {
            b'+' => *byte = b'-',
            b'/' => *byte = b'_',
            _ => {}
        }
    }
    let mut bytes = Zeroizing::new(vec![0; text.len().div_ceil(4) * 3]);
    let len = URL_SAFE_NO_PAD
        .decode_slice(&*text, &mut bytes)
        .map_err(|_| SessionStringError::Alphabet)?;
    // `truncate` would leave the tail unwiped, were it anything but zeros.
    bytes[len..].zeroize();
    bytes.truncate(len);
    Ok(bytes)
}

fn telethon<const IP: usize>(bytes: &[u8]) -> Result<SessionString, SessionStringError> {
    let mut fields = Fields(bytes);
    let dc = fields.data_centre()?;
    let ip = match fields.take(IP)? {
        &[a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        ip => IpAddr::V6(Ipv6Addr::from(
            <[u8; 16]>::try_from(ip).map_err(|_| SessionStringError::Damaged)?,
        )),
    };
    let port = u16::from_be_bytes(fields.array()?);
    if port == 0 || ip.is_unspecified() {
        return Err(SessionStringError::Damaged);
    }
    let key = fields.key()?;
    fields.end()?;
    Ok(SessionString {
        format: SessionFormat::Telethon,
        dc,
        key,
        address: Some(SocketAddr::new(ip, port)),
        user_id: None,
        is_bot: None,
        test_mode: None,
        api_id: None,
    })
}

fn pyrogram(format: SessionFormat, bytes: &[u8]) -> Result<SessionString, SessionStringError> {
    let mut fields = Fields(bytes);
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
    let user_id = i64::try_from(user_id).map_err(|_| SessionStringError::Damaged)?;
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
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
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

    fn end(self) -> Result<(), SessionStringError> {
        if self.0.is_empty() { Ok(()) } else { Err(SessionStringError::Damaged) }
    }
}

/// Why a text is no session string. Never holds any of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionStringError {
    /// Nothing there.
    #[error("the session string is empty: log in, then export it with `StringSession.save()`")]
    Empty,
    /// The length of none of the formats.
    #[error(
        "a session string of {len} characters is of no known format: Telethon's have 353 or 369, \
         Pyrogram's 351, 356 or 362; copy it whole"
    )]
    Length {
        /// How many characters there are.
        len: usize,
    },
    /// As long as a Telethon string, but of another version.
    #[error("only version 1 of Telethon's session strings is known: export it with Telethon 1.x")]
    Version,
    /// Not base64.
    #[error("the session string has characters that are not URL-safe base64: copy it again")]
    Alphabet,
    /// The bytes make no sense.
    #[error("the session string is damaged: export it again from where it came")]
    Damaged,
    /// No such data centre.
    #[error("the data centre must be 1 to 255: export the session again from where it came")]
    DataCentre,
    /// An authorization key of zeros.
    #[error("the session has no authorization key: log in before exporting it")]
    NoKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_has_the_documented_length() {
        let key = AuthKey::new([7; 256]);
        let v4 = telethon_string(2, "127.0.0.1:443".parse().unwrap(), &key).unwrap();
        let v6 = telethon_string(2, "[::1]:443".parse().unwrap(), &key).unwrap();
        assert_eq!((v4.len(), v6.len()), (353, 369));
    }

    #[test]
    fn a_data_centre_beyond_one_byte_is_refused() {
        let key = AuthKey::new([7; 256]);
        for dc in [-1, 0, 256, i32::MAX] {
            let written = telethon_string(dc, "127.0.0.1:443".parse().unwrap(), &key);
            assert_eq!(written, Err(SessionStringError::DataCentre), "{dc}");
        }
    }

    #[test]
    fn debug_shows_no_key_and_no_user() {
        let text =
            telethon_string(2, "127.0.0.1:443".parse().unwrap(), &AuthKey::new([7; 256])).unwrap();
        let shown = format!("{:?}", text.parse::<SessionString>().unwrap());
        assert!(shown.ends_with("..}") || shown.ends_with(".. }"), "{shown}");
        assert!(!shown.contains("key"), "{shown}");
    }
}
