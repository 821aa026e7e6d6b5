//! Files that hold sessions in another form, or something else altogether.
//!
//! Owns how each is recognised by its beginning, and what to do with it. Never reads on: whatever is
//! said of such a file is said once.

use crate::session::{SessionString, SessionStringError};

/// What a file is that holds no lines of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignFile {
    /// A database, as the `.session` files of Telethon and Pyrogram are.
    #[error(
        "an SQLite database, as the `.session` files of Telethon and Pyrogram are: export its session \
         as a string (`StringSession.save(client.session)`, `client.export_session_string()`)"
    )]
    Sqlite,
    /// Text of two bytes or four a character.
    #[error("text in UTF-16: save the file as UTF-8")]
    Utf16,
    /// A file of Telegram Desktop.
    #[error(
        "a file of Telegram Desktop (tdata): log in by another client, and export that session as a \
         string"
    )]
    TelegramDesktop,
    /// Something packed.
    #[error("an archive: unpack it first")]
    Archive,
    /// Bytes that are no text.
    #[error("no text: give a file of lines")]
    Binary,
    /// A JSON array.
    #[error("a JSON array: leave out its brackets and the commas between the objects")]
    Array,
    /// An object that goes over several lines.
    #[error("a JSON object over several lines: put each session on one line")]
    Spread,
    /// A session string, or one a line.
    #[error("a session string alone: name the account beside it")]
    StringAlone,
    /// A table.
    #[error("a table (CSV): write each of its rows as an object")]
    Table,
}

/// What begins a file, and what it is then.
const MARKS: [(&[u8], ForeignFile); 8] = [
    (b"SQLite format 3\0", ForeignFile::Sqlite),
    (b"\xff\xfe", ForeignFile::Utf16),
    (b"\xfe\xff", ForeignFile::Utf16),
    (b"\0\0\xfe\xff", ForeignFile::Utf16),
    (b"TDF$", ForeignFile::TelegramDesktop),
    (b"TDEF", ForeignFile::TelegramDesktop),
    (b"PK\x03\x04", ForeignFile::Archive),
    (b"\x1f\x8b", ForeignFile::Archive),
];

impl ForeignFile {
    /// What a file is whose first line is this, or as much of it as a line may have. `None` if it may be
    /// one of sessions.
    pub(super) fn of_start(line: &[u8]) -> Option<Self> {
        if let Some((_, kind)) = MARKS.iter().find(|(mark, _)| line.starts_with(mark)) {
            return Some(*kind);
        }
        // What UTF-16 makes of `{"`, when no mark says so.
        if let [0, b'{' | b'[', ..] | [b'{' | b'[', 0, ..] = line {
            return Some(Self::Utf16);
        }
        line.contains(&0).then_some(Self::Binary)
    }

    /// The same by the first line that is not blank, without the blanks around it.
    pub(super) fn of_first_line(line: &[u8]) -> Option<Self> {
        match line {
            [b'[', ..] => Some(Self::Array),
            b"{" => Some(Self::Spread),
            [b'{', ..] => None,
            _ if is_session(line) => Some(Self::StringAlone),
            _ if is_row(line) => Some(Self::Table),
            _ => None,
        }
    }
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

/// Whether this is a row of a table: its columns are named, or a session string is in one of them.
fn is_row(line: &[u8]) -> bool {
    const NAME: &[u8] = b"session";
    let is_column = |column: &[u8]| {
        column.windows(NAME.len()).any(|part| part.eq_ignore_ascii_case(NAME)) || is_session(column)
    };
    let mut columns = line.split(|byte| b",;:|\t".contains(byte));
    line.iter().any(|byte| b",;:|\t".contains(byte)) && columns.any(is_column)
}
