//! Workload of a run: callers that acquire, call and release.
//!
//! Owns the callers, and which of their failures an injected fault explains.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use telepool::sandbox::DataCentre;
use telepool::telegram::{InvokeError, TelegramError};
use telepool::{AccountId, AcquireError, DialError, Lease, Pool};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::accounts::PoolManager;
use crate::calls::{Mix, WorkloadCall};
use crate::clock::now;
use crate::counts::RunCounts;
use crate::signals::Stop;

/// How long a caller rests after a failure, so that a failing pool is not asked in a frenzy.
const AFTER_FAILURE: Duration = Duration::from_millis(10);
/// How long before a call began a fault may have been injected and still be the cause: the
/// client hears of a closed connection a moment later.
const GRACE: Duration = Duration::from_secs(1);

/// What all callers share.
pub(crate) struct Workload {
    pub(crate) pool: Pool<PoolManager>,
    pub(crate) accounts: Arc<UsableAccounts>,
    pub(crate) mix: Mix,
    pub(crate) counts: Arc<RunCounts>,
    /// Where faults come from, in a sandbox.
    pub(crate) data_centre: Option<DataCentre>,
    pub(crate) seed: u64,
}

/// Starts so many callers, which together make at most `rate` calls a second (0: as many as they
/// can). They end when told to, or when no account is left that can serve.
pub(crate) fn start(work: Workload, concurrency: u32, rate: u32, stop: &Stop) -> JoinSet<()> {
    let pace = NonZeroU32::new(rate).map(|rate| {
        let burst = NonZeroU32::new(rate.get() / 100).unwrap_or(NonZeroU32::MIN);
        Arc::new(RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)))
    });
    let work = Arc::new(work);
    let mut callers = JoinSet::new();
    for number in 0..concurrency {
        let caller = Caller {
            number,
            random: fastrand::Rng::with_seed(work.seed ^ u64::from(number) << 32),
            work: Arc::clone(&work),
        };
        callers.spawn(caller.run(pace.clone(), stop.clone()));
    }
    callers
}

/// There may be 100,000 of them: each is as small as can be.
struct Caller {
    number: u32,
    work: Arc<Workload>,
    random: fastrand::Rng,
}

impl Caller {
    async fn run(mut self, pace: Option<Arc<DefaultDirectRateLimiter>>, mut stop: Stop) {
        while !stop.is_requested() {
            if let Some(pace) = &pace {
                tokio::select! {
                    () = pace.until_ready() => {}
                    () = stop.requested() => break,
                }
            }
            let Some(account) = self.choose() else { break };
            let started = now();
            let acquired = tokio::select! {
                biased;
                acquired = self.acquire(account, started) => acquired,
                // Whoever still waits for a lease has begun nothing that must be ended.
                () = stop.requested() => break,
            };
            let done = match acquired {
                // It came together with the end of the run.
                Ok(_) if stop.is_requested() => break,
                Ok(lease) => self.call(lease).await,
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                if is_final(&error) {
                    self.work.accounts.remove(account);
                }
                self.count_failure(account, started, &error);
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }

    fn choose(&mut self) -> Option<AccountId> {
        let accounts = self.work.accounts.0.load();
        let count = accounts.len();
        (count > 0).then(|| accounts[self.random.usize(..count)])
    }

    async fn acquire(
        &self,
        account: AccountId,
        started: Instant,
    ) -> Result<Lease<PoolManager>, InvokeError> {
        match self.work.pool.acquire(account).await {
            Ok(lease) => {
                self.work.counts.add_wait(self.number, now() - started);
                Ok(lease)
            }
            Err(error) => {
                self.work.counts.count_failed_acquire();
                Err(error.into())
            }
        }
    }

    async fn call(&mut self, lease: Lease<PoolManager>) -> Result<(), InvokeError> {
        let started = now();
        self.work.counts.count_call();
        WorkloadCall::draw(self.work.mix, &mut self.random).make(&lease).await?;
        self.work.counts.add_call(self.number, now() - started);
        Ok(())
    }

    fn count_failure(&self, account: AccountId, started: Instant, error: &InvokeError) {
        let counts = &self.work.counts;
        let last_fault = self.work.data_centre.as_ref().and_then(|it| it.since_last_fault(account));
        if matches!(
            error,
            InvokeError::Acquire(AcquireError::Dial(DialError::Connect(
                TelegramError::KeyResting { .. }
            )))
        ) {
            // It was told at the start, and nothing has failed.
            return;
        }
        let injected = match error {
            // A flood or a lost session shows long after the fault.
            InvokeError::RetryAfter { .. }
            | InvokeError::Acquire(AcquireError::Quarantined { .. }) => last_fault.is_some(),
            _ => last_fault.is_some_and(|ago| ago <= started.elapsed() + GRACE),
        };
        if injected {
            counts.count_faulted();
        } else {
            counts.count_failed(account, error);
        }
    }
}

/// The accounts that can serve, which callers choose from.
#[derive(Debug)]
pub(crate) struct UsableAccounts(ArcSwap<Vec<AccountId>>);

impl UsableAccounts {
    pub(crate) fn new(accounts: Vec<AccountId>) -> Self {
        Self(ArcSwap::from_pointee(accounts))
    }

    pub(crate) fn all(&self) -> Arc<Vec<AccountId>> {
        self.0.load_full()
    }

    /// Removes an account that serves nobody for now.
    pub(crate) fn remove(&self, account: AccountId) {
        self.0.rcu(|accounts| {
            accounts.iter().copied().filter(|other| *other != account).collect::<Vec<_>>()
        });
    }

    /// Adds an account that can serve again.
    pub(crate) fn add(&self, account: AccountId) {
        self.0.rcu(|accounts| {
            let others = accounts.iter().copied().filter(|other| *other != account);
            others.chain([account]).collect::<Vec<_>>()
        });
    }
}

/// Whether the account serves nobody until it is out of doubt, or for good.
fn is_final(error: &InvokeError) -> bool {
    matches!(
        error,
        InvokeError::Acquire(AcquireError::Quarantined { .. } | AcquireError::NoSession { .. })
    )
}

#[cfg(test)]
mod tests {
    use telepool::ownership::Unguarded;
    use telepool::sandbox::DataCentreOptions;
    use telepool::telegram::{TelegramManager, TelegramSettings};

    use super::*;
    use crate::accounts::ServedAccounts;
    use crate::signals;

    #[tokio::test]
    async fn a_lease_that_comes_together_with_the_end_of_a_run_makes_no_call() {
        let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
        let account = AccountId::bot(1).unwrap();
        let accounts =
            ServedAccounts::new(data_centre.create_sessions(account, 1, None), None).unwrap();
        let manager = TelegramManager::new(accounts.source, TelegramSettings::new(1))
            .with_ownership(Arc::new(Unguarded::default()));
        let pool = Pool::builder(manager)
            .configure(|config| config.pool.max_leases_per_connection = 1)
            .build()
            .unwrap();
        let lease = pool.acquire(account).await.unwrap();
        let (stopper, stop) = signals::pair();
        let counts = Arc::new(RunCounts::new());
        let work = Workload {
            pool: pool.clone(),
            accounts: Arc::new(UsableAccounts::new(vec![account])),
            mix: Mix::Pings,
            counts: Arc::clone(&counts),
            data_centre: None,
            seed: 7,
        };
        let mut callers = start(work, 1, 0, &stop);
        while pool.stats().waiting == 0 {
            tokio::task::yield_now().await;
        }
        // Both before the caller has its turn.
        drop(lease);
        stopper.request();
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
        assert_eq!((counts.calls(), pool.stats().waiting), (0, 0));
        assert_eq!(pool.close().await.still_open, 0);
        data_centre.stop().await;
    }
}
