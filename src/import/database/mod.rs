//! The SQLite files of other programs.
//!
//! Owns how one is opened without a trace, and which program's it is. That is told by its columns, never by a
//! version number or a name: four programs have a version 4, and each changes the files of its relatives. Never
//! opens a file for writing, and reads none that its program has not closed unless it is told to.
//!
//! | tables | program |
//! |---|---|
//! | `dc_home`, `dc_option` | grammers |
//! | `sessions` with `test_mode`, `user_id` | the family of Pyrogram |
//! | `sessions` with `server_address`, `port` alone | Telethon |

mod cells;
mod grammers;
mod open;
mod open_files;
mod pyrogram;
mod tables;
mod telethon;

use std::path::Path;

pub(super) use open::STREAM_LEN_MAX;
use tables::Tables;

use super::{FoundSession, ImportError};

/// What every SQLite file begins with.
pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";

/// The session of a file.
pub(super) fn read_file(path: &Path, in_use_is_fine: bool) -> Result<FoundSession, ImportError> {
    open::file(path, in_use_is_fine, read)
}

/// The session of a file that has come whole, as from standard input.
pub(super) fn read_bytes(bytes: Vec<u8>) -> Result<FoundSession, ImportError> {
    open::bytes(bytes).and_then(|connection| read(&Tables::new(connection)))
}

fn read(tables: &Tables) -> Result<FoundSession, ImportError> {
    if let (Some(home), Some(options)) = (tables.columns("dc_home")?, tables.columns("dc_option")?)
        && home.has(&["dc_id"])
        && options.has(&["dc_id", "auth_key"])
    {
        return grammers::read(tables);
    }
    match tables.columns("sessions")? {
        Some(it) if it.has(&["dc_id", "auth_key", "test_mode", "user_id"]) => {
            pyrogram::read(tables, &it)
        }
        Some(it) if it.has(&["dc_id", "auth_key", "server_address", "port"]) => {
            telethon::read(tables)
        }
        _ => Err(ImportError::NotASession { what: "an SQLite database of something else" }),
    }
}
