//! Which accounts of the manager keep to limits when they send.
//!
//! Owns nothing: the limits are settings, and the queues are kept by `pacing`.

use std::sync::Arc;

use super::TelegramManager;
use crate::account_id::AccountId;
use crate::telegram::SessionSource;
use crate::telegram::pacing::Pacer;

impl<S: SessionSource> TelegramManager<S> {
    /// Whether any account keeps to limits.
    pub(in crate::telegram) fn has_pacing(&self) -> bool {
        !self.settings.pacing.is_none()
    }

    /// The queue of an account that sends, if it keeps to limits.
    pub(in crate::telegram) fn pacer(&self, account: AccountId) -> Option<Arc<Pacer>> {
        self.pacers.of(account, || {
            let group = self.group_of(account);
            let pacing = self.settings.pacing.of(account, &group)?;
            let traffic = self.traffic.get().cloned().unwrap_or_default();
            Some((pacing, traffic.counters(&group)))
        })
    }
}
