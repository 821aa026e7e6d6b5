//! The lifecycle of one connection, in one atomic word.
//!
//! Owns the private word behind [`ConnectionState`] and its transitions. A transition returns
//! the duty that falls to whoever made it; nobody else may act on the connection.
//!
//! ```text
//!                       lease                    lease (if shared)
//! CONNECTING --> IDLE <--------> ACTIVE (n leases) <--> ACTIVE (n + 1 leases)
//!     |   \       |   release      |
//!     |    `------|----> ACTIVE    | retire: takes no new lease; the last release ends it,
//!     v           v                v         or force after the drain deadline
//!   ERROR   DISCONNECTED     DISCONNECTED or ERROR (final: the maker of the step closes it)
//! ```
//! A connection that is retired while it is CONNECTING is closed by its dialler, once it is open.
//!
//! The word, from the low bit: three bits of tag, QUEUED, RETIRING, FAULTY, and sixteen bits of
//! lease count from bit 16 up.
//!
//! QUEUED says that an entry of this connection is in the idle queue, or beside the gate, or that
//! somebody who has just taken it still answers for it. Only who sets the bit pushes, so
//! there is at most one entry. The word is the truth and the entry a hint: one whose connection is
//! full, retired or final is dropped by whoever takes it, and a connection with room may be leased
//! through its slot while its entry stays where it is.
//!
//! # Orderings
//! - Opening and releasing release, leasing and closing acquire: a borrower sees what the dialler
//!   and the borrowers before it did to the connection, and so does whoever closes it. Every
//!   change is a read-modify-write, so that one that does not release continues the release sequence
//!   of those before it.
//! - Retiring releases as well: whoever closes the connection sees the reason noted before. So
//!   does forcing: a borrower that comes too late sees that it was counted as an orphan.
//! - Opening and releasing are made before a look at other words, and
//!   [`StateWord::transition_to_leased_in_place`] and [`StateWord::snapshot_after_change`] look
//!   after another word was changed: the two halves of the pairs in `sync`.
//! - Failed exchanges and first looks order nothing: the exchange that succeeds does.

use std::fmt;

use crate::base::sync::{AtomicU64, Ordering, exchange_before_load, load_after_change};
use crate::connection::ConnectionState;

#[cfg(all(test, pool_loom))]
mod model;

const TAG: u64 = 0b111;
const CONNECTING: u64 = 0;
const IDLE: u64 = 1;
const ACTIVE: u64 = 2;
const DISCONNECTED: u64 = 3;
const ERROR: u64 = 4;
const QUEUED: u64 = 1 << 3;
const RETIRING: u64 = 1 << 4;
const FAULTY: u64 = 1 << 5;
const LEASE: u64 = 1 << 16;
const LEASES: u64 = 0xffff * LEASE;

/// One reading of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

impl Snapshot {
    pub(crate) fn state(self) -> ConnectionState {
        match self.0 & TAG {
            CONNECTING => ConnectionState::Connecting,
            IDLE => ConnectionState::Idle,
            ACTIVE => ConnectionState::Active,
            DISCONNECTED => ConnectionState::Disconnected,
            _ => ConnectionState::Error,
        }
    }

    #[inline]
    pub(crate) fn leases(self) -> u32 {
        u32::try_from((self.0 & LEASES) / LEASE).expect("BUG: sixteen bits fit")
    }

    #[inline]
    pub(crate) fn is_retiring(self) -> bool {
        self.0 & RETIRING != 0
    }

    #[inline]
    pub(crate) fn is_final(self) -> bool {
        matches!(self.0 & TAG, DISCONNECTED | ERROR)
    }

    #[inline]
    fn is_open_to_leases(self) -> bool {
        matches!(self.0 & TAG, IDLE | ACTIVE) && !self.is_retiring()
    }
}

/// What the end of a dial came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Opened {
    /// The connection can be leased; `push` its entry if so told.
    Open { push: bool },
    /// It was retired while it was being opened, and is final now: close it.
    Close,
}

/// What a try to lease by an entry came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Leased {
    /// The lease is ours. `requeue`: there is room for more, so push the entry back. `shared`:
    /// others hold leases as well.
    Taken { requeue: bool, shared: bool },
    /// No lease to be had; the popped entry is stale.
    No,
}

/// What a release came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Released {
    /// The connection can be leased again; `push` its entry if so told.
    Open { push: bool },
    /// The connection was retiring and this was its last lease: close it.
    Close,
    /// The connection retires, and others still hold leases.
    Draining,
    /// The connection was closed by force before.
    Orphan,
}

/// What retiring came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Retired {
    /// It is final now: close it.
    Close,
    /// Others hold leases; whoever ends the last of them closes it. `first`: nobody asked
    /// before, so arm its drain deadline.
    Draining { first: bool },
    /// It is being opened; its dialler closes it.
    Connecting,
    /// Somebody else has made it final.
    Already,
}

/// The atomic word.
pub(crate) struct StateWord(AtomicU64);

impl fmt::Debug for StateWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.snapshot();
        write!(f, "{} ({} leases)", now.state(), now.leases())
    }
}

impl StateWord {
    /// A connection that is being opened.
    pub(crate) fn connecting() -> Self {
        Self(AtomicU64::new(CONNECTING))
    }

    /// A reading for reports: it may be stale at once, and orders nothing.
    #[inline]
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Relaxed))
    }

    /// A reading after a change of another word that whoever changes this one looks at in turn.
    pub(crate) fn snapshot_after_change(&self) -> Snapshot {
        Snapshot(load_after_change(&self.0))
    }

    /// CONNECTING to ACTIVE with one lease, or to IDLE, unless it was retired meanwhile.
    pub(crate) fn transition_to_opened(&self, leased: bool, max: u16) -> Opened {
        let push = !leased || max > 1;
        let to = if leased { ACTIVE | LEASE } else { IDLE } | if push { QUEUED } else { 0 };
        match exchange_before_load(&self.0, CONNECTING, to) {
            Ok(_) => Opened::Open { push },
            // Nothing but its retirement changes the word of a connection that is being opened.
            Err(_) => {
                self.transition_to_not_opened(false);
                Opened::Close
            }
        }
    }

    /// CONNECTING to ERROR or DISCONNECTED.
    pub(crate) fn transition_to_not_opened(&self, faulty: bool) {
        let mark = if faulty { FAULTY } else { 0 };
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            assert!(
                seen & TAG == CONNECTING,
                "BUG: only its dialler moves a connection out of CONNECTING"
            );
            let to = Self::final_of(seen | mark);
            match self.0.compare_exchange_weak(seen, to, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return,
                Err(actual) => seen = actual,
            }
        }
    }

    /// One more lease, for whoever popped the entry.
    pub(crate) fn transition_to_leased(&self, max: u16) -> Leased {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let now = Snapshot(seen);
            let (to, answer) = if !now.is_open_to_leases() {
                return Leased::No;
            } else if now.leases() >= u32::from(max) {
                // Full: its entry goes, and the release that makes room brings a new one.
                (seen & !QUEUED, Leased::No)
            } else {
                let requeue = now.leases() + 1 < u32::from(max);
                let kept = if requeue { seen } else { seen & !QUEUED };
                let to = (kept & !TAG | ACTIVE) + LEASE;
                (to, Leased::Taken { requeue, shared: now.leases() > 0 })
            };
            match self.0.compare_exchange_weak(seen, to, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return answer,
                Err(actual) => seen = actual,
            }
        }
    }

    /// One more lease, found through the slot; the entry is left as it is. Returns whether
    /// others hold leases as well.
    pub(crate) fn transition_to_leased_in_place(&self, max: u16) -> Option<bool> {
        let mut seen = load_after_change(&self.0);
        loop {
            let now = Snapshot(seen);
            if !now.is_open_to_leases() || now.leases() >= u32::from(max) {
                return None;
            }
            let to = (seen & !TAG | ACTIVE) + LEASE;
            match self.0.compare_exchange_weak(seen, to, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(now.leases() > 0),
                Err(actual) => seen = actual,
            }
        }
    }

    /// The usual lease: of an idle, exclusive connection, by whoever popped its entry. Returns
    /// whether it was that; if not, nothing has changed.
    #[inline]
    pub(crate) fn transition_from_idle(&self) -> bool {
        let (from, to) = (IDLE | QUEUED, ACTIVE | LEASE);
        self.0.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// The usual release: of the only lease of a connection that stays. Returns whether its entry is to be
    /// pushed; `None` if it was no such release, and nothing has changed.
    #[inline]
    pub(crate) fn transition_to_idle(&self) -> Option<bool> {
        let seen = self.0.load(Ordering::Relaxed);
        if seen & !QUEUED != ACTIVE | LEASE {
            return None;
        }
        exchange_before_load(&self.0, seen, IDLE | QUEUED).ok().map(|_| seen & QUEUED == 0)
    }

    /// One lease less; the connection stays unless it is retiring.
    pub(crate) fn transition_to_released(&self) -> Released {
        self.give_up_lease(0)
    }

    /// One lease less, and no new ones: the connection retires.
    pub(crate) fn transition_to_discarded(&self, faulty: bool) -> Retired {
        let was_retiring = self.snapshot().is_retiring();
        match self.give_up_lease(RETIRING | if faulty { FAULTY } else { 0 }) {
            Released::Close => Retired::Close,
            Released::Draining => Retired::Draining { first: !was_retiring },
            Released::Orphan => Retired::Already,
            Released::Open { .. } => unreachable!("BUG: a retiring connection reopened"),
        }
    }

    fn give_up_lease(&self, mark: u64) -> Released {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let now = Snapshot(seen);
            debug_assert!(now.leases() > 0, "a release without a lease");
            let marked = (seen | mark) - LEASE;
            let left = marked & LEASES;
            let (to, answer) = if now.is_final() {
                (seen - LEASE, Released::Orphan)
            } else if marked & RETIRING != 0 {
                if left == 0 {
                    (Self::final_of(marked), Released::Close)
                } else {
                    (marked, Released::Draining)
                }
            } else {
                let tag = if left == 0 { IDLE } else { ACTIVE };
                let push = marked & QUEUED == 0;
                (marked & !TAG | tag | QUEUED, Released::Open { push })
            };
            match exchange_before_load(&self.0, seen, to) {
                Ok(_) => return answer,
                Err(actual) => seen = actual,
            }
        }
    }

    /// No new leases; final at once if there are none.
    pub(crate) fn transition_to_retired(&self, faulty: bool) -> Retired {
        let mark = RETIRING | if faulty { FAULTY } else { 0 };
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let now = Snapshot(seen);
            let (to, answer) = match seen & TAG {
                IDLE => (Self::final_of(seen | mark), Retired::Close),
                ACTIVE => (seen | mark, Retired::Draining { first: !now.is_retiring() }),
                CONNECTING => (seen | mark, Retired::Connecting),
                DISCONNECTED | ERROR => return Retired::Already,
                _ => unreachable!("BUG: no such tag"),
            };
            match self.0.compare_exchange_weak(seen, to, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return answer,
                Err(actual) => seen = actual,
            }
        }
    }

    /// The entry is gone, by whoever held it; the next release brings a new one.
    pub(crate) fn transition_to_unqueued(&self) {
        self.0.fetch_and(!QUEUED, Ordering::Relaxed);
    }

    /// IDLE to DISCONNECTED, against any acquire: exactly one of them wins.
    pub(crate) fn transition_to_reaped(&self) -> bool {
        let mut seen = self.0.load(Ordering::Relaxed);
        while seen & TAG == IDLE {
            let to = seen & !TAG | DISCONNECTED;
            match self.0.compare_exchange_weak(seen, to, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(actual) => seen = actual,
            }
        }
        false
    }

    /// Retiring to final, whatever leases are held; one that is still being opened is its
    /// dialler's. `announce` is told the number of leases
    /// that become orphans before they do, and what to take back if the step is lost.
    pub(crate) fn transition_to_forced(
        &self,
        announce: impl Fn(u32),
        take_back: impl Fn(u32),
    ) -> bool {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let now = Snapshot(seen);
            if seen & TAG != ACTIVE || !now.is_retiring() {
                return false;
            }
            announce(now.leases());
            let to = Self::final_of(seen);
            match self.0.compare_exchange_weak(seen, to, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(actual) => {
                    take_back(now.leases());
                    seen = actual;
                }
            }
        }
    }

    #[inline]
    fn final_of(word: u64) -> u64 {
        let tag = if word & FAULTY != 0 { ERROR } else { DISCONNECTED };
        word & !TAG | tag
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    fn idle() -> StateWord {
        let word = StateWord::connecting();
        let opened = word.transition_to_opened(false, 1);
        assert_eq!(opened, Opened::Open { push: true }, "an idle connection is pushed");
        word
    }

    const EXCLUSIVE: Leased = Leased::Taken { requeue: false, shared: false };

    #[test]
    fn an_exclusive_connection_serves_one_lease_at_a_time() {
        let word = idle();
        assert_eq!(word.transition_to_leased(1), EXCLUSIVE);
        assert_eq!(word.snapshot().state(), ConnectionState::Active);
        assert_eq!(word.transition_to_leased(1), Leased::No);
        assert_eq!(word.transition_to_leased_in_place(1), None);
        assert_eq!(word.transition_to_released(), Released::Open { push: true });
        assert_eq!(word.snapshot().state(), ConnectionState::Idle);
    }

    #[test]
    fn a_shared_connection_is_pushed_back_until_it_is_full_and_again_when_it_has_room() {
        let word = idle();
        assert_eq!(word.transition_to_leased(2), Leased::Taken { requeue: true, shared: false });
        assert_eq!(word.transition_to_leased(2), Leased::Taken { requeue: false, shared: true });
        assert_eq!(word.snapshot().leases(), 2);
        assert_eq!(word.transition_to_released(), Released::Open { push: true });
        assert_eq!(word.transition_to_released(), Released::Open { push: false });
        assert_eq!(word.snapshot().state(), ConnectionState::Idle);
    }

    #[test]
    fn an_entry_of_a_connection_leased_in_place_is_stale_and_comes_back_with_the_release() {
        let word = idle();
        assert_eq!(word.transition_to_leased_in_place(1), Some(false));
        assert_eq!(word.transition_to_leased(1), Leased::No, "whoever pops the entry drops it");
        assert_eq!(word.transition_to_released(), Released::Open { push: true });

        assert_eq!(word.transition_to_leased_in_place(1), Some(false));
        let early = word.transition_to_released();
        assert_eq!(early, Released::Open { push: false }, "the entry never left the queue");
    }

    #[test]
    fn a_retiring_connection_takes_no_lease_and_its_last_release_closes_it() {
        let word = idle();
        assert_eq!(word.transition_to_leased(3), Leased::Taken { requeue: true, shared: false });
        assert_eq!(word.transition_to_leased_in_place(3), Some(true));
        assert_eq!(word.transition_to_retired(false), Retired::Draining { first: true });
        assert_eq!(word.transition_to_retired(false), Retired::Draining { first: false });
        assert_eq!(word.transition_to_leased(3), Leased::No);
        assert_eq!(word.transition_to_released(), Released::Draining);
        assert_eq!(word.transition_to_discarded(true), Retired::Close);
        assert_eq!(word.snapshot().state(), ConnectionState::Error);
    }

    #[test]
    fn a_connection_that_is_retired_while_it_is_opened_never_opens() {
        let word = StateWord::connecting();
        assert_eq!(word.transition_to_retired(false), Retired::Connecting);
        assert_eq!(word.snapshot().state(), ConnectionState::Connecting);
        assert_eq!(word.transition_to_opened(true, 1), Opened::Close);
        assert_eq!(word.snapshot().state(), ConnectionState::Disconnected);
        assert_eq!(word.snapshot().leases(), 0);
    }

    #[test]
    fn a_forced_close_leaves_orphans_that_count_down() {
        let word = idle();
        assert_eq!(word.transition_to_leased(2), Leased::Taken { requeue: true, shared: false });
        let forced = |_| panic!("it does not retire, so nothing is forced");
        assert!(!word.transition_to_forced(forced, forced));
        assert_eq!(word.transition_to_retired(false), Retired::Draining { first: true });
        let orphans = std::cell::Cell::new(0);
        assert!(word.transition_to_forced(|n| orphans.set(n), |_| unreachable!()));
        assert_eq!(orphans.get(), 1);
        assert_eq!(word.snapshot().state(), ConnectionState::Disconnected);
        assert_eq!(word.transition_to_released(), Released::Orphan);
        assert_eq!(word.snapshot().leases(), 0);
    }

    #[test]
    fn a_forced_close_that_meets_a_release_announces_only_the_orphans_it_leaves() {
        let word = idle();
        assert_eq!(word.transition_to_leased(2), Leased::Taken { requeue: true, shared: false });
        assert_eq!(word.transition_to_leased_in_place(2), Some(true));
        assert_eq!(word.transition_to_retired(false), Retired::Draining { first: true });
        let orphans = std::cell::Cell::new(0);
        let announce = |leases| {
            orphans.set(orphans.get() + leases);
            if leases == 2 {
                // As by another thread, between the look at the word and the step.
                assert_eq!(word.transition_to_released(), Released::Draining);
            }
        };
        assert!(word.transition_to_forced(announce, |leases| orphans.set(orphans.get() - leases)));
        assert_eq!((orphans.get(), word.snapshot().leases()), (1, 1));
    }

    #[test]
    fn the_reaper_takes_idle_connections_only() {
        let word = idle();
        assert_eq!(word.transition_to_leased(1), EXCLUSIVE);
        assert!(!word.transition_to_reaped());
        assert_eq!(word.transition_to_released(), Released::Open { push: true });
        assert!(word.transition_to_reaped());
        assert!(!word.transition_to_reaped());
        assert_eq!(word.transition_to_leased(1), Leased::No);
        assert_eq!(word.transition_to_retired(true), Retired::Already);
    }

    #[test]
    fn one_that_is_being_opened_is_forced_by_nobody() {
        let word = StateWord::connecting();
        assert_eq!(word.transition_to_retired(false), Retired::Connecting);
        assert!(!word.transition_to_forced(|_| (), |_| ()));
        assert_eq!(word.transition_to_opened(false, 1), Opened::Close, "its dialler closes it");
    }
}
