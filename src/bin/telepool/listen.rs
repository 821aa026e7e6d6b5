//! Addresses to listen on: a socket of TCP, or one in the file system.
//!
//! Owns what is told of one that nobody can listen on. Who may be served there is decided by `http_arguments`.

#[cfg(unix)]
pub(crate) mod socket;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket};

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
    Unix(tokio::net::UnixListener, socket::SocketFile),
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
            Err("must name a path after unix:, such as unix:/run/telepool/http.sock".into())
        }
        Some(path) => Ok(ListenAddress::Unix(PathBuf::from(path))),
        None => crate::settings::address(text)
            .map(ListenAddress::Tcp)
            .map_err(|error| format!("{error}, or a socket such as unix:/run/telepool/http.sock")),
    }
}

/// How much of an answer the system holds for a client that does not take it. What goes on for hours, as a
/// stream of events does, is made no further then.
const SEND_BUFFER: u32 = 128 << 10;
/// How many clients may wait to be accepted.
const BACKLOG: u32 = 1024;

impl ListenAddress {
    /// Binds the socket, before anything else is started.
    pub(crate) fn bind(&self) -> Result<Listener, Failure> {
        match self {
            Self::Tcp(address) => bind_tcp(*address)
                .map(Listener::Tcp)
                .map_err(|error| bind_failure(*address, &error)),
            Self::Unix(path) => bind_unix(path),
        }
    }

    /// Whether only this machine can reach it.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A run that has just ended keeps nobody from its address.
    socket.set_reuseaddr(cfg!(unix))?;
    // Those that are accepted inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
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
    let shown = format!("--listen {UNIX}{}", path.display());
    let (listener, file) = socket::bind(path, &shown)?;
    Ok(Listener::Unix(listener, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_the_path_of_a_socket_and_prints_as_it_was_written() {
        for text in ["127.0.0.1:9464", "[::1]:0", "unix:/run/telepool/http.sock", "unix:m.sock"] {
            assert_eq!(listen_address(text).unwrap().to_string(), text);
        }
        assert_eq!(listen_address("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        for text in ["unix:", "9464", "/run/metrics.sock", ""] {
            assert!(listen_address(text).unwrap_err().contains("unix:/run/telepool"), "{text}");
        }
    }
}
