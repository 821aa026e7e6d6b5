//! Arguments of the HTTP server: where it listens, and who is let in.
//!
//! Owns the rules of what may be served where. Everything that can be refused is refused before anything is
//! started.

use std::path::{Path, PathBuf};

use clap::Args;
use telepool::http::ServeLimits;

use crate::failure::Failure;
use crate::files;
use crate::listen::{ListenAddress, Listener, listen_address};
use crate::tls::{Certificate, TlsFiles};

#[derive(Debug, Args)]
pub(crate) struct HttpArguments {
    /// Where /metrics, /healthz and /readyz are: a loopback address (port 0 takes a free one), or a
    /// socket that only this user can reach, as in unix:/run/telepool/http.sock.
    #[arg(long, value_name = "ADDRESS|unix:PATH", default_value = "127.0.0.1:9464",
        value_parser = listen_address)]
    listen: ListenAddress,
    /// The certificate for HTTPS, in PEM with its chain. It is read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where `telepool ctl` and `telepool top` reach this run: a socket that only this user can use.
    /// With --state FILE it is FILE.sock unless told otherwise; without either there is none.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// All that is bound and read before the pool is built.
pub(crate) struct BoundHttp {
    pub(crate) listener: Listener,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) limits: ServeLimits,
    #[cfg(unix)]
    pub(crate) local: Option<(tokio::net::UnixListener, crate::listen::socket::SocketFile)>,
}

impl HttpArguments {
    /// Binds and reads all of it. Needs a tokio runtime.
    pub(crate) fn bind(&self, state: Option<&Path>) -> Result<BoundHttp, Failure> {
        self.check()?;
        let certificate = self.tls_files().map(Certificate::load).transpose()?;
        let listener = self.listen.bind()?;
        Ok(BoundHttp {
            listener,
            certificate,
            limits: Self::limits(),
            #[cfg(unix)]
            local: self.bind_local(state)?,
        })
    }

    fn tls_files(&self) -> Option<TlsFiles> {
        let (certificate, key) = (self.tls_cert.clone()?, self.tls_key.clone()?);
        Some(TlsFiles { certificate, key })
    }

    /// Refuses what would let others in, or read what they may not.
    fn check(&self) -> Result<(), Failure> {
        let listen = &self.listen;
        let has_tls = self.tls_cert.is_some();
        if has_tls && matches!(listen, ListenAddress::Unix(_)) {
            return Err(Failure::refused(format!(
                "--listen {listen}: a socket in the file system takes no TLS, since nothing of it leaves this \
                 machine: leave out --tls-cert and --tls-key, or listen on an address"
            )));
        }
        if listen.is_local() {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "--listen {listen}: only loopback addresses are served, since whoever can read the numbers is \
             not asked who they are: use 127.0.0.1 and a proxy that asks; or, to be read from outside of a \
             container, --listen unix:/run/telepool/http.sock in a folder that both sides mount"
        )))
    }

    /// The limits of the listener.
    fn limits() -> ServeLimits {
        let mut limits = ServeLimits::default();
        limits.connections_max = files::http_connections_max();
        limits.reserved_for_metrics = (limits.connections_max / 8).min(limits.reserved_for_metrics);
        limits
    }

    /// Binds the socket for the commands of this machine. One that nobody has asked for by name may be
    /// missing where the file of the state is on a file system without sockets.
    #[cfg(unix)]
    fn bind_local(
        &self,
        state: Option<&Path>,
    ) -> Result<Option<(tokio::net::UnixListener, crate::listen::socket::SocketFile)>, Failure>
    {
        if let Some(path) = &self.socket {
            let shown = format!("--socket {}", path.display());
            return crate::listen::socket::bind(path, &shown).map(Some);
        }
        let Some(path) = state.map(socket_beside) else { return Ok(None) };
        match crate::listen::socket::bind(&path, &path.display().to_string()) {
            Ok(bound) => Ok(Some(bound)),
            Err(failure) if failure.is_held() => Err(failure),
            Err(failure) => {
                say!(
                    WARN "telepool: telepool ctl and top cannot reach this run: {failure}; --socket PATH names \
                     another"
                );
                Ok(None)
            }
        }
    }
}

/// The socket of a run that keeps its state in this file.
pub(crate) fn socket_beside(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".sock");
    PathBuf::from(name)
}
