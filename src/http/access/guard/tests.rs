use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::{get, post};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use super::*;
use crate::http::access::{TokenFile, TokenGrant, Tokens};
use tempfile::TempDir;

const HERE: &str = "127.0.0.1:4000";
const ELSEWHERE: &str = "192.0.2.7:4000";
const SNAPSHOT: &str = "/api/v1/snapshot";
const CLOSE: &str = "/api/v1/accounts/bot:1/close";

/// A router under a policy, with tokens of its own.
struct Bench {
    policy: AccessPolicy,
    file: TokenFile,
    reader: String,
    operator: String,
    _folder: TempDir,
}

/// What a client is answered.
#[derive(Debug)]
struct Told {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Told {
    fn reason(&self) -> String {
        let problem: Value = serde_json::from_str(&self.text).unwrap_or_default();
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        assert!(problem["remedy"].as_str().is_some_and(|it| !it.is_empty()), "{self:?}");
        problem["reason"].as_str().unwrap_or_default().to_owned()
    }

    fn cookie(&self) -> String {
        let line = self.headers["set-cookie"].to_str().unwrap();
        line.split(';').next().unwrap().to_owned()
    }
}

async fn who(access: Access) -> String {
    let Access { name, scopes, groups, phones, .. } = access;
    let scopes: Vec<_> = scopes.into_iter().map(Scope::label).collect();
    format!("{name} {scopes:?} {groups:?} {phones}")
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::at(folder.path().join("tokens.jsonl"));
        let mut grant = TokenGrant::new("reader", [Scope::Read]);
        (grant.groups, grant.phones) = (Some(vec!["bots".into()]), true);
        let reader = file.create(grant).unwrap().0.reveal().to_owned();
        let grant = TokenGrant::new("operator", [Scope::Read, Scope::Operate]);
        let operator = file.create(grant).unwrap().0.reveal().to_owned();
        let tokens = Tokens::open(file.clone()).unwrap();
        let policy = AccessPolicy::new().tokens(tokens).listening_on(at("127.0.0.1:9464"));
        Self { policy, file, reader, operator, _folder: folder }
    }

    fn with(mut self, change: impl FnOnce(AccessPolicy) -> AccessPolicy) -> Self {
        self.policy = change(self.policy);
        self
    }

    fn make(&self, name: &str, scope: Scope) -> String {
        self.file.create(TokenGrant::new(name, [scope])).unwrap().0.reveal().to_owned()
    }

    /// One request, as it comes to the routes of the server.
    async fn ask(
        &self,
        peer: Option<Peer>,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> Told {
        let router = Router::new()
            .route("/", get(who))
            .route("/page/app.js", get(who))
            .route("/healthz", get(who))
            .route("/metrics", get(who))
            .route(SNAPSHOT, get(who))
            .route(CLOSE, post(who));
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost:9464");
        }
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        peer.map(|peer| request.extensions_mut().insert(peer));
        let service = TowerToHyperService::new(self.policy.guard(router));
        let (parts, body) = service.call(request).await.unwrap().into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        for secret in [&self.reader, &self.operator] {
            assert!(!text.contains(&secret[12..]), "no answer repeats a token: {text}");
        }
        let names: Vec<_> = parts.headers.keys().map(ToString::to_string).collect();
        assert!(!names.iter().any(|it| it.starts_with("access-control")), "{names:?}");
        Told { status: parts.status, headers: parts.headers, text }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Told {
        self.ask(here(), ("GET", path), headers, "").await
    }

    async fn sign_in(&self, token: &str) -> Told {
        let headers = [("content-type", "application/json"), ("origin", "http://localhost:9464")];
        let body = format!("{{\"token\": \"{token}\"}}");
        self.ask(here(), ("POST", SESSION), &headers, &body).await
    }
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn here() -> Option<Peer> {
    Some(Peer::Tcp(at(HERE)))
}

fn elsewhere() -> Option<Peer> {
    Some(Peer::Tcp(at(ELSEWHERE)))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

const OK: StatusCode = StatusCode::OK;
const BAD: StatusCode = StatusCode::BAD_REQUEST;
const UNKNOWN: StatusCode = StatusCode::UNAUTHORIZED;
const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
const DONE: StatusCode = StatusCode::NO_CONTENT;

#[tokio::test(start_paused = true)]
async fn on_loopback_reads_are_free_and_every_change_needs_a_token() {
    let bench = Bench::new();
    let told = bench.get(SNAPSHOT, &[]).await;
    assert_eq!((told.status, &*told.text), (OK, "loopback [\"read\"] None false"));
    assert_eq!(bench.get("/metrics", &[]).await.status, OK);
    assert_eq!(bench.get("/none", &[]).await.status, StatusCode::NOT_FOUND);
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FUNNY"] {
        let told = bench.ask(here(), (method, CLOSE), &[], "").await;
        assert_eq!((told.status, told.reason()), (UNKNOWN, "no_token".into()), "{method}");
        assert_eq!(told.headers["www-authenticate"], "Bearer realm=\"telepool\"");
    }
    let operator = bearer(&bench.operator);
    let told = bench.ask(here(), ("POST", CLOSE), &[("authorization", &operator)], "").await;
    assert_eq!((told.status, &*told.text), (OK, "operator [\"read\", \"operate\"] None false"));
    let reader = bearer(&bench.reader);
    let told = bench.ask(here(), ("POST", CLOSE), &[("authorization", &reader)], "").await;
    assert_eq!((told.status, told.reason()), (FORBIDDEN, "missing_scope".into()));
    let told = bench.get(SNAPSHOT, &[("authorization", &reader)]).await;
    assert_eq!(told.text, "reader [\"read\"] Some([\"bots\"]) true");
}

#[tokio::test(start_paused = true)]
async fn elsewhere_all_but_the_page_and_the_health_needs_a_token() {
    let beyond = "192.0.2.1:9464";
    let open = Bench::new().with(|policy| policy.listening_on(at(beyond)));
    let everywhere = Bench::new().with(|policy| policy.listening_on(at("0.0.0.0:9464")));
    let strict = Bench::new().with(|policy| policy.require_token(true));
    let plain = Bench::new();
    for (bench, peer) in [
        (&open, here()),
        (&open, elsewhere()),
        (&everywhere, here()),
        (&strict, here()),
        // A loopback address that somebody has forwarded, or a router that nobody tells of its peers.
        (&plain, elsewhere()),
        (&plain, None),
    ] {
        for path in ["/metrics", SNAPSHOT, "/readyz", "/none", "/page", "/api/v1", "//", "/Page/a"]
        {
            let told = bench.ask(peer, ("GET", path), &[], "").await;
            assert_eq!((told.status, told.reason()), (UNKNOWN, "no_token".into()), "{path}");
        }
        for path in ["/", "/page/app.js", "/healthz"] {
            let told = bench.ask(peer, ("GET", path), &[], "").await;
            assert_eq!(told.status, OK, "{path}");
            assert!(told.text.starts_with(" []") || peer.is_none(), "nobody: {told:?}");
        }
        let reader = bearer(&bench.reader);
        let told = bench.ask(peer, ("GET", SNAPSHOT), &[("authorization", &reader)], "").await;
        assert_eq!(told.status, OK);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_without_the_scope_to_read_reads_nothing() {
    let bench = Bench::new();
    let caller = bearer(&bench.make("caller", Scope::Call));
    let told = bench.get("/metrics", &[("authorization", &caller)]).await;
    assert_eq!(told.status, UNKNOWN, "not taken up yet");
    tokio::time::advance(Duration::from_secs(1)).await;
    let told = bench.get("/metrics", &[("authorization", &caller)]).await;
    assert_eq!((told.status, told.reason()), (FORBIDDEN, "missing_scope".into()));
    let told = bench.ask(here(), ("POST", CLOSE), &[("authorization", &caller)], "").await;
    assert_eq!(told.text, "caller [\"call\"] None false", "its handler judges which it needs");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_wrong_is_refused_even_where_none_is_needed() {
    let bench = Bench::new();
    let operator = bearer(&bench.operator);
    let unknown = bearer(crate::http::access::Token::generate().unwrap().reveal());
    let cut = &operator[..operator.len() - 1];
    for (lines, reason) in [
        (&[&*unknown][..], "unknown_token"),
        (&[cut], "malformed_token"),
        (&["Bearer x"], "malformed_token"),
        (&["Bearer"], "malformed_token"),
        (&["Basic dXNlcjpwYXNz"], "malformed_token"),
        (&[&*operator, &operator], "malformed_token"),
        (&[&*operator, "Bearer x"], "malformed_token"),
        (&["Bearer tp_é"], "malformed_token"),
    ] {
        let headers: Vec<_> = lines.iter().map(|line| ("authorization", *line)).collect();
        for path in ["/", SNAPSHOT] {
            // With counts of its own, which are not what this is about.
            let policy = bench.policy.clone().requests_per_second(NonZeroU32::MAX);
            let bench = Bench { policy, ..Bench::new() };
            let told = bench.get(path, &headers).await;
            assert_eq!((told.status, told.reason()), (UNKNOWN, reason.into()), "{path} {lines:?}");
            let how = told.headers["www-authenticate"].to_str().unwrap();
            assert!(how.contains("error=\"invalid_token\""), "{how}");
        }
        let told = bench.get("/healthz", &headers).await;
        assert_eq!(told.status, OK, "whether the process lives does not depend on it");
    }
    let none = Bench::new().with(|_| AccessPolicy::new());
    let told = none.get(SNAPSHOT, &[("authorization", &operator)]).await;
    assert_eq!((told.status, told.reason()), (UNKNOWN, "unknown_token".into()));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_not_ours_is_refused_on_every_path() {
    let bench = Bench::new();
    let operator = bearer(&bench.operator);
    for path in ["/", "/page/app.js", "/healthz", "/metrics", SNAPSHOT, "/none"] {
        for host in ["evil.com", "127.0.0.1.evil.com", "localhost.", "[::ffff:127.0.0.1]", ""] {
            let headers = [("host", host), ("authorization", &operator)];
            let told = bench.get(path, &headers).await;
            assert_eq!((told.status, told.reason()), (FORBIDDEN, "host".into()), "{path} {host}");
        }
        let two = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(bench.get(path, &two).await.reason(), "host");
        let absolute = format!("http://evil.com{path}");
        assert_eq!(bench.get(&absolute, &[]).await.reason(), "host");
        let absolute = format!("http://localhost:9464{path}");
        assert_ne!(bench.get(&absolute, &[]).await.status, FORBIDDEN, "{path}");
    }
    let local = Some(Peer::Local { uid: 1000 });
    let told = bench.ask(local, ("GET", SNAPSHOT), &[("host", "anything at all")], "").await;
    assert_eq!(told.status, OK, "no page leads to a Unix socket");
    let two = [("host", "a"), ("host", "b")];
    assert_eq!(bench.ask(local, ("GET", SNAPSHOT), &two, "").await.reason(), "host");
}

#[tokio::test(start_paused = true)]
async fn what_a_page_of_another_site_asks_for_is_refused() {
    let bench = Bench::new();
    let operator = bearer(&bench.operator);
    for foreign in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "http://evil.com"),
        ("origin", "http://localhost:9465"),
        ("origin", "null"),
    ] {
        for request in [("GET", SNAPSHOT), ("GET", "/metrics"), ("POST", CLOSE), ("POST", "/")] {
            let headers = [foreign, ("authorization", &*operator)];
            let told = bench.ask(here(), request, &headers, "").await;
            assert_eq!((told.status, told.reason()), (FORBIDDEN, "cross_site".into()));
        }
        let body = format!("{{\"token\": \"{}\"}}", bench.reader);
        let headers = [foreign, ("content-type", "application/json")];
        let told = bench.ask(here(), ("POST", SESSION), &headers, &body).await;
        assert_eq!(told.reason(), "cross_site", "nobody is signed in by a stranger's page");
        // A link on another page leads to this one.
        for path in ["/", "/page/app.js", "/healthz"] {
            assert_eq!(bench.get(path, &[foreign]).await.status, OK, "{path}");
        }
    }
    let preflight = [("origin", "http://evil.com"), ("access-control-request-method", "POST")];
    let told = bench.ask(here(), ("OPTIONS", CLOSE), &preflight, "").await;
    assert_eq!(told.status, FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_is_signed_in_reads_and_changes_nothing() {
    let bench = Bench::new().with(|policy| policy.require_token(true));
    let told = bench.sign_in(&bench.operator).await;
    assert_eq!((told.status, &*told.text), (DONE, ""));
    let cookie = told.cookie();
    let signed = ("cookie", &*cookie);
    let told = bench.get(SNAPSHOT, &[signed]).await;
    assert_eq!(told.text, "operator [\"read\", \"operate\"] None false");
    for site in [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")] {
        assert_eq!(bench.get(SNAPSHOT, &[signed, site]).await.status, OK);
    }
    for site in [("sec-fetch-site", "same-site"), ("origin", "http://evil.com")] {
        assert_eq!(bench.get(SNAPSHOT, &[signed, site]).await.reason(), "cross_site");
    }
    let own = ("origin", "http://localhost:9464");
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let told = bench.ask(here(), (method, CLOSE), &[signed, own], "").await;
        assert_eq!((told.status, told.reason()), (UNKNOWN, "no_token".into()), "{method}");
        assert!(!told.headers.contains_key("set-cookie"), "it stays signed in");
    }
    let operator = bearer(&bench.operator);
    let both = [signed, own, ("authorization", &operator)];
    assert_eq!(bench.ask(here(), ("POST", CLOSE), &both, "").await.status, OK);
    // To end it, the request has to come from the page.
    for headers in [&[signed][..], &[signed, ("sec-fetch-site", "none")]] {
        let told = bench.ask(here(), ("DELETE", SESSION), headers, "").await;
        assert_eq!(told.reason(), "cross_site", "{headers:?}");
    }
    // What stands in Authorization then may be a token that has ended.
    let headers = [signed, own, ("authorization", "Bearer old")];
    let told = bench.ask(here(), ("DELETE", SESSION), &headers, "").await;
    assert_eq!((told.status, told.cookie()), (DONE, "telepool_session=".into()));
    let told = bench.get(SNAPSHOT, &[signed]).await;
    assert_eq!((told.status, told.cookie()), (UNKNOWN, "telepool_session=".into()));
    assert_eq!(bench.ask(here(), ("DELETE", SESSION), &[], "").await.status, DONE);
}

#[tokio::test(start_paused = true)]
async fn a_cookie_ends_with_its_token_and_one_that_has_ended_is_as_good_as_none() {
    let bench = Bench::new();
    let cookie = bench.sign_in(&bench.reader).await.cookie();
    let again = bench.sign_in(&bench.reader).await.cookie();
    assert_ne!(cookie, again, "nobody can have known it before");
    assert!(bench.get(SNAPSHOT, &[("cookie", &cookie)]).await.text.starts_with("reader"));
    let twice = format!("{cookie}; {again}");
    let told = bench.get(SNAPSHOT, &[("cookie", &twice)]).await;
    assert!(told.text.starts_with("loopback"), "{told:?}");
    bench.file.revoke("reader").unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let told = bench.get(SNAPSHOT, &[("cookie", &cookie)]).await;
    assert!(told.text.starts_with("loopback"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn only_a_token_in_json_that_may_read_signs_in() {
    let bench = Bench::new();
    let json = ("content-type", "application/json; charset=utf-8");
    let body = format!("{{\"token\": \"{}\"}}", bench.reader);
    let long = format!("{body}{}", " ".repeat(2000));
    let more = body.replace('}', ", \"more\": 1}");
    for (kind, body, status, reason) in [
        (json, &*body, DONE, ""),
        (("content-type", "text/plain"), &body, BAD, "bad_body"),
        (("content-type", "application/x-www-form-urlencoded"), &body, BAD, "bad_body"),
        (("x", "y"), &body, BAD, "bad_body"),
        (json, "", BAD, "bad_body"),
        (json, "{}", BAD, "bad_body"),
        (json, "{\"token\": 1}", BAD, "bad_body"),
        (json, &more, BAD, "bad_body"),
        (json, &long, StatusCode::PAYLOAD_TOO_LARGE, "body_too_long"),
        (json, "{\"token\": \"tp_x\"}", UNKNOWN, "malformed_token"),
    ] {
        let told = bench.ask(here(), ("POST", SESSION), &[kind], body).await;
        assert_eq!(told.status, status, "{body}: {told:?}");
        assert!(reason.is_empty() || told.reason() == reason, "{body}: {told:?}");
    }
    let caller = bench.make("caller", Scope::Call);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(bench.sign_in(&caller).await.reason(), "missing_scope");
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_over_a_unix_socket_is_an_operator_of_their_name() {
    let bench = Bench::new().with(|policy| policy.require_token(true));
    let local = Some(Peer::Local { uid: 1000 });
    let told = bench.ask(local, ("POST", CLOSE), &[], "").await;
    assert_eq!(told.text, "uid 1000 [\"read\", \"operate\", \"call\"] None true");
    // Whoever shows a token there wants no more than that.
    let reader = bearer(&bench.reader);
    let told = bench.ask(local, ("POST", CLOSE), &[("authorization", &reader)], "").await;
    assert_eq!(told.reason(), "missing_scope");
    let told = bench.ask(local, ("POST", CLOSE), &[("authorization", "Bearer x")], "").await;
    assert_eq!(told.status, UNKNOWN);
    let told = bench.ask(local, ("POST", CLOSE), &[("origin", "http://evil.com")], "").await;
    assert_eq!(told.reason(), "cross_site");
}

#[tokio::test(start_paused = true)]
async fn who_tries_tokens_is_slowed_and_keeps_nobody_out() {
    let bench = Bench::new();
    let tries = async || bench.get(SNAPSHOT, &[("authorization", "Bearer x")]).await;
    for _ in 0..10 {
        assert_eq!(tries().await.status, UNKNOWN);
    }
    let told = tries().await;
    assert_eq!(told.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        (told.reason(), &told.headers["retry-after"]),
        ("too_many_failures".into(), &"1".parse().unwrap())
    );
    let told = bench.sign_in("tp_x").await;
    assert_eq!(told.reason(), "too_many_failures", "signing in is no way around it");
    // From the same address as well.
    let reader = bearer(&bench.reader);
    assert_eq!(bench.get(SNAPSHOT, &[("authorization", &reader)]).await.status, OK);
    assert_eq!(bench.get(SNAPSHOT, &[]).await.status, OK);
    assert_eq!(bench.sign_in(&bench.reader).await.status, DONE);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(tries().await.status, UNKNOWN);
}

#[tokio::test(start_paused = true)]
async fn a_token_has_a_rate_of_its_own() {
    let bench = Bench::new().with(|it| it.requests_per_second(NonZeroU32::new(3).unwrap()));
    let [reader, operator] = [&bench.reader, &bench.operator].map(|it| bearer(it));
    for _ in 0..3 {
        assert_eq!(bench.get(SNAPSHOT, &[("authorization", &reader)]).await.status, OK);
    }
    let told = bench.get(SNAPSHOT, &[("authorization", &reader)]).await;
    assert_eq!((told.status, told.reason()), (StatusCode::TOO_MANY_REQUESTS, "rate".into()));
    assert_eq!(told.headers["retry-after"], "1");
    assert_eq!(bench.get(SNAPSHOT, &[("authorization", &operator)]).await.status, OK);
    for _ in 0..3 {
        assert_eq!(bench.get(SNAPSHOT, &[]).await.status, OK);
    }
    assert_eq!(bench.get(SNAPSHOT, &[]).await.reason(), "rate");
    assert_eq!(bench.get("/", &[]).await.reason(), "rate");
    assert_eq!(bench.get("/healthz", &[]).await.status, OK, "a probe is never told to wait");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(bench.get(SNAPSHOT, &[]).await.status, OK);
}

#[tokio::test(start_paused = true)]
async fn a_token_in_the_address_lets_nobody_in_and_is_named_as_what_it_is() {
    let bench = Bench::new();
    let reader = bearer(&bench.reader);
    for path in [
        format!("{SNAPSHOT}?token={}", bench.reader),
        format!("{SNAPSHOT}?access_token={}", bench.reader),
        format!("{SNAPSHOT}?q={}", bench.reader),
        format!("/?token={}", bench.reader),
    ] {
        for headers in [&[][..], &[("authorization", &*reader)]] {
            let told = bench.get(&path, headers).await;
            assert_eq!((told.status, told.reason()), (BAD, "token_in_query".into()));
            assert!(told.text.contains("revoke one that was sent so"), "{told:?}");
        }
    }
}
