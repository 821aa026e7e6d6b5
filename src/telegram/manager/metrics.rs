//! Numbers that only the manager of Telegram accounts knows.
//!
//! Owns the names by which they are counted. Never counts anything itself.

use std::sync::Arc;

use grammers_client::tl;

use super::TelegramManager;
use crate::account_id::AccountId;
use crate::manager::{MetricsSource, NetworkCounts, TrafficGroups, UpdateLosses};
use crate::telegram::method_class::MethodClass;
use crate::telegram::{SessionSource, error_names};

impl<S: SessionSource> MetricsSource for TelegramManager<S> {
    /// Returns the number of the data centre.
    fn dial_class(&self, account: AccountId, slot: u16) -> u8 {
        let record = self.source.session(account, slot);
        record.map_or(0, |record| u8::try_from(record.dc).unwrap_or(0))
    }

    fn update_losses(&self) -> Vec<(Arc<str>, UpdateLosses)> {
        self.lanes.losses_by_group()
    }

    fn network_counts(&self) -> Vec<(Arc<str>, NetworkCounts)> {
        self.wires.by_group()
    }

    fn attach_traffic(&self, groups: TrafficGroups) {
        // A manager has one pool.
        drop(self.traffic.set(groups));
    }

    fn error_names(&self) -> &'static [&'static str] {
        &error_names::ALL
    }

    fn flood_classes(&self) -> &'static [&'static str] {
        &MethodClass::LABELS
    }

    fn flood_class(&self, key: u32) -> usize {
        MethodClass::of(key).map_or(usize::MAX, |class| class as usize)
    }

    fn method_name(&self, key: u32) -> Option<&'static str> {
        // What no layer knows is in parentheses.
        Some(tl::name_for_id(key)).filter(|name| !name.starts_with('('))
    }
}
