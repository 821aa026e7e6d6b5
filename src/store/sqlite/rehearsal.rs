//! Rehearsal of an import: what it would come to.
//!
//! Owns a copy of what is known of accounts and keys, in memory. Has no key and no token in it.

use std::path::Path;

use rusqlite::Connection;

use super::connect::enforce;
use super::{add, schema, write_step};
use crate::base::sync::Mutex;
use crate::import::BotToken;
use crate::store::{Addition, NewSession, StoreError};

/// A store's accounts and key ids in memory, at which it is tried out what an addition would come to.
#[derive(Debug)]
pub struct Rehearsal(Mutex<Connection>);

impl Rehearsal {
    /// What is copied: neither keys nor what belongs to them.
    const COPY: &str = "
        INSERT INTO main.account
          SELECT id, user_id, is_bot, label, NULL, created, revision, redial_revision, slots_given, merges_into
            FROM original.account ORDER BY merges_into IS NOT NULL;
        INSERT INTO main.phone SELECT * FROM original.phone;
        INSERT INTO main.session SELECT id, account, slot, key_id, dc, '', test_mode, NULL, NULL, '', 0, NULL, NULL, NULL
          FROM original.session;
        INSERT INTO main.removed_key SELECT * FROM original.removed_key;
        INSERT INTO main.bot_token SELECT bot, 0, x'', added FROM original.bot_token;
        DETACH original;";

    /// One of a store that is not there yet.
    ///
    /// # Errors
    /// The storage fails.
    pub fn empty() -> Result<Self, StoreError> {
        let mut database = Connection::open_in_memory()?;
        schema::migrate(&mut database, Path::new(":memory:"))?;
        enforce(&database)?;
        Ok(Self(Mutex::new(database)))
    }

    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let empty = Self::empty()?;
        {
            let database = empty.0.lock();
            database.execute("ATTACH ?1 AS original", [path.to_string_lossy()])?;
            database.execute_batch(Self::COPY)?;
        }
        Ok(empty)
    }

    /// What the addition of these would come to.
    ///
    /// # Errors
    /// The storage fails.
    pub fn add(&self, sessions: &[NewSession]) -> Result<Vec<Addition>, StoreError> {
        write_step(&mut self.0.lock(), |step| {
            sessions.iter().map(|new| add::add(step, new, add::Keep::NoSecrets)).collect()
        })
    }

    /// Whether the token of a bot would be another one than before. Tokens that are kept are not compared: one of
    /// the same bot counts as known.
    ///
    /// # Errors
    /// The storage fails.
    pub fn add_bot_token(&self, token: &BotToken) -> Result<bool, StoreError> {
        let bot = token.bot.number().cast_signed();
        let database = self.0.lock();
        let added = database.execute(
            "INSERT OR IGNORE INTO bot_token (bot, token, added) VALUES (?1, x'', 0)",
            [bot],
        )?;
        Ok(added > 0)
    }
}
