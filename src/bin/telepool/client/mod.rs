//! Client of a running pool's HTTP API, over its Unix socket or the network.
//!
//! Owns the connection, the credentials, and what is told when nobody answers or the answer is a refusal.

mod arguments;
mod error;
mod sse;
mod url;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig};

use crate::failure::Failure;

pub(crate) use arguments::ClientArguments;
pub(crate) use error::{ClientError, Extent};
pub(crate) use sse::EventStream;
use url::Url;

/// How long it may take until somebody answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take: longer than the server gives a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);
/// How large an answer may be.
const ANSWER_MAX: usize = 64 << 20;

/// Who asks a running pool.
pub(crate) struct Client {
    to: Target,
    token: Option<String>,
}

/// Where a pool is asked.
enum Target {
    Socket(PathBuf),
    Network { url: Url, tls: Option<Arc<ClientConfig>> },
}

/// The socket of a connection.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Client {
    /// Asks the run that has this socket.
    pub(crate) fn at_socket(path: PathBuf) -> Self {
        Self { to: Target::Socket(path), token: None }
    }

    /// Asks for what is at a path, and returns the JSON of the answer.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.ask(Method::GET, path, None).await
    }

    /// Makes a request, and returns the JSON of the answer; null if it has none.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let answer = async {
            let answer = self.send(self.request(method, path, body)).await?;
            let bytes = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
            let bytes = bytes.map_err(|error| self.unanswered(&error.to_string()))?.to_bytes();
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            serde_json::from_slice(&bytes).map_err(|_| self.not_a_pool())
        };
        timeout(ANSWER_TIMEOUT, answer)
            .await
            .map_err(|_| self.unanswered(&format!("no answer within {ANSWER_TIMEOUT:?}")))?
    }

    /// Opens a stream of events, from the one on that comes after an id.
    pub(crate) async fn events(&self, path: &str, after: &str) -> Result<EventStream, ClientError> {
        let mut request = self.request(Method::GET, path, None);
        let after = HeaderValue::try_from(after).map_err(|_| self.not_a_pool())?;
        request.headers_mut().insert("last-event-id", after);
        let answer = timeout(ANSWER_TIMEOUT, self.send(request));
        let answer = answer.await.map_err(|_| self.unanswered("no answer"))??;
        Ok(EventStream::new(answer.into_body()))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let io = timeout(CONNECT_TIMEOUT, self.connect()).await;
        let io = io.map_err(|_| self.unreachable(&format!("not within {CONNECT_TIMEOUT:?}")))??;
        let (mut sender, connection) = http1::handshake(TokioIo::new(io))
            .await
            .map_err(|error| self.unreachable(&error.to_string()))?;
        // Its end is told by the answer that does not come.
        Handle::current().spawn(async move { drop(connection.await) });
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| self.unread(&error))?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status => Err(self.refusal(status, answer.into_body()).await),
        }
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Request<Full<Bytes>> {
        let host = match &self.to {
            Target::Socket(_) => "localhost".to_owned(),
            Target::Network { url, .. } => url.authority(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::USER_AGENT, concat!("telepool/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        request.body(Full::from(body)).expect("BUG: paths are encoded, and tokens checked")
    }

    async fn connect(&self) -> Result<Box<dyn Io>, ClientError> {
        match &self.to {
            Target::Socket(path) => self.connect_local(path).await,
            Target::Network { url, tls } => {
                let stream = TcpStream::connect((url.host(), url.port())).await;
                let stream = stream.map_err(|error| self.unreachable(&error.to_string()))?;
                stream.set_nodelay(true).ok();
                let Some(tls) = tls else { return Ok(Box::new(stream)) };
                let connector = TlsConnector::from(Arc::clone(tls));
                let stream = connector
                    .connect(url.server_name().map_err(ClientError::server)?, stream)
                    .await;
                Ok(Box::new(stream.map_err(|error| self.untrusted(&error))?))
            }
        }
    }

    #[cfg(unix)]
    async fn connect_local(&self, path: &std::path::Path) -> Result<Box<dyn Io>, ClientError> {
        let stream = tokio::net::UnixStream::connect(path).await;
        Ok(Box::new(stream.map_err(|error| self.unreachable(&error.to_string()))?))
    }

    #[cfg(not(unix))]
    async fn connect_local(&self, _: &std::path::Path) -> Result<Box<dyn Io>, ClientError> {
        Err(self.unreachable("this system has no such sockets: give --url"))
    }

    fn shown(&self) -> String {
        match &self.to {
            Target::Socket(path) => format!("the socket {}", path.display()),
            Target::Network { url, .. } => url.to_string(),
        }
    }

    /// Nobody answers there.
    fn unreachable(&self, why: &str) -> ClientError {
        let shown = self.shown();
        let remedy = match self.to {
            Target::Socket(_) => {
                "is a run of telepool serve there, as this user? Give --state with its file, or --socket \
                 with the path that it said at its start"
            }
            Target::Network { .. } => {
                "is a run of telepool serve there, with that --listen? Give --url as it said at its start"
            }
        };
        ClientError::server(Failure::unreachable(format!("{shown}: {why}: {remedy}")))
    }

    /// Somebody was asked, and did not answer to the end.
    fn unanswered(&self, why: &str) -> ClientError {
        let ClientError { failure, .. } = self.unreachable(why);
        ClientError { failure, extent: Extent::Unanswered }
    }

    /// Somebody was asked, and what came is no answer: one who speaks TLS answers plain text so.
    fn unread(&self, error: &hyper::Error) -> ClientError {
        let is_plain = matches!(self.to, Target::Network { tls: None, .. });
        if !(error.is_parse() && is_plain) {
            return self.unanswered(&error.to_string());
        }
        let shown = self.shown();
        ClientError::server(Failure::unreachable(format!(
            "{shown}: what answers there speaks no HTTP: if that is a run with --tls-cert, ask by https, with \
             --ca-file"
        )))
    }

    fn untrusted(&self, error: &std::io::Error) -> ClientError {
        let shown = self.shown();
        let remedy = tls_remedy(error);
        ClientError::server(Failure::unreachable(format!("{shown}: TLS: {error}: {remedy}")))
    }

    fn not_a_pool(&self) -> ClientError {
        let shown = self.shown();
        ClientError::server(Failure::unreachable(format!(
            "{shown}: what answers there is no telepool: give its address"
        )))
    }

    /// What the server says when it refuses.
    async fn refusal(&self, status: StatusCode, body: Incoming) -> ClientError {
        let bytes = Limited::new(body, ANSWER_MAX).collect().await;
        let bytes = bytes.map(|it| it.to_bytes()).unwrap_or_default();
        let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let Some(detail) = problem["detail"].as_str() else {
            return self.not_a_pool();
        };
        let mut text = crate::logs::escaped(detail).into_owned();
        let remedy = match status {
            // What the server says of it is for those who send headers by themselves.
            StatusCode::UNAUTHORIZED => Some(self.token_remedy()),
            _ => problem["remedy"].as_str(),
        };
        if let Some(remedy) = remedy.filter(|it| !it.is_empty()) {
            write!(text, ": {}", crate::logs::escaped(remedy))
                .expect("BUG: a text takes every word");
        }
        let failure = match status {
            StatusCode::BAD_REQUEST => Failure::refused(text),
            _ => Failure::broken(text),
        };
        match status {
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => {
                ClientError { failure, extent: Extent::Request }
            }
            _ => ClientError::server(failure),
        }
    }
}

impl Client {
    /// What to do where a token is asked for.
    fn token_remedy(&self) -> &'static str {
        match self.token {
            Some(_) => {
                "give --token-file with another one: telepool token list shows which there are, and telepool \
                 token create makes one"
            }
            None => {
                "give --token-file with one that telepool token create has made, of the file that the run has \
                 by --tokens; or, on its machine, --socket"
            }
        }
    }
}

/// What to do about a server that is not trusted.
fn tls_remedy(error: &std::io::Error) -> &'static str {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match error {
        Some(rustls::Error::InvalidMessage(_)) => {
            "what answers there speaks no TLS: give --url as the run said at its start"
        }
        Some(rustls::Error::InvalidCertificate(certificate)) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server needs a new one, in the place of its --tls-cert"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "give --url with a name that stands in it"
            }
            // Nothing else is told of it.
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                "it is one that signs others: make it with openssl req -x509 -addext \
                 basicConstraints=critical,CA:FALSE, or have it sign one for the server"
            }
            _ => "give --ca-file with the certificate that has signed the server's",
        },
        _ => "give --ca-file with the certificate that has signed the server's",
    }
}

/// One part of a path or of a query, with all that means something there spelled out.
pub(crate) fn encoded(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                told.push(char::from(byte));
            }
            byte => write!(told, "%{byte:02X}").expect("BUG: a text takes every word"),
        }
    }
    told
}

/// A path with what is asked of it.
pub(crate) fn query<'a>(
    path: &str,
    parts: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> String {
    let mut told = path.to_owned();
    for (name, value) in parts {
        let Some(value) = value else { continue };
        let sign = if told.contains('?') { '&' } else { '?' };
        write!(told, "{sign}{name}={}", encoded(value)).expect("BUG: a text takes every word");
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_path_or_a_query_is_spelled_out() {
        assert_eq!(encoded("+442079460958"), "%2B442079460958");
        assert_eq!(encoded("bot:5/../x?y#z ü"), "bot:5%2F..%2Fx%3Fy%23z%20%C3%BC");
        let asked = query("/a", [("q", Some("a b")), ("r", None), ("s", Some("&"))]);
        assert_eq!(asked, "/a?q=a%20b&s=%26");
    }

    #[test]
    fn what_helps_against_a_certificate_is_what_is_wrong_with_it() {
        let of = |error: CertificateError| {
            tls_remedy(&std::io::Error::other(rustls::Error::InvalidCertificate(error)))
        };
        assert!(of(CertificateError::Expired).contains("the server needs a new one"));
        assert!(of(CertificateError::NotValidForName).contains("a name that stands in it"));
        assert!(of(CertificateError::UnknownIssuer).contains("give --ca-file"));
        assert!(tls_remedy(&std::io::Error::other("broken off")).contains("give --ca-file"));
    }
}
