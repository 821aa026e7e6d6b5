//! Forwarding of updates: from the client's queue of one connection to the subscriber.
//!
//! Owns the closing of a queue that nobody reads. Never waits for a slow subscriber.

use std::task::{Context, Poll};

use grammers_client::session::updates::UpdatesLike;
use tokio::sync::mpsc;

use crate::telegram::parts::ConnectionParts;
use crate::telegram::updates::AccountUpdate;

/// Closes the queue of updates if nobody reads them.
pub(super) fn close_unless_read(
    parts: &ConnectionParts,
    updates: &mut mpsc::Receiver<UpdatesLike>,
) {
    // Before it is looked whether somebody has: a subscription in between counts as a later one.
    let subscriptions = parts.channel.subscriptions();
    if !parts.channel.has_subscriber() {
        updates.close();
        parts.health.mark_without_updates(subscriptions);
    }
}

/// Forwards the updates that have come to the subscriber. Returns whether one of them tells the end.
pub(super) fn forward(
    context: &mut Context<'_>,
    parts: &ConnectionParts,
    updates: &mut mpsc::Receiver<UpdatesLike>,
) -> bool {
    while let Poll::Ready(Some(update)) = updates.poll_recv(context) {
        let closed = matches!(update, UpdatesLike::ConnectionClosed);
        deliver(parts, update);
        if closed {
            // The runner may not dial again, so it is of no more use.
            return true;
        }
    }
    // A queue that is closed and empty tells nothing.
    false
}

pub(super) fn deliver(parts: &ConnectionParts, update: UpdatesLike) {
    if !matches!(update, UpdatesLike::ConnectionClosed) {
        parts.health.note_answer();
        parts.traffic.count_update();
    }
    let (account, slot) = (parts.account, parts.slot);
    parts.channel.deliver(AccountUpdate { account, slot, update }, &parts.group);
}
