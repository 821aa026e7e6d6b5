//! The histograms of what is seldom: opens, uses (one in 64) and ages.
//!
//! Owns their handles. They are recorded as things happen, because a recorder takes no counts
//! of buckets; everything else is copied when somebody asks.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::Histogram;

use crate::metrics::SharedRecorder;
use crate::metrics::catalogue;
use crate::metrics::handles::Registrar;
use crate::stats::{Groups, Measure, Observer};

/// In the order of [`Measure`].
type OfGroup = [Histogram; 3];

pub(super) struct Histograms {
    recorder: SharedRecorder,
    groups: Arc<Groups>,
    handles: Box<[OnceLock<OfGroup>]>,
}

impl Histograms {
    pub(super) fn new(recorder: SharedRecorder, groups: Arc<Groups>) -> Self {
        let handles = (0..groups.capacity()).map(|_| OnceLock::new()).collect();
        Self { recorder, groups, handles }
    }

    /// The handles of a group, registered when it is first asked for.
    pub(super) fn of_group(&self, group: u16) -> &OfGroup {
        self.handles[usize::from(group)].get_or_init(|| {
            let name = self.groups.name(group);
            let registrar = Registrar::of_group(&*self.recorder, &name);
            [catalogue::CONNECTION_OPEN, catalogue::LEASE_USE, catalogue::CONNECTION_AGE]
                .map(|metric| registrar.histogram(metric))
        })
    }
}

impl Observer for Arc<Histograms> {
    fn observe(&self, measure: Measure, group: u16, value: Duration) {
        self.of_group(group)[measure as usize].record(value.as_secs_f64());
    }
}
