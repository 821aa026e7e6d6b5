//! telepool: a connection-pool runtime for Telegram accounts.

#![forbid(unsafe_code)]

mod account;
mod manager;

#[cfg(feature = "session")]
pub mod session;
#[cfg(feature = "grammers")]
pub mod telegram;

pub use account::{AccountId, ParseAccountError, RevealedAccount};
pub use manager::{Egress, ErrorKind, Manager, Profile, QuarantineReason, Reaction};
