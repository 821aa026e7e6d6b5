//! TLS of the listeners: the certificate of a file, and of the file that takes its place.
//!
//! Owns the reading of certificate and key, and their renewal while they are served. A new pair that will not
//! do changes nothing: the old one is served on.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::input;

/// How often it is looked whether there is another certificate. Whoever renews one does so days before the
/// old one has run out.
const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// Where certificate and key are.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// What tells that a file is another one by now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version(Vec<Option<(SystemTime, u64)>>);

/// The certificate that is served now. Its renewal ends with its owner.
#[derive(Debug)]
pub(crate) struct Certificate {
    current: watch::Receiver<Arc<ServerConfig>>,
    renewal: AbortHandle,
}

/// Why a pair will not do.
struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Certificate {
    /// Reads the pair, and then looks for another one every 5 seconds. Needs a tokio runtime.
    pub(crate) fn load(files: TlsFiles) -> Result<Self, Failure> {
        let version = files.version();
        let first = files.read().map_err(|error| Failure::refused(error.to_string()))?;
        let (sender, current) = watch::channel(Arc::new(first));
        let renewal = Handle::current().spawn(renew(files, version, sender)).abort_handle();
        Ok(Self { current, renewal })
    }

    /// Begins TLS with a client; the handshake goes on as the connection is read from.
    fn accept(&self, client: TcpStream) -> TlsIo {
        let config = Arc::clone(&self.current.borrow());
        TlsIo::Handshake(Box::new(TlsAcceptor::from(config).accept(client)))
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Takes up each new pair; never returns.
async fn renew(files: TlsFiles, mut known: Version, current: watch::Sender<Arc<ServerConfig>>) {
    loop {
        tokio::time::sleep(RELOAD_EVERY).await;
        let (looked, before) = (files.clone(), known.clone());
        let look = move || {
            let version = looked.version();
            (version != before).then(|| (version, looked.read()))
        };
        // A file system may take its time.
        let Ok(Some((version, read))) = tokio::task::spawn_blocking(look).await else { continue };
        known = version;
        match read {
            Ok(config) => {
                current.send_replace(Arc::new(config));
                tracing::info!("TLS: the certificate was renewed");
            }
            Err(error) => {
                tracing::warn!("{error}; the certificate that was read before is served on")
            }
        }
    }
}

impl TlsFiles {
    /// The versions of both files now.
    fn version(&self) -> Version {
        let of = |path: &Path| {
            // What comes by a FIFO comes once.
            let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
            Some((found.modified().ok()?, found.len()))
        };
        Version(vec![of(&self.certificate), of(&self.key)])
    }

    fn read(&self) -> Result<ServerConfig, Unusable> {
        let (certificate, key) = (&self.certificate, &self.key);
        let bytes = input::bytes(certificate).map_err(pem::Error::Io);
        let chain = bytes
            .and_then(|bytes| CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>())
            .map_err(|error| unreadable("--tls-cert", certificate, &error))?;
        if chain.is_empty() {
            return Err(unreadable("--tls-cert", certificate, &pem::Error::NoItemsFound));
        }
        let bytes = input::bytes(key).map(Zeroizing::new).map_err(pem::Error::Io);
        let private = bytes
            .and_then(|bytes| PrivateKeyDer::from_pem_slice(&bytes))
            .map_err(|error| unreadable("--tls-key", key, &error))?;
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("BUG: ring has what TLS 1.2 and 1.3 need")
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| self.unfit(&error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn unfit(&self, error: &rustls::Error) -> Unusable {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        Unusable(match error {
            rustls::Error::InconsistentKeys(_) => format!(
                "--tls-key {key} is not the key of --tls-cert {certificate}: give the pair that was made \
                 together, with the certificate of this host first"
            ),
            error => format!(
                "--tls-cert {certificate} and --tls-key {key} cannot be used: {error}: give a certificate \
                 in PEM with its chain, and its key of RSA (2048 bits or more), ECDSA or Ed25519"
            ),
        })
    }
}

/// Why a file cannot be read. What is in it is not repeated.
fn unreadable(flag: &str, path: &Path, error: &pem::Error) -> Unusable {
    let path = path.display();
    let what =
        if flag == "--tls-key" { "a private key without a password" } else { "a certificate" };
    Unusable(match error {
        pem::Error::Io(error) => {
            format!("{flag} {path}: {error}: give a file that this user may read")
        }
        pem::Error::NoItemsFound => {
            format!("{flag} {path}: there is none in it: give {what} in PEM (-----BEGIN ...)")
        }
        _ => format!("{flag} {path}: it is no PEM: give {what} in PEM (-----BEGIN ...)"),
    })
}

/// A listener whose clients speak TLS.
pub(crate) struct TlsListener {
    listener: TcpListener,
    certificate: Certificate,
}

impl TlsListener {
    pub(crate) fn new(listener: TcpListener, certificate: Certificate) -> Self {
        Self { listener, certificate }
    }
}

impl Listener for TlsListener {
    type Io = TlsIo;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TlsIo, SocketAddr) {
        let (client, address) = Listener::accept(&mut self.listener).await;
        client.set_nodelay(true).ok();
        (self.certificate.accept(client), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection by TLS, which begins with its handshake.
pub(crate) enum TlsIo {
    Handshake(Box<Accept<TcpStream>>),
    Open(Box<TlsStream<TcpStream>>),
    Failed,
}

impl TlsIo {
    /// Polls the stream once its handshake is over.
    fn poll_open<T>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(Pin<&mut TlsStream<TcpStream>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Self::Handshake(accept) = self {
            match ready!(Pin::new(accept.as_mut()).poll(cx)) {
                Ok(stream) => *self = Self::Open(Box::new(stream)),
                Err(error) => {
                    *self = Self::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        match self {
            Self::Open(stream) => act(Pin::new(stream.as_mut()), cx),
            _ => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }
}

impl AsyncRead for TlsIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_open(cx, |stream, cx| stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for TlsIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_open(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Before its end there is nothing but the handshake, which reading drives.
        match &mut *self {
            Self::Open(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Open(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            _ => Poll::Ready(Ok(())),
        }
    }
}
