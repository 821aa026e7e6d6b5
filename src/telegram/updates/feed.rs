//! Feed of a connection: what it brings unasked, on its way to the lane of its account.
//!
//! Owns whether the connection carries the lane. Never waits for a slow lane: what does not fit is left out, and the
//! lane is told that something is missing.
//!
//! # Orderings
//! The mark of a gap is set after the updates before it were put in, and guards nothing: relaxed.

use std::sync::{Arc, Weak};

use grammers_client::session::updates::UpdatesLike;
use tokio::sync::{mpsc, watch};

use super::lanes::Lanes;
use crate::account_id::AccountId;
use crate::base::sync::{AtomicBool, Mutex, Ordering};

/// How much a lane may be behind the connection.
pub(super) const FEED_CAPACITY: usize = 64;

/// A connection's end: what its supervisor puts in. Its drop is the end of the connection.
#[derive(Debug, Default)]
pub(in crate::telegram) struct FeedSource(pub(in crate::telegram) Arc<Feed>);

/// Where the updates of a connection go.
#[derive(Debug, Default)]
pub(in crate::telegram) struct Feed(Mutex<FeedState>);

#[derive(Debug, Default)]
enum FeedState {
    /// No lane has asked for them.
    #[default]
    Idle,
    Attached(Inlet),
    /// The connection has ended, when somebody listened.
    Ended(Weak<Listener>),
}

#[derive(Debug)]
struct Inlet {
    sender: mpsc::Sender<Box<UpdatesLike>>,
    /// Something did not fit.
    has_gap: Arc<AtomicBool>,
    listener: Weak<Listener>,
    /// Its drop is the end, for a lane that reads nothing now.
    _ended: watch::Sender<()>,
}

/// Alive while somebody listens to an account.
#[derive(Debug, Default)]
pub(in crate::telegram) struct Listener(Option<(AccountId, Weak<Lanes>)>);

impl Listener {
    pub(super) const fn new(account: AccountId, lanes: Weak<Lanes>) -> Self {
        Self(Some((account, lanes)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some((account, lanes)) = &self.0
            && let Some(lanes) = lanes.upgrade()
        {
            lanes.forget_listener(*account);
        }
    }
}

/// What a lane hears of its connection.
pub(super) enum Heard {
    Updates(Box<UpdatesLike>),
    /// Something is missing from here on.
    Gap,
    /// The connection has ended.
    End,
}

/// A lane's end.
pub(in crate::telegram) struct FeedReceiver {
    receiver: mpsc::Receiver<Box<UpdatesLike>>,
    has_gap: Arc<AtomicBool>,
    ended: watch::Receiver<()>,
}

impl Feed {
    /// Begins to carry the lane of whoever listens. If another lane was carried that one hears its end.
    pub(in crate::telegram) fn attach(&self, listener: &Weak<Listener>) -> FeedReceiver {
        let (sender, receiver) = mpsc::channel(FEED_CAPACITY);
        let has_gap = Arc::<AtomicBool>::default();
        let (ends, ended) = watch::channel(());
        let (has, listener) = (Arc::clone(&has_gap), Weak::clone(listener));
        let mut state = self.0.lock();
        if !matches!(*state, FeedState::Ended(_)) {
            *state = FeedState::Attached(Inlet { sender, has_gap: has, listener, _ended: ends });
        }
        FeedReceiver { receiver, has_gap, ended }
    }

    /// Whether a lane is carried.
    pub(in crate::telegram) fn is_attached(&self) -> bool {
        matches!(&*self.0.lock(), FeedState::Attached(inlet) if !inlet.sender.is_closed())
    }

    /// Whether somebody listens, or did when the connection ended and still does.
    pub(in crate::telegram) fn is_listened_to(&self) -> bool {
        match &*self.0.lock() {
            FeedState::Idle => false,
            FeedState::Attached(inlet) => inlet.listener.strong_count() > 0,
            FeedState::Ended(listener) => listener.strong_count() > 0,
        }
    }
}

impl FeedSource {
    /// Puts in what has come. Returns whether a lane is carried.
    pub(in crate::telegram) fn put(&self, updates: UpdatesLike) -> bool {
        let FeedState::Attached(inlet) = &*self.0.0.lock() else { return false };
        // Boxed: a place in the queue would take five kilobytes, whatever is in it.
        match inlet.sender.try_send(Box::new(updates)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                inlet.has_gap.store(true, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Something was lost on the way here.
    pub(in crate::telegram) fn put_gap(&self) {
        if let FeedState::Attached(inlet) = &*self.0.0.lock() {
            inlet.has_gap.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for FeedSource {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        *state = FeedState::Ended(match &*state {
            FeedState::Attached(inlet) => Weak::clone(&inlet.listener),
            FeedState::Idle | FeedState::Ended(_) => Weak::new(),
        });
    }
}

impl FeedReceiver {
    /// What comes next. Dropping the future loses nothing.
    pub(super) async fn recv(&mut self) -> Heard {
        // What was put in before the gap comes before it. Should nothing come after it, the lane's own watch on
        // silence finds the gap.
        if self.receiver.is_empty() && self.has_gap.swap(false, Ordering::Relaxed) {
            return Heard::Gap;
        }
        self.receiver.recv().await.map_or(Heard::End, Heard::Updates)
    }

    /// Whether there is something that was not read.
    pub(super) fn has_rest(&self) -> bool {
        !self.receiver.is_empty() || self.has_gap.load(Ordering::Relaxed)
    }

    /// What has come already.
    pub(super) fn try_recv(&mut self) -> Option<Box<UpdatesLike>> {
        self.receiver.try_recv().ok()
    }

    /// Waits until the connection has ended or carries another lane, though what it brought before is not read yet.
    pub(super) async fn ended(&self) {
        while self.ended.clone().changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn kinds(receiver: &mut FeedReceiver, count: usize) -> Vec<&'static str> {
        let mut kinds = Vec::new();
        for _ in 0..count {
            kinds.push(match receiver.recv().await {
                Heard::Updates(_) => "updates",
                Heard::Gap => "gap",
                Heard::End => "end",
            });
        }
        kinds
    }

    #[tokio::test]
    async fn what_does_not_fit_is_told_as_a_gap_after_what_did() {
        let (source, listener) = (FeedSource::default(), Arc::new(Listener::default()));
        let mut receiver = source.0.attach(&Arc::downgrade(&listener));
        for _ in 0..=FEED_CAPACITY {
            source.put(UpdatesLike::MalformedUpdates);
        }
        assert_eq!(kinds(&mut receiver, FEED_CAPACITY).await, vec!["updates"; FEED_CAPACITY]);
        source.put(UpdatesLike::MalformedUpdates);
        assert_eq!(kinds(&mut receiver, 2).await, ["updates", "gap"]);
        source.put(UpdatesLike::MalformedUpdates);
        drop(source);
        // Also for whoever does not read.
        receiver.ended().await;
        assert!(receiver.has_rest());
        assert_eq!(kinds(&mut receiver, 3).await, ["updates", "end", "end"]);
    }

    #[tokio::test]
    async fn it_is_listened_to_until_its_listener_goes_also_after_its_end() {
        let (source, listener) = (FeedSource::default(), Arc::new(Listener::default()));
        let feed = Arc::clone(&source.0);
        assert!(!feed.is_attached() && !feed.is_listened_to());
        let receiver = feed.attach(&Arc::downgrade(&listener));
        assert!(feed.is_attached() && feed.is_listened_to());
        // Between two lanes of the same listener.
        drop(receiver);
        assert!(!feed.is_attached() && feed.is_listened_to());
        drop(source);
        assert!(!feed.is_attached() && feed.is_listened_to());
        drop(listener);
        assert!(!feed.is_listened_to());
        let mut late = feed.attach(&Weak::new());
        late.ended().await;
        assert_eq!(kinds(&mut late, 1).await, ["end"]);
    }
}
