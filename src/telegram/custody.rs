//! Custody of authorization keys within this process: who may have a connection with a key right now.
//!
//! Owns one token per key in use: two pools over the same sessions are as fatal to an account as two
//! connections of one pool. Never holds a key, only its public id. Other processes are kept away by
//! [`Ownership`], which the token tells when sockets may exist.
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

/// Fewer gates than this are never looked through for those of keys that have rested.
const SWEPT_AT_LEAST: usize = 1024;

static CUSTODY: LazyLock<Custody> = LazyLock::new(Custody::default);

#[derive(Default)]
struct Custody {
    gates: Mutex<Gates>,
}

#[derive(Default)]
struct Gates {
    /// The gate of every key that somebody holds or waits for, or that rests.
    of: HashMap<KeyId, Gate>,
    swept_at: usize,
}

struct Gate {
    turn: Arc<Semaphore>,
    /// Whoever holds it is about to give it back.
    is_ending: bool,
    rests_until: Option<Instant>,
}

impl Gate {
    fn new() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), is_ending: false, rests_until: None }
    }

    /// Nobody holds it or waits for it. Newcomers take the lock to find a gate, so a count of one
    /// under the lock means that there is none.
    fn is_free(&self) -> bool {
        Arc::strong_count(&self.turn) == 1
    }

    fn rest(&self) -> Duration {
        self.rests_until.map(|until| until.saturating_duration_since(now())).unwrap_or_default()
    }
}

impl Gates {
    fn gate(&mut self, key: KeyId) -> &mut Gate {
        if self.of.len() >= self.swept_at.max(SWEPT_AT_LEAST) {
            self.of.retain(|_, gate| !gate.is_free() || !gate.rest().is_zero());
            self.swept_at = 2 * self.of.len();
        }
        self.of.entry(key).or_insert_with(Gate::new)
    }

    fn forget_if_free(&mut self, key: KeyId) {
        if self.of.get(&key).is_some_and(|gate| gate.is_free() && gate.rest().is_zero()) {
            self.of.remove(&key);
        }
    }
}

/// How a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Free,
    InUse,
    /// In use, by a connection that is being closed.
    Ending,
    /// For so much longer.
    Resting(Duration),
}

/// How a key stands right now.
pub(super) fn standing(key: KeyId) -> Standing {
    let gates = CUSTODY.gates.lock();
    let Some(gate) = gates.of.get(&key) else { return Standing::Free };
    match gate.rest() {
        _ if gate.turn.available_permits() == 0 && gate.is_ending => Standing::Ending,
        _ if gate.turn.available_permits() == 0 => Standing::InUse,
        Duration::ZERO => Standing::Free,
        rest => Standing::Resting(rest),
    }
}

/// Lets a key rest, at least for so long.
pub(super) fn rest(key: KeyId, rest: Duration) {
    let until = now() + rest;
    let mut gates = CUSTODY.gates.lock();
    let gate = gates.gate(key);
    gate.rests_until = gate.rests_until.max(Some(until));
}

/// Whoever holds the key is about to give it back.
pub(super) fn mark_ending(key: KeyId) {
    if let Some(gate) = CUSTODY.gates.lock().of.get_mut(&key) {
        gate.is_ending = true;
    }
}

/// The right to connect with one key. Whoever holds it is the only one in the process.
pub(super) struct KeyToken {
    key: KeyId,
    /// `None` only while dropping.
    permit: Option<OwnedSemaphorePermit>,
    /// Who knows that sockets of the key may exist, once a dial has begun.
    told: Option<Arc<dyn Ownership>>,
    /// For how long the key must rest once its sockets are closed here.
    rest: Option<Duration>,
}

impl KeyToken {
    /// Waits until nobody else may connect with the key, in the order of asking. Dropping the
    /// future gives up the place. A key that rests is not waited for: the error says how much longer.
    pub(super) async fn take(key: KeyId) -> Result<Self, Duration> {
        let waiting = Waiting(key);
        let turn = Arc::clone(&CUSTODY.gates.lock().gate(key).turn);
        let permit = turn.acquire_owned().await.expect("BUG: nobody closes the gate of a key");
        // From here on the token itself cleans up.
        std::mem::forget(waiting);
        let token = Self { key, permit: Some(permit), told: None, rest: None };
        let rest = {
            let mut gates = CUSTODY.gates.lock();
            let gate = gates.gate(key);
            gate.is_ending = false;
            gate.rest()
        };
        if rest.is_zero() { Ok(token) } else { Err(rest) }
    }

    /// The same for a dial that is about to begin: it waits for the end of a connection that is being
    /// closed, and for nobody else, as it would keep others from dialling meanwhile.
    pub(super) async fn take_next(key: KeyId) -> Result<Self, TelegramError> {
        let taking = Self::take(key);
        let mut taking = pin!(taking);
        // Its place in the order is taken by the first poll, whether or not anybody is before it.
        let taken = match poll_once(taking.as_mut()).await {
            Some(taken) => taken,
            None if standing(key) == Standing::InUse => return Err(TelegramError::KeyInUse),
            None => taking.await,
        };
        taken.map_err(|left| TelegramError::KeyResting { left })
    }

    /// A dial begins: the last look at whether it may.
    pub(super) fn begin(&mut self, ownership: &Arc<dyn Ownership>) -> Result<Epoch, Fenced> {
        let epoch = ownership.begin(self.key)?;
        self.told = Some(Arc::clone(ownership));
        Ok(epoch)
    }

    /// The server may not notice the end of the connection: the key rests after it.
    pub(super) fn rest(&mut self, rest: Duration) {
        self.rest = self.rest.max(Some(rest).filter(|rest| !rest.is_zero()));
    }

    /// Whose key this is the right to.
    pub(super) fn key(&self) -> KeyId {
        self.key
    }
}

impl Drop for KeyToken {
    fn drop(&mut self) {
        if let Some(ownership) = self.told.take() {
            ownership.end(self.key, self.rest);
        }
        if let Some(time) = self.rest {
            rest(self.key, time);
        }
        drop(self.permit.take());
        CUSTODY.gates.lock().forget_if_free(self.key);
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

/// Somebody who waits for a token; forgets the gate if the wait is abandoned.
struct Waiting(KeyId);

impl Drop for Waiting {
    fn drop(&mut self) {
        CUSTODY.gates.lock().forget_if_free(self.0);
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

    fn take(key: KeyId) -> KeyToken {
        let Poll::Ready(Ok(token)) = poll(pin!(KeyToken::take(key))) else { panic!("it is free") };
        token
    }

    fn is_known(key: KeyId) -> bool {
        CUSTODY.gates.lock().of.contains_key(&key)
    }

    #[test]
    fn a_key_is_given_to_one_at_a_time_and_then_forgotten() {
        let key = key(101);
        let first = take(key);
        let mut second = pin!(KeyToken::take(key));
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
        let first = take(key);
        let refused = KeyToken::take_next(key).await.err();
        assert!(matches!(refused, Some(TelegramError::KeyInUse)), "{refused:?}");
        mark_ending(key);
        let mut second = pin!(KeyToken::take_next(key));
        assert!(poll(second.as_mut()).is_pending());
        drop(first);
        let Poll::Ready(Ok(second)) = poll(second) else { panic!("it is free again") };
        drop(second);
        assert!(!is_known(key));
    }

    #[test]
    fn an_abandoned_wait_leaves_nothing_behind() {
        let key = key(102);
        let first = take(key);
        {
            let mut second = pin!(KeyToken::take(key));
            assert!(poll(second.as_mut()).is_pending());
        }
        drop(first);
        assert!(!is_known(key));
    }

    #[test]
    fn keys_do_not_hinder_each_other() {
        let _one = take(key(103));
        assert!(poll(pin!(KeyToken::take(key(104)))).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_whose_end_the_server_may_not_have_seen_rests_and_then_serves_again() {
        let (key, seconds) = (key(105), Duration::from_secs);
        assert_eq!(standing(key), Standing::Free);
        let mut token = take(key);
        assert_eq!(standing(key), Standing::InUse);
        mark_ending(key);
        assert_eq!(standing(key), Standing::Ending);
        let ownership: Arc<dyn Ownership> = Arc::new(Unguarded::default());
        token.begin(&ownership).unwrap();
        token.rest(seconds(9));
        drop(token);
        assert_eq!(standing(key), Standing::Resting(seconds(9)));
        assert_eq!(KeyToken::take(key).await.err(), Some(seconds(9)));
        tokio::time::advance(seconds(9)).await;
        assert_eq!(standing(key), Standing::Free);
        drop(take(key));
        assert!(!is_known(key));
    }
}
