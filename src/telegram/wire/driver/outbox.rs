//! What leaves a connection: one packet at a time, and in the end a half-close.
//!
//! Owns the packet that is being written. Never decides what is in it: the layer does.

use std::pin::Pin;
use std::task::{Context, Poll};

use grammers_crypto::DequeBuffer;

use super::{WireDriver, WireGuard, WireUpdate};
use crate::base::clock::Instant;
use crate::telegram::wire::error::WireEnd;
use crate::telegram::wire::frame::START;
use crate::telegram::wire::socket::WireStream;
use crate::telegram::wire::tl::short;

/// A packet on its way out.
pub(super) struct Outbox {
    buffer: DequeBuffer<u8>,
    written: usize,
    /// The socket was full.
    is_stuck: bool,
}

impl<S, G, U> WireDriver<S, G, U>
where
    S: WireStream,
    G: WireGuard,
    U: FnMut(WireUpdate),
{
    /// Writes what there is to write. Returns whether another turn is to follow.
    pub(super) fn write(
        &mut self,
        context: &mut Context<'_>,
        now: Instant,
    ) -> Result<bool, WireEnd> {
        if self.outbox.is_none() && self.closes_by.is_none() && !self.pack(context, now) {
            return Ok(false);
        }
        while let Some(outbox) = &mut self.outbox {
            let Some(socket) = &mut self.socket else { return Ok(false) };
            let rest = &outbox.buffer[outbox.written..];
            let polled = match rest.is_empty() {
                true => Pin::new(&mut socket.stream).poll_flush(context).map_ok(|()| 0),
                false => Pin::new(&mut socket.stream).poll_write(context, rest),
            };
            match polled {
                Poll::Pending => {
                    outbox.is_stuck = true;
                    return Ok(false);
                }
                Poll::Ready(Err(error)) => return Err(self.broken(error.into())),
                Poll::Ready(Ok(_)) if rest.is_empty() => {
                    self.outbox = None;
                    self.layer.note_written(now);
                }
                Poll::Ready(Ok(0)) => return Err(self.broken(WireEnd::HungUp)),
                Poll::Ready(Ok(count)) => {
                    self.bytes_sent += count as u64;
                    outbox.written += count;
                    // What was full takes more only because the other side does. What was not shows nothing.
                    if std::mem::take(&mut outbox.is_stuck) {
                        self.layer.hear(now);
                    }
                }
            }
        }
        if self.closes_by.is_none() {
            return Ok(true);
        }
        self.half_close(context)?;
        Ok(false)
    }

    pub(super) fn half_close(&mut self, context: &mut Context<'_>) -> Result<(), WireEnd> {
        let Some(socket) = self.socket.as_mut().filter(|_| !self.is_half_closed) else {
            return Ok(());
        };
        match Pin::new(&mut socket.stream).poll_shutdown(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.is_half_closed = true;
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(self.broken(error.into())),
        }
    }

    /// Packs what is to be sent. Returns whether there is a packet; one that waits for company is not packed yet.
    fn pack(&mut self, context: &mut Context<'_>, now: Instant) -> bool {
        if !self.layer.wants_transmit() {
            return false;
        }
        let is_fresh = self.layer.is_fresh();
        let may_have_company =
            is_fresh || self.layer.has_calls_in_flight() || self.answers_since_packet > 1;
        if may_have_company && !std::mem::replace(&mut self.has_yielded, true) {
            context.waker().wake_by_ref();
            return false;
        }
        self.has_yielded = false;
        let Some(mut buffer) = self.layer.poll_transmit(now) else { return false };
        self.answers_since_packet = 0;
        buffer.extend_front(&short(buffer.len()).to_le_bytes());
        if is_fresh {
            buffer.extend_front(&START);
        }
        self.outbox = Some(Outbox { buffer, written: 0, is_stuck: false });
        true
    }

    /// The end that a failing socket is.
    pub(super) fn broken(&self, end: WireEnd) -> WireEnd {
        match self.closes_by {
            Some(_) => WireEnd::Closed { is_confirmed: end.is_confirmed() },
            None => end,
        }
    }
}
