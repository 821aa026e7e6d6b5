//! The export of one pool to one recorder.
//!
//! Owns the handles of every group that it has seen. Never installs a recorder, and never keeps
//! a pool alive.

use std::fmt;
use std::sync::Arc;

use metrics::{Counter, Gauge, Recorder};

use crate::base::sync::Mutex;
use crate::manager::Manager;
use crate::metrics::catalogue;
use crate::metrics::handles::{GroupHandles, Registrar};
use crate::metrics::reading::{PoolReading, PoolSource, Readable, Readiness};
#[cfg(feature = "metrics")]
use crate::metrics::timings;
use crate::pool::Pool;

/// A recorder as this module takes it: shared, because groups that appear later need handles
/// of their own.
pub type SharedRecorder = Arc<dyn Recorder + Send + Sync>;

/// The commit that this was built from, if the build told by the environment.
const REVISION: &str = match option_env!("TELEPOOL_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Why numbers cannot be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The pool has an exporter: keep and share that one.
    #[error("the pool's numbers are exported already: keep that exporter and share it")]
    AlreadyExported,
    /// Making the text ended early: the runtime shuts down, or something panicked on the way.
    #[error("the metrics could not be rendered: the runtime is shutting down, or a bug")]
    Interrupted,
}

/// Exports the numbers of one pool to one recorder.
///
/// Counters and gauges are copied by [`update`](Self::update), from the counters that the pool
/// keeps anyway; of what its histograms have counted since, the mean of each bucket is recorded as
/// often as it was counted, which takes a recorder its time for each. A pool that is gone keeps its
/// last values.
pub struct PoolMetrics {
    source: Box<dyn Readable>,
    recorder: SharedRecorder,
    whole: PoolHandles,
    groups: Mutex<Groups>,
    /// Whether the recorder gets the histograms as well; else they are written as text.
    records_times: bool,
}

impl PoolMetrics {
    /// Describes and registers the metrics of a pool.
    ///
    /// # Errors
    /// The pool is exported already: one exporter per pool.
    pub fn new<M: Manager>(pool: &Pool<M>, recorder: SharedRecorder) -> Result<Self, ExportError> {
        Self::start(pool, recorder, true)
    }

    /// The same for a recorder that is not given the histograms.
    #[cfg(feature = "metrics")]
    pub(super) fn without_times<M: Manager>(
        pool: &Pool<M>,
        recorder: SharedRecorder,
    ) -> Result<Self, ExportError> {
        Self::start(pool, recorder, false)
    }

    fn start<M: Manager>(
        pool: &Pool<M>,
        recorder: SharedRecorder,
        records_times: bool,
    ) -> Result<Self, ExportError> {
        let runtime = pool.runtime();
        runtime.context.exported.set(()).map_err(|()| ExportError::AlreadyExported)?;
        catalogue::describe(&*recorder);
        let exporter = Self {
            source: Box::new(PoolSource(Arc::downgrade(runtime))),
            whole: PoolHandles::new(&Registrar::of_pool(&*recorder)),
            groups: Mutex::new(Groups::new(runtime.context.groups.capacity())),
            recorder,
            records_times,
        };
        exporter.update();
        Ok(exporter)
    }

    /// Copies the pool's numbers. Looks at every account that has connections, waiters or a
    /// quarantine: 10,000 take about a millisecond (`cargo bench --bench scrape`), however many
    /// more are known. An asynchronous caller does this in `spawn_blocking`.
    pub fn update(&self) {
        // Held throughout, so that an older reading never follows a newer one.
        let mut groups = self.groups.lock();
        let whole = self.source.read(&mut |group| {
            let Groups { handles, is_first } = &mut *groups;
            let handles = handles[usize::from(group.index)].get_or_insert_with(|| {
                let registrar = Registrar::of_group(&*self.recorder, group.name);
                GroupHandles::new(&registrar, group.name, self.records_times, *is_first)
            });
            handles.set(group);
        });
        groups.is_first = false;
        if let Some(whole) = whole {
            self.whole.set(&whole);
        }
    }

    /// Adds the histograms, as of the last update, to a text in Prometheus' format.
    #[cfg(feature = "metrics")]
    pub(super) fn write_times(&self, text: &mut String) {
        let groups = self.groups.lock();
        let all: Vec<_> = groups.handles.iter().flatten().map(GroupHandles::timings).collect();
        timings::write(text, &all);
    }

    /// Exports a group, all at 0, before the pool meets an account of it: a rate then sees the
    /// group's first acquire. Takes one of the 64 names.
    pub fn expect_group(&self, name: &str) {
        self.source.expect_group(&Arc::from(name));
        self.update();
    }

    /// Whether anybody could be served. Looks at the accounts that [`update`](Self::update) looks at,
    /// in less time.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.source.readiness()
    }

    /// Whether the pool is being closed, or gone.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.source.is_closing()
    }
}

impl fmt::Debug for PoolMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolMetrics").field("closing", &self.is_closing()).finish_non_exhaustive()
    }
}

/// The handles of every group that has been met.
struct Groups {
    /// By the index of the group.
    handles: Box<[Option<GroupHandles>]>,
    /// Nothing has been read yet: what there is was counted before anybody asked.
    is_first: bool,
}

impl Groups {
    fn new(capacity: usize) -> Self {
        Self { handles: (0..capacity).map(|_| None).collect(), is_first: true }
    }
}

/// The handles of what concerns no group.
struct PoolHandles {
    build_info: Gauge,
    connections_max: Gauge,
    breakers: [Gauge; 2],
    addresses_down: Gauge,
    reaper_runs: Counter,
    reaper_last_run: Gauge,
    reaper_visits: Counter,
    reaper_took: Gauge,
    overflow: Gauge,
}

impl PoolHandles {
    fn new(registrar: &Registrar<'_>) -> Self {
        let build = [("version", env!("CARGO_PKG_VERSION")), ("revision", REVISION)];
        Self {
            build_info: registrar.gauge(catalogue::BUILD_INFO, &build),
            connections_max: registrar.gauge(catalogue::POOL_CONNECTIONS_MAX, &[]),
            breakers: registrar.gauges(catalogue::BREAKER_OPEN, "egress", ["direct", "proxy"]),
            addresses_down: registrar.gauge(catalogue::ADDRESSES_DOWN, &[]),
            reaper_runs: registrar.counter(catalogue::REAPER_RUNS, &[]),
            reaper_last_run: registrar.gauge(catalogue::REAPER_LAST_RUN, &[]),
            reaper_visits: registrar.counter(catalogue::REAPER_VISITS, &[]),
            reaper_took: registrar.gauge(catalogue::REAPER_TOOK, &[]),
            overflow: registrar.gauge(catalogue::LABEL_OVERFLOW, &[]),
        }
    }

    fn set(&self, whole: &PoolReading) {
        self.build_info.set(1.0);
        self.connections_max.set(whole.connections_max as f64);
        for (handle, open) in self.breakers.iter().zip(whole.breakers) {
            handle.set(open as f64);
        }
        self.addresses_down.set(whole.addresses_down as f64);
        self.reaper_runs.absolute(whole.reaper_runs);
        self.reaper_last_run.set(whole.reaper_last_run as f64 / 1000.0);
        self.reaper_visits.absolute(whole.reaper_visits);
        self.reaper_took.set(whole.reaper_took as f64 / 1e9);
        self.overflow.set(whole.overflow as f64);
    }
}
