//! Proxy URLs.
//!
//! Owns what may be said of a proxy aloud: its host and port. Never prints its credentials.

/// The longest URL taken.
const URL_LEN_MAX: usize = 512;
const SCHEME: &str = "socks5://";

/// The host and port of a `socks5://[user:password@]host:port` URL: what a proxy may be called
/// in logs and metrics. `None` if the text is no such URL.
#[must_use]
pub fn proxy_label(url: &str) -> Option<&str> {
    if url.len() > URL_LEN_MAX || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let rest = url.strip_prefix(SCHEME)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // The last `@` ends the credentials: a password may hold another one.
    let label = rest.rsplit_once('@').map_or(rest, |(_, label)| label);
    let (host, port) = label.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let host_ok = !host.is_empty() && !host.contains(['/', '?', '#']);
    (host_ok && port != 0).then_some(label)
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
        ] {
            assert_eq!(proxy_label(url), None, "{url}");
        }
    }
}
