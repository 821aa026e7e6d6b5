//! Listener of the metrics: on a loopback address, or on a Unix socket.
//!
//! Owns the socket's file: who may reach it, one that a run has left behind, and its end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;

use crate::failure::Failure;

/// What begins the path of a socket.
const UNIX: &str = "unix:";

/// The value of `--listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A bound socket.
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener, SocketFile),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// Reads an address or a path of the command line.
pub(crate) fn listen_address(text: &str) -> Result<ListenAddress, String> {
    match text.strip_prefix(UNIX) {
        Some("") => {
            Err("must name a path after unix:, such as unix:/run/telepool/metrics.sock".into())
        }
        Some(path) => Ok(ListenAddress::Unix(PathBuf::from(path))),
        None => crate::settings::address(text).map(ListenAddress::Tcp).map_err(|error| {
            format!("{error}, or a socket such as unix:/run/telepool/metrics.sock")
        }),
    }
}

impl ListenAddress {
    /// Binds the socket, before anything else is started.
    pub(crate) async fn bind(&self) -> Result<Listener, Failure> {
        match self {
            Self::Tcp(address) if address.ip().is_loopback() => {
                let bound = TcpListener::bind(address).await;
                bound.map(Listener::Tcp).map_err(|error| bind_failure(*address, &error))
            }
            Self::Tcp(address) => Err(Failure::refused(format!(
                "--listen {address}: only loopback addresses are served, since whoever can read the \
                 numbers is not asked who they are: use 127.0.0.1 and a proxy that asks; or, to be \
                 read from outside of a container, --listen unix:/run/telepool/metrics.sock in a folder \
                 that both sides mount"
            ))),
            Self::Unix(path) => bind_unix(path),
        }
    }
}

/// Why nobody can listen at an address that was asked for. One that is taken is told from one that will
/// not do: it may be free later.
pub(crate) fn bind_failure(address: SocketAddr, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::held(format!(
            "--listen {address}: another process listens there: end it first, or give another port, or \
             0 for any free one"
        )),
        io::ErrorKind::InvalidInput => Failure::refused(format!("--listen {address}: {error}")),
        _ => Failure::refused(format!(
            "--listen {address}: {error}: give another port, or 0 for any free one"
        )),
    }
}

#[cfg(not(unix))]
fn bind_unix(path: &Path) -> Result<Listener, Failure> {
    Err(Failure::refused(format!(
        "--listen {UNIX}{}: this system has no such sockets here: use 127.0.0.1 and a port",
        path.display()
    )))
}

#[cfg(unix)]
fn bind_unix(path: &Path) -> Result<Listener, Failure> {
    use nix::sys::stat::{Mode, umask};

    let shown = format!("--listen {UNIX}{}", path.display());
    remove_stale(path, &shown)?;
    // Nobody but this user can reach it, from its first moment on: whoever can may read the numbers.
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = tokio::net::UnixListener::bind(path);
    umask(before);
    let listener = bound.map_err(|error| {
        Failure::refused(format!(
            "{shown}: {error}: give a path of at most 100 bytes, in a folder that is there and that \
             this user may write to"
        ))
    })?;
    Ok(Listener::Unix(listener, SocketFile::of(path)))
}

/// Removes a socket that nobody listens on any more, as a run leaves it that was killed. Anything else
/// stays where it is.
#[cfg(unix)]
fn remove_stale(path: &Path, shown: &str) -> Result<(), Failure> {
    use std::io::ErrorKind;
    use std::os::unix::fs::FileTypeExt as _;

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
#[cfg(unix)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

#[cfg(unix)]
impl SocketFile {
    fn of(path: &Path) -> Self {
        Self { inode: Self::inode_of(path), path: path.to_owned() }
    }

    fn inode_of(path: &Path) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
    }
}

#[cfg(unix)]
impl fmt::Display for SocketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.inode.is_some() && Self::inode_of(&self.path) == self.inode {
            // One that stays is cleared away by the next run.
            std::fs::remove_file(&self.path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_the_path_of_a_socket_and_prints_as_it_was_written() {
        for text in ["127.0.0.1:9464", "[::1]:0", "unix:/run/telepool/metrics.sock", "unix:m.sock"]
        {
            assert_eq!(listen_address(text).unwrap().to_string(), text);
        }
        assert_eq!(listen_address("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        for text in ["unix:", "9464", "/run/metrics.sock", ""] {
            assert!(listen_address(text).unwrap_err().contains("unix:/run/telepool"), "{text}");
        }
    }
}
