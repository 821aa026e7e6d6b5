//! Steps of a sequence: what has come of something, and what is to be done next.
//!
//! Owns no more than their form, by which the sequence and its lane understand each other.

use std::sync::Arc;

use grammers_client::tl::functions;

use super::received::{UpdateContent, UpdatePeers};
use crate::base::clock::Instant;
use crate::session::UpdateStates;

/// What has come of something.
pub(super) struct UpdateStep {
    /// For the application, in order.
    pub(super) updates: Vec<UpdateContent>,
    pub(super) peers: Arc<UpdatePeers>,
    /// How far the account is once these are taken.
    pub(super) states: UpdateStates,
}

/// What is to be done next.
pub(super) enum SequenceTurn {
    /// The account has to be asked for. Before the answer nothing may be taken in.
    AskAccount(functions::updates::GetDifference),
    /// A channel has to be asked for. Before the answer nothing may be taken in.
    AskChannel(functions::updates::GetChannelDifference),
    /// A channel cannot be asked for.
    Tell(UpdateStep),
    /// Nothing, before this instant.
    Wait(Instant),
}
