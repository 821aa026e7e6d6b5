//! Foreign files: those that hold sessions in another form, or something else altogether.
//!
//! Owns how each is recognised by its beginning, and what to do with it. Never reads on: whatever is
//! said of such a file is said once.

use std::fmt;

use crate::account_id::is_invisible;
use crate::session::{SessionString, SessionStringError};

/// What a file is that holds no lines of JSON. Shown, it names what to do where sessions are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignFile {
    /// A database, as the `.session` files of Telethon and Pyrogram are.
    Sqlite,
    /// Text of two bytes or four a character.
    Utf16,
    /// Text of four bytes a character.
    Utf32,
    /// Text of one byte a character, beyond ASCII.
    OtherEncoding,
    /// A file of Telegram Desktop.
    TelegramDesktop,
    /// Something packed.
    Archive,
    /// Bytes that are no text.
    Binary,
    /// A JSON array.
    Array,
    /// An object that goes over several lines.
    Spread,
    /// A configuration, or rules of faults.
    Toml,
    /// A session string, or one a line.
    StringAlone,
    /// A bot's token, or one a line.
    TokenAlone,
    /// A table.
    Table,
}

/// What begins a file, and what it is then. A longer mark stands before the one that begins it.
const MARKS: [(&[u8], ForeignFile); 12] = [
    (b"SQLite format 3\0", ForeignFile::Sqlite),
    (b"\xff\xfe\0\0", ForeignFile::Utf32),
    (b"\0\0\xfe\xff", ForeignFile::Utf32),
    (b"\xff\xfe", ForeignFile::Utf16),
    (b"\xfe\xff", ForeignFile::Utf16),
    (b"TDF$", ForeignFile::TelegramDesktop),
    (b"TDEF", ForeignFile::TelegramDesktop),
    (b"PK\x03\x04", ForeignFile::Archive),
    (b"\x1f\x8b", ForeignFile::Archive),
    (b"\xfd7zXZ\0", ForeignFile::Archive),
    (b"\x28\xb5\x2f\xfd", ForeignFile::Archive),
    (b"7z\xbc\xaf\x27\x1c", ForeignFile::Archive),
];

/// The text of a whole file, without the marks and odd blanks that may stand in front of it. Lines that
/// end with a carriage return alone, as on old machines, get the usual end.
///
/// ```
/// use telepool::session::lines::{ForeignFile, file_text};
///
/// assert_eq!(file_text(b"\xef\xbb\xbf[pool]\rage_jitter = 0\r".to_vec())?, "[pool]\nage_jitter = 0\n");
/// assert_eq!(file_text(b"\xff\xfe[\0".to_vec()), Err(ForeignFile::Utf16));
/// # Ok::<(), ForeignFile>(())
/// ```
///
/// # Errors
/// What the file is in place of text in UTF-8.
pub fn file_text(bytes: Vec<u8>) -> Result<String, ForeignFile> {
    if let Some(kind) = ForeignFile::of_bytes(&bytes, false) {
        return Err(kind);
    }
    let text = String::from_utf8(bytes).map_err(|_| ForeignFile::OtherEncoding)?;
    // Line breaks stay: whatever is said of a line counts them.
    let is_mark = |c: char| is_invisible(c) || (c.is_whitespace() && !c.is_ascii());
    let text = text.trim_start_matches(is_mark);
    Ok(match text.contains('\r') && !text.contains('\n') {
        true => text.replace('\r', "\n"),
        false => text.to_owned(),
    })
}

impl ForeignFile {
    /// What the file is, in a few words.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "an SQLite database, as the `.session` files of Telethon and Pyrogram are"
            }
            Self::Utf16 => "text in UTF-16",
            Self::Utf32 => "text in UTF-32",
            Self::OtherEncoding => "text in another encoding than UTF-8, such as Latin-1",
            Self::TelegramDesktop => "a file of Telegram Desktop (tdata)",
            Self::Archive => "an archive",
            Self::Binary => "no text",
            Self::Array => "a JSON array",
            Self::Spread => "a JSON object over several lines",
            Self::Toml => "TOML, as a configuration is",
            Self::StringAlone => "a session string alone",
            Self::TokenAlone => "a bot's token alone",
            Self::Table => "a table (CSV)",
        }
    }

    /// Whether it would be what it should, were it saved in another way.
    #[must_use]
    pub fn is_encoding(self) -> bool {
        matches!(self, Self::Utf16 | Self::Utf32 | Self::OtherEncoding)
    }

    /// What makes lines of sessions of it.
    fn remedy(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "export its session as a string (`StringSession.save(client.session)`, \
                 `client.export_session_string()`)"
            }
            Self::Utf16 | Self::Utf32 | Self::OtherEncoding => "save the file as UTF-8",
            Self::TelegramDesktop => {
                "log in by another client, and export that session as a string"
            }
            Self::Archive => "unpack it first",
            Self::Binary => "give a file of lines",
            Self::Array => "leave out its brackets and the commas between the objects",
            Self::Spread => "put each session on one line",
            Self::Toml => "give the file of sessions",
            Self::StringAlone => "name the account beside it",
            Self::TokenAlone => "log the bot in with it, and export that session as a string",
            Self::Table => "write each of its rows as an object",
        }
    }

    /// What a file is that begins with these bytes, of which the last may be cut off. `None` if it may be
    /// text.
    pub(crate) fn of_bytes(bytes: &[u8], is_cut: bool) -> Option<Self> {
        let by_mark = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)).map(|(_, kind)| *kind);
        by_mark.or_else(|| wide(bytes)).or_else(|| {
            if bytes.contains(&0) {
                return Some(Self::Binary);
            }
            let error = std::str::from_utf8(bytes).err()?;
            if is_cut && error.error_len().is_none() {
                // It ends within a character.
                return None;
            }
            Some(match bytes.iter().any(|byte| is_no_text(*byte)) {
                true => Self::Binary,
                false => Self::OtherEncoding,
            })
        })
    }

    /// The same by the first line that is not blank, without the blanks around it.
    pub(crate) fn of_first_line(line: &[u8]) -> Option<Self> {
        match line {
            [b'[', ..] if is_toml_header(line) => Some(Self::Toml),
            [b'[', ..] => Some(Self::Array),
            b"{" => Some(Self::Spread),
            [b'{', ..] => None,
            _ if SessionString::parse(line) == Err(SessionStringError::BotToken) => {
                Some(Self::TokenAlone)
            }
            _ if is_session(line) => Some(Self::StringAlone),
            _ if is_row(line) => Some(Self::Table),
            _ => None,
        }
    }
}

impl fmt::Display for ForeignFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what(), self.remedy())
    }
}

impl std::error::Error for ForeignFile {}

/// What makes two bytes or four of a character of ASCII, when no mark says so.
fn wide(bytes: &[u8]) -> Option<ForeignFile> {
    let is_text = |byte: u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    match *bytes {
        [0, 0, 0, it, ..] | [it, 0, 0, 0, ..] if is_text(it) => Some(ForeignFile::Utf32),
        [0, it, ..] | [it, 0, ..] if is_text(it) => Some(ForeignFile::Utf16),
        _ => None,
    }
}

/// Whether a byte stands in no text, of whatever encoding.
fn is_no_text(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r' | b'\x0c' | b'\x1b')
}

/// Whether this is the header of a section or of a table of TOML, and no JSON array: a bare name within
/// the brackets.
fn is_toml_header(line: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(line) else { return false };
    let Some((name, rest)) = text.trim_start_matches('[').split_once(']') else { return false };
    let name = name.trim();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let rest = rest.trim_start_matches(']').trim_start();
    let ends = rest.is_empty() || rest.starts_with('#');
    is_name && ends && !["true", "false", "null"].contains(&name)
}

/// Whether this is a session string, or what is left of one: nothing else is so long without a blank or a
/// colon.
fn is_session(line: &[u8]) -> bool {
    const LEN: std::ops::RangeInclusive<usize> = 100..=1024;
    match SessionString::parse(line) {
        Ok(_) => true,
        Err(SessionStringError::Alphabet | SessionStringError::Empty) => false,
        Err(_) => {
            LEN.contains(&line.len())
                && line
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_+/=\"'".contains(byte))
        }
    }
}

/// Whether this is a row of a table: its columns are named, or a session string is in one of them. What
/// has a brace is an object that something stands in front of.
fn is_row(line: &[u8]) -> bool {
    const NAME: &[u8] = b"session";
    let is_column = |column: &[u8]| {
        column.windows(NAME.len()).any(|part| part.eq_ignore_ascii_case(NAME)) || is_session(column)
    };
    let mut columns = line.split(|byte| b",;:|\t".contains(byte));
    !line.contains(&b'{')
        && line.iter().any(|byte| b",;:|\t".contains(byte))
        && columns.any(is_column)
}
