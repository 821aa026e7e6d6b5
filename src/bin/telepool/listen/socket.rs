//! Unix sockets in the file system: who may reach one, and what becomes of its file.
//!
//! Owns the file: its mode, one that a run has left behind, and its end. Owns the check of the user at the
//! other end as well.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use axum::serve::Listener;
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;
use telepool::http::Peer;
use tokio::net::{UnixListener, UnixStream};

use crate::failure::Failure;

/// Binds a socket that nobody but this user can reach. `shown` is what the user has asked for.
pub(crate) fn bind(path: &Path, shown: &str) -> Result<(UnixListener, SocketFile), Failure> {
    remove_stale(path, shown)?;
    // From its first moment on.
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    umask(before);
    let listener = bound.map_err(|error| {
        Failure::refused(format!(
            "{shown}: {error}: give a path of at most 100 bytes, in a folder that is there and that \
             this user may write to"
        ))
    })?;
    Ok((listener, SocketFile::of(path)))
}

/// Removes a socket that nobody listens on any more, as a run leaves it that was killed. Anything else
/// stays where it is.
fn remove_stale(path: &Path, shown: &str) -> Result<(), Failure> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(Failure::refused(format!(
            "{shown}: there is something that is no socket, which is left alone: give another path"
        )));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(Failure::held(format!(
            "{shown}: another process listens there: end it first, or give another path"
        ))),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| {
                Failure::refused(format!(
                    "{shown}: the socket of a run that has ended cannot be removed: {error}: remove \
                     it, or give another path"
                ))
            })
        }
        // It went in between.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::refused(format!(
            "{shown}: a socket is there, and it cannot be seen whether anybody listens on it: {error}: \
             remove it, or give another path"
        ))),
    }
}

/// The file of a socket, removed with its owner unless there is another one by then.
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

impl SocketFile {
    fn of(path: &Path) -> Self {
        Self { inode: Self::inode_of(path), path: path.to_owned() }
    }

    fn inode_of(path: &Path) -> Option<(u64, u64)> {
        std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
    }
}

impl fmt::Display for SocketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.inode.is_some() && Self::inode_of(&self.path) == self.inode {
            // One that stays is cleared away by the next run.
            std::fs::remove_file(&self.path).ok();
        }
    }
}

/// Whether a user may do all that an operator may: the one who has started this process, and root, who
/// could become that one.
fn is_operator(uid: u32) -> bool {
    uid == geteuid().as_raw() || uid == 0
}

/// A listener that serves this user and root, and tells so.
pub(crate) struct LocalListener(pub(crate) UnixListener);

impl Listener for LocalListener {
    type Io = UnixStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (UnixStream, Peer) {
        loop {
            let (client, _) = Listener::accept(&mut self.0).await;
            // The mode of the file keeps others out; where a system ignores it, this does.
            match client.peer_cred() {
                Ok(peer) if is_operator(peer.uid()) => {
                    return (client, Peer::Local { uid: peer.uid() });
                }
                Ok(peer) => tracing::warn!("user {} was refused at the socket", peer.uid()),
                Err(error) => tracing::debug!(%error, "a client left the socket"),
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Peer> {
        Ok(Peer::Local { uid: geteuid().as_raw() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_this_user_and_root_is_an_operator() {
        let own = geteuid().as_raw();
        assert!(is_operator(own) && is_operator(0));
        assert!(!is_operator(own + 1) && !is_operator(u32::MAX));
    }
}
