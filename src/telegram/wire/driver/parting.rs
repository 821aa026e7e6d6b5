//! Parting from a server that is at fault, or that refuses the connection: nothing is said to it any more, and it
//! is given time to close its side, so that the key need not rest.
//!
//! Owns that wait. By then every call has failed, and what still comes is read for its end alone.

use std::task::{Context, Poll};

use super::{READS_MAX, TurnEnd, WireDriver, WireGuard, WireUpdate};
use crate::base::clock::now;
use crate::telegram::wire::error::WireEnd;
use crate::telegram::wire::inbox::Inbox;
use crate::telegram::wire::shared::{EndOrder, Orders};
use crate::telegram::wire::socket::WireStream;

impl<S, G, U> WireDriver<S, G, U>
where
    S: WireStream,
    G: WireGuard,
    U: FnMut(WireUpdate),
{
    /// Begins to part, for this reason.
    pub(super) fn begin_parting(&mut self, end: WireEnd) {
        let now = now();
        self.closes_by.get_or_insert(now + self.times.close_within);
        (self.outbox, self.inbox) = (None, Inbox::default());
        self.shared.refuse_calls(&end);
        self.layer.end(&end);
        self.deliver(now);
        self.parting = Some(end);
    }

    /// A turn of it. The error is its end.
    pub(super) fn part(&mut self, context: &mut Context<'_>) -> Result<TurnEnd, WireEnd> {
        let now = now();
        // Of the calls nothing is left: only an order to be quick counts.
        self.shared.take_orders(&mut self.orders, std::mem::take(&mut self.answered), context);
        let orders = std::mem::take(&mut self.orders);
        if matches!(orders, Orders { end: Some(EndOrder::Abort), .. }) {
            return Err(self.parted(false));
        }
        let is_closed = match self.read_out(context) {
            Poll::Ready(Ok(())) => Some(true),
            Poll::Ready(Err(end)) => Some(end.is_confirmed()),
            Poll::Pending => None,
        };
        let is_closed = is_closed
            .or_else(|| self.closes_by.is_some_and(|by| by <= now).then_some(false))
            .or_else(|| self.half_close(context).err().map(|end| end.is_confirmed()));
        match is_closed {
            Some(is_closed) => Err(self.parted(is_closed)),
            None => Ok(self.wait_until(self.closes_by.unwrap_or(now), context)),
        }
    }

    /// Reads what the server still says, up to its end.
    fn read_out(&mut self, context: &mut Context<'_>) -> Poll<Result<(), WireEnd>> {
        for _ in 0..READS_MAX {
            let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(())) };
            match self.inbox.poll_fill(&mut socket.stream, context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    self.is_read_out = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(count)) => {
                    self.bytes_received += count as u64;
                    self.inbox = Inbox::default();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
        // Somebody who never stops is read on in the next turn, and others have theirs before.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn parted(&mut self, is_confirmed: bool) -> WireEnd {
        self.is_confirmed = is_confirmed;
        self.parting.clone().unwrap_or(WireEnd::Closed { is_confirmed })
    }
}
