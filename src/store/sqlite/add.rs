//! Additions to a store: whose a session is, and where it goes.
//!
//! Owns the order of the looks: the key, then the person, then a free slot. Never overwrites what is known.

use rusqlite::{OptionalExtension as _, Transaction};

use super::merge::{self, Person};
use super::rows::key_number;
use super::{states, touch, touch_dials, unix_now};
use crate::import::{BotToken, FoundSession, Origin};
use crate::manager::SLOTS_MAX;
use crate::session::{ClientIdentity, KeyId, Proxy};
use crate::store::{Added, Addition, Conflict, NewSession, StoreError, StoreId};

/// What of a session goes into the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Everything,
    NoSecrets,
}

/// Adds one session. Of one that is refused nothing stays.
pub(super) fn add(
    step: &Transaction<'_>,
    new: &NewSession,
    keep: Keep,
) -> Result<Addition, StoreError> {
    step.prepare_cached("SAVEPOINT one")?.execute(())?;
    let addition = add_or_refuse(step, new, keep)?;
    if matches!(addition.outcome, Added::Refused(_)) {
        step.prepare_cached("ROLLBACK TO one")?.execute(())?;
    }
    step.prepare_cached("RELEASE one")?.execute(())?;
    Ok(addition)
}

fn add_or_refuse(
    step: &Transaction<'_>,
    new: &NewSession,
    keep: Keep,
) -> Result<Addition, StoreError> {
    let key = key_number(KeyId::of(&new.found.key));
    let sql = "SELECT id, account, slot FROM session WHERE key_id = ?1";
    let known = step
        .prepare_cached(sql)?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    match known {
        Some((session, account, slot)) => add_known(step, new, keep, (session, account, slot)),
        None => add_unknown(step, new, keep, key),
    }
}

/// The key is there: whatever else is new of it is added.
fn add_known(
    step: &Transaction<'_>,
    new: &NewSession,
    keep: Keep,
    (session, account, slot): (i64, i64, u16),
) -> Result<Addition, StoreError> {
    let found = &new.found;
    let person = Person::of_found(found);
    let root = merge::root(step, account)?;
    let identified = match merge::identify(step, Some(root), &person, false)? {
        Ok(identified) => identified,
        Err(conflict) => return Ok(refused(conflict)),
    };
    if keep == Keep::Everything && fill_in(step, new, session, identified.account)? {
        touch_dials(step, account)?;
    } else if identified.changed {
        touch(step, account)?;
    }
    let outcome = if identified.merged { Added::Merged } else { Added::AlreadyThere };
    let name = merge::name(step, identified.account)?;
    Ok(Addition { account: Some(StoreId(identified.account)), name, slot, outcome })
}

/// Adds what its source knows of the person and what has become of it there; how it is served stays as it is. Returns
/// whether it went out of service by that.
fn fill_in(
    step: &Transaction<'_>,
    new: &NewSession,
    session: i64,
    account: i64,
) -> Result<bool, StoreError> {
    add_foreign_keys(step, session, &new.found)?;
    states::add(step, account, &new.found)?;
    quarantine(step, session, new)
}

/// Quarantines a session that its earlier home had quarantined, unless it is for another reason.
fn quarantine(step: &Transaction<'_>, session: i64, new: &NewSession) -> Result<bool, StoreError> {
    let Some(reason) = new.quarantine else { return Ok(false) };
    let sql = "UPDATE session SET quarantine = ?2, quarantined_at = ?3 WHERE id = ?1 AND quarantine IS NULL";
    Ok(step.prepare_cached(sql)?.execute((session, reason.label(), unix_now()))? > 0)
}

fn add_unknown(
    step: &Transaction<'_>,
    new: &NewSession,
    keep: Keep,
    key: i64,
) -> Result<Addition, StoreError> {
    let found = &new.found;
    let sql = "SELECT removed FROM removed_key WHERE key_id = ?1";
    let removed: Option<i64> =
        step.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()?;
    if let Some(at) = removed.filter(|_| !new.even_if_removed) {
        return Ok(refused(Conflict::Removed { at: at.max(0).cast_unsigned() }));
    }
    // Whoever has signed in has just been told who it is.
    let is_certain = found.origin == Origin::SignIn;
    let person = Person::of_found(found);
    let identified = match merge::identify(step, None, &person, is_certain)? {
        Ok(identified) => identified,
        Err(conflict) => return Ok(refused(conflict)),
    };
    let account = identified.account;
    let on_test = "SELECT test_mode FROM session WHERE account = ?1 LIMIT 1";
    let known: Option<bool> =
        step.prepare_cached(on_test)?.query_row([account], |row| row.get(0)).optional()?;
    if let Some(name) = merge::name(step, account)?
        && known.is_some_and(|known| known != found.test_mode.unwrap_or(false))
    {
        return Ok(refused(Conflict::OtherServers { account: name }));
    }
    let sql = "SELECT count(*) FROM session WHERE account = ?1";
    let had: i64 = step.prepare_cached(sql)?.query_row([account], |row| row.get(0))?;
    let Some(slot) = free_slot(step, account, found.slot)? else {
        return Ok(refused(Conflict::NoSlotFree));
    };
    if removed.is_some() {
        step.execute("DELETE FROM removed_key WHERE key_id = ?1", [key])?;
    }
    insert(step, new, keep, (account, slot, key))?;
    touch(step, account)?;
    let outcome = match (identified.merged, had == 0) {
        (true, _) => Added::Merged,
        (false, true) => Added::NewAccount,
        (false, false) => Added::AnotherSession,
    };
    let name = merge::name(step, account)?;
    Ok(Addition { account: Some(StoreId(account)), name, slot, outcome })
}

fn insert(
    step: &Transaction<'_>,
    new: &NewSession,
    keep: Keep,
    (account, slot, key): (i64, u16, i64),
) -> Result<(), StoreError> {
    let found = &new.found;
    let identity = new.identity.as_deref().map(|it| identity_row(step, it)).transpose()?;
    let sql =
        "INSERT INTO session (account, slot, key_id, dc, address, test_mode, api_id, identity,
                 origin, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    step.prepare_cached(sql)?.execute((
        account,
        slot,
        key,
        found.dc,
        new.address.to_string(),
        found.test_mode.unwrap_or(false),
        found.api_id,
        identity,
        found.origin.label(),
        unix_now(),
    ))?;
    if keep == Keep::NoSecrets {
        return Ok(());
    }
    let session = step.last_insert_rowid();
    quarantine(step, session, new)?;
    add_key(step, session, found.dc, found.key.expose())?;
    add_foreign_keys(step, session, found)?;
    if label(step, account, found)? {
        touch_dials(step, account)?;
    }
    states::add(step, account, found)
}

fn add_foreign_keys(
    step: &Transaction<'_>,
    session: i64,
    found: &FoundSession,
) -> Result<(), StoreError> {
    let others = found.foreign_keys.iter().filter(|(dc, _)| *dc != found.dc);
    others.into_iter().try_for_each(|(dc, key)| add_key(step, session, *dc, key.expose()))
}

fn add_key(step: &Transaction<'_>, session: i64, dc: i32, key: &[u8]) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO secret (session, dc, key) VALUES (?1, ?2, ?3)";
    step.prepare_cached(sql)?.execute((session, dc, key))?;
    Ok(())
}

/// Puts an account that is in no group into one, and behind a proxy if it is behind none: all sessions of an account
/// take one way, so that none is ever dialled directly. Returns whether anything has changed.
fn label(step: &Transaction<'_>, account: i64, found: &FoundSession) -> Result<bool, StoreError> {
    if found.group.is_none() && found.proxy.is_none() {
        return Ok(false);
    }
    let proxy = found.proxy.as_deref().map(|it| proxy_row(step, it)).transpose()?;
    let sql = "UPDATE account SET label = coalesce(label, ?2), proxy = coalesce(proxy, ?3)
                WHERE id = ?1 AND (label IS NULL AND ?2 IS NOT NULL OR proxy IS NULL AND ?3 IS NOT NULL)";
    Ok(step.prepare_cached(sql)?.execute((account, found.group.as_deref(), proxy))? > 0)
}

/// The row of an identity, which many sessions have.
pub(super) fn identity_row(
    step: &Transaction<'_>,
    identity: &ClientIdentity,
) -> Result<i64, StoreError> {
    let words = (
        &identity.device_model,
        &identity.system_version,
        &identity.app_version,
        &identity.system_lang_code,
        &identity.lang_code,
    );
    let sql = "INSERT OR IGNORE INTO identity
                 (device_model, system_version, app_version, system_lang_code, lang_code)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    step.prepare_cached(sql)?.execute(words)?;
    let sql = "SELECT id FROM identity WHERE device_model = ?1 AND system_version = ?2
                 AND app_version = ?3 AND system_lang_code = ?4 AND lang_code = ?5";
    Ok(step.prepare_cached(sql)?.query_row(words, |row| row.get(0))?)
}

/// The row of a proxy, which many accounts have.
pub(super) fn proxy_row(step: &Transaction<'_>, proxy: &Proxy) -> Result<i64, StoreError> {
    let columns = (proxy.label(), proxy.expose_url().as_bytes());
    let sql = "SELECT id FROM proxy WHERE label = ?1 AND seal = 0 AND url = ?2";
    let known = step.prepare_cached(sql)?.query_row(columns, |row| row.get(0)).optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    let sql = "INSERT INTO proxy (label, url) VALUES (?1, ?2)";
    step.prepare_cached(sql)?.execute(columns)?;
    Ok(step.last_insert_rowid())
}

/// The slot that was asked for, if it is the account's first session; else the one behind the last that was given, so
/// that a process that serves the account sees no slot become another session.
fn free_slot(
    step: &Transaction<'_>,
    account: i64,
    asked: Option<u16>,
) -> Result<Option<u16>, StoreError> {
    let sql = "SELECT max(coalesce((SELECT max(slot) + 1 FROM session WHERE account = ?1), 0), slots_given),
                 (SELECT count(*) FROM session WHERE account IN
                   (SELECT id FROM account WHERE id = ?1 OR merges_into = ?1))
                 FROM account WHERE id = ?1";
    let (next, count): (u16, u16) =
        step.prepare_cached(sql)?.query_row([account], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let slot = if next == 0 { asked.unwrap_or(next) } else { next };
    if slot >= SLOTS_MAX || count >= SLOTS_MAX {
        return Ok(None);
    }
    let sql = "UPDATE account SET slots_given = ?2 WHERE id = ?1";
    step.prepare_cached(sql)?.execute((account, slot + 1))?;
    Ok(Some(slot))
}

fn refused(conflict: Conflict) -> Addition {
    Addition { account: None, name: None, slot: 0, outcome: Added::Refused(conflict) }
}

/// Keeps the token of a bot; see [`SessionStore`](crate::store::SessionStore).
pub(super) fn add_bot_token(step: &Transaction<'_>, token: &BotToken) -> Result<bool, StoreError> {
    let sql = "INSERT INTO bot_token (bot, token, added) VALUES (?1, ?2, ?3)
               ON CONFLICT (bot) DO UPDATE SET token = excluded.token, added = excluded.added
                WHERE token <> excluded.token";
    let bot = token.bot.number().cast_signed();
    let changed = step.execute(sql, (bot, token.token.as_bytes(), unix_now()))?;
    Ok(changed > 0)
}
