//! The pool behind an exporter, whatever its manager is.
//!
//! Owns what was exported of each group at the last scrape. Never keeps the pool alive.

use std::sync::{Arc, Weak};

use crate::base::sync::Mutex;
use crate::manager::Manager;
use crate::metrics::readiness::Readiness;
use crate::metrics::sample::{self, GroupSample, PoolSample};
use crate::metrics::series::LastExport;
use crate::pool::Pool;
use crate::runtime::Runtime;

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

/// A pool that is exported, and that may go while its numbers are still asked for.
pub(super) struct ExportedPool {
    pool: Box<dyn ErasedPool>,
    /// By the index of the group.
    last: Mutex<Vec<Option<Box<LastExport>>>>,
}

impl ExportedPool {
    /// Claims a pool for its one exporter.
    pub(super) fn new<M: Manager>(pool: &Pool<M>) -> Result<Self, ExportError> {
        let runtime = pool.runtime();
        runtime.context.exported.set(()).map_err(|()| ExportError::AlreadyExported)?;
        let last = (0..runtime.context.groups.capacity()).map(|_| None).collect();
        let pool = Box::new(WeakPool(Arc::downgrade(runtime)));
        Ok(Self { pool, last: Mutex::new(last) })
    }

    /// Reads everything, group by group, beside what was last exported of it. `None`: the pool is gone.
    pub(super) fn read(
        &self,
        mut each: impl FnMut(&GroupSample<'_>, &mut LastExport),
    ) -> Option<PoolSample> {
        let mut last = self.last.lock();
        self.pool.read(&mut |group| {
            each(group, last[usize::from(group.index)].get_or_insert_default());
        })
    }

    /// Gives a group its name before any account of it has come.
    pub(super) fn expect_group(&self, name: &str) {
        self.pool.expect_group(&Arc::from(name));
    }

    /// Whether the pool is being closed, or gone.
    pub(super) fn is_closing(&self) -> bool {
        self.pool.is_closing()
    }

    pub(super) fn readiness(&self) -> Readiness {
        self.pool.readiness()
    }
}

/// A pool without the type of its manager.
trait ErasedPool: Send + Sync {
    fn read(&self, each: &mut dyn FnMut(&GroupSample<'_>)) -> Option<PoolSample>;

    fn expect_group(&self, name: &Arc<str>);

    fn is_closing(&self) -> bool;

    fn readiness(&self) -> Readiness;
}

struct WeakPool<M: Manager>(Weak<Runtime<M>>);

impl<M: Manager> ErasedPool for WeakPool<M> {
    fn read(&self, each: &mut dyn FnMut(&GroupSample<'_>)) -> Option<PoolSample> {
        let runtime = self.0.upgrade()?;
        let accounts = runtime.registry()?;
        Some(sample::read(&runtime, &accounts, each))
    }

    fn expect_group(&self, name: &Arc<str>) {
        if let Some(runtime) = self.0.upgrade() {
            runtime.context.groups.expect(name);
        }
    }

    fn is_closing(&self) -> bool {
        self.0.upgrade().is_none_or(|runtime| runtime.context.is_closing())
    }

    fn readiness(&self) -> Readiness {
        let open = self.0.upgrade().filter(|runtime| !runtime.context.is_closing());
        let accounts = open.and_then(|runtime| Some((runtime.registry()?, runtime)));
        accounts
            .map_or(Readiness::Closing, |(accounts, runtime)| Readiness::of(&runtime, &accounts))
    }
}
