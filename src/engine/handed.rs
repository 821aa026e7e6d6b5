//! Leases that were handed to a waiting acquire, and that it has not taken yet.
//!
//! Owns, for each connection, to whom its leases went. An acquire takes what it was handed when it is
//! polled. One that nobody polls would keep it for ever: at its deadline it is taken back, and until then
//! whoever asks who holds the lease is told of that acquire.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;

use smallvec::SmallVec;

use crate::base::clock::Instant;
use crate::base::sync::Mutex;
use crate::engine::connection::Connection;

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

    /// Adds one. Those before it that only this list remembers have taken theirs, or have left: they are
    /// looked for before the list grows, so that many who are handed a lease at once cost no more each
    /// than few.
    pub(super) fn add(&self, recipient: Arc<dyn Recipient<C>>) {
        let mut list = self.0.lock();
        if list.len() == list.capacity() {
            list.retain(|it| Arc::strong_count(it) > 1);
            // Half of it is free then, or it grows: the next look is as far away.
            let live = list.len();
            if live > list.capacity() / 2 {
                list.reserve(live);
            }
        }
        list.push(recipient);
    }

    /// Whether one of a call site has not taken its lease.
    pub(super) fn waits_for(&self, site: &'static Location<'static>) -> bool {
        let list = self.0.lock();
        list.iter().any(|it| std::ptr::eq(it.site(), site) && it.has_not_taken())
    }

    /// Has each look at its deadline, and forgets those that are over. Returns the next deadline.
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

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    /// One that has taken its lease.
    struct Taken;

    impl Recipient<u32> for Taken {
        fn site(&self) -> &'static Location<'static> {
            Location::caller()
        }

        fn has_not_taken(&self) -> bool {
            false
        }

        fn expire(&self, _: Instant) -> Expiry<u32> {
            Expiry::Over
        }
    }

    #[test]
    fn those_who_have_left_make_room_for_those_who_come() {
        let handed = Handed::<u32>::new();
        let there: Vec<Arc<Taken>> = (0..100).map(|_| Arc::new(Taken)).collect();
        for recipient in &there {
            handed.add(Arc::<Taken>::clone(recipient));
        }
        assert_eq!(handed.0.lock().len(), 100, "nobody is forgotten who may not have taken it");
        for _ in 0..1000 {
            handed.add(Arc::new(Taken));
        }
        assert!(handed.0.lock().capacity() <= 400, "{}", handed.0.lock().capacity());
        drop(there);
        for _ in 0..1000 {
            handed.add(Arc::new(Taken));
        }
        assert!(handed.0.lock().capacity() <= 400, "{}", handed.0.lock().capacity());
    }
}
