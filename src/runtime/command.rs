//! The commands that accounts send to the worker: what takes time.
//!
//! Owns what each holds, and how it ends when no worker is left. Runs none.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::base::clock::Instant;
use crate::base::panics::catch_logged;
use crate::base::text::display_safely;
use crate::connection::CloseReason;
use crate::engine::{Connection, DialLoss, DialOrder, Effects, Watch};
use crate::error::DialError;
use crate::manager::Manager;
use crate::runtime::account::AccountInner;

/// Work for the worker. The queue has no bound of its own: a connection has at most one command
/// of each kind in it, an account at most one look, and one
/// watch for each time that its deadlines have come closer.
pub(crate) enum Command<M: Manager> {
    /// Open a connection.
    Dial(Arc<AccountInner<M>>, DialOrder),
    /// Check a leased connection before it is lent again.
    Check(Arc<AccountInner<M>>, Arc<Connection<M::Connection>>),
    /// Close a connection whose word is final.
    Close(Arc<AccountInner<M>>, Arc<Connection<M::Connection>>),
    /// Close a connection by force when its drain deadline has passed. Holds neither: what has
    /// been closed in time must not live on for it.
    Drain(Weak<AccountInner<M>>, Weak<Connection<M::Connection>>),
    /// Ask an account for expired waiters.
    Watch(Weak<AccountInner<M>>, Watch),
    /// Look again who of an account can be served.
    Redispatch(Weak<AccountInner<M>>, Instant),
    /// Dial a session that the server did not know, to see whether it does now.
    Probe(Weak<AccountInner<M>>, u16, Instant),
    /// Ask whether the session of a connection is still any good, unless that has shown within a time.
    Recheck(Weak<AccountInner<M>>, Weak<Connection<M::Connection>>, Duration),
}

impl<M: Manager> Command<M> {
    /// Whether anything would come of it.
    pub(crate) fn is_alive(&self) -> bool {
        match self {
            Self::Dial(..) | Self::Check(..) | Self::Close(..) => true,
            // The account may be dropped here, which is the manager's code.
            Self::Watch(inner, watch) => catch_logged("the end of a connection", || {
                inner.upgrade().is_some_and(|inner| inner.pool.is_watched(*watch))
            })
            .unwrap_or(false),
            Self::Redispatch(inner, _) | Self::Probe(inner, ..) => inner.strong_count() > 0,
            Self::Drain(_, connection) | Self::Recheck(_, connection, _) => {
                connection.strong_count() > 0
            }
        }
    }

    /// Ends a command that no worker will run, and what follows from it.
    pub(crate) fn run_without_worker(self) {
        let inner = match &self {
            Self::Dial(inner, _) | Self::Check(inner, _) | Self::Close(inner, _) => {
                Some(Arc::clone(inner))
            }
            Self::Watch(inner, _)
            | Self::Redispatch(inner, _)
            | Self::Probe(inner, ..)
            | Self::Drain(inner, _)
            | Self::Recheck(inner, ..) => inner.upgrade(),
        };
        if let Some(inner) = inner {
            let effects = self.end_without_worker();
            inner.apply(effects);
        }
    }

    /// Ends a command after the worker has gone, which is after the runtime has: nothing can be
    /// awaited any more, but places come back and nobody waits for ever.
    pub(super) fn end_without_worker(self) -> Effects<M::Connection> {
        match self {
            Self::Close(inner, connection) => inner.closed(&connection),
            Self::Check(inner, connection) => inner.pool.fail_check(
                connection,
                CloseReason::Shutdown,
                inner.context().clock.tick(),
            ),
            Self::Dial(inner, order) => {
                let now = inner.context().clock.tick();
                let lost = DialLoss::Failed { retry_at: now };
                let failure = DialError::<M::Error>::Aborted;
                let text = display_safely(&failure);
                let failure = Some((failure, text));
                let (effects, _) = inner.pool.fail_dial(order, None, lost, failure, now);
                inner.context().occupancy.vacate();
                effects
            }
            Self::Drain(inner, connection) => match (inner.upgrade(), connection.upgrade()) {
                (Some(inner), Some(connection)) => inner.pool.force(&connection),
                _ => Effects::none(),
            },
            Self::Redispatch(..) | Self::Probe(..) | Self::Recheck(..) => Effects::none(),
            // Nobody is left to dial, or to tell a waiter that its time is up.
            Self::Watch(inner, _) => {
                inner.upgrade().map_or_else(Effects::none, |inner| inner.pool.refuse_waiters())
            }
        }
    }
}
