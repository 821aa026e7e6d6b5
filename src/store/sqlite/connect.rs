//! Connections to the database, and how each is set.
//!
//! Owns what a connection has to have before anybody reads or writes by it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::schema;
use crate::store::StoreError;

/// How long a write waits for that of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is tried to have a log at all, which waits for nobody by itself, and how long in between.
const LOG_TRIES: u32 = 100;
const LOG_TRY_STEP: Duration = Duration::from_millis(20);
/// Statements that are kept ready.
const STATEMENTS: usize = 64;

/// Opens the file, which has to be there.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    database.busy_timeout(BUSY_TIMEOUT)?;
    database.set_prepared_statement_cache_capacity(STATEMENTS);
    // First, since what follows would change the file of another program.
    schema::check(&database, path).map_err(|error| of_no_database(error, path))?;
    // Readers and the writer do not wait for one another, and what is written is on disk at once.
    let mut tries = 0;
    while let Err(error) = database.pragma_update(None, "journal_mode", "wal") {
        tries += 1;
        if !is_busy(&error) || tries >= LOG_TRIES {
            return Err(error.into());
        }
        std::thread::sleep(LOG_TRY_STEP);
    }
    database.pragma_update(None, "synchronous", "full")?;
    // A key that is removed leaves nothing behind.
    database.pragma_update(None, "secure_delete", true)?;
    enforce(&database)?;
    Ok(database)
}

/// A file that is no database is told so.
fn of_no_database(error: StoreError, path: &Path) -> StoreError {
    let StoreError::Database(cause) = &error else { return error };
    let code = cause.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    match code {
        Some(rusqlite::ErrorCode::NotADatabase) => {
            StoreError::NotAStore { path: path.to_owned(), what: "no database" }
        }
        _ => error,
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

pub(super) fn enforce(database: &Connection) -> Result<(), StoreError> {
    database.pragma_update(None, "foreign_keys", true)?;
    database.pragma_update(None, "trusted_schema", false)?;
    Ok(())
}
