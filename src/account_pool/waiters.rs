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
use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use crate::account_pool::connection::{Connection, Source};
use crate::account_pool::handed::{Expiry, Recipient};
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
    /// Its deadline has passed, and it has not seen that yet.
    Expired,
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
    /// Where the acquire was begun.
    site: &'static Location<'static>,
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
        site: &'static Location<'static>,
        waker: Option<Waker>,
    ) -> Arc<Self> {
        let (turn, place) = (AtomicU64::new(0), Mutex::new(Place::Waiting(waker)));
        Arc::new(Self { fresh, since, deadline, site, turn, place })
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
            Place::Served(_) | Place::Expired => {
                match std::mem::replace(&mut *place, Place::Over) {
                    Place::Served(served) => Some(Poll::Ready(served)),
                    Place::Expired => Some(Poll::Ready(Err(Refusal::Timeout))),
                    Place::Waiting(_) | Place::Over => {
                        unreachable!("BUG: the place was just read")
                    }
                }
            }
            Place::Over => unreachable!("BUG: a waiter was polled after its answer"),
        }
    }

    /// Gives the answer, and gets the waker, which is to be called without a lock; or gets the answer
    /// back, because the waiter has left, or its deadline has passed.
    pub(super) fn answer(&self, served: Served<C, E>) -> Result<Option<Waker>, Served<C, E>> {
        let mut place = self.place.lock();
        match std::mem::replace(&mut *place, Place::Over) {
            Place::Waiting(waker) => {
                *place = Place::Served(served);
                Ok(waker)
            }
            Place::Over => Err(served),
            Place::Expired => {
                *place = Place::Expired;
                Err(served)
            }
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
            Place::Waiting(_) | Place::Expired | Place::Over => None,
        }
    }

    /// Ends the wait.
    fn leave(&self) -> Left<C, E> {
        match std::mem::replace(&mut *self.place.lock(), Place::Over) {
            Place::Waiting(waker) => Left::Line(waker),
            Place::Served(served) => Left::Served(served),
            Place::Expired | Place::Over => Left::Line(None),
        }
    }
}

impl<C: Send + Sync, E: Send> Recipient<C> for Waiter<C, E> {
    fn site(&self) -> &'static Location<'static> {
        self.site
    }

    fn has_not_taken(&self) -> bool {
        matches!(*self.place.lock(), Place::Waiting(_) | Place::Served(_))
    }

    fn expire(&self, now: Instant) -> Expiry<C> {
        let mut place = self.place.lock();
        let is_due = self.deadline.is_some_and(|deadline| deadline <= now);
        match &*place {
            Place::Expired | Place::Over => Expiry::Over,
            Place::Waiting(_) | Place::Served(_) if !is_due => Expiry::Pending(self.deadline),
            Place::Waiting(_) | Place::Served(_) => {
                match std::mem::replace(&mut *place, Place::Expired) {
                    Place::Waiting(waker) => Expiry::Expired(None, waker),
                    Place::Served(Ok((connection, _))) => Expiry::Expired(Some(connection), None),
                    Place::Served(Err(_)) | Place::Expired | Place::Over => {
                        unreachable!("BUG: it was handed something else than a lease")
                    }
                }
            }
        }
    }
}

/// One who stands in line, twice: to be answered, and to be remembered by the connection whose lease it
/// is handed. Both are made, and the site is copied, while the waiter is in the cache of its own thread.
#[derive(Debug)]
pub(super) struct Standing<C, E> {
    waiter: Arc<Waiter<C, E>>,
    recipient: Arc<dyn Recipient<C>>,
    site: &'static Location<'static>,
}

impl<C, E> Standing<C, E> {
    pub(super) fn new(waiter: &Arc<Waiter<C, E>>) -> Self
    where
        C: Send + Sync + 'static,
        E: Send + 'static,
    {
        let recipient: Arc<dyn Recipient<C>> = Arc::<Waiter<C, E>>::clone(waiter);
        Self { waiter: Arc::clone(waiter), recipient, site: waiter.site }
    }

    /// Notes with a connection that its lease goes to this one, who is to be answered next. Under the
    /// account's lock: whoever has left the line, and is not noted, has no deadline any more.
    pub(super) fn note(
        self,
        connection: &Connection<C>,
        source: Source,
        now: Tick,
    ) -> Arc<Waiter<C, E>> {
        connection.note_handed(self.recipient, self.site, source, now);
        self.waiter
    }

    /// Hands a lease to one that was in line just now, with the account's lock held since.
    fn serve(self, connection: Arc<Connection<C>>, source: Source, now: Tick) -> Option<Waker> {
        self.note(&connection, source, now).answer_in_line(Ok((connection, source)))
    }
}

/// A place in line.
#[derive(Debug)]
struct Turn<C, E> {
    /// They rise from the front to the end of the line.
    number: u64,
    fresh: bool,
    /// Gone if it has left.
    standing: Option<Standing<C, E>>,
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
        self.turns.iter().find(|turn| turn.standing.is_some()).is_some_and(|first| first.fresh)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Since when the first in line has waited. Only one that was served a dead connection, and
    /// so stands at the front again, may have come before another.
    #[cfg(feature = "metrics")]
    pub(crate) fn first_since(&self) -> Option<Instant> {
        self.turns.iter().find_map(|turn| turn.standing.as_ref()).map(|it| it.waiter.since)
    }

    /// Joins the end, or the front for an acquire that was served a dead connection and must
    /// not lose its turn by that.
    pub(super) fn join(&mut self, standing: Standing<C, E>, front: bool) {
        let fresh = standing.waiter.fresh;
        *self.count_of(fresh) += 1;
        let number = match self.turns.front() {
            Some(first) if front => first.number - 1,
            _ => self.next,
        };
        standing.waiter.turn.store(number, Ordering::Relaxed);
        let turn = Turn { number, fresh, standing: Some(standing) };
        if number == self.next {
            self.next += 1;
            self.turns.push_back(turn);
        } else {
            self.turns.push_front(turn);
        }
    }

    /// Hands a new connection to whoever comes first. There must be one.
    pub(super) fn serve_first(
        &mut self,
        connection: &Arc<Connection<C>>,
        now: Tick,
    ) -> Option<Waker> {
        let first = self.take_first(|_| true).expect("BUG: the count of the line is off");
        if self.turns.is_empty() {
            // Most accounts have a line only until they have a connection.
            self.turns = VecDeque::new();
        }
        first.serve(Arc::clone(connection), Source::New, now)
    }

    /// Hands a connection that served before to the first who takes such. There must be one.
    pub(super) fn serve_plain(
        &mut self,
        connection: Arc<Connection<C>>,
        source: Source,
        now: Tick,
    ) -> Option<Waker> {
        self.take_plain().serve(connection, source, now)
    }

    /// Takes the first out of the line who takes any connection, to be answered at once. There must be
    /// one.
    pub(super) fn take_plain(&mut self) -> Standing<C, E> {
        self.take_first(|fresh| !fresh).expect("BUG: the count of the line is off")
    }

    /// Tells the first in line that its dial failed; gives the failure back if nobody waits.
    pub(crate) fn refuse_first(
        &mut self,
        refusal: Refusal<E>,
    ) -> Result<Option<Waker>, Refusal<E>> {
        match self.take_first(|_| true) {
            Some(first) => Ok(first.waiter.answer_in_line(Err(refusal))),
            None => Err(refusal),
        }
    }

    /// Empties the line.
    pub(crate) fn refuse_all(&mut self, refusal: impl Fn() -> Refusal<E>, wake: &mut Wakers) {
        while let Some(first) = self.take_first(|_| true) {
            wake.extend(first.waiter.answer_in_line(Err(refusal())));
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
        self.dismiss(
            |waiter| {
                let is_meant = waiter.fresh || !only_fresh;
                is_meant && waiter.deadline.is_some_and(|deadline| deadline <= ends)
            },
            refusal,
            wake,
        );
    }

    /// Refuses whoever is due, and says when the next one will be.
    pub(crate) fn expire(&mut self, now: Instant, wake: &mut Wakers) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let is_due = |waiter: &Waiter<C, E>| {
            let is_due = waiter.deadline.is_some_and(|deadline| deadline <= now);
            if !is_due {
                next = [next, waiter.deadline].into_iter().flatten().min();
            }
            is_due
        };
        self.dismiss(is_due, || Refusal::Timeout, wake);
        next
    }

    /// Refuses those of whom it says so, each asked once.
    fn dismiss(
        &mut self,
        mut is_meant: impl FnMut(&Waiter<C, E>) -> bool,
        refusal: impl Fn() -> Refusal<E>,
        wake: &mut Wakers,
    ) {
        let (mut plain, mut fresh) = (0, 0);
        self.turns.retain_mut(|turn| {
            if let Some(standing) = turn.standing.take_if(|it| is_meant(&it.waiter)) {
                wake.extend(standing.waiter.answer_in_line(Err(refusal())));
            }
            let stays = turn.standing.is_some();
            *(if turn.fresh { &mut fresh } else { &mut plain }) += usize::from(stays);
            stays
        });
        (self.plain, self.fresh) = (plain, fresh);
    }

    /// A waiter gives up, whether it stands in line, has been answered, or is about to be.
    pub(super) fn leave(&mut self, waiter: &Waiter<C, E>) -> Left<C, E> {
        let number = waiter.turn.load(Ordering::Relaxed);
        let found = self.turns.binary_search_by_key(&number, |turn| turn.number);
        let turn = found.ok().and_then(|index| self.turns.get_mut(index));
        // The number may be another's, who joined at the front after this one's turn had come.
        let is_own = |it: &mut Standing<C, E>| std::ptr::eq(&raw const *it.waiter, waiter);
        let own = turn.and_then(|turn| turn.standing.take_if(is_own));
        if own.is_some() {
            *self.count_of(waiter.fresh) -= 1;
            if self.turns.len() > 2 * self.len() {
                self.turns.retain(|turn| turn.standing.is_some());
            }
        }
        waiter.leave()
    }

    fn take_first(&mut self, takes: impl Fn(bool) -> bool) -> Option<Standing<C, E>> {
        while self.turns.front().is_some_and(|turn| turn.standing.is_none()) {
            self.turns.pop_front();
        }
        let turn = if self.turns.front().is_some_and(|first| takes(first.fresh)) {
            self.turns.pop_front()?
        } else {
            let is_it = |turn: &Turn<C, E>| takes(turn.fresh) && turn.standing.is_some();
            let first = self.turns.iter().position(is_it)?;
            self.turns.remove(first)?
        };
        *self.count_of(turn.fresh) -= 1;
        turn.standing
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
        let waiter = Waiter::new(false, crate::clock::now(), None, Location::caller(), None);
        line.join(Standing::new(&waiter), front);
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
        assert!(
            taken.waiter.answer(answer()).is_err(),
            "the answer comes back, and goes to the next"
        );
        assert_eq!(line.plain(), 2);
        for next in [newcomer, second] {
            assert!(Arc::ptr_eq(&line.take_plain().waiter, &next), "nobody else has lost the turn");
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
            assert!(Arc::ptr_eq(&line.take_plain().waiter, &next));
        }
        assert!(line.is_empty());
    }
}
