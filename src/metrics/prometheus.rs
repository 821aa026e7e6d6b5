//! The numbers in Prometheus' text format.
//!
//! Owns a recorder of its own, and the numbers of the process beside those of the pool. Never
//! listens on anything: `http` does, or the router of whoever uses the library.

use std::fmt;
use std::sync::Arc;

use metrics::Gauge;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_process::Collector;

use crate::base::clock::now;
use crate::manager::Manager;
use crate::metrics::catalogue::{self, buckets};
use crate::metrics::export::{ExportError, PoolMetrics, SharedRecorder};
use crate::metrics::handles::Registrar;
use crate::metrics::reading::Readiness;
use crate::pool::Pool;

/// Renders the numbers of one pool and of the process. A cheap clone: keep one.
///
/// The pool's own histograms are counts, and need no care. Those that an application adds by way of
/// [`recorder`](Self::recorder) keep every sample until [`run_upkeep`](Self::run_upkeep) or a scrape
/// takes them in: call either every few seconds (`http::Upkeep` does).
#[derive(Clone)]
pub struct Prometheus {
    inner: Arc<Inner>,
}

struct Inner {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    pool: PoolMetrics,
    process: Collector,
    render_seconds: Gauge,
    /// Held by the one scrape that is at work.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Prometheus {
    /// The content type of the text.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Exports a pool.
    ///
    /// # Errors
    /// The pool is exported already: one exporter per pool.
    pub fn new<M: Manager>(pool: &Pool<M>) -> Result<Self, ExportError> {
        let recorder = Arc::new(recorder());
        let shared: SharedRecorder = Arc::clone(&recorder) as SharedRecorder;
        let pool = PoolMetrics::without_times(pool, shared)?;
        let process = Collector::default();
        metrics::with_local_recorder(&*recorder, || process.describe());
        let render_seconds = Registrar::of_pool(&*recorder).gauge(catalogue::RENDER_SECONDS, &[]);
        let (handle, turn) = (recorder.handle(), Arc::default());
        let inner = Inner { recorder, handle, pool, process, render_seconds, turn };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The recorder, for metrics of the application's own. Histograms that have no buckets of
    /// their own get those of times.
    #[must_use]
    pub fn recorder(&self) -> SharedRecorder {
        Arc::clone(&self.inner.recorder) as SharedRecorder
    }

    /// Reads everything and makes the text. Blocks for a few milliseconds; in asynchronous code
    /// use [`scrape`](Self::scrape).
    #[must_use]
    pub fn render(&self) -> String {
        let inner = &*self.inner;
        let began = now();
        inner.pool.update();
        // The collector knows only the recorder of the thread or of the process.
        metrics::with_local_recorder(&*inner.recorder, || inner.process.collect());
        inner.handle.run_upkeep();
        let mut text = inner.handle.render();
        inner.pool.write_times(&mut text);
        inner.render_seconds.set(now().saturating_duration_since(began).as_secs_f64());
        text
    }

    /// The same on a thread that may block. Needs a tokio runtime; one scrape is at work at a
    /// time, and others wait their turn.
    ///
    /// # Errors
    /// The runtime shuts down, or something panicked on the way.
    pub async fn scrape(&self) -> Result<String, ExportError> {
        let turn = Arc::clone(&self.inner.turn).lock_owned().await;
        let exporter = self.clone();
        let render = move || {
            // It ends with the work, also if nobody waits for the answer any more.
            let _turn = turn;
            exporter.render()
        };
        tokio::task::spawn_blocking(render).await.map_err(|_| ExportError::Interrupted)
    }

    /// Takes the samples of the histograms in. Blocks for as long as that takes: a hundred
    /// nanoseconds for each sample.
    pub fn run_upkeep(&self) {
        self.inner.handle.run_upkeep();
    }

    /// Exports a group, all at 0, before the pool meets an account of it: a rate then sees the
    /// group's first acquire. Takes one of the 64 names.
    pub fn expect_group(&self, name: &str) {
        self.inner.pool.expect_group(name);
    }

    /// Whether anybody could be served. Takes up to a millisecond with 10,000 accounts at work.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.inner.pool.readiness()
    }

    /// Whether the pool is being closed, or gone.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.inner.pool.is_closing()
    }
}

/// A recorder without a server and without a timeout: a handle that was forgotten would write
/// nowhere for ever. A histogram of the application's own that has no buckets would become a summary.
fn recorder() -> PrometheusRecorder {
    let [(_, times), ..] = buckets();
    let builder = PrometheusBuilder::new().set_buckets(times).expect("BUG: no buckets");
    builder.build_recorder()
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").field("pool", &self.inner.pool).finish_non_exhaustive()
    }
}
