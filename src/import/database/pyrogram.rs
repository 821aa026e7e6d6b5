//! The files of Pyrogram 1 and 2, Kurigram, pyrofork and pyrotgfork.
//!
//! Owns their reading. A program of the family changes the files of its relatives in place, so that any
//! combination of their columns may be there; each is taken by its name.

use std::collections::HashMap;

use super::cells::{self, channel};
use super::tables::{Columns, Tables};
use super::telethon::states;
use crate::import::{FoundSession, ImportError, KnownPeer, Origin, PEERS_MAX, PeerKind};

/// Public names by the id of whom they belong to, the first of each.
type Usernames = HashMap<i64, Box<str>>;

pub(super) fn read(tables: &Tables, sessions: &Columns) -> Result<FoundSession, ImportError> {
    let origin = origin(tables, sessions)?;
    let mut found = session(tables, sessions, origin)?;
    peers(tables, &mut found)?;
    states(tables, &mut found)?;
    Ok(found)
}

/// Whose file it is, as far as its columns tell: before version 7, that of Kurigram is as that of pyrotgfork.
fn origin(tables: &Tables, sessions: &Columns) -> Result<Origin, ImportError> {
    if sessions.has(&["server_address"]) {
        return Ok(Origin::Kurigram);
    }
    Ok(match tables.columns("usernames")? {
        Some(it) if it.has(&["peer_id"]) => Origin::Pyrofork,
        Some(_) => Origin::Pyrotgfork,
        None => Origin::Pyrogram,
    })
}

fn session(
    tables: &Tables,
    columns: &Columns,
    origin: Origin,
) -> Result<FoundSession, ImportError> {
    let mut found = None;
    let wanted =
        ["dc_id", "auth_key", "test_mode", "user_id", "is_bot", "api_id", "server_address", "port"];
    // There is never more than one row: all of them are changed at once.
    tables.each(columns, &wanted, 1, |row| {
        let Some(key) = cells::key(row.get_ref_unwrap(1))? else { return Ok(()) };
        let dc = cells::data_centre(row.get_ref_unwrap(0))?;
        let mut session = FoundSession::new(origin, dc, key);
        session.test_mode = cells::flag(row.get_ref_unwrap(2));
        session.user_id = cells::user_id(row.get_ref_unwrap(3));
        session.is_bot = cells::flag(row.get_ref_unwrap(4)).filter(|_| session.user_id.is_some());
        session.api_id = cells::small(row.get_ref_unwrap(5)).filter(|id| *id > 0);
        session.address = cells::address(row.get_ref_unwrap(6), row.get_ref_unwrap(7));
        found = Some(session);
        Ok(())
    })?;
    found.ok_or(ImportError::SignedOut { origin })
}

fn peers(tables: &Tables, found: &mut FoundSession) -> Result<(), ImportError> {
    let Some(columns) = tables.columns("peers")? else { return Ok(()) };
    let mut names = usernames(tables)?;
    let wanted = ["id", "access_hash", "type", "username", "phone_number"];
    found.peers_left_out = tables.each(&columns, &wanted, PEERS_MAX, |row| {
        let Some(marked) = cells::number(row.get_ref_unwrap(0)) else { return Ok(()) };
        if Some(marked) == found.user_id {
            found.phone = cells::phone(row.get_ref_unwrap(4));
        }
        let word = row.get_ref_unwrap(2).as_str().unwrap_or_default();
        let Some((kind, id)) = bare(word, marked) else { return Ok(()) };
        let hash = cells::number(row.get_ref_unwrap(1));
        let access_hash = match kind {
            PeerKind::Chat => 0,
            _ => match hash {
                Some(hash) => hash,
                None => return Ok(()),
            },
        };
        let username = names.remove(&marked).or_else(|| cells::username(row.get_ref_unwrap(3)));
        found.peers.push(KnownPeer { kind, id, access_hash, username });
        Ok(())
    })?;
    Ok(())
}

/// What a word and a marked id stand for.
fn bare(word: &str, marked: i64) -> Option<(PeerKind, i64)> {
    let kind = match word {
        "user" => PeerKind::User,
        "bot" => PeerKind::Bot,
        "group" => PeerKind::Chat,
        "supergroup" | "forum" => PeerKind::Megagroup,
        "channel" | "direct" | "community" => PeerKind::Channel,
        _ => return None,
    };
    let id = match kind {
        PeerKind::User | PeerKind::Bot => Some(marked),
        PeerKind::Chat => marked.checked_neg(),
        PeerKind::Channel | PeerKind::Megagroup => channel(marked),
    };
    cells::bare(kind, id?)
}

/// The table has the name under `username`, and that of pyrofork under `id`.
fn usernames(tables: &Tables) -> Result<Usernames, ImportError> {
    let mut names = Usernames::new();
    let Some(columns) = tables.columns("usernames")? else { return Ok(names) };
    let wanted = match columns.has(&["peer_id"]) {
        true => ["peer_id", "id"],
        false => ["id", "username"],
    };
    tables.each(&columns, &wanted, PEERS_MAX, |row| {
        let id = cells::number(row.get_ref_unwrap(0));
        if let (Some(id), Some(name)) = (id, cells::username(row.get_ref_unwrap(1))) {
            names.entry(id).or_insert(name);
        }
        Ok(())
    })?;
    Ok(names)
}
