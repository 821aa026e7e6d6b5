//! The string of Pyrogram 2, and its file of version 3, which its descendants change in place.
//!
//! Owns the schema. Neither has a place for an address or for update states.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Transaction;
use zeroize::Zeroizing;

use super::SessionExportError;
use super::database::{self, marked, own_phone, username};
use crate::account_id::USER_ID_MAX;
use crate::import::{FoundSession, PeerKind};
use crate::session::AuthKey;

/// Bytes behind the string, `>BI?256sQ?`, and its characters.
const STRING_LEN: usize = 1 + 4 + 1 + AuthKey::LEN + 8 + 1;
const STRING_TEXT_LEN: usize = (STRING_LEN * 4).div_ceil(3);

const SCHEMA: &str = "
    CREATE TABLE sessions
    (
        dc_id     INTEGER PRIMARY KEY,
        api_id    INTEGER,
        test_mode INTEGER,
        auth_key  BLOB,
        date      INTEGER NOT NULL,
        user_id   INTEGER,
        is_bot    INTEGER
    );
    CREATE TABLE peers
    (
        id             INTEGER PRIMARY KEY,
        access_hash    INTEGER,
        type           INTEGER NOT NULL,
        username       TEXT,
        phone_number   TEXT,
        last_update_on INTEGER NOT NULL DEFAULT (CAST(STRFTIME('%s', 'now') AS INTEGER))
    );
    CREATE TABLE version
    (
        number INTEGER PRIMARY KEY
    );
    CREATE INDEX idx_peers_id ON peers (id);
    CREATE INDEX idx_peers_username ON peers (username);
    CREATE INDEX idx_peers_phone_number ON peers (phone_number);
    CREATE TRIGGER trg_peers_last_update_on
        AFTER UPDATE
        ON peers
    BEGIN
        UPDATE peers
        SET last_update_on = CAST(STRFTIME('%s', 'now') AS INTEGER)
        WHERE id = NEW.id;
    END;
    INSERT INTO version VALUES (3);";

/// What both forms say of a session. A client that finds no user in its file asks for a login, and writes that over
/// the key.
struct PyrogramLogin {
    dc: u8,
    api_id: u32,
    test_mode: bool,
    user_id: i64,
    is_bot: bool,
}

impl PyrogramLogin {
    fn of(session: &FoundSession) -> Result<Self, SessionExportError> {
        if session.key.is_blank() {
            return Err(SessionExportError::NoKey);
        }
        let dc = u8::try_from(session.dc).ok().filter(|dc| *dc != 0);
        let user_id = session.user_id.filter(|id| (1..=USER_ID_MAX).contains(id));
        let api_id = session.api_id.and_then(|id| u32::try_from(id).ok()).filter(|id| *id != 0);
        Ok(Self {
            dc: dc.ok_or(SessionExportError::DataCentre)?,
            user_id: user_id.ok_or(SessionExportError::Unidentified)?,
            is_bot: session.is_bot.ok_or(SessionExportError::Unidentified)?,
            api_id: api_id.ok_or(SessionExportError::NoApplication)?,
            test_mode: session.test_mode.unwrap_or(false),
        })
    }
}

pub(super) fn string(session: &FoundSession) -> Result<Zeroizing<String>, SessionExportError> {
    let login = PyrogramLogin::of(session)?;
    // The capacities are exact, so that no reallocation leaves a copy of the key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(STRING_LEN));
    bytes.push(login.dc);
    bytes.extend_from_slice(&login.api_id.to_be_bytes());
    bytes.push(u8::from(login.test_mode));
    bytes.extend_from_slice(session.key.expose());
    bytes.extend_from_slice(&login.user_id.to_be_bytes());
    bytes.push(u8::from(login.is_bot));
    let mut text = Zeroizing::new(String::with_capacity(STRING_TEXT_LEN));
    URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
    Ok(text)
}

pub(super) fn file(session: &FoundSession, path: &Path) -> Result<(), SessionExportError> {
    let login = PyrogramLogin::of(session)?;
    database::create(path, SCHEMA, |step| {
        let PyrogramLogin { dc, api_id, test_mode, user_id, is_bot } = login;
        step.execute(
            "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)",
            (dc, api_id, test_mode, &session.key.expose()[..], user_id, is_bot),
        )?;
        peers(step, session)
    })
}

fn peers(step: &Transaction<'_>, session: &FoundSession) -> rusqlite::Result<()> {
    // Nobody knows how old the names are: from so long ago, the client asks for them once more.
    let sql = "INSERT OR IGNORE INTO peers VALUES (?1, ?2, ?3, ?4, ?5, 0)";
    let mut statement = step.prepare(sql)?;
    for peer in &session.peers {
        let kind = match peer.kind {
            PeerKind::User => "user",
            PeerKind::Bot => "bot",
            PeerKind::Chat => "group",
            PeerKind::Channel => "channel",
            PeerKind::Megagroup => "supergroup",
        };
        let phone = own_phone(session, peer).map(|number| number.to_string());
        statement.execute((marked(peer), peer.access_hash, kind, username(peer), phone))?;
    }
    Ok(())
}
