//! The wait queue of an account's acquires, first come, first served.
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
use crate::engine::waiters::{Cancelled, WaitRefusal, Waiter, Wakers};

/// A waiter as the queue holds it, twice: to be answered, and to be remembered by the connection whose
/// lease it is handed. Both are made, and the site is copied, while the waiter is in the cache of its own
/// thread.
#[derive(Debug)]
pub(super) struct Queued<C, E> {
    waiter: Arc<Waiter<C, E>>,
    recipient: Arc<dyn Recipient<C>>,
    site: &'static Location<'static>,
}

impl<C, E> Queued<C, E> {
    pub(super) fn new(waiter: &Arc<Waiter<C, E>>) -> Self
    where
        C: Send + Sync + 'static,
        E: Send + 'static,
    {
        let recipient: Arc<dyn Recipient<C>> = Arc::<Waiter<C, E>>::clone(waiter);
        Self { waiter: Arc::clone(waiter), recipient, site: waiter.site }
    }

    /// Notes with a connection that its lease goes to this one, who is to be answered next. Under the
    /// account's lock: a waiter that has left the queue, and is not noted, has no deadline any more.
    pub(super) fn note(
        self,
        connection: &Connection<C>,
        source: Source,
        now: Tick,
    ) -> Arc<Waiter<C, E>> {
        connection.note_handed(self.recipient, self.site, source, now);
        self.waiter
    }

    /// Hands a lease to one that was queued just now, with the account's lock held since.
    fn serve(self, connection: Arc<Connection<C>>, source: Source, now: Tick) -> Option<Waker> {
        self.note(&connection, source, now).answer_queued(Ok((connection, source)))
    }
}

/// A waiter's entry in the queue.
#[derive(Debug)]
struct Ticket<C, E> {
    /// They rise from the front to the end of the queue.
    number: u64,
    fresh: bool,
    /// `None` if it has left.
    queued: Option<Queued<C, E>>,
}

/// The queue. The ticket of a waiter that has left is skipped when it comes up, and removed when over half
/// of the queue is such.
#[derive(Debug)]
pub(crate) struct WaitQueue<C, E> {
    tickets: VecDeque<Ticket<C, E>>,
    any: usize,
    fresh: usize,
    /// The number of the next ticket at the end. They begin in the middle: there is room before them for
    /// those that are put at the front.
    next: u64,
}

impl<C, E> WaitQueue<C, E> {
    pub(crate) fn new() -> Self {
        Self { tickets: VecDeque::new(), any: 0, fresh: 0, next: u64::MAX / 2 }
    }

    pub(crate) fn len(&self) -> usize {
        self.any + self.fresh
    }

    /// Waiters that take any connection.
    pub(crate) fn waiting_for_any(&self) -> usize {
        self.any
    }

    /// Waiters that take a new connection only.
    pub(crate) fn waiting_for_fresh(&self) -> usize {
        self.fresh
    }

    /// Whether the next connection of any kind falls to a waiter that takes only a new one.
    pub(crate) fn fresh_is_first(&self) -> bool {
        self.tickets.iter().find(|ticket| ticket.queued.is_some()).is_some_and(|first| first.fresh)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Since when the first in the queue has waited. Only one that was served a dead connection, and
    /// so was put at the front again, may have come before another.
    pub(crate) fn first_since(&self) -> Option<Instant> {
        self.tickets.iter().find_map(|ticket| ticket.queued.as_ref()).map(|it| it.waiter.since)
    }

    /// Puts a waiter at the end, or at the front if it was served a dead connection and must not lose
    /// its turn by that.
    pub(super) fn push(&mut self, queued: Queued<C, E>, front: bool) {
        let fresh = queued.waiter.fresh;
        *self.count_of(fresh) += 1;
        let number = match self.tickets.front() {
            Some(first) if front => first.number - 1,
            _ => self.next,
        };
        queued.waiter.ticket.store(number, Ordering::Relaxed);
        let ticket = Ticket { number, fresh, queued: Some(queued) };
        if number == self.next {
            self.next += 1;
            self.tickets.push_back(ticket);
        } else {
            self.tickets.push_front(ticket);
        }
    }

    /// Hands a new connection to whoever comes first. There must be one.
    pub(super) fn serve_first(
        &mut self,
        connection: &Arc<Connection<C>>,
        now: Tick,
    ) -> Option<Waker> {
        let first = self.take_first(|_| true).expect("BUG: the count of the queue is off");
        if self.tickets.is_empty() {
            // On most accounts somebody waits only until they have a connection.
            self.tickets = VecDeque::new();
        }
        first.serve(Arc::clone(connection), Source::New, now)
    }

    /// Hands a connection that served before to the first who takes such. There must be one.
    pub(super) fn serve_any(
        &mut self,
        connection: Arc<Connection<C>>,
        source: Source,
        now: Tick,
    ) -> Option<Waker> {
        self.take_any().serve(connection, source, now)
    }

    /// Takes out the first waiter that takes any connection, to be answered at once. There must be one.
    pub(super) fn take_any(&mut self) -> Queued<C, E> {
        self.take_first(|fresh| !fresh).expect("BUG: the count of the queue is off")
    }

    /// Refuses the first waiter; gives the refusal back if nobody waits.
    pub(crate) fn refuse_first(
        &mut self,
        refusal: WaitRefusal<E>,
    ) -> Result<Option<Waker>, WaitRefusal<E>> {
        match self.take_first(|_| true) {
            Some(first) => Ok(first.waiter.answer_queued(Err(refusal))),
            None => Err(refusal),
        }
    }

    /// Refuses every waiter.
    pub(crate) fn refuse_all(&mut self, refusal: impl Fn() -> WaitRefusal<E>, wake: &mut Wakers) {
        while let Some(first) = self.take_first(|_| true) {
            wake.extend(first.waiter.answer_queued(Err(refusal())));
        }
        self.tickets.clear();
    }

    /// Refuses whoever has no patience beyond an instant; with `only_fresh` those alone who take only a
    /// new connection.
    pub(crate) fn refuse_impatient(
        &mut self,
        ends: Instant,
        only_fresh: bool,
        refusal: impl Fn() -> WaitRefusal<E>,
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
        self.dismiss(is_due, || WaitRefusal::Timeout, wake);
        next
    }

    /// Refuses those of whom it says so, each asked once.
    fn dismiss(
        &mut self,
        mut is_meant: impl FnMut(&Waiter<C, E>) -> bool,
        refusal: impl Fn() -> WaitRefusal<E>,
        wake: &mut Wakers,
    ) {
        let (mut any, mut fresh) = (0, 0);
        self.tickets.retain_mut(|ticket| {
            if let Some(queued) = ticket.queued.take_if(|it| is_meant(&it.waiter)) {
                wake.extend(queued.waiter.answer_queued(Err(refusal())));
            }
            let stays = ticket.queued.is_some();
            *(if ticket.fresh { &mut fresh } else { &mut any }) += usize::from(stays);
            stays
        });
        (self.any, self.fresh) = (any, fresh);
    }

    /// A waiter gives up, whether it is queued, has been answered, or is about to be.
    pub(super) fn cancel(&mut self, waiter: &Waiter<C, E>) -> Cancelled<C, E> {
        let number = waiter.ticket.load(Ordering::Relaxed);
        let found = self.tickets.binary_search_by_key(&number, |ticket| ticket.number);
        let ticket = found.ok().and_then(|index| self.tickets.get_mut(index));
        // The number may be another's, which was put at the front after this one had been taken out.
        let is_own = |it: &mut Queued<C, E>| std::ptr::eq(&raw const *it.waiter, waiter);
        let own = ticket.and_then(|ticket| ticket.queued.take_if(is_own));
        if own.is_some() {
            *self.count_of(waiter.fresh) -= 1;
            if self.tickets.len() > 2 * self.len() {
                self.tickets.retain(|ticket| ticket.queued.is_some());
            }
        }
        waiter.cancel()
    }

    fn take_first(&mut self, takes: impl Fn(bool) -> bool) -> Option<Queued<C, E>> {
        while self.tickets.front().is_some_and(|ticket| ticket.queued.is_none()) {
            self.tickets.pop_front();
        }
        let ticket = if self.tickets.front().is_some_and(|first| takes(first.fresh)) {
            self.tickets.pop_front()?
        } else {
            let is_it = |ticket: &Ticket<C, E>| takes(ticket.fresh) && ticket.queued.is_some();
            let first = self.tickets.iter().position(is_it)?;
            self.tickets.remove(first)?
        };
        *self.count_of(ticket.fresh) -= 1;
        ticket.queued
    }

    fn count_of(&mut self, fresh: bool) -> &mut usize {
        if fresh { &mut self.fresh } else { &mut self.any }
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;
    use crate::connection::ConnectionId;
    use crate::engine::connection::Purpose;
    use crate::engine::waiters::Served;

    type ArcWaiter = Arc<Waiter<u32, std::io::Error>>;

    fn joined(queue: &mut WaitQueue<u32, std::io::Error>, front: bool) -> ArcWaiter {
        let waiter = Waiter::new(false, crate::base::clock::now(), None, Location::caller(), None);
        queue.push(Queued::new(&waiter), front);
        waiter
    }

    fn answer() -> Served<u32, std::io::Error> {
        let connection = Connection::new(ConnectionId(1), 0, 1, 0, Purpose::Waiter);
        Ok((Arc::new(connection), Source::Idle))
    }

    #[test]
    fn one_whose_turn_has_come_leaves_without_taking_a_newcomer_along() {
        let mut queue = WaitQueue::new();
        let first = joined(&mut queue, false);
        let second = joined(&mut queue, false);
        let taken = queue.take_any();
        // It gets the number that the first had.
        let newcomer = joined(&mut queue, true);
        assert!(
            matches!(queue.cancel(&first), Cancelled::Waiting(None)),
            "it has not been answered"
        );
        assert!(
            taken.waiter.answer(answer()).is_err(),
            "the answer comes back, and goes to the next"
        );
        assert_eq!(queue.waiting_for_any(), 2);
        for next in [newcomer, second] {
            assert!(Arc::ptr_eq(&queue.take_any().waiter, &next), "nobody else has lost its turn");
        }
        assert!(queue.is_empty());
    }

    #[test]
    fn turns_keep_their_order_whoever_leaves() {
        let mut queue = WaitQueue::new();
        let mut waiters: Vec<_> = (0..8).map(|_| joined(&mut queue, false)).collect();
        waiters.insert(0, joined(&mut queue, true));
        // More than half of them, so that their tickets are removed.
        for index in [7, 5, 4, 2, 1] {
            let gone = waiters.remove(index);
            assert!(matches!(queue.cancel(&gone), Cancelled::Waiting(None)));
            assert!(
                matches!(queue.cancel(&gone), Cancelled::Waiting(None)),
                "once more changes nothing"
            );
        }
        assert_eq!((queue.waiting_for_any(), queue.tickets.len()), (4, 4));
        for next in waiters {
            assert!(Arc::ptr_eq(&queue.take_any().waiter, &next));
        }
        assert!(queue.is_empty());
    }
}
