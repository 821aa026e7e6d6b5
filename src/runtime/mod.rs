//! The runtime of a pool: its accounts with what they share, the commands that they send, and the tasks
//! that carry those out.
//!
//! ```text
//!   tasks      worker, dial, check, close, reaper, clock        (above the accounts)
//!   account    one account: its engine, and the one way in which effects are applied
//!   command    what an account sends to the worker     due      what it has in the schedule
//!   Runtime    context + registry + schedule + the way to the worker
//!   reading    what the groups have and have done
//!   context    manager, clock, configuration, limits, counters  (knows no account)
//! ```

pub(crate) mod account;
pub(crate) mod command;
pub(crate) mod context;
pub(crate) mod due;
pub(crate) mod reading;
pub(crate) mod tasks;

use std::sync::{Arc, Weak};

use tokio::sync::mpsc::UnboundedSender;

use crate::expiry::Schedule;
use crate::manager::Manager;
use crate::registry::Registry;
use crate::runtime::account::AccountInner;
use crate::runtime::command::Command;
use crate::runtime::context::PoolContext;
use crate::runtime::due::Due;

/// The accounts of a pool.
pub(crate) type Accounts<M> = Registry<AccountInner<M>>;

/// What an account of a pool reaches beyond itself. Every account holds one.
pub(crate) struct Runtime<M: Manager> {
    pub(crate) context: PoolContext<M>,
    /// Weak: every account holds this, so a strong one would never end.
    registry: Weak<Accounts<M>>,
    pub(crate) schedule: Schedule<Due<M>>,
    pub(crate) commands: UnboundedSender<Command<M>>,
}

impl<M: Manager> Runtime<M> {
    pub(crate) fn new(
        context: PoolContext<M>,
        registry: Weak<Accounts<M>>,
        commands: UnboundedSender<Command<M>>,
    ) -> Self {
        let interval = context.config.load().pool.cleanup_interval;
        let schedule = Schedule::new(interval, context.clock.tick());
        Self { context, registry, schedule, commands }
    }

    /// The pool's accounts, as long as the pool itself is there.
    pub(crate) fn registry(&self) -> Option<Arc<Accounts<M>>> {
        self.registry.upgrade()
    }

    /// Claims one idle connection of any account for whoever waits under the global cap.
    /// Returns whether there was one.
    pub(crate) fn evict_idle(&self) -> bool {
        let now = self.context.clock.tick();
        let Some(registry) = self.registry() else { return false };
        let evict = || match registry.evict_idle() {
            Some((account, effects)) => {
                account.apply(effects);
                true
            }
            None => false,
        };
        self.context.budget.evict_idle(now, evict, || registry.has_idle())
    }
}
