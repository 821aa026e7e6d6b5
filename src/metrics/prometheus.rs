//! Prometheus exporter: the page of a scrape.
//!
//! Owns the text of the pool's numbers, and beside it a recorder for those of the process and of the
//! application. Never listens on anything: `http` does, or the router of whoever uses the library.

use std::fmt;
use std::sync::Arc;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_process::Collector;

use crate::base::clock::now;
use crate::base::sync::{Mutex, MutexGuard};
use crate::manager::Manager;
use crate::metrics::catalogue::{self, buckets};
use crate::metrics::readiness::Readiness;
use crate::metrics::recorder::SharedRecorder;
use crate::metrics::series::{Sink as _, put_group, put_pool};
use crate::metrics::source::{ExportError, ExportedPool};
use crate::metrics::text::{Audience, Text};
use crate::pool::Pool;

/// Renders the numbers of one pool and of the process. A cheap clone: keep one.
///
/// The pool's own histograms are counts, and need no care. Those that an application adds by way of
/// [`recorder`](Self::recorder) keep every sample until [`run_upkeep`](Self::run_upkeep) or a scrape
/// takes them in: call either every few seconds (`http::HistogramUpkeep` does).
#[derive(Clone)]
pub struct Prometheus {
    inner: Arc<PrometheusInner>,
}

struct PrometheusInner {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    pool: ExportedPool,
    /// Of the pool's numbers, as of the last scrape: those of a pool that is gone stay.
    text: Mutex<Text>,
    /// How long the last scrape took.
    render_seconds: Mutex<f64>,
    process: Collector,
    /// Held by the one scrape that is at work.
    scrape_lock: Arc<tokio::sync::Mutex<()>>,
}

impl Prometheus {
    /// The content type of the text.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Exports a pool.
    ///
    /// # Errors
    /// The pool is exported already: one exporter per pool.
    pub fn new<M: Manager>(pool: &Pool<M>) -> Result<Self, ExportError> {
        let pool = ExportedPool::new(pool)?;
        let recorder = Arc::new(recorder());
        let process = Collector::default();
        metrics::with_local_recorder(&*recorder, || process.describe());
        let inner = PrometheusInner {
            handle: recorder.handle(),
            recorder,
            pool,
            text: Mutex::default(),
            render_seconds: Mutex::new(0.0),
            process,
            scrape_lock: Arc::default(),
        };
        drop(inner.read_pool());
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
        // The collector knows only the recorder of the thread or of the process.
        metrics::with_local_recorder(&*inner.recorder, || inner.process.collect());
        inner.handle.run_upkeep();
        let mut text = inner.handle.render();
        inner.read_pool().write_to(&mut text, Audience::Everybody);
        let mut own = Text::default();
        own.pool().gauge(&catalogue::RENDER_SECONDS, *inner.render_seconds.lock());
        own.write_to(&mut text, Audience::Everybody);
        *inner.render_seconds.lock() = now().saturating_duration_since(began).as_secs_f64();
        text
    }

    /// The same for somebody who may see some groups only: their series, and of the pool as a whole what says
    /// nothing of other groups. The numbers of the process and those of [`recorder`](Self::recorder) are left
    /// out. Groups that share the name `other` are seen by whoever may see that.
    #[must_use]
    pub fn render_of(&self, groups: &[Arc<str>]) -> String {
        let mut text = String::new();
        self.inner.read_pool().write_to(&mut text, Audience::Groups(groups));
        text
    }

    /// What [`render`](Self::render) does, on a thread that may block. Needs a tokio runtime; one scrape is at
    /// work at a time, and others wait their turn.
    ///
    /// # Errors
    /// The runtime shuts down, or something panicked on the way.
    pub async fn scrape(&self) -> Result<String, ExportError> {
        self.on_blocking_thread(Self::render).await
    }

    /// What [`render_of`](Self::render_of) does, in the same way.
    ///
    /// # Errors
    /// Those of [`scrape`](Self::scrape).
    pub async fn scrape_of(&self, groups: Arc<[Arc<str>]>) -> Result<String, ExportError> {
        self.on_blocking_thread(move |exporter| exporter.render_of(&groups)).await
    }

    async fn on_blocking_thread<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, ExportError> {
        let guard = Arc::clone(&self.inner.scrape_lock).lock_owned().await;
        let exporter = self.clone();
        let read = move || {
            // It ends with the work, also if nobody waits for the answer any more.
            let _guard = guard;
            read(&exporter)
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| ExportError::Interrupted)
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
        drop(self.inner.read_pool());
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

impl PrometheusInner {
    /// Reads the numbers of the pool. Returns them, or the last ones that it had.
    fn read_pool(&self) -> MutexGuard<'_, Text> {
        // Held throughout, so that an older reading never follows a newer one.
        let mut known = self.text.lock();
        let mut text = Text::default();
        let whole = self.pool.read(|group, last| {
            put_group(&mut text.group(group.name), group, last);
        });
        if let Some(whole) = whole {
            put_pool(&mut text.pool(), &whole);
            *known = text;
        }
        known
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
        f.debug_struct("Prometheus").field("closing", &self.is_closing()).finish_non_exhaustive()
    }
}
