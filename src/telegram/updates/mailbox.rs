//! Mailboxes: between the lanes of accounts and whoever reads a stream of updates.
//!
//! Owns a bounded queue for each account and the turns of those that have something. A full one holds up its own
//! account's lane and nobody else's.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use super::options::TryRecvError;
use super::received::AccountUpdate;
use crate::base::sync::Mutex;

/// The mailboxes of one stream.
#[derive(Default)]
pub(super) struct Mailboxes(Mutex<Turns>);

#[derive(Default)]
struct Turns {
    /// Those that have something, each once.
    ready: VecDeque<Arc<Mailbox>>,
    /// Lanes that may still bring something.
    lanes: usize,
    /// Whether more lanes may come.
    may_grow: bool,
    /// Who waits for an update.
    reader: Option<Waker>,
}

/// The mailbox of one account.
pub(super) struct Mailbox {
    all: Arc<Mailboxes>,
    capacity: usize,
    queue: Mutex<MailQueue>,
    /// Told when there is room again.
    room: Notify,
}

#[derive(Default)]
struct MailQueue {
    updates: VecDeque<AccountUpdate>,
    /// It has its turn, or is having it.
    is_ready: bool,
}

impl Mailboxes {
    /// `may_grow`: it has not ended when the last lane has.
    pub(super) fn new(may_grow: bool) -> Arc<Self> {
        let turns = Turns { may_grow, ..Turns::default() };
        Arc::new(Self(Mutex::new(turns)))
    }

    /// A mailbox for one more lane.
    pub(super) fn open(self: &Arc<Self>, capacity: usize) -> MailboxEntry {
        self.0.lock().lanes += 1;
        MailboxEntry(Arc::new(Mailbox {
            all: Arc::clone(self),
            capacity: capacity.max(1),
            queue: Mutex::default(),
            room: Notify::new(),
        }))
    }

    /// No more lanes will come.
    pub(super) fn end_growth(&self) {
        self.tell(|turns| turns.may_grow = false);
    }

    /// The next update: of each account that has some in turn. `None` once there will be no more. Whoever asked last
    /// is woken.
    pub(super) fn poll_recv(&self, context: &mut Context<'_>) -> Poll<Option<AccountUpdate>> {
        let poll = || match self.try_recv() {
            Ok(update) => Poll::Ready(Some(update)),
            Err(TryRecvError::Ended) => Poll::Ready(None),
            Err(TryRecvError::Empty) => Poll::Pending,
        };
        if let Poll::Ready(next) = poll() {
            return Poll::Ready(next);
        }
        self.0.lock().reader = Some(context.waker().clone());
        // What has come in between has found nobody to wake.
        poll()
    }

    /// The same without waiting.
    pub(super) fn try_recv(&self) -> Result<AccountUpdate, TryRecvError> {
        loop {
            let mailbox = {
                let mut turns = self.0.lock();
                let Some(mailbox) = turns.ready.pop_front() else {
                    let is_over = turns.lanes == 0 && !turns.may_grow;
                    return Err(if is_over { TryRecvError::Ended } else { TryRecvError::Empty });
                };
                mailbox
            };
            let mut queue = mailbox.queue.lock();
            let update = queue.updates.pop_front();
            queue.is_ready = !queue.updates.is_empty();
            // Its turn comes again, after all others. Under the lock of the queue: whoever puts something in sees
            // either that it is empty or that it has its turn.
            if queue.is_ready {
                self.0.lock().ready.push_back(Arc::clone(&mailbox));
            }
            drop(queue);
            mailbox.room.notify_one();
            // One that was emptied to make way has had its turn for nothing.
            if let Some(update) = update {
                return Ok(update);
            }
        }
    }

    /// Changes something that the reader waits for.
    fn tell(&self, change: impl FnOnce(&mut Turns)) {
        let mut turns = self.0.lock();
        change(&mut turns);
        let reader = turns.reader.take();
        drop(turns);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// A lane's end of its mailbox.
pub(super) struct MailboxEntry(Arc<Mailbox>);

impl MailboxEntry {
    /// Waits for room. Only the lane of the account puts something in: nobody takes the room before it.
    pub(super) async fn room(&self) {
        let mailbox = &self.0;
        loop {
            let room = mailbox.room.notified();
            if mailbox.queue.lock().updates.len() < mailbox.capacity {
                return;
            }
            room.await;
        }
    }

    /// Puts an update in. If there is no room the oldest makes way, and is returned.
    pub(super) fn put_over(&self, update: AccountUpdate) -> Option<AccountUpdate> {
        let oldest = {
            let mut queue = self.0.queue.lock();
            let is_full = queue.updates.len() >= self.0.capacity;
            is_full.then(|| queue.updates.pop_front()).flatten()
        };
        self.push(update);
        oldest
    }

    /// Puts an update in, for which there is room.
    fn push(&self, update: AccountUpdate) {
        let mut queue = self.0.queue.lock();
        queue.updates.push_back(update);
        if std::mem::replace(&mut queue.is_ready, true) {
            return;
        }
        drop(queue);
        // Nobody else gives it a turn: it counts as having one.
        self.0.all.tell(|turns| turns.ready.push_back(Arc::clone(&self.0)));
    }
}

impl Drop for MailboxEntry {
    fn drop(&mut self) {
        self.0.all.tell(|turns| turns.lanes -= 1);
    }
}

impl fmt::Debug for Mailboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailboxes").finish_non_exhaustive()
    }
}
