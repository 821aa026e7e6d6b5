//! The profile of an account, read again while the pool knows the account: its sessions come and go at
//! the manager's.
//!
//! Owns when that is done and what is taken over, which is the number of sessions. It is on nobody's way
//! to a free connection: whoever has to wait asks, and so does the reaper.

use std::sync::Arc;

use crate::base::clock::Tick;
use crate::base::panics::call_manager;
use crate::base::sync::{AtomicU64, Ordering};
use crate::manager::{Manager, SLOTS_MAX};
use crate::runtime::account::AccountInner;

/// For how long a profile counts that was read, in milliseconds.
const LASTS: Tick = 5_000;

/// Somebody is reading it.
const BEING_READ: Tick = Tick::MAX;

/// When a profile was last read. One reads at a time, and whoever comes meanwhile makes do with what is
/// known: so no answer is taken over after a later one.
#[derive(Debug)]
pub(super) struct LastRead(AtomicU64);

impl LastRead {
    pub(super) fn at(now: Tick) -> Self {
        Self(AtomicU64::new(now))
    }

    /// Whether the caller is to read it, and then to [`end`](Self::end) that.
    fn begin(&self, now: Tick, lasts: Tick) -> bool {
        let read = self.0.load(Ordering::Relaxed);
        // While it is being read, that is ahead of any time.
        let is_due = read.checked_add(lasts).is_some_and(|until| until <= now);
        // Pairs with the end of the last one: what was taken over then is there.
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        is_due && self.0.compare_exchange(read, BEING_READ, acquire, relaxed).is_ok()
    }

    fn end(&self, now: Tick) {
        self.0.store(now, Ordering::Release);
    }
}

impl<M: Manager> AccountInner<M> {
    /// Reads the profile again, unless that was done in the last five seconds.
    pub(crate) fn reread_profile_if_due(self: &Arc<Self>, now: Tick) {
        if self.profile_read.begin(now, LASTS) {
            self.reread(now);
        }
    }

    /// Reads the profile again.
    pub(crate) fn reread_profile(self: &Arc<Self>) {
        let now = self.context().clock.tick();
        if self.profile_read.begin(now, 0) {
            self.reread(now);
        }
    }

    #[cold]
    fn reread(self: &Arc<Self>, now: Tick) {
        let (account, manager) = (self.pool.account(), &self.context().manager);
        // A manager that panics has said nothing.
        let profile = call_manager("profile", || manager.profile(account));
        let before = self.pool.sessions();
        let sessions = profile.map_or(before, |it| it.map_or(0, |it| it.slots.min(SLOTS_MAX)));
        if sessions == before {
            return self.profile_read.end(now);
        }
        let quarantines = match sessions > before {
            true => {
                call_manager("quarantines", || manager.quarantines(account)).unwrap_or_default()
            }
            false => Vec::new(),
        };
        let effects = self.pool.set_sessions(sessions, &quarantines, now);
        self.profile_read.end(now);
        let Some(effects) = effects else { return };
        self.counters().recount_account(before, sessions);
        tracing::info!(%account, before, sessions, "the account has another number of sessions");
        self.apply(effects);
    }
}
