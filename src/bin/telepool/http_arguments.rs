//! Arguments of the HTTP server: where it listens, and who is let in.
//!
//! Owns the rules of what may be served where. Everything that can be refused is refused before anything is
//! started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use telepool::http::{AccessPolicy, ServeLimits, TokenFile, Tokens};

use crate::failure::Failure;
use crate::files;
use crate::listen::{ListenAddress, Listener, listen_address};
use crate::tls::{Certificate, TlsFiles};

#[derive(Debug, Args)]
pub(crate) struct HttpArguments {
    /// Where the page, the API, /metrics, /healthz and /readyz are: an address (port 0 takes a free one),
    /// or a socket that only this user can reach, as in unix:/run/telepool/http.sock. One that is not
    /// loopback, such as 0.0.0.0:9464 in a container, needs --tokens, and TLS or a proxy that has it.
    #[arg(long, value_name = "ADDRESS|unix:PATH", default_value = "127.0.0.1:9464",
        value_parser = listen_address)]
    listen: ListenAddress,
    /// Lets clients in by the tokens of this file, which `telepool token` keeps.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Asks for a token on a loopback address as well, where else whoever is on this machine may read.
    #[arg(long, requires = "tokens")]
    require_token: bool,
    /// The certificate for HTTPS, in PEM with its chain. It is read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serves plain HTTP, for a proxy that speaks HTTPS with the clients. Every request needs a token.
    #[arg(long, requires = "tokens", conflicts_with_all = ["tls_cert", "tls_key"])]
    plaintext_behind_proxy: bool,
    /// Another name or address that clients may ask for, such as the one of the proxy; may be given more
    /// than once.
    #[arg(long = "allow-host", value_name = "NAME")]
    allow_hosts: Vec<String>,
    /// Where `telepool ctl` and `telepool top` reach this run: a socket that only this user can use.
    /// With --state FILE it is FILE.sock unless told otherwise; without either there is none.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// All that is bound and read before the pool is built.
pub(crate) struct BoundHttp {
    pub(crate) listener: Listener,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) policy: AccessPolicy,
    pub(crate) limits: ServeLimits,
    #[cfg(unix)]
    pub(crate) local: Option<(tokio::net::UnixListener, crate::listen::socket::SocketFile)>,
}

impl BoundHttp {
    /// How many connections over HTTP there may be, those of this machine's own commands among them.
    pub(crate) fn connections_max(&self) -> usize {
        #[cfg(unix)]
        let local = if self.local.is_some() { files::LOCAL_CONNECTIONS_MAX } else { 0 };
        #[cfg(not(unix))]
        let local = 0;
        self.limits.connections_max + local
    }
}

impl HttpArguments {
    /// Binds and reads all of it. Needs a tokio runtime.
    pub(crate) fn bind(&self, state: Option<&Path>) -> Result<BoundHttp, Failure> {
        self.check()?;
        let tokens = self.tokens.as_deref().map(open_tokens).transpose()?;
        let certificate = self.tls_files().map(Certificate::load).transpose()?;
        let mut policy = AccessPolicy::new()
            .require_token(self.require_token || self.plaintext_behind_proxy)
            .tls(certificate.is_some())
            .host_names(self.allow_hosts.iter().map(String::as_str))
            .map_err(|error| Failure::refused(format!("--allow-host: {error}")))?;
        if let Some(tokens) = tokens {
            policy = policy.tokens(tokens);
        }
        let listener = self.listen.bind()?;
        if let Some(address) = listener.address() {
            policy = policy.listening_on(address);
        }
        Ok(BoundHttp {
            listener,
            certificate,
            policy,
            limits: self.limits(),
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
        if self.tokens.is_none() {
            return Err(Failure::refused(format!(
                "--listen {listen}: whoever is not on this machine has to show a token: make one with \
                 telepool token create --file FILE --name NAME --scope read, and give --tokens FILE; or \
                 listen on 127.0.0.1, or on a socket such as unix:/run/telepool/http.sock"
            )));
        }
        if !has_tls && !self.plaintext_behind_proxy {
            return Err(Failure::refused(format!(
                "--listen {listen}: in plain text whoever is on the way reads the tokens: give --tls-cert \
                 FILE and --tls-key FILE; or, if all clients come by way of a proxy that speaks HTTPS with \
                 them, --plaintext-behind-proxy"
            )));
        }
        Ok(())
    }

    fn limits(&self) -> ServeLimits {
        let mut limits = ServeLimits::default();
        limits.connections_max = files::http_connections_max();
        limits.reserved_for_metrics = (limits.connections_max / 8).min(limits.reserved_for_metrics);
        if self.plaintext_behind_proxy {
            // Everybody comes from the address of the proxy.
            limits.connections_per_peer_max = None;
        }
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

fn open_tokens(path: &Path) -> Result<Tokens, Failure> {
    let tokens = Tokens::open(TokenFile::at(path));
    tokens.map_err(|error| Failure::refused(format!("--tokens {error}")))
}

impl Listener {
    /// Its address, if it has one.
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(..) => None,
        }
    }
}
