//! Session strings: how Telethon, GramJS, Pyrogram, mtcute and MTKruto write one authorized session as text.
//!
//! Owns the text forms; the bytes behind them are in `layout` and `tl`. Never repeats a string or a part of it in
//! an error: whoever holds the string is the account.
//!
//! | format | text | bytes (`struct` notation) |
//! |---|---|---|
//! | Telethon | `1` + 352 or 368 characters | `>B4sH256s`; 16 address bytes for IPv6 |
//! | GramJS | `1` + 352 or more characters | `>BH` + the address as text + `>H256s` |
//! | Pyrogram 2 | 362 characters | `>BI?256sQ?` |
//! | Pyrogram 1 | 356 characters | `>B?256sQ?` |
//! | Pyrogram 1, before 64-bit user ids | 351 characters | `>B?256sI?` |
//! | mtcute 1 to 3 | 375 or more characters | a version and TL: flags, data centres, the user, the key |
//! | MTKruto | 350 or more characters | TL: the data centre as text, the key, of late `<I?Q`; runs of zeros packed |
//!
//! All are URL-safe base64 but those of GramJS, which are of the ordinary one; either alphabet is
//! read of all of them. Telethon and GramJS pad, the others do not. The length alone does not tell the
//! format: with an address of 14 characters, GramJS writes as many as Telethon does for IPv6.

mod error;
mod layout;
mod paste;
mod tl;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::{Zeroize, Zeroizing};

pub use error::SessionStringError;
use layout::{PAYLOAD_LEN_MAX, VERSIONED_LEN_MIN, pyrogram, versioned};

use super::AuthKey;

/// The longest text looked at, with all that copying may have put around it and into it.
const TEXT_LEN_MAX: usize = 2048;
/// Characters of the shortest string that begins with a version, padding not counted.
const VERSIONED_TEXT_LEN_MIN: usize = 1 + (VERSIONED_LEN_MIN * 4).div_ceil(3);
/// Characters of the longest one.
const VERSIONED_TEXT_LEN_MAX: usize = 1 + (PAYLOAD_LEN_MAX * 4).div_ceil(3);

/// Which program writes a session like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionFormat {
    /// Telethon's `StringSession`, version 1.
    Telethon,
    /// The `StringSession` of GramJS, version 1.
    GramJs,
    /// Pyrogram 2: has the api id.
    Pyrogram2,
    /// Pyrogram 1 with 64-bit user ids.
    Pyrogram1,
    /// Pyrogram 1 with 32-bit user ids.
    Pyrogram1Narrow,
    /// The string of mtcute, versions 1 to 3.
    Mtcute,
    /// The auth string of MTKruto.
    MtKruto,
}

/// What a session string holds. Which of the optional values are there depends on the format.
///
/// ```
/// use telepool::session::{SessionString, SessionStringError};
///
/// let error = "not a session".parse::<SessionString>().unwrap_err();
/// assert_eq!(error, SessionStringError::Length { len: 11 });
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
    /// Where the home data centre listens (Telethon, mtcute; GramJS unless it wrote the name of a host).
    pub address: Option<SocketAddr>,
    /// The user that the session is logged in as (Pyrogram; mtcute and MTKruto if they knew).
    pub user_id: Option<i64>,
    /// Whether the user is a bot (Pyrogram; mtcute and MTKruto if they knew).
    pub is_bot: Option<bool>,
    /// Whether the session belongs to the test servers (Pyrogram, mtcute, MTKruto).
    pub test_mode: Option<bool>,
    /// The application that logged in (Pyrogram 2, MTKruto).
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
    /// Reads any of the formats. Blanks, line breaks and invisible marks wherever they are, quotes,
    /// `NAME=` or `StringSession()` around the text, a full stop behind it, the escapes of addresses (`%3D`)
    /// and missing or surplus padding do no harm.
    ///
    /// # Errors
    /// What is wrong with the text, without the text.
    pub fn parse(text: &[u8]) -> Result<Self, SessionStringError> {
        if text.len() > TEXT_LEN_MAX {
            return Err(SessionStringError::Length { len: text.len() });
        }
        let visible = paste::visible(text)?;
        let text = paste::unwrapped(&visible);
        if text.is_empty() {
            return Err(SessionStringError::Empty);
        }
        if paste::is_token(text) {
            return Err(SessionStringError::BotToken);
        }
        recognised(text)
    }
}

/// The token of a bot within a text, as [`SessionString::parse`] cleans one: `ID:SECRET`. `None` if it is none.
#[cfg(feature = "store")]
pub(crate) fn bot_token(text: &[u8]) -> Option<Zeroizing<String>> {
    let visible = paste::visible(text.get(..TEXT_LEN_MAX).unwrap_or(text)).ok()?;
    let text = paste::unwrapped(&visible);
    let token = text.strip_prefix("bot").unwrap_or(text);
    paste::is_token(text).then(|| Zeroizing::new(token.to_owned()))
}

fn recognised(text: &str) -> Result<SessionString, SessionStringError> {
    let len = text.len();
    let text = text.trim_end_matches('=').as_bytes();
    let (version, rest) = text.split_first().unwrap_or((&b'=', text));
    let of_version_1 = if *version == b'1' { versioned_text(rest) } else { None };
    if let Some(session) = of_version_1 {
        return session;
    }
    // Their lengths may be those of others, and they begin as no string of others does.
    if let Some(session) = decode(text).ok().and_then(|bytes| tl::read(&bytes)) {
        return session;
    }
    let of_pyrogram = match text.len() {
        362 => Some(SessionFormat::Pyrogram2),
        356 => Some(SessionFormat::Pyrogram1),
        351 => Some(SessionFormat::Pyrogram1Narrow),
        _ => None,
    }
    .map(|format| decode(text).and_then(|bytes| pyrogram(format, &bytes)));
    match of_pyrogram {
        Some(Ok(session)) => Ok(session),
        _ if *version != b'1' && matches!(versioned_text(text), Some(Ok(_))) => {
            Err(SessionStringError::VersionMissing)
        }
        Some(refused) => refused,
        None if matches!(versioned_text(rest), Some(Ok(_))) => Err(SessionStringError::Version),
        None if (VERSIONED_TEXT_LEN_MIN..=VERSIONED_TEXT_LEN_MAX).contains(&text.len()) => {
            decode(rest)?;
            Err(match (version, text.len()) {
                (b'1', _) => SessionStringError::Damaged,
                (_, 352 | 368) => SessionStringError::Version,
                _ => SessionStringError::Length { len },
            })
        }
        None => Err(SessionStringError::Length { len }),
    }
}

/// What stands behind a version. `None` if no program writes such bytes.
fn versioned_text(text: &[u8]) -> Option<Result<SessionString, SessionStringError>> {
    if !(VERSIONED_TEXT_LEN_MIN - 1..VERSIONED_TEXT_LEN_MAX).contains(&text.len()) {
        return None;
    }
    versioned(&decode(text).ok()?)
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
