//! The builder of a pool.

use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::base::timer::has_timers;
use crate::config::Config;
use crate::error::BuildError;
use crate::events::{Callback, Event};
use crate::manager::Manager;
use crate::pool::{Pool, PoolInner};
use crate::registry::Registry;
use crate::runtime::context::PoolContext;
use crate::runtime::{Runtime, tasks};

/// Makes a [`Pool`].
pub struct Builder<M> {
    manager: M,
    config: Config,
    callbacks: Vec<Callback>,
    runtime: Option<Handle>,
    seed: Option<u64>,
}

impl<M: Manager> Builder<M> {
    pub(super) fn new(manager: M) -> Self {
        let config = Config::default();
        Self { manager, config, callbacks: Vec::new(), runtime: None, seed: None }
    }

    /// Replaces the whole configuration.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Changes some of the configuration.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Calls back with every event, on a task of its own. A callback that is slow loses the
    /// oldest events, one that panics loses that event.
    ///
    /// The callback lives until the pool is gone. One that owns a clone of the pool therefore keeps it
    /// for ever, with its tasks and its connections: [`Pool::close`] then still closes everything, but
    /// dropping the other clones does not. Hand what it tells you to a task that owns the pool, through
    /// a channel, or take the pool out of the callback's reach when it is done.
    #[must_use]
    pub fn on_event(mut self, callback: impl Fn(&Event) + Send + 'static) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Runs the pool's tasks on this runtime instead of the current one. It must be driven for as
    /// long as anybody acquires: its tasks open connections and end waits at their deadline.
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Seeds what the pool draws by chance (age jitter and backoff), so that a run can be
    /// repeated.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Makes the pool and starts its tasks.
    ///
    /// # Errors
    /// An invalid configuration, or no tokio runtime to run on, or one without timers.
    pub fn build(self) -> Result<Pool<M>, BuildError> {
        self.config.validate()?;
        let handle = match self.runtime {
            Some(handle) => handle,
            None => Handle::try_current().map_err(|_| BuildError::NoRuntime)?,
        };
        if !has_timers(&handle) {
            return Err(BuildError::NoTimers);
        }
        let registry = Arc::new(Registry::new());
        let (commands, queue) = mpsc::unbounded_channel();
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let context = PoolContext::new(self.manager, self.config, seed, handle.clone());
        let runtime = Arc::new(Runtime::new(context, Arc::downgrade(&registry), commands));
        handle.spawn(tasks::work(queue));
        let tasks = vec![
            handle.spawn(tasks::reap(Arc::downgrade(&runtime))).abort_handle(),
            handle.spawn(tasks::tick(Arc::downgrade(&runtime))).abort_handle(),
        ];
        for callback in self.callbacks {
            // It ends with the pool, after the last event.
            let events = runtime.context.events.stream();
            handle.spawn(tasks::listen(callback, events, handle.clone()));
        }
        Ok(Pool { inner: Arc::new(PoolInner { runtime, registry, tasks }) })
    }
}

impl<M> fmt::Debug for Builder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}
