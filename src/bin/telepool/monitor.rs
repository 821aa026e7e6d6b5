//! `/metrics` and `/healthz` of a running pool.

use std::net::SocketAddr;
use std::sync::Arc;

use telepool::Pool;
use telepool::metrics::Prometheus;
use telepool::panel::{self, Upkeep};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::workload::Manager;

/// The server and what keeps its numbers fresh.
pub(crate) struct Monitor {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    _upkeep: Upkeep,
}

/// Takes the address, before anything else is started.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    if !address.ip().is_loopback() {
        return Err(Failure::refused(format!(
            "--listen {address}: only loopback addresses are served, since whoever can read the \
             numbers is not asked who they are: use 127.0.0.1 and a proxy that asks"
        )));
    }
    TcpListener::bind(address).await.map_err(|error| {
        Failure::refused(format!(
            "--listen {address}: {error}: give another port, or 0 for any free one"
        ))
    })
}

impl Monitor {
    /// Serves the numbers of a pool; those of its groups are there from the start.
    pub(crate) fn start(
        listener: TcpListener,
        pool: &Pool<Manager>,
        groups: impl IntoIterator<Item = Arc<str>>,
    ) -> Result<Self, Failure> {
        let broken =
            |error: &dyn std::fmt::Display| Failure::broken(format!("no metrics: {error}"));
        let address = listener.local_addr().map_err(|error| broken(&error))?;
        let exporter = Prometheus::new(pool).map_err(|error| broken(&error))?;
        groups.into_iter().for_each(|group| exporter.expect_group(&group));
        let runtime = Handle::current();
        let upkeep = Upkeep::start(&exporter, &runtime);
        let (stop, stopped) = oneshot::channel::<()>();
        let router = panel::router(&exporter);
        let server = runtime.spawn(async move {
            let stopped = async { drop(stopped.await) };
            if let Err(error) = panel::serve(listener, router, stopped).await {
                tracing::error!(%error, "the metrics are no longer served");
            }
        });
        Ok(Self { address, stop, server, _upkeep: upkeep })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the server after the answers that are under way.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.server.await.ok();
    }
}
