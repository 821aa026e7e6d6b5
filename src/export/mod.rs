//! Sessions for other programs: written as those write them, so that whoever brought them here can take them away.
//!
//! Owns the written forms. What is written holds the key in clear, so that each text is wiped when dropped and each
//! file is new, its user's alone, and there whole or not at all. Never dials, never overwrites a file, and never
//! repeats key material in an error.
//!
//! | format | string | file |
//! |---|---|---|
//! | [`Telethon`](ExportFormat::Telethon) | `StringSession` 1 | version 8, of 1.45: with peers and update states |
//! | [`Pyrogram`](ExportFormat::Pyrogram) | of Pyrogram 2 | version 3, of 2.0.106: with peers |
//!
//! Two programs with one session make Telegram void it: one of the two has to stay stopped from then on.

mod database;
mod error;
mod new_file;
mod pyrogram;
mod telethon;

use std::path::Path;

pub use error::SessionExportError;
pub use new_file::text_file;
use zeroize::Zeroizing;

use crate::import::FoundSession;

/// Whose format a session is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExportFormat {
    /// That of Telethon.
    Telethon,
    /// That of Pyrogram 2, which Kurigram, pyrofork and pyrotgfork read as well, and whose file they change in place
    /// to theirs. It has to say whose the session is and which application has logged in, and has no place for an
    /// address: these programs dial those of Telegram.
    Pyrogram,
}

/// A session as a string.
///
/// ```
/// use telepool::export::{self, SessionExportError, ExportFormat};
/// use telepool::import::{FoundSession, Origin};
/// use telepool::session::{AuthKey, SessionString};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut session = FoundSession::new(Origin::Telethon, 2, AuthKey::new([7; 256]));
/// session.user_id = Some(777000);
/// session.is_bot = Some(false);
/// let written = export::string(&session, ExportFormat::Pyrogram);
/// assert!(matches!(written, Err(SessionExportError::NoApplication)));
///
/// session.api_id = Some(12345);
/// let text = export::string(&session, ExportFormat::Pyrogram)?;
/// assert_eq!(SessionString::parse(text.as_bytes())?.api_id, Some(12345));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The format says what is not known of the session, or cannot hold it.
pub fn string(
    session: &FoundSession,
    format: ExportFormat,
) -> Result<Zeroizing<String>, SessionExportError> {
    match format {
        ExportFormat::Telethon => telethon::string(session),
        ExportFormat::Pyrogram => pyrogram::string(session),
    }
}

/// Writes a session into a new file, a database of this format.
///
/// # Errors
/// Those of [`string`], that something stands at the path, and that the system refuses. Then nothing is left there.
pub fn file(
    session: &FoundSession,
    format: ExportFormat,
    path: &Path,
) -> Result<(), SessionExportError> {
    match format {
        ExportFormat::Telethon => telethon::file(session, path),
        ExportFormat::Pyrogram => pyrogram::file(session, path),
    }
}

#[cfg(test)]
mod tests;
