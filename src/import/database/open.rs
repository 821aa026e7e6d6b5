//! How a database is opened: read only, in a way that leaves nothing beside it.
//!
//! Owns what tells that its program has not closed it, and the limits under which a file of whatever content is
//! read. Never creates a file beside one that was closed.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use zeroize::Zeroizing;

use super::Tables;
use super::open_files::is_open_elsewhere;
use crate::import::ImportError;

/// The longest file: one that has met a million peers has 200 MiB.
const FILE_LEN_MAX: u64 = 1 << 30;
/// The longest one that comes as bytes, which are held in memory.
pub(in crate::import) const STREAM_LEN_MAX: u64 = 64 << 20;
/// The longest row, key and text.
const ROW_LEN_MAX: i32 = 1 << 20;
/// For how long it is waited that a program finishes its writing.
const BUSY_WAIT: Duration = Duration::from_secs(2);
/// How many steps of SQLite's machine are taken between two looks at the count, and how often: a million peers
/// take a tenth of it, and a file that is made to keep us busy ends with it.
const STEPS: i32 = 100_000;
const STEPS_COUNT_MAX: u32 = 1000;

/// Opens a file, reads it and makes sure that nobody has changed it meanwhile.
pub(super) fn file<T>(
    named: &Path,
    in_use_is_fine: bool,
    read: impl FnOnce(&Tables) -> Result<T, ImportError>,
) -> Result<T, ImportError> {
    // What lies beside the file lies where links lead to.
    let path = fs::canonicalize(named)?;
    let before = fs::metadata(&path)?;
    if before.len() > FILE_LEN_MAX {
        return Err(ImportError::TooLong { limit: FILE_LEN_MAX });
    }
    if !in_use_is_fine && is_open_elsewhere(&before) {
        return Err(ImportError::InUse { beside: "a process has it open" });
    }
    let beside = unclosed(&path)?;
    if let Some(beside) = beside.filter(|_| !in_use_is_fine) {
        return Err(ImportError::InUse { beside });
    }
    if beside.is_none() {
        check_length(fs::File::open(&path)?, before.len())?;
    }
    let result =
        connect(&path, beside.is_none()).and_then(|connection| read(&Tables::new(connection)));
    // An immutable file is read without locks, which is right only while it is one.
    let is_same = beside.is_some()
        || unclosed(&path)?.is_none() && is_unchanged(&before, &fs::metadata(&path)?);
    if is_same { result } else { Err(ImportError::InUse { beside: "it changes" }) }
}

fn is_unchanged(before: &Metadata, after: &Metadata) -> bool {
    before.len() == after.len() && before.modified().ok() == after.modified().ok()
}

fn connect(path: &Path, is_closed: bool) -> Result<Connection, ImportError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(uri(path, is_closed), flags).map_err(told)?;
    connection.busy_timeout(BUSY_WAIT).map_err(told)?;
    limit(&mut connection)?;
    Ok(connection)
}

/// A database out of memory.
pub(super) fn bytes(mut bytes: Vec<u8>) -> Result<Connection, ImportError> {
    if bytes.len() as u64 > STREAM_LEN_MAX {
        return Err(ImportError::TooLong { limit: STREAM_LEN_MAX });
    }
    check_length(&bytes[..], bytes.len() as u64)?;
    // Memory has no WAL. A file that was closed is whole without one, and says only that it had one.
    if let Some(modes) = bytes.get_mut(18..20).filter(|modes| *modes == [2, 2]) {
        modes.fill(1);
    }
    let bytes = Zeroizing::new(bytes);
    let mut connection = Connection::open_in_memory().map_err(told)?;
    let read = connection.deserialize_read_exact("main", &bytes[..], bytes.len(), true);
    read.map_err(told)?;
    limit(&mut connection)?;
    Ok(connection)
}

/// Whether a file is as long as its header says: of the last page that is there SQLite takes a part for whole.
fn check_length(mut file: impl Read, len: u64) -> Result<(), ImportError> {
    let cut_off = || ImportError::Damaged { what: "it is cut off" };
    let mut header = [0; 100];
    file.read_exact(&mut header).map_err(|_| cut_off())?;
    let number =
        |at: usize| header[at..at + 4].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let page = match number(16) >> 16 {
        1 => 1 << 16,
        page => page,
    };
    // Programs of old have left the count as it was, and say so.
    let is_counted = number(24) == number(92);
    if is_counted && number(28) * page > len { Err(cut_off()) } else { Ok(()) }
}

/// Has SQLite trust nothing that stands in the file, and never work for long.
fn limit(connection: &mut Connection) -> Result<(), ImportError> {
    let mut left = STEPS_COUNT_MAX;
    let handler = move || {
        left = left.saturating_sub(1);
        left == 0
    };
    connection.progress_handler(STEPS, Some(handler)).map_err(told)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, ROW_LEN_MAX).map_err(told)?;
    for (config, is_on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    ] {
        connection.set_db_config(config, is_on).map_err(told)?;
    }
    Ok(())
}

/// What says that a database is in use, or was not closed, if anything does.
fn unclosed(path: &Path) -> Result<Option<&'static str>, ImportError> {
    // The last that closes a database takes its WAL away, even an empty one.
    if len(&beside(path, "-wal"))?.is_some() {
        return Ok(Some("a file -wal lies beside it"));
    }
    // Of a journal that nothing stands in nothing is to be undone.
    let journal = len(&beside(path, "-journal"))?.filter(|len| *len > 0);
    Ok(journal.map(|_| "a file -journal lies beside it"))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// How long a file is, if it is there.
fn len(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The address of a file, every byte of which may be in its name. An immutable one is read without locks and
/// without what lies beside it.
fn uri(path: &Path, is_closed: bool) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            it if it.is_ascii_alphanumeric() => uri.push(char::from(*it)),
            it => uri.push_str(&format!("%{it:02X}")),
        }
    }
    uri.push_str(if is_closed { "?mode=ro&immutable=1" } else { "?mode=ro" });
    uri
}

/// What an error of SQLite's means here. Its own words may quote the file.
pub(super) fn told(error: rusqlite::Error) -> ImportError {
    let what = match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed,
        ) => {
            return ImportError::InUse { beside: "its program writes to it" };
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => return ImportError::Unfinished,
        Some(ErrorCode::OperationInterrupted) => "it takes too long to read",
        Some(ErrorCode::TooBig) => "one of its rows is longer than any is",
        Some(ErrorCode::OutOfMemory) => "it takes too much memory to read",
        Some(ErrorCode::SystemIoFailure) => "SQLite cannot read it to its end",
        _ => "SQLite cannot read it",
    };
    ImportError::Damaged { what }
}
