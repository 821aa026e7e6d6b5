//! Telethon's file, of any version.
//!
//! Owns its reading: the first session that has a key, which is the one Telethon takes; entities, whose ids are
//! marked, and of which that of id 0 has our own id in place of a hash; update states, whose channels are not
//! marked. Never takes the temporary key for the key.

use super::cells::{self, channel};
use super::tables::Tables;
use crate::import::{FoundSession, ImportError, KnownPeer, Origin, PEERS_MAX, PeerKind};
use crate::session::{ChannelState, UpdateState};

/// How many sessions a file may have: it has one for each data centre, at most.
const ROWS_MAX: usize = 1000;

pub(super) fn read(tables: &Tables) -> Result<FoundSession, ImportError> {
    let mut found = session(tables)?;
    peers(tables, &mut found)?;
    states(tables, &mut found)?;
    Ok(found)
}

fn session(tables: &Tables) -> Result<FoundSession, ImportError> {
    let mut found = None;
    if let Some(columns) = tables.columns("sessions")? {
        let wanted = ["dc_id", "server_address", "port", "auth_key"];
        tables.each(&columns, &wanted, ROWS_MAX, |row| {
            if let (None, Some(key)) = (&found, cells::key(row.get_ref_unwrap(3))?) {
                let dc = cells::data_centre(row.get_ref_unwrap(0))?;
                let mut session = FoundSession::new(Origin::Telethon, dc, key);
                session.address = cells::address(row.get_ref_unwrap(1), row.get_ref_unwrap(2));
                found = Some(session);
            }
            Ok(())
        })?;
    }
    found.ok_or(ImportError::SignedOut { origin: Origin::Telethon })
}

fn peers(tables: &Tables, found: &mut FoundSession) -> Result<(), ImportError> {
    let Some(columns) = tables.columns("entities")? else { return Ok(()) };
    let mut phones = Vec::new();
    let wanted = ["id", "hash", "username", "phone"];
    found.peers_left_out = tables.each(&columns, &wanted, PEERS_MAX, |row| {
        let numbers = (cells::number(row.get_ref_unwrap(0)), cells::number(row.get_ref_unwrap(1)));
        let (Some(id), Some(hash)) = numbers else { return Ok(()) };
        if id == 0 {
            found.user_id = cells::user_id(row.get_ref_unwrap(1));
            return Ok(());
        }
        if let Some(phone) = cells::phone(row.get_ref_unwrap(3)) {
            phones.push((id, phone));
        }
        let username = cells::username(row.get_ref_unwrap(2));
        found.peers.extend(bare(id, hash).map(|(kind, id)| {
            let access_hash = if kind == PeerKind::Chat { 0 } else { hash };
            KnownPeer { kind, id, access_hash, username }
        }));
        Ok(())
    })?;
    let own = phones.into_iter().find(|(id, _)| Some(*id) == found.user_id);
    found.phone = own.map(|(_, phone)| phone);
    Ok(())
}

/// What a marked id stands for. Before 2021 a channel's was its digits behind `-100`, however many it has; a
/// small group, whose id may look the same, has no hash.
fn bare(marked: i64, hash: i64) -> Option<(PeerKind, i64)> {
    if marked > 0 {
        return cells::bare(PeerKind::User, marked);
    }
    if let Some(id) = channel(marked) {
        return Some((PeerKind::Channel, id));
    }
    let chat = marked.checked_neg()?;
    let digits = chat.to_string();
    match digits.strip_prefix("100").filter(|it| hash != 0 && !it.starts_with('0')) {
        Some(digits) => cells::bare(PeerKind::Channel, digits.parse().ok()?),
        None => cells::bare(PeerKind::Chat, chat),
    }
}

/// Also for the programs whose table has the same columns.
pub(super) fn states(tables: &Tables, found: &mut FoundSession) -> Result<(), ImportError> {
    let Some(columns) = tables.columns("update_state")? else { return Ok(()) };
    let wanted = ["id", "pts", "qts", "date", "seq"];
    tables.each(&columns, &wanted, PEERS_MAX, |row| {
        let values = (cells::number(row.get_ref_unwrap(0)), cells::small(row.get_ref_unwrap(1)));
        let (Some(id), Some(pts)) = values else { return Ok(()) };
        let number = |column| cells::small(row.get_ref_unwrap(column)).unwrap_or_default();
        if id == 0 {
            let (qts, date, seq) = (number(2), number(3), number(4));
            found.update_state = Some(UpdateState { pts, qts, date, seq });
        } else if let Some(channel) = cells::channel_of_state(id) {
            found.channel_states.push(ChannelState { channel, pts });
        }
        Ok(())
    })?;
    Ok(())
}
