//! Files that are opened only if they are files.
//!
//! Owns what is refused in the place of one: opening it may wait for ever, or do something.

use std::fs::{self, File, Metadata};
use std::path::Path;

use super::ImportError;

/// A file that can be read to its end.
pub(super) fn regular(path: &Path) -> Result<File, ImportError> {
    check(&fs::metadata(path)?)?;
    let mut options = File::options();
    options.read(true);
    // Another may have come in its place since.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        (nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY).bits(),
    );
    let file = options.open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

fn check(found: &Metadata) -> Result<(), ImportError> {
    if found.is_file() { Ok(()) } else { Err(ImportError::NotAFile { what: what(found) }) }
}

/// What something is that is no file.
#[cfg(unix)]
fn what(found: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;

    let kind = found.file_type();
    match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

#[cfg(not(unix))]
fn what(found: &Metadata) -> &'static str {
    if found.is_dir() { "a folder" } else { "a device" }
}
