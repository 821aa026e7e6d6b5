//! Every pool under test, with a connection that is nothing and a manager that does nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use telepool::metrics::Prometheus;
use telepool::{Account, AccountId, ErrorKind, Manager, Pool, Profile, Reaction};

/// Counts the connections that there are, and how many there were at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    live: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
}

impl Census {
    fn born(&self) -> Socket {
        let live = self.live.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(live, Ordering::SeqCst);
        Socket(self.clone())
    }

    pub(crate) fn most(&self) -> u64 {
        self.most.load(Ordering::SeqCst)
    }
}

/// The connection of all pools.
#[derive(Debug)]
pub(crate) struct Socket(Census);

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The manager of all pools.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nothing {
    pub(crate) census: Census,
    pub(crate) slots: u16,
    pub(crate) leases: u16,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(String);

impl From<&str> for Fault {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Manager for Nothing {
    type Connection = Socket;
    type Error = Fault;

    fn profile(&self, _: AccountId) -> Option<Profile> {
        let mut profile = Profile::new(self.slots);
        profile.leases = self.leases;
        Some(profile)
    }

    async fn connect(&self, _: AccountId, _: u16) -> Result<Socket, Fault> {
        Ok(self.census.born())
    }

    fn react(&self, _: &Fault) -> Reaction {
        Reaction::Discard
    }

    fn kind(&self, _: &Fault) -> ErrorKind {
        ErrorKind::Io
    }
}

impl deadpool::managed::Manager for Nothing {
    type Type = Socket;
    type Error = Infallible;

    async fn create(&self) -> Result<Socket, Infallible> {
        Ok(self.census.born())
    }

    async fn recycle(
        &self,
        _: &mut Socket,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Infallible> {
        Ok(())
    }
}

impl bb8::ManageConnection for Nothing {
    type Connection = Socket;
    type Error = Infallible;

    async fn connect(&self) -> Result<Socket, Infallible> {
        Ok(self.census.born())
    }

    async fn is_valid(&self, _: &mut Socket) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Socket) -> bool {
        false
    }
}

impl fast_pool::Manager for Nothing {
    type Connection = Socket;
    type Error = Fault;

    async fn connect(&self) -> Result<Socket, Fault> {
        Ok(self.census.born())
    }

    async fn check(&self, _: &mut Socket) -> Result<(), Fault> {
        Ok(())
    }
}

#[mobc::async_trait]
impl mobc::Manager for Nothing {
    type Connection = Socket;
    type Error = Fault;

    async fn connect(&self) -> Result<Socket, Fault> {
        Ok(self.census.born())
    }

    async fn check(&self, connection: Socket) -> Result<Socket, Fault> {
        Ok(connection)
    }
}

/// telepool as in production: deadlines, checks, histograms, events and the export are on.
pub(crate) fn telepool(slots: u16, leases: u16) -> Pool<Nothing> {
    let pool = Pool::builder(Nothing { slots, leases, ..Nothing::default() })
        .configure(|config| {
            config.pool.max_connections_per_account = slots;
            config.pool.max_connections = 100_000;
            config.pool.max_idle_time = Duration::from_secs(3600);
            config.dial.per_second = 100_000;
            config.dial.handshakes = 1000;
        })
        .build()
        .unwrap();
    // What it measures from now on goes to its recorder, also if nobody keeps the exporter.
    drop(Prometheus::new(&pool).unwrap());
    pool
}

/// One account of a pool, which must be kept as long as the account is used.
pub(crate) fn account(pool: &Pool<Nothing>) -> Account<Nothing> {
    pool.account(AccountId::bot(1).unwrap()).unwrap()
}

pub(crate) fn deadpool(size: usize) -> deadpool::managed::Pool<Nothing> {
    deadpool::managed::Pool::builder(Nothing::default()).max_size(size).build().unwrap()
}

pub(crate) async fn bb8(size: u32) -> bb8::Pool<Nothing> {
    bb8::Pool::builder().max_size(size).build(Nothing::default()).await.unwrap()
}

pub(crate) fn fast_pool(size: u64) -> fast_pool::Pool<Nothing> {
    let pool = fast_pool::Pool::new(Nothing::default());
    pool.set_max_open(size);
    pool
}

pub(crate) fn mobc(size: u64) -> mobc::Pool<Nothing> {
    mobc::Pool::builder().max_open(size).max_idle(size).build(Nothing::default())
}
