//! The file of grammers.
//!
//! Owns its reading: the key of the home data centre and those of others; peers, whose ids are marked, and of
//! which one says that it is our own; update states, whose channels are not marked.

use rusqlite::types::ValueRef;

use super::cells::{self, channel};
use super::tables::Tables;
use crate::import::{FoundSession, ImportError, KnownPeer, Origin, PEERS_MAX, PeerKind};
use crate::session::{ChannelState, UpdateState};

/// How many data centres a file may have.
const ROWS_MAX: usize = 1000;

/// Bits of a user's subtype.
const OWN: i64 = 1;
const BOT: i64 = 2;
/// The same of a channel.
const MEGAGROUP: i64 = 4;
const BROADCAST: i64 = 8;

pub(super) fn read(tables: &Tables) -> Result<FoundSession, ImportError> {
    let home = home(tables)?;
    let mut found = session(tables, home)?;
    peers(tables, &mut found)?;
    states(tables, &mut found)?;
    Ok(found)
}

/// The home data centre. Where none stands nobody has moved from the one that is dialled first, which has been
/// another in other versions: it is the one that has a key, if there is one alone.
fn home(tables: &Tables) -> Result<Option<i32>, ImportError> {
    let mut home = None;
    if let Some(columns) = tables.columns("dc_home")? {
        tables.each(&columns, &["dc_id"], 1, |row| {
            home = Some(cells::data_centre(row.get_ref_unwrap(0))?);
            Ok(())
        })?;
    }
    Ok(home)
}

fn session(tables: &Tables, home: Option<i32>) -> Result<FoundSession, ImportError> {
    let signed_out = || ImportError::SignedOut { origin: Origin::Grammers };
    let columns = tables.columns("dc_option")?.ok_or_else(signed_out)?;
    let mut keys = Vec::new();
    tables.each(&columns, &["dc_id", "auth_key", "ipv4", "ipv6"], ROWS_MAX, |row| {
        if let Some(key) = cells::key(row.get_ref_unwrap(1))? {
            let dc = cells::data_centre(row.get_ref_unwrap(0))?;
            let address = cells::socket(row.get_ref_unwrap(2));
            keys.push((dc, key, address.or_else(|| cells::socket(row.get_ref_unwrap(3)))));
        }
        Ok(())
    })?;
    let place = match home {
        Some(home) => keys.iter().position(|(dc, ..)| *dc == home),
        None => (keys.len() == 1).then_some(0),
    };
    let (dc, key, address) = place.map(|place| keys.remove(place)).ok_or_else(signed_out)?;
    let mut found = FoundSession::new(Origin::Grammers, dc, key);
    found.address = address;
    found.foreign_keys = keys.into_iter().map(|(dc, key, _)| (dc, key)).collect();
    Ok(found)
}

fn peers(tables: &Tables, found: &mut FoundSession) -> Result<(), ImportError> {
    let Some(columns) = tables.columns("peer_info")? else { return Ok(()) };
    let wanted = ["peer_id", "hash", "subtype"];
    found.peers_left_out = tables.each(&columns, &wanted, PEERS_MAX, |row| {
        let Some(marked) = cells::number(row.get_ref_unwrap(0)) else { return Ok(()) };
        let subtype = cells::number(row.get_ref_unwrap(2)).unwrap_or_default();
        if marked > 0 && subtype & OWN != 0 {
            found.user_id = cells::user_id(ValueRef::Integer(marked));
            found.is_bot = found.user_id.map(|_| subtype & BOT != 0);
        }
        let Some((kind, id)) = bare(marked, subtype) else { return Ok(()) };
        let access_hash = match (kind, cells::number(row.get_ref_unwrap(1))) {
            (PeerKind::Chat, _) => 0,
            (_, Some(hash)) => hash,
            (_, None) => return Ok(()),
        };
        found.peers.push(KnownPeer { kind, id, access_hash, username: None });
        Ok(())
    })?;
    Ok(())
}

fn bare(marked: i64, subtype: i64) -> Option<(PeerKind, i64)> {
    if marked > 0 {
        let kind = if subtype & BOT != 0 { PeerKind::Bot } else { PeerKind::User };
        return cells::bare(kind, marked);
    }
    if let Some(id) = channel(marked) {
        let is_group = subtype & MEGAGROUP != 0 && subtype & BROADCAST == 0;
        let kind = if is_group { PeerKind::Megagroup } else { PeerKind::Channel };
        return Some((kind, id));
    }
    cells::bare(PeerKind::Chat, marked.checked_neg()?)
}

fn states(tables: &Tables, found: &mut FoundSession) -> Result<(), ImportError> {
    if let Some(columns) = tables.columns("update_state")? {
        tables.each(&columns, &["pts", "qts", "date", "seq"], 1, |row| {
            let number = |column| cells::small(row.get_ref_unwrap(column)).unwrap_or_default();
            let (pts, qts, date, seq) = (number(0), number(1), number(2), number(3));
            found.update_state = Some(UpdateState { pts, qts, date, seq });
            Ok(())
        })?;
    }
    if let Some(columns) = tables.columns("channel_state")? {
        tables.each(&columns, &["peer_id", "pts"], PEERS_MAX, |row| {
            let values =
                (cells::number(row.get_ref_unwrap(0)), cells::small(row.get_ref_unwrap(1)));
            if let (Some(id), Some(pts)) = values
                && let Some(channel) = cells::channel_of_state(id)
            {
                found.channel_states.push(ChannelState { channel, pts });
            }
            Ok(())
        })?;
    }
    Ok(())
}
