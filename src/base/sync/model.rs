//! The stand-ins under loom: weaker than the real containers wherever nothing may rely on those.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use super::{AtomicUsize, Mutex, Ordering};

thread_local! {
    // A model runs on one thread of the system, whatever threads it models.
    static FORGETFUL: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

loom::thread_local! {
    static CHANGED: std::cell::Cell<bool> = std::cell::Cell::new(false);
}

/// A change was made that the total order knows.
pub(crate) fn note_change() {
    CHANGED.with(|changed| changed.set(true));
}

/// The load that belongs to such a change.
pub(crate) fn fence_if_changed() {
    if CHANGED.with(|changed| changed.replace(false)) {
        loom::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// Makes the queues of this model forget every entry, or keep them.
#[cfg(test)]
pub(crate) fn forget_entries(forgetful: bool) {
    FORGETFUL.set(forgetful);
}

/// Two stand-ins in one. One keeps its entries under a mutex, whose edges would hide that an
/// ordering is missing elsewhere. The other forgets them all: what holds with it relies on
/// the queue for nothing but the order of reuse.
#[derive(Debug)]
pub(crate) struct IdleQueue<T> {
    entries: Mutex<VecDeque<T>>,
    capacity: usize,
}

impl<T> IdleQueue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: Mutex::new(VecDeque::new()), capacity }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    pub(crate) fn pop(&self) -> Option<T> {
        if FORGETFUL.get() {
            return None;
        }
        self.entries.lock().pop_front()
    }

    pub(crate) fn force_push(&self, value: T) -> Option<T> {
        if FORGETFUL.get() {
            return None;
        }
        let mut entries = self.entries.lock();
        let evicted = if entries.len() == self.capacity { entries.pop_front() } else { None };
        entries.push_back(value);
        evicted
    }
}

/// Stands in for the atomic cell, and forgets as the queue does.
#[derive(Debug)]
pub(crate) struct AtomicOption<T>(Mutex<Option<Arc<T>>>);

impl<T> AtomicOption<T> {
    pub(crate) fn empty() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn take(&self) -> Option<Arc<T>> {
        self.0.lock().take()
    }

    pub(crate) fn replace(&self, value: Arc<T>) -> Option<Arc<T>> {
        if FORGETFUL.get() { None } else { self.0.lock().replace(value) }
    }
}

/// Stands in for the standard library's, and may show another thread that a value is there later
/// than it is made.
#[derive(Debug)]
pub(crate) struct OnceLock<T> {
    made: AtomicUsize,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self { made: AtomicUsize::new(0), value: std::sync::OnceLock::new() }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.made.load(Ordering::Acquire) == 0 { None } else { self.value.get() }
    }

    /// To be called by one at a time.
    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        let value = self.value.get_or_init(make);
        self.made.store(1, Ordering::Release);
        value
    }
}

/// Stands in for the arc-swap cell.
#[derive(Debug)]
pub(crate) struct Cell<T>(Mutex<Option<Arc<T>>>);

impl<T> Cell<T> {
    pub(crate) fn empty() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn store(&self, value: Option<Arc<T>>) {
        *self.0.lock() = value;
    }

    pub(crate) fn load(&self) -> Option<Arc<T>> {
        self.0.lock().clone()
    }

    pub(crate) fn inspect(&self, inspect: impl FnOnce(&T)) {
        if let Some(value) = self.load() {
            inspect(&value);
        }
    }

    pub(crate) fn clone_if(&self, wanted: impl FnOnce(&T) -> bool) -> Option<Arc<T>> {
        self.load().filter(|value| wanted(value))
    }
}

/// Stands in for the semaphore, with relaxed counts: nothing may rely on it for visibility.
/// Whoever waits for it is polled again by the model.
#[derive(Debug)]
pub(crate) struct Semaphore(AtomicUsize);

/// A permit of the stand-in; forgotten by whoever takes it.
#[derive(Debug)]
pub(crate) struct Permit;

impl Permit {
    pub(crate) fn forget(self) {}
}

impl Semaphore {
    pub(crate) fn new(count: usize) -> Self {
        Self(AtomicUsize::new(count))
    }

    pub(crate) fn try_acquire(&self) -> Result<Permit, usize> {
        let less = |count: usize| count.checked_sub(1);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.map(|_| Permit)
    }

    pub(crate) fn acquire(&self) -> impl Future<Output = Result<Permit, usize>> + Send + '_ {
        poll_fn(|_| self.try_acquire().map_or(Poll::Pending, |permit| Poll::Ready(Ok(permit))))
    }

    pub(crate) fn add_permits(&self, count: usize) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn forget_permits(&self, count: usize) -> usize {
        (0..count).take_while(|_| self.try_acquire().is_ok()).count()
    }

    pub(crate) fn available_permits(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
