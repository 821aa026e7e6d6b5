//! Listings: made at most once a second, and only while somebody asks.
//!
//! Owns when one is made anew. One that is a second old or older is still given to whoever asks, for another second,
//! while the next is made beside; only if there is none, or an older one, whoever asks waits for it.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Instant, now};
use crate::base::sync::Mutex;
use crate::http::monitor::accounts::AccountListing;
use crate::http::monitor::connections::ConnectionListing;

/// How old a listing is when the next one is due.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// How old a listing may be that is given to anybody.
const SERVED_FOR: Duration = Duration::from_secs(2);
/// For how long one is kept that nobody asks for.
const KEPT_FOR: Duration = Duration::from_secs(3);

/// The listings that there are.
#[derive(Debug, Default)]
pub(super) struct Listings {
    pub(super) accounts: KeptListing<AccountListing>,
    pub(super) connections: KeptListing<ConnectionListing>,
}

impl Listings {
    /// Lets go of listings that nobody has asked for again.
    pub(super) fn forget_old(&self) {
        self.accounts.forget_old();
        self.connections.forget_old();
    }
}

/// The last listing of a kind.
#[derive(Debug)]
pub(super) struct KeptListing<T> {
    last: Mutex<LastListing<T>>,
    /// Held by whoever makes one.
    making: Mutex<()>,
}

#[derive(Debug)]
struct LastListing<T> {
    /// With the time when it was begun.
    listing: Option<(Instant, Arc<T>)>,
    /// Whether somebody was told to make the next one.
    is_under_way: bool,
}

impl<T> LastListing<T> {
    fn within(&self, age: Duration) -> Option<&Arc<T>> {
        let (made, listing) = self.listing.as_ref()?;
        (now() < *made + age).then_some(listing)
    }
}

impl<T> Default for KeptListing<T> {
    fn default() -> Self {
        let last = Mutex::new(LastListing { listing: None, is_under_way: false });
        Self { last, making: Mutex::default() }
    }
}

impl<T> KeptListing<T> {
    /// The listing, if there is one that may be given to anybody, and whether the caller is to see to it that the
    /// next is [made](Self::make).
    pub(super) fn current(&self) -> Option<(Arc<T>, bool)> {
        let mut last = self.last.lock();
        let listing = Arc::clone(last.within(SERVED_FOR)?);
        let is_due = !last.is_under_way && last.within(FRESH_FOR).is_none();
        last.is_under_way |= is_due;
        Some((listing, is_due))
    }

    /// Makes the next listing, from the one before, unless there is a fresh one. Blocks until it is there: one
    /// is made at a time, and whoever comes meanwhile waits for that. `None`: the pool is gone.
    pub(super) fn make(&self, make: impl FnOnce(Option<&T>) -> Option<T>) -> Option<Arc<T>> {
        let _making = self.making.lock();
        let before = {
            let mut last = self.last.lock();
            if let Some(fresh) = last.within(FRESH_FOR).cloned() {
                last.is_under_way = false;
                return Some(fresh);
            }
            last.listing.as_ref().map(|(_, listing)| Arc::clone(listing))
        };
        let begun = now();
        let listing = make(before.as_deref()).map(Arc::new);
        let next = listing.as_ref().map(|listing| (begun, Arc::clone(listing)));
        *self.last.lock() = LastListing { listing: next, is_under_way: false };
        listing
    }

    fn forget_old(&self) {
        let mut last = self.last.lock();
        if last.within(KEPT_FOR).is_none() {
            last.listing = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    async fn pass(ms: u64) {
        tokio::time::advance(Duration::from_millis(ms)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_made_at_most_once_a_second_and_given_for_two() {
        let kept = KeptListing::default();
        assert!(kept.current().is_none(), "nobody has made one");
        assert_eq!(*kept.make(|before| Some(before.map_or(1, |it| it + 1))).unwrap(), 1);
        assert_eq!(*kept.make(|_| panic!("it is fresh")).unwrap(), 1);
        pass(999).await;
        assert_eq!(kept.current(), Some((Arc::new(1), false)));
        pass(2).await;
        assert_eq!(kept.current(), Some((Arc::new(1), true)), "the next is due");
        assert_eq!(kept.current(), Some((Arc::new(1), false)), "one alone makes it");
        assert_eq!(*kept.make(|before| before.map(|it| it + 1)).unwrap(), 2);
        pass(2000).await;
        assert!(kept.current().is_none(), "it is too old for anybody");
        kept.forget_old();
        assert_eq!(*kept.make(|before| before.map(|it| it + 1)).unwrap(), 3, "it was kept");
        pass(3000).await;
        kept.forget_old();
        assert!(kept.make(|before| before.copied()).is_none(), "it was let go");
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_one_is_given_while_the_next_is_made() {
        let kept = Arc::new(KeptListing::default());
        kept.make(|_| Some("old")).unwrap();
        pass(1500).await;
        assert_eq!(kept.current(), Some((Arc::new("old"), true)));
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let next = Arc::clone(&kept);
        let making = tokio::task::spawn_blocking(move || {
            next.make(|before| {
                begun.send(before.copied()).unwrap();
                may_go_on.recv().unwrap();
                Some("new")
            })
        });
        assert_eq!(has_begun.recv().unwrap(), Some("old"));
        assert_eq!(kept.current(), Some((Arc::new("old"), false)));
        go_on.send(()).unwrap();
        making.await.unwrap();
        assert_eq!(kept.current(), Some((Arc::new("new"), false)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_making_that_fails_is_tried_again_by_whoever_needs_it() {
        let kept = KeptListing::default();
        kept.make(|_| Some(1)).unwrap();
        pass(1500).await;
        assert_eq!(kept.current(), Some((Arc::new(1), true)));
        let failing = || kept.make(|_| panic!("the next one is not made"));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(failing)).unwrap_err();
        pass(600).await;
        assert!(kept.current().is_none());
        assert_eq!(*kept.make(|_| Some(2)).unwrap(), 2);
        pass(1500).await;
        assert_eq!(kept.current(), Some((Arc::new(2), true)));
    }
}
