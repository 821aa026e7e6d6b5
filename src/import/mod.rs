//! Sessions of other programs: their files, strings and folders, read and never changed.
//!
//! Owns what may be found there. Never opens a file for writing, never dials, and never repeats key material in
//! an error.

mod database;
mod error;
mod files;
mod found;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod gotd;
mod imported;
mod inputs;
mod options;
mod tdata;
mod text;

pub use error::{ImportError, ItemError, TextProblem};
pub use found::{BotToken, Found, FoundSession, KnownPeer, Origin, PEERS_MAX, PeerKind};
pub use imported::{ImportKind, ImportedFile, open, read};
pub use inputs::{Inputs, InputsError, inputs};
pub use options::ImportOptions;
