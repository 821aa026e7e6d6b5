//! Access: what no page, no smuggled request and no wrong token gets past.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use telepool::http::{self, AccessPolicy, Scope, Token, TokenFile, TokenGrant, Tokens};
use telepool::metrics::Prometheus;
use telepool::{NoopManager, Pool};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::command::fresh;
use crate::listening::listen;

/// What stands in the numbers and in no refusal.
const NUMBERS: &str = "# TYPE telepool_";

/// A server of today's routes under a policy.
struct Server {
    address: SocketAddr,
    _pool: Pool<NoopManager>,
}

impl Server {
    async fn start(policy: &AccessPolicy) -> Self {
        let pool = Pool::builder(NoopManager::new(3)).build().unwrap();
        let router = http::probes(&Prometheus::new(&pool).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let guarded = policy.guard(router);
        let served = guarded.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, served).await });
        Self { address, _pool: pool }
    }

    /// All that is answered to these bytes until the server closes the connection.
    async fn send(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A server that has seen enough does not read the rest.
        stream.write_all(bytes.as_ref()).await.ok();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        // One that waits for more is asked for nothing more.
        tokio::time::timeout(Duration::from_secs(10), read).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn ask(&self, request: &str, headers: &str) -> String {
        self.send(format!("{request} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n")).await
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        self.ask(&format!("GET {path}"), &format!("Host: localhost\r\n{headers}")).await
    }
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// A file of tokens that is removed with this.
struct File(TokenFile);

impl File {
    fn new(name: &str) -> Self {
        Self(TokenFile::at(fresh(name)))
    }

    fn make(&self, name: &str, scopes: &[Scope]) -> Token {
        let grant = TokenGrant::new(name, scopes.iter().copied());
        self.0.create(grant).unwrap().0
    }

    fn policy(&self) -> AccessPolicy {
        AccessPolicy::new().tokens(Tokens::open(self.0.clone()).unwrap())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let lock = PathBuf::from(format!("{}.lock", self.0.path().display()));
        for path in [self.0.path(), &lock] {
            std::fs::remove_file(path).ok();
        }
    }
}

#[tokio::test]
async fn no_spelling_of_a_host_of_others_reaches_the_numbers() {
    let server = Server::start(&AccessPolicy::new()).await;
    let port = server.address.port();
    for host in ["localhost", "LOCALHOST", &format!("127.0.0.1:{port}"), "[::1]", "localhost:1"] {
        let answer = server.ask("GET /metrics", &format!("Host: {host}\r\n")).await;
        assert!(status(&answer) == 200 && answer.contains(NUMBERS), "{host}: {answer}");
    }
    for (request, headers) in [
        ("GET /metrics", ""),
        ("GET /metrics", "Host: \r\n"),
        ("GET /metrics", "Host: evil.com\r\n"),
        ("GET /metrics", "Host: 127.0.0.1.evil.com\r\n"),
        ("GET /metrics", "Host: localhost.\r\n"),
        ("GET /metrics", "Host: localhost.evil.com:80\r\n"),
        ("GET /metrics", "Host: evil.com:localhost\r\n"),
        ("GET /metrics", "Host: localhost:80@evil.com\r\n"),
        ("GET /metrics", "Host: [::ffff:127.0.0.1]\r\n"),
        ("GET /metrics", "Host: 2130706433\r\n"),
        ("GET /metrics", "Host: 0x7f.1\r\n"),
        ("GET /metrics", "Host: ｌｏｃａｌｈｏｓｔ\r\n"),
        ("GET /metrics", "Host: loc\u{430}lhost\r\n"),
        ("GET /metrics", "Host: localhost\r\nHost: evil.com\r\n"),
        ("GET /metrics", "Host: evil.com\r\nHost: localhost\r\n"),
        ("GET /metrics", "Host: localhost\r\nHost: localhost\r\n"),
        ("GET /metrics", "Host: localhost, evil.com\r\n"),
        ("GET /metrics", "Host: localhost evil.com\r\n"),
        ("GET /metrics", "Host: localhost\r\n .evil.com\r\n"),
        ("GET /metrics", "Host : localhost\r\n"),
        ("GET /metrics", " Host: localhost\r\n"),
        ("GET /metrics", "X-Forwarded-Host: localhost\r\nHost: evil.com\r\n"),
        ("GET /metrics", "Host: local\0host\r\n"),
        ("GET http://evil.com/metrics", "Host: localhost\r\n"),
        ("GET http://localhost/metrics", "Host: evil.com\r\n"),
        ("GET http://localhost/metrics", ""),
        ("GET http://localhost@evil.com/metrics", "Host: localhost\r\n"),
        ("GET http://evil.com@localhost/metrics", "Host: localhost\r\n"),
        ("GET //evil.com/metrics", "Host: localhost\r\n"),
        ("GET evil.com/metrics", "Host: localhost\r\n"),
        ("GET evil.com:80", "Host: localhost\r\n"),
        ("CONNECT localhost:80", "Host: localhost\r\n"),
        ("OPTIONS *", "Host: localhost\r\n"),
    ] {
        let answer = server.ask(request, headers).await;
        assert!(!answer.contains(NUMBERS), "{request} {headers:?}: {answer}");
        assert!((400..500).contains(&status(&answer)), "{request} {headers:?}: {answer}");
    }
    for path in ["/", "/metrics", "/healthz", "/readyz", "/api/v1/session", "/none"] {
        let answer = server.ask(&format!("GET {path}"), "Host: evil.com\r\n").await;
        assert!(status(&answer) == 403 && answer.contains("\"reason\":\"host\""), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
}

#[tokio::test]
async fn a_request_behind_another_is_judged_by_itself() {
    let server = Server::start(&AccessPolicy::new()).await;
    let bad = "GET /metrics HTTP/1.1\r\nHost: evil.com\r\nConnection: close\r\n\r\n";
    for (first, most) in [
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 200),
        // Two lengths: whichever is believed, the rest is no request of localhost.
        (
            "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
            499,
        ),
        (
            format!(
                "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\
                 Content-Length: 0\r\n\r\n",
                bad.len()
            ),
            499,
        ),
        (
            "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n"
                .to_owned(),
            499,
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 499),
        ("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(), 499),
    ] {
        let answer = server.send(format!("{first}{bad}")).await;
        assert!(!answer.contains(NUMBERS), "{first}: {answer}");
        assert!((1..=most).contains(&status(&answer)) || answer.is_empty(), "{first}: {answer}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_gets_around_the_token() {
    let file = File::new("paths-tokens.jsonl");
    let token = file.make("reader", &[Scope::Read]);
    let server = Server::start(&file.policy().require_token(true)).await;
    let shown = format!("Authorization: Bearer {}\r\n", token.reveal());
    assert!(server.get("/metrics", &shown).await.contains(NUMBERS));
    for path in [
        "/metrics",
        "/metrics/",
        "/metrics?",
        "/metrics#",
        "/metrics;page",
        "//metrics",
        "/./metrics",
        "/page/../metrics",
        "/page/..%2fmetrics",
        "/page/%2e%2e/metrics",
        "/page//../metrics",
        "/healthz/../metrics",
        "/healthz%00/metrics",
        "/METRICS",
        "/%6detrics",
        "/metrics%20",
        "/metrics%3fpage",
        "/\\metrics",
    ] {
        let answer = server.get(path, "").await;
        assert!(!answer.contains(NUMBERS), "{path}: {answer}");
        assert!((400..500).contains(&status(&answer)), "{path}: {answer}");
    }
    for headers in [
        "X-Original-URL: /healthz\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
        "Forwarded: for=127.0.0.1\r\n",
        "X-Real-IP: 127.0.0.1\r\n",
        "X-HTTP-Method-Override: HEAD\r\n",
        "Proxy-Authorization: Bearer x\r\n",
    ] {
        assert_eq!(status(&server.get("/metrics", headers).await), 401, "{headers}");
    }
}

#[tokio::test]
async fn a_token_that_is_made_or_revoked_counts_in_a_running_server() {
    let file = File::new("running-tokens.jsonl");
    file.make("first", &[Scope::Read]);
    let server = Server::start(&file.policy().require_token(true)).await;
    let token = file.make("second", &[Scope::Read]);
    let shown = format!("Authorization: Bearer {}\r\n", token.reveal());
    let becomes = async |wanted: u16| {
        for _ in 0..1000 {
            if status(&server.get("/metrics", &shown).await) == wanted {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    };
    assert!(becomes(200).await, "it is taken up");
    file.0.revoke("second").unwrap();
    assert!(becomes(401).await, "it is refused");
    let answer = server.get("/metrics", &shown).await;
    assert!(answer.contains("\"reason\":\"unknown_token\"") || status(&answer) == 429, "{answer}");
}

#[tokio::test]
async fn a_browser_signs_in_with_a_hundred_cookies_and_out_again() {
    let file = File::new("browser-tokens.jsonl");
    let token = file.make("page", &[Scope::Read, Scope::Operate]);
    let server = Server::start(&file.policy().require_token(true)).await;
    let body = format!("{{\"token\":\"{}\"}}", token.reveal());
    let own = "Host: localhost\r\nOrigin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n";
    let sent = format!(
        "POST /api/v1/session HTTP/1.1\r\nConnection: close\r\n{own}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = server.send(&sent).await;
    assert_eq!(status(&answer), 204, "{answer}");
    let line = answer.lines().find(|it| it.to_lowercase().starts_with("set-cookie: ")).unwrap();
    for words in ["; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age=43200"] {
        assert!(line.contains(words), "{line}");
    }
    let cookie = line[12..].split(';').next().unwrap().to_owned();
    let others: String = (0..50).map(|number| format!("c{number}=\"{number}\"; ")).collect();
    let more: String = (0..50).map(|number| format!("Cookie: d{number}=x\r\n")).collect();
    let all = format!("{more}Cookie: {others}{cookie}\r\n");
    assert!(server.get("/metrics", &all).await.contains(NUMBERS));
    for (request, headers, expected) in [
        ("GET /metrics", "Sec-Fetch-Site: cross-site\r\n", 403),
        ("GET /metrics", "Sec-Fetch-Site: same-site\r\n", 403),
        ("GET /metrics", "Origin: http://localhost:1\r\n", 403),
        ("POST /metrics", "Sec-Fetch-Site: same-origin\r\n", 401),
        ("DELETE /api/v1/session", "Sec-Fetch-Site: none\r\n", 403),
        ("DELETE /api/v1/session", "Sec-Fetch-Site: same-origin\r\n", 204),
        ("GET /metrics", "", 401),
    ] {
        let headers = format!("Host: localhost\r\nCookie: {cookie}\r\n{headers}");
        let answer = server.ask(request, &headers).await;
        assert_eq!(status(&answer), expected, "{request} {headers}: {answer}");
        assert!(!answer.to_lowercase().contains("access-control-"), "{answer}");
    }
}

/// All that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_token_and_no_cookie_is_ever_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _listening = listen(subscriber);
    let file = File::new("logged-tokens.jsonl");
    let known = file.make("known", &[Scope::Read]);
    let gone = file.make("gone", &[Scope::Read]);
    file.0.revoke("gone").unwrap();
    let server = Server::start(&file.policy()).await;
    let mut secrets = vec![known.reveal()[12..].to_owned(), gone.reveal()[12..].to_owned()];
    for token in [&known, &gone] {
        let token = token.reveal();
        server.get("/metrics", &format!("Authorization: Bearer {token}\r\n")).await;
        server.get("/metrics", &format!("Authorization: Bearer {token}x\r\n")).await;
        server.get("/metrics", &format!("Authorization: {token}\r\n")).await;
        server.get("/metrics", &format!("Cookie: telepool_session={token}\r\n")).await;
        server.get(&format!("/metrics?token={token}"), "").await;
        server.get(&format!("/{token}"), "").await;
        let body = format!("{{\"token\":\"{token}\"}}");
        let sent = format!(
            "POST /api/v1/session HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = server.send(&sent).await;
        if let Some((_, rest)) = answer.split_once("telepool_session=") {
            secrets.push(rest[..43].to_owned());
        }
    }
    assert_eq!(secrets.len(), 3, "one of them has signed in");
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("a token was refused") && text.contains("signed in"), "{text}");
    assert!(text.contains(&gone.id().to_string()), "its public part may be told: {text}");
    for secret in secrets {
        assert!(!text.contains(&secret), "{text}");
    }
}
