//! The task beside each connection, from before the first dial until the socket is gone.
//!
//! Owns the client's runner, its updates and the token of the key. Never gives the token back
//! before the socket is closed: not when the dialling future is dropped, nor when the runner is
//! aborted or panics.
//!
//! # When the socket is gone
//! The runner keeps one task per data centre, and the socket lives in that task. Aborting the
//! runner only asks those tasks to end: seen from here the runner is finished while a socket may
//! still be open. So the supervisor prefers ends that prove more:
//!
//! - While the home is being dialled there is no such task; the socket is in the runner itself,
//!   whose join handle resolves after everything in it is dropped. Sealing the session first
//!   makes sure that none comes into being meanwhile. Then an abort is enough.
//! - Afterwards the runner is asked to quit. It waits for its tasks before it ends, so that its
//!   join handle tells that every socket is closed.
//! - If it does not end in time (it dials a foreign data centre and listens to nobody) or
//!   panics, its tasks are only aborted. Each holds a sender of the updates until it is dropped,
//!   so the end of the updates comes with the end of the last task; but a task drops the sender
//!   an instant before the socket, hence a pause after it.

use std::sync::Arc;
use std::time::Duration;

use grammers_client::sender::{SenderPoolHandle, SenderPoolRunner};
use grammers_client::session::updates::UpdatesLike;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};

use super::custody::KeyToken;
use super::feed::{AccountUpdate, Feed};
use super::health::Health;
use super::pinned::PinnedSession;
use crate::account::AccountId;

/// How long the socket may outlive the updates of an aborted task. It is closed by the next few
/// instructions of the same thread; the pause covers that thread being preempted there.
const SETTLE: Duration = Duration::from_millis(50);

/// What a supervisor takes charge of.
pub(super) struct Charge {
    pub(super) account: AccountId,
    pub(super) slot: u16,
    /// The account's group, which what it misses is counted by.
    pub(super) group: Arc<str>,
    pub(super) handle: SenderPoolHandle,
    pub(super) updates: mpsc::Receiver<UpdatesLike>,
    pub(super) session: Arc<PinnedSession>,
    pub(super) health: Arc<Health>,
    pub(super) feed: Arc<Feed>,
    pub(super) close_grace: Duration,
}

/// The connection's end of the supervision. Dropping it ends the connection.
#[derive(Debug)]
pub(super) struct Leash {
    stop: watch::Sender<bool>,
    gone: watch::Receiver<()>,
    runner: AbortHandle,
}

impl Leash {
    /// Asks for the end of the connection without waiting for it.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the socket is gone and another connection may use the key.
    pub(super) async fn gone(&self) {
        // The supervisor never sends: only the drop of its end is awaited.
        while self.gone.clone().changed().await.is_ok() {}
    }

    /// Whether the client's runner has ended, for whatever reason.
    pub(super) fn has_ended(&self) -> bool {
        self.runner.is_finished()
    }
}

/// Starts the runner and its supervisor. The token is in good hands from here on.
pub(super) fn supervise(charge: Charge, runner: SenderPoolRunner, token: KeyToken) -> Leash {
    let runtime = Handle::current();
    let runner = runtime.spawn(runner.run());
    let (stop, stopped) = watch::channel(false);
    let (gone_sender, gone) = watch::channel(());
    let leash = Leash { stop, gone, runner: runner.abort_handle() };
    let custody = Custody { _token: token, _gone: gone_sender };
    let supervisor = Supervisor { charge, runner, stopped, custody };
    drop(runtime.spawn(supervisor.run()));
    leash
}

/// Dropped in this order: first the key is free, then those who wait for the end learn of it.
struct Custody {
    _token: KeyToken,
    _gone: watch::Sender<()>,
}

struct Supervisor {
    charge: Charge,
    runner: JoinHandle<()>,
    stopped: watch::Receiver<bool>,
    custody: Custody,
}

impl Supervisor {
    async fn run(mut self) {
        self.forward().await;
        self.charge.health.mark_broken();
        if !self.end_runner().await {
            self.outlast_tasks().await;
        }
        let (account, slot) = (self.charge.account, self.charge.slot);
        tracing::debug!(%account, slot, "the connection is closed");
        drop(self.custody);
    }

    /// Hands updates on until the connection is dead or is no longer wanted.
    async fn forward(&mut self) {
        let Charge { account, slot, group, updates, feed, .. } = &mut self.charge;
        loop {
            let update = tokio::select! {
                biased;
                // An error means that the connection's end of the leash is dropped.
                _ = self.stopped.wait_for(|stopped| *stopped) => return,
                update = updates.recv() => update,
            };
            // Without a sender the runner has ended; it told nobody why.
            let Some(update) = update else { return };
            let closed = matches!(update, UpdatesLike::ConnectionClosed);
            feed.deliver(AccountUpdate { account: *account, slot: *slot, update }, group);
            if closed {
                // The runner may not dial again, so it is of no more use.
                return;
            }
        }
    }

    /// Ends the runner, and says whether that proves every socket closed.
    async fn end_runner(&mut self) -> bool {
        let connected = self.charge.session.seal();
        if connected {
            self.charge.handle.quit();
            let ended = tokio::time::timeout(self.charge.close_grace, &mut self.runner).await;
            if let Ok(ended) = ended {
                return self.judge(ended);
            }
        }
        self.runner.abort();
        let ended = (&mut self.runner).await;
        // Not yet connected, it had no tasks that could outlive it, whichever way it ended.
        !connected || self.judge(ended)
    }

    fn judge(&self, ended: Result<(), tokio::task::JoinError>) -> bool {
        let Err(error) = ended else { return true };
        if error.is_panic() {
            let (account, slot) = (self.charge.account, self.charge.slot);
            tracing::warn!(%account, slot, "the client panicked: its connection is lost");
        }
        false
    }

    /// Waits until tasks that were only told to end have ended.
    async fn outlast_tasks(&mut self) {
        while self.charge.updates.recv().await.is_some() {}
        tokio::task::yield_now().await;
        tokio::time::sleep(SETTLE).await;
    }
}
