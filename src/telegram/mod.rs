//! The Telegram client behind a pool: a [`Manager`](crate::Manager) that opens the connections
//! of authorized sessions with grammers.
//!
//! Owns everything that names grammers, and the promise that an authorization key is on one main
//! connection at a time. Never stores a session, logs in, retries or sleeps out a flood: the
//! pool decides what to do, by [`react`].
//!
//! # One key, one connection
//! Telegram voids an authorization whose key it sees on two main connections (406
//! `AUTH_KEY_DUPLICATED`). So it is not left to the caller's care:
//!
//! - `custody` hands out one token per key in the whole process. The task that supervises a
//!   connection holds it until the socket is gone, whatever becomes of the future that dialled
//!   it; a successor waits for the token before it dials.
//! - `pinned` answers the client's question for an address once. The client redials by itself
//!   and, told that a key is unknown, makes a new one over it; here neither finds an answer.
//!
//! # What a connection costs
//! The client keeps two buffers of 1 MiB per connection and touches little of them: an idle one
//! holds 36 to 38 kB of resident memory (`cargo bench --bench memory`). glibc spoils that after
//! some rounds of closing and opening, because it begins to hand out used memory instead of
//! mapping such buffers freshly: 2,151 kB each after five rounds. Pin its threshold
//! (`mallopt(M_MMAP_THRESHOLD, 128 * 1024)` at the start, or `MALLOC_MMAP_THRESHOLD_=131072` in
//! the environment), or use another allocator.
//!
//! # What a panic costs
//! The client panics on some hostile input. It runs in a task of its own, so a panic costs one
//! connection, and what would cause it from our side is refused before it is sent ([`Refusal`]).

mod connection;
mod custody;
mod error;
mod feed;
mod health;
mod invoke;
mod latches;
mod manager;
mod pinned;
mod react;
mod settings;
mod source;
mod supervisor;

pub use connection::TelegramConnection;
pub use error::{Refusal, TelegramError};
pub use feed::AccountUpdate;
pub use invoke::InvokeError;
pub use latches::{LatchFile, LatchFileError};
pub use manager::GrammersManager;
pub use react::{kind, react};
pub use settings::TelegramSettings;
pub use source::{MemorySource, SessionProfile, SessionSource, SourceError};

/// The client library, for the types of requests and answers.
pub use grammers_client as client;
