//! Changes of sessions: quarantines, logins, what an operator says of them, removal.
//!
//! Owns the writes. Each is one step with whatever belongs to it.

use rusqlite::{OptionalExtension as _, Transaction};

use super::merge::{self, Person};
use super::rows::{self, key_number};
use super::{add, touch, touch_dials, unix_now};
use crate::manager::QuarantineReason;
use crate::session::{KeyId, SessionUser};
use crate::store::{Conflict, Removal, SessionChange, StoreError, StoredSession};

/// A session by its key: its row, and whose it is.
fn find(step: &Transaction<'_>, key: KeyId) -> Result<Option<(i64, i64)>, StoreError> {
    let sql = "SELECT id, account FROM session WHERE key_id = ?1";
    let row = step
        .prepare_cached(sql)?
        .query_row([key_number(key)], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(row.optional()?)
}

pub(super) fn set_quarantine(
    step: &Transaction<'_>,
    key: KeyId,
    reason: Option<QuarantineReason>,
) -> Result<bool, StoreError> {
    let Some((session, account)) = find(step, key)? else { return Ok(false) };
    let sql = "UPDATE session SET quarantine = ?2, quarantined_at = ?3 WHERE id = ?1 AND quarantine IS NOT ?2";
    let (label, at) = (reason.map(QuarantineReason::label), reason.map(|_| unix_now()));
    if step.prepare_cached(sql)?.execute((session, label, at))? > 0 {
        touch(step, account)?;
    }
    Ok(true)
}

/// Notes that a session was logged in, and as whom. Whose it is cannot change by that.
pub(super) fn note_login(
    step: &Transaction<'_>,
    key: KeyId,
    user: Option<SessionUser>,
) -> Result<Option<Conflict>, StoreError> {
    let Some((session, account)) = find(step, key)? else { return Ok(None) };
    if let Some(user) = user {
        let root = merge::root(step, account)?;
        match merge::identify(step, Some(root), &Person::of_known(user), true)? {
            Ok(identified) if identified.changed || identified.merged => touch(step, account)?,
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
    keys: &[KeyId],
    change: &SessionChange,
) -> Result<usize, StoreError> {
    let mut changed = 0;
    for key in keys {
        if let Some((session, account)) = find(step, *key)? {
            change_one(step, session, account, change)?;
            changed += 1;
        }
    }
    drop_unused(step)?;
    Ok(changed)
}

fn change_one(
    step: &Transaction<'_>,
    session: i64,
    account: i64,
    change: &SessionChange,
) -> Result<(), StoreError> {
    if let Some(group) = &change.group {
        let sql = "UPDATE account SET label = ?2 WHERE id = ?1";
        step.prepare_cached(sql)?.execute((account, group.as_deref()))?;
    }
    if let Some(proxy) = &change.proxy {
        let row = proxy.as_deref().map(|it| add::proxy_row(step, it)).transpose()?;
        let sql = "UPDATE account SET proxy = ?2 WHERE id = ?1";
        step.prepare_cached(sql)?.execute((account, row))?;
    }
    if let Some(identity) = &change.identity {
        let row = identity.as_ref().map(|it| add::identity_row(step, it)).transpose()?;
        let sql = "UPDATE session SET identity = ?2 WHERE id = ?1";
        step.prepare_cached(sql)?.execute((session, row))?;
    }
    if let Some(api_id) = change.api_id {
        let sql = "UPDATE session SET api_id = ?2 WHERE id = ?1";
        step.prepare_cached(sql)?.execute((session, api_id))?;
    }
    if let Some(address) = change.address {
        let sql = "UPDATE session SET address = ?2 WHERE id = ?1";
        step.prepare_cached(sql)?.execute((session, address.to_string()))?;
    }
    touch_dials(step, account)
}

/// What no session has any more; a proxy has a password in it.
pub(super) fn drop_unused(step: &Transaction<'_>) -> Result<(), StoreError> {
    step.execute_batch(
        "DELETE FROM proxy WHERE id NOT IN (SELECT proxy FROM account WHERE proxy IS NOT NULL);
         DELETE FROM identity WHERE id NOT IN (SELECT identity FROM session WHERE identity IS NOT NULL);",
    )?;
    Ok(())
}

pub(super) fn remove(
    step: &Transaction<'_>,
    keys: &[KeyId],
    how: Removal,
) -> Result<Vec<StoredSession>, StoreError> {
    let mut removed = Vec::new();
    for key in keys {
        if let Some((session, account)) = find(step, *key)? {
            removed.push(remove_one(step, session, how)?);
            forget_if_empty(step, account, how)?;
            touch_dials(step, account)?;
        }
    }
    drop_unused(step)?;
    Ok(removed)
}

fn remove_one(
    step: &Transaction<'_>,
    session: i64,
    how: Removal,
) -> Result<StoredSession, StoreError> {
    let sql = format!("{} WHERE session.id = ?1", rows::SESSION);
    let mut statement = step.prepare_cached(&sql)?;
    let mut found = statement.query([session])?;
    let gone = StoreError::Damaged { what: "a session that has just been there" };
    let removed = rows::session(found.next()?.ok_or(gone)?)?;
    drop(found);
    step.prepare_cached("DELETE FROM session WHERE id = ?1")?.execute([session])?;
    if how == Removal::KeepKeyId {
        let sql = "INSERT OR REPLACE INTO removed_key (key_id, removed) VALUES (?1, ?2)";
        step.prepare_cached(sql)?.execute((key_number(removed.key_id), unix_now()))?;
    }
    Ok(removed)
}

/// An account without a session has met nobody. Its row stays for those who serve it, and so do its names, its group
/// and its proxy for the session that comes next: without them it would be dialled another way.
fn forget_if_empty(step: &Transaction<'_>, account: i64, how: Removal) -> Result<(), StoreError> {
    let sql = "SELECT count(*) FROM session WHERE account = ?1";
    let left: i64 = step.prepare_cached(sql)?.query_row([account], |row| row.get(0))?;
    if left > 0 {
        return Ok(());
    }
    step.execute_batch(&format!(
        "DELETE FROM peer WHERE account = {account}; DELETE FROM update_state WHERE account = {account};
         DELETE FROM channel_state WHERE account = {account};"
    ))?;
    if how == Removal::Everything {
        let sql = "UPDATE account SET proxy = NULL, label = NULL WHERE id = ?1";
        step.prepare_cached(sql)?.execute([account])?;
    }
    Ok(())
}

pub(super) fn forget_removed(step: &Transaction<'_>, keys: &[KeyId]) -> Result<usize, StoreError> {
    let mut forgotten = 0;
    for key in keys {
        let sql = "DELETE FROM removed_key WHERE key_id = ?1";
        forgotten += step.prepare_cached(sql)?.execute([key_number(*key)])?;
    }
    Ok(forgotten)
}
