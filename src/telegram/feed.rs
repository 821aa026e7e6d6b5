//! Updates on their way to the application.
//!
//! Owns the one subscription and the count of what it missed. Never waits for a slow subscriber.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use grammers_client::session::updates::UpdatesLike;
use tokio::sync::mpsc;

use crate::account::AccountId;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// An update and the session that it came by.
#[derive(Debug)]
pub struct AccountUpdate {
    /// Whose it is.
    pub account: AccountId,
    /// Which of the account's sessions received it.
    pub slot: u16,
    /// What happened. `ConnectionClosed` and `MalformedUpdates` mean that some may be missing.
    pub update: UpdatesLike,
}

#[derive(Default)]
pub(super) struct Feed {
    subscriber: ArcSwapOption<mpsc::Sender<AccountUpdate>>,
    /// Subscriptions so far.
    subscriptions: AtomicU64,
    /// By group.
    dropped: Mutex<BTreeMap<Arc<str>, u64>>,
}

impl Feed {
    pub(super) fn subscribe(&self, capacity: usize) -> mpsc::Receiver<AccountUpdate> {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        self.subscriber.store(Some(sender.into()));
        // After the subscriber can be seen. Release, so that it is seen by whoever reads the number.
        self.subscriptions.fetch_add(1, Ordering::Release);
        receiver
    }

    /// Whether somebody reads the updates.
    pub(super) fn has_subscriber(&self) -> bool {
        self.subscriber.load().as_ref().is_some_and(|sender| !sender.is_closed())
    }

    /// How often somebody has subscribed.
    pub(super) fn subscriptions(&self) -> u64 {
        self.subscriptions.load(Ordering::Acquire)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.lock().values().sum()
    }

    pub(super) fn dropped_by_group(&self) -> Vec<(Arc<str>, u64)> {
        let dropped = self.dropped.lock();
        dropped.iter().map(|(group, count)| (Arc::clone(group), *count)).collect()
    }

    /// Hands an update to the subscriber, if there is one and it has room.
    pub(super) fn deliver(&self, update: AccountUpdate, group: &Arc<str>) {
        let subscriber = self.subscriber.load();
        let Some(sender) = &*subscriber else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(update) {
            *self.dropped.lock().entry(Arc::clone(group)).or_default() += 1;
        }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update() -> AccountUpdate {
        let account = AccountId::bot(1).unwrap();
        AccountUpdate { account, slot: 0, update: UpdatesLike::MalformedUpdates }
    }

    #[test]
    fn what_a_full_subscriber_misses_is_counted() {
        let (feed, north) = (Feed::default(), Arc::from("north"));
        feed.deliver(update(), &north);
        assert_eq!(feed.dropped(), 0, "nobody asked for it");
        assert!(!feed.has_subscriber());
        let mut receiver = feed.subscribe(2);
        for _ in 0..5 {
            feed.deliver(update(), &north);
        }
        feed.deliver(update(), &Arc::from("south"));
        let by_group = [(Arc::clone(&north), 3), (Arc::from("south"), 1)];
        assert_eq!((feed.dropped(), feed.dropped_by_group()), (4, by_group.to_vec()));
        assert!(receiver.try_recv().is_ok());
        assert!(feed.has_subscriber());
        drop(receiver);
        assert!(!feed.has_subscriber());
        feed.deliver(update(), &north);
        assert_eq!(feed.dropped(), 4, "nobody listens any more");
    }
}
