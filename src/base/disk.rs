//! Files that are replaced as a whole, by another that is renamed over them.
//!
//! Owns where the lock between writers lies, and that a rename outlasts the machine.

use std::io;
use std::path::{Path, PathBuf};

/// The folder that a path names a file in.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The lock beside a file. It stays there: to remove it would let two writers hold two files.
pub(crate) fn lock_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    path.with_file_name(name)
}

/// A rename outlasts the machine when its folder is written.
#[cfg(unix)]
pub(crate) fn keep_rename(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be written by itself, and need not be.
#[cfg(not(unix))]
pub(crate) fn keep_rename(_folder: &Path) -> io::Result<()> {
    Ok(())
}
