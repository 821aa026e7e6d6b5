//! Databases as other programs have them: one new file each.
//!
//! Owns how one is written, and the marks that ids of peers have in all of them. Never leaves a journal beside one.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Transaction};

use super::{SessionExportError, new_file};
use crate::import::{FoundSession, KnownPeer, PeerKind};

/// What is taken off the id of a channel to mark it.
const CHANNEL_ZERO: i64 = -1_000_000_000_000;

/// Makes a database of this schema in a new file, and has it filled in one step.
pub(super) fn create(
    path: &Path,
    schema: &str,
    fill: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
) -> Result<(), SessionExportError> {
    new_file::write(path, |file| {
        filled(file.path(), schema, fill)
            .map_err(|error| SessionExportError::Database { path: path.to_owned(), error })
    })
}

fn filled(
    path: &Path,
    schema: &str,
    fill: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut database = Connection::open_with_flags(path, flags)?;
    // What fails is thrown away as a whole, and what went well is written to disk before it gets its name.
    database.pragma_update(None, "journal_mode", "off")?;
    database.pragma_update(None, "synchronous", "off")?;
    let step = database.transaction()?;
    step.execute_batch(schema)?;
    fill(&step)?;
    step.commit()?;
    database.close().map_err(|(_, error)| error)
}

/// The id of a peer with the mark that tells what it is.
pub(super) const fn marked(peer: &KnownPeer) -> i64 {
    match peer.kind {
        PeerKind::User | PeerKind::Bot => peer.id,
        PeerKind::Chat => -peer.id,
        PeerKind::Channel | PeerKind::Megagroup => CHANNEL_ZERO - peer.id,
    }
}

/// The public name of a peer as both programs look for one: in small letters.
pub(super) fn username(peer: &KnownPeer) -> Option<String> {
    peer.username.as_deref().map(str::to_ascii_lowercase)
}

/// The phone number of a peer that is the account itself: the formats have no other place for it.
pub(super) fn own_phone(session: &FoundSession, peer: &KnownPeer) -> Option<u64> {
    let is_own = Some(marked(peer)) == session.user_id;
    session.phone.filter(|phone| is_own && phone.is_phone()).map(|phone| phone.number())
}
