//! The line of acquires that wait for an account, first come, first served.
//!
//! Owns the waiters and their order. Every change happens under the account's lock; only a
//! waiter's own cell is read without it, by the waiter. Never touches a connection's state.
//!
//! # Orderings
//! Whether a waiter stands in line is changed and read under the account's lock only, so that
//! relaxed accesses suffice. What it is given lies behind a lock of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use crate::account_pool::connection::{Connection, Source};
use crate::clock::Instant;
use crate::error::DialError;
use crate::health::Unready;
use crate::manager::QuarantineReason;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Why a waiter leaves without a connection.
#[derive(Debug)]
pub(crate) enum Refusal<E> {
    Closed,
    Draining,
    NoSession,
    Quarantined(QuarantineReason),
    Timeout,
    Dial(DialError<E>),
}

impl<E> From<Unready> for Refusal<E> {
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
pub(crate) type Served<C, E> = Result<(Arc<Connection<C>>, Source), Refusal<E>>;

#[derive(Debug)]
enum Place<C, E> {
    Waiting(Option<Waker>),
    Served(Served<C, E>),
    /// The waiter has taken its answer, or has left.
    Over,
}

/// What a waiter leaves behind. To be dropped without a lock.
pub(super) enum Left<C, E> {
    /// Its place in line, and the waker that nobody called.
    Line(Option<Waker>),
    /// What it had been given.
    Served(Served<C, E>),
}

/// One acquire in the line.
#[derive(Debug)]
pub(crate) struct Waiter<C, E> {
    /// Takes nothing but a connection that was dialled after it came.
    fresh: bool,
    /// When it began to wait.
    #[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "only exported"))]
    since: Instant,
    deadline: Option<Instant>,
    /// One while it stands in line.
    stands: AtomicU64,
    place: Mutex<Place<C, E>>,
}

impl<C, E> Waiter<C, E> {
    /// Somebody who has waited since an instant, at most until the deadline, and is to be told of
    /// the answer by `waker`.
    pub(crate) fn new(
        fresh: bool,
        since: Instant,
        deadline: Option<Instant>,
        waker: Option<Waker>,
    ) -> Arc<Self> {
        let (stands, place) = (AtomicU64::new(1), Mutex::new(Place::Waiting(waker)));
        Arc::new(Self { fresh, since, deadline, stands, place })
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes the answer, or leaves the waker to be called when there is one.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Served<C, E>> {
        if let Some(settled) = self.look(context.waker()) {
            return settled;
        }
        // A waker is somebody else's code, and what it holds as well: cloned and dropped without
        // the lock.
        let new = context.waker().clone();
        let mut place = self.place.lock();
        if let Place::Waiting(waker) = &mut *place {
            let old = waker.replace(new);
            drop(place);
            drop(old);
            return Poll::Pending;
        }
        drop(place);
        // Before the answer is taken: if this panics, the answer is still there.
        drop(new);
        self.look(context.waker()).expect("BUG: an answer stays until it is taken")
    }

    /// Takes the answer, or finds that the waker is the right one; `None` if it is another.
    fn look(&self, waker: &Waker) -> Option<Poll<Served<C, E>>> {
        let mut place = self.place.lock();
        match &*place {
            Place::Waiting(Some(known)) if known.will_wake(waker) => Some(Poll::Pending),
            Place::Waiting(_) => None,
            Place::Served(_) => match std::mem::replace(&mut *place, Place::Over) {
                Place::Served(served) => Some(Poll::Ready(served)),
                Place::Waiting(_) | Place::Over => unreachable!("BUG: the place was just read"),
            },
            Place::Over => unreachable!("BUG: a waiter was polled after its answer"),
        }
    }

    /// Gives the answer; the waker is to be called without a lock.
    fn answer(&self, served: Served<C, E>) -> Option<Waker> {
        self.stands.store(0, Ordering::Relaxed);
        let mut place = self.place.lock();
        match std::mem::replace(&mut *place, Place::Served(served)) {
            Place::Waiting(waker) => waker,
            Place::Served(_) | Place::Over => unreachable!("BUG: a waiter was answered twice"),
        }
    }

    fn is_waiting(&self) -> bool {
        self.stands.load(Ordering::Relaxed) != 0
    }

    /// Looks at the answer, if there is one, and leaves it for the waiter to take.
    #[cfg(all(any(test, fuzzing), not(pool_loom)))]
    pub(super) fn peek<R>(&self, look: impl FnOnce(&Served<C, E>) -> R) -> Option<R> {
        match &*self.place.lock() {
            Place::Served(served) => Some(look(served)),
            Place::Waiting(_) | Place::Over => None,
        }
    }

    /// Ends the wait.
    fn leave(&self) -> Left<C, E> {
        self.stands.store(0, Ordering::Relaxed);
        match std::mem::replace(&mut *self.place.lock(), Place::Over) {
            Place::Waiting(waker) => Left::Line(waker),
            Place::Served(served) => Left::Served(served),
            Place::Over => Left::Line(None),
        }
    }
}

/// The line. An entry whose waiter has gone is skipped when it comes up, and swept out when
/// over half of the line is such.
#[derive(Debug)]
pub(crate) struct Line<C, E> {
    entries: VecDeque<Arc<Waiter<C, E>>>,
    plain: usize,
    fresh: usize,
}

impl<C, E> Line<C, E> {
    pub(crate) fn new() -> Self {
        Self { entries: VecDeque::new(), plain: 0, fresh: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.plain + self.fresh
    }

    /// Waiters that take any connection.
    pub(crate) fn plain(&self) -> usize {
        self.plain
    }

    /// Waiters that take a new connection only.
    pub(crate) fn fresh(&self) -> usize {
        self.fresh
    }

    /// Whether the next connection of any kind falls to a waiter that takes only a new one.
    pub(crate) fn fresh_is_first(&self) -> bool {
        self.entries.iter().find(|waiter| waiter.is_waiting()).is_some_and(|first| first.fresh)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Since when the first in line has waited. Only one that was served a dead connection, and
    /// so stands at the front again, may have come before another.
    #[cfg(feature = "metrics")]
    pub(crate) fn first_since(&self) -> Option<Instant> {
        self.entries.iter().find(|waiter| waiter.is_waiting()).map(|waiter| waiter.since)
    }

    /// Joins the end, or the front for an acquire that was served a dead connection and must
    /// not lose its turn by that.
    pub(crate) fn join(&mut self, waiter: Arc<Waiter<C, E>>, front: bool) {
        *self.count_of(&waiter) += 1;
        if front {
            self.entries.push_front(waiter);
        } else {
            self.entries.push_back(waiter);
        }
    }

    /// Hands a new connection to whoever comes first. There must be one.
    pub(crate) fn serve_first(&mut self, connection: &Arc<Connection<C>>) -> Option<Waker> {
        let waiter = self.take_first(|_| true).expect("BUG: the count of the line is off");
        waiter.answer(Ok((Arc::clone(connection), Source::New)))
    }

    /// Hands a connection that served before to the first who takes such. There must be one.
    pub(crate) fn serve_plain(
        &mut self,
        connection: Arc<Connection<C>>,
        source: Source,
    ) -> Option<Waker> {
        let waiter =
            self.take_first(|waiter| !waiter.fresh).expect("BUG: the count of the line is off");
        waiter.answer(Ok((connection, source)))
    }

    /// Tells the first in line that its dial failed; gives the failure back if nobody waits.
    pub(crate) fn refuse_first(
        &mut self,
        refusal: Refusal<E>,
    ) -> Result<Option<Waker>, Refusal<E>> {
        match self.take_first(|_| true) {
            Some(waiter) => Ok(waiter.answer(Err(refusal))),
            None => Err(refusal),
        }
    }

    /// Empties the line.
    pub(crate) fn refuse_all(&mut self, refusal: impl Fn() -> Refusal<E>, wake: &mut Wakers) {
        while let Some(waiter) = self.take_first(|_| true) {
            wake.extend(waiter.answer(Err(refusal())));
        }
        self.entries.clear();
    }

    /// Refuses whoever is due, and says when the next one will be.
    pub(crate) fn expire(&mut self, now: Instant, wake: &mut Wakers) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let (mut plain, mut fresh) = (0, 0);
        self.entries.retain(|waiter| {
            if !waiter.is_waiting() {
                return false;
            }
            match waiter.deadline {
                Some(deadline) if deadline <= now => {
                    wake.extend(waiter.answer(Err(Refusal::Timeout)));
                    return false;
                }
                Some(deadline) => {
                    next = Some(next.map_or(deadline, |earliest| earliest.min(deadline)));
                }
                None => {}
            }
            *(if waiter.fresh { &mut fresh } else { &mut plain }) += 1;
            true
        });
        (self.plain, self.fresh) = (plain, fresh);
        next
    }

    /// A waiter gives up.
    pub(super) fn leave(&mut self, waiter: &Arc<Waiter<C, E>>) -> Left<C, E> {
        let stood = waiter.is_waiting();
        let left = waiter.leave();
        if stood {
            *self.count_of(waiter) -= 1;
            if self.entries.len() > 2 * self.len() {
                self.entries.retain(|waiter| waiter.is_waiting());
            }
        }
        left
    }

    fn take_first(&mut self, takes: impl Fn(&Waiter<C, E>) -> bool) -> Option<Arc<Waiter<C, E>>> {
        while self.entries.front().is_some_and(|waiter| !waiter.is_waiting()) {
            self.entries.pop_front();
        }
        let waiter = if self.entries.front().is_some_and(|first| takes(first)) {
            self.entries.pop_front()?
        } else {
            let is_it = |waiter: &Arc<Waiter<C, E>>| takes(waiter) && waiter.is_waiting();
            let first = self.entries.iter().position(is_it)?;
            self.entries.remove(first)?
        };
        *self.count_of(&waiter) -= 1;
        Some(waiter)
    }

    fn count_of(&mut self, waiter: &Waiter<C, E>) -> &mut usize {
        if waiter.fresh { &mut self.fresh } else { &mut self.plain }
    }
}
