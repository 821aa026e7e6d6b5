//! The line of acquires that wait for an account, first come, first served.
//!
//! Owns the waiters and their order. Who comes next is decided under the account's lock, and without
//! a look at the waiters themselves, which other threads have in their caches. The answer may be given
//! after that lock: if the waiter has left meanwhile, the answer comes back, and goes to the next.
//! Never touches a connection's state.
//!
//! # Orderings
//! A waiter's turn is changed and read under the account's lock only, so that relaxed accesses suffice.
//! What it is given lies behind a lock of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use crate::account_pool::connection::{Connection, Source};
use crate::clock::{Instant, Tick};
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
    /// No dial may begin before this tick, which is beyond its patience.
    Resting {
        until: Tick,
    },
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
    /// The waiter has taken its answer, or has left: it takes none any more.
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
    /// Its turn since it joined.
    turn: AtomicU64,
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
        let (turn, place) = (AtomicU64::new(0), Mutex::new(Place::Waiting(waker)));
        Arc::new(Self { fresh, since, deadline, turn, place })
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

    /// Gives the answer, and gets the waker, which is to be called without a lock; or gets the answer
    /// back, because the waiter has left.
    pub(super) fn answer(&self, served: Served<C, E>) -> Result<Option<Waker>, Served<C, E>> {
        let mut place = self.place.lock();
        match std::mem::replace(&mut *place, Place::Over) {
            Place::Waiting(waker) => {
                *place = Place::Served(served);
                Ok(waker)
            }
            Place::Over => Err(served),
            Place::Served(_) => unreachable!("BUG: a waiter was answered twice"),
        }
    }

    /// The same for one that was in line just now, with the account's lock held since: it cannot have
    /// left.
    fn answer_in_line(&self, served: Served<C, E>) -> Option<Waker> {
        match self.answer(served) {
            Ok(waker) => waker,
            Err(_) => unreachable!("BUG: a waiter leaves under the account's lock"),
        }
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
        match std::mem::replace(&mut *self.place.lock(), Place::Over) {
            Place::Waiting(waker) => Left::Line(waker),
            Place::Served(served) => Left::Served(served),
            Place::Over => Left::Line(None),
        }
    }
}

/// A place in line.
#[derive(Debug)]
struct Turn<C, E> {
    /// They rise from the front to the end of the line.
    number: u64,
    fresh: bool,
    /// Gone if it has left.
    waiter: Option<Arc<Waiter<C, E>>>,
}

/// The line. A turn whose waiter has left is skipped when it comes up, and swept out when over half of
/// the line is such.
#[derive(Debug)]
pub(crate) struct Line<C, E> {
    turns: VecDeque<Turn<C, E>>,
    plain: usize,
    fresh: usize,
    /// The number of the next turn at the end. They begin in the middle: there is room before them for
    /// those that join at the front.
    next: u64,
}

impl<C, E> Line<C, E> {
    pub(crate) fn new() -> Self {
        Self { turns: VecDeque::new(), plain: 0, fresh: 0, next: u64::MAX / 2 }
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
        self.turns.iter().find(|turn| turn.waiter.is_some()).is_some_and(|first| first.fresh)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Since when the first in line has waited. Only one that was served a dead connection, and
    /// so stands at the front again, may have come before another.
    #[cfg(feature = "metrics")]
    pub(crate) fn first_since(&self) -> Option<Instant> {
        self.turns.iter().find_map(|turn| turn.waiter.as_ref()).map(|waiter| waiter.since)
    }

    /// Joins the end, or the front for an acquire that was served a dead connection and must
    /// not lose its turn by that.
    pub(crate) fn join(&mut self, waiter: Arc<Waiter<C, E>>, front: bool) {
        let fresh = waiter.fresh;
        *self.count_of(fresh) += 1;
        let number = match self.turns.front() {
            Some(first) if front => first.number - 1,
            _ => self.next,
        };
        waiter.turn.store(number, Ordering::Relaxed);
        let turn = Turn { number, fresh, waiter: Some(waiter) };
        if number == self.next {
            self.next += 1;
            self.turns.push_back(turn);
        } else {
            self.turns.push_front(turn);
        }
    }

    /// Hands a new connection to whoever comes first. There must be one.
    pub(crate) fn serve_first(&mut self, connection: &Arc<Connection<C>>) -> Option<Waker> {
        let waiter = self.take_first(|_| true).expect("BUG: the count of the line is off");
        if self.turns.is_empty() {
            // Most accounts have a line only until they have a connection.
            self.turns = VecDeque::new();
        }
        waiter.answer_in_line(Ok((Arc::clone(connection), Source::New)))
    }

    /// Hands a connection that served before to the first who takes such. There must be one.
    pub(crate) fn serve_plain(
        &mut self,
        connection: Arc<Connection<C>>,
        source: Source,
    ) -> Option<Waker> {
        self.take_plain().answer_in_line(Ok((connection, source)))
    }

    /// Takes the first out of the line who takes any connection, to be answered at once. There must be
    /// one.
    pub(super) fn take_plain(&mut self) -> Arc<Waiter<C, E>> {
        self.take_first(|fresh| !fresh).expect("BUG: the count of the line is off")
    }

    /// Tells the first in line that its dial failed; gives the failure back if nobody waits.
    pub(crate) fn refuse_first(
        &mut self,
        refusal: Refusal<E>,
    ) -> Result<Option<Waker>, Refusal<E>> {
        match self.take_first(|_| true) {
            Some(waiter) => Ok(waiter.answer_in_line(Err(refusal))),
            None => Err(refusal),
        }
    }

    /// Empties the line.
    pub(crate) fn refuse_all(&mut self, refusal: impl Fn() -> Refusal<E>, wake: &mut Wakers) {
        while let Some(waiter) = self.take_first(|_| true) {
            wake.extend(waiter.answer_in_line(Err(refusal())));
        }
        self.turns.clear();
    }

    /// Refuses whoever has no patience beyond an instant; with `only_fresh` those alone who take only a
    /// new connection.
    pub(crate) fn refuse_impatient(
        &mut self,
        ends: Instant,
        only_fresh: bool,
        refusal: impl Fn() -> Refusal<E>,
        wake: &mut Wakers,
    ) {
        let (mut plain, mut fresh) = (0, 0);
        self.turns.retain(|turn| {
            let Some(waiter) = &turn.waiter else { return false };
            let is_meant = turn.fresh || !only_fresh;
            if is_meant && waiter.deadline.is_some_and(|deadline| deadline <= ends) {
                wake.extend(waiter.answer_in_line(Err(refusal())));
                return false;
            }
            *(if turn.fresh { &mut fresh } else { &mut plain }) += 1;
            true
        });
        (self.plain, self.fresh) = (plain, fresh);
    }

    /// Refuses whoever is due, and says when the next one will be.
    pub(crate) fn expire(&mut self, now: Instant, wake: &mut Wakers) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let (mut plain, mut fresh) = (0, 0);
        self.turns.retain(|turn| {
            let Some(waiter) = &turn.waiter else { return false };
            match waiter.deadline {
                Some(deadline) if deadline <= now => {
                    wake.extend(waiter.answer_in_line(Err(Refusal::Timeout)));
                    return false;
                }
                Some(deadline) => {
                    next = Some(next.map_or(deadline, |earliest| earliest.min(deadline)));
                }
                None => {}
            }
            *(if turn.fresh { &mut fresh } else { &mut plain }) += 1;
            true
        });
        (self.plain, self.fresh) = (plain, fresh);
        next
    }

    /// A waiter gives up, whether it stands in line, has been answered, or is about to be.
    pub(super) fn leave(&mut self, waiter: &Waiter<C, E>) -> Left<C, E> {
        let number = waiter.turn.load(Ordering::Relaxed);
        let found = self.turns.binary_search_by_key(&number, |turn| turn.number);
        let turn = found.ok().and_then(|index| self.turns.get_mut(index));
        // The number may be another's, who joined at the front after this one's turn had come.
        let own =
            turn.and_then(|turn| turn.waiter.take_if(|it| std::ptr::eq(&raw const **it, waiter)));
        if own.is_some() {
            *self.count_of(waiter.fresh) -= 1;
            if self.turns.len() > 2 * self.len() {
                self.turns.retain(|turn| turn.waiter.is_some());
            }
        }
        waiter.leave()
    }

    fn take_first(&mut self, takes: impl Fn(bool) -> bool) -> Option<Arc<Waiter<C, E>>> {
        while self.turns.front().is_some_and(|turn| turn.waiter.is_none()) {
            self.turns.pop_front();
        }
        let turn = if self.turns.front().is_some_and(|first| takes(first.fresh)) {
            self.turns.pop_front()?
        } else {
            let is_it = |turn: &Turn<C, E>| takes(turn.fresh) && turn.waiter.is_some();
            let first = self.turns.iter().position(is_it)?;
            self.turns.remove(first)?
        };
        *self.count_of(turn.fresh) -= 1;
        turn.waiter
    }

    fn count_of(&mut self, fresh: bool) -> &mut usize {
        if fresh { &mut self.fresh } else { &mut self.plain }
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;
    use crate::account_pool::connection::{ConnectionId, Purpose};

    type Place = Arc<Waiter<u32, std::io::Error>>;

    fn joined(line: &mut Line<u32, std::io::Error>, front: bool) -> Place {
        let waiter = Waiter::new(false, crate::clock::now(), None, None);
        line.join(Arc::clone(&waiter), front);
        waiter
    }

    fn answer() -> Served<u32, std::io::Error> {
        let connection = Connection::new(ConnectionId(1), 0, 1, 0, Purpose::Line);
        Ok((Arc::new(connection), Source::Idle))
    }

    #[test]
    fn one_whose_turn_has_come_leaves_without_taking_a_newcomer_along() {
        let mut line = Line::new();
        let first = joined(&mut line, false);
        let second = joined(&mut line, false);
        let taken = line.take_plain();
        // It gets the number that the first had.
        let newcomer = joined(&mut line, true);
        assert!(matches!(line.leave(&first), Left::Line(None)), "it has not been answered");
        assert!(taken.answer(answer()).is_err(), "the answer comes back, and goes to the next");
        assert_eq!(line.plain(), 2);
        for next in [newcomer, second] {
            assert!(Arc::ptr_eq(&line.take_plain(), &next), "nobody else has lost the turn");
        }
        assert!(line.is_empty());
    }

    #[test]
    fn turns_keep_their_order_whoever_leaves() {
        let mut line = Line::new();
        let mut waiters: Vec<_> = (0..8).map(|_| joined(&mut line, false)).collect();
        waiters.insert(0, joined(&mut line, true));
        // More than half of them, so that the line is swept.
        for index in [7, 5, 4, 2, 1] {
            let gone = waiters.remove(index);
            assert!(matches!(line.leave(&gone), Left::Line(None)));
            assert!(matches!(line.leave(&gone), Left::Line(None)), "once more changes nothing");
        }
        assert_eq!((line.plain(), line.turns.len()), (4, 4));
        for next in waiters {
            assert!(Arc::ptr_eq(&line.take_plain(), &next));
        }
        assert!(line.is_empty());
    }
}
