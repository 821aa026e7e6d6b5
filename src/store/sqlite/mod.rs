//! The store in one file, of SQLite.
//!
//! Owns the connections to the database: one to read and one to write, each used by one thread at a time. Several
//! processes may have the file open at once.

mod accounts;
mod add;
mod change;
mod connect;
mod logins;
mod merge;
mod rehearsal;
mod rows;
mod schema;
mod states;

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use zeroize::Zeroizing;

pub use rehearsal::Rehearsal;

use self::connect::connect;
use super::place;
use super::{
    Addition, Conflict, NewSession, PendingLogin, Removal, ServeMark, SessionChange, SessionStore,
    StoreError, StoreId, StoredAccount, StoredSession,
};
use crate::account_id::AccountId;
use crate::base::clock::unix_time;
use crate::base::sync::{Mutex, MutexGuard};
use crate::import::{BotToken, KnownPeer};
use crate::manager::QuarantineReason;
use crate::session::{KeyId, SessionRecord, SessionUser, UpdateStates};

/// How often it is tried to cut the log, each time for as long as a write waits.
const CHECKPOINTS_MAX: u32 = 2;

/// A store in one file.
///
/// ```
/// use telepool::import::{FoundSession, Origin};
/// use telepool::session::AuthKey;
/// use telepool::store::{Added, NewSession, SessionStore as _, SqliteStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("accounts.db");
/// let store = SqliteStore::create(&path)?;
/// let mut found = FoundSession::new(Origin::Telethon, 2, AuthKey::new([7; 256]));
/// found.user_id = Some(777000);
/// let added = store.add(&[NewSession::new(found, "127.0.0.1:4430".parse()?)])?;
/// assert_eq!(added[0].outcome, Added::NewAccount);
/// assert_eq!(added[0].name, Some("user:777000".parse()?));
/// # Ok(())
/// # }
/// ```
pub struct SqliteStore {
    path: PathBuf,
    writer: Mutex<Connection>,
    /// The revision that was read last, and the number of the file's changes then.
    reader: Mutex<Reader>,
    /// For what is read at length, so that a dial does not wait for it.
    scanner: Mutex<Connection>,
}

struct Reader {
    database: Connection,
    changes: i64,
    revision: u64,
}

impl SqliteStore {
    /// Opens a store, and makes it if it is not there.
    ///
    /// # Errors
    /// Something else stands there, others may read it, it lies on a network file system, or the system refuses.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        Self::open_or_make(path, true)
    }

    /// Opens a store that is there.
    ///
    /// # Errors
    /// Those of [`create`](Self::create), and that there is none.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_or_make(path, false)
    }

    fn open_or_make(path: &Path, make: bool) -> Result<Self, StoreError> {
        let path = place::prepare(path, make)?;
        let mut writer = connect(&path)?;
        schema::migrate(&mut writer, &path)?;
        let reader = Reader { database: connect(&path)?, changes: -1, revision: 0 };
        let (writer, reader, scanner) =
            (Mutex::new(writer), Mutex::new(reader), Mutex::new(connect(&path)?));
        Ok(Self { path, writer, reader, scanner })
    }

    /// Where it is, links followed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What [`add`](SessionStore::add) would answer, without adding anything; what earlier calls would have added
    /// is taken for added. Keys are neither read nor kept for it.
    ///
    /// # Errors
    /// The storage fails.
    pub fn rehearsal(&self) -> Result<Rehearsal, StoreError> {
        Rehearsal::of(&self.path)
    }

    /// After a key was removed: the log has copies of the pages that it stood on, as long as nobody reads older ones.
    fn cut_log(&self) {
        let writer = self.writer.lock();
        let is_busy = |_| {
            let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
            !writer.query_row(sql, (), |row| row.get::<_, i64>(0)).is_ok_and(|busy| busy == 0)
        };
        if (0..CHECKPOINTS_MAX).all(is_busy) {
            tracing::warn!(
                "the log of the store could not be cut: it holds the removed key until it is"
            );
        }
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock()
    }

    /// Writes in one step that is all or nothing, and on disk when it has been made.
    fn write<T>(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        write_step(&mut self.writer.lock(), write)
    }
}

fn write_step<T>(
    database: &mut Connection,
    write: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let step = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = write(&step)?;
    step.commit()?;
    Ok(done)
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Seconds since 1970.
fn unix_now() -> i64 {
    unix_time().as_secs().cast_signed()
}

/// Numbers the next change of accounts.
fn next_revision(step: &Transaction<'_>) -> Result<i64, StoreError> {
    let sql = "UPDATE meta SET value = value + 1 WHERE name = 'revision' RETURNING value";
    Ok(step.prepare_cached(sql)?.query_row((), |row| row.get(0))?)
}

/// An account has changed, which those who serve it are to see.
fn touch(step: &Transaction<'_>, account: i64) -> Result<(), StoreError> {
    let revision = next_revision(step)?;
    let sql = "UPDATE account SET revision = ?2 WHERE id = ?1";
    step.prepare_cached(sql)?.execute((account, revision))?;
    Ok(())
}

/// The same, of a kind that whoever serves it has to dial anew for.
fn touch_dials(step: &Transaction<'_>, account: i64) -> Result<(), StoreError> {
    touch(step, account)?;
    let sql = "UPDATE account SET redial_revision = revision WHERE id = ?1";
    step.prepare_cached(sql)?.execute([account])?;
    Ok(())
}

impl SessionStore for SqliteStore {
    fn add(&self, sessions: &[NewSession]) -> Result<Vec<Addition>, StoreError> {
        self.write(|step| {
            sessions.iter().map(|new| add::add(step, new, add::Keep::Everything)).collect()
        })
    }

    fn add_bot_token(&self, token: &BotToken) -> Result<bool, StoreError> {
        self.write(|step| add::add_bot_token(step, token))
    }

    fn bot_tokens(&self) -> Result<Vec<BotToken>, StoreError> {
        accounts::bot_tokens(&self.reader().database)
    }

    fn remove_bot_token(&self, bot: AccountId) -> Result<bool, StoreError> {
        self.write(|step| {
            let sql = "DELETE FROM bot_token WHERE bot = ?1";
            Ok(step.execute(sql, [bot.number().cast_signed()])? > 0)
        })
    }

    fn begin_login(&self, login: &PendingLogin) -> Result<bool, StoreError> {
        self.write(|step| logins::begin(step, login))
    }

    fn keep_login(&self, login: &PendingLogin) -> Result<bool, StoreError> {
        self.write(|step| logins::keep(step, login))
    }

    fn pending_logins(&self) -> Result<Vec<PendingLogin>, StoreError> {
        logins::all(&self.reader().database)
    }

    fn forget_login(&self, name: &str, id: u64) -> Result<bool, StoreError> {
        let was_there = self.write(|step| logins::forget(step, name, id))?;
        self.cut_log();
        Ok(was_there)
    }

    fn finish_login(
        &self,
        login: (&str, u64),
        session: &NewSession,
        replaces: Option<KeyId>,
    ) -> Result<Addition, StoreError> {
        let addition = self.write(|step| logins::finish(step, login, session, replaces))?;
        self.cut_log();
        Ok(addition)
    }

    fn was_removed(&self, key: KeyId) -> Result<bool, StoreError> {
        logins::was_removed(&self.reader().database, key)
    }

    fn add_logout_token(&self, user_id: i64, token: &[u8]) -> Result<(), StoreError> {
        self.write(|step| logins::add_logout_token(step, user_id, token))
    }

    fn logout_tokens(&self, user_id: i64) -> Result<Vec<Zeroizing<Vec<u8>>>, StoreError> {
        logins::logout_tokens(&self.reader().database, user_id)
    }

    fn revision(&self) -> Result<u64, StoreError> {
        let mut reader = self.reader();
        let changes = reader.database.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if changes != reader.changes {
            let revision: i64 = reader.database.query_row(
                "SELECT value FROM meta WHERE name = 'revision'",
                (),
                |row| row.get(0),
            )?;
            (reader.changes, reader.revision) = (changes, revision.cast_unsigned());
        }
        Ok(reader.revision)
    }

    fn accounts_since(
        &self,
        revision: u64,
        visit: &mut dyn FnMut(StoredAccount),
    ) -> Result<(), StoreError> {
        accounts::since(&self.scanner.lock(), revision, visit)
    }

    fn account(&self, name: AccountId) -> Result<Option<StoredAccount>, StoreError> {
        accounts::by_name(&self.reader().database, name)
    }

    fn sessions(
        &self,
        of: Option<StoreId>,
        visit: &mut dyn FnMut(StoredSession),
    ) -> Result<(), StoreError> {
        accounts::sessions(&self.scanner.lock(), of, visit)
    }

    fn record(
        &self,
        account: StoreId,
        slot: u16,
        name: AccountId,
    ) -> Result<Option<SessionRecord>, StoreError> {
        accounts::record(&self.reader().database, account, slot, name)
    }

    fn key_at(&self, account: StoreId, slot: u16) -> Result<Option<KeyId>, StoreError> {
        accounts::key_at(&self.reader().database, account, slot)
    }

    fn set_quarantine(
        &self,
        key: KeyId,
        reason: Option<QuarantineReason>,
    ) -> Result<bool, StoreError> {
        self.write(|step| change::set_quarantine(step, key, reason))
    }

    fn note_logins(
        &self,
        logins: &[(KeyId, Option<SessionUser>)],
    ) -> Result<Vec<Option<Conflict>>, StoreError> {
        self.write(|step| {
            logins.iter().map(|(key, user)| change::note_login(step, *key, *user)).collect()
        })
    }

    fn change(&self, keys: &[KeyId], change: &SessionChange) -> Result<usize, StoreError> {
        self.write(|step| change::change(step, keys, change))
    }

    fn remove(&self, keys: &[KeyId], how: Removal) -> Result<Vec<StoredSession>, StoreError> {
        let removed = self.write(|step| change::remove(step, keys, how))?;
        self.cut_log();
        Ok(removed)
    }

    fn forget_removed(&self, keys: &[KeyId]) -> Result<usize, StoreError> {
        self.write(|step| change::forget_removed(step, keys))
    }

    fn settle(&self) -> Result<usize, StoreError> {
        self.write(merge::settle)
    }

    fn peers(&self, account: StoreId, visit: &mut dyn FnMut(KnownPeer)) -> Result<(), StoreError> {
        states::peers(&self.scanner.lock(), account, visit)
    }

    fn update_states(&self, account: StoreId) -> Result<UpdateStates, StoreError> {
        states::update_states(&self.reader().database, account)
    }

    fn set_update_states(&self, states: &[(StoreId, UpdateStates)]) -> Result<(), StoreError> {
        self.write(|step| {
            states.iter().try_for_each(|(account, it)| states::set(step, account.0, it))
        })
    }

    fn serve_mark(&self) -> Result<Option<ServeMark>, StoreError> {
        states::serve_mark(&self.reader().database)
    }

    fn set_serve_mark(&self, mark: &ServeMark) -> Result<(), StoreError> {
        self.write(|step| states::set_serve_mark(step, mark))
    }
}
