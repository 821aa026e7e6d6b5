//! The headers by which a request is judged: `Host`, `Origin`, `Sec-Fetch-Site`, `Authorization`, `Cookie`.
//!
//! Owns their reading. What may be read in two ways is not read at all: of each there is one, in one form.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Version, header};

use super::host::Authority;
use super::token::{Token, is_secret};

/// The name of the cookie.
pub(crate) const COOKIE: &str = "telepool_session";

/// Where a request comes from, as a browser tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    /// A page of this server.
    Own,
    /// Nobody has said it: no browser, or one whose user has typed the address.
    Unsaid,
    /// A page of somebody else, or one that does not say whose.
    Foreign,
}

/// Returns the hosts that a request asks for, in its header and in its target, or `None` if that is not
/// clear. There is at least one, and the first is what it asks for.
pub(super) fn hosts(parts: &Parts) -> Option<Vec<Authority>> {
    let target = match parts.uri.authority() {
        Some(authority) => Some(Authority::parse(authority.as_str())?),
        None => None,
    };
    let header = match only(&parts.headers, header::HOST) {
        Ok(Some(text)) => Some(Authority::parse(text)?),
        // HTTP/2 has it in the target alone.
        Ok(None) if target.is_some() && parts.version >= Version::HTTP_2 => None,
        _ => return None,
    };
    Some(target.into_iter().chain(header).collect())
}

/// Returns where a request comes from. Its origin is this server's if it has the host that was asked for; with
/// TLS it has to be `https`, and without it may be either, since a proxy may have ended TLS.
pub(super) fn site(headers: &HeaderMap, asked: Option<&Authority>, is_tls: bool) -> Site {
    let fetched = match only(headers, "sec-fetch-site") {
        Ok(None) | Ok(Some("none")) => Site::Unsaid,
        Ok(Some("same-origin")) => Site::Own,
        _ => Site::Foreign,
    };
    let origin = match only(headers, header::ORIGIN) {
        Ok(None) => Site::Unsaid,
        Ok(Some(text)) if asked.is_some_and(|asked| is_origin(text, asked, is_tls)) => Site::Own,
        _ => Site::Foreign,
    };
    match (fetched, origin) {
        (Site::Foreign, _) | (_, Site::Foreign) => Site::Foreign,
        (Site::Unsaid, Site::Unsaid) => Site::Unsaid,
        _ => Site::Own,
    }
}

fn is_origin(text: &str, asked: &Authority, is_tls: bool) -> bool {
    let (authority, usual) = match text.strip_prefix("https://") {
        Some(authority) => (authority, 443),
        None if is_tls => return false,
        None => match text.strip_prefix("http://") {
            Some(authority) => (authority, 80),
            None => return false,
        },
    };
    Authority::parse(authority).is_some_and(|origin| {
        origin.host == asked.host && origin.port.unwrap_or(usual) == asked.port.unwrap_or(usual)
    })
}

/// Why a header says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// It is there several times.
    Several,
    /// It has other bytes than visible ones of ASCII, or `Authorization` is no `Bearer` and one word.
    Malformed,
}

/// Returns the token that a request shows.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, BadHeader> {
    let Some(text) = only(headers, header::AUTHORIZATION)? else { return Ok(None) };
    let (scheme, token) = text.split_once(' ').ok_or(BadHeader::Malformed)?;
    let token = token.trim_start_matches(' ');
    let is_word = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let is_bearer = scheme.eq_ignore_ascii_case("bearer") && is_word;
    is_bearer.then_some(Some(token)).ok_or(BadHeader::Malformed)
}

/// Returns the value of the cookie. One that is there twice, as a page of another port of this host can bring
/// about, is as good as none, and so is one that this server has never made.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|it| it.trim().split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
    let value = values.next()?;
    (values.next().is_none() && is_secret(value)).then_some(value)
}

/// Returns whether a target has a token in its query, where logs and histories keep it.
pub(super) fn has_token_in_query(query: Option<&str>) -> bool {
    let pairs = query.unwrap_or_default().split(['&', ';']);
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).any(|(name, value)| {
        let is_asked = ["token", "access_token", "authorization", "bearer"]
            .iter()
            .any(|word| name.eq_ignore_ascii_case(word));
        is_asked || Token::id_of(value).is_some() || Token::id_of(name).is_some()
    })
}

/// The only value of a header.
fn only<K: header::AsHeaderName>(headers: &HeaderMap, name: K) -> Result<Option<&str>, BadHeader> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(BadHeader::Several);
    }
    value.to_str().map(Some).map_err(|_| BadHeader::Malformed)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue, Request};

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            (HeaderName::from_static(name), value)
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        headers
    }

    fn parts(target: &str, version: Version, hosts: &[&str]) -> Parts {
        let mut request = Request::builder().uri(target).version(version);
        for host in hosts {
            request = request.header("host", HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn there_is_one_host_and_it_is_checked_in_the_target_as_well() {
        let count = |target: &str, version, names: &[&str]| {
            hosts(&parts(target, version, names)).map(|it| it.len())
        };
        let one = Version::HTTP_11;
        assert_eq!(count("/", one, &["localhost"]), Some(1));
        assert_eq!(count("http://evil.com/", one, &["localhost"]), Some(2));
        assert_eq!(count("https://localhost/", Version::HTTP_2, &[]), Some(1));
        for (target, names) in [
            ("/", &[][..]),
            ("http://localhost/", &[]),
            ("/", &["localhost", "localhost"]),
            ("/", &["localhost", "evil.com"]),
            ("/", &["localhost, evil.com"]),
            ("/", &[""]),
            ("/", &["lo\u{e9}"]),
            ("http://user@localhost/", &["localhost"]),
        ] {
            assert_eq!(count(target, one, names), None, "{target} {names:?}");
        }
        assert_eq!(count("/", Version::HTTP_10, &[]), None);
    }

    #[test]
    fn an_origin_is_ones_own_by_host_port_and_scheme() {
        let origin = |origin: &str, host: &str, is_tls| {
            let host = Authority::parse(host).unwrap();
            site(&headers(&[("origin", origin)]), Some(&host), is_tls)
        };
        for (text, host, is_tls, is_own) in [
            ("http://localhost:9464", "localhost:9464", false, true),
            ("http://LOCALHOST:9464", "localhost:9464", false, true),
            ("http://localhost", "localhost:80", false, true),
            ("https://pool.example", "pool.example", false, true),
            ("https://pool.example", "pool.example:443", true, true),
            ("http://pool.example:443", "pool.example:443", true, false),
            ("http://localhost:9465", "localhost:9464", false, false),
            ("http://localhost", "localhost:9464", false, false),
            ("http://127.0.0.1:9464", "localhost:9464", false, false),
            ("http://localhost:9464.evil.com", "localhost:9464", false, false),
            ("http://localhost:9464@evil.com", "localhost:9464", false, false),
            ("http://evil.com", "localhost:9464", false, false),
            ("localhost:9464", "localhost:9464", false, false),
            ("http://localhost:9464/", "localhost:9464", false, false),
            ("null", "localhost", false, false),
            ("", "localhost", false, false),
            ("file://", "localhost", false, false),
        ] {
            let expected = if is_own { Site::Own } else { Site::Foreign };
            assert_eq!(origin(text, host, is_tls), expected, "{text} {host} {is_tls}");
        }
    }

    #[test]
    fn what_a_browser_says_counts_against_a_page_wherever_it_says_it() {
        let host = Authority::parse("localhost").unwrap();
        let of = |lines: &[(&'static str, &str)]| site(&headers(lines), Some(&host), false);
        let (fetch, origin) = ("sec-fetch-site", "origin");
        assert_eq!(of(&[]), Site::Unsaid);
        assert_eq!(of(&[(fetch, "none")]), Site::Unsaid);
        assert_eq!(of(&[(fetch, "same-origin")]), Site::Own);
        assert_eq!(of(&[(origin, "http://localhost")]), Site::Own);
        for lines in [
            &[(fetch, "same-site")][..],
            &[(fetch, "cross-site")],
            &[(fetch, "Same-Origin")],
            &[(fetch, "")],
            &[(fetch, "same-origin"), (fetch, "same-origin")],
            &[(fetch, "same-origin"), (origin, "http://evil.com")],
            &[(fetch, "cross-site"), (origin, "http://localhost")],
            &[(origin, "http://localhost"), (origin, "http://localhost")],
        ] {
            assert_eq!(of(lines), Site::Foreign, "{lines:?}");
        }
    }

    #[test]
    fn a_token_is_one_word_behind_bearer() {
        let of = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|it| ("authorization", *it)).collect();
            bearer(&headers(&lines)).map(|it| it.map(str::to_owned))
        };
        assert_eq!(of(&[]), Ok(None));
        for text in ["Bearer abc", "bearer abc", "BEARER   abc"] {
            assert_eq!(of(&[text]), Ok(Some("abc".into())), "{text}");
        }
        for text in
            ["", "Bearer", "Bearer ", "abc", "Basic abc", "Bearer a b", "Bearer\tabc", "Bearer é"]
        {
            assert_eq!(of(&[text]), Err(BadHeader::Malformed), "{text:?}");
        }
        assert_eq!(of(&["Bearer abc", "Bearer abc"]), Err(BadHeader::Several));
    }

    #[test]
    fn a_cookie_is_found_among_others_and_only_once() {
        let secret = "x".repeat(43);
        let own = format!("{COOKIE}={secret}");
        let of = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|it| ("cookie", *it)).collect();
            cookie(&headers(&lines)).map(str::to_owned)
        };
        let others = "a=b; ".repeat(100);
        for lines in [
            &[&*own][..],
            &[&format!("{others}{own}; c=d")],
            &["a=b", &own],
            &[&format!("{COOKIE}x=1; {own}; x{COOKIE}=2; {COOKIE}")],
        ] {
            assert_eq!(of(lines).as_ref(), Some(&secret), "{lines:?}");
        }
        for lines in [
            &[][..],
            &[&*own, &*own],
            &[&format!("{own}; {own}")],
            &[&format!("{own}; {COOKIE}=")],
            &[&format!("{own}x")],
            &[&format!("{COOKIE}=\"{secret}\"")],
            &[&own.to_uppercase()],
            &["a=b"],
            &["telepool_session"],
        ] {
            assert_eq!(of(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn a_token_is_seen_wherever_it_stands_in_a_query() {
        let token = Token::generate().unwrap();
        let token = token.reveal();
        for query in [
            format!("token={token}"),
            "token=anything".into(),
            "a=b&Access_Token=x".into(),
            format!("q={token}"),
            format!("a=b&{token}"),
            format!("a=b;c={token}"),
        ] {
            assert!(has_token_in_query(Some(&query)), "{query}");
        }
        for query in [None, Some(""), Some("q=tp_x&sort=name"), Some("tokens=1"), Some("&&=&")] {
            assert!(!has_token_in_query(query), "{query:?}");
        }
    }
}
