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
const STEPS: &[&str] = &["
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('revision', 0);

CREATE TABLE account (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id INTEGER UNIQUE,
  is_bot INTEGER CHECK (is_bot IN (0, 1)),
  label TEXT,
  created INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  redial_revision INTEGER NOT NULL DEFAULT 0,
  merges_into INTEGER REFERENCES account
) STRICT;
CREATE INDEX account_revision ON account (revision);
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

CREATE TABLE proxy (
  id INTEGER PRIMARY KEY,
  label TEXT NOT NULL,
  seal INTEGER NOT NULL DEFAULT 0,
  url BLOB NOT NULL
) STRICT;
CREATE INDEX proxy_label ON proxy (label);

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
  proxy INTEGER REFERENCES proxy,
  origin TEXT NOT NULL,
  created INTEGER NOT NULL,
  login_at INTEGER,
  quarantine TEXT,
  quarantined_at INTEGER,
  UNIQUE (account, slot)
) STRICT;

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
"];

/// The version of this program.
#[expect(clippy::cast_possible_wrap, reason = "they are a handful")]
const LATEST: i64 = STEPS.len() as i64;

/// Brings a database to the version of this program, in one step that is all or nothing. What there was is copied
/// beside it first.
pub(super) fn migrate(database: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let version = version_of(database, path)?;
    if version == LATEST {
        return Ok(());
    }
    if version > 0 {
        copy_beside(database, path, version)?;
    }
    let step = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have done it since.
    let version = version_of(&step, path)?;
    for sql in STEPS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        step.execute_batch(sql)?;
    }
    step.pragma_update(None, "application_id", APPLICATION_ID)?;
    step.pragma_update(None, "user_version", LATEST)?;
    step.commit()?;
    Ok(())
}

/// The version of a store, or why it is none that can be used. Changes nothing.
pub(super) fn version_of(database: &Connection, path: &Path) -> Result<i64, StoreError> {
    let number = |name: &str| database.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (id, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 =
        database.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if id != APPLICATION_ID && (id != 0 || version != 0 || tables != 0) {
        let what = "a database of another program, which `telepool session import` may read";
        return Err(StoreError::NotAStore { path: path.to_owned(), what });
    }
    match version > LATEST {
        true => Err(StoreError::Later { path: path.to_owned(), version }),
        false => Ok(version),
    }
}

/// Copies the store as it is, for its user alone: `NAME.version-1`.
fn copy_beside(database: &Connection, path: &Path, version: i64) -> Result<(), StoreError> {
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
