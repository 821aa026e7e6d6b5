//! The live page: its files, and how they are served.
//!
//! Owns the paths of the files, their validators and the headers that keep a browser to them. The page is a
//! client of the JSON API and knows no number by itself, so that its files are for everybody: what may be
//! read is decided where it is read.

mod assets;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use self::assets::{Asset, INDEX, REFERENCE};

/// Nothing but the page's own files and the API of its own origin; no markup out of text (`trusted-types`),
/// no frame around it, and no form that is sent by the browser itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// What each file is sent with.
const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // Asked for again each time, and answered with 304 while the process is of the same version.
    (CACHE_CONTROL, "no-cache"),
];

/// Returns the routes of the page: `/`, the description of the API at `/api`, and their files below `/page`.
pub(super) fn router() -> Router {
    let file = |Path(name): Path<String>, headers: HeaderMap| async move {
        match assets::named(&name) {
            Some(asset) => answer(asset, &headers),
            None => (StatusCode::NOT_FOUND, "not found\n").into_response(),
        }
    };
    Router::new()
        .route("/", get(|headers: HeaderMap| async move { answer(&INDEX, &headers) }))
        .route("/api", get(|headers: HeaderMap| async move { answer(&REFERENCE, &headers) }))
        .route("/page/{name}", get(file))
}

fn answer(asset: &Asset, headers: &HeaderMap) -> Response {
    let tag = tag_of(asset.text);
    let mut response = if is_held(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, asset.content_type)], asset.text).into_response()
    };
    let sent = response.headers_mut();
    for (name, value) in HEADERS {
        sent.insert(name, HeaderValue::from_static(value));
    }
    sent.insert(ETAG, HeaderValue::from_str(&tag).expect("BUG: a tag is hexadecimal"));
    response
}

/// Returns a validator that changes with the text: half of its SHA-256.
fn tag_of(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut tag = String::from("\"");
    for byte in digest.iter().take(16) {
        write!(tag, "{byte:02x}").expect("BUG: a string takes all that is written");
    }
    tag.push('"');
    tag
}

/// Returns whether the client has this text already. Its validators are compared weakly, as RFC 9110 wants it.
fn is_held(headers: &HeaderMap, tag: &str) -> bool {
    let lines = headers.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let mut tags = lines.flat_map(|line| line.split(',')).map(str::trim);
    tags.any(|held| held == "*" || held.strip_prefix("W/").unwrap_or(held) == tag)
}
