//! The cap on connections of the whole pool, and its fair use.
//!
//! Owns the global permits and the queue of dials that wait for one. A dial that must wait puts
//! the pool under pressure: idle connections of other accounts give way, then second
//! connections, and after [`PATIENCE_MAX`] the only connection of a busy account, so that a hot
//! account cannot keep a cold one from its first connection. Never closes anything itself.
//!
//! # Orderings
//! `demand` is set before idle connections are looked for, and loaded after a release or a dial has
//! made a connection idle: a pair of `sync`. Either the demand is seen, or the search sees the
//! idle connection. The patience is a setting and guards nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::Tick;
use crate::base::sync::{AtomicU64, Mutex, Ordering, Permits, load_after_change, set_before_load};
use crate::engine::Pressure;

/// How long a dial waits at most before busy accounts give up their only connection for it.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// How many milliseconds after the machine had no room it is tried again whether it has.
const THAW_EVERY: u64 = 1000;

/// How often an idle connection is searched for anew because one appeared meanwhile. Each time
/// somebody else was served.
const SEARCHES_MAX: usize = 16;

#[cfg(all(test, pool_loom))]
mod model;

#[derive(Debug)]
pub(crate) struct Budget {
    permits: Permits,
    /// Zero, or one more than the tick since which somebody unprovided for has waited.
    demand: AtomicU64,
    patience: AtomicU64,
    queue: Mutex<PermitQueue>,
}

#[derive(Debug)]
struct PermitQueue {
    cap: usize,
    /// Permits above the cap that could not be destroyed yet.
    debt: usize,
    /// Permits that are not given out because the machine has no room for as many connections.
    withheld: usize,
    /// When some of them are tried again, and how many.
    thaws_at: Tick,
    thaws: usize,
    /// Connections that are being closed for the sake of waiting dials.
    evictions_in_flight: usize,
    /// Permits that came back for waiting dials and have not been taken yet.
    granted: usize,
    next: u64,
    waiting: BTreeMap<u64, Tick>,
}

impl PermitQueue {
    /// How many permits are missing: for waiting dials, and for a lowered cap.
    fn deficit(&self) -> usize {
        self.debt + self.waiting.len().saturating_sub(self.granted)
    }

    /// Notes that permits have come back.
    fn grant(&mut self, permits: usize) {
        self.granted = (self.granted + permits).min(self.waiting.len());
    }
}

/// A dial in the queue; leaves it when dropped.
#[derive(Debug)]
struct QueueGuard<'a> {
    budget: &'a Budget,
    ticket: u64,
    /// It has its permit.
    served: bool,
}

impl Budget {
    pub(crate) fn new(cap: u32, acquire_timeout: Duration) -> Self {
        let cap = cap as usize;
        let budget = Self {
            permits: Permits::new(cap),
            demand: AtomicU64::new(0),
            patience: AtomicU64::new(0),
            queue: Mutex::new(PermitQueue {
                cap,
                debt: 0,
                withheld: 0,
                thaws_at: 0,
                thaws: 0,
                evictions_in_flight: 0,
                granted: 0,
                next: 0,
                waiting: BTreeMap::new(),
            }),
        };
        budget.set_patience(acquire_timeout);
        budget
    }

    fn set_patience(&self, acquire_timeout: Duration) {
        let patience = (acquire_timeout / 4).min(PATIENCE_MAX);
        self.patience.store(crate::base::clock::millis(patience), Ordering::Relaxed);
    }

    /// A permit, if one is free that is meant for no waiting dial: a dial that has joined the queue looks
    /// for an idle connection before it comes to wait for the permit that it may have been granted.
    pub(crate) fn try_take(&self) -> bool {
        let queue = self.queue.lock();
        self.permits.free() > queue.waiting.len() && self.permits.try_take()
    }

    /// Waits for a permit, first come, first served. `evict` is called once the demand can be
    /// seen: it looks for an idle connection that can give way.
    pub(crate) async fn take(&self, now: Tick, evict: impl FnOnce()) {
        let mut guard = self.enqueue(now);
        evict();
        self.permits.take().await;
        guard.served = true;
    }

    fn enqueue(&self, now: Tick) -> QueueGuard<'_> {
        let mut queue = self.queue.lock();
        let ticket = queue.next;
        queue.next += 1;
        queue.waiting.insert(ticket, now);
        self.update_demand(&queue, now);
        QueueGuard { budget: self, ticket, served: false }
    }

    /// A connection has been closed and its permit comes back.
    pub(crate) fn put_back(&self, now: Tick) {
        let mut queue = self.queue.lock();
        queue.evictions_in_flight = queue.evictions_in_flight.saturating_sub(1);
        if queue.debt > 0 {
            queue.debt -= 1;
        } else {
            self.permits.put_back(1);
            queue.grant(1);
        }
        self.update_demand(&queue, now);
    }

    /// The machine has no room for more connections than there are: until it is tried again the pool is
    /// full. `held`: the caller gives back a permit that came to nothing by that.
    pub(crate) fn withhold(&self, now: Tick, held: bool) {
        let mut queue = self.queue.lock();
        let destroyed = self.permits.destroy(self.permits.free());
        // Some of these may have been granted to a waiting dial.
        queue.granted = queue.granted.saturating_sub(destroyed);
        let mut more = destroyed + usize::from(held);
        let forgiven = more.min(queue.debt);
        queue.debt -= forgiven;
        more -= forgiven;
        queue.withheld += more;
        (queue.thaws_at, queue.thaws) = (now + THAW_EVERY, 1);
        self.update_demand(&queue, now);
    }

    /// When it is to be tried again whether the machine has room for more, if it had none.
    pub(crate) fn thaws_at(&self) -> Option<Tick> {
        let queue = self.queue.lock();
        (queue.withheld > 0).then_some(queue.thaws_at)
    }

    /// Gives some of the permits out again that were withheld, twice as many each time that it goes well.
    pub(crate) fn thaw(&self, now: Tick) {
        let mut queue = self.queue.lock();
        if queue.withheld == 0 || now < queue.thaws_at {
            return;
        }
        let back = queue.thaws.min(queue.withheld);
        queue.withheld -= back;
        (queue.thaws_at, queue.thaws) = (now + THAW_EVERY, 2 * queue.thaws);
        self.permits.put_back(back);
        queue.grant(back);
        self.update_demand(&queue, now);
    }

    /// Claims the right to close one connection for the sake of a waiting dial.
    pub(crate) fn claim_eviction(&self, now: Tick) -> bool {
        let mut queue = self.queue.lock();
        let wanted = queue.deficit() > queue.evictions_in_flight;
        queue.evictions_in_flight += usize::from(wanted);
        self.update_demand(&queue, now);
        wanted
    }

    /// Gives that claim up: nothing could be closed.
    pub(crate) fn cancel_eviction(&self, now: Tick) {
        let mut queue = self.queue.lock();
        queue.evictions_in_flight = queue.evictions_in_flight.saturating_sub(1);
        self.update_demand(&queue, now);
    }

    /// Has one idle connection closed for the sake of a waiting dial: `evict` finds and closes one,
    /// `has_idle` returns whether there is any. Returns whether one was closed.
    pub(crate) fn evict_idle(
        &self,
        now: Tick,
        mut evict: impl FnMut() -> bool,
        has_idle: impl Fn() -> bool,
    ) -> bool {
        for _ in 0..SEARCHES_MAX {
            if self.pressure(now) == Pressure::Calm || !self.claim_eviction(now) {
                return false;
            }
            if evict() {
                return true;
            }
            self.cancel_eviction(now);
            // While it was claimed the demand was hidden: a release in that time saw none, and
            // its connection may lie where the search had been already.
            if !has_idle() {
                return false;
            }
        }
        false
    }

    /// Whether the machine had no room for another connection a moment ago. While dials wait for room it
    /// is tried again each second.
    pub(crate) fn is_short(&self, now: Tick) -> bool {
        now < self.queue.lock().thaws_at + THAW_EVERY
    }

    /// Whether every permit is taken that the cap allows.
    pub(crate) fn is_full(&self) -> bool {
        self.permits.free() == 0 && self.queue.lock().withheld == 0
    }

    /// Whether any dial waits for a permit.
    #[inline]
    pub(crate) fn is_pressed(&self) -> bool {
        load_after_change(&self.demand) != 0
    }

    /// Whether, and how urgently, a connection should give way.
    pub(crate) fn pressure(&self, now: Tick) -> Pressure {
        match load_after_change(&self.demand) {
            0 => Pressure::Calm,
            since => {
                let waited = now.saturating_sub(since - 1);
                let urgent = waited >= self.patience.load(Ordering::Relaxed);
                if urgent { Pressure::Urgent } else { Pressure::Pressed }
            }
        }
    }

    pub(crate) fn cap(&self) -> usize {
        self.queue.lock().cap
    }

    /// Changes the cap while connections live. Returns how many of them have to go.
    pub(crate) fn set_cap(&self, cap: u32, acquire_timeout: Duration, now: Tick) -> usize {
        self.set_patience(acquire_timeout);
        let cap = cap as usize;
        let mut queue = self.queue.lock();
        if cap > queue.cap {
            let more = cap - queue.cap;
            let forgiven = more.min(queue.debt);
            queue.debt -= forgiven;
            self.permits.put_back(more - forgiven);
            queue.grant(more - forgiven);
        } else {
            let fewer = queue.cap - cap;
            let withheld = fewer.min(queue.withheld);
            queue.withheld -= withheld;
            let fewer = fewer - withheld;
            let destroyed = self.permits.destroy(fewer);
            queue.debt += fewer - destroyed;
            // Some of these may have been granted to a waiting dial.
            queue.granted = queue.granted.saturating_sub(destroyed);
        }
        queue.cap = cap;
        self.update_demand(&queue, now);
        queue.debt
    }

    fn update_demand(&self, queue: &PermitQueue, now: Tick) {
        let deficit = queue.deficit();
        let demand = if deficit <= queue.evictions_in_flight {
            0
        } else if queue.debt > 0 {
            // A lowered cap is urgent from the start.
            1
        } else {
            queue.waiting.first_key_value().map_or(now, |(_, since)| *since) + 1
        };
        set_before_load(&self.demand, demand);
    }
}

impl Drop for QueueGuard<'_> {
    fn drop(&mut self) {
        let mut queue = self.budget.queue.lock();
        let since = queue.waiting.remove(&self.ticket);
        // Who leaves without a permit leaves the grant to the next.
        queue.granted = queue.granted.saturating_sub(self.served.into()).min(queue.waiting.len());
        queue.evictions_in_flight = queue.evictions_in_flight.min(queue.deficit());
        self.budget.update_demand(&queue, since.unwrap_or_default());
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use std::future::Future;

    use super::*;

    fn budget(cap: u32) -> Budget {
        Budget::new(cap, Duration::from_secs(10))
    }

    #[test]
    fn resizing_in_any_order_keeps_the_number_of_permits() {
        let budget = budget(4);
        for _ in 0..3 {
            assert!(budget.try_take());
        }
        assert_eq!(budget.set_cap(1, Duration::ZERO, 0), 2);
        assert_eq!(budget.set_cap(3, Duration::ZERO, 0), 0);
        assert_eq!(budget.set_cap(1, Duration::ZERO, 0), 2);
        for _ in 0..3 {
            budget.put_back(0);
        }
        assert!(budget.try_take() && !budget.try_take());
    }

    #[tokio::test]
    async fn a_waiting_dial_presses_until_it_is_provided_for_and_becomes_urgent() {
        let budget = budget(1);
        assert!(budget.try_take());
        assert_eq!(budget.pressure(5000), Pressure::Calm);
        let take = budget.take(100, || ());
        let mut take = std::pin::pin!(take);
        let pending = std::future::poll_fn(|context| {
            std::task::Poll::Ready(take.as_mut().poll(context).is_pending())
        });
        assert!(pending.await);
        assert_eq!(budget.pressure(200), Pressure::Pressed);
        assert_eq!(budget.pressure(5000), Pressure::Urgent);
        assert!(
            budget.claim_eviction(200) && !budget.claim_eviction(200),
            "one waits, one gives way"
        );
        assert_eq!(budget.pressure(5000), Pressure::Calm);
        budget.put_back(300);
        take.await;
        assert_eq!(budget.pressure(5000), Pressure::Calm);
    }

    #[tokio::test]
    async fn a_dial_whose_permit_has_come_back_presses_nobody_before_it_takes_it() {
        let budget = budget(1);
        assert!(budget.try_take());
        let mut take = std::pin::pin!(budget.take(100, || ()));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(take.as_mut().poll(&mut context).is_pending());
        assert!(budget.claim_eviction(5000));
        budget.put_back(5001);
        assert_eq!(budget.pressure(5002), Pressure::Calm);
        assert!(!budget.claim_eviction(5002), "nobody else has to go");
        assert!(take.as_mut().poll(&mut context).is_ready());
        assert!(!budget.try_take());
    }

    #[tokio::test]
    async fn a_permit_that_was_granted_to_a_waiting_dial_is_taken_by_nobody_else() {
        let budget = budget(1);
        assert!(budget.try_take());
        // It comes back while the waiting dial still looks for an idle connection.
        let looks = || {
            budget.put_back(200);
            assert!(!budget.try_take(), "it is meant for somebody");
        };
        budget.take(100, looks).await;
        assert!(!budget.try_take(), "it has been taken");
        budget.put_back(300);
        assert!(budget.try_take());
    }

    #[tokio::test]
    async fn a_granted_permit_that_a_lowered_cap_destroys_leaves_its_demand() {
        let budget = budget(2);
        assert!(budget.try_take() && budget.try_take());
        let looks = || {
            budget.put_back(200);
            assert_eq!(budget.pressure(200), Pressure::Calm);
            assert_eq!(budget.set_cap(1, Duration::from_secs(10), 300), 0);
            assert_ne!(budget.pressure(300), Pressure::Calm, "it is not provided for any more");
        };
        let take = budget.take(100, looks);
        let mut take = std::pin::pin!(take);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(take.as_mut().poll(&mut context).is_pending());
        budget.put_back(400);
        take.await;
    }

    #[tokio::test]
    async fn a_dial_that_leaves_hides_nobody_behind_what_was_coming_for_it() {
        let budget = budget(1);
        assert!(budget.try_take());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut leaves = Box::pin(budget.take(100, || ()));
        assert!(leaves.as_mut().poll(&mut context).is_pending());
        assert!(budget.claim_eviction(100));
        drop(leaves);
        let mut stays = std::pin::pin!(budget.take(200, || ()));
        assert!(stays.as_mut().poll(&mut context).is_pending());
        assert_eq!(budget.pressure(200), Pressure::Pressed);
        assert!(budget.claim_eviction(200));
    }

    #[tokio::test]
    async fn what_the_machine_has_no_room_for_is_withheld_and_found_again_by_and_by() {
        let budget = budget(100);
        (0..10).for_each(|_| assert!(budget.try_take()));
        budget.withhold(1000, true);
        assert!(!budget.try_take() && !budget.is_full(), "nine are out, and the cap is a hundred");
        let mut take = std::pin::pin!(budget.take(1000, || ()));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(take.as_mut().poll(&mut context).is_pending());
        assert_eq!(budget.pressure(1000), Pressure::Pressed, "others give way");
        budget.put_back(1000);
        assert!(take.as_mut().poll(&mut context).is_ready());
        budget.thaw(1999);
        assert!(!budget.try_take());
        assert_eq!(budget.thaws_at(), Some(2000));
        let mut found = Vec::new();
        for now in (2000..10_000).step_by(1000) {
            budget.thaw(now);
            found.push((0..100).filter(|_| budget.try_take()).count());
        }
        assert_eq!(found, [1, 2, 4, 8, 16, 32, 28, 0]);
        assert_eq!(budget.thaws_at(), None);
        assert_eq!([8999, 9999, 10_000].map(|now| budget.is_short(now)), [true, true, false]);
    }

    #[tokio::test]
    async fn a_cap_that_changes_while_permits_are_withheld_holds() {
        let budget = budget(10);
        (0..4).for_each(|_| assert!(budget.try_take()));
        budget.withhold(0, true);
        assert_eq!(budget.set_cap(2, Duration::ZERO, 0), 1, "three are out");
        (0..3).for_each(|_| budget.put_back(0));
        assert_eq!((0..9).filter(|_| budget.try_take()).count(), 2);
    }

    #[tokio::test]
    async fn a_dial_that_stops_waiting_no_longer_presses() {
        let budget = budget(1);
        assert!(budget.try_take());
        tokio::select! {
            biased;
            () = budget.take(100, || ()) => unreachable!("there is no permit"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(budget.pressure(5000), Pressure::Calm);
        budget.put_back(0);
        assert!(budget.try_take());
    }
}
