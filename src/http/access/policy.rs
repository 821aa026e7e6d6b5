//! The access policy: who is let in to what a server serves.
//!
//! Owns what an operator decides about it: the tokens, the names that the server goes by, whether reads need a
//! token on loopback as well. What becomes of one request is decided in `guard`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::post;

use super::guard;
use super::host::{AllowedHosts, HostNameError};
use super::peer::Peer;
use super::rates::{REQUESTS_PER_SECOND, RateLimits};
use super::sign_in::{SignIns, sign_in, sign_out};
use super::tokens::{TokenSet, Tokens};

/// Who may do what over HTTP.
///
/// By default, that is for a listener on a loopback address and without tokens: whoever is on this machine
/// and asks for it by `localhost`, `127.0.0.1` or `[::1]` may read, sees no phone number and changes nothing.
/// With tokens, whoever shows one may do and see what it is good for; a wrong one is refused wherever it is
/// shown. Every change needs a token, in the header `Authorization`. On any other address all but the files of
/// the page and `/healthz` needs one. Whoever comes over a Unix socket whose server tells of
/// [`Peer::Local`] may do all that an operator may.
///
/// `Host` is checked on every path, requests that pages of other sites make are refused, and each client has
/// its rate. A clone is the same policy: it shares who is signed in, and the rates.
///
/// ```
/// use telepool::http::AccessPolicy;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let router = axum::Router::<()>::new();
/// let policy = AccessPolicy::new().require_token(true).host_names(["telepool.example.org"])?;
/// let router = policy.guard(router);
/// # drop(router);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AccessPolicy {
    tokens: Option<Tokens>,
    hosts: AllowedHosts,
    listening: Option<SocketAddr>,
    requires_token: bool,
    is_tls: bool,
    rates: Arc<RateLimits>,
    sign_ins: Arc<SignIns>,
}

impl Default for AccessPolicy {
    fn default() -> Self {
        Self {
            tokens: None,
            hosts: AllowedHosts::default(),
            listening: None,
            requires_token: false,
            is_tls: false,
            rates: Arc::new(RateLimits::new(REQUESTS_PER_SECOND)),
            sign_ins: Arc::default(),
        }
    }
}

impl AccessPolicy {
    /// Makes the policy of a listener on loopback, without tokens.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets these tokens in.
    #[must_use]
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Decides whether reads need a token on a loopback address as well. They should where others reach it: by
    /// a proxy on this machine, or as another user of it.
    #[must_use]
    pub fn require_token(mut self, is_required: bool) -> Self {
        self.requires_token = is_required;
        self
    }

    /// Tells where the server listens: it may be asked for by that address, and on one that is not loopback
    /// everything needs a token. One that listens everywhere may be asked for by any address.
    #[must_use]
    pub fn listening_on(mut self, address: SocketAddr) -> Self {
        self.hosts.listen(address.ip());
        self.listening = Some(address);
        self
    }

    /// Adds names and addresses that the server may be asked for by.
    ///
    /// # Errors
    /// One of them is neither.
    pub fn host_names<'a>(
        mut self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, HostNameError> {
        self.hosts.add(names)?;
        Ok(self)
    }

    /// Tells whether the server speaks TLS: then its cookie is sent by nothing else.
    #[must_use]
    pub fn tls(mut self, is_tls: bool) -> Self {
        self.is_tls = is_tls;
        self
    }

    /// Limits the requests that one token, or one address without, may make in a second; 1000 by default. So
    /// many may come at once.
    #[must_use]
    pub fn requests_per_second(mut self, count: NonZeroU32) -> Self {
        self.rates = Arc::new(RateLimits::new(count));
        self
    }

    /// Puts the policy before all routes of a router, and before what it says of paths that it has not, and
    /// adds `/api/v1/session`, where a browser signs in (`POST` of `{"token": ".."}` gives it a cookie for
    /// reads, `DELETE` ends that). A request that passes has an [`Access`](super::Access) in its extensions;
    /// the connection's [`Peer`] has to be there already.
    ///
    /// # Panics
    /// The router has a route at `/api/v1/session`.
    pub fn guard<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        let session = post(sign_in).delete(sign_out).with_state(self.clone());
        let router = router.route(guard::SESSION, session);
        router.layer(from_fn_with_state(self.clone(), guard::guard))
    }

    /// Returns whether a client may read without a token.
    pub(super) fn reads_are_free(&self, peer: Option<Peer>) -> bool {
        let is_loopback = self.listening.is_none_or(|it| it.ip().to_canonical().is_loopback());
        !self.requires_token && is_loopback && peer.is_some_and(Peer::is_on_loopback)
    }

    pub(super) fn known_tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// Returns the tokens as they are now.
    pub(super) async fn current(&self) -> Arc<TokenSet> {
        match &self.tokens {
            Some(tokens) => tokens.current().await,
            None => Arc::default(),
        }
    }

    pub(super) fn hosts(&self) -> &AllowedHosts {
        &self.hosts
    }

    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(super) fn rates(&self) -> &RateLimits {
        &self.rates
    }

    pub(super) fn sign_ins(&self) -> &SignIns {
        &self.sign_ins
    }
}
