//! Export of a pool to a recorder of the `metrics` facade.
//!
//! Owns the handles of every series. Never installs a recorder.

use std::fmt;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};

use crate::base::sync::Mutex;
use crate::manager::Manager;
use crate::metrics::catalogue::{self, Metric};
use crate::metrics::readiness::Readiness;
use crate::metrics::series::{LabelPair, SeriesValue, Sink, put_group, put_pool};
use crate::metrics::source::{ExportError, ExportedPool};
use crate::pool::Pool;

const METADATA: Metadata<'_> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// A recorder as this module takes it: shared, because groups that appear later need handles
/// of their own.
pub type SharedRecorder = Arc<dyn Recorder + Send + Sync>;

/// Exports the numbers of one pool to one recorder.
///
/// Counters and gauges are copied by [`update`](Self::update), from the counters that the pool
/// keeps anyway; of what its histograms have counted since, the mean of each bucket is recorded as
/// often as it was counted, which takes a recorder its time for each. A pool that is gone keeps its
/// last values.
pub struct PoolMetrics {
    pool: ExportedPool,
    recorder: SharedRecorder,
    handles: Mutex<AllHandles>,
}

/// The handles of every group that has been met, and of the pool as a whole.
struct AllHandles {
    whole: Vec<Handle>,
    /// By the index of the group.
    groups: Vec<Vec<Handle>>,
    /// Nothing has been read yet: what there is was counted before anybody asked.
    is_first: bool,
}

impl PoolMetrics {
    /// Describes and registers the metrics of a pool.
    ///
    /// # Errors
    /// The pool is exported already: one exporter per pool.
    pub fn new<M: Manager>(pool: &Pool<M>, recorder: SharedRecorder) -> Result<Self, ExportError> {
        let pool = ExportedPool::new(pool)?;
        catalogue::describe(&*recorder);
        let handles = AllHandles { whole: Vec::new(), groups: Vec::new(), is_first: true };
        let exporter = Self { pool, recorder, handles: Mutex::new(handles) };
        exporter.update();
        Ok(exporter)
    }

    /// Copies the pool's numbers. Looks at every account that has connections, waiters or a
    /// quarantine: 10,000 take about a millisecond (`cargo bench --bench scrape`), however many
    /// more are known. An asynchronous caller does this in `spawn_blocking`.
    pub fn update(&self) {
        // Held throughout, so that an older reading never follows a newer one.
        let mut handles = self.handles.lock();
        let AllHandles { whole, groups, is_first } = &mut *handles;
        let sample = self.pool.read(|group, last| {
            let index = usize::from(group.index);
            if index >= groups.len() {
                groups.resize_with(index + 1, Vec::new);
            }
            let label = Some(Label::new("group", Arc::clone(group.name)));
            let mut sink = self.sink(label, &mut groups[index], !*is_first);
            put_group(&mut sink, group, last);
        });
        *is_first = false;
        if let Some(sample) = sample {
            put_pool(&mut self.sink(None, whole, false), &sample);
        }
    }

    fn sink<'a>(
        &'a self,
        label: Option<Label>,
        handles: &'a mut Vec<Handle>,
        records_histograms: bool,
    ) -> RecorderSink<'a> {
        RecorderSink { recorder: &*self.recorder, label, handles, next: 0, records_histograms }
    }

    /// Exports a group, all at 0, before the pool meets an account of it: a rate then sees the
    /// group's first acquire. Takes one of the 64 names.
    pub fn expect_group(&self, name: &str) {
        self.pool.expect_group(name);
        self.update();
    }

    /// Whether anybody could be served. Looks at the accounts that [`update`](Self::update) looks at,
    /// in less time.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.pool.readiness()
    }

    /// Whether the pool is being closed, or gone.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.pool.is_closing()
    }
}

impl fmt::Debug for PoolMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolMetrics").field("closing", &self.is_closing()).finish_non_exhaustive()
    }
}

/// Where a recorder takes the values of one series.
enum Handle {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// Copies the series of a group, or of the pool, into their handles, which the first copy registers.
struct RecorderSink<'a> {
    recorder: &'a dyn Recorder,
    label: Option<Label>,
    /// In the order of the series.
    handles: &'a mut Vec<Handle>,
    next: usize,
    records_histograms: bool,
}

impl RecorderSink<'_> {
    fn register(&self, metric: &Metric, labels: &[LabelPair], value: &SeriesValue<'_>) -> Handle {
        let labels = labels.iter().map(|(name, value)| Label::from_static_parts(name, value));
        let labels: Vec<_> = self.label.iter().cloned().chain(labels).collect();
        let key = Key::from_parts(metric.name, labels);
        match value {
            SeriesValue::Counter(_) => {
                Handle::Counter(self.recorder.register_counter(&key, &METADATA))
            }
            SeriesValue::Gauge(_) => Handle::Gauge(self.recorder.register_gauge(&key, &METADATA)),
            SeriesValue::Histogram(_) => {
                Handle::Histogram(self.recorder.register_histogram(&key, &METADATA))
            }
        }
    }
}

impl Sink for RecorderSink<'_> {
    fn put(&mut self, metric: &Metric, labels: &[LabelPair], value: SeriesValue<'_>) {
        if self.next == self.handles.len() {
            let handle = self.register(metric, labels, &value);
            self.handles.push(handle);
        }
        match (&self.handles[self.next], value) {
            (Handle::Counter(handle), SeriesValue::Counter(count)) => handle.absolute(count),
            (Handle::Gauge(handle), SeriesValue::Gauge(value)) => handle.set(value),
            (Handle::Histogram(handle), SeriesValue::Histogram(sample)) => {
                for (mean, count) in sample.means().filter(|_| self.records_histograms) {
                    handle.record_many(mean, count);
                }
            }
            _ => unreachable!("BUG: the order of the series is always the same"),
        }
        self.next += 1;
    }
}
