//! Proxy URLs.
//!
//! Owns what may be said of a proxy aloud: its host and port. Never prints its credentials.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest URL taken.
const URL_LEN_MAX: usize = 512;
const SCHEME: &str = "socks5://";

/// The host and port of a `socks5://[user:password@]host:port` URL: what a proxy may be called
/// in logs and metrics. `None` if the text is no such URL, or if it may be written the wrong way round
/// (`host:port@user:password`): its credentials would then be the label.
#[must_use]
pub fn proxy_label(url: &str) -> Option<&str> {
    if url.len() > URL_LEN_MAX || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let rest = url.strip_prefix(SCHEME)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // The last `@` ends the credentials: a password may hold another one.
    let (credentials, label) = rest
        .rsplit_once('@')
        .map_or((None, rest), |(credentials, label)| (Some(credentials), label));
    let (host, _) = host_and_port(label)?;
    let is_doubtful = credentials.is_some_and(|credentials| {
        // Were it the wrong way round, the first `@` would end the host.
        let first = credentials.split('@').next().unwrap_or_default();
        may_be_the_host(first, host)
    });
    (!is_doubtful).then_some(label)
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
mod tests {
    use super::*;

    #[test]
    fn a_label_has_no_credentials_in_it() {
        for url in [
            "socks5://proxy.example:1080",
            "socks5://user:secret@proxy.example:1080",
            "socks5://user:se@cret@proxy.example:1080/",
        ] {
            assert_eq!(proxy_label(url), Some("proxy.example:1080"), "{url}");
        }
        assert_eq!(proxy_label("socks5://[::1]:9050"), Some("[::1]:9050"));
    }

    #[test]
    fn what_is_no_proxy_has_no_label() {
        for url in [
            "",
            "http://proxy.example:1080",
            "socks5://proxy.example",
            "socks5://proxy.example:0",
            "socks5://:1080",
            "socks5://a:b@c:port",
            "socks5://a/b:1080",
            "socks5://proxy.example:1080\n",
            "socks5://proxy.example:+1080",
            "socks5://::1:9050",
            "socks5://[::1:9050",
        ] {
            assert_eq!(proxy_label(url), None, "{url}");
        }
    }

    #[test]
    fn what_may_be_the_wrong_way_round_has_no_label() {
        for url in [
            "socks5://203.0.113.7:11758@om:123",
            "socks5://203.0.113.7:11758@user.name:123",
            "socks5://203.0.113.7:11758@om:a@b:123",
            "socks5://203.0.113.7@om:123",
            "socks5://[2001:db8::7]:1080@om:123",
            "socks5://proxy.example:1080@om:123",
            "socks5://proxy.example:1080@user.name:123",
            "socks5://proxy:1080@om:123",
            "socks5://203.0.113.7:11758:om:123",
            "socks5://om:123:203.0.113.7:11758",
            "socks5://om:secret:203.0.113.7:11758",
        ] {
            assert_eq!(proxy_label(url), None, "{url}");
        }
        for (url, label) in [
            ("socks5://om:123@203.0.113.7:11758", "203.0.113.7:11758"),
            ("socks5://user.name:123@203.0.113.7:11758", "203.0.113.7:11758"),
            ("socks5://om:123@[2001:db8::7]:1080", "[2001:db8::7]:1080"),
            ("socks5://om:123@proxy.example:1080", "proxy.example:1080"),
            ("socks5://om:secret@proxy:1080", "proxy:1080"),
            ("socks5://user.name:secret@proxy:1080", "proxy:1080"),
            ("socks5://om:se:cret@proxy:1080", "proxy:1080"),
        ] {
            assert_eq!(proxy_label(url), Some(label), "{url}");
        }
    }
}
