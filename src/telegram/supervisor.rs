//! The task of each connection, from before the first dial until the socket is gone.
//!
//! Owns the client's runner, the proof of the login, the updates and the token of the key. Never
//! gives the token back before the socket is closed: not when the dialling future is dropped, nor
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
//!   panics, its tasks are only aborted. Each holds a sender of the updates until it is dropped,
//!   so with the last sender the last task has ended; but a task drops the sender an instant
//!   before the socket, hence a pause after it.
//!
//! # Updates that nobody reads
//! The client hands updates on in a queue of 32 places of 5 kB each. Whatever the capacity, they
//! are all used in turn, so that a connection holds 170 kB more after 32 updates. If nobody has
//! subscribed when a connection is opened, its end of the queue is closed at once. Then the client
//! cannot tell that it lost its connection to the home; but the number of senders does.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use grammers_client::sender::{SenderPoolHandle, SenderPoolRunner};
use grammers_client::session::updates::UpdatesLike;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::custody::KeyToken;
use super::feed::{AccountUpdate, Feed};
use super::health::Health;
use super::opening::{Opened, Opening};
use super::pinned::PinnedSession;
use crate::account::AccountId;
use crate::caught::caught;

/// How long the socket may outlive the updates of an aborted task. It is closed by the next few
/// instructions of the same thread; the pause covers that thread being preempted there.
const SETTLE: Duration = Duration::from_millis(50);
/// How often it is looked whether aborted tasks have ended.
const LOOK: Duration = Duration::from_millis(1);

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
}

/// Starts the supervisor, which runs the client. The token is in good hands from here on. The other
/// answer tells when the connection may be used, or why it may not.
pub(super) fn supervise<P>(
    charge: Charge,
    runner: SenderPoolRunner,
    opening: Opening<P>,
    token: KeyToken,
) -> (Leash, oneshot::Receiver<Opened>)
where
    P: Future<Output = Opened> + Send + 'static,
{
    let (stop, stopped) = watch::channel(false);
    let (gone_sender, gone) = watch::channel(());
    let health = Arc::clone(&charge.health);
    let custody = Custody { health, _token: token, _gone: gone_sender };
    let (opening, opened) = opening.begin();
    let supervisor = Supervisor { charge, runner: Box::pin(caught(runner.run())), custody };
    drop(Handle::current().spawn(supervisor.run(opening, stopped)));
    (Leash { stop, gone }, opened)
}

/// Dropped in this order, also if the runtime ends: first nobody takes the connection for sound,
/// then the key is free, then those who wait for the end learn of it.
struct Custody {
    health: Arc<Health>,
    _token: KeyToken,
    _gone: watch::Sender<()>,
}

impl Drop for Custody {
    fn drop(&mut self) {
        self.health.mark_broken();
    }
}

/// Dropped in this order: the sockets before the right to the key.
struct Supervisor<R> {
    /// The client's runner, whose panic is `None`.
    runner: Pin<Box<R>>,
    charge: Charge,
    custody: Custody,
}

/// Why nothing comes of a connection any more.
enum End {
    /// Nobody wants it, or its socket is closed.
    Over,
    /// The runner has ended, and not by a panic.
    Ran,
    Panicked,
}

impl<R: Future<Output = Option<()>>> Supervisor<R> {
    async fn run<P>(mut self, mut opening: Opening<P>, mut stopped: watch::Receiver<bool>)
    where
        P: Future<Output = Opened>,
    {
        let end = self.serve(&mut opening, &mut stopped).await;
        self.charge.health.mark_broken();
        // Whoever still waits for it to open has nothing to wait for.
        drop(opening);
        let Self { runner, mut charge, custody } = self;
        if !end_runner(runner, end, &charge).await {
            outlast_tasks(&mut charge.updates).await;
        }
        let (account, slot) = (charge.account, charge.slot);
        tracing::debug!(%account, slot, "the connection is closed");
        drop(custody);
    }

    /// Runs the client and hands updates on until the connection is dead or is no longer wanted.
    async fn serve<P>(
        &mut self,
        opening: &mut Opening<P>,
        stopped: &mut watch::Receiver<bool>,
    ) -> End
    where
        P: Future<Output = Opened>,
    {
        let Self { charge, runner, .. } = self;
        let feed = Arc::clone(&charge.feed);
        let mut subscribed = pin!(feed.subscribed());
        // Registered before it is looked, so that no subscription is missed.
        subscribed.as_mut().enable();
        let mut tasks = if feed.has_subscriber() { None } else { Some(0) };
        if tasks.is_some() {
            charge.updates.close();
        }
        // An error means that the connection's end of the leash is dropped.
        let mut stop = pin!(stopped.wait_for(|stopped| *stopped));
        let mut is_connected = false;
        poll_fn(|context| {
            if stop.as_mut().poll(context).is_ready() {
                return Poll::Ready(End::Over);
            }
            opening.poll(context, charge);
            if let Poll::Ready(ended) = runner.as_mut().poll(context) {
                opening.poll(context, charge);
                return Poll::Ready(ended.map_or(End::Panicked, |()| End::Ran));
            }
            if !is_connected && charge.session.is_connected() {
                is_connected = true;
                opening.connected();
            }
            let over = match &mut tasks {
                None => hand_on(context, charge),
                Some(most) => {
                    if subscribed.as_mut().poll(context).is_ready() {
                        // It cannot bring what is wanted from now on.
                        charge.health.mark_spent();
                    }
                    // One sender is the runner's own.
                    let senders = charge.updates.sender_strong_count();
                    is_connected && lost_home(most, senders.saturating_sub(1), &charge.health)
                }
            };
            if over {
                // Its error says more than that the connection has ended.
                opening.poll(context, charge);
                return Poll::Ready(End::Over);
            }
            Poll::Pending
        })
        .await
    }
}

/// Hands on the updates that have come. Answers whether one of them tells the end.
fn hand_on(context: &mut Context<'_>, charge: &mut Charge) -> bool {
    let Charge { account, slot, group, updates, feed, .. } = charge;
    loop {
        match updates.poll_recv(context) {
            Poll::Pending => return false,
            // Without a sender nothing is left that could tell it.
            Poll::Ready(None) => return true,
            Poll::Ready(Some(update)) => {
                let closed = matches!(update, UpdatesLike::ConnectionClosed);
                feed.deliver(AccountUpdate { account: *account, slot: *slot, update }, group);
                if closed {
                    // The runner may not dial again, so it is of no more use.
                    return true;
                }
            }
        }
    }
}

/// Whether the connection to the home has ended, where the client cannot tell: each data centre that
/// it is connected to is a task. `most`: how many there were.
fn lost_home(most: &mut usize, tasks: usize, health: &Health) -> bool {
    if tasks < *most {
        // It may have been the home's, and then every call fails; or a foreign one's.
        health.mark_spent();
    }
    *most = tasks.max(*most);
    tasks == 0
}

/// Ends the runner, and says whether that proves every socket closed.
async fn end_runner<R: Future<Output = Option<()>>>(
    mut runner: Pin<Box<R>>,
    end: End,
    charge: &Charge,
) -> bool {
    let connected = charge.session.seal();
    let ended = match end {
        End::Ran => Some(()),
        End::Panicked => None,
        // Not yet connected, it has no tasks that could outlive it: it is only dropped.
        End::Over if !connected => return true,
        End::Over => {
            charge.handle.quit();
            match tokio::time::timeout(charge.close_grace, &mut runner).await {
                Ok(ended) => ended,
                Err(_late) => return false,
            }
        }
    };
    if ended.is_none() {
        let (account, slot) = (charge.account, charge.slot);
        tracing::warn!(%account, slot, "the client panicked: its connection is lost");
    }
    ended.is_some() || !connected
}

/// Waits until tasks that were only told to end have ended.
async fn outlast_tasks(updates: &mut mpsc::Receiver<UpdatesLike>) {
    tokio::task::yield_now().await;
    while updates.sender_strong_count() > 0 {
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(SETTLE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_the_last_task_the_home_is_lost_and_with_another_it_may_be() {
        let (health, mut most) = (Health::default(), 0);
        assert!(!lost_home(&mut most, 1, &health));
        assert!(!lost_home(&mut most, 2, &health), "a foreign data centre");
        assert!(!health.is_broken());
        assert!(!lost_home(&mut most, 1, &health));
        assert!(health.is_broken() && !health.is_dead(), "one of the two is gone");
        assert!(lost_home(&mut most, 0, &health));
    }
}
