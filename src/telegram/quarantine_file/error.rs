//! The error of a quarantine file: what can be wrong with it, and what would do instead.

use std::io;
use std::path::{Path, PathBuf};

use crate::ownership::Holder;

/// Why a file of quarantines cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuarantineFileError {
    /// It cannot be read, or not be written where it is.
    #[error("{path}: {error}: {}", remedy(.error))]
    Io {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
    /// A line that was not written by this library.
    #[error(
        "{path}, line {line}: {problem}: correct the line, or remove it to lift the quarantine"
    )]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody else keeps quarantines in it: two would dial what the other has learnt is over.
    #[error(
        "{path} is held by {}: end that process first, or keep the quarantines in another file",
        whom(.holder)
    )]
    InUse {
        /// Which file.
        path: PathBuf,
        /// Who holds it, if that is known.
        holder: Option<Holder>,
    },
    /// It holds something else, which is not written over.
    #[error("{path} is {what}: {}", other_file(.is_encoding))]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// Whether it may be a file of quarantines that was saved in another encoding.
        is_encoding: bool,
    },
    /// What stands there cannot be replaced by a file.
    #[error("{path} is {what}: name a regular file, or one that is not there yet")]
    NotAFile {
        /// Where that stands.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
}

impl QuarantineFileError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }
}

/// What to do about a file of something else.
fn other_file(is_encoding: &bool) -> &'static str {
    match is_encoding {
        true => "save it as UTF-8, or name another file",
        false => "name the file that the quarantines are kept in, or one that is not there yet",
    }
}

/// What would help against an error of the system.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        // A rename cannot replace what something is mounted on.
        io::ErrorKind::ResourceBusy => {
            "it is mounted by itself, so that it cannot be replaced: mount its folder instead"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there, or choose another place for the state file"
        }
        _ => "choose another place for the state file, or give access to it",
    }
}

fn whom(holder: &Option<Holder>) -> String {
    holder.as_ref().map_or_else(|| "another process".to_owned(), Holder::to_string)
}
