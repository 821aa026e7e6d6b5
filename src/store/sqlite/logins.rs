//! Sign-ins under way, and what is left of sessions that were ended.
//!
//! Owns these tables. What a sign-in is like is not known here: it is bytes.

use rusqlite::{Connection, Transaction};
use zeroize::Zeroizing;

use super::unix_now;
use crate::store::{PendingLogin, StoreError};

/// So many tokens are kept of a user: as many as a sign-in may show.
const LOGOUT_TOKENS_MAX: i64 = 20;

pub(super) fn keep(step: &Transaction<'_>, login: &PendingLogin) -> Result<(), StoreError> {
    let sql = "INSERT INTO pending_login (name, started, state) VALUES (?1, ?2, ?3)
               ON CONFLICT (name) DO UPDATE SET state = excluded.state";
    let started = login.started.cast_signed();
    step.prepare_cached(sql)?.execute((&login.name, started, &login.state[..]))?;
    Ok(())
}

pub(super) fn all(database: &Connection) -> Result<Vec<PendingLogin>, StoreError> {
    let sql = "SELECT name, started, state FROM pending_login ORDER BY id";
    let mut statement = database.prepare_cached(sql)?;
    let mut found = statement.query(())?;
    let mut logins = Vec::new();
    while let Some(row) = found.next()? {
        let (name, started): (String, i64) = (row.get(0)?, row.get(1)?);
        let state = Zeroizing::new(row.get(2)?);
        logins.push(PendingLogin { name, started: started.cast_unsigned(), state });
    }
    Ok(logins)
}

/// Returns whether there was one.
pub(super) fn forget(step: &Transaction<'_>, name: &str) -> Result<bool, StoreError> {
    Ok(step.execute("DELETE FROM pending_login WHERE name = ?1", [name])? > 0)
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
