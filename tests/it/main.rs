//! Integration tests, one file per aspect.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "a test may panic and spawn"
)]

mod acquire;
mod cancel;
#[cfg(feature = "cli")]
mod command;
mod expiry;
mod hostile;
mod limits;
#[cfg(feature = "panel")]
mod metrics;
mod panics;
mod readme;
#[cfg(all(feature = "grammers", feature = "sandbox"))]
mod sandbox;
mod scripted;
#[cfg(feature = "session")]
mod session;
mod stress;
#[cfg(all(feature = "grammers", feature = "sandbox"))]
mod telegram;
