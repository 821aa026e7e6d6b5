//! The errors of an import: why an input gives no session, or one of its sessions is none.
//!
//! Owns the wording: what is wrong and what would help. Never holds a key, a string, a token or a passcode, nor
//! any text of the input.

use std::io;

use super::Origin;
use crate::session::lines::{ForeignFile, LineError};
use crate::session::{AuthKey, SessionStringError};

/// Why an input gives no session at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It is not there, or must not be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Neither a file nor a folder.
    #[error("it is {what}: give a file, or the folder of Telegram Desktop")]
    NotAFile {
        /// What it is.
        what: &'static str,
    },
    /// A folder, and not one of Telegram Desktop.
    #[error(
        "it is a folder without the files of Telegram Desktop (key_datas): give the folder `tdata`, or the \
         files within"
    )]
    Folder,
    /// A file of Telegram Desktop without its folder.
    #[error("it is one file of Telegram Desktop: give the whole folder `tdata`")]
    PartOfFolder,
    /// Longer than any file of sessions.
    #[error("it is longer than {} MiB, the most that is read of it", .limit >> 20)]
    TooLong {
        /// How many bytes it may have.
        limit: u64,
    },
    /// Something else altogether.
    #[error("it holds no session: it is {what}")]
    NotASession {
        /// What it is.
        what: &'static str,
    },
    /// Sessions in a form that has to be changed first.
    #[error("it cannot be read as it is: it is {0}")]
    Foreign(ForeignFile),
    /// A database that a program has open, or had open when it ended.
    #[error(
        "it is in use, or was not closed ({beside}): stop the program that uses it, and do not start it \
         again: two programs with one session make Telegram void it (`--i-have-stopped-it` reads it as it is)"
    )]
    InUse {
        /// What tells of it.
        beside: &'static str,
    },
    /// A database whose program has ended in the middle of a change.
    #[error(
        "the program that wrote it has ended in the middle of a change, which only it can undo: copy all \
         files that begin with this name into a folder that can be written, or start and stop the program \
         once more"
    )]
    Unfinished,
    /// A session of nobody.
    #[error("nobody is signed in with it: {} has written no authorization key", .origin.name())]
    SignedOut {
        /// Whose file it is.
        origin: Origin,
    },
    /// An authorization key of another length.
    #[error(
        "its authorization key has {len} bytes in place of {}: it is damaged, or not a session of Telegram",
        AuthKey::LEN
    )]
    KeyLength {
        /// How many bytes there are.
        len: usize,
    },
    /// A key that is not the one whose id is written beside it.
    #[error(
        "its authorization key is not the one that its id names: it is damaged, export it again"
    )]
    KeyId,
    /// No such data centre.
    #[error("its data centre is none of 1 to 255: it is damaged, or not a session of Telegram")]
    DataCentre,
    /// A file that contradicts itself.
    #[error("it is damaged ({what}): copy it again while no program uses it")]
    Damaged {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A folder that is locked.
    #[error(
        "it is locked with a passcode: give the one that Telegram Desktop asks for when it starts (or the \
         folder is damaged)"
    )]
    PasscodeMissing,
    /// A folder that is locked with another passcode.
    #[error(
        "the passcode is not the one that it is locked with: give the one that Telegram Desktop asks for \
         when it starts (or the folder is damaged)"
    )]
    PasscodeWrong,
}

impl ImportError {
    /// Whether the input is recognisably something else, such as a picture among sessions: whoever walks a
    /// folder passes it over.
    #[must_use]
    pub fn is_no_session(&self) -> bool {
        matches!(self, Self::NotASession { .. })
    }
}

/// One session of an input that is none, while others of it may be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// A JSON line.
    #[error(transparent)]
    Line(#[from] LineError),
    /// A line of text that is no session string, nor a bot's token.
    #[error("line {line}: {problem}")]
    Text {
        /// The number of the line, from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        problem: TextProblem,
    },
    /// An account of Telegram Desktop.
    #[error("account {number}: {problem}")]
    Account {
        /// Which one it is, from 1.
        number: u32,
        /// What is wrong with it.
        #[source]
        problem: ImportError,
    },
    /// Reading has failed, and nothing more comes.
    #[error("reading failed: {0}")]
    Read(#[from] io::Error),
}

/// What is wrong with a line of text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextProblem {
    /// Not a session string.
    #[error(transparent)]
    Session(#[from] SessionStringError),
    /// A token whose id no bot has.
    #[error("it looks like a bot's token, and there is no bot of this id: copy it whole")]
    BotId,
    /// JSON of its own.
    #[error(transparent)]
    Json(ImportError),
    /// Longer than any session.
    #[error("over {limit} bytes long: put each session on a line of its own")]
    TooLong {
        /// How many bytes a line may have.
        limit: usize,
    },
}
