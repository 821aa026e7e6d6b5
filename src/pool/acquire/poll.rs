//! How the acquire future is polled and dropped.
//!
//! Owns the fast path, which touches no step, and the span that an acquire is polled in when somebody
//! listens. A future that is dropped gives back what it holds.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tracing::level_filters::LevelFilter;

use super::coop::{must_yield, should_check_budget};
use super::{Acquire, Next, Step};
use crate::engine::Waiter;
use crate::error::AcquireError;
use crate::manager::Manager;
use crate::pool::lease::{AccountRef, Lease};
use crate::stats::AcquireEnd;

impl<M: Manager, A: AccountRef<M>> Future for Acquire<M, A> {
    type Output = Result<Lease<M, A>, AcquireError<M::Error>>;

    // Not inlined, the lease is returned through memory and read back with loads of other widths than the
    // stores: a store-forwarding stall, which costs as much as an atomic exchange (rustc 1.95, x86-64).
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // One load, if nobody listens.
        let is_heard = LevelFilter::current() >= LevelFilter::DEBUG;
        if matches!(this.step, Step::Start) {
            if should_check_budget() && must_yield(context) {
                return Poll::Pending;
            }
            // The usual case, before the step is touched: moving it costs as much as the lease.
            if !is_heard
                && !this.fresh
                && let Some((connection, uses)) = this.take_at_once()
            {
                let account_ref = this.account_ref.take().expect("BUG: an acquire lends once");
                return Poll::Ready(Ok(Lease::new(account_ref, connection, uses)));
            }
        }
        // Not returned by the call itself: a value whose address escapes to a call gets no scalar
        // replacement, and would lie in memory on the fast path as well.
        if !this.poll_on(context, is_heard) {
            return Poll::Pending;
        }
        match std::mem::replace(&mut this.step, Step::Done) {
            Step::Over(done) => Poll::Ready(done),
            _ => unreachable!("BUG: what is over has an outcome"),
        }
    }
}

impl<M: Manager, A: AccountRef<M>> Acquire<M, A> {
    /// Returns whether it is over.
    fn poll_on(&mut self, context: &mut Context<'_>, is_heard: bool) -> bool {
        if is_heard { self.poll_in_span(context) } else { self.poll_plainly(context) }
    }

    fn poll_in_span(&mut self, context: &mut Context<'_>) -> bool {
        let span = self.span.take().unwrap_or_else(|| {
            let account = self.account_ref.as_ref().map(|account_ref| account_ref.account().id());
            Box::new(tracing::debug_span!(
                "acquire",
                account = account.map(tracing::field::display)
            ))
        });
        let entered = span.enter();
        // Leaving the span is a listener's code: if that panics, the lease is still here, and goes back.
        let is_over = self.poll_plainly(context);
        drop(entered);
        if is_over {
            drop(span);
        } else {
            self.span = Some(span);
        }
        is_over
    }

    fn poll_plainly(&mut self, context: &mut Context<'_>) -> bool {
        // Each iteration that goes on has changed the step, and none comes twice but for connections that
        // proved dead, which leave the pool.
        loop {
            match self.advance(context) {
                Next::Over(done) => {
                    self.step = Step::Over(done);
                    return true;
                }
                Next::On => {}
                Next::Later => return false,
            }
        }
    }
}

// Nothing in it is pinned by it: the timer is boxed.
impl<M: Manager, A: AccountRef<M>> Unpin for Acquire<M, A> {}

impl<M: Manager, A: AccountRef<M>> Drop for Acquire<M, A> {
    #[inline]
    fn drop(&mut self) {
        if !matches!(self.step, Step::Start | Step::Done) {
            self.leave();
        }
    }
}

impl<M: Manager, A: AccountRef<M>> Acquire<M, A> {
    /// Gives up what was begun.
    #[cold]
    fn leave(&mut self) {
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::Waiting(waiter) => self.cancel(&waiter),
            Step::Timed(timed) => self.cancel(&timed.waiter),
            Step::Found(connection, _) => {
                let inner = self.inner();
                inner.counters().count_acquire(AcquireEnd::Cancelled);
                inner.release_unused(connection);
            }
            Step::Start | Step::Over(_) | Step::Done => {}
        }
    }

    fn cancel(&self, waiter: &Arc<Waiter<M::Connection, M::Error>>) {
        self.inner().counters().count_acquire(AcquireEnd::Cancelled);
        self.inner().apply(self.inner().pool.cancel_waiter(waiter));
    }
}
