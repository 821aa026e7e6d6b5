//! HTTP server of a running pool: the page, the API and the numbers, on a listener and on the socket of this
//! machine's own commands.

use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt as _;
use telepool::Pool;
use telepool::http::{self, Panel, ServeLimits, SettingOrigin, StaticSetting};
use telepool::metrics::Prometheus;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::accounts::PoolManager;
use crate::failure::Failure;
use crate::files;
use crate::http_arguments::BoundHttp;
use crate::listen::Listener;
use crate::tls::TlsListener;

/// The servers, and what they serve.
pub(crate) struct HttpServer {
    /// How to ask for the numbers.
    address: String,
    /// Where this machine's own commands ask.
    socket: Option<String>,
    stop: CancellationToken,
    servers: JoinSet<()>,
}

impl HttpServer {
    /// Serves a pool; the numbers of its groups are there from the start.
    pub(crate) fn start(
        bound: BoundHttp,
        pool: &Pool<PoolManager>,
        groups: impl IntoIterator<Item = Arc<str>>,
        origins: impl IntoIterator<Item = (String, SettingOrigin)>,
        of_command: impl IntoIterator<Item = StaticSetting>,
    ) -> Result<Self, Failure> {
        let broken = |error: &dyn std::fmt::Display| Failure::broken(format!("no HTTP: {error}"));
        let address = bound.shown().map_err(|error| broken(&error))?;
        let exporter = Prometheus::new(pool).map_err(|error| broken(&error))?;
        groups.into_iter().for_each(|group| exporter.expect_group(&group));
        let routes = Panel::with_exporter(pool, &exporter)
            .origins(origins)
            .static_settings(of_command)
            .router();
        let mut started =
            Self { address, socket: None, stop: CancellationToken::new(), servers: JoinSet::new() };
        started.serve(bound, &routes);
        Ok(started)
    }

    fn serve(&mut self, bound: BoundHttp, routes: &Router) {
        let BoundHttp {
            listener,
            certificate,
            policy,
            limits,
            #[cfg(unix)]
            local,
        } = bound;
        let router = policy.guard(routes.clone());
        match (listener, certificate) {
            (Listener::Tcp(listener), Some(certificate)) => {
                self.spawn(limits, TlsListener::new(listener, certificate), router, ());
            }
            (Listener::Tcp(listener), None) => {
                // An answer that is larger than a packet is not held back until the first has been acknowledged.
                let listener = listener.tap_io(|client| drop(client.set_nodelay(true)));
                self.spawn(limits, listener, router, ());
            }
            #[cfg(unix)]
            (Listener::Unix(listener, file), _) => self.spawn(limits, listener, router, file),
        }
        #[cfg(unix)]
        if let Some((listener, file)) = local {
            self.socket = Some(file.to_string());
            let mut limits = ServeLimits::default();
            limits.connections_max = files::LOCAL_CONNECTIONS_MAX;
            limits.reserved_for_metrics = 0;
            let listener = crate::listen::socket::LocalListener(listener);
            self.spawn(limits, listener, policy.guard(routes.clone()), file);
        }
    }

    /// Serves on one listener; `file` is kept until that has ended.
    fn spawn<L>(
        &mut self,
        limits: ServeLimits,
        listener: L,
        router: Router,
        file: impl Send + 'static,
    ) where
        L: axum::serve::Listener<Addr: std::fmt::Debug + 'static>,
    {
        let stopped = self.stop.clone().cancelled_owned();
        self.servers.spawn(async move {
            if let Err(error) = http::serve_within(limits, listener, router, stopped).await {
                tracing::error!(%error, "HTTP is no longer served");
            }
            drop(file);
        });
    }

    /// Where the numbers are, and how to ask for them.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Where a browser finds the page, if it does.
    pub(crate) fn page(&self) -> Option<&str> {
        self.address.strip_suffix("metrics").filter(|page| page.starts_with("http"))
    }

    /// The socket of this machine's own commands, if there is one.
    pub(crate) fn socket(&self) -> Option<&str> {
        self.socket.as_deref()
    }

    /// Ends the servers after the answers that are under way.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.servers.join_next().await.is_some() {}
    }
}

impl BoundHttp {
    fn shown(&self) -> std::io::Result<String> {
        Ok(match &self.listener {
            Listener::Tcp(it) => {
                let scheme = if self.certificate.is_some() { "https" } else { "http" };
                format!("{scheme}://{}/metrics", it.local_addr()?)
            }
            #[cfg(unix)]
            Listener::Unix(_, file) => {
                format!("{file} (curl --unix-socket {file} http://localhost/metrics)")
            }
        })
    }
}
