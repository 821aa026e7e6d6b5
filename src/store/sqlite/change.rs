//! Changes of sessions: quarantines, logins, what an operator says of them, removal.
//!
//! Owns the writes. Each is one step with whatever belongs to it.

use rusqlite::Transaction;

use super::accounts::{session_row, session_rows};
use super::merge::{self, Person};
use super::rows::{self, key_number};
use super::{add, touch, touch_dials, unix_now};
use crate::manager::QuarantineReason;
use crate::session::{KeyId, SessionUser};
use crate::store::{Conflict, Removal, SessionChange, StoreError, StoreId, StoredSession};

pub(super) fn set_quarantine(
    step: &Transaction<'_>,
    account: StoreId,
    slot: u16,
    reason: Option<QuarantineReason>,
) -> Result<bool, StoreError> {
    let sql =
        "UPDATE session SET quarantine = ?3, quarantined_at = ?4 WHERE account = ?1 AND slot = ?2
                 AND quarantine IS NOT ?3";
    let (label, at) = (reason.map(QuarantineReason::label), reason.map(|_| unix_now()));
    let changed = step.prepare_cached(sql)?.execute((account.0, slot, label, at))?;
    if changed > 0 {
        touch(step, account.0)?;
        return Ok(true);
    }
    Ok(session_row(step, account, slot)?.is_some())
}

/// Notes that a session was logged in, and as whom. Whose it is cannot change by that.
pub(super) fn note_login(
    step: &Transaction<'_>,
    account: StoreId,
    slot: u16,
    user: Option<SessionUser>,
) -> Result<Option<Conflict>, StoreError> {
    let Some(session) = session_row(step, account, slot)? else { return Ok(None) };
    if let Some(user) = user {
        let root = merge::root(step, account.0)?;
        match merge::identify(step, Some(root), &Person::of_known(user), true)? {
            Ok(identified) if identified.changed || identified.merged => touch(step, account.0)?,
            Ok(_) => {}
            Err(conflict) => return Ok(Some(conflict)),
        }
    }
    let sql = "UPDATE session SET login_at = ?2 WHERE id = ?1";
    step.prepare_cached(sql)?.execute((session, unix_now()))?;
    Ok(None)
}

pub(super) fn change(
    step: &Transaction<'_>,
    account: StoreId,
    slot: Option<u16>,
    change: &SessionChange,
) -> Result<usize, StoreError> {
    let sessions = session_rows(step, account, slot)?;
    if sessions.is_empty() {
        return Ok(0);
    }
    if let Some(group) = &change.group {
        let sql = "UPDATE account SET label = ?2 WHERE id = ?1";
        step.execute(sql, (account.0, group.as_deref()))?;
    }
    if let Some(proxy) = &change.proxy {
        let row = proxy.as_deref().map(|it| add::proxy_row(step, it)).transpose()?;
        step.execute("UPDATE account SET proxy = ?2 WHERE id = ?1", (account.0, row))?;
    }
    let identity = match &change.identity {
        Some(Some(identity)) => Some(Some(add::identity_row(step, identity)?)),
        Some(None) => Some(None),
        None => None,
    };
    let api_id = change.api_id.map(|id| id.map(i64::from));
    for session in &sessions {
        for (column, value) in [("identity", identity), ("api_id", api_id)] {
            if let Some(value) = value {
                let sql = format!("UPDATE session SET {column} = ?2 WHERE id = ?1");
                step.prepare_cached(&sql)?.execute((session, value))?;
            }
        }
        if let Some(address) = change.address {
            let sql = "UPDATE session SET address = ?2 WHERE id = ?1";
            step.prepare_cached(sql)?.execute((session, address.to_string()))?;
        }
    }
    drop_unused(step)?;
    touch_dials(step, account.0)?;
    Ok(sessions.len())
}

/// What no session has any more; a proxy has a password in it.
fn drop_unused(step: &Transaction<'_>) -> Result<(), StoreError> {
    step.execute_batch(
        "DELETE FROM proxy WHERE id NOT IN (SELECT proxy FROM account WHERE proxy IS NOT NULL);
         DELETE FROM identity WHERE id NOT IN (SELECT identity FROM session WHERE identity IS NOT NULL);",
    )?;
    Ok(())
}

pub(super) fn remove(
    step: &Transaction<'_>,
    account: StoreId,
    slot: Option<u16>,
    how: Removal,
) -> Result<Vec<StoredSession>, StoreError> {
    let mut removed = Vec::new();
    for session in session_rows(step, account, slot)? {
        let sql = format!("{} WHERE session.id = ?1", rows::SESSION);
        let mut statement = step.prepare_cached(&sql)?;
        let mut found = statement.query([session])?;
        if let Some(row) = found.next()? {
            removed.push(rows::session(row)?);
        }
        drop(found);
        step.execute("DELETE FROM session WHERE id = ?1", [session])?;
    }
    if removed.is_empty() {
        return Ok(removed);
    }
    if how == Removal::KeepKeyId {
        for session in &removed {
            let sql = "INSERT OR REPLACE INTO removed_key (key_id, removed) VALUES (?1, ?2)";
            step.execute(sql, (key_number(session.key_id), unix_now()))?;
        }
    }
    let sql = "SELECT count(*) FROM session WHERE account = ?1";
    let left: i64 = step.query_row(sql, [account.0], |row| row.get(0))?;
    if left == 0 {
        // Whoever it was met nobody: the row itself stays for those who serve, and for its names.
        let id = account.0;
        step.execute_batch(&format!(
            "UPDATE account SET proxy = NULL WHERE id = {id};
             DELETE FROM peer WHERE account = {id}; DELETE FROM update_state WHERE account = {id};
             DELETE FROM channel_state WHERE account = {id};"
        ))?;
    }
    drop_unused(step)?;
    touch_dials(step, account.0)?;
    Ok(removed)
}

pub(super) fn forget_removed(step: &Transaction<'_>, keys: &[KeyId]) -> Result<usize, StoreError> {
    let mut forgotten = 0;
    for key in keys {
        let sql = "DELETE FROM removed_key WHERE key_id = ?1";
        forgotten += step.prepare_cached(sql)?.execute([key_number(*key)])?;
    }
    Ok(forgotten)
}
