//! Driver of a connection: the one future that owns its socket.
//!
//! Owns the stream, the guard of the key, and the order in which they go: the stream first, whatever ends the
//! driver. Never decides what to send: the layer does.
//!
//! # A turn
//! Read all that has come; do what the time asks for; take the calls that were made; pack one packet, and write
//! it. After a packet is written another turn follows, so that the queue of calls is looked at with each. While
//! calls are in flight a packet waits for one more turn of the runtime before it is packed: whoever is about to
//! call goes with it. That is what a lone call does not wait for, and what spares most packets under load.
//!
//! # What an idle connection holds
//! No buffers. What comes is read into the stack, and kept from there only if a frame is incomplete: then as much
//! is reserved as that frame needs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use grammers_crypto::DequeBuffer;
use tokio::time::Sleep;

use super::error::WireEnd;
use super::frame::START;
use super::inbox::Inbox;
use super::layer::{LayerEvent, WireLayer};
use super::limits::{WireLimits, WireTimes};
use super::shared::{CallWaiter, EndOrder, Orders, WireShared};
use super::socket::{OpenStream, WireStream};
use crate::base::clock::{Instant, now, unix_time};

/// How often a turn reads before it does anything else.
const READS_MAX: usize = 16;
/// How many turns are taken before others get the thread.
const TURNS_MAX: usize = 16;

/// What must not be given back while the connection's socket is open.
pub trait WireGuard {
    /// The connection has ended in this way, and its socket is closed. The guard is dropped next. Not called if
    /// the driver is dropped before its end: then nothing is known of the server's end.
    fn note_end(&mut self, _end: &WireEnd) {}
}

impl WireGuard for () {}

/// What comes besides answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireUpdate {
    /// The bytes of an `Updates`, or of what this version does not know.
    Pushed(Vec<u8>),
    /// The answer of a call of ours that has updates in it.
    Own {
        /// The body of the call.
        request: Vec<u8>,
        /// The bytes of the result.
        answer: Vec<u8>,
    },
    /// The server has begun a session: what happened before it may be missing.
    Gap,
}

/// A packet on its way out.
struct Outbox {
    buffer: DequeBuffer<u8>,
    written: usize,
}

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
pub struct WireDriver<S: WireStream, G, U> {
    // The order of the fields is the order in which they are dropped.
    socket: Option<OpenStream<S>>,
    guard: Option<G>,
    layer: WireLayer<CallWaiter>,
    updates: U,
    inbox: Inbox,
    outbox: Option<Outbox>,
    orders: Orders,
    /// How many calls have had their answers since the queue was told.
    answered: usize,
    timer: Option<Pin<Box<Sleep>>>,
    /// A packet waits for company.
    has_yielded: bool,
    /// When a close in good order is given up.
    closes_by: Option<Instant>,
    is_half_closed: bool,
    bytes_received: u64,
    bytes_sent: u64,
    limits: WireLimits,
    times: WireTimes,
    shared: Arc<WireShared>,
    _gone: GoneOnDrop,
}

impl<S: WireStream, G, U> WireDriver<S, G, U> {
    pub(super) fn new(
        stream: S,
        guard: G,
        layer: WireLayer<CallWaiter>,
        updates: U,
        shared: Arc<WireShared>,
        (limits, times): (WireLimits, WireTimes),
    ) -> Self {
        Self {
            socket: Some(OpenStream::new(stream)),
            guard: Some(guard),
            layer,
            updates,
            inbox: Inbox::default(),
            outbox: None,
            orders: Orders::default(),
            answered: 0,
            timer: None,
            has_yielded: false,
            closes_by: None,
            is_half_closed: false,
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
            match this.turn(context) {
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
    fn turn(&mut self, context: &mut Context<'_>) -> Result<TurnEnd, WireEnd> {
        let now = now();
        if self.read(context, now)? {
            return Ok(TurnEnd::Again);
        }
        match self.closes_by {
            Some(at) if at <= now => return Err(WireEnd::Closed { is_confirmed: false }),
            Some(_) => {}
            None if self.layer.poll_timeout() <= now => self.layer.handle_timeout(now)?,
            None => {}
        }
        self.take_orders(context, now)?;
        self.deliver(now);
        if self.write(context, now)? {
            return Ok(TurnEnd::Again);
        }
        if self.layer.is_idle() {
            self.layer.release_memory();
            self.orders = Orders::default();
        }
        let at = self.closes_by.unwrap_or_else(|| self.layer.poll_timeout());
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        // One that is set too early wakes in vain once, which costs less than to set it with each call.
        if at < timer.deadline() || timer.is_elapsed() {
            timer.as_mut().reset(at);
        }
        Ok(match timer.as_mut().poll(context) {
            Poll::Ready(()) => TurnEnd::Again,
            Poll::Pending => TurnEnd::Wait,
        })
    }

    /// Reads what has come. Returns whether there may be more.
    fn read(&mut self, context: &mut Context<'_>, now: Instant) -> Result<bool, WireEnd> {
        for _ in 0..READS_MAX {
            let Some(socket) = &mut self.socket else { return Ok(false) };
            match self.inbox.poll_fill(&mut socket.stream, context) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0)) => {
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
            self.answered += usize::from(self.layer.cancel(token));
        }
        match self.orders.end.take() {
            Some(EndOrder::Abort) => return Err(WireEnd::Aborted),
            Some(EndOrder::Close) if self.closes_by.is_none() => {
                self.closes_by = Some(now + self.times.close_within);
            }
            Some(EndOrder::Close) | None => {}
        }
        Ok(())
    }

    /// Hands over what the layer has to tell.
    fn deliver(&mut self, now: Instant) {
        while let Some(event) = self.layer.poll_event() {
            match event {
                LayerEvent::Answer { waiter, body } => {
                    self.answered += 1;
                    // Whoever has gone meanwhile needs no answer.
                    waiter.send(Ok(body)).ok();
                }
                LayerEvent::Failed { waiter, error } => {
                    self.answered += 1;
                    waiter.send(Err(error)).ok();
                }
                LayerEvent::Updates(body) => (self.updates)(WireUpdate::Pushed(body)),
                LayerEvent::OwnUpdates { request, answer } => {
                    (self.updates)(WireUpdate::Own { request, answer });
                }
                LayerEvent::Gap => (self.updates)(WireUpdate::Gap),
                LayerEvent::Memory => self.shared.set_memory(self.layer.memory(unix_time(), now)),
            }
        }
    }

    /// Writes what there is to write. Returns whether another turn is to follow.
    fn write(&mut self, context: &mut Context<'_>, now: Instant) -> Result<bool, WireEnd> {
        if self.outbox.is_none() && self.closes_by.is_none() && !self.pack(context, now) {
            return Ok(false);
        }
        let Some(socket) = &mut self.socket else { return Ok(false) };
        while let Some(outbox) = &mut self.outbox {
            let rest = &outbox.buffer[outbox.written..];
            match Pin::new(&mut socket.stream).poll_write(context, rest) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0)) => return Err(self.broken(WireEnd::HungUp)),
                Poll::Ready(Ok(count)) => {
                    self.bytes_sent += count as u64;
                    outbox.written += count;
                    if outbox.written == outbox.buffer.len() {
                        self.outbox = None;
                    }
                }
                Poll::Ready(Err(error)) => return Err(self.broken(error.into())),
            }
        }
        if self.closes_by.is_none() {
            return Ok(true);
        }
        if !self.is_half_closed {
            match Pin::new(&mut socket.stream).poll_shutdown(context) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.is_half_closed = true,
                Poll::Ready(Err(error)) => return Err(self.broken(error.into())),
            }
        }
        Ok(false)
    }

    /// Packs what is to be sent. Returns whether there is a packet; one that waits for company is not packed yet.
    fn pack(&mut self, context: &mut Context<'_>, now: Instant) -> bool {
        if !self.layer.wants_transmit(now) {
            return false;
        }
        let is_fresh = self.layer.is_fresh();
        let may_have_company = is_fresh || self.layer.has_calls_in_flight();
        if may_have_company && !std::mem::replace(&mut self.has_yielded, true) {
            context.waker().wake_by_ref();
            return false;
        }
        self.has_yielded = false;
        let Some(mut buffer) = self.layer.poll_transmit(now) else { return false };
        let len = super::tl::short(buffer.len()).to_le_bytes();
        buffer.extend_front(&len);
        if is_fresh {
            buffer.extend_front(&START);
        }
        self.outbox = Some(Outbox { buffer, written: 0 });
        true
    }

    /// The end that a failing socket is.
    fn broken(&self, end: WireEnd) -> WireEnd {
        match self.closes_by {
            Some(_) => WireEnd::Closed { is_confirmed: end.is_confirmed() },
            None => end,
        }
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
            socket.is_over = match end {
                WireEnd::Closed { is_confirmed } => is_confirmed,
                WireEnd::HungUp | WireEnd::Transport { .. } => true,
                _ => false,
            };
            drop(socket);
        }
        if let Some(mut guard) = self.guard.take() {
            guard.note_end(&end);
            drop(guard);
        }
        let now = now();
        self.shared.set_memory(self.layer.memory(unix_time(), now));
        self.publish();
        self.layer.end(&end);
        self.deliver(now);
        self.shared.go();
        end
    }
}

impl<S: WireStream, G, U> std::fmt::Debug for WireDriver<S, G, U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireDriver").finish_non_exhaustive()
    }
}
