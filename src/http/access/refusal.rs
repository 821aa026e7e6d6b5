//! Refusals: what a client is told that is not let in.
//!
//! Owns the status, the reason and the remedy of each. None repeats what the client has sent: a token that is
//! wrong here may be right elsewhere.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::http::problem::Problem;

use super::Scope;
use super::headers::BadHeader;
use super::peer::Peer;
use super::policy::AccessPolicy;
use super::sign_in::set_cookie;
use super::tokens::TokenRefusal;

const STAGE: &str = "access";

fn forbidden(reason: &'static str, detail: &'static str, remedy: &'static str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, (STAGE, reason), detail, remedy)
}

pub(super) fn host() -> Problem {
    forbidden(
        "host",
        "the request asks for a host that this server does not go by, or for none, or for several",
        "ask for it by localhost, 127.0.0.1 or [::1], by the address that it listens on, or by a name that \
         it was given",
    )
}

pub(super) fn site() -> Problem {
    forbidden(
        "cross_site",
        "the request was made by a page of another site, or it is not clear by whose",
        "open the page of this server itself; a program leaves Origin and Sec-Fetch-Site away",
    )
}

pub(super) fn missing_scope(scope: Scope) -> Problem {
    let detail = format!("the token is not for the scope {}", scope.label());
    let remedy = format!(
        "use a token that is: telepool token create --file FILE --name NAME --scope {}",
        scope.label()
    );
    Problem::new(StatusCode::FORBIDDEN, (STAGE, "missing_scope"), detail, remedy)
}

pub(super) fn token_in_query() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        (STAGE, "token_in_query"),
        "a token stands in the address, where histories and logs of proxies keep it",
        "send it as Authorization: Bearer TOKEN; revoke one that was sent so, and make another",
    )
}

pub(super) fn too_many_requests(seconds: u64) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        (STAGE, "rate"),
        "there were too many requests by this token, or from this address without one",
        "ask again after the seconds in Retry-After, and then less often",
    )
    .retry_after(seconds)
}

pub(super) fn bad_body(what: &'static str) -> Problem {
    let detail = format!("the body is not what signs in: {what}");
    let remedy = "send {\"token\": \"tp_...\"} as application/json";
    Problem::new(StatusCode::BAD_REQUEST, ("request", "bad_body"), detail, remedy)
}

pub(super) fn body_too_long(max: usize) -> Problem {
    let detail = format!("the body is longer than {max} bytes, or broke off");
    let remedy = "send {\"token\": \"tp_...\"} and nothing else";
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, ("request", "body_too_long"), detail, remedy)
}

pub(super) fn no_random_numbers() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        (STAGE, "no_random_numbers"),
        "the system gave no random numbers for a cookie",
        "try again; the log of the service tells more",
    )
    .retry_after(1)
}

/// Nobody has said who they are, where that has to be known.
pub(super) fn no_token(policy: &AccessPolicy, is_change: bool, has_cookie: bool) -> Response {
    let detail = match (is_change, has_cookie) {
        (true, true) => {
            "a change needs a token itself: that a browser is signed in does not suffice"
        }
        (true, false) => "a change needs a token that may operate",
        (false, true) => "this browser is no longer signed in: its token or its time has ended",
        (false, false) => "this needs a token",
    };
    let remedy = match policy.known_tokens().is_some() {
        true => "send Authorization: Bearer TOKEN, with one that telepool token create has made",
        false => {
            "make one with telepool token create, start the server with that file of tokens, and send \
             Authorization: Bearer TOKEN"
        }
    };
    let problem = Problem::new(StatusCode::UNAUTHORIZED, (STAGE, "no_token"), detail, remedy);
    let mut response = challenge(problem, "Bearer realm=\"telepool\"");
    if has_cookie && !is_change {
        let line = set_cookie("", policy.is_tls());
        response.headers_mut().insert(header::SET_COOKIE, line);
    }
    response
}

/// What is in `Authorization` is no token.
pub(super) fn bad_authorization(
    policy: &AccessPolicy,
    peer: Option<Peer>,
    bad: BadHeader,
) -> Response {
    let detail = match bad {
        BadHeader::Several => "there are several headers Authorization",
        BadHeader::Malformed => "the header Authorization is not Bearer and a token",
    };
    failed(policy, peer, ("malformed_token", detail))
}

/// What was shown as a token lets nobody in.
pub(super) fn wrong_token(
    policy: &AccessPolicy,
    peer: Option<Peer>,
    refused: TokenRefusal,
) -> Response {
    let (reason, detail, id) = match refused {
        TokenRefusal::Malformed => ("malformed_token", "what was sent is no token", None),
        TokenRefusal::Unknown(id) => ("unknown_token", "this token lets nobody in", Some(id)),
        TokenRefusal::Expired(id) => ("expired_token", "the time of this token is over", Some(id)),
    };
    let response = failed(policy, peer, (reason, detail));
    if response.status() == StatusCode::UNAUTHORIZED {
        // No more than the failures that are counted, and nothing of a token but its public part.
        let id = id.map(tracing::field::display);
        tracing::warn!(?peer, id, reason, "a token was refused");
    }
    response
}

/// Counts a failure. Whoever has had too many is told to wait instead of why.
fn failed(
    policy: &AccessPolicy,
    peer: Option<Peer>,
    (reason, detail): (&'static str, &'static str),
) -> Response {
    if let Err(seconds) = policy.rates().failure(peer) {
        let wait = Duration::from_secs(seconds);
        let remedy = "wait, and send a token that telepool token list shows";
        let detail = format!("too many tokens from this address let nobody in: wait for {wait:?}");
        let stage = (STAGE, "too_many_failures");
        return Problem::new(StatusCode::TOO_MANY_REQUESTS, stage, detail, remedy)
            .retry_after(seconds)
            .into_response();
    }
    let remedy = match policy.known_tokens().is_some() {
        true => {
            "send Authorization: Bearer TOKEN once, with a token that telepool token list shows and that \
             has not ended; or leave the header away where no token is needed"
        }
        false => {
            "leave the header Authorization away, or start the server with a file of tokens: telepool \
             token create makes it"
        }
    };
    let problem = Problem::new(StatusCode::UNAUTHORIZED, (STAGE, reason), detail, remedy);
    challenge(problem, "Bearer realm=\"telepool\", error=\"invalid_token\"")
}

fn challenge(problem: Problem, how: &'static str) -> Response {
    const AUTHENTICATE: HeaderName = header::WWW_AUTHENTICATE;
    let mut response = problem.into_response();
    response.headers_mut().insert(AUTHENTICATE, HeaderValue::from_static(how));
    response
}
