//! The one folder in which the processes of a user meet.
//!
//! Owns the choice of it. It must be the same whatever shell, service manager or scheduler has started
//! a process, so it is asked of the system by the user's number and not of the environment; and it must
//! outlast a restart of the machine, so it is in no folder that is cleared then.

use std::io;
use std::path::{Path, PathBuf};

/// Another folder, for processes that share sessions but no home, such as containers.
const VARIABLE: &str = "TELEPOOL_LOCKS";

/// The folder that this process is to use. One that was named must be the same wherever a process is
/// started, so that it has to be absolute: making it tells of one that is not.
pub(super) fn of_user() -> PathBuf {
    std::env::var_os(VARIABLE)
        .filter(|folder| !folder.is_empty())
        .map_or_else(of_system, PathBuf::from)
}

#[cfg(unix)]
fn of_system() -> PathBuf {
    use nix::unistd::{Uid, User};
    let user = Uid::effective();
    let home = User::from_uid(user).ok().flatten().map(|user| user.dir);
    match home.filter(|home| home.is_dir() && home != Path::new("/")) {
        Some(home) => home.join(".local/state/telepool/locks"),
        // A user of a service may have no home.
        None => PathBuf::from(format!("/var/tmp/telepool-{user}/locks")),
    }
}

#[cfg(not(unix))]
fn of_system() -> PathBuf {
    let home = std::env::var_os("LOCALAPPDATA").map_or_else(std::env::temp_dir, PathBuf::from);
    home.join("telepool").join("locks")
}

/// Makes the folder, for its user alone.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    if !folder.is_absolute() {
        return Err(io::Error::other(
            "it must be an absolute path, or two processes would not meet",
        ));
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    // Whoever else could replace it could have two processes meet in two folders.
    folder.ancestors().take(2).try_for_each(is_own)
}

#[cfg(unix)]
fn is_own(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(folder)?.uid();
    let own = nix::unistd::Uid::effective();
    match owner == own.as_raw() || owner == 0 {
        true => Ok(()),
        false => Err(io::Error::other(format!("{} belongs to another user", folder.display()))),
    }
}

#[cfg(not(unix))]
fn is_own(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// What tells one run of the machine from the next; empty where the system does not say.
pub(super) fn boot_id() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map(|id| id.trim().to_owned()).unwrap_or_default()
}
