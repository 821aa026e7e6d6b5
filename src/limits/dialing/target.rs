//! One address as dials by one egress see it: how many are under way, and whether it answers.
//!
//! Owns the permits of handshakes under way. A change of their number counts those that are under way; a
//! dial to an address that is down ends before it waits for anything that others wait for.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::account_id::AccountId;
use crate::base::clock::Tick;
use crate::base::sync::{AtomicU64, Mutex, Ordering, Permits};
use crate::error::Unreachable;
use crate::limits::dialing::reachability::{Outage, Reachability};

#[derive(Debug)]
pub(super) struct Target {
    /// `None` if the manager names none: then nothing that one dial comes to is held against another.
    address: Option<Arc<str>>,
    handshakes: Permits,
    limit: Mutex<HandshakeLimit>,
    /// Held by the one dial in advance that waits with those that somebody waits for: all others like it
    /// wait for this.
    pub(super) prewarm: AsyncMutex<()>,
    reach: Mutex<Reachability>,
    /// Told when the address is down.
    went_down: Notify,
    /// When it was last taken.
    used: AtomicU64,
}

#[derive(Debug)]
struct HandshakeLimit {
    handshakes: usize,
    /// Places beyond the limit that dials under way hold.
    debt: usize,
}

impl Target {
    pub(super) fn new(address: Option<Arc<str>>, handshakes: u32) -> Self {
        let handshakes = handshakes as usize;
        Self {
            address,
            handshakes: Permits::new(handshakes),
            limit: Mutex::new(HandshakeLimit { handshakes, debt: 0 }),
            prewarm: AsyncMutex::new(()),
            reach: Mutex::default(),
            went_down: Notify::new(),
            used: AtomicU64::new(0),
        }
    }

    pub(super) fn use_now(&self, now: Tick) {
        self.used.store(now, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> Tick {
        self.used.load(Ordering::Relaxed)
    }

    /// Changes how many handshakes may be under way.
    pub(super) fn set_handshakes(&self, handshakes: u32) {
        let handshakes = handshakes as usize;
        let mut limit = self.limit.lock();
        if handshakes > limit.handshakes {
            let more = handshakes - limit.handshakes;
            let forgiven = more.min(limit.debt);
            limit.debt -= forgiven;
            self.handshakes.put_back(more - forgiven);
        } else {
            let fewer = limit.handshakes - handshakes;
            limit.debt += fewer - self.handshakes.destroy(fewer);
        }
        limit.handshakes = handshakes;
    }

    fn release_handshake(&self) {
        let mut limit = self.limit.lock();
        if limit.debt > 0 {
            limit.debt -= 1;
        } else {
            self.handshakes.put_back(1);
        }
    }

    /// Admits a dial, unless the address is down and it is not the trial.
    pub(super) fn admit(self: &Arc<Self>, now: Tick) -> Result<DialPermit, Unreachable> {
        match self.reach.lock().admit(now) {
            Ok(is_trial) => {
                Ok(DialPermit { target: Arc::clone(self), has_handshake: false, is_trial })
            }
            Err(outage) => Err(self.unreachable(outage)),
        }
    }

    fn unreachable(&self, outage: Outage) -> Unreachable {
        let address = self.address.clone().unwrap_or_else(|| Arc::from("the address"));
        let Outage { failures, error, left } = outage;
        Unreachable { address, failures, last_error: error, remaining: left }
    }

    /// Returns when the address is down.
    pub(super) async fn until_down(&self, now: impl Fn() -> Tick) -> Unreachable {
        loop {
            let mut went_down = pin!(self.went_down.notified());
            // Registered before it is looked at, so that no change is missed.
            went_down.as_mut().enable();
            let outage = self.reach.lock().outage(now());
            if let Some(outage) = outage {
                return self.unreachable(outage);
            }
            went_down.await;
        }
    }

    /// The address, if it is down.
    pub(super) fn is_down(&self) -> bool {
        self.reach.lock().outage(0).is_some()
    }
}

/// A dial's leave to begin. Gives its handshake back when dropped; a trial that has come to no result makes
/// way for another.
#[derive(Debug)]
pub(crate) struct DialPermit {
    target: Arc<Target>,
    has_handshake: bool,
    /// It is the one dial that tries whether an address that is down answers again.
    is_trial: bool,
}

impl DialPermit {
    pub(super) async fn take_handshake(&mut self) {
        self.target.handshakes.take().await;
        self.has_handshake = true;
    }

    /// Whether the address is down, and this dial tries whether it answers again.
    pub(crate) fn is_trial(&self) -> bool {
        self.is_trial
    }

    /// The address, if the manager names one.
    pub(crate) fn address(&self) -> Option<&Arc<str>> {
        self.target.address.as_ref()
    }

    /// The address has answered. Returns whether it had been down.
    pub(crate) fn note_answer(&mut self) -> bool {
        self.is_trial = false;
        self.target.reach.lock().note_answer()
    }

    /// The address has not answered the dial of an account. Returns whether it is down from now on.
    pub(crate) fn note_failure(
        &mut self,
        account: AccountId,
        error: &Arc<str>,
        now: Tick,
        share: f64,
    ) -> bool {
        if self.target.address.is_none() {
            return false;
        }
        let is_trial = std::mem::take(&mut self.is_trial);
        let fell = self.target.reach.lock().note_failure(account, is_trial, error, now, share);
        if fell {
            self.target.went_down.notify_waiters();
        }
        fell
    }
}

impl Drop for DialPermit {
    fn drop(&mut self) {
        if self.is_trial {
            self.target.reach.lock().cancel_trial();
        }
        if self.has_handshake {
            self.target.release_handshake();
        }
    }
}

/// At least for so long a session is deferred whose address is down.
pub(crate) const DEFER_UNREACHABLE_MIN: Duration = Duration::from_secs(1);
