//! Managers, wakers and callers that misbehave, and what it costs the others: nothing.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use telepool::{
    AccountId, AcquireError, DialError, Egress, ErrorKind, Manager, Pool, Profile, Reaction, Stage,
};
use tokio::runtime::{Builder, Runtime};

use crate::scripted::{Failure, Play, Scripted, account};

const SECOND: Duration = Duration::from_secs(1);

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// A manager that panics in a place of choice, and is good otherwise.
struct Panicky {
    inner: Scripted,
    at: Mutex<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Nowhere,
    /// Before there is a future.
    Connect,
    /// Before there is a future.
    Check,
    React,
    Kind,
    Profile,
    /// The text of the error.
    Display,
}

#[derive(Debug, thiserror::Error)]
struct Bad {
    panics: bool,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(!self.panics, "as it was told");
        f.write_str("bad")
    }
}

impl Panicky {
    fn pool(at: Place) -> Pool<Self> {
        let panicky = Self { inner: Scripted::new(1, 1), at: Mutex::new(at) };
        Pool::builder(panicky).build().unwrap()
    }

    fn is_at(&self, place: Place) -> bool {
        *self.at.lock().unwrap() == place
    }

    fn calm_down(&self) {
        *self.at.lock().unwrap() = Place::Nowhere;
    }
}

impl Manager for Panicky {
    type Connection = <Scripted as Manager>::Connection;
    type Error = Bad;

    fn profile(&self, account: AccountId) -> Option<Profile> {
        assert!(!self.is_at(Place::Profile), "as it was told");
        self.inner.profile(account)
    }

    fn connect(
        &self,
        account: AccountId,
        slot: u16,
    ) -> impl Future<Output = Result<Self::Connection, Bad>> + Send {
        assert!(!self.is_at(Place::Connect), "as it was told");
        let panics = self.is_at(Place::Display);
        async move {
            match panics {
                true => Err(Bad { panics }),
                false => self.inner.connect(account, slot).await.map_err(|_| Bad { panics }),
            }
        }
    }

    fn check(&self, _: &Self::Connection) -> impl Future<Output = Result<(), Bad>> + Send {
        assert!(!self.is_at(Place::Check), "as it was told");
        let passes = self.is_at(Place::Nowhere);
        async move { if passes { Ok(()) } else { Err(Bad { panics: false }) } }
    }

    async fn close(&self, connection: &Self::Connection) {
        self.inner.close(connection).await;
    }

    fn react(&self, _: &Bad) -> Reaction {
        assert!(!self.is_at(Place::React), "as it was told");
        Reaction::Discard
    }

    fn kind(&self, _: &Bad) -> ErrorKind {
        assert!(!self.is_at(Place::Kind), "as it was told");
        ErrorKind::Io
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_around_a_check_costs_one_connection() {
    for at in [Place::Check, Place::React, Place::Kind] {
        let pool = Panicky::pool(Place::Nowhere);
        let first = pool.acquire(account(1)).await.unwrap().connection_id();
        tokio::time::sleep(40 * SECOND).await;
        *pool.manager().at.lock().unwrap() = at;
        let second = pool.acquire(account(1)).await.unwrap();
        assert_ne!(second.connection_id(), first, "{at:?}");
        drop(second);
        pool.manager().calm_down();
        assert_eq!(pool.stats().leases, 0, "{at:?}");
        assert_eq!(pool.close().await.still_open, 0, "{at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_panics_over_a_profile_has_taken_no_session_away() {
    let pool = Panicky::pool(Place::Nowhere);
    let lease = pool.acquire(account(1)).await.unwrap();
    let id = lease.connection_id();
    *pool.manager().at.lock().unwrap() = Place::Profile;
    tokio::time::sleep(10 * SECOND).await;
    assert!(pool.acquire_timeout(account(1), SECOND).await.is_err(), "it is held");
    drop(lease);
    assert_eq!(pool.acquire(account(1)).await.unwrap().connection_id(), id);
    // It is asked again.
    pool.manager().calm_down();
    pool.manager().inner.state.profile.lock().unwrap().slots = 0;
    assert!(!pool.reinstate(account(1)));
    let refused = pool.acquire(account(1)).await;
    assert!(matches!(refused, Err(AcquireError::NoSession { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_panic_around_a_dial_costs_one_attempt() {
    for at in [Place::Connect, Place::Display, Place::React] {
        let pool = Panicky::pool(at);
        if at == Place::React {
            pool.manager().inner.on_connect(Play::Fail);
        }
        let error = pool.acquire(account(1)).await.unwrap_err();
        assert!(matches!(error, AcquireError::Dial(_)), "{at:?}");
        pool.manager().inner.on_connect(Play::Good);
        pool.manager().calm_down();
        drop(pool.acquire(account(1)).await.unwrap());
        assert_eq!(pool.close().await.still_open, 0, "{at:?}");
    }
}

struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("as it was told")
    }
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_costs_nobody_else_anything() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    manager.on_connect(Play::Slow(5 * SECOND));
    let mut doomed = Box::pin(pool.acquire_timeout(account(1), SECOND));
    let bomb = Waker::from(Arc::new(Bomb));
    assert!(doomed.as_mut().poll(&mut Context::from_waker(&bomb)).is_pending());
    // Its time is up, and the one who tells it is the pool's worker.
    tokio::time::sleep(20 * SECOND).await;
    drop(doomed);
    manager.on_connect(Play::Good);
    drop(pool.acquire(account(2)).await.unwrap());
}

fn one_worker() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn whoever_waits_when_the_runtime_of_the_pool_ends_hears_of_it() {
    for play in [Play::Good, Play::Never] {
        let (others, own) = (one_worker(), one_worker());
        let manager = Scripted::new(1, 1);
        let pool = Pool::builder(manager.clone()).runtime(others.handle().clone()).build().unwrap();
        own.block_on(async {
            let lease = match play {
                Play::Good => Some(pool.acquire(account(1)).await.unwrap()),
                _ => None,
            };
            manager.on_connect(play);
            let wait = || Box::pin(pool.acquire_timeout(account(1), 600 * SECOND));
            let mut waiting = [wait(), wait(), wait()];
            for waiter in &mut waiting {
                assert!(waiter.as_mut().poll(&mut context()).is_pending());
            }
            tokio::task::spawn_blocking(move || others.shutdown_timeout(SECOND)).await.unwrap();
            let ended = |error| matches!(error, AcquireError::RuntimeEnded);
            for waiter in waiting {
                assert!(ended(waiter.await.unwrap_err()));
            }
            // So does whoever comes later, also for an account that nobody has asked for before.
            for number in [1, 2] {
                let error = pool.acquire(account(number)).await.unwrap_err();
                assert!(error.to_string().contains("runtime"), "{error}");
                assert!(ended(error));
            }
            drop(lease);
            pool.close().await;
            let closed = pool.acquire(account(1)).await.unwrap_err();
            assert!(matches!(closed, AcquireError::Closed { .. }), "{closed}");
        });
    }
}

/// A runtime may end before it has begun any task of the pool.
#[test]
fn whoever_waits_for_a_pool_that_never_began_to_run_hears_of_it() {
    let (others, own) = (Builder::new_current_thread().enable_all().build().unwrap(), one_worker());
    let pool = Pool::builder(Scripted::new(1, 1)).runtime(others.handle().clone()).build().unwrap();
    own.block_on(async {
        let mut waiting = Box::pin(pool.acquire_timeout(account(1), 600 * SECOND));
        assert!(waiting.as_mut().poll(&mut context()).is_pending());
        tokio::task::spawn_blocking(move || drop(others)).await.unwrap();
        assert!(matches!(waiting.await.unwrap_err(), AcquireError::RuntimeEnded));
        assert_eq!(pool.close().await.still_open, 0);
    });
}

#[tokio::test(start_paused = true)]
async fn an_acquire_ends_by_its_deadline_however_many_connections_have_to_be_checked() {
    let manager = Scripted::new(3, 1);
    let pool = manager.pool(|_| ());
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(pool.acquire(account(1)).await.unwrap());
    }
    drop(leases);
    tokio::time::sleep(60 * SECOND).await;
    manager.on_check(Play::Never);
    manager.on_connect(Play::Never);
    let started = tokio::time::Instant::now();
    let error = pool.acquire_timeout(account(1), SECOND).await.unwrap_err();
    assert_eq!(error.stage(), Stage::Check, "{error}");
    assert!(started.elapsed() < 2 * SECOND, "the clock is the runtime's own");
}

#[tokio::test(start_paused = true)]
async fn what_was_idle_for_long_is_checked_whichever_way_it_is_acquired() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    drop(pool.acquire(account(1)).await.unwrap());
    for (checks, any) in [(1, true), (2, false)] {
        tokio::time::sleep(60 * SECOND).await;
        drop(if any { pool.acquire_any("default").await } else { pool.acquire(account(1)).await });
        assert_eq!(manager.state.checks.load(Ordering::SeqCst), checks);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_connection_is_checked_after_one_of_its_borrowers_has_panicked() {
    let manager = Scripted::new(1, 2);
    let pool = manager.pool(|_| ());
    let one = pool.acquire(account(1)).await.unwrap();
    let other = pool.acquire(account(1)).await.unwrap();
    assert_eq!(one.connection_id(), other.connection_id());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _other = other;
        panic!("as it was told")
    }));
    assert!(panicked.is_err());
    // The return of the good one does not make up for it.
    drop(one);
    drop(pool.acquire(account(1)).await.unwrap());
    assert_eq!(manager.state.checks.load(Ordering::SeqCst), 1);
    drop(pool.acquire(account(1)).await.unwrap());
    assert_eq!(manager.state.checks.load(Ordering::SeqCst), 1, "it has passed");
}

#[tokio::test(start_paused = true)]
async fn accounts_that_come_and_go_leave_nothing_with_the_reaper() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    for _ in 0..100 {
        drop(pool.acquire(account(1)).await.unwrap());
        assert!(pool.remove_account(account(1)).await);
    }
    drop(pool.acquire(account(1)).await.unwrap());
    tokio::time::sleep(400 * SECOND).await;
    drop(pool.acquire(account(1)).await.unwrap());
    assert!(pool.stats().reaper_scheduled <= 2, "{:?}", pool.stats());
}

#[tokio::test(start_paused = true)]
async fn an_account_that_was_removed_leaves_nothing_with_the_reaper_while_its_handle_is_kept() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|_| ());
    let mut kept = Vec::new();
    for _ in 0..100 {
        kept.push(pool.account(account(1)).unwrap());
        assert!(pool.remove_account(account(1)).await);
    }
    tokio::time::sleep(400 * SECOND).await;
    assert_eq!(pool.stats().reaper_scheduled, 0, "{:?}", pool.stats());
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn a_draining_connection_hides_nobodys_demand() {
    let manager = Scripted::new(1, 2);
    let pool = manager.pool(|config| config.pool.max_connections = 2);
    let shared = [pool.acquire(account(1)).await.unwrap(), pool.acquire(account(1)).await.unwrap()];
    let other = pool.acquire(account(2)).await.unwrap();
    let cold = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.acquire(account(3)).await.map(drop) })
    };
    tokio::time::sleep(2 * SECOND).await;
    let [one, still_held] = shared;
    drop(one);
    tokio::time::sleep(SECOND / 10).await;
    drop(other);
    cold.await.unwrap().unwrap();
    drop(still_held);
}

/// A manager whose connections end by being dropped, and which counts them.
struct ByDrop {
    live: Arc<AtomicU64>,
    most: AtomicU64,
}

struct Socket(Arc<AtomicU64>);

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Manager for ByDrop {
    type Connection = Socket;
    type Error = Bad;

    fn profile(&self, _: AccountId) -> Option<Profile> {
        Some(Profile::new(1))
    }

    async fn connect(&self, _: AccountId, _: u16) -> Result<Socket, Bad> {
        let live = self.live.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(live, Ordering::SeqCst);
        Ok(Socket(Arc::clone(&self.live)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_is_dropped_and_never_meets_its_successor() {
    let by_drop = ByDrop { live: Arc::default(), most: AtomicU64::new(0) };
    let pool = Pool::builder(by_drop).build().unwrap();
    let account = pool.account(account(1)).unwrap();
    drop(account.acquire().await.unwrap());
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(pool.manager().live.load(Ordering::SeqCst), 0, "its idle time was over");
    drop(account.acquire().await.unwrap());
    drop(account.acquire_fresh().await.unwrap());
    assert_eq!(pool.manager().most.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closed_while_it_is_checked_is_lent_to_nobody() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.drain_timeout = Duration::ZERO);
    let first = pool.acquire(account(1)).await.unwrap().connection_id();
    tokio::time::sleep(60 * SECOND).await;
    manager.on_check(Play::Slow(SECOND));
    let waiting = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.acquire(account(1)).await })
    };
    tokio::time::sleep(SECOND / 2).await;
    pool.close_account(account(1)).await;
    let lease = waiting.await.unwrap().unwrap();
    assert_ne!(lease.connection_id(), first);
    drop(lease);
    tokio::time::sleep(SECOND).await;
    assert_eq!((pool.stats().acquires, pool.stats().leases), (2, 0), "the check has ended");
}

/// A manager that takes every connection for broken.
struct Picky(Scripted);

impl Manager for Picky {
    type Connection = <Scripted as Manager>::Connection;
    type Error = Failure;

    fn profile(&self, account: AccountId) -> Option<Profile> {
        self.0.profile(account)
    }

    async fn connect(&self, account: AccountId, slot: u16) -> Result<Self::Connection, Failure> {
        self.0.connect(account, slot).await
    }

    fn is_broken(&self, _: &Self::Connection) -> bool {
        true
    }

    async fn close(&self, connection: &Self::Connection) {
        self.0.close(connection).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_born_broken_is_closed_and_dialled_again_with_a_pause() {
    let manager = Scripted::new(1, 1);
    let pool = Pool::builder(Picky(manager.clone())).build().unwrap();
    let mut acquires = 0;
    let until = tokio::time::Instant::now() + 30 * SECOND;
    while tokio::time::Instant::now() < until {
        acquires += 1;
        let error = pool.acquire(account(1)).await.unwrap_err();
        let broken = matches!(error, AcquireError::Dial(DialError::BrokenOnArrival));
        assert!(broken || error.stage() == Stage::Dial, "{error}");
        // Refused at once while the pause outlasts its patience.
        tokio::time::sleep(SECOND / 10).await;
    }
    let (dials, live) = manager.tally(|tally| (tally.dials, tally.all));
    assert!(dials < 30 && dials <= acquires + 1, "{dials} dials");
    assert_eq!(live, 0, "each was closed");
}

/// A manager with an egress that refuses everybody and one that does not.
struct TwoWays(Scripted);

const REFUSED_BELOW: u64 = 1000;

impl Manager for TwoWays {
    type Connection = <Scripted as Manager>::Connection;
    type Error = Failure;

    fn profile(&self, account: AccountId) -> Option<Profile> {
        let mut profile = Profile::new(1);
        if account.number() < REFUSED_BELOW {
            profile.egress = Egress::Proxy("refused".into());
        }
        Some(profile)
    }

    async fn connect(&self, account: AccountId, slot: u16) -> Result<Self::Connection, Failure> {
        match account.number() < REFUSED_BELOW {
            true => Err(Failure(Reaction::TripBreaker)),
            false => self.0.connect(account, slot).await,
        }
    }

    async fn close(&self, connection: &Self::Connection) {
        self.0.close(connection).await;
    }

    fn react(&self, error: &Failure) -> Reaction {
        error.0.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn an_egress_that_is_refused_keeps_nobody_at_another_from_connecting() {
    let pool = Pool::builder(TwoWays(Scripted::new(1, 1)))
        .configure(|config| config.pool.max_connections = 100)
        .build()
        .unwrap();
    for number in 1..=300 {
        let pool = pool.clone();
        tokio::spawn(async move {
            loop {
                drop(pool.acquire(account(number)).await);
                tokio::time::sleep(SECOND / 10).await;
            }
        });
    }
    tokio::time::sleep(60 * SECOND).await;
    for number in 5000..5020 {
        drop(pool.acquire(account(number)).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_ended_delays_no_dial() {
    for removed in [false, true] {
        let manager = Scripted::new(1, 1);
        let pool = manager.pool(|_| ());
        // The server would have the account rest for an hour.
        manager.on_connect(Play::Rest(3600 * SECOND));
        drop(pool.acquire(account(1)).await.unwrap_err());
        manager.on_connect(Play::Good);
        assert!(pool.acquire_timeout(account(1), SECOND).await.is_err(), "it rests");
        match removed {
            true => assert!(pool.remove_account(account(1)).await),
            false => assert!(pool.reinstate(account(1))),
        }
        drop(pool.acquire(account(1)).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_gives_way_for_a_caller_who_has_left() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.max_connections = 1);
    let lease = pool.acquire(account(1)).await.unwrap();
    drop(pool.acquire_timeout(account(2), SECOND).await.unwrap_err());
    tokio::time::sleep(30 * SECOND).await;
    drop(lease);
    tokio::time::sleep(SECOND).await;
    assert_eq!(pool.stats().total_connections_closed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_takes_nothing_from_anybody() {
    let manager = Scripted::new(1, 1);
    let pool = manager.pool(|config| config.pool.max_connections = 5);
    for number in 1..=4 {
        drop(pool.acquire(account(number)).await.unwrap());
    }
    assert_eq!(pool.warm_up((100..200).map(account)), 100);
    tokio::time::sleep(60 * SECOND).await;
    let stats = pool.stats();
    assert_eq!((stats.total_connections_created, stats.total_connections_closed), (5, 0));
}

/// An acquire that finds a connection of the old generation has a lease of it to give back.
#[test]
fn replacing_connections_under_load_loses_no_lease() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let pool = Scripted::new(4, 1).pool(|config| {
            config.pool.drain_timeout = Duration::from_millis(5);
            config.pool.max_connections_per_account = 4;
        });
        let until = tokio::time::Instant::now() + SECOND;
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let account = pool.account(account(1)).unwrap();
                tokio::spawn(async move {
                    while tokio::time::Instant::now() < until {
                        drop(account.acquire().await);
                    }
                })
            })
            .collect();
        while tokio::time::Instant::now() < until {
            pool.close_account(account(1)).await;
        }
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!(pool.close().await.still_open, 0);
        assert_eq!(pool.stats().leases, 0);
    });
}
