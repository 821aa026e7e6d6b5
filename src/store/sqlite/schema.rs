//! The tables of a store, and the way from earlier versions of them.
//!
//! Owns the schema. One for every engine: what SQLite alone has (`STRICT`, `WITHOUT ROWID`) is of no meaning to it.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::store::StoreError;

/// What marks a database as a store (`application_id`): "tpol".
pub(super) const APPLICATION_ID: i64 = 0x7470_6f6c;

/// What leads from each version to the next; a new store takes all of them.
///
/// Columns named `seal` say how what stands beside them is sealed; 0: not at all.
const STEPS: &[&str] = &[
    "
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('revision', 0);

CREATE TABLE proxy (
  id INTEGER PRIMARY KEY,
  label TEXT NOT NULL,
  seal INTEGER NOT NULL DEFAULT 0,
  url BLOB NOT NULL
) STRICT;
CREATE INDEX proxy_label ON proxy (label);

CREATE TABLE account (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id INTEGER UNIQUE,
  is_bot INTEGER CHECK (is_bot IN (0, 1)),
  label TEXT,
  proxy INTEGER REFERENCES proxy,
  created INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  redial_revision INTEGER NOT NULL DEFAULT 0,
  slots_given INTEGER NOT NULL DEFAULT 0,
  merges_into INTEGER REFERENCES account
) STRICT;
CREATE INDEX account_revision ON account (revision);
CREATE INDEX account_proxy ON account (proxy) WHERE proxy IS NOT NULL;
CREATE INDEX account_merges ON account (merges_into) WHERE merges_into IS NOT NULL;

CREATE TABLE phone (
  number INTEGER PRIMARY KEY,
  account INTEGER NOT NULL REFERENCES account,
  since INTEGER NOT NULL
) STRICT;
CREATE INDEX phone_account ON phone (account);

CREATE TABLE identity (
  id INTEGER PRIMARY KEY,
  device_model TEXT NOT NULL,
  system_version TEXT NOT NULL,
  app_version TEXT NOT NULL,
  system_lang_code TEXT NOT NULL,
  lang_code TEXT NOT NULL,
  UNIQUE (device_model, system_version, app_version, system_lang_code, lang_code)
) STRICT;

CREATE TABLE session (
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL REFERENCES account,
  slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 63),
  key_id INTEGER NOT NULL UNIQUE,
  dc INTEGER NOT NULL CHECK (dc BETWEEN 1 AND 255),
  address TEXT NOT NULL,
  test_mode INTEGER NOT NULL CHECK (test_mode IN (0, 1)),
  api_id INTEGER,
  identity INTEGER REFERENCES identity,
  origin TEXT NOT NULL,
  created INTEGER NOT NULL,
  login_at INTEGER,
  quarantine TEXT,
  quarantined_at INTEGER,
  UNIQUE (account, slot)
) STRICT;

CREATE INDEX session_identity ON session (identity) WHERE identity IS NOT NULL;

CREATE TABLE secret (
  session INTEGER NOT NULL REFERENCES session ON DELETE CASCADE,
  dc INTEGER NOT NULL,
  seal INTEGER NOT NULL DEFAULT 0,
  key BLOB NOT NULL,
  PRIMARY KEY (session, dc)
) STRICT, WITHOUT ROWID;

CREATE TABLE removed_key (key_id INTEGER PRIMARY KEY, removed INTEGER NOT NULL) STRICT;

CREATE TABLE bot_token (
  bot INTEGER PRIMARY KEY,
  seal INTEGER NOT NULL DEFAULT 0,
  token BLOB NOT NULL,
  added INTEGER NOT NULL
) STRICT;

CREATE TABLE pending_login (
  id INTEGER PRIMARY KEY,
  phone INTEGER NOT NULL UNIQUE,
  dc INTEGER NOT NULL,
  address TEXT NOT NULL,
  api_id INTEGER NOT NULL,
  seal INTEGER NOT NULL DEFAULT 0,
  key BLOB NOT NULL,
  code_hash BLOB NOT NULL,
  code_kind TEXT NOT NULL,
  next_kind TEXT,
  asked INTEGER NOT NULL,
  expires INTEGER
) STRICT;

CREATE TABLE logout_token (
  id INTEGER PRIMARY KEY,
  user_id INTEGER NOT NULL,
  seal INTEGER NOT NULL DEFAULT 0,
  token BLOB NOT NULL,
  added INTEGER NOT NULL
) STRICT;

CREATE TABLE peer (
  account INTEGER NOT NULL REFERENCES account,
  space INTEGER NOT NULL CHECK (space IN (0, 1, 2)),
  id INTEGER NOT NULL,
  kind TEXT NOT NULL,
  access_hash INTEGER NOT NULL,
  username TEXT,
  PRIMARY KEY (account, space, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE update_state (
  account INTEGER PRIMARY KEY REFERENCES account,
  pts INTEGER NOT NULL,
  qts INTEGER NOT NULL,
  date INTEGER NOT NULL,
  seq INTEGER NOT NULL
) STRICT;

CREATE TABLE channel_state (
  account INTEGER NOT NULL REFERENCES account,
  channel INTEGER NOT NULL,
  pts INTEGER NOT NULL,
  PRIMARY KEY (account, channel)
) STRICT, WITHOUT ROWID;

CREATE TABLE owner (
  id INTEGER PRIMARY KEY CHECK (id = 0),
  machine TEXT NOT NULL,
  pid INTEGER NOT NULL,
  since INTEGER NOT NULL,
  heartbeat INTEGER NOT NULL,
  socket TEXT,
  released INTEGER NOT NULL CHECK (released IN (0, 1))
) STRICT;
",
    "
-- Nothing was ever in it.
DROP TABLE pending_login;
CREATE TABLE pending_login (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  login INTEGER NOT NULL,
  started INTEGER NOT NULL,
  seal INTEGER NOT NULL DEFAULT 0,
  state BLOB NOT NULL
) STRICT;
CREATE INDEX logout_token_user ON logout_token (user_id);
",
];

/// Brings a database to the version of this program, in one step that is all or nothing. What there was is copied
/// beside it first.
pub(super) fn migrate(database: &mut Connection, path: &Path) -> Result<(), StoreError> {
    migrate_by(STEPS, database, path)
}

fn migrate_by(steps: &[&str], database: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let version = version_by(steps, database, path)?;
    if version == steps.len() {
        return Ok(());
    }
    if version > 0 {
        copy_beside(database, path, version)?;
    }
    let step = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have done it since.
    let version = version_by(steps, &step, path)?;
    for sql in steps.iter().skip(version) {
        step.execute_batch(sql)?;
    }
    step.pragma_update(None, "application_id", APPLICATION_ID)?;
    step.pragma_update(None, "user_version", i64::try_from(steps.len()).unwrap_or(i64::MAX))?;
    step.commit()?;
    Ok(())
}

/// Whether a database is a store that can be used, or why not. Changes nothing.
pub(super) fn check(database: &Connection, path: &Path) -> Result<(), StoreError> {
    version_by(STEPS, database, path).map(drop)
}

/// How many of the steps it has taken.
fn version_by(steps: &[&str], database: &Connection, path: &Path) -> Result<usize, StoreError> {
    let number = |name: &str| database.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (id, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 =
        database.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if id != APPLICATION_ID && (id != 0 || version != 0 || tables != 0) {
        let what = "a database of another program, which `telepool session import` may read";
        return Err(StoreError::NotAStore { path: path.to_owned(), what });
    }
    let later = || StoreError::Later { path: path.to_owned(), version };
    usize::try_from(version).ok().filter(|version| *version <= steps.len()).ok_or_else(later)
}

/// Copies the store as it is, for its user alone: `NAME.version-1`.
fn copy_beside(database: &Connection, path: &Path, version: usize) -> Result<(), StoreError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".version-{version}"));
    let copy = path.with_file_name(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&copy).map_err(|error| StoreError::Io { path: copy.clone(), error })?;
    database.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_version_is_copied_and_brought_up_in_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.db");
        let one = "CREATE TABLE a (x); INSERT INTO a VALUES (7);";
        let mut database = Connection::open(&path).unwrap();
        migrate_by(&[one], &mut database, &path).unwrap();
        // One that fails in the middle leaves everything as it was.
        let broken = "CREATE TABLE b (y); INSERT INTO nowhere VALUES (1);";
        assert!(migrate_by(&[one, broken], &mut database, &path).is_err());
        assert_eq!(version_by(&[one, broken], &database, &path).unwrap(), 1);
        migrate_by(&[one, "CREATE TABLE b (y)"], &mut database, &path).unwrap();
        assert_eq!(version_by(&[one, broken], &database, &path).unwrap(), 2);
        let copy = folder.path().join("it.db.version-1");
        let kept = Connection::open(&copy).unwrap();
        assert_eq!(version_by(&[one], &kept, &copy).unwrap(), 1);
        let seven: i64 = kept.query_row("SELECT x FROM a", (), |row| row.get(0)).unwrap();
        assert_eq!(seven, 7);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // A program of the first version leaves it alone.
        assert!(matches!(
            migrate_by(&[one], &mut database, &path),
            Err(StoreError::Later { version: 2, .. })
        ));
    }
}
