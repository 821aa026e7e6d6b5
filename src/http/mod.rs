//! The live page and the HTTP API of a pool, with `/metrics`, `/healthz` and `/readyz`.
//!
//! Owns the routes, what they know of the pool, and a server with a graceful shutdown.
//!
//! An application that wants no more than the numbers mounts the exporter in a router of its own:
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
//! One that wants all of it serves [`router()`], or that of a [`Panel`]:
//!
//! ```
//! # use telepool::{NoopManager, Pool, http};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let pool = Pool::builder(NoopManager::new(3)).build()?;
//! # let stop = async {};
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! http::serve(listener, http::router(&pool)?, stop).await?;
//! # Ok(())
//! # }
//! ```

mod access;
mod api;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
mod monitor;
mod page;
mod panel;
mod pool;
mod problem;
mod routes;
mod serve;
mod settings;
mod upkeep;

#[cfg(fuzzing)]
pub(crate) use access::fuzzing::request_of_bytes;
pub use access::{
    Access, AccessPolicy, GrantError, HostNameError, ParseTokenIdError, Peer, Scope, Token,
    TokenFile, TokenFileError, TokenGrant, TokenId, TokenRecord, Tokens,
};
pub use panel::{Panel, router};
pub use routes::{metrics, probes};
pub use serve::{ServeLimits, serve, serve_within};
pub use settings::{SettingOrigin, StaticSetting};
pub use upkeep::HistogramUpkeep;
