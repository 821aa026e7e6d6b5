//! What everything else stands on: atomics and locks, time, timers, histograms, panics and texts of others'
//! code, and labels.
//!
//! Knows nothing of accounts, connections or pools. The only floor that names atomics, the clock and
//! `catch_unwind`.

pub(crate) mod call_site;
pub(crate) mod clock;
#[cfg(any(feature = "http", feature = "store", feature = "telegram"))]
pub(crate) mod disk;
pub(crate) mod histogram;
pub(crate) mod labels;
pub(crate) mod panics;
pub(crate) mod sync;
pub(crate) mod text;
pub(crate) mod timer;
