//! Channel of updates: from all connections to the application.
//!
//! Owns the one subscription and the count of what it missed. Never waits for a slow subscriber.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwapOption;
use grammers_client::session::updates::UpdatesLike;
use tokio::sync::mpsc;

use crate::account_id::AccountId;
use crate::base::panics::catch;
use crate::base::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

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

/// The updates of every connection, on their way to whoever reads them: see
/// [`GrammersManager::subscribe`](super::GrammersManager::subscribe).
///
/// Dropping it ends the subscription. If it is dropped by a panic, of whoever reads it, that is told in
/// the log, and what comes until somebody subscribes again counts as dropped
/// (`telepool_updates_dropped_total`, [`updates_missed`](super::GrammersManager::updates_missed)).
#[derive(Debug)]
pub struct AccountUpdates {
    receiver: mpsc::Receiver<AccountUpdate>,
    panicked: Arc<AtomicBool>,
    /// Whose update was the last to be taken.
    last: Option<(AccountId, u16)>,
}

impl AccountUpdates {
    /// The next update, or `None` once another subscription has taken the place of this one, or the
    /// manager is gone. Dropping the future loses no update.
    pub async fn recv(&mut self) -> Option<AccountUpdate> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// The same as a poll, for streams.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<AccountUpdate>> {
        let update = self.receiver.poll_recv(context);
        if let Poll::Ready(Some(update)) = &update {
            self.last = Some((update.account, update.slot));
        }
        update
    }

    /// An update that is there already.
    ///
    /// # Errors
    /// There is none, or there will be no more.
    pub fn try_recv(&mut self) -> Result<AccountUpdate, mpsc::error::TryRecvError> {
        let update = self.receiver.try_recv()?;
        self.last = Some((update.account, update.slot));
        Ok(update)
    }
}

impl Drop for AccountUpdates {
    fn drop(&mut self) {
        // One that another has replaced would have had no more anyway.
        if !std::thread::panicking() || self.receiver.is_closed() {
            return;
        }
        // Before the queue closes, and so before anybody finds it closed.
        self.panicked.store(true, Ordering::Relaxed);
        let last = self.last.map(|(account, slot)| format!("{account} slot {slot}"));
        let last = last.as_deref().unwrap_or("none");
        // A second panic, of whoever listens to the log, would end the process.
        catch(|| {
            tracing::error!(
                last,
                "whoever reads the updates has panicked: they are dropped until somebody subscribes \
                 again"
            );
        });
    }
}

#[derive(Debug)]
struct Subscriber {
    sender: mpsc::Sender<AccountUpdate>,
    /// Whoever read them is gone by a panic, and may be missed.
    panicked: Arc<AtomicBool>,
}

/// The channel, with one subscriber at a time.
#[derive(Default)]
pub(super) struct UpdateChannel {
    subscriber: ArcSwapOption<Subscriber>,
    /// Subscriptions so far.
    subscriptions: AtomicU64,
    /// By group.
    dropped: Mutex<BTreeMap<Arc<str>, u64>>,
}

impl UpdateChannel {
    pub(super) fn subscribe(&self, capacity: usize) -> AccountUpdates {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let panicked = Arc::<AtomicBool>::default();
        let subscriber = Subscriber { sender, panicked: Arc::clone(&panicked) };
        self.subscriber.store(Some(subscriber.into()));
        // After the subscriber can be seen. Release, so that it is seen by whoever reads the number.
        self.subscriptions.fetch_add(1, Ordering::Release);
        AccountUpdates { receiver, panicked, last: None }
    }

    /// Whether somebody reads the updates, or would if it had not panicked.
    pub(super) fn has_subscriber(&self) -> bool {
        self.subscriber.load().as_ref().is_some_and(|it| !it.sender.is_closed() || it.panicked())
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
        let Some(subscriber) = &*subscriber else { return };
        let is_dropped = match subscriber.sender.try_send(update) {
            Ok(()) => false,
            Err(mpsc::error::TrySendError::Full(_)) => true,
            // One that was given up on purpose misses nothing.
            Err(mpsc::error::TrySendError::Closed(_)) => subscriber.panicked(),
        };
        if is_dropped {
            *self.dropped.lock().entry(Arc::clone(group)).or_default() += 1;
        }
    }
}

impl Subscriber {
    /// Relaxed: it was written before the queue was closed, which is seen first.
    fn panicked(&self) -> bool {
        self.panicked.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for UpdateChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateChannel").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
