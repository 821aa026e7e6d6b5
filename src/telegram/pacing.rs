//! Send pacing: messages wait for their turn on this side, so that the server need not refuse them.
//!
//! Owns when an account may send into which chat. Never sends anything, and knows no connection: whoever
//! sends takes a turn first. An account without pacing costs nothing here.
//!
//! `settings` has the limits, `target` says what a call sends and where, `window` counts what was sent lately,
//! `chat` and `queue` decide who is next and never waits, `turn` waits.

mod chat;
mod queue;
mod settings;
mod target;
#[cfg(test)]
mod tests;
mod turn;
mod window;

pub use settings::{Pacing, SendLimit, SendPacing};
pub(super) use target::SendTarget;
pub(super) use turn::{Pacer, Pacers, Turn};
