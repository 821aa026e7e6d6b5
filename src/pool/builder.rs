//! How a pool is made.

use std::fmt;
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::caught::harmless;
use crate::clock::Pace;
use crate::config::Config;
use crate::error::BuildError;
use crate::events::{Event, EventStream};
use crate::expiry;
use crate::manager::Manager;
use crate::pool::{Inner, Pool, worker};
use crate::registry::Registry;
use crate::runtime::has_timers;
use crate::shared::Shared;

type Callback = Box<dyn Fn(&Event) + Send>;

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
        let runtime = match self.runtime {
            Some(runtime) => runtime,
            None => Handle::try_current().map_err(|_| BuildError::NoRuntime)?,
        };
        if !has_timers(&runtime) {
            return Err(BuildError::NoTimers);
        }
        let registry = Arc::new(Registry::new());
        let (errands, queue) = mpsc::unbounded_channel();
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let weak = Arc::downgrade(&registry);
        let shared =
            Arc::new(Shared::new(self.manager, self.config, seed, weak, errands, runtime.clone()));
        runtime.spawn(worker::work(queue));
        let tasks = vec![
            runtime.spawn(expiry::reap(Arc::downgrade(&shared))).abort_handle(),
            runtime.spawn(tick(Arc::downgrade(&shared))).abort_handle(),
        ];
        for callback in self.callbacks {
            // It ends with the pool, after the last event.
            runtime.spawn(listen(callback, shared.events.stream(), runtime.clone()));
        }
        Ok(Pool { inner: Arc::new(Inner { shared, registry, tasks }) })
    }
}

/// Calls back with every event, on a thread for what blocks: a callback that takes its time keeps
/// nobody else's task from a worker.
async fn listen(mut callback: Callback, mut events: EventStream, runtime: Handle) {
    while let Some(event) = events.next().await {
        let call = runtime.spawn_blocking(move || {
            if harmless(|| callback(&event)).is_none() {
                tracing::warn!("an event callback has panicked");
            }
            callback
        });
        // Without a runtime there is nobody left to tell.
        let Ok(back) = call.await else { return };
        callback = back;
    }
}

/// Keeps the coarse clock going while there are connections and it is much asked for.
async fn tick<M: Manager>(shared: Weak<Shared<M>>) {
    let mut pace = Pace::default();
    while let Some(shared) = shared.upgrade() {
        if shared.occupancy.slots() == 0 {
            shared.clock.rest(&mut pace);
            shared.occupancy.until_taken().await;
        }
        let pause = shared.clock.refresh(&mut pace);
        let sleep = tokio::time::sleep(pause);
        tokio::select! {
            () = sleep => {}
            () = shared.clock.crowded.notified() => {}
        }
    }
}

impl<M> fmt::Debug for Builder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}
