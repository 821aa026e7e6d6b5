//! Leases that were handed to an acquire in line, and that it has not taken yet.
//!
//! Owns, for each connection, to whom its leases went. An acquire takes what it was handed when it is
//! polled. One that nobody polls would keep it for ever: at its deadline it is taken back, and until then
//! whoever asks who holds the lease is told of that acquire.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;

use smallvec::SmallVec;

use crate::account_pool::connection::Connection;
use crate::clock::Instant;
use crate::sync::Mutex;

/// An acquire that a lease was handed to.
pub(crate) trait Recipient<C>: Send + Sync {
    /// Where it was begun.
    fn site(&self) -> &'static Location<'static>;

    /// Whether the lease is neither taken nor given back.
    fn has_not_taken(&self) -> bool;

    /// Ends the wait if the deadline has come without the lease being taken.
    fn expire(&self, now: Instant) -> Expiry<C>;
}

impl<C> fmt::Debug for dyn Recipient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recipient").field(self.site()).finish()
    }
}

/// What a deadline found.
pub(crate) enum Expiry<C> {
    /// The lease was taken, or is no longer this acquire's.
    Over,
    /// There is time left: until this, or for ever.
    Pending(Option<Instant>),
    /// It had not been taken; this connection's lease is the caller's now. None if it was still on its
    /// way, and then this waker is to be called.
    Expired(Option<Arc<Connection<C>>>, Option<Waker>),
}

/// To whom the leases of a connection were handed that may not have been taken yet.
#[derive(Debug)]
pub(crate) struct Handed<C>(Mutex<SmallVec<[Arc<dyn Recipient<C>>; 1]>>);

impl<C> Handed<C> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(SmallVec::new()))
    }

    /// Adds one. Those before it that only this list remembers have taken theirs, or have left.
    pub(super) fn add(&self, recipient: Arc<dyn Recipient<C>>) {
        let mut list = self.0.lock();
        list.retain(|it| Arc::strong_count(it) > 1);
        list.push(recipient);
    }

    /// Whether one of a call site has not taken its lease.
    pub(super) fn waits_for(&self, site: &'static Location<'static>) -> bool {
        let list = self.0.lock();
        list.iter().any(|it| std::ptr::eq(it.site(), site) && it.has_not_taken())
    }

    /// Has each look at its deadline, and forgets those that are over. Answers with the next deadline.
    pub(super) fn expire(
        &self,
        now: Instant,
        mut expired: impl FnMut(Option<Arc<Connection<C>>>, Option<Waker>),
    ) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        self.0.lock().retain(|recipient| match recipient.expire(now) {
            Expiry::Over => false,
            Expiry::Pending(deadline) => {
                next = [next, deadline].into_iter().flatten().min();
                true
            }
            Expiry::Expired(lease, waker) => {
                expired(lease, waker);
                false
            }
        });
        next
    }
}
