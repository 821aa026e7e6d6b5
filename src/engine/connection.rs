//! The record of one connection: its state word and everything that may be read of it from
//! outside without a lock.
//!
//! Owns the counters of the connection. Never decides when the connection ends; the account
//! pool does.
//!
//! # Orderings
//! The counters here are relaxed: they guard nothing, and a reader of statistics may see one
//! update before another. The connection itself is published by the `OnceLock` and then by the
//! state word.

use std::panic::Location;
use std::sync::{Arc, OnceLock};

use crate::base::call_site;
use crate::base::clock::Tick;
use crate::base::sync::{AtomicU64, Cell, Ordering};
use crate::connection::{CloseReason, ConnectionId, Source};
use crate::engine::handed::{Handed, Recipient};
use crate::engine::health::Unready;
use crate::engine::state::StateWord;

impl From<Unready> for CloseReason {
    fn from(unready: Unready) -> Self {
        match unready {
            Unready::Closed => Self::Shutdown,
            Unready::Draining | Unready::NoSession => Self::Drain,
            Unready::Quarantined(_) => Self::Quarantine,
        }
    }
}

/// What a dial is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Somebody who waits; not worth while once nobody does.
    Waiter,
    /// A connection in advance.
    WarmUp,
    /// A suspect session: does the server know it?
    Probe,
}

/// What exists once the connection is open.
#[derive(Debug)]
pub(crate) struct OpenConnection<C> {
    pub(crate) connection: C,
    pub(crate) created: Tick,
}

/// The lease that began a connection's time in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldLease {
    pub(crate) since: Tick,
    /// Where it was acquired.
    pub(crate) site: Option<&'static Location<'static>>,
    /// Not if it was handed to an acquire that has not been polled since.
    pub(crate) is_taken: bool,
}

/// Errors so far, in the low half of the notes.
const ERRORS: u64 = 0xffff_ffff;
/// Why it ends, plus one, in eight bits; zero if nobody has said so yet.
const REASON_SHIFT: u32 = 32;
const REASON: u64 = 0xff << REASON_SHIFT;
/// A borrower panicked, or a call came to no answer, and nobody has checked the connection since.
const SUSPECT: u64 = 1 << 40;
/// The pool checks it, and lends it to nobody before it has passed.
const CHECKING: u64 = 1 << 41;

/// One connection, from the start of its dial to the end of its close.
///
/// What each lease reads or writes comes first, so that two threads that use the same connection move as
/// few cache lines between them as possible.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Connection<C> {
    pub(crate) word: StateWord,
    last_used: AtomicU64,
    /// Leases that it served while nobody else held one.
    exclusive_uses: AtomicU64,
    /// Leases that it served beside others.
    shared_uses: AtomicU64,
    /// The number of the thread that took its entry last.
    pub(crate) last_thread: AtomicU64,
    held_since: AtomicU64,
    // From here on few leases write.
    held_at: AtomicU64,
    /// To whom leases of it were handed that were waited for.
    handed: Handed<C>,
    /// Errors, the reason of its end, and whether it is suspect.
    notes: AtomicU64,
    /// When it reaches its own age limit, jitter included; the end of time until it is open.
    retire_at: AtomicU64,
    /// The account's generation that it was begun under. Compared with the whole gate: equal only if the
    /// generation is the same and no flag is set.
    pub(crate) generation: u64,
    pub(crate) slot: u16,
    pub(crate) max_leases: u16,
    /// What it was dialled for.
    pub(crate) purpose: Purpose,
    /// When the reaper visits it next: the tick of its wheel entry.
    next_visit: AtomicU64,
    live: OnceLock<OpenConnection<C>>,
    pub(crate) id: ConnectionId,
    /// The uses that the reaper saw, and since when there were no more; its own memory.
    watched_uses: AtomicU64,
    watched_since: AtomicU64,
    last_error: Cell<String>,
}

impl<C> Connection<C> {
    pub(crate) fn new(
        id: ConnectionId,
        slot: u16,
        max_leases: u16,
        generation: u64,
        purpose: Purpose,
    ) -> Self {
        Self {
            word: StateWord::connecting(),
            last_used: AtomicU64::new(0),
            exclusive_uses: AtomicU64::new(0),
            shared_uses: AtomicU64::new(0),
            retire_at: AtomicU64::new(Tick::MAX),
            notes: AtomicU64::new(0),
            held_since: AtomicU64::new(0),
            held_at: AtomicU64::new(0),
            handed: Handed::new(),
            last_thread: AtomicU64::new(0),
            generation,
            slot,
            max_leases,
            purpose,
            live: OnceLock::new(),
            id,
            next_visit: AtomicU64::new(0),
            watched_uses: AtomicU64::new(0),
            watched_since: AtomicU64::new(0),
            last_error: Cell::empty(),
        }
    }

    pub(crate) fn open(&self, connection: C, created: Tick, retire_at: Tick) {
        self.last_used.store(created, Ordering::Relaxed);
        self.retire_at.store(retire_at, Ordering::Relaxed);
        let live = OpenConnection { connection, created };
        assert!(self.live.set(live).is_ok(), "BUG: a connection was opened twice");
    }

    /// What exists since the connection opened; `None` while it is being opened.
    pub(crate) fn live(&self) -> Option<&OpenConnection<C>> {
        self.live.get()
    }

    /// The connection itself, for whoever holds a lease of it.
    #[inline]
    pub(crate) fn leased(&self) -> &OpenConnection<C> {
        self.live.get().expect("BUG: a lease of a connection that never opened")
    }

    /// When its age ends; the end of time while it is being opened.
    #[inline]
    pub(crate) fn retire_at(&self) -> Tick {
        self.retire_at.load(Ordering::Relaxed)
    }

    pub(crate) fn set_retire_at(&self, tick: Tick) {
        self.retire_at.store(tick, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn last_used(&self) -> Tick {
        self.last_used.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn set_last_used(&self, tick: Tick) {
        // A store takes the cache line from every other thread that uses the connection.
        if self.last_used.load(Ordering::Relaxed) != tick {
            self.last_used.store(tick, Ordering::Relaxed);
        }
    }

    /// Whether it must be checked before anybody else gets it.
    #[inline]
    pub(crate) fn is_suspect(&self) -> bool {
        self.notes.load(Ordering::Relaxed) & SUSPECT != 0
    }

    pub(crate) fn set_suspect(&self, suspect: bool) {
        if suspect {
            self.notes.fetch_or(SUSPECT, Ordering::Relaxed);
        } else {
            self.notes.fetch_and(!SUSPECT, Ordering::Relaxed);
        }
    }

    /// Whether it may be lent only after a closer look: it is suspect, or is being checked.
    #[inline]
    pub(crate) fn needs_inspection(&self) -> bool {
        self.notes.load(Ordering::Relaxed) & (SUSPECT | CHECKING) != 0
    }

    pub(crate) fn is_checking(&self) -> bool {
        self.notes.load(Ordering::Relaxed) & CHECKING != 0
    }

    /// It has passed its check: whoever leases it may use it.
    pub(crate) fn pass_check(&self) {
        self.set_checking(false);
    }

    /// Returns whether that is a change.
    pub(super) fn set_checking(&self, checking: bool) -> bool {
        let before = if checking {
            self.notes.fetch_or(CHECKING, Ordering::Relaxed)
        } else {
            self.notes.fetch_and(!CHECKING, Ordering::Relaxed)
        };
        (before & CHECKING != 0) != checking
    }

    /// When the reaper is to visit it next.
    pub(crate) fn next_visit(&self) -> Tick {
        self.next_visit.load(Ordering::Relaxed)
    }

    pub(crate) fn set_next_visit(&self, tick: Tick) {
        self.next_visit.store(tick, Ordering::Relaxed);
    }

    /// Counts a lease that reached its borrower, and returns the connection's count.
    #[inline]
    pub(crate) fn count_use(
        &self,
        source: Source,
        now: Tick,
        site: &'static Location<'static>,
    ) -> u64 {
        if source != Source::Shared {
            self.note_held(now, site);
        }
        if self.max_leases == 1 {
            // The only borrower is the only writer, so a load and a store lose nothing.
            let uses = self.exclusive_uses.load(Ordering::Relaxed) + 1;
            self.exclusive_uses.store(uses, Ordering::Relaxed);
            return uses;
        }
        let (one, other) = match source {
            Source::Shared => (&self.shared_uses, &self.exclusive_uses),
            Source::Idle | Source::New => (&self.exclusive_uses, &self.shared_uses),
        };
        one.fetch_add(1, Ordering::Relaxed) + 1 + other.load(Ordering::Relaxed)
    }

    /// Notes that a lease begins while nobody else holds one.
    #[inline]
    fn note_held(&self, now: Tick, site: &'static Location<'static>) {
        self.held_since.store(now, Ordering::Relaxed);
        let word = call_site::word_of(site);
        if self.held_at.load(Ordering::Relaxed) != word {
            call_site::remember(site);
            self.held_at.store(word, Ordering::Relaxed);
        }
    }

    /// Notes that a lease is handed to an acquire that waited for it, and may not take it at once.
    pub(super) fn note_handed(
        &self,
        to: Arc<dyn Recipient<C>>,
        site: &'static Location<'static>,
        source: Source,
        now: Tick,
    ) {
        if source != Source::Shared {
            self.note_held(now, site);
        }
        self.handed.add(to);
    }

    /// The leases that were handed over and not taken.
    pub(super) fn handed(&self) -> &Handed<C> {
        &self.handed
    }

    #[inline]
    pub(crate) fn uses(&self) -> u64 {
        self.exclusive_uses.load(Ordering::Relaxed) + self.shared_uses()
    }

    pub(crate) fn shared_uses(&self) -> u64 {
        self.shared_uses.load(Ordering::Relaxed)
    }

    /// Since when it has been leased without a break, and to whom; `None` if it is not, or to the pool,
    /// which checks it.
    pub(crate) fn held(&self) -> Option<HeldLease> {
        let word = self.held_at.load(Ordering::Relaxed);
        let leased = self.word.snapshot().leases() > 0 && word != 0 && !self.is_checking();
        leased.then(|| {
            let site = call_site::location_of(word);
            let is_taken = !site.is_some_and(|site| self.handed.waits_for(site));
            HeldLease { since: self.held_since.load(Ordering::Relaxed), site, is_taken }
        })
    }

    /// The reaper visits a leased connection. Returns since when it has been leased without a
    /// new lease, if that is for `limit` or longer and has not been told yet.
    pub(crate) fn held_too_long(&self, now: Tick, limit: u64) -> Option<Tick> {
        let uses = self.uses();
        if self.max_leases == 1 {
            let since = self.held_since.load(Ordering::Relaxed);
            let is_long = now.saturating_sub(since) >= limit;
            // Told once for each lease.
            let is_new = is_long && self.watched_uses.swap(uses, Ordering::Relaxed) != uses;
            return is_new.then_some(since);
        }
        // When a shared one last got a new lease is not kept: it is seen by the uses.
        if self.watched_uses.swap(uses, Ordering::Relaxed) != uses {
            self.watched_since.store(now, Ordering::Relaxed);
            return None;
        }
        let since = self.watched_since.load(Ordering::Relaxed);
        if now.saturating_sub(since) < limit {
            return None;
        }
        self.watched_since.store(Tick::MAX, Ordering::Relaxed);
        Some(since)
    }

    pub(crate) fn count_error(&self, text: String) {
        let count = |notes: u64| (notes & ERRORS < ERRORS).then_some(notes + 1);
        // Full at four thousand million errors: then it stays so.
        let _ = self.notes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        self.last_error.store(Some(Arc::new(text)));
    }

    pub(crate) fn errors(&self) -> u64 {
        self.notes.load(Ordering::Relaxed) & ERRORS
    }

    pub(crate) fn last_error(&self) -> Option<Arc<String>> {
        self.last_error.load()
    }

    /// Notes why the connection ends; the first reason stands.
    pub(crate) fn note_reason(&self, reason: CloseReason) {
        let note = |notes: u64| {
            (notes & REASON == 0).then_some(notes | (reason as u64 + 1) << REASON_SHIFT)
        };
        let _ = self.notes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, note);
    }

    pub(crate) fn reason(&self) -> CloseReason {
        let noted = (self.notes.load(Ordering::Relaxed) & REASON) >> REASON_SHIFT;
        let noted = usize::try_from(noted).expect("BUG: eight bits fit");
        noted
            .checked_sub(1)
            .and_then(|index| CloseReason::ALL.get(index).copied())
            .unwrap_or(CloseReason::Requested)
    }
}
