//! Requests of any bytes, against plain rules that hold whatever they say.
//!
//! Owns the reading of bytes as a request: a line with its method and target, and a line for each header.
//! Compiled for fuzzing, and for a test that tries a few thousand.

use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, header};

use super::host::Authority;
use super::policy::AccessPolicy;
use super::token::Token;
use super::{Peer, Scope, guard, headers};

const METHODS: [Method; 5] =
    [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::OPTIONS];
const HEADERS: [HeaderName; 6] = [
    header::HOST,
    header::ORIGIN,
    HeaderName::from_static("sec-fetch-site"),
    header::AUTHORIZATION,
    header::COOKIE,
    header::ACCEPT,
];
/// How many headers a request may have, as with hyper.
const HEADERS_MAX: usize = 100;

/// A request of lines, each of which begins with the number of its method or its header.
fn request(data: &[u8]) -> Option<Parts> {
    let mut lines = data.split(|byte| *byte == b'\n').take(HEADERS_MAX + 1);
    let (method, target) = lines.next()?.split_first()?;
    let method = METHODS[usize::from(*method) % METHODS.len()].clone();
    let target = Uri::try_from(target).ok()?;
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let (name, value) = line.split_first()?;
        let name = &HEADERS[usize::from(*name) % HEADERS.len()];
        request = request.header(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(request.body(()).ok()?.into_parts().0)
}

/// A policy without tokens lets reads of this machine through, and nothing else.
pub(crate) fn request_of_bytes(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        read_as_words(text);
    }
    let Some(mut parts) = request(data) else { return };
    parts.extensions.insert(Peer::Tcp(SocketAddr::from(([127, 0, 0, 1], 1))));
    let policy = AccessPolicy::new();
    let admitted = {
        let admitted = pin!(guard::admit(&policy, &parts));
        match admitted.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(admitted) => admitted,
            Poll::Pending => unreachable!("BUG: without tokens nothing is waited for"),
        }
    };
    let Ok(guard::Caller { access, .. }) = admitted else { return };
    let count = |name: HeaderName| parts.headers.get_all(name).iter().count();
    assert_eq!(count(header::HOST), 1, "one host is asked for");
    let host = parts.headers[header::HOST].to_str().expect("it was read");
    let host = host.to_ascii_lowercase();
    let begins = ["localhost", "127.0.0.1", "["].iter().any(|it| host.starts_with(it));
    assert!(begins && !host.contains(['@', '/', ' ', ',', '%']), "{host}");
    let path = parts.uri.path();
    let reads = parts.method == Method::GET || parts.method == Method::HEAD;
    assert!(reads || path == guard::SESSION, "nothing is changed without a token");
    assert!(!access.may(Scope::Operate) && !access.may(Scope::Call) && !access.phones);
    let is_open = path == "/healthz" || path == guard::SESSION;
    assert!(is_open || count(header::AUTHORIZATION) == 0, "no token is right here");
    let is_page = ["/", "/api", "/favicon.ico", "/robots.txt", "/healthz"].contains(&path)
        || path.starts_with("/page/");
    let is_foreign = parts.headers.get_all("sec-fetch-site").iter().any(|it| it == "cross-site");
    assert!(is_page || !is_foreign, "a page of another site reads nothing");
}

fn read_as_words(text: &str) {
    if let Some(authority) = Authority::parse(text) {
        let rest = text.trim_matches(|it: char| it.is_ascii_alphanumeric());
        assert!(
            text.is_ascii() && !rest.contains(['@', '/', '\\', '#', '?', '%', ' ']),
            "{text:?}"
        );
        assert_eq!(Authority::parse(&text.to_ascii_uppercase()), Some(authority), "{text:?}");
    }
    if let Some(id) = Token::id_of(text) {
        assert!(text.len() == 55 && text[3..].starts_with(&id.to_string()), "{text:?}");
        assert!(headers::has_token_in_query(Some(text)));
    }
    headers::has_token_in_query(Some(text));
}
