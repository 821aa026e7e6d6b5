//! Dial of a data centre by a proxy, or from an address of this machine.
//!
//! Owns the handshakes with proxies, and the deadline of the whole. Never dials a data centre in another way
//! than it was told, and never gives a socket out that a proxy has said more on than it was asked.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_socks::tcp::Socks5Stream;
use zeroize::Zeroizing;

use super::error::{ProxyError, ProxyProblem};
use crate::session::{Proxy, ProxyCredentials, ProxyServer, ProxyWay};

/// So many addresses of a proxy's name are tried.
const ADDRESSES_MAX: usize = 4;
/// The longest head of an HTTP answer.
const HEAD_LEN_MAX: usize = 8 * 1024;
const HEAD_END: &[u8] = b"\r\n\r\n";
const HTTP: &[u8] = b"HTTP/1.";

/// Opens a connection to a data centre, within this time.
pub(in crate::telegram) async fn dial(
    proxy: &Proxy,
    target: SocketAddr,
    limit: Duration,
) -> Result<TcpStream, ProxyError> {
    let dialled = tokio::time::timeout(limit, async {
        let stream = match proxy.way() {
            ProxyWay::Socks5(server) => socks5(reach(server).await?, server, target).await?,
            ProxyWay::HttpConnect(server) => {
                http_connect(reach(server).await?, server, target).await?
            }
            ProxyWay::Bind(ip) => from_address(*ip, target).await?,
        };
        Ok(stream)
    });
    let dialled = dialled.await.unwrap_or(Err(ProxyProblem::Timeout { after: limit }));
    dialled.map_err(|problem| ProxyError::new(proxy, problem))
}

/// A connection to the proxy itself.
async fn reach(server: &ProxyServer) -> Result<TcpStream, ProxyProblem> {
    let addresses = lookup_host((&*server.host, server.port)).await;
    let addresses = addresses.map_err(ProxyProblem::Unresolved)?;
    let mut problem = ProxyProblem::Unresolved(ErrorKind::NotFound.into());
    for address in addresses.take(ADDRESSES_MAX) {
        match TcpStream::connect(address).await {
            Ok(stream) => return without_delay(stream).map_err(ProxyProblem::Unreachable),
            Err(error) => problem = ProxyProblem::Unreachable(error),
        }
    }
    Err(problem)
}

/// Small packets are not kept back: each is a question or an answer that somebody waits for.
pub(super) fn without_delay(stream: TcpStream) -> std::io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn socks5(
    stream: TcpStream,
    server: &ProxyServer,
    target: SocketAddr,
) -> Result<TcpStream, ProxyProblem> {
    let asked = match &server.credentials {
        None => Socks5Stream::connect_with_socket(stream, target).await,
        Some(credentials) => {
            let (user, password) = (credentials.expose_user(), credentials.expose_password());
            Socks5Stream::connect_with_password_and_socket(stream, target, user, password).await
        }
    };
    let has_credentials = server.credentials.is_some();
    Ok(asked.map_err(|error| socks5_problem(error, has_credentials))?.into_inner())
}

fn socks5_problem(error: tokio_socks::Error, has_credentials: bool) -> ProxyProblem {
    use tokio_socks::Error;

    match error {
        Error::Io(error) if error.kind() == ErrorKind::InvalidData => ProxyProblem::Nonsense,
        Error::Io(_) => ProxyProblem::Closed,
        Error::PasswordAuthFailure(_) => ProxyProblem::Credentials,
        Error::NoAcceptableAuthMethods if has_credentials => ProxyProblem::Credentials,
        Error::NoAcceptableAuthMethods | Error::AuthorizationRequired => {
            ProxyProblem::CredentialsWanted
        }
        Error::ConnectionNotAllowedByRuleset => ProxyProblem::Forbidden,
        Error::GeneralSocksServerFailure
        | Error::NetworkUnreachable
        | Error::HostUnreachable
        | Error::ConnectionRefused
        | Error::TtlExpired
        | Error::CommandNotSupported
        | Error::AddressTypeNotSupported => ProxyProblem::Target(error.to_string().into()),
        _ => ProxyProblem::Nonsense,
    }
}

async fn http_connect(
    mut stream: TcpStream,
    server: &ProxyServer,
    target: SocketAddr,
) -> Result<TcpStream, ProxyProblem> {
    let login = Zeroizing::new(server.credentials.as_ref().map(authorization).unwrap_or_default());
    let request =
        Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n", *login));
    let asked = stream.write_all(request.as_bytes()).await;
    asked.map_err(|_| ProxyProblem::Closed)?;
    let head = read_head(&mut stream).await?;
    let has_credentials = server.credentials.is_some();
    match status(&head) {
        // The data centre says nothing before it is asked: more than the head is no answer of it.
        Some(200..=299) if head.ends_with(HEAD_END) => Ok(stream),
        Some(401 | 407) if has_credentials => Err(ProxyProblem::Credentials),
        Some(401 | 407) => Err(ProxyProblem::CredentialsWanted),
        Some(403 | 405) => Err(ProxyProblem::Forbidden),
        Some(status @ 500..) => Err(ProxyProblem::Target(format!("HTTP status {status}").into())),
        _ => Err(ProxyProblem::Nonsense),
    }
}

fn authorization(credentials: &ProxyCredentials) -> String {
    let (user, password) = (credentials.expose_user(), credentials.expose_password());
    let login = Zeroizing::new(format!("{user}:{password}"));
    let login = Zeroizing::new(STANDARD.encode(login.as_bytes()));
    format!("Proxy-Authorization: Basic {}\r\n", *login)
}

/// The answer up to the end of its head, and what came with it.
async fn read_head(stream: &mut TcpStream) -> Result<Vec<u8>, ProxyProblem> {
    let mut head = Vec::with_capacity(512);
    loop {
        match stream.read_buf(&mut head).await {
            Ok(0) | Err(_) => return Err(ProxyProblem::Closed),
            Ok(_) => {}
        }
        let begins = head.len().min(HTTP.len());
        if head[..begins] != HTTP[..begins] || head.len() > HEAD_LEN_MAX {
            return Err(ProxyProblem::Nonsense);
        }
        if head.windows(HEAD_END.len()).any(|end| end == HEAD_END) {
            return Ok(head);
        }
    }
}

/// The status of an answer: the second word of its first line.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let word = std::str::from_utf8(line).ok()?.split(' ').nth(1)?;
    word.parse().ok().filter(|_| word.len() == 3)
}

async fn from_address(ip: IpAddr, target: SocketAddr) -> Result<TcpStream, ProxyProblem> {
    if ip.is_ipv4() != target.is_ipv4() {
        return Err(ProxyProblem::Family);
    }
    let socket = if ip.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(ProxyProblem::NoRoute)?;
    socket.bind(SocketAddr::new(ip, 0)).map_err(|error| match error.kind() {
        ErrorKind::AddrNotAvailable => ProxyProblem::NotOurs,
        _ => ProxyProblem::NoRoute(error),
    })?;
    let stream = socket.connect(target).await.map_err(ProxyProblem::NoRoute)?;
    without_delay(stream).map_err(ProxyProblem::NoRoute)
}

#[cfg(test)]
mod tests;
