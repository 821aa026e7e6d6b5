//! One address as dials by one egress see it: how many are under way, and whether it answers.
//!
//! Owns the places of dials under way. A change of their number counts those that are under way; a
//! dial to an address that is down ends before it waits for anything that others wait for.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::account_id::AccountId;
use crate::base::clock::Tick;
use crate::base::sync::{AtomicU64, Mutex, Ordering, Permits};
use crate::error::Unreachable;
use crate::limits::dialing::reach::{Reach, Silence};

#[derive(Debug)]
pub(super) struct Target {
    /// `None` if the manager names none: then nothing that one dial comes to is held against another.
    address: Option<Arc<str>>,
    places: Permits,
    limits: Mutex<Limits>,
    /// Held by the one dial that is made in advance: it stands in line with those that somebody
    /// waits for, and all others like it stand behind it.
    pub(super) advance: AsyncMutex<()>,
    reach: Mutex<Reach>,
    /// Told when the address is down.
    fell_silent: Notify,
    /// When it was last taken.
    used: AtomicU64,
}

#[derive(Debug)]
struct Limits {
    places: usize,
    /// Places beyond the limit that dials under way hold.
    debt: usize,
}

impl Target {
    pub(super) fn new(address: Option<Arc<str>>, places: u32) -> Self {
        let places = places as usize;
        Self {
            address,
            places: Permits::new(places),
            limits: Mutex::new(Limits { places, debt: 0 }),
            advance: AsyncMutex::new(()),
            reach: Mutex::default(),
            fell_silent: Notify::new(),
            used: AtomicU64::new(0),
        }
    }

    pub(super) fn use_now(&self, now: Tick) {
        self.used.store(now, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> Tick {
        self.used.load(Ordering::Relaxed)
    }

    /// Changes how many dials may be under way.
    pub(super) fn set_places(&self, places: u32) {
        let places = places as usize;
        let mut limits = self.limits.lock();
        if places > limits.places {
            let more = places - limits.places;
            let forgiven = more.min(limits.debt);
            limits.debt -= forgiven;
            self.places.put_back(more - forgiven);
        } else {
            let fewer = limits.places - places;
            limits.debt += fewer - self.places.destroy(fewer);
        }
        limits.places = places;
    }

    /// Waits for a place of a dial under way.
    async fn place(&self) {
        self.places.take().await;
    }

    fn give_back(&self) {
        let mut limits = self.limits.lock();
        if limits.debt > 0 {
            limits.debt -= 1;
        } else {
            self.places.put_back(1);
        }
    }

    /// Lets a dial come near, unless the address is down and it is not the one that looks again.
    pub(super) fn approach(self: &Arc<Self>, now: Tick) -> Result<Underway, Unreachable> {
        match self.reach.lock().enter(now) {
            Ok(looks) => Ok(Underway { target: Arc::clone(self), has_place: false, looks }),
            Err(silence) => Err(self.unreachable(silence)),
        }
    }

    fn unreachable(&self, silence: Silence) -> Unreachable {
        let address = self.address.clone().unwrap_or_else(|| Arc::from("the address"));
        let Silence { failures, error, left } = silence;
        Unreachable { address, failures, last_error: error, remaining: left }
    }

    /// Returns when the address is down.
    pub(super) async fn until_silent(&self, now: impl Fn() -> Tick) -> Unreachable {
        loop {
            let mut fell_silent = pin!(self.fell_silent.notified());
            // Registered before it is looked at, so that no change is missed.
            fell_silent.as_mut().enable();
            let silence = self.reach.lock().silence(now());
            if let Some(silence) = silence {
                return self.unreachable(silence);
            }
            fell_silent.await;
        }
    }

    /// The address, if it is down.
    pub(super) fn is_silent(&self) -> bool {
        self.reach.lock().silence(0).is_some()
    }
}

/// A dial on its way to an address. Gives its place back when dropped, and if it was to look whether
/// the address answers and has not said, another may.
#[derive(Debug)]
pub(crate) struct Underway {
    target: Arc<Target>,
    has_place: bool,
    /// It looks whether an address that is down answers again.
    looks: bool,
}

impl Underway {
    pub(super) async fn take_place(&mut self) {
        self.target.place().await;
        self.has_place = true;
    }

    /// Whether the address is down, and this dial looks whether it answers again.
    pub(crate) fn looks(&self) -> bool {
        self.looks
    }

    /// The address, if the manager names one.
    pub(crate) fn address(&self) -> Option<&Arc<str>> {
        self.target.address.as_ref()
    }

    /// The address has answered. Says whether it had been down.
    pub(crate) fn note_answer(&mut self) -> bool {
        self.looks = false;
        self.target.reach.lock().note_answer()
    }

    /// The address has not answered the dial of an account. Says whether it is down from now on.
    pub(crate) fn note_silence(
        &mut self,
        account: AccountId,
        error: &Arc<str>,
        now: Tick,
        share: f64,
    ) -> bool {
        if self.target.address.is_none() {
            return false;
        }
        let looks = std::mem::take(&mut self.looks);
        let fell = self.target.reach.lock().note_silence(account, looks, error, now, share);
        if fell {
            self.target.fell_silent.notify_waiters();
        }
        fell
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if self.looks {
            self.target.reach.lock().leave_look();
        }
        if self.has_place {
            self.target.give_back();
        }
    }
}

/// At least for so long a session is passed over whose address is down.
pub(crate) const PASSED_OVER: Duration = Duration::from_secs(1);
