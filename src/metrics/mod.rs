//! Metrics of a pool: for recorders of the `metrics` facade, and in Prometheus' text format.
//!
//! Owns the names, the labels and the copying. Never counts anything itself, never installs a
//! recorder, and has no series per account: labels come from closed sets, and of groups 64 have
//! a name (the rest is counted as `other`).
//!
//! [`PoolMetrics`] works with any recorder of the `metrics` facade, which is passed
//! as an argument. [`Prometheus`] makes Prometheus' text, to be served by any HTTP library:
//!
//! ```
//! use telepool::metrics::Prometheus;
//! use telepool::{AccountId, NoopManager, Pool};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::builder(NoopManager::new(3)).build()?;
//! let exporter = Prometheus::new(&pool)?;
//! drop(pool.acquire(AccountId::bot(1)?).await?);
//! let text = exporter.scrape().await?;
//! assert!(text.contains(r#"telepool_acquires_total{group="default",result="ok"} 1"#));
//! # Ok(())
//! # }
//! ```
//!
//! # Two exporters, one list
//! `series` lists every series once, and each exporter takes all of them in the same way. There are two,
//! because neither can stand in for the other: a recorder of the facade takes the samples of a histogram one
//! by one, so that it is told the mean of each bucket as often as that was counted, while the text has the
//! counts themselves, exactly and without a cost for each sample.
//!
//! # What adds up
//! While nothing is under way, for each group:
//!
//! - `acquires_total{result="ok"}` is the sum of `acquired_connections_total`;
//! - `acquires_total{result="ok"}` less all `releases_total` are the `leases`;
//! - `connection_opens_total{result="ok"}` less all `connection_closes_total` are the
//!   `connections` in any state but `connecting`;
//! - the count of `acquire_wait_seconds` is the number of acquires that got a lease after they
//!   had waited, be it for a dial;
//! - `account_pools_opened_total` less all `account_pools_closed_total` are the `accounts`;
//! - the count of `call_seconds` are the `calls_total` of all outcomes but `not_sent` and `cancelled`;
//! - `calls_total{outcome="rpc_error"}` and `calls_total{outcome="flood"}` are all `rpc_errors_total`.
//!
//! A reading that races with a change may come a little short of the truth and is made good by
//! the next one; no counter ever goes back.
//!
//! # How many series there are
//! Those of the pool, about a dozen, and for each of at most 65 groups some 125 counters and gauges, five
//! histograms of up to 20 lines each, and from its first call on one for each name of an error that the manager
//! counts apart (that of Telegram: 60) and one for all others: fewer than 300 for each group. So a rate sees the
//! first error of a group, unless that came with the first call, and groups that make no calls have none of these.

mod catalogue;
mod histograms;
mod prometheus;
mod readiness;
mod recorder;
pub(crate) mod sample;
mod series;
mod source;
mod text;

pub use catalogue::buckets;
pub use prometheus::Prometheus;
pub use readiness::Readiness;
pub use recorder::{PoolMetrics, SharedRecorder};
pub use source::ExportError;
