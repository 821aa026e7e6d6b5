//! What the handles of a connection share with its driver.
//!
//! Owns the queue of calls and orders, with its limit, and the end. Never does I/O; nothing is called under its
//! lock.

use std::task::{Context, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::counts::SharedCounts;
use super::error::{WireEnd, WireError};
use super::limits::WireLimits;
use super::salts::KeyMemory;
use crate::base::sync::{AtomicBool, Mutex, Ordering};

/// Who waits for the answer of a call.
#[derive(Debug)]
pub(super) struct CallWaiter {
    pub(super) sender: oneshot::Sender<Result<Vec<u8>, WireError>>,
    /// How many bytes the call has.
    pub(super) len: usize,
}

impl CallWaiter {
    /// Tells what has become of the call. Whoever has gone meanwhile needs no answer.
    pub(super) fn tell(self, answer: Result<Vec<u8>, WireError>) {
        self.sender.send(answer).ok();
    }
}

/// Calls that do not wait any more: how many, and how many bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AnsweredCalls {
    pub(super) calls: usize,
    bytes: usize,
}

impl AnsweredCalls {
    pub(super) fn note(&mut self, waiter: &CallWaiter) {
        self.calls += 1;
        self.bytes += waiter.len;
    }
}

/// A call on its way to the driver.
pub(super) struct QueuedCall {
    pub(super) token: u64,
    pub(super) waiter: CallWaiter,
    pub(super) body: Vec<u8>,
    pub(super) limit: Duration,
}

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EndOrder {
    /// In good order.
    Close,
    /// At once, without a word.
    Abort,
}

/// What the driver takes at a time.
#[derive(Default)]
pub(super) struct Orders {
    pub(super) calls: Vec<QueuedCall>,
    pub(super) cancelled: Vec<u64>,
    pub(super) end: Option<EndOrder>,
    /// How long a close may take, if that is not as long as ever.
    pub(super) closes_within: Option<Duration>,
    pub(super) wants_updates: Option<bool>,
}

#[derive(Default)]
struct CallQueue {
    orders: Orders,
    waker: Option<Waker>,
    /// Why it has ended, or will.
    end: Option<WireEnd>,
    /// The socket is closed, and the guard is given back.
    is_gone: bool,
    /// How many calls have no answer yet.
    waiting: usize,
    /// How many bytes those have.
    waiting_bytes: usize,
    next_token: u64,
}

/// What handles and driver share.
pub(super) struct WireShared {
    queue: Mutex<CallQueue>,
    /// No call is taken any more. Whoever sees it late finds so by the queue, which has the reason: relaxed.
    is_ending: AtomicBool,
    gone: Notify,
    memory: Mutex<KeyMemory>,
    pub(super) counts: SharedCounts,
    /// Where the driver runs.
    pub(super) runtime: Handle,
    pub(super) body_len_max: usize,
    waiting_max: usize,
    waiting_bytes_max: usize,
}

impl WireShared {
    pub(super) fn new(
        runtime: Handle,
        memory: KeyMemory,
        body_len_max: usize,
        limits: &WireLimits,
    ) -> Self {
        Self {
            queue: Mutex::default(),
            is_ending: AtomicBool::default(),
            gone: Notify::new(),
            memory: Mutex::new(memory),
            counts: SharedCounts::new(),
            runtime,
            body_len_max,
            waiting_max: limits.calls_waiting_max,
            waiting_bytes_max: limits.bytes_waiting_max,
        }
    }

    /// Queues a call. Returns its token.
    pub(super) fn push(
        &self,
        body: Vec<u8>,
        sender: oneshot::Sender<Result<Vec<u8>, WireError>>,
        limit: Duration,
    ) -> Result<u64, WireError> {
        let waiter = CallWaiter { sender, len: body.len() };
        let mut queue = self.queue.lock();
        if let Some(end) = &queue.end {
            return Err(WireError::Lost { was_sent: false, end: end.clone() });
        }
        if queue.waiting >= self.waiting_max {
            return Err(WireError::Busy { limit: self.waiting_max });
        }
        // One goes in any case.
        if queue.waiting > 0 && queue.waiting_bytes + waiter.len > self.waiting_bytes_max {
            return Err(WireError::Full { limit: self.waiting_bytes_max });
        }
        let token = queue.next_token;
        queue.next_token += 1;
        queue.waiting += 1;
        queue.waiting_bytes += waiter.len;
        queue.orders.calls.push(QueuedCall { token, waiter, body, limit });
        let waker = queue.waker.take();
        drop(queue);
        wake(waker);
        Ok(token)
    }

    /// Nobody waits for a call any more.
    pub(super) fn cancel(&self, token: u64) {
        let mut queue = self.queue.lock();
        if queue.is_gone {
            return;
        }
        queue.orders.cancelled.push(token);
        let waker = queue.waker.take();
        drop(queue);
        wake(waker);
    }

    /// Orders the end. New calls are refused from here on.
    pub(super) fn order_end(&self, order: EndOrder, closes_within: Option<Duration>) {
        self.is_ending.store(true, Ordering::Relaxed);
        let mut queue = self.queue.lock();
        queue.orders.end = queue.orders.end.max(Some(order));
        queue.orders.closes_within = queue.orders.closes_within.or(closes_within);
        let end = match order {
            EndOrder::Close => WireEnd::Closed { is_confirmed: false },
            EndOrder::Abort => WireEnd::Aborted,
        };
        queue.end.get_or_insert(end);
        let waker = queue.waker.take();
        drop(queue);
        wake(waker);
    }

    /// Orders that updates are handed over from here on, or no more.
    pub(super) fn order_updates(&self, wants_updates: bool) {
        let mut queue = self.queue.lock();
        queue.orders.wants_updates = Some(wants_updates);
        let waker = queue.waker.take();
        drop(queue);
        wake(waker);
    }

    /// Takes what was ordered, in exchange for an empty set, and says that so many calls have had their answers.
    /// The next order wakes the task.
    pub(super) fn take_orders(
        &self,
        orders: &mut Orders,
        answered: AnsweredCalls,
        context: &Context<'_>,
    ) {
        let mut queue = self.queue.lock();
        queue.waiting = queue.waiting.saturating_sub(answered.calls);
        queue.waiting_bytes = queue.waiting_bytes.saturating_sub(answered.bytes);
        std::mem::swap(&mut queue.orders, orders);
        if !queue.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            queue.waker = Some(context.waker().clone());
        }
    }

    /// The connection ends: no call is taken any more, and those that nobody took learn that they were not sent.
    pub(super) fn refuse_calls(&self, end: &WireEnd) {
        self.is_ending.store(true, Ordering::Relaxed);
        let mut queue = self.queue.lock();
        queue.end = Some(end.clone());
        let calls = std::mem::take(&mut queue.orders.calls);
        drop(queue);
        refuse(calls, end);
    }

    /// Whether no call is taken any more.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// The socket is closed, and the guard was given back. Calls that nobody took learn that they were not sent.
    pub(super) fn go(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        let mut queue = self.queue.lock();
        let end = queue.end.get_or_insert(WireEnd::Aborted).clone();
        queue.is_gone = true;
        let (orders, waker) = (std::mem::take(&mut queue.orders), queue.waker.take());
        drop(queue);
        drop(waker);
        refuse(orders.calls, &end);
        self.gone.notify_waiters();
    }

    /// Why the connection has ended, once it is gone.
    pub(super) fn end(&self) -> Option<WireEnd> {
        let queue = self.queue.lock();
        queue.end.clone().filter(|_| queue.is_gone)
    }

    /// Waits until it is gone.
    pub(super) async fn gone(&self) -> WireEnd {
        loop {
            let mut gone = std::pin::pin!(self.gone.notified());
            gone.as_mut().enable();
            if let Some(end) = self.end() {
                return end;
            }
            gone.await;
        }
    }

    pub(super) fn set_memory(&self, memory: KeyMemory) {
        *self.memory.lock() = memory;
    }

    pub(super) fn memory(&self) -> KeyMemory {
        self.memory.lock().clone()
    }
}

fn refuse(calls: Vec<QueuedCall>, end: &WireEnd) {
    for call in calls {
        call.waiter.tell(Err(WireError::Lost { was_sent: false, end: end.clone() }));
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
