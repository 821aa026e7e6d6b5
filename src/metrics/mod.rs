//! The pool's numbers, for whatever collects them.
//!
//! Owns the names, the labels and the copying. Never counts anything itself, never installs a
//! recorder, and has no series per account: labels come from closed sets, and of groups 64 have
//! a name (the rest is counted as `other`).
//!
//! [`PoolMetrics`] works with any recorder of the `metrics` facade, which is passed
//! as an argument.
#![cfg_attr(
    feature = "metrics",
    doc = "[`Prometheus`] is one that makes Prometheus' text, to be served by any HTTP library:",
    doc = "",
    doc = "```",
    doc = "use telepool::metrics::Prometheus;",
    doc = "use telepool::{AccountId, NoopManager, Pool};",
    doc = "",
    doc = "# #[tokio::main(flavor = \"current_thread\")]",
    doc = "# async fn main() -> Result<(), Box<dyn std::error::Error>> {",
    doc = "let pool = Pool::builder(NoopManager::new(3)).build()?;",
    doc = "let exporter = Prometheus::new(&pool)?;",
    doc = "drop(pool.acquire(AccountId::bot(1)?).await?);",
    doc = "let text = exporter.scrape().await?;",
    doc = "assert!(text.contains(r#\"telepool_acquires_total{group=\"default\",result=\"ok\"} 1\"#));",
    doc = "# Ok(())",
    doc = "# }",
    doc = "```"
)]
//!
//! # What adds up
//! While nothing is under way, for each group:
//!
//! - `acquires_total{result="ok"}` is the sum of `acquired_connections_total`;
//! - `acquires_total{result="ok"}` less all `releases_total` are the `leases`;
//! - `connection_opens_total{result="ok"}` less all `connection_closes_total` are the
//!   `connections` in any state but `connecting`;
//! - the count of `acquire_wait_seconds` is the number of acquires that got a lease after they
//!   had stood in line, be it for a dial;
//! - `account_pools_opened_total` less all `account_pools_closed_total` are the `accounts`.
//!
//! A reading that races with a change may come a little short of the truth and is made good by
//! the next one; no counter ever goes back.

mod catalogue;
mod export;
mod handles;
#[cfg(feature = "metrics")]
mod prometheus;
mod reading;
mod timings;

pub use catalogue::buckets;
pub use export::{ExportError, PoolMetrics, SharedRecorder};
#[cfg(feature = "metrics")]
pub use prometheus::Prometheus;
pub use reading::Readiness;
