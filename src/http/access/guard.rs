//! The middleware: what becomes of one request.
//!
//! Owns the order of the checks. Whom the request asks for and which page has made it comes first, since
//! neither needs a secret; then who has made it; then how often. What a client may do with one resource is
//! judged by its handler; without the scope `read` none is reached at all.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::grant::LOOPBACK;
use super::headers::{self, Site};
use super::peer::Peer;
use super::policy::AccessPolicy;
use super::rates::RateKey;
use super::token::TokenId;
use super::{Access, Scope, answer, refusal};

/// Where a browser signs in and out.
pub(crate) const SESSION: &str = "/api/v1/session";

/// Which rules a request is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// Whether the process lives: for everybody, at any time.
    Health,
    /// The page's files, which tell nothing of the pool.
    Page,
    /// Signing in and out, which is judged by what is shown there.
    Session,
    /// What reads.
    Read,
    /// What may change something: every other method.
    Change,
}

impl Route {
    fn of(method: &Method, path: &str) -> Self {
        let reads = method == Method::GET || method == Method::HEAD;
        match path {
            SESSION if method == Method::POST || method == Method::DELETE => Self::Session,
            _ if !reads => Self::Change,
            "/healthz" => Self::Health,
            "/" | "/api" | "/favicon.ico" | "/robots.txt" => Self::Page,
            _ if path.starts_with("/page/") => Self::Page,
            _ => Self::Read,
        }
    }
}

/// Lets a request through, or answers it.
pub(super) async fn guard(
    State(policy): State<AccessPolicy>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let secrets = [header::AUTHORIZATION, header::COOKIE];
    for name in secrets {
        if let header::Entry::Occupied(mut lines) = parts.headers.entry(name) {
            // Whatever shows the headers of a request does not show these.
            lines.iter_mut().for_each(|line| line.set_sensitive(true));
        }
    }
    let is_for_all = Route::of(&parts.method, parts.uri.path()) == Route::Page;
    let response = match admit(&policy, &parts).await {
        Ok(caller) => {
            let Caller { access, client } = caller;
            parts.extensions.insert(access);
            let response = next.run(Request::from_parts(parts, body)).await;
            match (client, policy.known_tokens()) {
                (RateKey::Token(id), Some(tokens)) => answer::end_with(response, tokens, id),
                _ => response,
            }
        }
        Err(refused) => *refused,
    };
    answer::finish(response, is_for_all)
}

/// Returns who makes a request, and what they may do and see; or the answer that says why nothing.
pub(super) async fn admit(policy: &AccessPolicy, parts: &Parts) -> Result<Caller, Box<Response>> {
    let refuse = |response: Response| Box::new(response);
    let peer = Peer::of(&parts.extensions);
    let route = Route::of(&parts.method, parts.uri.path());
    check_site(policy, parts, peer, route)?;
    if route == Route::Health {
        return Ok(Caller { access: Access::default(), client: RateKey::of(peer) });
    }
    if headers::has_token_in_query(parts.uri.query()) {
        return Err(refuse(refusal::token_in_query().into_response()));
    }
    let caller = match route {
        // What stands in Authorization may be the token of before.
        Route::Session => Caller { access: Access::default(), client: RateKey::of(peer) },
        _ => caller(policy, parts, peer, route).await?,
    };
    policy
        .rates()
        .request(caller.client)
        .map_err(|seconds| refuse(refusal::too_many_requests(seconds).into_response()))?;
    let access = &caller.access;
    match route {
        Route::Health | Route::Page | Route::Session => Ok(caller),
        Route::Read if access.may(Scope::Read) => Ok(caller),
        Route::Change if access.may(Scope::Operate) || access.may(Scope::Call) => Ok(caller),
        _ if access.scopes.is_empty() => {
            let is_stale = headers::cookie(&parts.headers).is_some();
            Err(refuse(refusal::no_token(policy, route == Route::Change, is_stale)))
        }
        Route::Change if access.name.as_ref() == LOOPBACK => {
            Err(refuse(refusal::no_token(policy, true, false)))
        }
        Route::Read => Err(refuse(refusal::missing_scope(Scope::Read).into_response())),
        Route::Change => Err(refuse(refusal::missing_scope(Scope::Operate).into_response())),
    }
}

/// Checks whom a request asks for, and which page has made it.
fn check_site(
    policy: &AccessPolicy,
    parts: &Parts,
    peer: Option<Peer>,
    route: Route,
) -> Result<(), Box<Response>> {
    let is_local = matches!(peer, Some(Peer::Local { .. }));
    let hosts = headers::hosts(parts);
    let is_ours = hosts.iter().flatten().all(|it| policy.hosts().allow(&it.host));
    // No page leads to a Unix socket. Two hosts are refused there as well.
    let is_one = parts.headers.get_all(header::HOST).iter().count() <= 1;
    if if is_local { !is_one } else { hosts.is_none() || !is_ours } {
        return Err(Box::new(refusal::host().into_response()));
    }
    let asked = hosts.iter().flatten().next();
    let site = headers::site(&parts.headers, asked, policy.is_tls());
    let is_for_all = matches!(route, Route::Page | Route::Health);
    if site == Site::Foreign && !is_for_all {
        return Err(Box::new(refusal::site().into_response()));
    }
    // What a cookie alone brings about has to come from the page.
    let needs_own = route == Route::Session && parts.method == Method::DELETE;
    if needs_own && site != Site::Own && headers::cookie(&parts.headers).is_some() {
        return Err(Box::new(refusal::site().into_response()));
    }
    Ok(())
}

/// Who makes a request.
pub(super) struct Caller {
    pub(super) access: Access,
    /// As whom its requests are counted.
    client: RateKey,
}

async fn caller(
    policy: &AccessPolicy,
    parts: &Parts,
    peer: Option<Peer>,
    route: Route,
) -> Result<Caller, Box<Response>> {
    let shown = headers::bearer(&parts.headers)
        .map_err(|bad| Box::new(refusal::bad_authorization(policy, peer, bad)))?;
    if let Some(text) = shown {
        let set = policy.current().await;
        let token = set
            .verify(text)
            .map_err(|refused| Box::new(refusal::wrong_token(policy, peer, refused)))?;
        return Ok(Caller::by(token.record.id, token.access.clone()));
    }
    if let Some(Peer::Local { uid }) = peer {
        let scopes = Scope::ALL.to_vec();
        let name = Arc::from(format!("uid {uid}"));
        let access = Access { name, scopes, groups: None, phones: true };
        return Ok(Caller { access, client: RateKey::User(uid) });
    }
    if route != Route::Change
        && let Some(cookie) = headers::cookie(&parts.headers)
        && let Some(id) = policy.sign_ins().find(cookie)
        && let Some(token) = policy.current().await.find(id)
    {
        return Ok(Caller::by(id, token.access.clone()));
    }
    let mut access = Access::default();
    if policy.reads_are_free(peer) {
        (access.name, access.scopes) = (Arc::from(LOOPBACK), vec![Scope::Read]);
    }
    Ok(Caller { access, client: RateKey::of(peer) })
}

impl Caller {
    fn by(id: TokenId, access: Access) -> Self {
        Self { access, client: RateKey::Token(id) }
    }
}

#[cfg(test)]
mod tests;
