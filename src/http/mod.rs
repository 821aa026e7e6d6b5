//! HTTP endpoints of a pool: the live page, `/metrics`, `/healthz` and `/readyz`.
//!
//! Owns the routes, a server with a graceful shutdown, and the upkeep of the exporter's histograms. Never
//! changes anything in the pool.
//!
//! An application that has a router of its own mounts the exporter there:
//!
//! ```
//! use telepool::metrics::Prometheus;
//! use telepool::http::{self, HistogramUpkeep};
//! # use telepool::{NoopManager, Pool};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let pool = Pool::builder(NoopManager::new(3)).build()?;
//! # let application = axum::Router::<()>::new();
//! let exporter = Prometheus::new(&pool)?;
//! let _upkeep = HistogramUpkeep::start(&exporter, &tokio::runtime::Handle::current());
//! let application = application.route("/metrics", http::metrics(&exporter));
//! # drop(application);
//! # Ok(())
//! # }
//! ```
//!
//! One that has none serves [`router`]:
//!
//! ```
//! # use telepool::metrics::Prometheus;
//! # use telepool::{NoopManager, Pool, http};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let pool = Pool::builder(NoopManager::new(3)).build()?;
//! # let exporter = Prometheus::new(&pool)?;
//! # let stop = async {};
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! http::serve(listener, http::router(&exporter), stop).await?;
//! # Ok(())
//! # }
//! ```

mod access;
mod page;
mod problem;
mod routes;
mod serve;
mod upkeep;

#[cfg(fuzzing)]
pub(crate) use access::fuzzing;
pub use access::{
    Access, AccessPolicy, GrantError, HostNameError, ParseTokenIdError, Peer, Scope, Token,
    TokenFile, TokenFileError, TokenGrant, TokenId, TokenRecord, Tokens,
};
pub use routes::{metrics, router};
pub use serve::{ServeLimits, serve, serve_within};
pub use upkeep::HistogramUpkeep;
