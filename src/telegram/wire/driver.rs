//! Driver of a connection: the one future that owns its socket.
//!
//! Owns the stream, the guard of the key, and the order in which they go: the stream first, whatever ends the
//! driver. Never decides what to send: the layer does.
//!
//! # A turn
//! Read what has come, a part of it if it is much; do what the time asks for; take the calls that were made; pack one packet, and write
//! it. After a packet is written another turn follows, so that the queue of calls is looked at with each. While
//! calls are in flight, and after several had their answers, a packet waits for one more turn of the runtime before
//! it is packed: whoever is about to call goes with it. That is what a lone call does not wait for, and what spares
//! most packets under load.
//!
//! # What an idle connection holds
//! No buffers. What comes is read into the stack, and kept from there only if a frame is incomplete: then as much
//! is reserved as that frame needs. What several calls took is kept for the next until a packet goes out with none.

mod outbox;
mod parting;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Sleep;

use self::outbox::Outbox;
use super::error::WireEnd;
use super::guard::{WireGuard, WireNote};
use super::inbox::Inbox;
use super::layer::{LayerEvent, WireLayer};
use super::limits::{WireLimits, WireTimes};
use super::salts::KeyMemory;
use super::shared::{AnsweredCalls, CallWaiter, EndOrder, Orders, WireShared};
use super::socket::{OpenStream, WireStream};
use super::update::WireUpdate;
use crate::base::clock::{Instant, now, unix_time};

/// How often a turn reads before it does what else there is to do, however much comes.
const READS_MAX: usize = 4;
/// How many turns are taken before others get the thread.
const TURNS_MAX: usize = 16;

/// What a turn came to.
enum TurnEnd {
    /// There may be more to do.
    Again,
    /// Something will wake the task.
    Wait,
}

/// Says that the connection is gone once everything of it is dropped.
struct GoneOnDrop(Arc<WireShared>);

impl Drop for GoneOnDrop {
    fn drop(&mut self) {
        self.0.go();
    }
}

/// The future that works a connection, until it ends. Its output says why. By then the socket is closed and the
/// guard is given back, and so they are, in this order, if it is dropped before.
#[must_use = "a connection does nothing unless it is polled"]
pub struct WireDriver<S: WireStream, G: WireGuard, U> {
    // The order of the fields is the order in which they are dropped.
    socket: Option<OpenStream<S>>,
    guard: Option<G>,
    layer: WireLayer<CallWaiter>,
    updates: U,
    inbox: Inbox,
    outbox: Option<Outbox>,
    orders: Orders,
    /// Which calls have had their answers since the queue was told.
    answered: AnsweredCalls,
    timer: Option<Pin<Box<Sleep>>>,
    /// A packet waits for company.
    has_yielded: bool,
    /// How many calls had their answers since the last packet: they may be followed by others at once.
    answers_since_packet: usize,
    /// When a close in good order is given up.
    closes_by: Option<Instant>,
    /// Why it ends, while the server at fault is given time to close its side.
    parting: Option<WireEnd>,
    /// Whether that server has.
    is_confirmed: bool,
    is_half_closed: bool,
    /// The other side has said all.
    is_read_out: bool,
    bytes_received: u64,
    bytes_sent: u64,
    limits: WireLimits,
    times: WireTimes,
    shared: Arc<WireShared>,
    _gone: GoneOnDrop,
}

impl<S: WireStream, G: WireGuard, U> WireDriver<S, G, U> {
    pub(super) fn new(
        socket: OpenStream<S>,
        guard: G,
        layer: WireLayer<CallWaiter>,
        updates: U,
        shared: Arc<WireShared>,
        (limits, times): (WireLimits, WireTimes),
    ) -> Self {
        Self {
            socket: Some(socket),
            guard: Some(guard),
            layer,
            updates,
            inbox: Inbox::default(),
            outbox: None,
            orders: Orders::default(),
            answered: AnsweredCalls::default(),
            timer: None,
            has_yielded: false,
            answers_since_packet: 0,
            closes_by: None,
            parting: None,
            is_confirmed: false,
            is_half_closed: false,
            is_read_out: false,
            bytes_received: 0,
            bytes_sent: 0,
            limits,
            times,
            _gone: GoneOnDrop(Arc::clone(&shared)),
            shared,
        }
    }
}

impl<S, G, U> Future for WireDriver<S, G, U>
where
    S: WireStream,
    G: WireGuard + Unpin,
    U: FnMut(WireUpdate) + Unpin,
{
    type Output = WireEnd;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<WireEnd> {
        let this = self.get_mut();
        for _ in 0..TURNS_MAX {
            match this.step(context) {
                Ok(TurnEnd::Again) => {}
                Ok(TurnEnd::Wait) => {
                    this.publish();
                    return Poll::Pending;
                }
                Err(end) => return Poll::Ready(this.finish(end)),
            }
        }
        this.publish();
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S, G, U> WireDriver<S, G, U>
where
    S: WireStream,
    G: WireGuard,
    U: FnMut(WireUpdate),
{
    /// A turn, of whichever kind is due.
    fn step(&mut self, context: &mut Context<'_>) -> Result<TurnEnd, WireEnd> {
        if self.parting.is_none() {
            match self.turn(context) {
                Err(end) if end.is_a_fault() => self.begin_parting(end),
                turned => return turned,
            }
        }
        self.part(context)
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Result<TurnEnd, WireEnd> {
        let now = now();
        let may_have_more = self.read(context, now)?;
        match self.closes_by {
            Some(at) if at <= now => return Err(WireEnd::Closed { is_confirmed: false }),
            Some(_) => self.layer.expire_calls(now),
            None if self.layer.poll_timeout() <= now => self.layer.handle_timeout(now)?,
            None => {}
        }
        self.take_orders(context, now)?;
        self.deliver(now);
        // Of calls that have ended since the queue was told it has to hear, or their places stay taken.
        if self.write(context, now)? || may_have_more || self.answered.calls > 0 {
            return Ok(TurnEnd::Again);
        }
        if self.layer.is_idle() && self.answers_since_packet <= 1 {
            self.layer.release_memory();
            self.orders = Orders::default();
        }
        let at = match self.closes_by {
            Some(by) => self.layer.first_deadline().map_or(by, |first| first.min(by)),
            None => self.layer.poll_timeout(),
        };
        Ok(self.wait_until(at, context))
    }

    /// Waits until an instant, unless something comes before.
    fn wait_until(&mut self, at: Instant, context: &mut Context<'_>) -> TurnEnd {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        // One that is set too early wakes in vain once, which costs less than to set it with each call.
        if at < timer.deadline() || timer.is_elapsed() {
            timer.as_mut().reset(at);
        }
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => TurnEnd::Again,
            Poll::Pending => TurnEnd::Wait,
        }
    }

    /// Reads what has come. Returns whether there may be more.
    fn read(&mut self, context: &mut Context<'_>, now: Instant) -> Result<bool, WireEnd> {
        for _ in 0..READS_MAX {
            let Some(socket) = &mut self.socket else { return Ok(false) };
            match self.inbox.poll_fill(&mut socket.stream, context) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0)) => {
                    self.is_read_out = true;
                    return Err(match self.closes_by {
                        Some(_) => WireEnd::Closed { is_confirmed: true },
                        None => WireEnd::HungUp,
                    });
                }
                Poll::Ready(Ok(count)) => {
                    self.bytes_received += count as u64;
                    self.layer.hear(now);
                    self.handle_inbox(now)?;
                    self.deliver(now);
                }
                Poll::Ready(Err(error)) => return Err(self.broken(error.into())),
            }
        }
        Ok(true)
    }

    /// Handles every whole packet of the inbox.
    fn handle_inbox(&mut self, now: Instant) -> Result<(), WireEnd> {
        while let Some(packet) = self.inbox.next_packet(self.limits.frame_len_max)? {
            self.layer.handle_packet(packet, now)?;
        }
        self.inbox.release_memory(self.layer.has_calls_in_flight());
        Ok(())
    }

    /// Takes the calls that were made, and whatever else was ordered.
    fn take_orders(&mut self, context: &mut Context<'_>, now: Instant) -> Result<(), WireEnd> {
        let answered = std::mem::take(&mut self.answered);
        self.shared.take_orders(&mut self.orders, answered, context);
        for call in self.orders.calls.drain(..) {
            self.layer.call(call.token, call.waiter, call.body, call.limit, now);
        }
        for token in self.orders.cancelled.drain(..) {
            if let Some(waiter) = self.layer.cancel(token) {
                self.answered.note(&waiter);
            }
        }
        if let Some(wants_updates) = self.orders.wants_updates.take() {
            self.layer.want_updates(wants_updates);
        }
        match self.orders.end.take() {
            Some(EndOrder::Abort) => return Err(WireEnd::Aborted),
            Some(EndOrder::Close) if self.closes_by.is_none() => {
                let within = self.orders.closes_within.unwrap_or(self.times.close_within);
                self.closes_by = now.checked_add(within).or(Some(now));
            }
            Some(EndOrder::Close) | None => {}
        }
        if self.closes_by.is_some() {
            // What is not begun is not sent any more, nor what the server refuses now.
            self.layer.end_ready(&WireEnd::Closed { is_confirmed: false });
        }
        Ok(())
    }

    /// Hands over what the layer has to tell.
    fn deliver(&mut self, now: Instant) {
        while let Some(event) = self.layer.poll_event() {
            match event {
                LayerEvent::Answer { waiter, body } => {
                    self.answered.note(&waiter);
                    self.answers_since_packet += 1;
                    waiter.tell(Ok(body));
                }
                LayerEvent::Failed { waiter, error } => {
                    self.answered.note(&waiter);
                    waiter.tell(Err(error));
                }
                LayerEvent::Updates(body) => (self.updates)(WireUpdate::Pushed(body)),
                LayerEvent::OwnUpdates { request, answer } => {
                    (self.updates)(WireUpdate::Own { request, answer });
                }
                LayerEvent::Gap => (self.updates)(WireUpdate::Gap),
                LayerEvent::Memory => self.shared.set_memory(self.layer.memory(unix_time(), now)),
                LayerEvent::Rejected { code, message } => {
                    (self.updates)(WireUpdate::Rejected { code, message });
                }
            }
        }
    }

    /// What is given back once the socket is closed, unless that has happened.
    pub fn guard_mut(&mut self) -> Option<&mut G> {
        self.guard.as_mut()
    }

    /// Whether it keeps more than an idle connection needs.
    #[cfg(test)]
    pub(super) fn holds_buffers(&self) -> bool {
        self.inbox.capacity() + self.orders.calls.capacity() > 0 || self.outbox.is_some()
    }

    fn publish(&self) {
        self.shared.counts.publish(self.layer.counts(), (self.bytes_received, self.bytes_sent));
    }

    /// Closes the socket, gives the guard back, and then tells whoever waits.
    fn finish(&mut self, end: WireEnd) -> WireEnd {
        self.shared.refuse_calls(&end);
        if let Some(mut socket) = self.socket.take() {
            // Otherwise the kernel would go on to send what it has, beside the next connection of the key.
            socket.is_over = self.is_half_closed && self.is_read_out && self.outbox.is_none();
            drop(socket);
        }
        let now = now();
        // Whoever gets the key next finds there what is known of it.
        let memory = self.layer.memory(unix_time(), now);
        self.shared.set_memory(memory.clone());
        self.give_back(&end, &memory, false);
        self.publish();
        self.layer.end(&end);
        self.deliver(now);
        self.shared.go();
        end
    }
}

impl<S: WireStream, G: WireGuard, U> WireDriver<S, G, U> {
    /// Gives the guard back, once the socket is closed.
    fn give_back(&mut self, end: &WireEnd, memory: &KeyMemory, was_idle: bool) {
        let Some(mut guard) = self.guard.take() else { return };
        guard.note_end(&WireNote {
            end,
            is_confirmed: self.is_confirmed || end.is_confirmed(),
            is_orderly: self.is_read_out,
            was_idle,
            memory,
            pinged_at: self.layer.pinged_at(),
        });
        drop(guard);
    }
}

/// However it goes: first the socket, then the guard, and then each call learns whether it was sent.
impl<S: WireStream, G: WireGuard, U> Drop for WireDriver<S, G, U> {
    fn drop(&mut self) {
        let is_on_the_way = self.outbox.is_some() || self.layer.has_calls_in_flight();
        let is_idle = !is_on_the_way && !std::thread::panicking();
        if let Some(mut socket) = self.socket.take() {
            // What is silenced says so once; of a plain close the kernel reminds the server until that has it.
            socket.is_over |= is_idle;
            drop(socket);
        }
        let memory = self.layer.memory(unix_time(), now());
        self.give_back(&WireEnd::Aborted, &memory, is_idle);
        self.layer.end(&WireEnd::Aborted);
        while let Some(event) = self.layer.poll_event() {
            // Updates have nobody to go to any more.
            match event {
                LayerEvent::Answer { waiter, body } => waiter.tell(Ok(body)),
                LayerEvent::Failed { waiter, error } => waiter.tell(Err(error)),
                _ => {}
            }
        }
    }
}

impl<S: WireStream, G: WireGuard, U> std::fmt::Debug for WireDriver<S, G, U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireDriver").finish_non_exhaustive()
    }
}
