//! Lock of an authorization key within this process: one connection with a key at a time.
//!
//! Owns one lock per key in use: two pools over the same sessions are as fatal to an account as two
//! connections of one pool. Never holds a key, only its public id. Other processes are kept away by
//! [`Ownership`], which the guard tells when sockets may exist.
//!
//! A key is free, in use, or *rests*: its last connection ended without the server's being known to have
//! noticed, so that the server's end may be open until its timer strikes.
//!
//! An id of 64 bits may in principle meet another key's. Then one of the two would wait for the
//! other, which is safe; with 100,000 keys the chance of it is 3 in 10,000,000,000.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::TelegramError;
use crate::base::clock::{Instant, now};
use crate::base::sync::Mutex;
use crate::ownership::{Epoch, Fenced, Ownership};
use crate::session::KeyId;

/// The table is not pruned of keys that have rested while it has fewer entries than this.
const PRUNE_MIN: usize = 1024;

static KEY_LOCKS: LazyLock<Mutex<KeyTable>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct KeyTable {
    /// The lock of every key that somebody holds or waits for, or that rests.
    locks: HashMap<KeyId, KeyLock>,
    prune_at: usize,
}

struct KeyLock {
    semaphore: Arc<Semaphore>,
    /// Whoever holds it is about to give it back.
    is_ending: bool,
    rests_until: Option<Instant>,
}

impl KeyLock {
    fn new() -> Self {
        Self { semaphore: Arc::new(Semaphore::new(1)), is_ending: false, rests_until: None }
    }

    /// Nobody holds it or waits for it. Newcomers take the table's lock to find an entry, so a count of one
    /// under it means that there is none.
    fn is_free(&self) -> bool {
        Arc::strong_count(&self.semaphore) == 1
    }

    fn rest(&self) -> Duration {
        self.rests_until.map(|until| until.saturating_duration_since(now())).unwrap_or_default()
    }
}

impl KeyTable {
    fn entry(&mut self, key: KeyId) -> &mut KeyLock {
        if self.locks.len() >= self.prune_at.max(PRUNE_MIN) {
            self.locks.retain(|_, lock| !lock.is_free() || !lock.rest().is_zero());
            self.prune_at = 2 * self.locks.len();
        }
        self.locks.entry(key).or_insert_with(KeyLock::new)
    }

    fn forget_if_free(&mut self, key: KeyId) {
        if self.locks.get(&key).is_some_and(|lock| lock.is_free() && lock.rest().is_zero()) {
            self.locks.remove(&key);
        }
    }
}

/// State of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyState {
    Free,
    InUse,
    /// In use, by a connection that is being closed.
    Ending,
    /// For so much longer.
    Resting(Duration),
}

/// Returns the state of a key right now.
pub(super) fn state_of(key: KeyId) -> KeyState {
    let table = KEY_LOCKS.lock();
    let Some(lock) = table.locks.get(&key) else { return KeyState::Free };
    match lock.rest() {
        _ if lock.semaphore.available_permits() == 0 && lock.is_ending => KeyState::Ending,
        _ if lock.semaphore.available_permits() == 0 => KeyState::InUse,
        Duration::ZERO => KeyState::Free,
        rest => KeyState::Resting(rest),
    }
}

/// Lets a key rest, at least for so long.
pub(super) fn rest(key: KeyId, rest: Duration) {
    let until = now() + rest;
    let mut table = KEY_LOCKS.lock();
    let lock = table.entry(key);
    lock.rests_until = lock.rests_until.max(Some(until));
}

/// Whoever holds the key is about to give it back.
pub(super) fn mark_ending(key: KeyId) {
    if let Some(lock) = KEY_LOCKS.lock().locks.get_mut(&key) {
        lock.is_ending = true;
    }
}

/// RAII guard of a key's lock: whoever holds it may connect with the key, alone in the process.
pub(super) struct KeyGuard {
    key: KeyId,
    /// `None` only while dropping.
    permit: Option<OwnedSemaphorePermit>,
    /// Who knows that sockets of the key may exist, once a dial has begun.
    ownership: Option<Arc<dyn Ownership>>,
    /// For how long the key must rest once its sockets are closed here.
    rest: Option<Duration>,
}

impl KeyGuard {
    /// Waits until nobody else may connect with the key, in the order of asking. Dropping the
    /// future gives up the place in the queue. A key that rests is not waited for: the error says how
    /// much longer.
    pub(super) async fn lock(key: KeyId) -> Result<Self, Duration> {
        let waiting = WaitGuard(key);
        let semaphore = Arc::clone(&KEY_LOCKS.lock().entry(key).semaphore);
        let permit = semaphore.acquire_owned().await.expect("BUG: nobody closes the lock of a key");
        // From here on the guard itself cleans up.
        std::mem::forget(waiting);
        let guard = Self { key, permit: Some(permit), ownership: None, rest: None };
        let rest = {
            let mut table = KEY_LOCKS.lock();
            let lock = table.entry(key);
            lock.is_ending = false;
            lock.rest()
        };
        if rest.is_zero() { Ok(guard) } else { Err(rest) }
    }

    /// The same for a dial that is about to begin: it waits for the end of a connection that is being
    /// closed, and for nobody else, as it would keep others from dialling meanwhile.
    pub(super) async fn lock_for_next(key: KeyId) -> Result<Self, TelegramError> {
        let taking = Self::lock(key);
        let mut taking = pin!(taking);
        // Its place in the order is taken by the first poll, whether or not anybody is before it.
        let taken = match poll_once(taking.as_mut()).await {
            Some(taken) => taken,
            None if state_of(key) == KeyState::InUse => return Err(TelegramError::KeyInUse),
            None => taking.await,
        };
        taken.map_err(|remaining| TelegramError::KeyResting { remaining })
    }

    /// A dial begins: the last look at whether it may.
    pub(super) fn begin(&mut self, ownership: &Arc<dyn Ownership>) -> Result<Epoch, Fenced> {
        let epoch = ownership.begin(self.key)?;
        self.ownership = Some(Arc::clone(ownership));
        Ok(epoch)
    }

    /// The server may not notice the end of the connection: the key rests after it.
    pub(super) fn rest(&mut self, rest: Duration) {
        self.rest = self.rest.max(Some(rest).filter(|rest| !rest.is_zero()));
    }

    /// Returns the key that is locked.
    pub(super) fn key(&self) -> KeyId {
        self.key
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        if let Some(ownership) = self.ownership.take() {
            ownership.end(self.key, self.rest);
        }
        if let Some(time) = self.rest {
            rest(self.key, time);
        }
        drop(self.permit.take());
        KEY_LOCKS.lock().forget_if_free(self.key);
    }
}

/// Polls a future once.
async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Somebody who waits for a key; forgets its lock if the wait is abandoned.
struct WaitGuard(KeyId);

impl Drop for WaitGuard {
    fn drop(&mut self) {
        KEY_LOCKS.lock().forget_if_free(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::ownership::Unguarded;
    use crate::session::AuthKey;

    fn key(number: u8) -> KeyId {
        KeyId::of(&AuthKey::new([number; 256]))
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn lock(key: KeyId) -> KeyGuard {
        let Poll::Ready(Ok(guard)) = poll(pin!(KeyGuard::lock(key))) else { panic!("it is free") };
        guard
    }

    fn is_known(key: KeyId) -> bool {
        KEY_LOCKS.lock().locks.contains_key(&key)
    }

    #[test]
    fn a_key_is_given_to_one_at_a_time_and_then_forgotten() {
        let key = key(101);
        let first = lock(key);
        let mut second = pin!(KeyGuard::lock(key));
        assert!(poll(second.as_mut()).is_pending());
        drop(first);
        let Poll::Ready(Ok(second)) = poll(second) else { panic!("it is free again") };
        assert!(is_known(key));
        drop(second);
        assert!(!is_known(key));
    }

    #[tokio::test]
    async fn a_dial_waits_for_a_key_that_is_about_to_come_free_and_for_no_other() {
        let key = key(106);
        let first = lock(key);
        let refused = KeyGuard::lock_for_next(key).await.err();
        assert!(matches!(refused, Some(TelegramError::KeyInUse)), "{refused:?}");
        mark_ending(key);
        let mut second = pin!(KeyGuard::lock_for_next(key));
        assert!(poll(second.as_mut()).is_pending());
        drop(first);
        let Poll::Ready(Ok(second)) = poll(second) else { panic!("it is free again") };
        drop(second);
        assert!(!is_known(key));
    }

    #[test]
    fn an_abandoned_wait_leaves_nothing_behind() {
        let key = key(102);
        let first = lock(key);
        {
            let mut second = pin!(KeyGuard::lock(key));
            assert!(poll(second.as_mut()).is_pending());
        }
        drop(first);
        assert!(!is_known(key));
    }

    #[test]
    fn keys_do_not_hinder_each_other() {
        let _one = lock(key(103));
        assert!(poll(pin!(KeyGuard::lock(key(104)))).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_whose_end_the_server_may_not_have_seen_rests_and_then_serves_again() {
        let (key, seconds) = (key(105), Duration::from_secs);
        assert_eq!(state_of(key), KeyState::Free);
        let mut guard = lock(key);
        assert_eq!(state_of(key), KeyState::InUse);
        mark_ending(key);
        assert_eq!(state_of(key), KeyState::Ending);
        let ownership: Arc<dyn Ownership> = Arc::new(Unguarded::default());
        guard.begin(&ownership).unwrap();
        guard.rest(seconds(9));
        drop(guard);
        assert_eq!(state_of(key), KeyState::Resting(seconds(9)));
        assert_eq!(KeyGuard::lock(key).await.err(), Some(seconds(9)));
        tokio::time::advance(seconds(9)).await;
        assert_eq!(state_of(key), KeyState::Free);
        drop(lock(key));
        assert!(!is_known(key));
    }
}
