//! Sessions of other programs: their files, strings and folders, read and never changed.
//!
//! Owns what may be found there. Never opens a file for writing, never dials, and never repeats key material in
//! an error.

mod found;

pub use found::{BotToken, ChannelState, FoundSession, Origin, Peer, PeerKind, UpdateState};
