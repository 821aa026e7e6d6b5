//! The address of a server on the network.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::Uri;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::failure::Failure;

/// `https://host:port`, or the same with `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    is_tls: bool,
    host: String,
    port: u16,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "must be an address such as https://telepool.example.org:9464".to_owned();
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad()),
        };
        let has_user = uri.authority().is_some_and(|it| it.as_str().contains('@'));
        if has_user || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(format!(
                "{}, with nothing behind the port and no user before the host",
                bad()
            ));
        }
        let host = uri.host().filter(|it| !it.is_empty()).ok_or_else(bad)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { is_tls, host, port })
    }
}

impl Url {
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as the header `Host` has them.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Whether nothing that is sent there leaves this machine.
    pub(crate) fn is_on_loopback(&self) -> bool {
        let is_ip = self.host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback());
        is_ip || self.host == "localhost"
    }

    /// Whose certificate is expected.
    pub(crate) fn server_name(&self) -> Result<ServerName<'static>, Failure> {
        ServerName::try_from(self.host.clone())
            .map_err(|_| Failure::refused(format!("--url {self}: no certificate has such a name")))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_a_host_and_perhaps_a_port() {
        for (text, shown) in [
            ("https://telepool.example.org", "https://telepool.example.org:443"),
            ("http://127.0.0.1:9464/", "http://127.0.0.1:9464"),
            ("https://[::1]:9464", "https://[::1]:9464"),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.is_on_loopback(), !text.contains("example"), "{text}");
        }
        for text in ["", "pool:9464", "ftp://pool", "https://", "http://u:p@pool", "http://pool/x"]
        {
            assert!(text.parse::<Url>().unwrap_err().contains("such as https://"), "{text}");
        }
    }
}
