//! The idle connections of an account, and the order in which they are reused.
//!
//! Owns the ways to an idle connection: by its entry, and through the slots. Decides nothing about
//! who may have it.
//!
//! The entry of an account's only connection lies in the account itself, beside the gate: with tens
//! of thousands of accounts it is memory that an acquire waits for, and so it touches the account and
//! the connection, and nothing else. With the second connection the account gets its queue. Which of
//! the two a step prefers depends on how many connections it sees; whoever finds the one empty looks
//! into the other, so that no entry is lost when that number changes. The entry of a closed connection
//! is stale: it is dropped where no lock is held, because it may be the last reference to what the
//! manager made.
//!
//! # Orderings
//! The state word decides every claim. The number of connections, the last thread of one and the time of
//! contention are hints that choose between two right ways, so that they are relaxed.

use std::sync::Arc;

use crate::base::clock::Tick;
use crate::base::sync::{AtomicOption, AtomicU64, Cell, IdleQueue, Ordering};
use crate::connection::Source;
use crate::engine::AccountPool;
use crate::engine::connection::Connection;
use crate::engine::effects::Stale;
use crate::engine::state::Leased;
use crate::manager::SLOTS_MAX;

/// How often within a step of the coarse clock, which is 10 ms, a connection must pass from thread to
/// thread for these to contend: less often it costs less than thread affinity does.
const CHANGES: u64 = 64;
/// The number of changes, in the low bits of a word; the tick that they are of is above.
const COUNT_BITS: u32 = 16;
/// For how long it is taken to last, in milliseconds: until then the order of reuse is given up.
pub(super) const CONTENDED: Tick = 50;

/// The words of an account that tell an acquire's fast path where to look.
#[derive(Debug)]
#[repr(C)]
pub(super) struct FastPath<C> {
    /// The slots that hold a connection, as bits.
    occupied: AtomicU64,
    /// The entry of the account's only connection.
    single: AtomicOption<Connection<C>>,
    pub(super) contention: Contention,
}

impl<C> FastPath<C> {
    pub(super) fn new() -> Self {
        Self {
            occupied: AtomicU64::new(0),
            single: AtomicOption::empty(),
            contention: Contention::default(),
        }
    }

    /// The slots that hold a connection, as bits: a hint that spares a reader the empty ones.
    pub(super) fn occupied(&self) -> u64 {
        self.occupied.load(Ordering::Relaxed)
    }

    #[inline]
    fn is_single(&self) -> bool {
        self.occupied().is_power_of_two()
    }
}

/// Whether threads contend for an account's connections: how often these move from one to another.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Contention {
    /// Until when they count as contending.
    contended_until: AtomicU64,
    /// How often connections have passed from thread to thread in the step that is above the count.
    changes: AtomicU64,
}

impl Contention {
    #[inline]
    pub(super) fn is_contended(&self, now: Tick) -> bool {
        now < self.contended_until.load(Ordering::Relaxed)
    }

    /// A connection has passed from one thread to another. A change that is lost to another thread
    /// at the same time is not missed.
    fn note_change(&self, now: Tick) {
        let changes = self.changes.load(Ordering::Relaxed);
        let is_same_step = changes >> COUNT_BITS == now;
        let changes = if is_same_step { changes + 1 } else { now << COUNT_BITS };
        self.changes.store(changes, Ordering::Relaxed);
        if changes & ((1 << COUNT_BITS) - 1) >= CHANGES {
            self.set_contended(now + CONTENDED);
        }
    }

    pub(super) fn set_contended(&self, until: Tick) {
        self.contended_until.store(until, Ordering::Relaxed);
    }
}

impl<C, E> AccountPool<C, E> {
    /// A slot holds a connection from now on. Under the lock, like its opposite, so that both know the
    /// number of connections.
    pub(super) fn occupy(&self, slot: u16, stale: &mut Stale<C>) {
        if self.fast_path.occupied() != 0 {
            // Made here, and not by the release that is the first to need it.
            self.queue();
        }
        self.fast_path.occupied.fetch_or(1 << slot, Ordering::Relaxed);
        self.enqueue_single(stale);
    }

    /// Moves the single entry, beside the gate, into the queue, if there is one. Once more when the second
    /// connection is open: a release that was under way as it came may have seen but one.
    pub(super) fn enqueue_single(&self, stale: &mut Stale<C>) {
        if self.fast_path.is_single() {
            return;
        }
        if let Some(entry) = self.fast_path.single.take() {
            self.requeue(entry, stale);
        }
    }

    /// Puts an entry back at the end, unless it is stale.
    fn requeue(&self, entry: Arc<Connection<C>>, stale: &mut Stale<C>) {
        if entry.word.snapshot().is_final() {
            stale.push(entry);
        } else {
            self.enqueue(entry);
        }
    }

    /// A slot holds none any more.
    pub(super) fn unoccupy(&self, slot: u16) {
        self.fast_path.occupied.fetch_and(!(1 << slot), Ordering::Relaxed);
    }

    /// The connection that was used longest ago; notes if it moves to another thread by that.
    #[inline(always)]
    pub(super) fn pop_for_thread(
        &self,
        now: Tick,
        thread: u64,
    ) -> Option<(Arc<Connection<C>>, Source)> {
        let (connection, source) = self.pop()?;
        if connection.last_thread.load(Ordering::Relaxed) != thread {
            connection.last_thread.store(thread, Ordering::Relaxed);
            self.fast_path.contention.note_change(now);
        }
        Some((connection, source))
    }

    /// While threads contend: the connection that this thread has affinity to, by its number, if it has
    /// room. Its entry stays where it is, so that the threads share neither the ends of the queue nor a
    /// connection, as long as there are enough of these.
    pub(super) fn lease_affine(&self, thread: u64) -> Option<(Arc<Connection<C>>, Source)> {
        let body = self.body.get()?;
        let mut occupied = self.fast_path.occupied();
        let count = u64::from(occupied.count_ones());
        for _ in 0..thread.checked_rem(count)? {
            occupied &= occupied - 1;
        }
        Self::lease_through(body.slot(occupied.trailing_zeros() as usize)?, |_| true)
    }

    /// Leases the connection whose entry comes first.
    #[inline]
    pub(super) fn pop(&self) -> Option<(Arc<Connection<C>>, Source)> {
        let connection = self.take_entry()?;
        if connection.max_leases == 1 && connection.word.transition_from_idle() {
            return Some((connection, Source::Idle));
        }
        self.pop_past(connection)
    }

    fn pop_past(&self, connection: Arc<Connection<C>>) -> Option<(Arc<Connection<C>>, Source)> {
        self.pop_from(connection, &mut Stale::new())
    }

    /// The same with the lock held.
    pub(super) fn pop_locked(&self, stale: &mut Stale<C>) -> Option<(Arc<Connection<C>>, Source)> {
        self.pop_from(self.take_entry()?, stale)
    }

    /// The same for an entry that was popped and is shared or stale, and those behind it.
    fn pop_from(
        &self,
        mut connection: Arc<Connection<C>>,
        stale: &mut Stale<C>,
    ) -> Option<(Arc<Connection<C>>, Source)> {
        // Each turn drops a stale entry for good; there is one at most of each connection. None that
        // was not looked at is dropped: its connection would count as queued for ever.
        for _ in 0..2 * SLOTS_MAX {
            match connection.word.transition_to_leased(connection.max_leases) {
                Leased::Taken { requeue, shared } => {
                    if requeue {
                        self.push(Arc::clone(&connection));
                    }
                    return Some((connection, Source::of_live(shared)));
                }
                Leased::No => stale.push(connection),
            }
            connection = self.take_entry()?;
        }
        self.push(connection);
        None
    }

    #[inline]
    fn take_entry(&self) -> Option<Arc<Connection<C>>> {
        if self.fast_path.is_single()
            && let Some(entry) = self.fast_path.single.take()
        {
            return Some(entry);
        }
        self.take_queued()
    }

    #[inline]
    fn take_queued(&self) -> Option<Arc<Connection<C>>> {
        let queued = self.body.get()?.idle.get().and_then(|queue| queue.pop());
        queued.or_else(|| self.fast_path.single.take())
    }

    /// Leases any connection with room, whatever the entries show.
    pub(super) fn lease_through_slots(&self) -> Option<(Arc<Connection<C>>, Source)> {
        self.body.get()?.all_slots().find_map(|slot| Self::lease_through(slot, |_| true))
    }

    pub(super) fn lease_through(
        slot: &Cell<Connection<C>>,
        serves: impl FnOnce(&Connection<C>) -> bool,
    ) -> Option<(Arc<Connection<C>>, Source)> {
        let mut source = Source::Idle;
        let connection = slot.clone_if(|connection| {
            serves(connection)
                && match connection.word.transition_to_leased_in_place(connection.max_leases) {
                    Some(shared) => {
                        source = Source::of_live(shared);
                        true
                    }
                    None => false,
                }
        })?;
        Some((connection, source))
    }

    /// Puts an entry at the end.
    #[inline]
    pub(super) fn push(&self, connection: Arc<Connection<C>>) {
        let (occupied, own) = (self.fast_path.occupied(), 1 << connection.slot);
        if occupied != own {
            self.push_further(connection, occupied & own != 0);
        } else if let Some(displaced) = self.fast_path.single.replace(connection) {
            self.enqueue_displaced(displaced);
        }
    }

    fn push_further(&self, connection: Arc<Connection<C>>, is_live: bool) {
        // If not, it was closed, and its slot vacated, since it was made idle.
        if is_live {
            self.enqueue(connection);
        }
    }

    /// There were two connections a moment ago, or there will be.
    #[cold]
    fn enqueue_displaced(&self, displaced: Arc<Connection<C>>) {
        self.requeue(displaced, &mut Stale::new());
    }

    fn queue(&self) -> &IdleQueue<Arc<Connection<C>>> {
        let make = || Box::new(IdleQueue::new(self.queue_len()));
        self.body().idle.get_or_init(make)
    }

    /// Pushes an entry. A full queue holds stale entries of closed connections, and the oldest entry makes
    /// room.
    #[inline]
    fn enqueue(&self, connection: Arc<Connection<C>>) {
        if let Some(evicted) = self.queue().force_push(connection) {
            Self::let_go(&evicted);
        }
    }

    /// As a rule the entry was stale. If it was a live one, its connection is found through its slot, and
    /// queued again on its return.
    #[cold]
    fn let_go(evicted: &Connection<C>) {
        evicted.word.transition_to_unqueued();
    }

    /// Takes the entries of closed connections out. Without this, what the manager made of them would
    /// live until the next acquire came by. The others keep their order.
    pub(super) fn remove_stale(&self, stale: &mut Stale<C>) {
        if let Some(queue) = self.body.get().and_then(|body| body.idle.get()) {
            for _ in 0..queue.len() {
                let Some(entry) = queue.pop() else { break };
                self.requeue(entry, stale);
            }
        }
        match self.fast_path.single.take() {
            Some(entry) if entry.word.snapshot().is_final() => stale.push(entry),
            Some(entry) => self.push(entry),
            None => {}
        }
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    #![expect(clippy::unwrap_used, let_underscore_drop, reason = "a test carries out few duties")]

    use super::*;
    use crate::account_id::AccountId;
    use crate::base::clock::EPOCH;
    use crate::connection::{CloseReason, ConnectionId};
    use crate::engine::{Pressure, Purpose, Take};

    type Engine = AccountPool<u32, std::io::Error>;

    fn engine() -> Engine {
        AccountPool::new(AccountId::bot(1).unwrap(), 4, 0, 4, 1)
    }

    /// Opens one more connection, which lies idle then.
    fn open(engine: &Engine, id: u64) -> Arc<Connection<u32>> {
        let body = engine.body();
        let order = engine
            .take_slot(body, &mut body.core.lock(), EPOCH, Purpose::WarmUp)
            .expect("there is a slot");
        let connection = engine.begin_dial(order, ConnectionId(id)).unwrap();
        let _ = engine.complete_dial(&connection, 7, Tick::MAX, EPOCH);
        connection
    }

    fn lease(engine: &Engine) -> Arc<Connection<u32>> {
        match engine.try_lease(EPOCH, 0) {
            Take::Leased(connection, _) => connection,
            other => panic!("{other:?}"),
        }
    }

    fn release(engine: &Engine, connection: Arc<Connection<u32>>) {
        assert!(engine.release(connection, EPOCH, Pressure::Calm).is_none(), "nobody waits");
    }

    /// Leases as often as there are connections expected: each time the one that was used longest ago.
    fn assert_order<'a>(
        engine: &Engine,
        expected: impl IntoIterator<Item = &'a Arc<Connection<u32>>>,
    ) {
        for expected in expected {
            let leased = lease(engine);
            assert_eq!(leased.id, expected.id, "the one that was used longest ago");
            release(engine, leased);
        }
    }

    fn close(engine: &Engine, connection: &Arc<Connection<u32>>) {
        for connection in engine.retire(connection, CloseReason::Requested, EPOCH).close {
            drop(engine.vacate(&connection, EPOCH, 0.0));
        }
    }

    #[test]
    fn an_account_gets_its_queue_with_the_second_connection_and_keeps_the_order_of_reuse() {
        let engine = engine();
        let first = open(&engine, 1);
        release(&engine, lease(&engine));
        assert!(engine.body().idle.get().is_none(), "there is nothing to put in order");
        let second = open(&engine, 2);
        assert_eq!(engine.body().idle.get().unwrap().len(), 2, "the first has joined the queue");
        assert_order(&engine, [&first, &second, &first, &second]);
    }

    #[test]
    fn the_connection_that_is_left_is_found_and_the_closed_ones_are_let_go_of() {
        let engine = engine();
        let connections = [open(&engine, 1), open(&engine, 2), open(&engine, 3)];
        close(&engine, &connections[0]);
        close(&engine, &connections[2]);
        assert_order(&engine, [&connections[1]; 3]);
        assert_eq!(engine.body().idle.get().unwrap().len(), 0, "it lies beside the gate again");
        close(&engine, &connections[1]);
        assert!(matches!(engine.try_lease_any(EPOCH, 0), Take::Empty));
        for connection in connections {
            assert_eq!(Arc::strong_count(&connection), 1, "nothing of it is kept");
        }
    }

    #[test]
    fn a_close_leaves_nothing_of_its_connection_and_the_others_in_their_order() {
        let engine = engine();
        let mut connections: Vec<_> = (1..=4).map(|id| open(&engine, id)).collect();
        // The youngest each time: the entries before it are those that are moved.
        while let Some(youngest) = connections.pop() {
            close(&engine, &youngest);
            assert_eq!(Arc::strong_count(&youngest), 1, "with {} left", connections.len());
            assert_order(&engine, &connections);
        }
    }

    #[test]
    fn what_is_closed_under_a_release_is_not_put_back() {
        let engine = engine();
        let closed = open(&engine, 1);
        close(&engine, &closed);
        // As by a release that was held up between its two steps.
        engine.push(Arc::clone(&closed));
        assert_eq!(Arc::strong_count(&closed), 1);
        assert!(engine.body().idle.get().is_none(), "nor is anything made for it");
    }

    #[test]
    fn one_whose_entry_made_room_for_a_stale_one_is_found_and_queued_again() {
        let engine = AccountPool::new(AccountId::bot(1).unwrap(), 2, 0, 2, 1);
        let closed = open(&engine, 1);
        close(&engine, &closed);
        let live = [open(&engine, 2), open(&engine, 3)];
        // As by a release that was held up between its two steps, until its slot was taken anew.
        engine.push(Arc::clone(&closed));
        assert_eq!(engine.body().idle.get().unwrap().len(), 2, "there is room for no more");
        let first = lease(&engine);
        assert_eq!(first.id, live[1].id, "the entry of the other has made room");
        let Take::Leased(second, _) = engine.try_lease_any(EPOCH, 0) else {
            panic!("it is found through its slot")
        };
        assert_eq!(second.id, live[0].id);
        assert_eq!(Arc::strong_count(&closed), 1, "nothing of the closed one is kept");
        release(&engine, first);
        release(&engine, second);
        assert_order(&engine, [&live[1], &live[0], &live[1], &live[0]]);
    }

    #[test]
    fn two_that_were_each_taken_for_the_only_one_are_both_found() {
        let engine = engine();
        let both = [open(&engine, 1), open(&engine, 2)];
        let leased = [lease(&engine), lease(&engine)];
        for connection in leased {
            // As a release sees it that knows of its own connection and not yet of the other.
            engine.fast_path.occupied.store(1 << connection.slot, Ordering::Relaxed);
            release(&engine, connection);
        }
        assert_eq!(engine.body().idle.get().unwrap().len(), 1, "one has made room for the other");
        engine.fast_path.occupied.store(0b11, Ordering::Relaxed);
        let mut found = [lease(&engine).id, lease(&engine).id];
        found.sort_unstable();
        assert_eq!(found, both.map(|connection| connection.id));
    }
}
