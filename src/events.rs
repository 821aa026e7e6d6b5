//! What happens in a pool, told to whoever listens.
//!
//! Owns [`Event`] and its broadcast. A listener that is slow loses the oldest events and is told
//! how many; one that panics loses that event. Neither ever delays the pool. Acquires and
//! releases are no events: they are counted.

mod describe;

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::broadcast;

pub use self::describe::EventLevel;
use crate::account_id::AccountId;
use crate::connection::{CloseReason, ConnectionId};
use crate::manager::{ErrorKind, QuarantineReason};

/// What a caller has called back with every event.
pub(crate) type Callback = Box<dyn Fn(&Event) + Send>;

/// How many events a listener may fall behind before it loses the oldest.
const BACKLOG: usize = 1024;

/// Something that happened. Holds no secret: accounts print masked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The pool met an account.
    AccountOpened {
        /// Which.
        account: AccountId,
    },
    /// The pool forgot an account that had no connection left.
    AccountClosed {
        /// Which.
        account: AccountId,
    },
    /// A connection was opened.
    ConnectionOpened {
        /// Whose.
        account: AccountId,
        /// Its name.
        id: ConnectionId,
        /// The session that it belongs to.
        slot: u16,
        /// How long the connect took.
        took: Duration,
    },
    /// A connection was closed.
    ConnectionClosed {
        /// Whose.
        account: AccountId,
        /// Its name.
        id: ConnectionId,
        /// Why.
        reason: CloseReason,
        /// How many leases it had served.
        uses: u64,
    },
    /// The account has no connection left, and somebody reads its updates: those that come now are late, until its
    /// next connection has fetched them.
    UpdatesInterrupted {
        /// Whose.
        account: AccountId,
        /// Why its last connection was closed.
        reason: CloseReason,
    },
    /// A connection could not be opened.
    DialFailed {
        /// Whose.
        account: AccountId,
        /// The session that was dialled.
        slot: u16,
        /// What went wrong.
        error: Arc<str>,
        /// The earliest next try; of a suspect session, [`probe_after`](crate::HealthConfig).
        retry_in: Duration,
    },
    /// An address does not answer: the dials of several accounts have failed. One at a time tries it
    /// again.
    AddressDown {
        /// Which, as the manager names it.
        address: Arc<str>,
        /// What went wrong last.
        error: Arc<str>,
    },
    /// An address that was down answers again.
    AddressUp {
        /// Which.
        address: Arc<str>,
    },
    /// A borrower reported an error of its connection, or a check found one.
    ConnectionError {
        /// Whose.
        account: AccountId,
        /// The connection.
        id: ConnectionId,
        /// Its class.
        kind: ErrorKind,
        /// What went wrong.
        error: Arc<str>,
    },
    /// An acquire waited for longer than `watch.slow_acquire`, and then got its lease.
    SlowAcquire {
        /// Whose.
        account: AccountId,
        /// How long.
        waited: Duration,
        /// Where it was called.
        site: &'static Location<'static>,
    },
    /// A lease has been held for longer than `watch.held_lease`: it may have been forgotten. Told
    /// once for each, by the reaper at its next look: up to `pool.max_idle_time` and a
    /// `pool.cleanup_interval` late.
    LeaseHeld {
        /// Whose.
        account: AccountId,
        /// Which connection.
        id: ConnectionId,
        /// How long; if leases share the connection, since the last one came.
        held: Duration,
        /// Where the first of the leases held now was acquired.
        site: Option<&'static Location<'static>>,
    },
    /// The server makes one method of the account wait; if a dial was told so, every dial of it.
    FloodWait {
        /// Whose.
        account: AccountId,
        /// The method (Telegram: the constructor id).
        key: u32,
        /// For how long.
        wait: Duration,
    },
    /// The server limits the account in a way that no waiting mends.
    Restricted {
        /// Whose.
        account: AccountId,
        /// What it said.
        error: Arc<str>,
    },
    /// A session, or with `slot: None` every session of the account, is out of service until an
    /// operator reinstates it.
    Quarantined {
        /// Whose.
        account: AccountId,
        /// Which session.
        slot: Option<u16>,
        /// Why.
        reason: QuarantineReason,
    },
    /// The server knows a suspect session again: it serves.
    Cleared {
        /// Whose.
        account: AccountId,
        /// Which session.
        slot: u16,
    },
    /// An operator takes the account out of service.
    Draining {
        /// Whose.
        account: AccountId,
    },
    /// An operator has the account's acquires wait.
    Paused {
        /// Whose.
        account: AccountId,
    },
    /// An operator has ended the account's pause.
    Resumed {
        /// Whose.
        account: AccountId,
    },
    /// An operator has put the account back into service.
    Reinstated {
        /// Whose.
        account: AccountId,
    },
    /// Somebody operated the pool: who, and what was asked for. What came of it is told by the events
    /// beside this one.
    Operation {
        /// What: `pause`, `close_connection`, and so on.
        operation: &'static str,
        /// The account that it concerns.
        account: Option<AccountId>,
        /// The connection that it concerns.
        connection: Option<ConnectionId>,
        /// Who, as the interface by which they came names them.
        by: Arc<str>,
        /// Why, or what else belongs to it.
        detail: Option<Arc<str>>,
    },
    /// The configuration was swapped.
    Reconfigured,
    /// The pool closes.
    Closing,
}

/// The broadcast. Its backlog takes about 100 kB, which nobody pays who does not listen.
#[derive(Debug)]
pub(crate) struct Events(OnceLock<broadcast::Sender<Event>>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Tells the listeners, if there are any.
    pub(crate) fn emit(&self, event: impl FnOnce() -> Event) {
        if let Some(sender) = self.0.get().filter(|sender| sender.receiver_count() > 0) {
            // The only error is that the last listener has just left. Its waker is somebody else's
            // code, and what is told of is half done: a panic must not cut it short.
            let tell = AssertUnwindSafe(|| sender.send(event()).ok());
            drop(catch_unwind(tell));
        }
    }

    pub(crate) fn stream(&self) -> EventStream {
        let sender = self.0.get_or_init(|| broadcast::Sender::new(BACKLOG));
        EventStream { receiver: sender.subscribe(), missed: 0 }
    }
}

/// A listener's place in the stream of events.
#[derive(Debug)]
pub struct EventStream {
    receiver: broadcast::Receiver<Event>,
    missed: u64,
}

impl EventStream {
    /// The next event, or `None` once the pool is gone.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(count)) => self.missed += count,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// How many events this listener has lost because it was too slow.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}
