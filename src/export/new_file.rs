//! New files that hold a key: their user's alone from the first moment on, and there whole or not at all.
//!
//! Owns the name beside the final one, under which a file is written, and the move that overwrites nothing. Never
//! leaves a part behind, unless the process is killed meanwhile: then that lies there under the other name, its
//! user's alone as well.

use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

use super::SessionExportError;
use crate::base::disk::{folder, keep_rename};

/// Writes a text and a line break into a new file.
///
/// # Errors
/// Something stands at the path, or the system refuses.
pub fn text_file(text: &str, path: &Path) -> Result<(), SessionExportError> {
    write(path, |file| {
        let mut file = file.as_file();
        file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(failed(path))
    })
}

/// Has a new file written, and puts it in its place.
pub(super) fn write(
    path: &Path,
    write: impl FnOnce(&NamedTempFile) -> Result<(), SessionExportError>,
) -> Result<(), SessionExportError> {
    // Before the work, and for a path such as `..`; the move looks by itself.
    if path.symlink_metadata().is_ok() {
        return Err(SessionExportError::Exists { path: path.to_owned() });
    }
    let folder = folder(path);
    let file = tempfile::Builder::new().prefix(".telepool-").tempfile_in(folder);
    let file = file.map_err(failed(path))?;
    write(&file)?;
    file.as_file().sync_all().map_err(failed(path))?;
    file.persist_noclobber(path).map_err(|refused| failed(path)(refused.error))?;
    keep_rename(folder).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> SessionExportError {
    move |error| match error.kind() {
        io::ErrorKind::AlreadyExists => SessionExportError::Exists { path: path.to_owned() },
        _ => SessionExportError::Io { path: path.to_owned(), error },
    }
}
