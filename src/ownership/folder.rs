//! Folder of the locks: the one in which the processes of a user meet.
//!
//! Owns the choice of it. It must be the same whatever shell, service manager or scheduler has started
//! a process, so it is asked of the system by the user's number and not of the environment; and it must
//! outlast a restart of the machine, so it is in no folder that is cleared then.

use std::io;
use std::path::{Path, PathBuf};

/// Another folder, for processes that share sessions but no home, such as containers.
const VARIABLE: &str = "TELEPOOL_LOCKS";

/// A folder for the locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LockFolder {
    pub(super) folder: PathBuf,
    /// It is not where one would look for it, and may go with the container that it is in.
    pub(super) is_makeshift: bool,
}

/// The folder that this process is to use. One that was named must be the same wherever a process is
/// started, so that it has to be absolute: making it tells of one that is not.
pub(super) fn of_user() -> LockFolder {
    let named = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty());
    named.map_or_else(of_system, |folder| LockFolder { folder: folder.into(), is_makeshift: false })
}

#[cfg(unix)]
fn of_system() -> LockFolder {
    use nix::unistd::{Uid, User};
    let user = Uid::effective();
    of_home(User::from_uid(user).ok().flatten().map(|user| user.dir), user.as_raw())
}

#[cfg(unix)]
fn of_home(home: Option<PathBuf>, user: u32) -> LockFolder {
    match home.filter(|home| home.is_dir() && home != Path::new("/")) {
        Some(home) => {
            LockFolder { folder: home.join(".local/state/telepool/locks"), is_makeshift: false }
        }
        // A user of a service may have no home, and one of a container not even a name.
        None => LockFolder {
            folder: PathBuf::from(format!("/var/tmp/telepool-{user}/locks")),
            is_makeshift: true,
        },
    }
}

#[cfg(not(unix))]
fn of_system() -> LockFolder {
    let home = std::env::var_os("LOCALAPPDATA").map(PathBuf::from);
    let is_makeshift = home.is_none();
    let folder = home.unwrap_or_else(std::env::temp_dir).join("telepool").join("locks");
    LockFolder { folder, is_makeshift }
}

impl LockFolder {
    /// What whoever runs the process should know of the folder.
    pub(super) fn warning(&self) -> Option<String> {
        self.is_makeshift.then(|| {
            format!(
                "this user has no home: keys are locked in {}. A process that does not see that folder, \
                 such as one in another container, would dial the same sessions and cost their logins: \
                 name one that all of them share and that stays, with {VARIABLE}",
                self.folder.display()
            )
        })
    }
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_no_home_is_told_where_keys_are_locked_and_how_to_choose() {
        let home = tempfile::tempdir().unwrap();
        let at_home = of_home(Some(home.path().to_owned()), 12_345);
        assert!(at_home.folder.starts_with(home.path()));
        assert_eq!(at_home.warning(), None, "that is where one would look");
        for none in [None, Some("/".into()), Some(home.path().join("gone"))] {
            let told = of_home(none, 12_345).warning().unwrap();
            let words = "keys are locked in /var/tmp/telepool-12345/locks.";
            assert!(told.contains(words) && told.contains("TELEPOOL_LOCKS"), "{told}");
        }
    }
}
