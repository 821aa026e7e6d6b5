//! telepool: a connection-pool runtime for Telegram accounts. Many accounts, few connections, no
//! account ever lost.
//!
//! A [`Pool`] is built around a [`Manager`], which opens, checks and closes connections. An
//! account has *slots*, one per authorized session, and at most one connection per slot; an
//! acquire takes a *lease* of an idle connection, waits its turn, or has a vacant slot dialled.
//!
//! ```
//! use telepool::{AccountId, NoopManager, Pool};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::builder(NoopManager::new(3))
//!     .configure(|config| config.pool.max_connections = 1000)
//!     .on_event(|event| println!("{event:?}"))
//!     .build()?;
//!
//! let account: AccountId = "+442079460958".parse()?;
//! let lease = pool.acquire(account).await?;
//! // ... use the connection through the lease ...
//! drop(lease);
//!
//! // Acquiring often from one account? A handle spares the lookup.
//! let handle = pool.account(account)?;
//! let lease = handle.acquire().await?;
//! assert_eq!(lease.use_count(), 2);
//! drop(lease);
//! pool.close().await;
//! # Ok(())
//! # }
//! ```

//! # Where to look
//! [`Pool`] and [`Account`] acquire; [`Acquire`] is the future they return and [`Lease`] its
//! outcome. [`Config`] holds every setting with its default and limits, [`Event`] what happens,
//! [`PoolStats`] and [`AccountStats`] the numbers. [`design`] tells how it works inside.
//!
//! # Features
//! The bare pool needs none. `session` reads session strings and JSON lines; `metrics` has the numbers,
//! also as Prometheus' text; `telegram` opens connections to Telegram; `sandbox` is the data centre for
//! tests; `http` serves the numbers; `store` keeps sessions and reads those of other programs. `cli`, the default, is all of these and the command, and `bench`
//! adds its benchmark.
//!
//! # Logs and spans
//! With a subscriber of `tracing`: spans `acquire`, `dial`, `check` and `call` at the level DEBUG,
//! and warnings of quarantines, restrictions, tripped breakers, slow acquires and leases that are
//! held for long. Accounts are masked. Without one an acquire pays one load for it.
//!
#![cfg_attr(feature = "telegram", doc = "Real Telegram accounts: [`telegram`] and [`session`].")]
#![cfg_attr(feature = "store", doc = "Sessions kept and brought along: [`store`] and [`import`].")]
#![cfg_attr(feature = "metrics", doc = "For Prometheus and other collectors: [`metrics`].")]
#![forbid(unsafe_code)]

mod account_health;
mod account_id;
mod base;
pub mod config;
mod connection;
pub mod design;
mod engine;
mod error;
mod events;
mod expiry;
#[cfg(fuzzing)]
pub mod fuzzing;
mod limits;
mod manager;
mod noop;
mod pool;
mod registry;
mod runtime;
mod stats;

#[cfg(feature = "store")]
pub mod export;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "store")]
pub mod import;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(any(feature = "telegram", feature = "sandbox"))]
mod mtproto;
#[cfg(feature = "telegram")]
pub mod ownership;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "session")]
pub mod session;
#[cfg(feature = "telegram")]
pub mod sign_in;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "telegram")]
pub mod telegram;

pub use account_health::{AccountHealth, Cooldown};
pub use account_id::{AccountId, ParseAccountError, RevealedAccount};
pub use connection::{CloseReason, ConnectionId, ConnectionState};

pub use config::{
    Config, ConfigError, DialConfig, FloodConfig, HealthConfig, PoolConfig, WatchConfig,
};
pub use error::{AcquireError, BuildError, DialError, Stage, Unreachable, WaitTimeout};
pub use events::{Event, EventLevel, EventStream};
pub use manager::{
    CallOutcome, CallTimer, Clearance, Egress, ErrorKind, Hold, Manager, MetricsSource,
    NetworkCounts, Profile, QuarantineReason, Reaction, TrafficCounters, TrafficGroups,
    TurnOutcome, UpdateLosses,
};
pub use noop::NoopManager;
pub use pool::{
    Account, AccountRef, Acquire, BorrowedLease, Builder, CloseReport, Lease, OwnedLease, Pool,
};
pub use stats::{AccountStats, AccountSummary, ConnectionStats, PoolStats};

/// The README's example, compiled with the tests.
#[cfg(all(doctest, feature = "telegram", feature = "http"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
