//! Telethon's string, and its file of version 8.
//!
//! Owns the schema. The own id stands in the entity of id 0, as the client keeps it; channels are not marked among
//! the update states. A temporary key is never written: the client makes one for itself.

use std::net::SocketAddr;
use std::path::Path;

use rusqlite::Transaction;
use zeroize::Zeroizing;

use super::SessionExportError;
use super::database::{self, marked, own_phone, username};
use crate::import::FoundSession;
use crate::session::telethon_string;

const SCHEMA: &str = "
    CREATE TABLE version (version integer primary key);
    CREATE TABLE sessions (
        dc_id integer primary key,
        server_address text,
        port integer,
        auth_key blob,
        takeout_id integer,
        tmp_auth_key blob
    );
    CREATE TABLE entities (
        id integer primary key,
        hash integer not null,
        username text,
        phone integer,
        name text,
        date integer
    );
    CREATE TABLE sent_files (
        md5_digest blob,
        file_size integer,
        type integer,
        id integer,
        hash integer,
        primary key(md5_digest, file_size, type)
    );
    CREATE TABLE update_state (
        id integer primary key,
        pts integer,
        qts integer,
        date integer,
        seq integer
    );
    INSERT INTO version VALUES (8);";

pub(super) fn string(session: &FoundSession) -> Result<Zeroizing<String>, SessionExportError> {
    let address = address(session)?;
    telethon_string(session.dc, address, &session.key).map_err(|_| SessionExportError::DataCentre)
}

/// Where its data centre listens; all else that has to be there is looked at as well.
fn address(session: &FoundSession) -> Result<SocketAddr, SessionExportError> {
    if !(1..=255).contains(&session.dc) {
        return Err(SessionExportError::DataCentre);
    }
    if session.key.is_blank() {
        return Err(SessionExportError::NoKey);
    }
    let is_address = |it: &SocketAddr| !it.ip().is_unspecified() && it.port() != 0;
    session.address.filter(is_address).ok_or(SessionExportError::NoAddress)
}

pub(super) fn file(session: &FoundSession, path: &Path) -> Result<(), SessionExportError> {
    let address = address(session)?;
    database::create(path, SCHEMA, |step| {
        step.execute(
            "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, NULL, x'')",
            (session.dc, address.ip().to_string(), address.port(), &session.key.expose()[..]),
        )?;
        entities(step, session)?;
        states(step, session)
    })
}

fn entities(step: &Transaction<'_>, session: &FoundSession) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO entities VALUES (?1, ?2, ?3, ?4, NULL, NULL)";
    let mut statement = step.prepare(sql)?;
    if let Some(user_id) = session.user_id {
        statement.execute((0, user_id, None::<&str>, None::<i64>))?;
    }
    for peer in &session.peers {
        let phone = own_phone(session, peer).map(u64::cast_signed);
        statement.execute((marked(peer), peer.access_hash, username(peer), phone))?;
    }
    Ok(())
}

fn states(step: &Transaction<'_>, session: &FoundSession) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO update_state VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut statement = step.prepare(sql)?;
    let state = session.update_state;
    if let Some(it) = state {
        statement.execute((0, it.pts, it.qts, it.date, it.seq))?;
    }
    // A date has to be there: without one the client cannot open the file.
    let date = state.map_or(0, |it| it.date);
    for channel in &session.channel_states {
        statement.execute((channel.channel, channel.pts, 0, date, 0))?;
    }
    Ok(())
}
