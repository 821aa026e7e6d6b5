//! Sign-ins under way, and what is left of sessions that were ended.
//!
//! Owns these tables. What a sign-in is like is not known here: it is bytes.

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use zeroize::Zeroizing;

use super::rows::key_number;
use super::{add, unix_now};
use crate::session::KeyId;
use crate::store::{Added, Addition, NewSession, PendingLogin, StoreError};

/// So many tokens are kept of a user: as many as a sign-in may show.
const LOGOUT_TOKENS_MAX: i64 = 20;

/// Returns whether there was none of that name.
pub(super) fn begin(step: &Transaction<'_>, login: &PendingLogin) -> Result<bool, StoreError> {
    let sql =
        "INSERT OR IGNORE INTO pending_login (name, login, started, state) VALUES (?1, ?2, ?3, ?4)";
    let (id, started) = (login.id.cast_signed(), login.started.cast_signed());
    let row = (&login.name, id, started, &login.state[..]);
    Ok(step.prepare_cached(sql)?.execute(row)? > 0)
}

/// Returns whether it was there.
pub(super) fn keep(step: &Transaction<'_>, login: &PendingLogin) -> Result<bool, StoreError> {
    let sql = "UPDATE pending_login SET state = ?3 WHERE name = ?1 AND login = ?2";
    let row = (&login.name, login.id.cast_signed(), &login.state[..]);
    Ok(step.prepare_cached(sql)?.execute(row)? > 0)
}

pub(super) fn all(database: &Connection) -> Result<Vec<PendingLogin>, StoreError> {
    let sql = "SELECT name, login, started, state FROM pending_login ORDER BY id";
    let mut statement = database.prepare_cached(sql)?;
    let mut found = statement.query(())?;
    let mut logins = Vec::new();
    while let Some(row) = found.next()? {
        let (name, id, started): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (id, started) = (id.cast_unsigned(), started.cast_unsigned());
        logins.push(PendingLogin { name, id, started, state: Zeroizing::new(row.get(3)?) });
    }
    Ok(logins)
}

/// Returns whether there was one.
pub(super) fn forget(step: &Transaction<'_>, name: &str, id: u64) -> Result<bool, StoreError> {
    let sql = "DELETE FROM pending_login WHERE name = ?1 AND login = ?2";
    Ok(step.execute(sql, (name, id.cast_signed()))? > 0)
}

/// What a sign-in has come to goes in, and the sign-in goes; unless it is refused.
pub(super) fn finish(
    step: &Transaction<'_>,
    (name, id): (&str, u64),
    session: &NewSession,
    replaces: Option<KeyId>,
) -> Result<Addition, StoreError> {
    let addition = add::add(step, session, add::Keep::Everything)?;
    if !matches!(addition.outcome, Added::Refused(_)) {
        forget(step, name, id)?;
        if let Some(key) = replaces {
            let sql = "INSERT OR REPLACE INTO removed_key (key_id, removed) VALUES (?1, ?2)";
            step.execute(sql, (key_number(key), unix_now()))?;
        }
    }
    Ok(addition)
}

pub(super) fn was_removed(database: &Connection, key: KeyId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM removed_key WHERE key_id = ?1";
    let found = database.prepare_cached(sql)?.query_row([key_number(key)], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

pub(super) fn add_logout_token(
    step: &Transaction<'_>,
    user_id: i64,
    token: &[u8],
) -> Result<(), StoreError> {
    let sql = "INSERT INTO logout_token (user_id, token, added) VALUES (?1, ?2, ?3)";
    step.execute(sql, (user_id, token, unix_now()))?;
    let sql = "DELETE FROM logout_token WHERE user_id = ?1 AND id NOT IN
               (SELECT id FROM logout_token WHERE user_id = ?1 ORDER BY id DESC LIMIT ?2)";
    step.execute(sql, (user_id, LOGOUT_TOKENS_MAX))?;
    Ok(())
}

pub(super) fn logout_tokens(
    database: &Connection,
    user_id: i64,
) -> Result<Vec<Zeroizing<Vec<u8>>>, StoreError> {
    let sql = "SELECT token FROM logout_token WHERE user_id = ?1 ORDER BY id";
    let mut statement = database.prepare_cached(sql)?;
    let tokens = statement.query_map([user_id], |row| row.get(0).map(Zeroizing::new))?;
    Ok(tokens.collect::<Result<_, _>>()?)
}
