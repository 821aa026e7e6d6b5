//! Ways out for dials: a SOCKS5 or HTTP proxy, or an address of this machine, written as a URL.
//!
//! Owns the reading of the URL and what may be said of it aloud: host and port, or the address. Never prints
//! its credentials, and never dials.

mod error;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use zeroize::Zeroizing;

pub use self::error::ProxyUrlError;

/// The longest URL taken.
const URL_LEN_MAX: usize = 1024;
/// The longest user and the longest password, in bytes: what SOCKS5 has room for.
const CREDENTIAL_LEN_MAX: usize = 255;
const SOCKS5: &str = "socks5://";
const HTTP: &str = "http://";
const BIND: &str = "bind://";

/// The way by which the dials of a session leave this machine.
///
/// ```
/// use telepool::session::Proxy;
///
/// let proxy: Proxy = "socks5://user:p%40ss@proxy.example:1080".parse()?;
/// assert_eq!(proxy.label(), "proxy.example:1080");
/// assert!(!format!("{proxy:?}").contains("ss@"));
/// assert_eq!("bind://192.0.2.7".parse::<Proxy>()?.label(), "192.0.2.7");
/// # Ok::<(), telepool::session::ProxyUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    url: Zeroizing<String>,
    label: Box<str>,
    way: ProxyWay,
}

/// What a dial does on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyWay {
    /// It asks a SOCKS5 proxy for the connection (`socks5://[user:password@]host:port`).
    Socks5(ProxyServer),
    /// It asks an HTTP proxy for the connection, by `CONNECT` (`http://[user:password@]host:port`).
    HttpConnect(ProxyServer),
    /// It leaves from this address of the machine, to the data centre itself (`bind://IP`).
    Bind(IpAddr),
}

/// A proxy that is asked for connections.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyServer {
    /// Its name, or its address without brackets.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// What it is shown, if it wants to know who asks.
    pub credentials: Option<ProxyCredentials>,
}

/// A user and a password, as the proxy is to get them: percent-decoded. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyCredentials {
    user: Zeroizing<String>,
    password: Zeroizing<String>,
}

impl ProxyCredentials {
    /// The user.
    #[must_use]
    pub fn expose_user(&self) -> &str {
        &self.user
    }

    /// The password.
    #[must_use]
    pub fn expose_password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for ProxyCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyCredentials").finish_non_exhaustive()
    }
}

impl Proxy {
    /// What it may be called in logs and metrics: host and port, or the address that is dialled from.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What a dial does.
    #[must_use]
    pub fn way(&self) -> &ProxyWay {
        &self.way
    }

    /// Whether it is an address of this machine: a connection from there is one of this machine's, and nobody between
    /// here and the server has one of his own.
    #[cfg(feature = "telegram")]
    pub(crate) fn is_of_this_machine(&self) -> bool {
        matches!(self.way, ProxyWay::Bind(_))
    }

    /// The URL, with the credentials in it, as it was written: for whoever keeps it.
    #[must_use]
    pub fn expose_url(&self) -> &str {
        &self.url
    }
}

impl FromStr for Proxy {
    type Err = ProxyUrlError;

    fn from_str(url: &str) -> Result<Self, ProxyUrlError> {
        let UrlParts { scheme, credentials, label } = split(url)?;
        let server = |needs_password| {
            let (host, port) = host_and_port(label).ok_or(ProxyUrlError::Form)?;
            let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
            let credentials =
                credentials.map(|text| read_credentials(text, needs_password)).transpose()?;
            Ok(ProxyServer { host: host.into(), port, credentials })
        };
        let way = match scheme {
            SOCKS5 => ProxyWay::Socks5(server(true)?),
            HTTP => ProxyWay::HttpConnect(server(false)?),
            _ => ProxyWay::Bind(label.parse().map_err(|_| ProxyUrlError::BindAddress)?),
        };
        // Of two ways of writing the same one is told.
        let label = match &way {
            ProxyWay::Bind(ip) => ip.to_string(),
            ProxyWay::Socks5(server) | ProxyWay::HttpConnect(server) => server.to_string(),
        };
        Ok(Self { url: Zeroizing::new(url.to_owned()), label: label.into(), way })
    }
}

impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.label)
    }
}

/// The host and port of a `socks5://[user:password@]host:port` or `http://` URL, or the address of a
/// `bind://` URL: what a proxy may be called in logs and metrics. `None` if the text is no such URL, or if it
/// may be written the wrong way round (`host:port@user:password`): its credentials would then be the label.
#[must_use]
pub fn proxy_label(url: &str) -> Option<&str> {
    split(url).ok().map(|parts| parts.label)
}

/// What a URL consists of.
struct UrlParts<'a> {
    scheme: &'static str,
    /// As they are written.
    credentials: Option<&'a str>,
    /// Host and port, or the address without brackets.
    label: &'a str,
}

fn split(url: &str) -> Result<UrlParts<'_>, ProxyUrlError> {
    if url.len() > URL_LEN_MAX {
        return Err(ProxyUrlError::TooLong { limit: URL_LEN_MAX });
    }
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(ProxyUrlError::Form);
    }
    let mut schemes = [SOCKS5, HTTP, BIND].into_iter();
    let known = schemes.find_map(|scheme| Some((scheme, url.strip_prefix(scheme)?)));
    let (scheme, rest) = known.ok_or(ProxyUrlError::Form)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if scheme == BIND {
        let label = bind_address(rest).ok_or(ProxyUrlError::BindAddress)?;
        return Ok(UrlParts { scheme, credentials: None, label });
    }
    // The last `@` ends the credentials: a password may hold another one.
    let (credentials, label) = rest
        .rsplit_once('@')
        .map_or((None, rest), |(credentials, label)| (Some(credentials), label));
    let (host, _) = host_and_port(label).ok_or(ProxyUrlError::Form)?;
    let is_doubtful = credentials.is_some_and(|credentials| {
        // Were it the wrong way round, the first `@` would end the host.
        let first = credentials.split('@').next().unwrap_or_default();
        may_be_the_host(first, host)
    });
    if is_doubtful {
        return Err(ProxyUrlError::Form);
    }
    Ok(UrlParts { scheme, credentials, label })
}

/// An address that a socket can be bound to: one that all are meant by would be no choice.
fn bind_address(text: &str) -> Option<&str> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|ip| ip.contains(':'))?,
        None => text,
    };
    let ip: IpAddr = bare.parse().ok()?;
    (!ip.is_unspecified() && !ip.is_multicast()).then_some(bare)
}

/// A user and a password as they are written.
fn read_credentials(text: &str, needs_password: bool) -> Result<ProxyCredentials, ProxyUrlError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let (user, password) = (percent_decoded(user)?, percent_decoded(password)?);
    let is_too_long = user.len().max(password.len()) > CREDENTIAL_LEN_MAX;
    let is_empty = user.is_empty() || (needs_password && password.is_empty());
    // The colon ends the user of an HTTP proxy, however it is written here.
    if is_too_long || is_empty || (!needs_password && user.contains(':')) {
        return Err(ProxyUrlError::Credentials { limit: CREDENTIAL_LEN_MAX });
    }
    Ok(ProxyCredentials { user, password })
}

fn percent_decoded(text: &str) -> Result<Zeroizing<String>, ProxyUrlError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |at: usize| char::from(*others.get(at)?).to_digit(16);
        let (high, low) = digit(0).zip(digit(1)).ok_or(ProxyUrlError::Escape)?;
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| ProxyUrlError::Escape)?);
        rest = &others[2..];
    }
    let decoded = std::str::from_utf8(&bytes).map_err(|_| ProxyUrlError::Escape)?;
    if decoded.chars().any(char::is_control) {
        return Err(ProxyUrlError::Escape);
    }
    Ok(Zeroizing::new(decoded.to_owned()))
}

/// Whether what stands in the place of user and password may be host and port, by what stands in the
/// place of the host.
fn may_be_the_host(credentials: &str, host: &str) -> bool {
    let (user, is_with_port) = match host_and_port(credentials) {
        Some((user, _)) => (user, true),
        None => (credentials, false),
    };
    if is_ip(user) {
        return true;
    }
    // A password may be a number, and a user be called anything: what decides is the host.
    is_with_port && !is_ip(host) && (user.contains('.') || !host.contains('.'))
}

/// The two parts of `host:port`.
fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = port.parse().ok().filter(|port| is_port && *port != 0)?;
    let is_name = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    (is_name || is_ip(host)).then_some((host, port))
}

/// An address, in brackets if it has colons.
fn is_ip(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
        None => host.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests;
