//! The three strategies to put an account's sessions to use. Each keeps the rule that a key is on one
//! main connection at a time.

mod kept_clients;
mod per_request;
mod pooled;
mod strategy;

pub(super) use kept_clients::KeptClients;
pub(super) use per_request::PerRequest;
pub(super) use pooled::Pooled;
pub(super) use strategy::{API_ID, HANDSHAKES, Strategy};
