//! Applies effects: the one way from what the engine says must happen to what happens.
//!
//! Owns the order of the steps. What takes time goes to the worker; without one it ends here.

use std::sync::Arc;

use tokio::sync::mpsc::error::SendError;

use super::AccountInner;
use crate::base::panics::catch;
use crate::engine::{Connection, Effects, Wakers};
use crate::manager::Manager;
use crate::runtime::command::Command;
use crate::runtime::due::Due;

impl<M: Manager> AccountInner<M> {
    /// A scrape has to visit the account, which has been made so under its lock.
    fn mark_active(self: &Arc<Self>) {
        if !self.membership.active().is_listed()
            && let Some(registry) = self.runtime.registry()
        {
            registry.mark_active(self);
        }
    }

    /// Does all that a step of the engine has left to be done.
    pub(crate) fn apply(self: &Arc<Self>, effects: Effects<M::Connection>) {
        if effects.has_only_wakers() {
            wake(effects.wake);
            return;
        }
        // Without a worker each command is ended here and may leave effects of its own; every
        // round refuses a waiter or frees a slot, so that the rounds come to an end.
        let mut left = Vec::new();
        let mut next = Some(effects);
        while let Some(effects) = next {
            if !effects.is_empty() {
                self.apply_once(effects, &mut left);
            }
            next = left.pop();
        }
    }

    /// The same, but for what follows from commands that no worker took.
    fn apply_once(
        self: &Arc<Self>,
        effects: Effects<M::Connection>,
        left: &mut Vec<Effects<M::Connection>>,
    ) {
        if effects.mark_active || !effects.dial.is_empty() {
            self.mark_active();
        }
        if effects.persist != 0 {
            self.store_quarantines(effects.persist);
        }
        let commands = effects
            .close
            .into_iter()
            .map(|it| Command::Close(Arc::clone(self), it))
            .chain(effects.drain.into_iter().map(|it| self.drain_command(&it)))
            .chain(effects.watch.map(|watch| Command::Watch(Arc::downgrade(self), watch)))
            .chain(effects.redispatch.map(|at| {
                Command::Redispatch(Arc::downgrade(self), self.context().clock.instant_of(at))
            }))
            .chain(effects.dial.into_iter().map(|order| {
                self.context().occupancy.occupy();
                Command::Dial(Arc::clone(self), order)
            }));
        for command in commands {
            if let Err(SendError(command)) = self.runtime.commands.send(command) {
                left.push(command.end_without_worker());
            }
        }
        if effects.vacated {
            self.schedule_removal();
        }
        if effects.probe != 0 {
            self.schedule_probes(effects.probe);
        }
        if effects.wake_dials {
            self.dials.notify_waiters();
        }
        for lease in effects.unused {
            self.release_unused(lease);
        }
        wake(effects.wake);
        if catch(|| drop(effects.unheard)).is_none() {
            catch(|| tracing::warn!("a waker has panicked as it was dropped"));
        }
    }

    fn drain_command(self: &Arc<Self>, connection: &Arc<Connection<M::Connection>>) -> Command<M> {
        Command::Drain(Arc::downgrade(self), Arc::downgrade(connection))
    }

    /// Times the drains under way anew: the deadline has come closer.
    pub(crate) fn hurry_drains(self: &Arc<Self>) {
        let retires = |it: &Arc<Connection<M::Connection>>| it.word.snapshot().is_retiring();
        for connection in self.pool.connections().filter(retires) {
            // Without a worker nothing is drained by force any more.
            drop(self.runtime.commands.send(self.drain_command(&connection)));
        }
    }

    /// Has the account visited in a while, to see whether it can be forgotten, unless that is due
    /// already. As long as it has a connection, nothing would come of it.
    fn schedule_removal(self: &Arc<Self>) {
        if !self.pool.has_connections() && self.membership.scheduled().list() {
            let due = self.context().clock.tick() + self.context().hot.max_idle_ms();
            self.runtime.schedule.schedule(due, Due::Account(Arc::downgrade(self)));
        }
    }
}

/// Wakes each by itself, and after everything else: a waker is somebody else's code.
fn wake(wakers: Wakers) {
    for waker in wakers {
        if catch(|| waker.wake()).is_none() {
            // A subscriber is somebody else's code as well, and others are still to be woken.
            catch(|| tracing::warn!("a waker has panicked"));
        }
    }
}
