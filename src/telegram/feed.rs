//! Updates on their way to the application.
//!
//! Owns the one subscription and the count of what it missed. Never waits for a slow subscriber.

use crate::sync::{AtomicU64, Ordering};
use std::fmt;

use arc_swap::ArcSwapOption;
use grammers_client::session::updates::UpdatesLike;
use tokio::sync::mpsc;

use crate::account::AccountId;

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
    /// A statistic: relaxed, since it orders nothing.
    dropped: AtomicU64,
}

impl Feed {
    pub(super) fn subscribe(&self, capacity: usize) -> mpsc::Receiver<AccountUpdate> {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        self.subscriber.store(Some(sender.into()));
        receiver
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Hands an update to the subscriber, if there is one and it has room.
    pub(super) fn deliver(&self, update: AccountUpdate) {
        let subscriber = self.subscriber.load();
        let Some(sender) = &*subscriber else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(update) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
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
        let feed = Feed::default();
        feed.deliver(update());
        assert_eq!(feed.dropped(), 0, "nobody asked for it");
        let mut receiver = feed.subscribe(2);
        for _ in 0..5 {
            feed.deliver(update());
        }
        assert_eq!(feed.dropped(), 3);
        assert!(receiver.try_recv().is_ok());
        drop(receiver);
        feed.deliver(update());
        assert_eq!(feed.dropped(), 3, "nobody listens any more");
    }
}
