//! Guard of a connection: what is given back once its socket is closed.
//!
//! Owns what the guard is told of the end. Never opens or closes anything.

use super::error::WireEnd;
use super::salts::KeyMemory;
use crate::base::clock::Instant;

/// What must not be given back while the connection's socket is open.
pub trait WireGuard {
    /// The connection has ended, and its socket is closed. The guard is dropped next.
    fn note_end(&mut self, _note: &WireNote<'_>) {}
}

/// What a connection leaves to whoever guards its key.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WireNote<'a> {
    /// Why it has ended.
    pub end: &'a WireEnd,
    /// Whether the other end of the connection is known to be closed; see [`WireEnd::is_confirmed`]. After a fault of
    /// the server's it is given time to close, and this says whether it has.
    pub is_confirmed: bool,
    /// Whether that was in good order: the other end has said that it has said all.
    pub is_orderly: bool,
    /// The driver was dropped, with its runtime as a rule, when nothing was on the way: the kernel tells the server
    /// of the end, again and again if need be.
    pub was_idle: bool,
    /// What the next connection of the key has use for.
    pub memory: &'a KeyMemory,
    /// When its last ping had left: unless the end is confirmed, the server closes its own no later than
    /// [`WireTimes::disconnect_delay`](super::WireTimes::disconnect_delay) after it has got that. `None`: none had left.
    pub pinged_at: Option<Instant>,
}

impl WireGuard for () {}
