//! Atomics, mutexes and the shared containers of the engine; under `--cfg pool_loom` those of loom instead.
//!
//! Owns thin façades: [`Mutex`] (never poisoned), [`IdleQueue`], [`AtomicOption`], [`Cell`],
//! [`OnceLock`], [`Permits`].
//! Holds no policy. The only module that names them.
//!
//! # Orderings
//! Sequential consistency is asked for here and nowhere else. A thread changes one word with
//! one of the functions called `.._before_load` and then loads another with
//! [`load_after_change`]. If two threads do so crosswise, at least one of them sees the other's
//! change, because all four accesses take part in the single total order. On x86 the
//! read-modify-write is the barrier and the load costs nothing; an explicit fence after it would
//! cost as much as the rest of a release.
//!
//! Loom takes a sequentially consistent access for an acquire or release, but knows fences. So
//! under loom the load fences if, and only if, this thread has made such a change since its last
//! such load: leave out either half, and a model fails.

use std::cell::Cell as ThreadCell;
use std::future::{Future, poll_fn};
use std::sync::LazyLock;

#[cfg(any(feature = "telegram", feature = "sandbox"))]
pub(crate) use std::sync::atomic::AtomicBool;
#[cfg(feature = "telegram")]
pub(crate) use std::sync::atomic::AtomicU32;
#[cfg(not(pool_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(pool_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Loads a word after this thread has changed another one; see the module's "Orderings".
#[inline]
pub(crate) fn load_after_change(word: &AtomicU64) -> u64 {
    #[cfg(pool_loom)]
    model::fence_if_changed();
    word.load(Ordering::SeqCst)
}

/// Sets bits of a word before this thread loads others with [`load_after_change`].
pub(crate) fn set_bits_before_load(word: &AtomicU64, bits: u64) {
    word.fetch_or(bits, Ordering::SeqCst);
    #[cfg(pool_loom)]
    model::note_change();
}

/// Sets a word before this thread loads others with [`load_after_change`].
pub(crate) fn set_before_load(word: &AtomicU64, value: u64) {
    word.swap(value, Ordering::SeqCst);
    #[cfg(pool_loom)]
    model::note_change();
}

/// Exchanges a word, acquiring and releasing, before this thread loads others with
/// [`load_after_change`]. A failure orders nothing.
#[inline]
pub(crate) fn exchange_before_load(word: &AtomicU64, from: u64, to: u64) -> Result<u64, u64> {
    let done = word.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed);
    #[cfg(pool_loom)]
    if done.is_ok() {
        model::note_change();
    }
    done
}

/// How many threads have asked for their number.
static THREADS: LazyLock<std::sync::Mutex<u64>> = LazyLock::new(std::sync::Mutex::default);

thread_local! {
    /// The number of this thread, plus one; zero until it is asked for.
    static NUMBER: ThreadCell<u64> = const { ThreadCell::new(0) };
}

/// A small number that this thread keeps as long as it lives: threads are counted as they ask.
#[inline]
pub(crate) fn thread_number() -> u64 {
    // `try_with`, because a lease may be acquired while the thread's locals are being dropped.
    match NUMBER.try_with(ThreadCell::get).unwrap_or(1) {
        0 => count_thread(),
        number => number - 1,
    }
}

#[cold]
fn count_thread() -> u64 {
    let mut threads = THREADS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *threads += 1;
    NUMBER.try_with(|number| number.set(*threads)).ok();
    *threads - 1
}

/// A mutex that a panic does not poison: no code of a user runs under any lock of the pool.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(Inner<T>);

#[cfg(not(pool_loom))]
type Inner<T> = std::sync::Mutex<T>;
#[cfg(not(pool_loom))]
pub(crate) type MutexGuard<'a, T> = std::sync::MutexGuard<'a, T>;
#[cfg(pool_loom)]
type Inner<T> = loom::sync::Mutex<T>;
#[cfg(pool_loom)]
pub(crate) type MutexGuard<'a, T> = loom::sync::MutexGuard<'a, T>;

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Permits of connections: one belongs to a connection, not to an acquire, and whoever takes
/// one owes one [`Permits::put_back`].
#[derive(Debug)]
pub(crate) struct Permits(Semaphore);

#[cfg(pool_loom)]
use model::Semaphore;
#[cfg(not(pool_loom))]
use tokio::sync::Semaphore;

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        Self(Semaphore::new(count))
    }

    /// Takes a permit if one is free and nobody waits.
    pub(crate) fn try_take(&self) -> bool {
        self.0.try_acquire().map(|permit| permit.forget()).is_ok()
    }

    /// Waits for a permit, first come, first served.
    pub(crate) fn take(&self) -> impl Future<Output = ()> + Send + '_ {
        let mut acquire = Box::pin(self.0.acquire());
        poll_fn(move |context| {
            acquire.as_mut().poll(context).map(|permit| {
                permit.expect("BUG: the semaphore is never closed").forget();
            })
        })
    }

    pub(crate) fn put_back(&self, count: usize) {
        self.0.add_permits(count);
    }

    /// Destroys up to `count` free permits, and says how many there were.
    pub(crate) fn destroy(&self, count: usize) -> usize {
        self.0.forget_permits(count)
    }

    pub(crate) fn free(&self) -> usize {
        self.0.available_permits()
    }
}

#[cfg(not(pool_loom))]
mod real {
    use std::sync::Arc;

    use crossbeam_utils::atomic::AtomicCell;

    /// The idle connections of one account, in the order of their release.
    #[derive(Debug)]
    pub(crate) struct IdleQueue<T>(crossbeam_queue::ArrayQueue<T>);

    impl<T> IdleQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            Self(crossbeam_queue::ArrayQueue::new(capacity))
        }

        /// How many entries there were a moment ago.
        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }

        #[inline]
        pub(crate) fn pop(&self) -> Option<T> {
            self.0.pop()
        }

        /// Pushes, or gives back the oldest entry that had to make room.
        #[inline]
        pub(crate) fn force_push(&self, value: T) -> Option<T> {
            self.0.force_push(value)
        }
    }

    /// One shared value or none, exchanged in one atomic step; it is taken out to be used.
    pub(crate) struct AtomicOption<T>(AtomicCell<Option<Arc<T>>>);

    const _: () = assert!(AtomicCell::<Option<Arc<()>>>::is_lock_free());

    impl<T> AtomicOption<T> {
        pub(crate) const fn empty() -> Self {
            Self(AtomicCell::new(None))
        }

        #[inline]
        pub(crate) fn take(&self) -> Option<Arc<T>> {
            self.0.take()
        }

        /// Returns the value that was there.
        #[inline]
        pub(crate) fn replace(&self, value: Arc<T>) -> Option<Arc<T>> {
            self.0.swap(Some(value))
        }
    }

    impl<T> std::fmt::Debug for AtomicOption<T> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("AtomicOption").finish_non_exhaustive()
        }
    }

    /// One shared value or none, read without a lock.
    #[derive(Debug)]
    pub(crate) struct Cell<T>(arc_swap::ArcSwapOption<T>);

    impl<T> Cell<T> {
        pub(crate) fn empty() -> Self {
            Self(arc_swap::ArcSwapOption::const_empty())
        }

        pub(crate) fn store(&self, value: Option<Arc<T>>) {
            self.0.store(value);
        }

        pub(crate) fn load(&self) -> Option<Arc<T>> {
            self.0.load_full()
        }

        /// Calls a closure with the value, if there is one, without counting a reference.
        pub(crate) fn inspect(&self, inspect: impl FnOnce(&T)) {
            if let Some(value) = &*self.0.load() {
                inspect(value);
            }
        }

        /// Looks at the value without counting a reference, and clones it only if asked to.
        pub(crate) fn clone_if(&self, wanted: impl FnOnce(&T) -> bool) -> Option<Arc<T>> {
            let guard = self.0.load();
            guard.as_ref().filter(|value| wanted(value)).map(Arc::clone)
        }
    }
}

#[cfg(not(pool_loom))]
pub(crate) use real::{AtomicOption, Cell, IdleQueue};
#[cfg(not(pool_loom))]
pub(crate) use std::sync::OnceLock;

#[cfg(pool_loom)]
mod model;

#[cfg(all(test, pool_loom))]
pub(crate) use model::forget_entries;
#[cfg(pool_loom)]
pub(crate) use model::{AtomicOption, Cell, IdleQueue, OnceLock};
