//! Forwarding of updates: from the client's queue of one connection to the lane of its account.
//!
//! Owns the closing of a queue that nobody reads. Never waits for a slow lane.

use std::task::{Context, Poll};

use grammers_client::session::updates::UpdatesLike;
use tokio::sync::mpsc;

use crate::telegram::parts::ConnectionParts;

/// Closes the queue of updates if nobody listens to the account.
pub(super) fn close_unless_read(
    parts: &ConnectionParts,
    updates: &mut mpsc::Receiver<UpdatesLike>,
) {
    if !parts.lanes.is_listened_to(parts.account) {
        updates.close();
        parts.health.mark_without_updates();
    }
}

/// Forwards the updates that have come. Returns whether one of them tells the end.
pub(super) fn forward(
    context: &mut Context<'_>,
    parts: &ConnectionParts,
    updates: &mut mpsc::Receiver<UpdatesLike>,
) -> bool {
    // The client drops what does not fit, and tells nobody.
    if updates.len() >= updates.max_capacity() {
        parts.feed.put_gap();
    }
    while let Poll::Ready(Some(update)) = updates.poll_recv(context) {
        if matches!(update, UpdatesLike::ConnectionClosed) {
            // The runner may not dial again, so it is of no more use. The lane learns it from the end of its feed.
            return true;
        }
        parts.health.note_answer();
        if parts.feed.put(update) {
            parts.traffic.count_update();
        }
    }
    // A queue that is closed and empty tells nothing.
    false
}
