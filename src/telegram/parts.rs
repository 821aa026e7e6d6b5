//! Parts of a connection: what its supervisor works with.
//!
//! Owns the list of them. Never does anything with one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::bridge::Bridge;
use super::health::ConnectionHealth;
use super::one_shot_session::OneShotSession;
use super::rpc::RpcHandle;
use super::updates::{FeedSource, Lanes};
use crate::account_id::AccountId;
use crate::manager::TrafficCounters;
use crate::ownership::{Epoch, Fence};

/// What a supervisor takes parts of.
pub(super) struct ConnectionParts {
    pub(super) account: AccountId,
    pub(super) slot: u16,
    /// Of the account's group.
    pub(super) traffic: Arc<TrafficCounters>,
    pub(super) rpc: RpcHandle,
    pub(super) session: Arc<OneShotSession>,
    pub(super) health: Arc<ConnectionHealth>,
    /// Where its updates go.
    pub(super) feed: FeedSource,
    /// Who listens to which accounts.
    pub(super) lanes: Arc<Lanes>,
    pub(super) close_grace: Duration,
    pub(super) call_timeout: Duration,
    /// For how long the key rests if the server may not have noticed the end.
    pub(super) redial_after_loss: Duration,
    /// When the connection began, as far as fences are concerned.
    pub(super) epoch: Epoch,
    pub(super) fence: watch::Receiver<Fence>,
    /// Its way by a proxy, if it takes one.
    pub(super) bridge: Option<Arc<Bridge>>,
}
