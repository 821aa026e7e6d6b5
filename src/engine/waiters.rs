//! An acquire that waits for an account, and the answer that it gets.
//!
//! Owns the answer until it is taken. It may be given without the account's lock: if
//! the waiter has left meanwhile, or its deadline has passed, the answer comes back, and goes to the
//! next. Never touches a connection's state.
//!
//! # Orderings
//! A waiter's ticket is changed and read under the account's lock only, so that relaxed accesses suffice.
//! What it is given lies behind a lock of its own.

use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use crate::base::clock::{Instant, Tick};
use crate::base::sync::{AtomicU64, Mutex};
use crate::connection::Source;
use crate::engine::connection::Connection;
use crate::engine::handed::{Expiry, Recipient};
use crate::engine::health::Unready;
use crate::error::DialError;
use crate::manager::QuarantineReason;

/// Why a waiter leaves without a connection.
#[derive(Debug)]
pub(crate) enum WaitRefusal<E> {
    Closed,
    Draining,
    NoSession,
    Quarantined(QuarantineReason),
    /// No dial may begin before this tick, which is beyond its patience.
    Resting {
        until: Tick,
    },
    Timeout,
    Dial(DialError<E>),
}

impl<E> From<Unready> for WaitRefusal<E> {
    fn from(unready: Unready) -> Self {
        match unready {
            Unready::Closed => Self::Closed,
            Unready::Draining => Self::Draining,
            Unready::NoSession => Self::NoSession,
            Unready::Quarantined(reason) => Self::Quarantined(reason),
        }
    }
}

/// Whom a step has to wake: as a rule one.
pub(crate) type Wakers = SmallVec<[Waker; 1]>;

/// What a waiter gets.
pub(crate) type Served<C, E> = Result<(Arc<Connection<C>>, Source), WaitRefusal<E>>;

#[derive(Debug)]
enum WaitState<C, E> {
    Waiting(Option<Waker>),
    Served(Served<C, E>),
    /// Its deadline has passed, and it has not seen that yet.
    Expired,
    /// The waiter has taken its answer, or has left: it takes none any more.
    Over,
}

/// What a waiter leaves behind. To be dropped without a lock.
pub(super) enum Cancelled<C, E> {
    /// A wait without an answer, and the waker that nobody called.
    Waiting(Option<Waker>),
    /// What it had been given.
    Served(Served<C, E>),
}

/// One acquire that waits.
#[derive(Debug)]
pub(crate) struct Waiter<C, E> {
    /// Takes nothing but a connection that was dialled after it came.
    pub(super) fresh: bool,
    /// When it began to wait.
    pub(super) since: Instant,
    pub(super) deadline: Option<Instant>,
    /// Where the acquire was begun.
    pub(super) site: &'static Location<'static>,
    /// The number of its ticket in the queue.
    pub(super) ticket: AtomicU64,
    state: Mutex<WaitState<C, E>>,
}

impl<C, E> Waiter<C, E> {
    /// Somebody who has waited since an instant, at most until the deadline, and is to be told of
    /// the answer by `waker`.
    pub(crate) fn new(
        fresh: bool,
        since: Instant,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
        waker: Option<Waker>,
    ) -> Arc<Self> {
        let (ticket, state) = (AtomicU64::new(0), Mutex::new(WaitState::Waiting(waker)));
        Arc::new(Self { fresh, since, deadline, site, ticket, state })
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes the answer, or leaves the waker to be called when there is one.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Served<C, E>> {
        if let Some(settled) = self.try_poll(context.waker()) {
            return settled;
        }
        // A waker is somebody else's code, and what it holds as well: cloned and dropped without
        // the lock.
        let new = context.waker().clone();
        let mut state = self.state.lock();
        if let WaitState::Waiting(waker) = &mut *state {
            let old = waker.replace(new);
            drop(state);
            drop(old);
            return Poll::Pending;
        }
        drop(state);
        // Before the answer is taken: if this panics, the answer is still there.
        drop(new);
        self.try_poll(context.waker()).expect("BUG: an answer stays until it is taken")
    }

    /// Takes the answer, or finds that the waker is the right one; `None` if it is another.
    fn try_poll(&self, waker: &Waker) -> Option<Poll<Served<C, E>>> {
        let mut state = self.state.lock();
        match &*state {
            WaitState::Waiting(Some(known)) if known.will_wake(waker) => Some(Poll::Pending),
            WaitState::Waiting(_) => None,
            WaitState::Served(_) | WaitState::Expired => {
                match std::mem::replace(&mut *state, WaitState::Over) {
                    WaitState::Served(served) => Some(Poll::Ready(served)),
                    WaitState::Expired => Some(Poll::Ready(Err(WaitRefusal::Timeout))),
                    WaitState::Waiting(_) | WaitState::Over => {
                        unreachable!("BUG: the state was just read")
                    }
                }
            }
            WaitState::Over => unreachable!("BUG: a waiter was polled after its answer"),
        }
    }

    /// Gives the answer, and gets the waker, which is to be called without a lock; or gets the answer
    /// back, because the waiter has left, or its deadline has passed.
    pub(super) fn answer(&self, served: Served<C, E>) -> Result<Option<Waker>, Served<C, E>> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, WaitState::Over) {
            WaitState::Waiting(waker) => {
                *state = WaitState::Served(served);
                Ok(waker)
            }
            WaitState::Over => Err(served),
            WaitState::Expired => {
                *state = WaitState::Expired;
                Err(served)
            }
            WaitState::Served(_) => unreachable!("BUG: a waiter was answered twice"),
        }
    }

    /// The same for one that was queued just now, with the account's lock held since: it cannot have
    /// left.
    pub(super) fn answer_queued(&self, served: Served<C, E>) -> Option<Waker> {
        match self.answer(served) {
            Ok(waker) => waker,
            Err(_) => unreachable!("BUG: a waiter leaves under the account's lock"),
        }
    }

    /// Looks at the answer, if there is one, and leaves it for the waiter to take.
    #[cfg(all(any(test, fuzzing), not(pool_loom)))]
    pub(super) fn peek<R>(&self, look: impl FnOnce(&Served<C, E>) -> R) -> Option<R> {
        match &*self.state.lock() {
            WaitState::Served(served) => Some(look(served)),
            WaitState::Waiting(_) | WaitState::Expired | WaitState::Over => None,
        }
    }

    /// Ends the wait.
    pub(super) fn cancel(&self) -> Cancelled<C, E> {
        match std::mem::replace(&mut *self.state.lock(), WaitState::Over) {
            WaitState::Waiting(waker) => Cancelled::Waiting(waker),
            WaitState::Served(served) => Cancelled::Served(served),
            WaitState::Expired | WaitState::Over => Cancelled::Waiting(None),
        }
    }
}

impl<C: Send + Sync, E: Send> Recipient<C> for Waiter<C, E> {
    fn site(&self) -> &'static Location<'static> {
        self.site
    }

    fn has_not_taken(&self) -> bool {
        matches!(*self.state.lock(), WaitState::Waiting(_) | WaitState::Served(_))
    }

    fn expire(&self, now: Instant) -> Expiry<C> {
        let mut state = self.state.lock();
        let is_due = self.deadline.is_some_and(|deadline| deadline <= now);
        match &*state {
            WaitState::Expired | WaitState::Over => Expiry::Over,
            WaitState::Waiting(_) | WaitState::Served(_) if !is_due => {
                Expiry::Pending(self.deadline)
            }
            WaitState::Waiting(_) | WaitState::Served(_) => {
                match std::mem::replace(&mut *state, WaitState::Expired) {
                    WaitState::Waiting(waker) => Expiry::Expired(None, waker),
                    WaitState::Served(Ok((connection, _))) => {
                        Expiry::Expired(Some(connection), None)
                    }
                    WaitState::Served(Err(_)) | WaitState::Expired | WaitState::Over => {
                        unreachable!("BUG: it was handed something else than a lease")
                    }
                }
            }
        }
    }
}
