//! What a dial waits for before it begins: the account's backoff, the manager, the limiter of its egress,
//! and a permit of the global cap.
//!
//! Each wait ends early when nobody wants the dial any more.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::MutexGuard;

use super::{Attempt, DEFERRED};
use crate::base::clock::{Tick, millis};
use crate::base::panics::{call_manager, catch_future};
use crate::base::text::display_safely;
use crate::engine::Purpose;
use crate::error::DialError;
use crate::limits::dialing::{Admission, DialLimiter, PrewarmQueue};
use crate::manager::{Clearance, Manager};
use crate::runtime::Runtime;

/// What the wait for a slot came to.
enum SatOut {
    Over,
    Unwanted,
    /// Somebody waits who has less patience than this.
    TooLong(Duration),
}

impl<M: Manager> Attempt<M> {
    /// Waits for the end of the account's backoff, and refuses whoever has less patience. Returns whether
    /// the dial is still wanted.
    pub(super) async fn wait_backoff(&self) -> bool {
        let (inner, clock) = (&self.inner, &self.inner.context().clock);
        loop {
            let until = inner.pool.resting_until(self.order);
            if until <= clock.tick() {
                return inner.pool.wants_dial(self.order);
            }
            let ends = clock.instant_of(until);
            let look = || {
                inner.apply(inner.pool.refuse_impatient(ends, until));
                let is_wanted = inner.pool.wants_dial(self.order);
                let has_changed = inner.pool.resting_until(self.order) != until;
                (!is_wanted || has_changed).then_some(is_wanted)
            };
            if self.unless(tokio::time::sleep_until(ends), look).await == Err(false) {
                return false;
            }
        }
    }

    /// Waits until the manager lets the slot be dialled: before the dial takes its turn at the egress,
    /// so that it keeps nobody else from theirs. Returns whether it is still wanted; or why it may not be
    /// dialled, and for how long.
    pub(super) async fn clear(&mut self) -> Result<bool, (DialError<M::Error>, Duration)> {
        // What an earlier try had would be in the way of this one.
        drop(self.hold.take());
        let inner = Arc::clone(&self.inner);
        let context = inner.context();
        let (account, slot) = (inner.pool.account(), self.order.slot);
        loop {
            let limit = context.config().pool.dial_timeout;
            let clearance = async { context.manager.clearance(account, slot).await };
            match self.while_wanted(within(limit, clearance)).await {
                None => return Ok(false),
                Some(Ok(Clearance::Now)) => return Ok(true),
                Some(Ok(Clearance::Holding(hold))) => {
                    self.hold = Some(hold);
                    return Ok(true);
                }
                Some(Ok(Clearance::After(wait, error))) => {
                    // Known to readings at once: a dial in advance may wait here for minutes.
                    let now = context.clock.tick();
                    let until = now + millis(wait);
                    let goes_on =
                        inner.pool.note_deferred(slot, until, display_safely(&error), now);
                    let error = DialError::Connect(error);
                    if goes_on
                        && self.is_warm_up()
                        && self.is_speculative()
                        && self.is_faultless(&error)
                    {
                        return Err((error, wait));
                    }
                    match self.sit_out(until).await {
                        SatOut::Over => {}
                        SatOut::Unwanted => return Ok(false),
                        SatOut::TooLong(left) => return Err((error, left)),
                    }
                }
                Some(Err(error)) => return Err((error, DEFERRED)),
            }
        }
    }

    /// Waits until the slot may be dialled, unless somebody waits who has less patience.
    async fn sit_out(&self, until: Tick) -> SatOut {
        let (inner, clock) = (&self.inner, &self.inner.context().clock);
        let look = || {
            if !inner.pool.wants_dial(self.order) {
                return Some(SatOut::Unwanted);
            }
            let left = Duration::from_millis(until.saturating_sub(clock.tick()));
            let is_too_long =
                !self.is_speculative() && left > inner.context().config().pool.acquire_timeout;
            is_too_long.then_some(SatOut::TooLong(left))
        };
        match self.unless(tokio::time::sleep_until(clock.instant_of(until)), look).await {
            Ok(()) => SatOut::Over,
            Err(end) => end,
        }
    }

    /// Waits until the limiter of its egress admits this dial.
    pub(super) async fn wait_admission(&self, limiter: &DialLimiter) -> Admission {
        let (inner, context) = (&self.inner, self.inner.context());
        let (account, slot) = (inner.pool.account(), self.order.slot);
        let address = call_manager("address", || context.manager.address(account, slot)).flatten();
        let address = address.as_ref();
        let queue = limiter.prewarm_queue(address, context.clock.tick());
        let Some(turn) = self.prewarm_turn(&queue).await else { return Admission::Unwanted };
        let is_wanted = || inner.pool.wants_dial(self.order);
        let admitting = limiter.admit(address, &context.clock, is_wanted);
        let admission = self.while_wanted(admitting).await;
        drop(turn);
        admission.unwrap_or(Admission::Unwanted)
    }

    /// A dial that nobody waits for lets all others of its kind go before it, one by one, and so
    /// everybody who does wait. `None`: nobody wants it any more.
    async fn prewarm_turn<'a>(
        &self,
        queue: &'a PrewarmQueue,
    ) -> Option<Option<MutexGuard<'a, ()>>> {
        let look = || match (self.inner.pool.wants_dial(self.order), self.is_speculative()) {
            (false, _) => Some(None),
            (true, false) => Some(Some(None)),
            (true, true) => None,
        };
        match self.unless(queue.turn(), look).await {
            Ok(turn) => Some(Some(turn)),
            Err(end) => end,
        }
    }

    /// Whether nobody waits for what this dial will bring.
    fn is_speculative(&self) -> bool {
        self.order.purpose != Purpose::Waiter && !self.inner.pool.has_waiters()
    }

    /// Takes a permit of the global cap, unless it has one. Returns whether there was one.
    pub(super) async fn take_permit(&mut self) -> bool {
        if self.holds_permit {
            return true;
        }
        let inner = Arc::clone(&self.inner);
        let context = inner.context();
        context.budget.thaw(context.clock.tick());
        if !context.budget.try_take() {
            if self.is_speculative() {
                // Nobody waits for it, so nobody makes room for it.
                return false;
            }
            if self.while_wanted(wait_for_permit(&inner.runtime)).await.is_none() {
                return false;
            }
        }
        self.holds_permit = true;
        true
    }

    /// Waits for something, unless nobody wants the dial any more.
    pub(super) async fn while_wanted<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        let look = || (!self.inner.pool.wants_dial(self.order)).then_some(());
        self.unless(wait, look).await.ok()
    }

    /// Waits for something, unless `look` finds an end to that: asked first, and whenever something has
    /// changed that a dial may care for.
    async fn unless<T, E>(
        &self,
        wait: impl Future<Output = T>,
        mut look: impl FnMut() -> Option<E>,
    ) -> Result<T, E> {
        let mut wait = pin!(wait);
        loop {
            let mut notified = pin!(self.inner.dials.notified());
            // Registered before anything is looked at, so that no change is missed.
            notified.as_mut().enable();
            if let Some(end) = look() {
                return Err(end);
            }
            tokio::select! {
                biased;
                done = &mut wait => return Ok(done),
                () = notified => {}
            }
        }
    }
}

/// Waits for a permit of the global cap, and tries again now and then what the machine has refused.
async fn wait_for_permit<M: Manager>(runtime: &Runtime<M>) {
    let (budget, clock) = (&runtime.context.budget, &runtime.context.clock);
    let relieve = || {
        runtime.evict_idle();
    };
    let mut taking = pin!(budget.take(clock.tick(), relieve));
    loop {
        let Some(thaws_at) = budget.thaws_at() else { return taking.await };
        tokio::select! {
            biased;
            () = &mut taking => return,
            () = tokio::time::sleep_until(clock.instant_of(thaws_at)) => budget.thaw(clock.tick()),
        }
    }
}

/// Bounds a connect in time, and takes its panic for an answer.
pub(super) async fn within<T, E>(
    limit: Duration,
    connect: impl Future<Output = Result<T, E>>,
) -> Result<T, DialError<E>> {
    match tokio::time::timeout(limit, catch_future(connect)).await {
        Ok(Some(Ok(opened))) => Ok(opened),
        Ok(Some(Err(error))) => Err(DialError::Connect(error)),
        Ok(None) => Err(DialError::Panicked),
        Err(_) => Err(DialError::Timeout(limit)),
    }
}
