//! Supervisor of a connection: its task, from before the first dial until the socket is gone.
//!
//! Owns the client's runner, the login check, the updates and the guard of the key. Never
//! unlocks the key before the socket is closed: not when the dialling future is dropped, nor
//! when the runner panics.
//!
//! # When the socket is gone
//! The runner has one task per data centre, and the socket lives in that task. Dropping the
//! runner only asks those tasks to end: a socket may still be open afterwards. So the supervisor
//! prefers ends that prove more:
//!
//! - While the home is being dialled there is no such task; the socket is in the runner itself and
//!   ends with it. Sealing the session first makes sure that none comes into being meanwhile. Then
//!   dropping the runner is enough.
//! - Afterwards the runner is asked to quit. It waits for its tasks before it ends, so that its
//!   end tells that every socket is closed.
//! - If it does not end in time (it dials a foreign data centre and listens to nobody) or
//!   panics, its tasks are only aborted, and the key is left to the `orphan_reaper`. Each task holds a sender
//!   of the updates until it is dropped, so with the last sender the last task has ended; but a task
//!   drops the sender an instant before the socket, hence a pause after it.
//! - The same if the supervisor itself is dropped on the way, by a runtime that ends or by a panic.
//!
//! # When the server has noticed
//! A socket that is closed here is closed for us. The server learns of it if the line is sound, so a
//! connection that is not wanted any more is asked for a last answer, unless there was one just now.
//! One that gives none, or fell silent before (`heartbeat`), may be open at the server's end until its
//! timer strikes: its key rests for as long. So it does after a fence, when the process did not run for
//! long: such a connection is cut without a word.
//!
//! Behind a proxy the server learns only of what the proxy passes on: then the far side has to close as
//! well (`bridge`), or the key rests.
//!
//! # When the home is lost
//! The client announces it among the updates, unless their queue is full or closed. So it is read from
//! the number of senders as well: with the last task the home is gone. If another task is left, a ping
//! decides.
//!
//! # Updates that nobody reads
//! The client hands updates on in a queue of blocks of 32 places, of 5 kB each. Whatever the capacity,
//! the places are used in turn, so that a connection holds 170 or 340 kB more after some updates. If
//! nobody listens to the account when a connection becomes usable, the queue is closed.

mod end;
mod forward;
mod guard;
mod home;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use grammers_client::sender::SenderPoolRunner;
use grammers_client::session::updates::UpdatesLike;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use self::end::{EndCause, RunnerEnd, end_bridge, end_runner};
use self::forward::{close_unless_read, forward};
use self::guard::SocketGuard;
use self::home::HomeWatch;
use super::heartbeat::{Heartbeat, Silent};
use super::key_lock::{KeyGuard, mark_ending};
use super::orphan_reaper::OpenSockets;
use super::parts::ConnectionParts;
use super::pending_open::{OpenResult, PendingOpen};
use crate::base::panics::catch_future;
use crate::ownership::{Epoch, Fence};
use crate::session::KeyId;

/// Handle of a supervisor, which the connection holds. Dropping it ends the connection.
#[derive(Debug)]
pub(super) struct SupervisorHandle {
    key: KeyId,
    stop: watch::Sender<bool>,
    gone: watch::Receiver<()>,
}

impl SupervisorHandle {
    /// Of a supervisor that listens to `stop`, and drops the sender of `gone` with the key.
    pub(super) const fn new(
        key: KeyId,
        stop: watch::Sender<bool>,
        gone: watch::Receiver<()>,
    ) -> Self {
        Self { key, stop, gone }
    }

    /// Asks for the end of the connection without waiting for it.
    pub(super) fn stop(&self) {
        // Once it is gone, the key may be somebody else's.
        if self.gone.has_changed().is_ok() {
            mark_ending(self.key);
        }
        self.stop.send_replace(true);
    }

    /// Waits until the socket is gone and another connection may use the key.
    pub(super) async fn gone(&self) {
        // The supervisor never sends: only the drop of its end is awaited.
        while self.gone.clone().changed().await.is_ok() {}
    }
}

impl Drop for SupervisorHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the supervisor, which runs the client. From here on the supervisor unlocks the key.
pub(super) fn supervise<P>(
    parts: ConnectionParts,
    runner: SenderPoolRunner,
    updates: mpsc::Receiver<UpdatesLike>,
    opening: PendingOpen<P>,
    guard: KeyGuard,
) -> SupervisorHandle
where
    P: Future<Output = OpenResult> + Send + 'static,
{
    // Boxed inside as well: a future that is moved into another one takes its room twice.
    let runner = Box::pin(catch_future(Box::pin(runner.run())));
    supervise_runner(parts, runner, updates, opening, guard)
}

fn supervise_runner<R, P>(
    parts: ConnectionParts,
    runner: Pin<Box<R>>,
    updates: mpsc::Receiver<UpdatesLike>,
    opening: PendingOpen<P>,
    guard: KeyGuard,
) -> SupervisorHandle
where
    R: Future<Output = Option<()>> + Send + 'static,
    P: Future<Output = OpenResult> + Send + 'static,
{
    let (stop, stopped) = watch::channel(false);
    let (gone_sender, gone) = watch::channel(());
    let key = guard.key();
    let health = Arc::clone(&parts.health);
    let redial_after_loss = parts.redial_after_loss;
    let sockets = OpenSockets::new(updates, parts.bridge.clone(), guard, gone_sender);
    let sockets = SocketGuard::new(health, redial_after_loss, sockets);
    let supervisor = Supervisor { parts, runner, sockets };
    drop(Handle::current().spawn(supervisor.run(opening, stopped)));
    SupervisorHandle::new(key, stop, gone)
}

struct Supervisor<R> {
    /// The client's runner, whose panic is `None`.
    runner: Pin<Box<R>>,
    parts: ConnectionParts,
    sockets: SocketGuard,
}

impl<R: Future<Output = Option<()>>> Supervisor<R> {
    async fn run<P>(mut self, mut opening: PendingOpen<P>, mut stopped: watch::Receiver<bool>)
    where
        P: Future<Output = OpenResult>,
    {
        let end = self.serve(&mut opening, &mut stopped).await;
        self.parts.health.mark_broken();
        // Whoever still waits for it to open has nothing to wait for.
        drop(opening);
        let Self { runner, parts, mut sockets } = self;
        let (account, slot) = (parts.account, parts.slot);
        let RunnerEnd { closed, rest } = end_runner(runner, end, &parts).await;
        let rest = end_bridge(rest, &parts).await;
        sockets.note_bridge_ended();
        if !rest.is_zero() {
            tracing::info!(
                %account, slot, ?rest,
                "the server may not have noticed the end of a connection: the session rests"
            );
            sockets.rest(rest);
        }
        if closed {
            tracing::debug!(%account, slot, "the connection is closed");
            sockets.end();
        }
    }

    /// Runs the client and hands updates on until the connection is dead or is no longer wanted.
    async fn serve<P>(
        &mut self,
        opening: &mut PendingOpen<P>,
        stopped: &mut watch::Receiver<bool>,
    ) -> EndCause
    where
        P: Future<Output = OpenResult>,
    {
        let Self { parts, runner, sockets } = self;
        let updates = sockets.updates();
        // An error means that the connection's handle is dropped.
        let mut stop = pin!(stopped.wait_for(|stopped| *stopped));
        let mut fence = pin!(fenced(parts.fence.clone(), parts.epoch));
        let mut home = HomeWatch::default();
        let mut heartbeat = Heartbeat::new();
        let mut is_connected = false;
        poll_fn(|context| {
            if let Poll::Ready(stopped) = fence.as_mut().poll(context) {
                return Poll::Ready(EndCause::Fenced(stopped));
            }
            if stop.as_mut().poll(context).is_ready() {
                return Poll::Ready(EndCause::Unwanted);
            }
            opening.poll(context);
            let ran = match runner.as_mut().poll(context) {
                Poll::Ready(ended) => Some(ended.map_or(EndCause::Panicked, |()| EndCause::Ran)),
                Poll::Pending => None,
            };
            if !is_connected && parts.session.is_connected() {
                is_connected = true;
                parts.health.note_answer();
                opening.connected();
            }
            let told_end = forward(context, parts, updates);
            let end = ran.or_else(|| {
                let is_over = told_end || is_connected && home.is_lost(context, parts, updates);
                is_over.then_some(EndCause::Over)
            });
            let end = end.or_else(|| {
                let is_silent = is_connected && heartbeat.poll(context, parts) == Some(Silent);
                is_silent.then_some(EndCause::Silent)
            });
            if end.is_some() {
                // Its error says more than that the connection has ended.
                opening.poll(context);
            }
            if opening.has_news() {
                close_unless_read(parts, updates);
                opening.tell();
            }
            end.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Waits for a fence that ends what began in this epoch. Returns for how long the process did not run.
pub(super) async fn fenced(mut fence: watch::Receiver<Fence>, epoch: Epoch) -> Duration {
    match fence.wait_for(|fence| fence.epoch > epoch).await.map(|fence| fence.stopped) {
        Ok(stopped) => stopped,
        // Nobody is left who could raise one.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
