//! Effects: what a step of the engine leaves to be done. Whoever holds one must apply it.
//!
//! Owns plain values only.

use std::sync::Arc;
use std::task::Waker;

use smallvec::SmallVec;

use crate::base::clock::Tick;
use crate::connection::Source;
use crate::engine::connection::{Connection, Purpose};
use crate::engine::waiters::Wakers;
use crate::engine::watches::Watch;

/// What a try to lease came to.
#[derive(Debug)]
#[must_use]
pub(crate) enum Take<C> {
    /// A lease; the caller owns it.
    Leased(Arc<Connection<C>>, Source),
    /// A lease of a connection that the configuration has left behind: release it, which
    /// closes it, and try again.
    Outdated(Arc<Connection<C>>),
    /// Nothing is free, and nobody waits.
    Empty,
    /// Somebody waits, or the account cannot serve.
    NotReady,
}

/// Entries of closed connections, to be let go of without a lock: each may be the last hold on what the
/// manager made.
pub(crate) type Stale<C> = Vec<Arc<Connection<C>>>;

/// What the pool has to do after a step.
#[derive(Debug)]
#[must_use = "effects that nobody applies lose connections and wake-ups"]
pub(crate) struct Effects<C> {
    /// Call these, without a lock.
    pub(crate) wake: Wakers,
    /// Open these. Each holds a slot and a permit of the account.
    pub(crate) dial: Vec<DialOrder>,
    /// Close these: their word is final. Each still holds its slot and its permit.
    pub(crate) close: SmallVec<[Arc<Connection<C>>; 1]>,
    /// Close these by force when `drain_timeout` has passed.
    pub(crate) drain: Vec<Arc<Connection<C>>>,
    /// Let go of these, without a lock.
    pub(crate) stale: Stale<C>,
    /// Ask for expired waiters at this time.
    pub(crate) watch: Option<Watch>,
    /// Look again at this tick who can be served: a session may be dialled then.
    pub(crate) redispatch: Option<Tick>,
    /// The lease that this step gave back was of a connection that takes no more leases. To be
    /// counted; nothing is left to do for it.
    pub(crate) ended: bool,
    /// Wake the dials that wait: they may be wanted otherwise than before.
    pub(crate) wake_dials: bool,
    /// Release these leases, which nobody has used.
    pub(crate) unused: SmallVec<[Arc<Connection<C>>; 1]>,
    /// Have the next scrape visit the account.
    pub(crate) mark_active: bool,
    /// Tell the manager of these sessions (as bits) whether they are quarantined.
    pub(crate) persist: u64,
    /// Dial those of these sessions (as bits) once more after a while that are suspect.
    pub(crate) probe: u64,
    /// The account may hold nothing any more: see in a while whether it can be forgotten.
    pub(crate) vacated: bool,
    /// Drop this, without a lock: it is the waker of an acquire that has left.
    pub(crate) unheard: Option<Waker>,
    /// A probe has shown that a suspect session is good.
    pub(crate) cleared: bool,
}

impl<C> Effects<C> {
    pub(crate) fn none() -> Self {
        Self {
            wake: Wakers::new(),
            dial: Vec::new(),
            close: SmallVec::new(),
            drain: Vec::new(),
            stale: Stale::new(),
            watch: None,
            redispatch: None,
            ended: false,
            wake_dials: false,
            unused: SmallVec::new(),
            mark_active: false,
            persist: 0,
            probe: 0,
            vacated: false,
            unheard: None,
            cleared: false,
        }
    }

    /// Nothing to do, after a lease of a connection that takes no more leases.
    pub(crate) fn ended() -> Self {
        Self { ended: true, ..Self::none() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.wake.is_empty() && self.has_only_wakers()
    }

    /// Whether there is nothing to do but to wake those who are to be woken.
    pub(crate) fn has_only_wakers(&self) -> bool {
        self.dial.is_empty()
            && self.close.is_empty()
            && self.drain.is_empty()
            && self.watch.is_none()
            && self.redispatch.is_none()
            && !self.wake_dials
            && self.unused.is_empty()
            && !self.mark_active
            && self.persist | self.probe == 0
            && !self.vacated
            && self.unheard.is_none()
    }
}

#[cfg(all(any(test, fuzzing), not(pool_loom)))]
impl<C> Effects<C> {
    /// Whether no connection is opened or closed, and nobody woken.
    pub(crate) fn moves_nothing(&self) -> bool {
        let opens_none = self.dial.is_empty() && self.close.is_empty() && self.drain.is_empty();
        opens_none && self.wake.is_empty() && self.unused.is_empty()
    }
}

/// One connection to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DialOrder {
    pub(crate) slot: u16,
    /// Not before this tick: the backoff after failures.
    pub(crate) not_before: Tick,
    pub(crate) purpose: Purpose,
}

/// How a dial was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialLoss {
    /// It failed; the account's next dial waits until this tick.
    Failed { retry_at: Tick },
    /// Its session may not be dialled before this tick, for no fault of the account's.
    Deferred { until: Tick },
    /// Nobody wanted it any more; nothing is held against the account.
    Unwanted,
}

/// What the reaper has to do about a connection.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is returned")]
#[derive(Debug)]
#[must_use]
pub(crate) enum Reap<C> {
    /// Look again at this tick.
    Again(Tick),
    /// Look again at this tick; it has been leased for too long, since the other.
    Held(Tick, Tick),
    /// It expired: apply the effects.
    Expired(Effects<C>),
    /// It is no more.
    Gone,
}
