//! Who is who: one person is one account, however it was named.
//!
//! Owns the rules by which a user id, a phone number and a key lead to an account, and what becomes of two accounts
//! that turn out to be one. They stay two until nobody serves them.

use rusqlite::{OptionalExtension as _, Transaction};

use super::{change, rows, touch_dials, unix_now};
use crate::account_id::{AccountId, USER_ID_MAX};
use crate::import::FoundSession;
use crate::manager::SLOTS_MAX;
use crate::session::SessionUser;
use crate::store::{Conflict, StoreError, StoreId, StoredAccount};

/// What is said of the person behind a session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Person {
    user_id: Option<i64>,
    is_bot: Option<bool>,
    phone: Option<i64>,
}

impl Person {
    pub(super) fn of_found(found: &FoundSession) -> Self {
        let phone = found.phone.map(|phone| phone.number().cast_signed());
        let user_id = found.user_id.filter(|id| (1..=USER_ID_MAX).contains(id));
        Self { user_id, is_bot: found.is_bot, phone }
    }

    pub(super) fn of_known(user: SessionUser) -> Self {
        let phone = user.phone.map(|phone| phone.number().cast_signed());
        let user_id = Some(user.user_id).filter(|id| (1..=USER_ID_MAX).contains(id));
        Self { user_id, is_bot: Some(user.is_bot), phone }
    }
}

/// The account of a person.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identified {
    pub(super) account: i64,
    /// Something became known of it.
    pub(super) changed: bool,
    /// Two accounts turned out to be it.
    pub(super) merged: bool,
}

/// What is known of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    id: i64,
    user_id: Option<i64>,
}

/// Finds the account of a person, or makes it, and files what is new. With `is_certain` the server has said so, and
/// a number that was another user's is this one's now.
pub(super) fn identify(
    step: &Transaction<'_>,
    current: Option<i64>,
    person: &Person,
    is_certain: bool,
) -> Result<Result<Identified, Conflict>, StoreError> {
    let of_key = current.map(|id| known(step, id)).transpose()?;
    let by_user = match person.user_id {
        Some(id) => {
            find(step, "SELECT coalesce(merges_into, id) FROM account WHERE user_id = ?1", id)?
        }
        None => None,
    };
    let by_phone = match person.phone {
        Some(number) => find(
            step,
            "SELECT coalesce(merges_into, account.id) FROM phone JOIN account ON account.id = phone.account
              WHERE number = ?1",
            number,
        )?,
        None => None,
    };
    let user_id = person.user_id.or(of_key.and_then(|it| it.user_id));
    let is_other = |it: &Known| it.user_id.is_some() && user_id.is_some() && it.user_id != user_id;
    if let Some(other) = of_key.filter(is_other) {
        let nameless = StoreError::Damaged { what: "a user id that no user has" };
        let account = name(step, other.id)?.ok_or(nameless)?;
        return Ok(Err(Conflict::KeyOfAnother { account }));
    }
    let by_phone = match by_phone.filter(is_other) {
        // It has moved.
        Some(_) if is_certain => None,
        Some(_) => {
            let phone = rows::phone(person.phone.unwrap_or_default())?;
            return Ok(Err(Conflict::PhoneOfAnother { phone }));
        }
        None => by_phone,
    };
    // The one whose user is known, so that no user id moves.
    let has_user = |it: &Known| it.user_id.is_some();
    let kept = by_user.or(of_key.filter(has_user)).or(by_phone.filter(has_user));
    let kept = kept.or(of_key).or(by_phone);
    let account = match kept {
        Some(kept) => kept.id,
        None => create(step)?,
    };
    let mut identified = Identified { account, changed: kept.is_none(), merged: false };
    for gone in [of_key, by_phone].into_iter().flatten().filter(|it| it.id != account) {
        merge_later(step, gone.id, account)?;
        identified.merged = true;
    }
    let has_phone = by_phone.is_some();
    identified.changed |= file(step, account, &Person { user_id, ..*person }, has_phone)?;
    if is_certain {
        identified.changed |= correct(step, account, person)?;
    }
    Ok(Ok(identified))
}

fn known(step: &Transaction<'_>, id: i64) -> Result<Known, StoreError> {
    let sql = "SELECT user_id FROM account WHERE id = ?1";
    let user_id = step.prepare_cached(sql)?.query_row([id], |row| row.get(0))?;
    Ok(Known { id, user_id })
}

fn find(step: &Transaction<'_>, sql: &str, number: i64) -> Result<Option<Known>, StoreError> {
    let id = step.prepare_cached(sql)?.query_row([number], |row| row.get(0)).optional()?;
    id.map(|id| known(step, id)).transpose()
}

fn create(step: &Transaction<'_>) -> Result<i64, StoreError> {
    let sql = "INSERT INTO account (created, revision) VALUES (?1, 0)";
    step.prepare_cached(sql)?.execute([unix_now()])?;
    Ok(step.last_insert_rowid())
}

/// Files what was not known of an account. Returns whether there was anything.
fn file(
    step: &Transaction<'_>,
    account: i64,
    person: &Person,
    has_phone: bool,
) -> Result<bool, StoreError> {
    let sql = "UPDATE account SET user_id = coalesce(user_id, ?2), is_bot = coalesce(is_bot, ?3)
                WHERE id = ?1 AND (user_id IS NULL AND ?2 IS NOT NULL OR is_bot IS NULL AND ?3 IS NOT NULL)";
    let mut changed =
        step.prepare_cached(sql)?.execute((account, person.user_id, person.is_bot))? > 0;
    if let Some(number) = person.phone.filter(|_| !has_phone) {
        let sql = "INSERT INTO phone (number, account, since) VALUES (?1, ?2, ?3)
                   ON CONFLICT (number) DO UPDATE SET account = excluded.account, since = excluded.since";
        step.prepare_cached(sql)?.execute((number, account, unix_now()))?;
        changed = true;
    }
    Ok(changed)
}

/// The server knows better than a file whether it is a bot.
fn correct(step: &Transaction<'_>, account: i64, person: &Person) -> Result<bool, StoreError> {
    let sql =
        "UPDATE account SET is_bot = ?2 WHERE id = ?1 AND is_bot IS NOT ?2 AND ?2 IS NOT NULL";
    Ok(step.prepare_cached(sql)?.execute((account, person.is_bot))? > 0)
}

/// The account that another is to be merged into, or the account itself.
pub(super) fn root(step: &Transaction<'_>, account: i64) -> Result<i64, StoreError> {
    let sql = "SELECT coalesce(merges_into, id) FROM account WHERE id = ?1";
    Ok(step.prepare_cached(sql)?.query_row([account], |row| row.get(0))?)
}

/// What an account is called.
pub(super) fn name(step: &Transaction<'_>, account: i64) -> Result<Option<AccountId>, StoreError> {
    let sql = "SELECT user_id, is_bot,
                 (SELECT number FROM phone WHERE account = account.id ORDER BY since DESC, number LIMIT 1)
                 FROM account WHERE id = ?1";
    let (user_id, is_bot, number) = step.prepare_cached(sql)?.query_row([account], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?))
    })?;
    let phones = number.map(rows::phone).transpose()?.into_iter().collect();
    Ok(StoredAccount { user_id, is_bot, phones, ..StoredAccount::empty(StoreId(account)) }.name())
}

/// Notes that an account is another one, and so are those that were it. The proxy of the one is that of the other from
/// now on: no session of it is to be dialled directly meanwhile.
fn merge_later(step: &Transaction<'_>, gone: i64, into: i64) -> Result<(), StoreError> {
    let sql = "UPDATE account SET merges_into = ?2 WHERE id = ?1 OR merges_into = ?1";
    step.prepare_cached(sql)?.execute((gone, into))?;
    let sql = "UPDATE account SET proxy = (SELECT proxy FROM account WHERE id = ?1),
                 label = coalesce(label, (SELECT label FROM account WHERE id = ?1))
                WHERE id = ?2 AND proxy IS NULL AND (SELECT proxy FROM account WHERE id = ?1) IS NOT NULL";
    if step.prepare_cached(sql)?.execute((gone, into))? > 0 {
        touch_dials(step, into)?;
    }
    Ok(())
}

/// Merges accounts that are one, and closes gaps between slots; see
/// [`SessionStore::settle`](crate::store::SessionStore::settle).
pub(super) fn settle(step: &Transaction<'_>) -> Result<usize, StoreError> {
    let sql = "SELECT id, merges_into FROM account WHERE merges_into IS NOT NULL ORDER BY id";
    let pairs: Vec<(i64, i64)> = step
        .prepare(sql)?
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut merged = 0;
    for (gone, into) in &pairs {
        merged += usize::from(merge(step, *gone, *into)?);
    }
    close_all_gaps(step)?;
    change::drop_unused(step)?;
    Ok(merged)
}

/// What is taken over of an account that goes: its user, whether that is a bot, its label and its proxy.
type GoneAccount = (Option<i64>, Option<bool>, Option<String>, Option<i64>);

/// Returns whether they are one now.
fn merge(step: &Transaction<'_>, gone: i64, into: i64) -> Result<bool, StoreError> {
    // Each begins at 0 then, and what stands behind the one fits in as the other has it.
    let (room, moved) = (close_gaps(step, into)?, close_gaps(step, gone)?);
    if room + moved > i64::from(SLOTS_MAX) {
        tracing::warn!(
            "two accounts that are one person have more than {SLOTS_MAX} sessions together, and stay two: remove some"
        );
        return Ok(false);
    }
    let sql = "UPDATE session SET account = ?2, slot = slot + ?3 WHERE account = ?1";
    step.prepare_cached(sql)?.execute((gone, into, room))?;
    step.execute_batch(&format!(
        "UPDATE phone SET account = {into} WHERE account = {gone};
         INSERT OR IGNORE INTO peer SELECT {into}, space, id, kind, access_hash, username
           FROM peer WHERE account = {gone};
         DELETE FROM peer WHERE account = {gone};
         INSERT OR IGNORE INTO update_state SELECT {into}, pts, qts, date, seq
           FROM update_state WHERE account = {gone};
         DELETE FROM update_state WHERE account = {gone};
         INSERT OR IGNORE INTO channel_state SELECT {into}, channel, pts
           FROM channel_state WHERE account = {gone};
         DELETE FROM channel_state WHERE account = {gone};"
    ))?;
    let (user_id, is_bot, label, proxy): GoneAccount = step.query_row(
        "SELECT user_id, is_bot, label, proxy FROM account WHERE id = ?1",
        [gone],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    // First, since no two may have one user id.
    step.execute("DELETE FROM account WHERE id = ?1", [gone])?;
    let sql = "UPDATE account SET user_id = coalesce(user_id, ?2), is_bot = coalesce(is_bot, ?3),
                 label = coalesce(label, ?4), proxy = coalesce(proxy, ?5) WHERE id = ?1";
    step.execute(sql, (into, user_id, is_bot, label, proxy))?;
    touch_dials(step, into)?;
    Ok(true)
}

/// Closes the gaps of all accounts, whose slots are given anew from here on.
fn close_all_gaps(step: &Transaction<'_>) -> Result<(), StoreError> {
    let sql = "SELECT account FROM session GROUP BY account HAVING max(slot) >= count(*) ORDER BY account";
    let accounts: Vec<i64> =
        step.prepare(sql)?.query_map((), |row| row.get(0))?.collect::<Result<_, _>>()?;
    for account in accounts {
        close_gaps(step, account)?;
        touch_dials(step, account)?;
    }
    step.execute("UPDATE account SET slots_given = 0 WHERE slots_given > 0", ())?;
    Ok(())
}

/// Numbers the slots of an account from 0, in the order that they have. Returns how many there are.
fn close_gaps(step: &Transaction<'_>, account: i64) -> Result<i64, StoreError> {
    let sql = "SELECT id, slot FROM session WHERE account = ?1 ORDER BY slot";
    let sessions: Vec<(i64, i64)> = step
        .prepare_cached(sql)?
        .query_map([account], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut next = 0;
    // From below, where each finds its new slot free.
    for (session, slot) in sessions {
        if slot != next {
            let sql = "UPDATE session SET slot = ?2 WHERE id = ?1";
            step.prepare_cached(sql)?.execute((session, next))?;
        }
        next += 1;
    }
    Ok(next)
}
