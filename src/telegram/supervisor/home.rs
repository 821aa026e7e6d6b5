//! Watch over the connection to the home data centre: whether it still stands.
//!
//! Owns the count of the client's tasks. Only asks the server if that does not decide it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use grammers_client::session::updates::UpdatesLike;
use grammers_client::tl::{Serializable as _, functions};
use tokio::sync::mpsc;

use crate::telegram::parts::ConnectionParts;

/// Watches the connection to the home data centre, by the number of the client's tasks: each data centre
/// that it is connected to is one.
#[derive(Default)]
pub(super) struct HomeWatch {
    tasks: usize,
    /// A ping of the home, while it is not known which task has ended.
    ping: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
}

impl HomeWatch {
    pub(super) fn is_lost(
        &mut self,
        context: &mut Context<'_>,
        parts: &ConnectionParts,
        updates: &mpsc::Receiver<UpdatesLike>,
    ) -> bool {
        // One sender is the runner's own.
        let tasks = updates.sender_strong_count().saturating_sub(1);
        if tasks < self.tasks && tasks > 0 {
            self.ping = Some(Box::pin(ping_fails(parts)));
        }
        self.tasks = tasks;
        tasks == 0 || self.has_failed(context)
    }

    fn has_failed(&mut self, context: &mut Context<'_>) -> bool {
        let Some(ping) = &mut self.ping else { return false };
        let Poll::Ready(has_failed) = ping.as_mut().poll(context) else { return false };
        self.ping = None;
        has_failed
    }
}

/// Whether the home does not answer. Without a connection to it the client asks for an address to
/// dial, and gets none.
fn ping_fails(parts: &ConnectionParts) -> impl Future<Output = bool> + Send + use<> {
    let (rpc, limit) = (parts.rpc.clone(), parts.call_timeout);
    async move {
        let ping = functions::Ping { ping_id: 0 }.to_bytes();
        rpc.call::<functions::Ping>(ping, limit).await.is_err()
    }
}
