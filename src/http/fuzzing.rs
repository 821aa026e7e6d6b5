//! Requests of any bytes to the routes of a panel, against rules that hold whatever they say.
//!
//! Owns the pool that they are made to. Compiled for fuzzing, and for a test that tries a few hundred.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::{self, Runtime};

use super::access::is_stream;
use super::problem::Problem;
use super::{Access, Panel, Scope};
use crate::account_id::AccountId;
use crate::config::Config;
use crate::noop::NoopManager;
use crate::pool::Pool;

const METHODS: [Method; 5] =
    [Method::GET, Method::POST, Method::PATCH, Method::DELETE, Method::HEAD];
const HEADERS: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::ACCEPT,
    HeaderName::from_static("last-event-id"),
    header::IF_NONE_MATCH,
];
/// Those of the pool begin with these digits, and nothing that is read may show them in full.
const NUMBERS: u64 = 442_079_460_000;
/// No answer about six accounts is longer.
const ANSWER_LEN_MAX: usize = 4 << 20;

/// What the requests are made to.
struct FuzzedPanel {
    runtime: Runtime,
    pool: Pool<NoopManager>,
    router: Router,
}

thread_local! {
    static SERVED: FuzzedPanel = FuzzedPanel::start();
}

impl FuzzedPanel {
    fn start() -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        let (pool, router) = runtime.block_on(async {
            let pool = Pool::builder(NoopManager::new(2)).build().expect("a pool");
            for number in 0..3 {
                let phone = AccountId::phone(NUMBERS + number).expect("a phone number");
                drop(pool.acquire(phone).await.expect("it is served"));
                pool.account(AccountId::bot(1000 + number).expect("a bot")).expect("it is known");
            }
            let router = Panel::new(&pool).expect("it is exported once").router();
            (pool, router)
        });
        Self { runtime, pool, router }
    }

    fn ask(&self, request: Request<Body>) -> (StatusCode, Option<HeaderValue>, Vec<u8>) {
        self.runtime.block_on(async {
            let answer = TowerToHyperService::new(self.router.clone()).call(request).await;
            let answer = answer.unwrap_or_else(|never| match never {});
            let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
            let status = answer.status();
            if is_stream(&answer) {
                return (status, kind, Vec::new());
            }
            let body = axum::body::to_bytes(answer.into_body(), ANSWER_LEN_MAX).await;
            (status, kind, body.expect("it has an end").into())
        })
    }
}

/// A request of lines and, after an empty one, a body; the first byte says who asks.
fn request(data: &[u8]) -> Option<(Request<Body>, Access)> {
    let end = data.windows(2).position(|it| it == b"\n\n");
    let (head, body) = end.map_or((data, &[][..]), |at| (&data[..at], &data[at + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n').take(16);
    let [who, method, target @ ..] = lines.next()? else { return None };
    let scopes = match who % 4 {
        0 => Vec::new(),
        1 => vec![Scope::Read],
        2 => vec![Scope::Operate],
        _ => vec![Scope::Read, Scope::Operate],
    };
    let groups = (who & 4 != 0).then(|| Arc::from([Arc::from("elsewhere")]));
    let access = Access { name: Arc::from("fuzzer"), scopes, groups, ..Access::default() };
    let method = METHODS[usize::from(*method) % METHODS.len()].clone();
    let mut request = Request::builder().method(method).uri(Uri::try_from(target).ok()?);
    for line in lines {
        let (name, value) = line.split_first()?;
        let name = &HEADERS[usize::from(*name) % HEADERS.len()];
        request = request.header(name, HeaderValue::from_bytes(value).ok()?);
    }
    let mut request = request.body(Body::from(body.to_vec())).ok()?;
    request.extensions_mut().insert(access.clone());
    Some((request, access))
}

/// Whoever may not operate changes nothing, nobody sees a phone number in full, and what is refused is told as
/// a problem.
pub(crate) fn api_of_bytes(data: &[u8]) {
    let Some((request, access)) = request(data) else { return };
    SERVED.with(|served| {
        let state = || (Config::clone(&served.pool.config()), health(&served.pool));
        let before = (!access.may(Scope::Operate)).then(state);
        let path = request.uri().path().to_owned();
        let (status, kind, body) = served.ask(request);
        assert!(status != StatusCode::INTERNAL_SERVER_ERROR, "a bug: {path}");
        if status.is_client_error() && path.starts_with("/api/") {
            assert_eq!(kind, Some(Problem::CONTENT_TYPE), "{path}: {status}");
        }
        if status.is_success() {
            let body = String::from_utf8_lossy(&body);
            // A refusal may tell what it was asked for.
            assert!(!body.contains(&NUMBERS.to_string()[..10]), "{path}: {body}");
        }
        assert!(before.is_none_or(|before| before == state()), "{path} has changed something");
    });
}

fn health(pool: &Pool<NoopManager>) -> Vec<String> {
    let health = |number| pool.account_health(AccountId::bot(number).expect("a bot"));
    (1000..1003).map(|number| format!("{:?}", health(number))).collect()
}

#[cfg(test)]
mod tests {
    use super::api_of_bytes;

    #[test]
    fn no_request_gets_past_the_rules() {
        let paths = [
            "snapshot",
            "accounts",
            "accounts/",
            "connections",
            "events",
            "history",
            "config",
            "events/stream",
            "openapi.json",
            "session",
        ];
        let words = [
            "?limit=",
            "&cursor=",
            "&q=",
            "&sort=",
            "state",
            "errors",
            "bot:1000",
            "/pause",
            "/drain",
            "p-0123456789abcdef",
            "/connections/",
            "/close",
            "%2B442079460000",
            "%",
            "-1",
            "500",
            "&&",
            "é",
            "\n\u{0}application/json",
            "\n\n{\"pool.max_connections\":\"5\"}",
            "\n\n{\"reason\":\"+442079460000\"}",
        ];
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1500 {
            let mut bytes = vec![random.u8(..8), random.u8(..5)];
            bytes.extend(b"/api/v1/");
            bytes.extend(paths[random.usize(..paths.len())].bytes());
            (0..random.usize(..5))
                .for_each(|_| bytes.extend(words[random.usize(..words.len())].bytes()));
            api_of_bytes(&bytes);
        }
    }
}
