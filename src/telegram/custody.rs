//! Custody of authorization keys: who may have a connection with a key right now.
//!
//! Owns one token per key in use, for the whole process: two pools over the same sessions are
//! as fatal to an account as two connections of one pool. Never holds a key, only a keyed hash
//! of it.
//!
//! A hash of 64 bits may in principle meet another key's. Then one of the two would wait for the
//! other, which is safe; with 100,000 keys the chance of it is 3 in 10,000,000,000.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::session::AuthKey;
use crate::sync::Mutex;

static CUSTODY: LazyLock<Custody> = LazyLock::new(Custody::default);

#[derive(Default)]
struct Custody {
    hasher: RandomState,
    /// The gate of every key that somebody holds or waits for.
    gates: Mutex<HashMap<u64, Arc<Semaphore>>>,
}

impl Custody {
    /// Forgets a gate that nobody holds or waits for. Newcomers take the lock to find a gate, so
    /// a count of one under the lock means that there is none.
    fn forget_if_free(&self, fingerprint: u64) {
        let mut gates = self.gates.lock();
        if gates.get(&fingerprint).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            gates.remove(&fingerprint);
        }
    }
}

/// The right to connect with one key. Whoever holds it is the only one in the process.
pub(super) struct KeyToken {
    fingerprint: u64,
    /// `None` only while dropping.
    permit: Option<OwnedSemaphorePermit>,
}

impl KeyToken {
    /// Waits until nobody else may connect with the key, in the order of asking. Dropping the
    /// future gives up the place.
    pub(super) async fn take(key: &AuthKey) -> Self {
        let fingerprint = CUSTODY.hasher.hash_one(key.expose());
        let waiting = Waiting(fingerprint);
        let gate = Arc::clone(
            CUSTODY.gates.lock().entry(fingerprint).or_insert_with(|| Arc::new(Semaphore::new(1))),
        );
        let permit = gate.acquire_owned().await.expect("BUG: nobody closes the gate of a key");
        // From here on the token itself cleans up.
        std::mem::forget(waiting);
        Self { fingerprint, permit: Some(permit) }
    }

    /// What stands for the key here.
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl Drop for KeyToken {
    fn drop(&mut self) {
        drop(self.permit.take());
        CUSTODY.forget_if_free(self.fingerprint);
    }
}

/// Somebody who waits for a token; forgets the gate if the wait is abandoned.
struct Waiting(u64);

impl Drop for Waiting {
    fn drop(&mut self) {
        CUSTODY.forget_if_free(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn is_known(key: &AuthKey) -> bool {
        CUSTODY.gates.lock().contains_key(&CUSTODY.hasher.hash_one(key.expose()))
    }

    #[test]
    fn a_key_is_given_to_one_at_a_time_and_then_forgotten() {
        let key = AuthKey::new([101; 256]);
        let Poll::Ready(first) = poll(pin!(KeyToken::take(&key))) else { panic!("it is free") };
        let mut second = pin!(KeyToken::take(&key));
        assert!(poll(second.as_mut()).is_pending());
        drop(first);
        let Poll::Ready(second) = poll(second) else { panic!("it is free again") };
        assert!(is_known(&key));
        drop(second);
        assert!(!is_known(&key));
    }

    #[test]
    fn an_abandoned_wait_leaves_nothing_behind() {
        let key = AuthKey::new([102; 256]);
        let Poll::Ready(first) = poll(pin!(KeyToken::take(&key))) else { panic!("it is free") };
        {
            let mut second = pin!(KeyToken::take(&key));
            assert!(poll(second.as_mut()).is_pending());
        }
        drop(first);
        assert!(!is_known(&key));
    }

    #[test]
    fn keys_do_not_hinder_each_other() {
        let (one, other) = (AuthKey::new([103; 256]), AuthKey::new([104; 256]));
        let Poll::Ready(_one) = poll(pin!(KeyToken::take(&one))) else { panic!("it is free") };
        assert!(poll(pin!(KeyToken::take(&other))).is_ready());
    }
}
