//! The place of a store's file: who can reach it, and what it lies on.
//!
//! Owns the making of the file, for its user alone, and the looks at what is there. Never changes what it finds, and never
//! opens a file that is there: to close it would take the database's locks of this process away (POSIX has them by
//! process).

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;
use crate::base::disk::{PlaceError, folder, resolve};

/// The shortest page of a database, in bytes.
const PAGE_LEN_MIN: u64 = 512;

/// Looks at the place of a store, and makes its file if it is not there and `make` says so. Returns its real
/// path.
pub(super) fn prepare(named: &Path, make: bool) -> Result<PathBuf, StoreError> {
    if make {
        make_folder(folder(named))?;
    }
    let path = resolve(named).map_err(|error| match error {
        PlaceError::NotAFile { path, what } => StoreError::NotAStore { path, what },
        PlaceError::Io { path, error } if error.kind() == io::ErrorKind::NotFound => {
            StoreError::Missing { path }
        }
        PlaceError::Io { path, error } => StoreError::Io { path, error },
    })?;
    // Between a look and an open somebody could put a link there: nobody else may write in the folder.
    check_folder(folder(&path))?;
    refuse_network(folder(&path))?;
    match fs::symlink_metadata(&path) {
        // Of less than a page a database would be made anew.
        Ok(found) if (1..PAGE_LEN_MIN).contains(&found.len()) => {
            Err(StoreError::NotAStore { path, what: "no database" })
        }
        Ok(_) => {
            check_file(&path)?;
            Ok(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && make => {
            create(&path).map_err(|error| StoreError::Io { path: path.clone(), error })?;
            Ok(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::Missing { path }),
        Err(error) => Err(StoreError::Io { path, error }),
    }
}

/// Makes the file before the database does, which would let all read it. Its companions get the modes it has.
fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn make_folder(folder: &Path) -> Result<(), StoreError> {
    if folder.exists() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| StoreError::Io { path: folder.to_owned(), error })
}

fn exposed(path: &Path, what: &'static str, remedy: &'static str) -> Result<(), StoreError> {
    Err(StoreError::Exposed { path: path.to_owned(), what, remedy })
}

/// The owner and the mode of a file or folder, and who asks.
#[cfg(unix)]
fn owner_and_mode(path: &Path) -> Result<(u32, u32, u32), StoreError> {
    use std::os::unix::fs::MetadataExt as _;

    let found = fs::metadata(path);
    let found = found.map_err(|error| StoreError::Io { path: path.to_owned(), error })?;
    Ok((found.uid(), found.mode(), nix::unistd::Uid::effective().as_raw()))
}

#[cfg(unix)]
fn check_file(path: &Path) -> Result<(), StoreError> {
    let (owner, mode, own) = owner_and_mode(path)?;
    if owner != own {
        let remedy = "run as that user, or give it to this one (chown)";
        return exposed(path, "it belongs to another user", remedy);
    }
    match mode & 0o077 {
        0 => Ok(()),
        _ => exposed(path, "others than its user may read it", "close it to them: chmod 600"),
    }
}

#[cfg(unix)]
fn check_folder(path: &Path) -> Result<(), StoreError> {
    const STICKY: u32 = 0o1000;
    let (owner, mode, own) = owner_and_mode(path)?;
    if owner != own && owner != 0 {
        let remedy = "put the store into a folder of your own";
        return exposed(path, "it belongs to another user", remedy);
    }
    match mode & 0o022 != 0 && mode & STICKY == 0 {
        true => exposed(path, "others may write in it", "close the folder to them: chmod go-w"),
        false => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_file(_path: &Path) -> Result<(), StoreError> {
    Ok(())
}

#[cfg(not(unix))]
fn check_folder(_path: &Path) -> Result<(), StoreError> {
    Ok(())
}

/// File systems of other machines, by the numbers that `statfs` has for them (linux/magic.h and the sources of
/// each).
#[cfg(target_os = "linux")]
const NETWORKS: [(u64, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x7375_7245, "Coda"),
    (0x4756_4653, "GlusterFS"),
];

#[cfg(target_os = "linux")]
fn refuse_network(folder: &Path) -> Result<(), StoreError> {
    let path = folder.to_owned();
    let found = nix::sys::statfs::statfs(folder);
    let found =
        found.map_err(|error| StoreError::Io { path: path.clone(), error: error.into() })?;
    // The type of the number differs between systems.
    #[expect(clippy::cast_sign_loss, reason = "the bits are compared")]
    let number = found.filesystem_type().0 as u64 & 0xffff_ffff;
    match NETWORKS.iter().find(|(magic, _)| *magic == number) {
        Some((_, kind)) => Err(StoreError::Network { path, kind }),
        None => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_folder: &Path) -> Result<(), StoreError> {
    Ok(())
}
