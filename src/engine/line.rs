//! The line of acquires that wait for an account, first come, first served.
//!
//! Owns their order. Who comes next is decided under the account's lock, and without a look at the
//! waiters themselves, which other threads have in their caches.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;

use crate::base::clock::{Instant, Tick};
use crate::base::sync::Ordering;
use crate::connection::Source;
use crate::engine::connection::Connection;
use crate::engine::handed::Recipient;
use crate::engine::waiters::{Left, Refusal, Waiter, Wakers};

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
    use crate::connection::ConnectionId;
    use crate::engine::connection::Purpose;
    use crate::engine::waiters::Served;

    type Place = Arc<Waiter<u32, std::io::Error>>;

    fn joined(line: &mut Line<u32, std::io::Error>, front: bool) -> Place {
        let waiter = Waiter::new(false, crate::base::clock::now(), None, Location::caller(), None);
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
