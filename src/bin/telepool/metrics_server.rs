//! HTTP server of the metrics and the health of a running pool.

use std::sync::Arc;

use telepool::Pool;
use telepool::http::{self, HistogramUpkeep};
use telepool::metrics::Prometheus;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::accounts::PoolManager;
use crate::failure::Failure;
use crate::listen::Listener;

/// The server and what keeps its numbers fresh.
pub(crate) struct MetricsServer {
    /// How to ask for the numbers.
    address: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    _upkeep: HistogramUpkeep,
}

impl MetricsServer {
    /// Serves the numbers of a pool; those of its groups are there from the start.
    pub(crate) fn start(
        listener: Listener,
        pool: &Pool<PoolManager>,
        groups: impl IntoIterator<Item = Arc<str>>,
    ) -> Result<Self, Failure> {
        let broken =
            |error: &dyn std::fmt::Display| Failure::broken(format!("no metrics: {error}"));
        let address = match &listener {
            Listener::Tcp(it) => {
                format!("http://{}/metrics", it.local_addr().map_err(|error| broken(&error))?)
            }
            #[cfg(unix)]
            Listener::Unix(_, file) => {
                format!("{file} (curl --unix-socket {file} http://localhost/metrics)")
            }
        };
        let exporter = Prometheus::new(pool).map_err(|error| broken(&error))?;
        groups.into_iter().for_each(|group| exporter.expect_group(&group));
        let runtime = Handle::current();
        let upkeep = HistogramUpkeep::start(&exporter, &runtime);
        let (stop, stopped) = oneshot::channel::<()>();
        let router = http::router(&exporter);
        let server = runtime.spawn(async move {
            let stopped = async { drop(stopped.await) };
            let served = match listener {
                Listener::Tcp(listener) => http::serve(listener, router, stopped).await,
                #[cfg(unix)]
                Listener::Unix(listener, file) => {
                    let served = http::serve(listener, router, stopped).await;
                    drop(file);
                    served
                }
            };
            if let Err(error) = served {
                tracing::error!(%error, "the metrics are no longer served");
            }
        });
        Ok(Self { address, stop, server, _upkeep: upkeep })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Ends the server after the answers that are under way.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.server.await.ok();
    }
}
