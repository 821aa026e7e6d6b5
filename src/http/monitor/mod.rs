//! The monitor: what a panel knows of its pool beyond the moment of a question.
//!
//! Owns the task that samples the pool once a second, the samples, and the listings. Starts with the panel,
//! ends with it and with the pool, and keeps neither alive.
//!
//! # Orderings
//! Relaxed: the pool's counters are read as its metrics are, in the order that `runtime::reading` gives. What
//! samples and rings share lies behind locks and channels.

mod accounts;
mod alerts;
mod aliases;
mod connections;
mod events;
mod history;
mod listing;
mod names;
mod numbers;
mod orders;
mod rendered;
mod sample;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use accounts::{AccountKind, AccountListing};
pub(crate) use alerts::{AlertKind, reason_label};
pub(crate) use aliases::Aliases;
pub(crate) use connections::ConnectionListing;
pub(crate) use events::{EventRing, Happening, KeptEvent};
pub(crate) use history::{Excerpt, History};
pub(crate) use numbers::SampledNumbers;
pub(crate) use orders::{AccountSort, ConnectionSort, CursorPlace};
pub(crate) use sample::{Sample, WindowRates};

use crate::account_id::AccountId;
use crate::base::clock::{millis, now, unix_time};
use crate::base::sync::Mutex;
use crate::events::EventStream;
use crate::http::monitor::alerts::AlertTracker;
use crate::http::monitor::listing::Listings;
use crate::http::monitor::rendered::Rendered;
use crate::http::monitor::sample::{GroupAt, SampleWindow};
use crate::http::pool::{PoolReading, ServedPool};

/// How often the pool is sampled.
const STEP: Duration = Duration::from_secs(1);

/// What is known of a pool.
pub(crate) struct Monitor {
    pub(crate) pool: Arc<dyn ServedPool>,
    pub(crate) aliases: Aliases,
    listings: Listings,
    pub(crate) events: EventRing,
    pub(crate) history: Mutex<History>,
    /// In milliseconds since 1970.
    pub(crate) started_at: u64,
    samples: watch::Sender<Arc<Sample>>,
    sampler: Mutex<Sampler>,
}

/// What the sampler remembers from one sample to the next.
#[derive(Default)]
struct Sampler {
    window: SampleWindow,
    trackers: HashMap<Arc<str>, AlertTracker>,
}

/// The tasks of a monitor, which end with this.
#[derive(Debug)]
pub(crate) struct MonitorTasks(Vec<AbortHandle>);

impl Drop for MonitorTasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// The time of day, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    millis(unix_time())
}

impl Monitor {
    /// Takes the first sample, and starts the tasks on a runtime; once they have ended, `over` is told.
    /// `None`: the pool is gone.
    pub(crate) fn start(
        pool: Arc<dyn ServedPool>,
        runtime: &Handle,
        over: &CancellationToken,
    ) -> Option<(Arc<Self>, MonitorTasks)> {
        let mut sampler = Sampler::default();
        let events = pool.events()?;
        let first = sampler.sample(pool.read()?, None);
        let monitor = Arc::new(Self {
            pool,
            aliases: Aliases::default(),
            listings: Listings::default(),
            events: EventRing::default(),
            history: Mutex::default(),
            started_at: unix_ms(),
            samples: watch::Sender::new(Arc::new(first)),
            sampler: Mutex::new(sampler),
        });
        let sampling = sample_all(Arc::downgrade(&monitor), over.clone().drop_guard());
        let sampling = runtime.spawn(sampling).abort_handle();
        let keeping = keep_events(Arc::downgrade(&monitor), events);
        let keeping = runtime.spawn(keeping).abort_handle();
        Some((monitor, MonitorTasks(vec![sampling, keeping])))
    }

    /// The newest sample.
    pub(crate) fn sample(&self) -> Arc<Sample> {
        Arc::clone(&self.samples.borrow())
    }

    /// Told of each sample as it comes; one who is slow sees the newest only.
    pub(crate) fn samples(&self) -> watch::Receiver<Arc<Sample>> {
        self.samples.subscribe()
    }

    /// The listing of the accounts, if there is one that is new enough. If the next one is due, it is made
    /// beside. Needs a tokio runtime.
    pub(crate) fn ready_accounts(self: &Arc<Self>) -> Option<Arc<AccountListing>> {
        let (listing, is_due) = self.listings.accounts.current()?;
        if is_due {
            let monitor = Arc::clone(self);
            spawn_blocking(move || monitor.list_accounts());
        }
        Some(listing)
    }

    /// The listing of the accounts. If there is none that is new enough, blocks until one is made. `None`: the
    /// pool is gone.
    pub(crate) fn accounts(self: &Arc<Self>) -> Option<Arc<AccountListing>> {
        self.ready_accounts().or_else(|| self.list_accounts())
    }

    fn list_accounts(&self) -> Option<Arc<AccountListing>> {
        let make = |before: Option<&_>| AccountListing::make(&*self.pool, &self.aliases, before);
        self.listings.accounts.make(make)
    }

    /// The same as [`ready_accounts`](Self::ready_accounts) of the connections.
    pub(crate) fn ready_connections(self: &Arc<Self>) -> Option<Arc<ConnectionListing>> {
        let (listing, is_due) = self.listings.connections.current()?;
        if is_due {
            let monitor = Arc::clone(self);
            spawn_blocking(move || monitor.list_connections());
        }
        Some(listing)
    }

    /// The same as [`accounts`](Self::accounts) of the connections.
    pub(crate) fn connections(self: &Arc<Self>) -> Option<Arc<ConnectionListing>> {
        self.ready_connections().or_else(|| self.list_connections())
    }

    fn list_connections(&self) -> Option<Arc<ConnectionListing>> {
        self.listings.connections.make(|_| ConnectionListing::make(&*self.pool))
    }

    /// Finds the account of an alias. Blocks as [`accounts`](Self::accounts) does, and once more if the pool may
    /// have met the account since.
    pub(crate) fn of_alias(self: &Arc<Self>, alias: u64) -> Option<AccountId> {
        let find = |listing: Arc<AccountListing>| {
            listing.names.of_alias(alias).map(|row| listing.names.accounts()[row])
        };
        find(self.accounts()?).or_else(|| find(self.list_accounts()?))
    }

    /// Takes a sample. Blocks for as long as a reading of the pool takes. Returns whether the pool is there.
    fn take_sample(&self) -> bool {
        let Some(reading) = self.pool.read() else { return false };
        let mut sampler = self.sampler.lock();
        let last = self.sample();
        let next = Arc::new(sampler.sample(reading, Some(&last)));
        let nothing = SampledNumbers::default();
        let before = |name: &str| last.groups.iter().find(|group| *group.name == *name);
        // A group that was not there has come since, with all that it has done.
        let groups = next.groups.iter().map(|group| {
            let before = before(&group.name).map_or(&nothing, |group| &group.now);
            (&group.name, &group.now, before)
        });
        self.history.lock().push(next.at, groups);
        self.samples.send_replace(next);
        self.listings.forget_old();
        true
    }
}

/// Samples once a second, until the monitor or its pool is gone.
async fn sample_all(monitor: Weak<Monitor>, _over: DropGuard) {
    let mut ticks = interval(STEP);
    // After a stall the next is a second later: what was missed is not to be had any more.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(monitor) = monitor.upgrade() else { return };
        match spawn_blocking(move || monitor.take_sample()).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) if error.is_panic() => tracing::error!("a sample has failed: a bug"),
            Err(_) => return,
        }
    }
}

/// Keeps the events of the pool as they come, until the monitor or its pool is gone.
async fn keep_events(monitor: Weak<Monitor>, mut events: EventStream) {
    let mut missed = 0;
    while let Some(event) = events.next().await {
        let Some(monitor) = monitor.upgrade() else { return };
        if events.missed() > missed {
            let count = events.missed() - missed;
            missed = events.missed();
            monitor.events.push(Happening::missed(count), None);
        }
        let what = Happening::from(&event);
        let group = what.account.and_then(|account| monitor.pool.group_of(account));
        monitor.events.push(what, group);
    }
}

impl Sampler {
    fn sample(&mut self, reading: PoolReading, last: Option<&Sample>) -> Sample {
        let (instant, at) = (now(), unix_ms());
        let window = self.window.seconds(instant);
        let groups = reading.groups.iter().map(|(name, now)| {
            let earlier = self.window.earlier(name);
            let rates = WindowRates::between(&earlier, now, window);
            let tracker = self.trackers.entry(Arc::clone(name)).or_default();
            let alerts = tracker.judge(now, self.window.last(name), &rates, at);
            GroupAt { name: Arc::clone(name), now: now.clone(), earlier, alerts }
        });
        let groups = groups.collect();
        self.window.push(instant, reading.groups);
        let since = |holds: bool, before: Option<u64>| holds.then(|| before.unwrap_or(at));
        Sample {
            number: last.map_or(0, |last| last.number + 1),
            at,
            window,
            groups,
            connections_max: reading.connections_max,
            breakers_open: reading.breakers_open,
            addresses_down: reading.addresses_down,
            breakers_since: since(
                reading.breakers_open > 0,
                last.and_then(|last| last.breakers_since),
            ),
            addresses_since: since(
                reading.addresses_down > 0,
                last.and_then(|last| last.addresses_since),
            ),
            closing_since: since(reading.is_closing, last.and_then(|last| last.closing_since)),
            readiness: reading.readiness,
            rendered: Rendered::default(),
        }
    }
}
