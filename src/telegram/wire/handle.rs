//! Handle of a connection, by which its calls are made.
//!
//! Owns the deadline of a call for whoever is not on the connection's runtime, and tells the driver of a call that
//! was given up. Never does I/O.

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;

use super::counts::WireCounts;
use super::error::{WireEnd, WireError};
use super::salts::KeyMemory;
use super::shared::{EndOrder, WireShared};
use crate::base::timer::{after, timer_elsewhere};

/// Makes the calls of a connection, and ends it. A cheap clone, which does not keep the connection open: that is
/// as long as its driver is polled, until it is closed.
#[derive(Clone)]
pub struct WireHandle {
    pub(super) shared: Arc<WireShared>,
}

impl WireHandle {
    /// Calls a method: `body` is its constructor with the arguments, and the answer the bytes of the result.
    /// Whatever runtime the caller is on, if any, the call ends within `limit`. Dropping the future gives it up;
    /// the server is told that it need not answer, but may have carried it out.
    ///
    /// # Errors
    /// What the server says, word for word, or why there is no answer;
    /// [`WireError::may_be_carried_out`] says whether the call may be repeated.
    pub async fn call(&self, body: Vec<u8>, limit: Duration) -> Result<Vec<u8>, WireError> {
        let (len, len_max) = (body.len(), self.shared.body_len_max);
        if !(4..=len_max).contains(&len) || !len.is_multiple_of(4) {
            return Err(WireError::Unsendable { len, limit: len_max });
        }
        let (waiter, mut answer) = oneshot::channel();
        let token = self.shared.push(body, waiter, limit)?;
        let mut unanswered = UnansweredCall { shared: &self.shared, token, is_over: false };
        // On the connection's own runtime its driver keeps the time.
        let mut timer = timer_elsewhere(&self.shared.runtime, || after(limit));
        let answered = poll_fn(|context| {
            if let Poll::Ready(answered) = std::pin::Pin::new(&mut answer).poll(context) {
                return Poll::Ready(Some(answered));
            }
            match &mut timer {
                Some(timer) => timer.as_mut().poll(context).map(|()| None),
                None => Poll::Pending,
            }
        });
        match answered.await {
            Some(answered) => {
                unanswered.is_over = true;
                // The driver was dropped on the way.
                let lost = WireError::Lost { was_sent: true, end: WireEnd::Aborted };
                answered.unwrap_or(Err(lost))
            }
            None => Err(WireError::TimedOut { was_sent: true, after: limit }),
        }
    }

    /// Whether updates are handed over from here on; see [`WireOptions::wants_updates`](super::WireOptions).
    pub fn want_updates(&self, wants_updates: bool) {
        self.shared.order_updates(wants_updates);
    }

    /// Ends the connection in good order, without waiting for it: what is begun is sent, the server closes its
    /// end, and calls whose answers come until then get them. Calls that are not begun fail at once.
    pub fn close(&self) {
        self.shared.order_end(EndOrder::Close, None);
    }

    /// The same, which may take so long; see [`WireTimes::close_within`](super::WireTimes::close_within).
    pub fn close_within(&self, limit: Duration) {
        self.shared.order_end(EndOrder::Close, Some(limit));
    }

    /// Ends the connection at once: nothing more that was written reaches the server, if it has not left.
    pub fn abort(&self) {
        self.shared.order_end(EndOrder::Abort, None);
    }

    /// Waits until the socket is closed and the guard was given back. Returns why.
    pub async fn gone(&self) -> WireEnd {
        self.shared.gone().await
    }

    /// Whether it ends, or has ended: no call is taken any more.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.shared.is_ending()
    }

    /// Why the connection has ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<WireEnd> {
        self.shared.end()
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> WireCounts {
        self.shared.counts.read()
    }

    /// What the next connection of the key has use for.
    #[must_use]
    pub fn memory(&self) -> KeyMemory {
        self.shared.memory()
    }
}

impl fmt::Debug for WireHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireHandle").field("end", &self.end()).finish_non_exhaustive()
    }
}

/// A call under way: given up if it is dropped.
struct UnansweredCall<'a> {
    shared: &'a WireShared,
    token: u64,
    is_over: bool,
}

impl Drop for UnansweredCall<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.cancel(self.token);
        }
    }
}
