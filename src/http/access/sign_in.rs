//! Signing in: a cookie for a token, so that a page in a browser may read.
//!
//! Owns the cookies that are known, none of which outlives its token, and the two routes that make and end
//! one. A cookie never lets anybody change anything.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::{OpenApi, ToSchema};

use crate::base::clock::{Instant, now};
use crate::base::sync::Mutex;
use crate::http::problem::Problem;

use super::headers::{COOKIE, cookie};
use super::peer::Peer;
use super::policy::AccessPolicy;
use super::token::{TokenId, secret};
use super::{Scope, refusal};

/// For how long a browser stays signed in.
const SIGNED_IN: Duration = Duration::from_secs(12 * 60 * 60);
/// How many browsers may be, in all and by one token. Whoever signs in then ends the oldest.
const SIGN_INS_MAX: usize = 1024;
const SIGN_INS_PER_TOKEN_MAX: usize = 64;
/// The longest body of a request to sign in.
const BODY_LEN_MAX: usize = 1024;

/// The hash of a cookie. A table that is searched by it tells nothing by its time: whoever could choose a hash
/// would know the cookie.
type CookieHash = [u8; 32];

/// Who is signed in. The cookies themselves are not kept.
#[derive(Debug, Default)]
pub(super) struct SignIns(Mutex<HashMap<CookieHash, SignInCookie>>);

#[derive(Clone, Copy, Debug)]
struct SignInCookie {
    token: TokenId,
    until: Instant,
}

fn hash_of(cookie: &str) -> CookieHash {
    Sha256::digest(cookie.as_bytes()).into()
}

impl SignIns {
    /// Signs a browser in by a token, and returns its cookie.
    fn begin(&self, token: TokenId) -> io::Result<String> {
        let cookie = secret()?;
        let mut all = self.0.lock();
        all.retain(|_, it| it.until > now());
        let is_own = |it: &SignInCookie| it.token == token;
        let mut count = all.values().filter(|it| is_own(it)).count();
        while count >= SIGN_INS_PER_TOKEN_MAX || all.len() >= SIGN_INS_MAX {
            let is_meant = |it: &SignInCookie| count < SIGN_INS_PER_TOKEN_MAX || is_own(it);
            let oldest = all.iter().filter(|(_, it)| is_meant(it)).min_by_key(|(_, it)| it.until);
            let Some((&hash, &SignInCookie { token: of, .. })) = oldest else { break };
            all.remove(&hash);
            count -= usize::from(of == token);
        }
        all.insert(hash_of(&cookie), SignInCookie { token, until: now() + SIGNED_IN });
        Ok(cookie)
    }

    /// Returns the token by which the owner of a cookie has signed in.
    pub(super) fn find(&self, cookie: &str) -> Option<TokenId> {
        let all = self.0.lock();
        all.get(&hash_of(cookie)).filter(|it| it.until > now()).map(|it| it.token)
    }

    fn end(&self, cookie: &str) {
        self.0.lock().remove(&hash_of(cookie));
    }
}

/// The header that gives a browser its cookie, or takes it away.
pub(super) fn set_cookie(value: &str, is_tls: bool) -> HeaderValue {
    let age = if value.is_empty() { 0 } else { SIGNED_IN.as_secs() };
    let secure = if is_tls { "; Secure" } else { "" };
    let text =
        format!("{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    let mut line = HeaderValue::try_from(text).expect("BUG: a cookie is made of ASCII");
    line.set_sensitive(true);
    line
}

/// What signs a browser in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignInRequest {
    /// The token in full.
    token: String,
}

/// The description of both routes.
#[derive(OpenApi)]
#[openapi(paths(sign_in, sign_out))]
pub(crate) struct SessionDescription;

/// Signs a browser in: the cookie lets it read what the token may. Where no access policy stands before the
/// API there is no signing in.
#[utoipa::path(
    post,
    path = "/api/v1/session",
    tag = "session",
    request_body = SignInRequest,
    responses((status = 204, description = "Signed in", headers(("Set-Cookie" = String, description = "The cookie"))))
)]
pub(super) async fn sign_in(State(policy): State<AccessPolicy>, request: Request) -> Response {
    match admit(&policy, request).await {
        Ok(cookie) => {
            let line = set_cookie(&cookie, policy.is_tls());
            (StatusCode::NO_CONTENT, [(header::SET_COOKIE, line)]).into_response()
        }
        Err(response) => response,
    }
}

async fn admit(policy: &AccessPolicy, request: Request) -> Result<String, Response> {
    let (parts, body) = request.into_parts();
    let shown = read(&parts.headers, body).await.map_err(IntoResponse::into_response)?;
    let set = policy.current().await;
    let token = set
        .verify(&shown.token)
        .map_err(|refused| refusal::wrong_token(policy, Peer::of(&parts.extensions), refused))?;
    if !token.access.may(Scope::Read) {
        return Err(refusal::missing_scope(Scope::Read).into_response());
    }
    // A browser that signs in anew is not signed in twice.
    if let Some(before) = cookie(&parts.headers) {
        policy.sign_ins().end(before);
    }
    let cookie = policy.sign_ins().begin(token.record.id).map_err(|error| {
        tracing::error!(%error, "no cookie could be made");
        refusal::no_random_numbers().into_response()
    })?;
    tracing::info!(token = %token.record.id, name = &*token.access.name, "a browser has signed in");
    Ok(cookie)
}

async fn read(headers: &HeaderMap, body: Body) -> Result<SignInRequest, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default();
    // No form of another site can be sent as JSON.
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        return Err(refusal::bad_body("it is not sent as application/json"));
    }
    let bytes = axum::body::to_bytes(body, BODY_LEN_MAX);
    let bytes = bytes.await.map_err(|_| refusal::body_too_long(BODY_LEN_MAX))?;
    // What the parser says could quote a token.
    serde_json::from_slice(&bytes).map_err(|_| refusal::bad_body("it is no such object"))
}

/// Ends what was signed in. There may have been nothing.
#[utoipa::path(
    delete,
    path = "/api/v1/session",
    tag = "session",
    responses((status = 204, description = "Signed out", headers(("Set-Cookie" = String, description = "An empty cookie"))))
)]
pub(super) async fn sign_out(State(policy): State<AccessPolicy>, headers: HeaderMap) -> Response {
    if let Some(cookie) = cookie(&headers) {
        policy.sign_ins().end(cookie);
    }
    let line = set_cookie("", policy.is_tls());
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, line)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> TokenId {
        let letters = "abcdefghijklmnopqrstuvwxyz";
        let [one, other] = [number / 26, number % 26].map(|at| &letters[at..=at]);
        format!("aaaaaa{one}{other}").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_cookie_is_good_for_its_time_or_until_it_is_ended() {
        let all = SignIns::default();
        let [one, other] = [0, 1].map(|number| all.begin(id(number)).unwrap());
        assert_ne!(one, other);
        assert_eq!((all.find(&one), all.find(&other)), (Some(id(0)), Some(id(1))));
        assert_eq!(all.find(&secret().unwrap()), None);
        all.end(&one);
        assert_eq!((all.find(&one), all.find(&other)), (None, Some(id(1))));
        tokio::time::advance(SIGNED_IN).await;
        assert_eq!(all.find(&other), None);
        all.begin(id(0)).unwrap();
        assert_eq!(all.0.lock().len(), 1, "what is over is forgotten");
        assert!(!format!("{all:?}").contains(&other), "no cookie is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn who_signs_in_too_often_ends_what_is_their_own_and_oldest() {
        let all = SignIns::default();
        let step = async || tokio::time::advance(Duration::from_secs(1)).await;
        let stranger = all.begin(id(0)).unwrap();
        let mut own = Vec::new();
        for _ in 0..=SIGN_INS_PER_TOKEN_MAX {
            step().await;
            own.push(all.begin(id(1)).unwrap());
        }
        assert_eq!(all.find(&own[0]), None);
        assert!(own[1..].iter().all(|it| all.find(it) == Some(id(1))));
        assert_eq!(all.find(&stranger), Some(id(0)));
        for token in 2..40 {
            for _ in 0..SIGN_INS_PER_TOKEN_MAX {
                all.begin(id(token)).unwrap();
            }
        }
        assert_eq!(all.0.lock().len(), SIGN_INS_MAX);
        assert_eq!(all.find(&stranger), None, "the oldest of all");
    }

    #[test]
    fn a_cookie_is_for_this_site_and_not_for_scripts() {
        let line = set_cookie("abc", false);
        assert_eq!(line, "telepool_session=abc; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
        assert!(set_cookie("abc", true).to_str().unwrap().ends_with("; Secure"));
        assert!(set_cookie("", false).to_str().unwrap().contains("=; Path=/; Max-Age=0;"));
        assert_eq!(format!("{line:?}"), "Sensitive");
    }
}
