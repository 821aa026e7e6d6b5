//! Rows of the database as values, and back.
//!
//! Owns what may stand in a column. What makes no sense there is damage, and never a panic.

use std::net::SocketAddr;

use rusqlite::Row;

use crate::account_id::AccountId;
use crate::import::{Origin, PeerKind};
use crate::manager::QuarantineReason;
use crate::session::{ClientIdentity, KeyId};
use crate::store::{StoreError, StoreId, StoredSession};

/// A column of [`session`] and where it comes from.
pub(super) const SESSION: &str = "
    SELECT session.account, session.slot, session.key_id, session.dc, session.address, session.test_mode,
           session.api_id, identity.device_model, identity.system_version, identity.app_version,
           identity.system_lang_code, identity.lang_code, proxy.label, session.origin, session.created,
           session.login_at, session.quarantine, session.quarantined_at, session.id
      FROM session
      LEFT JOIN identity ON identity.id = session.identity
      JOIN account ON account.id = session.account
      LEFT JOIN proxy ON proxy.id = account.proxy";

/// A session as [`SESSION`] selects it.
pub(super) fn session(row: &Row<'_>) -> Result<StoredSession, StoreError> {
    let quarantine = match (row.get::<_, Option<String>>(16)?, row.get::<_, Option<i64>>(17)?) {
        (Some(label), at) => Some((reason(&label), at.unwrap_or(0).max(0).cast_unsigned())),
        (None, _) => None,
    };
    Ok(StoredSession {
        account: StoreId(row.get(0)?),
        slot: row.get(1)?,
        key_id: key_id(row.get(2)?),
        dc: row.get(3)?,
        address: address(&row.get::<_, String>(4)?)?,
        test_mode: row.get(5)?,
        api_id: row.get(6)?,
        identity: identity(row, 7)?,
        proxy: row.get(12)?,
        origin: Origin::from_label(&row.get::<_, String>(13)?),
        created: row.get::<_, i64>(14)?.max(0).cast_unsigned(),
        login_at: row.get::<_, Option<i64>>(15)?.map(|at| at.max(0).cast_unsigned()),
        quarantine,
    })
}

/// Five columns in a row, or none.
pub(super) fn identity(row: &Row<'_>, first: usize) -> Result<Option<ClientIdentity>, StoreError> {
    let Some(device) = row.get::<_, Option<String>>(first)? else { return Ok(None) };
    let text = |place: usize| row.get::<_, String>(first + place);
    let mut identity = ClientIdentity::new(device, text(1)?, text(2)?);
    (identity.system_lang_code, identity.lang_code) = (text(3)?, text(4)?);
    Ok(Some(identity))
}

pub(super) fn address(text: &str) -> Result<SocketAddr, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged { what: "an address that is none" })
}

/// A reason that a later version has written keeps its session out of service as well.
pub(super) fn reason(label: &str) -> QuarantineReason {
    let known = QuarantineReason::ALL.into_iter().find(|reason| reason.label() == label);
    known.unwrap_or(QuarantineReason::Operator)
}

/// The id of a key as the number that it is in a column.
pub(super) fn key_number(key: KeyId) -> i64 {
    key.number().cast_signed()
}

pub(super) fn key_id(number: i64) -> KeyId {
    KeyId::from_number(number.cast_unsigned())
}

pub(super) fn phone(number: i64) -> Result<AccountId, StoreError> {
    AccountId::phone(number.cast_unsigned())
        .map_err(|_| StoreError::Damaged { what: "a phone number that is none" })
}

/// Kinds of peers, with what tells apart those that have their ids out of one range.
const KINDS: [(PeerKind, i64, &str); 5] = [
    (PeerKind::User, 0, "user"),
    (PeerKind::Bot, 0, "bot"),
    (PeerKind::Chat, 1, "chat"),
    (PeerKind::Channel, 2, "channel"),
    (PeerKind::Megagroup, 2, "megagroup"),
];

/// The range of ids and the word of a kind of peer.
pub(super) fn peer_columns(kind: PeerKind) -> (i64, &'static str) {
    let row = KINDS.iter().find(|(it, ..)| *it == kind);
    row.map_or((0, "user"), |(_, space, word)| (*space, word))
}

pub(super) fn peer_kind(word: &str) -> Result<PeerKind, StoreError> {
    let row = KINDS.iter().find(|(.., it)| *it == word);
    row.map(|(kind, ..)| *kind).ok_or(StoreError::Damaged { what: "an unknown kind of peer" })
}
