//! Supervisor of a connection of the wire: its task, from its first packet until the socket is gone.
//!
//! Owns the driver, the login check and what ends them. The driver owns the socket and the guard of the key, and
//! lets go of the socket first, however it ends: a return, an abort, a panic or the end of the runtime. So nothing
//! has to be proved here, and nothing to be waited for elsewhere.
//!
//! # When the server has noticed
//! A connection that is not wanted any more is closed in good order: the server closes its side as well, or the key
//! rests (`guard`). After a fence, when the process did not run for long, it is cut without a word: what could
//! still be written may come too late.

mod guard;
mod updates;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;

pub(super) use self::guard::{EndPolicy, WireKeyGuard};
use self::updates::hand_over;
use super::health::ConnectionHealth;
use super::key_lock::KeyGuard;
use super::key_memories::KeyMemories;
use super::pending_open::{OpenResult, PendingOpen};
use super::supervisor::{SupervisorHandle, fenced};
use super::updates::FeedSource;
use super::wire::{self, WireDriver, WireEnd, WireHandle, WireOptions, WireUpdate};
use super::wire_counts::{CountedWire, WireTotals};
use crate::account_id::AccountId;
use crate::base::text::display_safely;
use crate::manager::TrafficCounters;
use crate::ownership::{Epoch, Fence};
use crate::session::KeyId;

/// How long a server that has left no call without an answer may take to close its end.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// What a supervisor of the wire works with.
pub(super) struct WireParts {
    pub(super) account: AccountId,
    pub(super) slot: u16,
    /// Of the account's group.
    pub(super) traffic: Arc<TrafficCounters>,
    pub(super) health: Arc<ConnectionHealth>,
    /// Where its updates go.
    pub(super) feed: FeedSource,
    /// When the connection began, as far as fences are concerned.
    pub(super) epoch: Epoch,
    pub(super) fence: watch::Receiver<Fence>,
    pub(super) memories: Arc<KeyMemories>,
    pub(super) policy: EndPolicy,
    pub(super) close_grace: Duration,
    /// Where it is counted, and among which accounts.
    pub(super) wires: Arc<WireTotals>,
    pub(super) group: Arc<str>,
}

/// Begins a connection over a socket that leads to the data centre. Nothing is sent before its task is started. From
/// here on the key is unlocked when the socket is gone, and not before.
pub(super) fn begin(
    parts: WireParts,
    stream: TcpStream,
    key: KeyGuard,
    options: WireOptions,
) -> (WireHandle, WireSupervisor<impl FnMut(WireUpdate) + Unpin + Send + 'static>) {
    let WireParts { account, slot, traffic, health, feed, epoch, fence, .. } = parts;
    let WireParts { memories, policy, close_grace, group, wires, .. } = parts;
    let (gone_sender, gone) = watch::channel(());
    let key_id = key.key();
    let guard = WireKeyGuard::new(key, Arc::clone(&health), memories, policy, gone_sender);
    let sink = {
        let health = Arc::clone(&health);
        move |update| hand_over(update, &feed, &health, &traffic)
    };
    let (handle, driver) = wire::open(stream, guard, options, sink);
    let _counted = wires.begin(group, handle.clone());
    let (session, fence) = ((account, slot), (fence, epoch));
    let supervisor = WireSupervisor {
        driver,
        handle: handle.clone(),
        health,
        session,
        close_grace,
        fence,
        gone: (key_id, gone),
        _counted,
    };
    (handle, supervisor)
}

/// A connection, and what ends it.
pub(super) struct WireSupervisor<U> {
    driver: WireDriver<TcpStream, WireKeyGuard, U>,
    handle: WireHandle,
    health: Arc<ConnectionHealth>,
    session: (AccountId, u16),
    close_grace: Duration,
    fence: (watch::Receiver<Fence>, Epoch),
    /// Which key is given back at the end, and who is told.
    gone: (KeyId, watch::Receiver<()>),
    /// After the driver: its last counts count.
    _counted: CountedWire,
}

impl<U: FnMut(WireUpdate) + Unpin + Send + 'static> WireSupervisor<U> {
    /// Starts its task.
    pub(super) fn spawn<P>(self, opening: PendingOpen<P>) -> SupervisorHandle
    where
        P: Future<Output = OpenResult> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let (key, gone) = self.gone.clone();
        drop(Handle::current().spawn(self.run(opening, stopped)));
        SupervisorHandle::new(key, stop, gone)
    }
}

/// Polls the login check, if anybody waits for it.
fn poll_opening<P>(opening: &mut Option<PendingOpen<P>>, context: &mut Context<'_>)
where
    P: Future<Output = OpenResult>,
{
    if let Some(opening) = opening {
        opening.poll(context);
    }
}

impl<U: FnMut(WireUpdate) + Unpin> WireSupervisor<U> {
    async fn run<P>(mut self, opening: PendingOpen<P>, mut stopped: watch::Receiver<bool>)
    where
        P: Future<Output = OpenResult>,
    {
        let (fence, epoch) = self.fence.clone();
        let end = {
            // An error means that the connection's handle is dropped.
            let mut stop = pin!(stopped.wait_for(|stopped| *stopped));
            let mut fence = pin!(fenced(fence, epoch));
            let (mut is_stopping, mut is_connected) = (false, false);
            let mut opening = Some(opening);
            poll_fn(|context| {
                if let Poll::Ready(stopped) = fence.as_mut().poll(context) {
                    return Poll::Ready(Err(stopped));
                }
                if !is_stopping && stop.as_mut().poll(context).is_ready() {
                    is_stopping = true;
                    // Nobody waits for it any more, and what its calls come to now says nothing of the session.
                    opening = None;
                    self.handle.close_within(self.close_limit());
                }
                // What it calls goes in the first packet.
                poll_opening(&mut opening, context);
                let ended = Pin::new(&mut self.driver).poll(context);
                let connects = !is_connected && self.handle.counts().answer_age.is_some();
                if ended.is_ready() || connects {
                    // Its own word says more than that the connection has ended, or begun.
                    poll_opening(&mut opening, context);
                }
                if connects {
                    is_connected = true;
                    opening.as_mut().map(PendingOpen::connected);
                }
                if let Some(opening) = &mut opening
                    && opening.has_news()
                {
                    opening.tell();
                }
                ended.map(Ok)
            })
            .await
        };
        self.health.mark_broken();
        self.tell_end(end);
    }

    /// How long a close may take: a server that has answered so far gets its time.
    fn close_limit(&self) -> Duration {
        match self.health.has_unanswered() {
            true => self.close_grace,
            false => self.close_grace.max(CLOSE_MAX),
        }
    }

    /// Whoever still waits for it to open has nothing to wait for: that goes with the task.
    fn tell_end(&mut self, end: Result<WireEnd, Duration>) {
        let (account, slot) = self.session;
        match end {
            Ok(end) => {
                let (end, counts) = (display_safely(&end), self.handle.counts());
                tracing::debug!(
                    %account, slot, %end,
                    bytes_received = counts.bytes_received,
                    bytes_sent = counts.bytes_sent,
                    opening_round_trips = counts.opening_round_trips,
                    calls_sent = counts.calls_sent,
                    calls_resent = counts.resends,
                    packets_refused = counts.refused_packets,
                    acknowledgements_sent = counts.acks_sent,
                    "the connection is closed"
                );
            }
            Err(stopped) => {
                if let Some(guard) = self.driver.guard_mut() {
                    guard.fence(stopped);
                }
                tracing::debug!(%account, slot, ?stopped, "the connection is cut after a stop");
            }
        }
    }
}

#[cfg(test)]
mod tests;
