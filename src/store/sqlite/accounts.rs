//! Accounts and sessions as they are read.
//!
//! Owns the queries. Never changes anything.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row};
use zeroize::Zeroizing;

use super::rows;
use crate::account_id::AccountId;
use crate::import::BotToken;
use crate::session::{AuthKey, KeyId, SessionRecord};
use crate::store::{StoreError, StoreId, StoredAccount, StoredSession};

/// What an account is made of, one row for each; those that belong to it stand in a column, parted by commas.
const ACCOUNT: &str = "
    SELECT account.id, account.user_id, account.is_bot, account.label,
           (SELECT group_concat(number) FROM
             (SELECT number FROM phone WHERE phone.account = account.id ORDER BY since DESC, number)),
           (SELECT coalesce(max(slot) + 1, 0) FROM session WHERE session.account = account.id),
           (SELECT proxy.label FROM proxy WHERE proxy.id = account.proxy),
           (SELECT group_concat(slot || ' ' || quarantine) FROM session
             WHERE session.account = account.id AND quarantine IS NOT NULL),
           account.redial_revision,
           (SELECT count(*) FROM session WHERE session.account = account.id)
      FROM account";

fn account(database: &Connection, row: &Row<'_>) -> Result<StoredAccount, StoreError> {
    let mut account = StoredAccount::empty(StoreId(row.get(0)?));
    account.user_id = row.get(1)?;
    account.is_bot = row.get(2)?;
    account.group = row.get::<_, Option<String>>(3)?.map(Arc::from);
    account.slots = row.get(5)?;
    if account.slots != row.get::<_, u16>(9)? {
        account.gaps = gaps(database, &account)?;
    }
    account.redial_revision = row.get::<_, i64>(8)?.cast_unsigned();
    account.proxy = row.get::<_, Option<String>>(6)?.map(Arc::from);
    let phones = row.get::<_, Option<String>>(4)?.unwrap_or_default();
    for number in phones.split(',').filter(|number| !number.is_empty()) {
        account.phones.push(rows::phone(number.parse().unwrap_or_default())?);
    }
    let quarantines = row.get::<_, Option<String>>(7)?.unwrap_or_default();
    for quarantine in quarantines.split(',').filter(|it| !it.is_empty()) {
        let (slot, reason) = quarantine.split_once(' ').unwrap_or_default();
        let slot = slot.parse().map_err(|_| StoreError::Damaged { what: "a slot that is none" })?;
        account.quarantines.push((slot, rows::reason(reason)));
    }
    account.quarantines.sort_unstable_by_key(|(slot, _)| *slot);
    Ok(account)
}

/// Slots whose sessions were removed.
fn gaps(database: &Connection, account: &StoredAccount) -> Result<Vec<u16>, StoreError> {
    let sql = "SELECT slot FROM session WHERE account = ?1";
    let mut statement = database.prepare_cached(sql)?;
    let taken = statement.query_map([account.id.0], |row| row.get(0))?;
    let taken: Vec<u16> = taken.collect::<Result<_, _>>()?;
    Ok((0..account.slots).filter(|slot| !taken.contains(slot)).collect())
}

pub(super) fn since(
    database: &Connection,
    revision: u64,
    visit: &mut dyn FnMut(StoredAccount),
) -> Result<(), StoreError> {
    let sql = format!("{ACCOUNT} WHERE account.revision > ?1 ORDER BY account.id");
    let mut statement = database.prepare_cached(&sql)?;
    let mut found = statement.query([revision.cast_signed()])?;
    while let Some(row) = found.next()? {
        visit(account(database, row)?);
    }
    Ok(())
}

pub(super) fn by_name(
    database: &Connection,
    name: AccountId,
) -> Result<Option<StoredAccount>, StoreError> {
    let of = match name.is_phone() {
        true => "(SELECT account FROM phone WHERE number = ?1)",
        false => "(SELECT id FROM account WHERE user_id = ?1)",
    };
    let sql = format!("{ACCOUNT} WHERE account.id = {of}");
    let mut statement = database.prepare_cached(&sql)?;
    let mut found = statement.query([name.number().cast_signed()])?;
    found.next()?.map(|row| account(database, row)).transpose()
}

pub(super) fn sessions(
    database: &Connection,
    of: Option<StoreId>,
    visit: &mut dyn FnMut(StoredSession),
) -> Result<(), StoreError> {
    let which = if of.is_some() { "WHERE session.account = ?1" } else { "WHERE ?1 IS NULL" };
    let sql = format!("{} {which} ORDER BY session.account, session.slot", rows::SESSION);
    let mut statement = database.prepare_cached(&sql)?;
    let mut found = statement.query([of.map(|id| id.0)])?;
    while let Some(row) = found.next()? {
        visit(rows::session(row)?);
    }
    Ok(())
}

pub(super) fn record(
    database: &Connection,
    account: StoreId,
    slot: u16,
    name: AccountId,
) -> Result<Option<SessionRecord>, StoreError> {
    let sql = "
        SELECT session.dc, session.address, secret.seal, secret.key, account.user_id, account.is_bot,
               account.label, proxy.seal, proxy.url, session.api_id, identity.device_model,
               identity.system_version, identity.app_version, identity.system_lang_code, identity.lang_code
          FROM session
          JOIN account ON account.id = session.account
          JOIN secret ON secret.session = session.id AND secret.dc = session.dc
          LEFT JOIN proxy ON proxy.id = account.proxy
          LEFT JOIN identity ON identity.id = session.identity
         WHERE session.account = ?1 AND session.slot = ?2";
    let mut statement = database.prepare_cached(sql)?;
    let mut found = statement.query((account.0, slot))?;
    let Some(row) = found.next()? else { return Ok(None) };
    let is_sealed =
        |place| Ok::<_, StoreError>(row.get::<_, Option<i64>>(place)?.unwrap_or(0) != 0);
    if is_sealed(2)? || is_sealed(7)? {
        return Err(StoreError::Damaged {
            what: "it is sealed in a way that this version does not know",
        });
    }
    let key = row.get_ref(3)?.as_blob().ok().and_then(AuthKey::from_slice);
    let key = key.ok_or(StoreError::Damaged { what: "a key that is none" })?;
    let address = rows::address(&row.get::<_, String>(1)?)?;
    let mut record = SessionRecord::new(name, row.get(0)?, address, key);
    record.slot = slot;
    record.user_id = row.get::<_, Option<i64>>(4)?.unwrap_or(0);
    record.is_bot = row.get::<_, Option<bool>>(5)?.unwrap_or_else(|| name.is_bot());
    record.group = row.get::<_, Option<String>>(6)?.map(Arc::from);
    if let Some(url) = row.get_ref(8)?.as_blob_or_null().ok().flatten() {
        let proxy = std::str::from_utf8(url).ok().and_then(|url| url.parse().ok());
        let proxy = proxy.ok_or(StoreError::Damaged { what: "a proxy that is none" })?;
        record.proxy = Some(Arc::new(proxy));
    }
    record.api_id = row.get(9)?;
    record.identity = rows::identity(row, 10)?.map(Arc::new);
    Ok(Some(record))
}

pub(super) fn bot_tokens(database: &Connection) -> Result<Vec<BotToken>, StoreError> {
    let mut statement = database.prepare_cached("SELECT bot, token FROM bot_token ORDER BY bot")?;
    let mut found = statement.query(())?;
    let mut tokens = Vec::new();
    while let Some(row) = found.next()? {
        let damaged = StoreError::Damaged { what: "a bot's token that is none" };
        let bot = AccountId::bot(row.get::<_, i64>(0)?.cast_unsigned());
        let token = row.get_ref(1)?.as_blob().ok().and_then(|it| std::str::from_utf8(it).ok());
        let (Ok(bot), Some(token)) = (bot, token) else { return Err(damaged) };
        tokens.push(BotToken { bot, token: Zeroizing::new(token.to_owned()) });
    }
    Ok(tokens)
}

/// The key of one slot.
pub(super) fn key_at(
    database: &Connection,
    account: StoreId,
    slot: u16,
) -> Result<Option<KeyId>, StoreError> {
    let sql = "SELECT key_id FROM session WHERE account = ?1 AND slot = ?2";
    let found = database.prepare_cached(sql)?.query_row((account.0, slot), |row| row.get(0));
    Ok(found.optional()?.map(rows::key_id))
}
