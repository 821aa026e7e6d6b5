//! Path of the quarantine file: what is told where no file can be replaced.

use std::path::{Path, PathBuf};

use super::QuarantineFileError;
use crate::base::disk::{self, PlaceError};

/// The file that a path leads to, which need not be there yet.
pub(super) fn resolve(named: &Path) -> Result<PathBuf, QuarantineFileError> {
    Ok(disk::resolve(named)?)
}

/// Whether the file is there. Anything else that stands in its place is an error.
pub(super) fn is_there(path: &Path) -> Result<bool, QuarantineFileError> {
    Ok(disk::is_there(path)?)
}

impl From<PlaceError> for QuarantineFileError {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::NotAFile { path, what } => Self::NotAFile { path, what },
            PlaceError::Io { path, error } => Self::Io { path, error },
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
