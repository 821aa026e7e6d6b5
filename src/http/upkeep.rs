//! Histogram upkeep: a task that has the exporter drain the samples of its recorder.
//!
//! Owns one task. It ends with its owner.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::metrics::Prometheus;

/// How often samples are taken in: what Prometheus' own exporter would do.
const INTERVAL: Duration = Duration::from_secs(5);

/// Has the exporter take in the samples of the application's own histograms every 5 seconds, so that they
/// do not pile up while nobody scrapes. Dropping it ends that.
#[derive(Debug)]
#[must_use = "dropping it ends the upkeep"]
pub struct HistogramUpkeep(AbortHandle);

impl HistogramUpkeep {
    /// Starts the upkeep on a runtime that has time enabled.
    pub fn start(exporter: &Prometheus, runtime: &Handle) -> Self {
        let exporter = exporter.clone();
        let upkeep = async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                let exporter = exporter.clone();
                let turn = tokio::task::spawn_blocking(move || exporter.run_upkeep());
                if let Err(error) = turn.await {
                    tracing::error!(%error, "the upkeep of the histograms has failed");
                }
            }
        };
        Self(runtime.spawn(upkeep).abort_handle())
    }
}

impl Drop for HistogramUpkeep {
    fn drop(&mut self) {
        self.0.abort();
    }
}
