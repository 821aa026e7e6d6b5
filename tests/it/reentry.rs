//! Code of the user's that is called by the pool, and calls the pool.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};
use std::time::Duration;

use telepool::{
    AccountHealth, AccountId, AcquireError, ErrorKind, Manager, Pool, Profile, QuarantineReason,
    Reaction,
};

use crate::scripted::account;

/// Looks at the pool and turns its knobs from everywhere.
#[derive(Clone, Default)]
struct Meddler(Arc<Inner>);

#[derive(Default)]
struct Inner {
    pool: OnceLock<Pool<Meddler>>,
    calls: AtomicU64,
}

#[derive(Debug, thiserror::Error)]
#[error("meddled")]
struct Meddled;

impl Meddler {
    /// Everything that can be called without waiting. One level deep, or it would never end.
    fn meddle(&self) {
        let Some(pool) = self.0.pool.get() else { return };
        if !self.0.calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(8) {
            return;
        }
        let other = account(2 + self.0.calls.load(Ordering::SeqCst) % 50);
        drop(pool.stats());
        drop(pool.account_stats(other));
        drop(pool.account(other));
        drop(pool.try_acquire(other));
        drop(pool.account_health(other));
        pool.reinstate(other);
        pool.warm_up([other]);
        pool.reconfigure((*pool.config()).clone()).unwrap();
    }
}

impl Manager for Meddler {
    type Connection = ();
    type Error = Meddled;

    fn profile(&self, _: AccountId) -> Option<Profile> {
        self.meddle();
        Some(Profile::new(2))
    }

    async fn connect(&self, _: AccountId, _: u16) -> Result<(), Meddled> {
        self.meddle();
        if self.0.calls.load(Ordering::SeqCst).is_multiple_of(7) { Err(Meddled) } else { Ok(()) }
    }

    fn is_broken(&self, (): &()) -> bool {
        self.meddle();
        false
    }

    async fn check(&self, (): &()) -> Result<(), Meddled> {
        self.meddle();
        Ok(())
    }

    async fn close(&self, (): &()) {
        self.meddle();
    }

    fn react(&self, _: &Meddled) -> Reaction {
        self.meddle();
        Reaction::QuarantineSession(QuarantineReason::Suspect)
    }

    fn kind(&self, _: &Meddled) -> ErrorKind {
        self.meddle();
        ErrorKind::Io
    }

    fn quarantines(&self, _: AccountId) -> Vec<(u16, QuarantineReason)> {
        self.meddle();
        Vec::new()
    }

    fn set_quarantine(&self, account: AccountId, _: u16, reason: Option<QuarantineReason>) {
        self.meddle();
        if let (Some(pool), Some(_)) = (self.0.pool.get(), reason) {
            // Undone from where it is told.
            pool.reinstate(account);
        }
    }

    fn members(&self, _: &str) -> Option<Arc<[AccountId]>> {
        self.meddle();
        Some((1..=50).map(account).collect())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_pool_calls_may_call_the_pool() {
    let manager = Meddler::default();
    let listener = manager.clone();
    let pool = Pool::builder(manager.clone())
        .configure(|config| {
            config.dial.per_second = 100_000;
            config.dial.handshakes = 1000;
            config.pool.max_connections = 20;
            config.pool.check_after_idle = Duration::ZERO;
            config.pool.max_idle_time = Duration::from_millis(5);
            config.pool.cleanup_interval = Duration::from_millis(1);
            config.pool.acquire_timeout = Duration::from_millis(50);
        })
        .on_event(move |_| listener.meddle())
        .build()
        .unwrap();
    assert!(manager.0.pool.set(pool.clone()).is_ok());
    let work = async {
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..8_u64 {
            let pool = pool.clone();
            callers.spawn(async move {
                for turn in 0..200 {
                    let lease = match turn % 3 {
                        0 => pool.acquire_any("any").await,
                        1 => pool.acquire_fresh(account(1 + (caller + turn) % 50)).await,
                        _ => pool.acquire(account(1 + (caller * turn) % 50)).await,
                    };
                    match lease {
                        Ok(lease) if turn % 5 == 0 => {
                            lease.report(&Meddled);
                        }
                        Ok(lease) if turn % 7 == 0 => lease.discard(),
                        _ => {}
                    }
                    if turn % 50 == 0 {
                        pool.remove_account(account(1 + turn % 50)).await;
                    }
                }
            });
        }
        callers.join_all().await;
        pool.close().await
    };
    let report = tokio::time::timeout(Duration::from_secs(60), work).await;
    assert_eq!(report.expect("somebody waits for somebody for ever").still_open, 0);
    let stats = pool.stats();
    assert_eq!((stats.leases, stats.waiting), (0, 0), "{stats:?}");
}

/// Closes the pool while this looks an account up.
#[derive(Clone, Default)]
struct Closer(Arc<OnceLock<Pool<Self>>>);

impl Manager for Closer {
    type Connection = ();
    type Error = Meddled;

    fn profile(&self, _: AccountId) -> Option<Profile> {
        let pool = self.0.get().expect("it was given");
        let mut close = std::pin::pin!(pool.close());
        let mut context = Context::from_waker(Waker::noop());
        assert!(close.as_mut().poll(&mut context).is_ready(), "there is nothing to close");
        Some(Profile::new(1))
    }

    async fn connect(&self, _: AccountId, _: u16) -> Result<(), Meddled> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_added_while_the_pool_closes_is_closed() {
    let manager = Closer::default();
    let pool = Pool::builder(manager.clone()).build().unwrap();
    assert!(manager.0.set(pool.clone()).is_ok());
    let late = pool.account(account(1)).unwrap();
    assert_eq!(pool.account_health(account(1)), Some(AccountHealth::Closed));
    let refused = late.acquire().await.unwrap_err();
    assert!(matches!(refused, AcquireError::Closed { .. }), "{refused}");
}
