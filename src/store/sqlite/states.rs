//! Peers, update states, and who serves the store.
//!
//! Owns these tables. What is there wins over what an import brings, unless that is newer.

use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::rows;
use crate::import::{FoundSession, KnownPeer, PeerKind};
use crate::session::{ChannelState, UpdateState, UpdateStates};
use crate::store::{ServeMark, StoreError, StoreId};

/// Adds the peers and states that were found with a session.
pub(super) fn add(
    step: &Transaction<'_>,
    account: i64,
    found: &FoundSession,
) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO peer (account, space, id, kind, access_hash, username)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut statement = step.prepare_cached(sql)?;
    for peer in &found.peers {
        let (space, kind) = rows::peer_columns(peer.kind);
        let hash = peer.access_hash;
        statement.execute((account, space, peer.id, kind, hash, peer.username.as_deref()))?;
    }
    let sql = "SELECT date FROM update_state WHERE account = ?1";
    let known: Option<i32> =
        step.prepare_cached(sql)?.query_row([account], |row| row.get(0)).optional()?;
    let newer = found.update_state.filter(|state| known.is_none_or(|date| state.date > date));
    let channels = match known.is_none() || newer.is_some() {
        true => found.channel_states.clone(),
        false => Vec::new(),
    };
    set(step, account, &UpdateStates::new(newer, channels))
}

pub(super) fn set(
    step: &Transaction<'_>,
    account: i64,
    states: &UpdateStates,
) -> Result<(), StoreError> {
    if let Some(UpdateState { pts, qts, date, seq }) = states.account {
        let sql = "INSERT OR REPLACE INTO update_state (account, pts, qts, date, seq)
                   SELECT id, ?2, ?3, ?4, ?5 FROM account WHERE id = ?1";
        step.prepare_cached(sql)?.execute((account, pts, qts, date, seq))?;
    }
    let sql = "DELETE FROM channel_state WHERE account = ?1 AND channel = ?2";
    let mut statement = step.prepare_cached(sql)?;
    for channel in &states.gone_channels {
        statement.execute((account, channel))?;
    }
    let sql = "INSERT OR REPLACE INTO channel_state (account, channel, pts)
               SELECT id, ?2, ?3 FROM account WHERE id = ?1";
    let mut statement = step.prepare_cached(sql)?;
    for ChannelState { channel, pts } in &states.channels {
        statement.execute((account, channel, pts))?;
    }
    set_access_hashes(step, account, &states.access_hashes)
}

/// Notes how channels are addressed. What an import has told of one besides stays.
fn set_access_hashes(
    step: &Transaction<'_>,
    account: i64,
    access_hashes: &[(i64, i64)],
) -> Result<(), StoreError> {
    let (space, kind) = rows::peer_columns(PeerKind::Channel);
    let sql = "INSERT INTO peer (account, space, id, kind, access_hash)
               SELECT id, ?2, ?3, ?4, ?5 FROM account WHERE id = ?1
               ON CONFLICT DO UPDATE SET access_hash = excluded.access_hash";
    let mut statement = step.prepare_cached(sql)?;
    for (channel, hash) in access_hashes {
        statement.execute((account, space, channel, kind, hash))?;
    }
    Ok(())
}

pub(super) fn update_states(
    database: &Connection,
    account: StoreId,
) -> Result<UpdateStates, StoreError> {
    let sql = "SELECT pts, qts, date, seq FROM update_state WHERE account = ?1";
    let state = database.prepare_cached(sql)?.query_row([account.0], |row| {
        Ok(UpdateState { pts: row.get(0)?, qts: row.get(1)?, date: row.get(2)?, seq: row.get(3)? })
    });
    let sql = "SELECT channel, pts FROM channel_state WHERE account = ?1 ORDER BY channel";
    let mut statement = database.prepare_cached(sql)?;
    let channels = statement.query_map([account.0], |row| {
        Ok(ChannelState { channel: row.get(0)?, pts: row.get(1)? })
    })?;
    let channels = channels.collect::<Result<_, _>>()?;
    let mut states = UpdateStates::new(state.optional()?, channels);
    let sql = "SELECT id, access_hash FROM peer WHERE account = ?1 AND space = ?2 ORDER BY id";
    let (space, _) = rows::peer_columns(PeerKind::Channel);
    let mut statement = database.prepare_cached(sql)?;
    let hashes = statement.query_map((account.0, space), |row| Ok((row.get(0)?, row.get(1)?)))?;
    states.access_hashes = hashes.collect::<Result<_, _>>()?;
    Ok(states)
}

pub(super) fn peers(
    database: &Connection,
    account: StoreId,
    visit: &mut dyn FnMut(KnownPeer),
) -> Result<(), StoreError> {
    let sql =
        "SELECT kind, id, access_hash, username FROM peer WHERE account = ?1 ORDER BY space, id";
    let mut statement = database.prepare_cached(sql)?;
    let mut found = statement.query([account.0])?;
    while let Some(row) = found.next()? {
        let kind = rows::peer_kind(row.get_ref(0)?.as_str().unwrap_or_default())?;
        let username = row.get::<_, Option<String>>(3)?.map(String::into_boxed_str);
        visit(KnownPeer { kind, id: row.get(1)?, access_hash: row.get(2)?, username });
    }
    Ok(())
}

pub(super) fn serve_mark(database: &Connection) -> Result<Option<ServeMark>, StoreError> {
    let sql = "SELECT machine, pid, since, heartbeat, socket, released FROM owner WHERE id = 0";
    let mark = database.prepare_cached(sql)?.query_row((), |row| {
        Ok(ServeMark {
            machine: row.get(0)?,
            pid: row.get(1)?,
            since: row.get::<_, i64>(2)?.max(0).cast_unsigned(),
            heartbeat: row.get::<_, i64>(3)?.max(0).cast_unsigned(),
            socket: row.get(4)?,
            released: row.get(5)?,
        })
    });
    Ok(mark.optional()?)
}

pub(super) fn set_serve_mark(step: &Transaction<'_>, mark: &ServeMark) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO owner (id, machine, pid, since, heartbeat, socket, released)
               VALUES (0, ?1, ?2, ?3, ?4, ?5, ?6)";
    let (since, heartbeat) = (mark.since.cast_signed(), mark.heartbeat.cast_signed());
    let ServeMark { machine, pid, socket, released, .. } = mark;
    step.execute(sql, (machine, pid, since, heartbeat, socket, released))?;
    Ok(())
}
