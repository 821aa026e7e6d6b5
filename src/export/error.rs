//! Why a session cannot be written for another program.
//!
//! Owns the errors. They name files and what is missing, and never repeat a key.

use std::io;
use std::path::PathBuf;

/// Why a session cannot be written for another program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionExportError {
    /// Nobody knows whose it is, or whether that is a bot.
    #[error(
        "Pyrogram's formats say whose a session is and whether it is a bot, which is not known of this one: \
         `telepool session check` asks, or export it for Telethon"
    )]
    Unidentified,
    /// Nobody knows which application has logged in.
    #[error(
        "Pyrogram's formats say which application has logged in, which is not known of this session: \
         `telepool session set --api-id ID` notes it, or export it for Telethon"
    )]
    NoApplication,
    /// Nobody knows where its data centre listens.
    #[error(
        "Telethon's formats say where the data centre listens, which is not known of this session: \
         `telepool session set --address IP:PORT` notes it, or export it for Pyrogram"
    )]
    NoAddress,
    /// No such data centre.
    #[error("the data centre must be 1 to 255: import the session again from where it came")]
    DataCentre,
    /// An authorization key of zeros.
    #[error("the session has no authorization key: log in first")]
    NoKey,
    /// Something stands where the file is to be.
    #[error(
        "{}: it is there already, and nothing is overwritten: name a file that is not there yet", path.display()
    )]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The database refuses.
    #[error("{}: it cannot be written: {error}", path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
}
