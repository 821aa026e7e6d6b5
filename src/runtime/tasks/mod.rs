//! The tasks of a pool: the worker with its dials, checks and closes, the reaper, the clock, and the
//! callbacks of events.
//!
//! They lie above the accounts, and only the pool that starts them names them.

mod check;
mod clock;
mod dial;
mod listen;
mod reaper;
mod timers;
mod worker;

pub(crate) use clock::tick;
pub(crate) use listen::listen;
pub(crate) use reaper::reap;
pub(crate) use worker::work;
