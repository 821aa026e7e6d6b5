//! Files that are replaced as a whole, by another that is renamed over them.
//!
//! Owns where such a file really stands (`place`), the lock between its writers (`lock`), and that a rename
//! outlasts the machine.

#[cfg(any(feature = "http", feature = "telegram"))]
mod lock;
mod place;

use std::path::Path;

#[cfg(feature = "telegram")]
pub(crate) use lock::is_at;
#[cfg(any(feature = "http", feature = "telegram"))]
pub(crate) use lock::{PathLock, PathLockError, lock_beside};
#[cfg(all(test, feature = "telegram"))]
pub(crate) use place::HOPS_MAX;
#[cfg(feature = "telegram")]
pub(crate) use place::is_there;
pub(crate) use place::{PlaceError, resolve};

/// The folder that a path names a file in.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A rename outlasts the machine when its folder is written.
#[cfg(all(unix, any(feature = "http", feature = "telegram", feature = "store")))]
pub(crate) fn keep_rename(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be written by itself, and need not be.
#[cfg(all(not(unix), any(feature = "http", feature = "telegram", feature = "store")))]
pub(crate) fn keep_rename(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}
