//! Integration tests, one file per aspect.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "a test may panic and spawn"
)]
#![allow(clippy::duplicate_mod, reason = "the contract of the engines runs over each of them")]

/// Counts the memory in use, for the tests that run in a process of their own.
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

mod acquire;
mod any;
#[cfg(feature = "bench")]
mod bench;
#[cfg(all(feature = "telegram", feature = "sandbox"))]
mod broadcast;
#[cfg(all(target_os = "linux", feature = "cli"))]
mod browser;
mod cancel;
mod checks;
#[cfg(feature = "cli")]
mod columns;
#[cfg(feature = "cli")]
mod command;
#[cfg(all(unix, feature = "cli"))]
mod ctl;
#[cfg(all(unix, feature = "cli"))]
mod ctl_run;
#[cfg(feature = "cli")]
mod dashboards;
#[cfg(feature = "cli")]
mod doctor;
mod expiry;
#[cfg(all(target_os = "linux", feature = "cli"))]
mod foreign;
mod grid;
mod hostile;
#[cfg(feature = "http")]
mod http;
#[cfg(all(unix, feature = "cli"))]
mod http_listen;
#[cfg(feature = "http")]
mod http_serve;
#[cfg(feature = "store")]
mod import;
#[cfg(feature = "cli")]
mod inputs;
mod limits;
mod listeners;
mod listening;
mod listing;
#[cfg(all(unix, feature = "cli"))]
mod login;
#[cfg(feature = "cli")]
mod logs;
#[cfg(feature = "http")]
mod metrics;
mod operations;
mod outage;
#[cfg(all(feature = "telegram", feature = "sandbox"))]
mod over_grammers;
#[cfg(all(feature = "telegram", feature = "sandbox"))]
mod over_wire;
mod panics;
mod pause;
#[cfg(feature = "cli")]
mod processes;
mod profiles;
mod race;
mod readme;
mod reentry;
#[cfg(all(feature = "telegram", feature = "sandbox"))]
mod relay;
#[cfg(all(feature = "telegram", feature = "sandbox"))]
mod sandbox;
#[cfg(feature = "bench")]
mod scale;
#[cfg(all(unix, feature = "cli"))]
mod screen;
mod scripted;
#[cfg(all(unix, feature = "cli"))]
mod serving;
#[cfg(feature = "session")]
mod session;
#[cfg(all(feature = "telegram", feature = "sandbox"))]
mod sign_in;
mod standing;
#[cfg(feature = "cli")]
mod state;
#[cfg(all(feature = "store", feature = "telegram"))]
mod store;
mod stress;
mod surroundings;
mod texts;
mod timers;
#[cfg(feature = "cli")]
mod token;
#[cfg(all(target_os = "linux", feature = "cli"))]
mod top;
mod unpolled;
