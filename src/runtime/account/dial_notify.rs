//! Notifies the dials of an account that wait for something.
//!
//! Owns the [`Notify`], which is made when the first dial waits: an account that is merely known carries
//! none. It never says what has changed; whoever is notified looks again.
//!
//! One that is not there yet misses nobody. A dial begins to wait and then looks, under the account's
//! lock; whoever tells of a change has made it under that lock, or has held the lock since. If that was
//! after the look, the notify is there to be seen.

use std::sync::OnceLock;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

#[derive(Debug, Default)]
pub(crate) struct DialNotify(OnceLock<Box<Notify>>);

impl DialNotify {
    /// Begins to wait, once the answer is enabled or polled.
    pub(crate) fn notified(&self) -> Notified<'_> {
        self.0.get_or_init(Box::default).notified()
    }

    /// Notifies every dial that waits.
    pub(crate) fn notify_waiters(&self) {
        if let Some(notify) = self.0.get() {
            notify.notify_waiters();
        }
    }
}
