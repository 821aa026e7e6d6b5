//! The names that a server goes by: which `Host` a request may ask for.
//!
//! Owns the check against DNS rebinding. A page of a stranger can have its own name lead to 127.0.0.1 and so
//! ask what is served there; but it then asks for its own name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The longest name, as DNS has it.
const NAME_LEN_MAX: usize = 253;

/// A host and a port, as they stand in `Host`, in a target and in `Origin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) host: AskedHost,
    pub(super) port: Option<u16>,
}

/// A host: a name in lower case, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AskedHost {
    Name(String),
    Address(IpAddr),
}

impl Authority {
    /// Reads the one form that clients send: no user, no empty port, no other spelling of an address than
    /// the usual ones.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (AskedHost::Address(address.parse::<Ipv6Addr>().ok()?.into()), port)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                (AskedHost::parse(&text[..end])?, &text[end..])
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some(digits) if digits.bytes().all(|it| it.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            _ => return None,
        };
        Some(Self { host, port })
    }
}

impl AskedHost {
    /// Reads a name, or an address of version 4.
    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let is_letter = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_');
        let is_label = |it: &str| (1..=63).contains(&it.len()) && it.bytes().all(is_letter);
        let is_name = text.len() <= NAME_LEN_MAX && text.split('.').all(is_label);
        // One that ends in a number is an address to browsers, in a spelling that was not understood here.
        let last = text.rsplit('.').next().unwrap_or_default();
        let is_number = last.starts_with(|it: char| it.is_ascii_digit());
        (is_name && !is_number).then(|| Self::Name(text.to_ascii_lowercase()))
    }
}

/// A text that is no name of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNameError(String);

impl fmt::Display for HostNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no name of a host: give a name such as telepool.example.org or an address, without a \
             scheme, a port or a wildcard, and one of another alphabet as xn--..",
            self.0
        )
    }
}

impl std::error::Error for HostNameError {}

/// The hosts that may be asked for.
#[derive(Clone, Debug)]
pub(super) struct AllowedHosts {
    names: Arc<[AskedHost]>,
    /// Of a listener; `None` if it is not known.
    listening: Option<IpAddr>,
}

impl Default for AllowedHosts {
    fn default() -> Self {
        Self { names: Arc::new([]), listening: None }
    }
}

impl AllowedHosts {
    /// Adds names to those that every server goes by.
    pub(super) fn add<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), HostNameError> {
        let read = |name: &str| match Authority::parse(name) {
            Some(Authority { host, port: None }) => Ok(host),
            _ => match name.parse::<Ipv6Addr>() {
                Ok(address) => Ok(AskedHost::Address(address.into())),
                Err(_) => Err(HostNameError(name.to_owned())),
            },
        };
        let added = names.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        self.names = self.names.iter().cloned().chain(added).collect();
        Ok(())
    }

    pub(super) fn listen(&mut self, address: IpAddr) {
        self.listening = Some(address);
    }

    /// Returns whether whoever asks for this host means this server.
    pub(super) fn allow(&self, host: &AskedHost) -> bool {
        let is_usual = match host {
            AskedHost::Name(name) => name == "localhost",
            AskedHost::Address(address) => {
                *address == Ipv4Addr::LOCALHOST
                    || *address == Ipv6Addr::LOCALHOST
                    || self.listening.is_some_and(|listening| is_at(*address, listening))
            }
        };
        is_usual || self.names.contains(host)
    }
}

/// Whether an address may be that of a server that listens there. One that listens everywhere does not know
/// its addresses, least of all in a container; it may be any then: a page that was loaded from an address
/// cannot have it lead elsewhere, as it can with a name.
fn is_at(address: IpAddr, listening: IpAddr) -> bool {
    listening.is_unspecified() || address == listening
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(hosts: &AllowedHosts, text: &str) -> bool {
        Authority::parse(text).is_some_and(|it| hosts.allow(&it.host))
    }

    #[test]
    fn a_server_on_loopback_is_asked_for_by_three_names_alone() {
        let mut hosts = AllowedHosts::default();
        hosts.listen([127, 0, 0, 1].into());
        for text in [
            "localhost",
            "LOCALHOST",
            "LocalHost:9464",
            "127.0.0.1",
            "127.0.0.1:1",
            "127.0.0.1:65535",
            "[::1]",
            "[::1]:9464",
            "[0:0:0:0:0:0:0:1]",
        ] {
            assert!(allowed(&hosts, text), "{text}");
        }
        for text in [
            "",
            ":9464",
            "localhost.",
            "localhost.evil.com",
            "evil.localhost",
            "127.0.0.1.evil.com",
            "127.0.0.1.",
            "127.1",
            "127.0.0.01",
            "0x7f.0.0.1",
            "0x7f000001",
            "2130706433",
            "0.0.0.0",
            "127.0.0.2",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::]",
            "::1",
            "[::1",
            "[::1]9464",
            "[::1%lo]",
            "[127.0.0.1]",
            "localhost:",
            "localhost:+80",
            "localhost:-1",
            "localhost:80:80",
            "localhost:65536",
            "localhost:0x50",
            "localhost:8\u{660}",
            "localhost:80@evil.com",
            "user@localhost",
            "localhost@evil.com",
            "localhost/",
            "localhost#",
            "localhost?",
            "localhost\\",
            "localhost,evil.com",
            "localhost evil.com",
            " localhost",
            "localhost ",
            "localhost\0",
            "local%68ost",
            "ｌｏｃａｌｈｏｓｔ",
            "loc\u{430}lhost",
            "127。0。0。1",
            "１２７.0.0.1",
            "evil.com",
            "*",
        ] {
            assert!(!allowed(&hosts, text), "{text:?}");
        }
    }

    #[test]
    fn names_that_are_given_and_the_address_are_allowed_too() {
        let mut hosts = AllowedHosts::default();
        hosts.add(["Telepool.Example.org", "192.0.2.7", "2001:db8::1", "[2001:db8::2]"]).unwrap();
        hosts.listen([10, 0, 0, 5].into());
        for text in [
            "telepool.example.org:443",
            "192.0.2.7",
            "[2001:db8::1]",
            "[2001:db8::2]:1",
            "10.0.0.5:9464",
            "localhost",
        ] {
            assert!(allowed(&hosts, text), "{text}");
        }
        for text in ["example.org", "x.telepool.example.org", "telepool.example.org.", "10.0.0.6"] {
            assert!(!allowed(&hosts, text), "{text}");
        }
    }

    #[test]
    fn one_that_listens_everywhere_may_have_any_address_and_no_other_name() {
        let mut hosts = AllowedHosts::default();
        hosts.listen([0, 0, 0, 0].into());
        for (text, is_allowed) in
            [("10.1.2.3:9464", true), ("[2001:db8::1]", true), ("rebound.example", false)]
        {
            assert_eq!(allowed(&hosts, text), is_allowed, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_remedy() {
        for name in [
            "",
            "*.example.org",
            "https://example.org",
            "example.org:443",
            "a b",
            "exämple.org",
            &"x".repeat(64),
            &"x.".repeat(130),
        ] {
            let error = AllowedHosts::default().add([name]).unwrap_err().to_string();
            assert!(error.contains("telepool.example.org"), "{error}");
        }
    }
}
