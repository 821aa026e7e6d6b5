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
//!   panics, its tasks are only aborted, and the key is left to the `warden`. Each task holds a sender
//!   of the updates until it is dropped, so with the last sender the last task has ended; but a task
//!   drops the sender an instant before the socket, hence a pause after it.
//! - The same if the supervisor itself is dropped on the way, by a runtime that ends or by a panic.
//!
//! # When the server has noticed
//! A socket that is closed here is closed for us. The server learns of it if the line is sound, so a
//! connection that is not wanted any more is asked for a last answer, unless there was one just now.
//! One that gives none, or fell silent before (`pulse`), may be open at the server's end until its
//! timer strikes: its key rests for as long. So it does after a fence, when the process did not run for
//! long: such a connection is cut without a word.
//!
//! # When the home is lost
//! The client announces it among the updates, unless their queue is full or closed. So it is read from
//! the number of senders as well: with the last task the home is gone. If another task is left, a ping
//! decides.
//!
//! # Updates that nobody reads
//! The client hands updates on in a queue of blocks of 32 places, of 5 kB each. Whatever the capacity,
//! the places are used in turn, so that a connection holds 170 or 340 kB more after some updates. If
//! nobody has subscribed when a connection becomes usable, the queue is closed.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use grammers_client::sender::{SenderPoolHandle, SenderPoolRunner};
use grammers_client::session::updates::UpdatesLike;
use grammers_client::tl::{Serializable as _, functions};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::connection::send;
use super::custody::{KeyToken, mark_ending};
use super::feed::{AccountUpdate, Feed};
use super::health::Health;
use super::opening::{Opened, Opening};
use super::pinned::PinnedSession;
use super::pulse::{Pulse, Silent, ping};
use super::warden::{Ward, give_back_later};
use crate::account_id::AccountId;
use crate::base::caught::caught;
use crate::ownership::{Epoch, Fence};
use crate::session::KeyId;

/// How long a server that has left no call without an answer may take for the last one.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// An answer that is no older proves that the line is sound.
const FRESH: Duration = Duration::from_millis(100);

/// What a supervisor takes charge of.
pub(super) struct Charge {
    pub(super) account: AccountId,
    pub(super) slot: u16,
    /// The account's group, which what it misses is counted by.
    pub(super) group: Arc<str>,
    pub(super) data_centre: i32,
    pub(super) handle: SenderPoolHandle,
    pub(super) session: Arc<PinnedSession>,
    pub(super) health: Arc<Health>,
    pub(super) feed: Arc<Feed>,
    pub(super) close_grace: Duration,
    pub(super) call_timeout: Duration,
    /// For how long the key rests if the server may not have noticed the end.
    pub(super) redial_after_loss: Duration,
    /// When the connection began, as far as fences are concerned.
    pub(super) epoch: Epoch,
    pub(super) fence: watch::Receiver<Fence>,
}

/// The connection's end of the supervision. Dropping it ends the connection.
#[derive(Debug)]
pub(super) struct Leash {
    key: KeyId,
    stop: watch::Sender<bool>,
    gone: watch::Receiver<()>,
}

impl Leash {
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

impl Drop for Leash {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the supervisor, which runs the client. The token is in good hands from here on.
pub(super) fn supervise<P>(
    charge: Charge,
    runner: SenderPoolRunner,
    updates: mpsc::Receiver<UpdatesLike>,
    opening: Opening<P>,
    token: KeyToken,
) -> Leash
where
    P: Future<Output = Opened> + Send + 'static,
{
    // Boxed inside as well: a future that is moved into another one takes its room twice.
    let runner = Box::pin(caught(Box::pin(runner.run())));
    watch_over(charge, runner, updates, opening, token)
}

fn watch_over<R, P>(
    charge: Charge,
    runner: Pin<Box<R>>,
    updates: mpsc::Receiver<UpdatesLike>,
    opening: Opening<P>,
    token: KeyToken,
) -> Leash
where
    R: Future<Output = Option<()>> + Send + 'static,
    P: Future<Output = Opened> + Send + 'static,
{
    let (stop, stopped) = watch::channel(false);
    let (gone_sender, gone) = watch::channel(());
    let key = token.key();
    let health = Arc::clone(&charge.health);
    let redial_after_loss = charge.redial_after_loss;
    let ward = Some(Ward::new(updates, token, gone_sender));
    let custody = Custody { health, redial_after_loss, ward };
    let supervisor = Supervisor { charge, runner, custody };
    drop(Handle::current().spawn(supervisor.run(opening, stopped)));
    Leash { key, stop, gone }
}

/// The right to the key. Dropped before it is proved that every socket is closed, it leaves the key to
/// the warden.
struct Custody {
    health: Arc<Health>,
    redial_after_loss: Duration,
    /// `None` once it is proved that the sockets are closed.
    ward: Option<Ward>,
}

impl Custody {
    fn updates(&mut self) -> &mut mpsc::Receiver<UpdatesLike> {
        &mut self.ward.as_mut().expect("BUG: updates of a connection that has ended").updates
    }

    /// The key must rest for so long once the sockets are closed.
    fn rest(&mut self, rest: Duration) {
        if let Some(ward) = &mut self.ward {
            ward.token.rest(rest);
        }
    }

    /// Every socket is closed here.
    fn end(mut self) {
        drop(self.ward.take());
    }
}

impl Drop for Custody {
    fn drop(&mut self) {
        // Nobody takes the connection for sound any more.
        self.health.mark_broken();
        if let Some(mut ward) = self.ward.take() {
            // Cut short, it has asked for no last answer.
            if self.health.has_unanswered() {
                ward.token.rest(self.redial_after_loss);
            }
            give_back_later(ward);
        }
    }
}

struct Supervisor<R> {
    /// The client's runner, whose panic is `None`.
    runner: Pin<Box<R>>,
    charge: Charge,
    custody: Custody,
}

/// Why nothing comes of a connection any more.
enum End {
    /// Nobody wants it.
    Unwanted,
    /// Its socket is closed.
    Over,
    /// The runner has ended, and not by a panic.
    Ran,
    Panicked,
    /// The server says nothing any more.
    Silent,
    /// The process did not run for so long.
    Fenced(Duration),
}

/// What the end of a runner came to.
struct Parted {
    /// Whether it proves every socket closed.
    closed: bool,
    /// For how long the key must rest.
    rest: Duration,
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
        let Self { runner, charge, mut custody } = self;
        let (account, slot) = (charge.account, charge.slot);
        let Parted { closed, rest } = end_runner(runner, end, &charge).await;
        if !rest.is_zero() {
            tracing::info!(
                %account, slot, ?rest,
                "the server may not have noticed the end of a connection: the session rests"
            );
            custody.rest(rest);
        }
        if closed {
            tracing::debug!(%account, slot, "the connection is closed");
            custody.end();
        }
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
        let Self { charge, runner, custody } = self;
        let updates = custody.updates();
        // An error means that the connection's end of the leash is dropped.
        let mut stop = pin!(stopped.wait_for(|stopped| *stopped));
        let mut fence = pin!(fenced(charge.fence.clone(), charge.epoch));
        let mut home = Home::default();
        let mut pulse = Pulse::new();
        let mut is_connected = false;
        poll_fn(|context| {
            if let Poll::Ready(stopped) = fence.as_mut().poll(context) {
                return Poll::Ready(End::Fenced(stopped));
            }
            if stop.as_mut().poll(context).is_ready() {
                return Poll::Ready(End::Unwanted);
            }
            opening.poll(context, charge);
            let ran = match runner.as_mut().poll(context) {
                Poll::Ready(ended) => Some(ended.map_or(End::Panicked, |()| End::Ran)),
                Poll::Pending => None,
            };
            if !is_connected && charge.session.is_connected() {
                is_connected = true;
                charge.health.hear();
                opening.connected();
            }
            let told_end = hand_on(context, charge, updates);
            let end = ran.or_else(|| {
                let is_over = told_end || is_connected && home.is_lost(context, charge, updates);
                is_over.then_some(End::Over)
            });
            let end = end.or_else(|| {
                let is_silent = is_connected && pulse.poll(context, charge) == Some(Silent);
                is_silent.then_some(End::Silent)
            });
            if end.is_some() {
                // Its error says more than that the connection has ended.
                opening.poll(context, charge);
            }
            if opening.has_news() {
                close_unless_read(charge, updates);
                opening.tell();
            }
            end.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Closes the queue of updates if nobody reads them.
fn close_unless_read(charge: &Charge, updates: &mut mpsc::Receiver<UpdatesLike>) {
    // Before it is looked whether somebody has: a subscription in between counts as a later one.
    let subscriptions = charge.feed.subscriptions();
    if !charge.feed.has_subscriber() {
        updates.close();
        charge.health.mark_deaf(subscriptions);
    }
}

/// Hands on the updates that have come. Returns whether one of them tells the end.
fn hand_on(
    context: &mut Context<'_>,
    charge: &Charge,
    updates: &mut mpsc::Receiver<UpdatesLike>,
) -> bool {
    while let Poll::Ready(Some(update)) = updates.poll_recv(context) {
        let closed = matches!(update, UpdatesLike::ConnectionClosed);
        deliver(charge, update);
        if closed {
            // The runner may not dial again, so it is of no more use.
            return true;
        }
    }
    // A queue that is closed and empty tells nothing.
    false
}

fn deliver(charge: &Charge, update: UpdatesLike) {
    if !matches!(update, UpdatesLike::ConnectionClosed) {
        charge.health.hear();
    }
    let (account, slot) = (charge.account, charge.slot);
    charge.feed.deliver(AccountUpdate { account, slot, update }, &charge.group);
}

/// Whether the connection to the home stands, by the number of the client's tasks: each data centre
/// that it is connected to is one.
#[derive(Default)]
struct Home {
    tasks: usize,
    /// A ping, while it is in doubt which one has ended.
    doubt: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
}

impl Home {
    fn is_lost(
        &mut self,
        context: &mut Context<'_>,
        charge: &Charge,
        updates: &mpsc::Receiver<UpdatesLike>,
    ) -> bool {
        // One sender is the runner's own.
        let tasks = updates.sender_strong_count().saturating_sub(1);
        if tasks < self.tasks && tasks > 0 {
            self.doubt = Some(Box::pin(ping_fails(charge)));
        }
        self.tasks = tasks;
        let is_lost = tasks == 0 || self.doubt_is_right(context);
        if is_lost {
            deliver(charge, UpdatesLike::ConnectionClosed);
        }
        is_lost
    }

    fn doubt_is_right(&mut self, context: &mut Context<'_>) -> bool {
        let Some(doubt) = &mut self.doubt else { return false };
        let Poll::Ready(is_right) = doubt.as_mut().poll(context) else { return false };
        self.doubt = None;
        is_right
    }
}

/// Whether the home does not answer. Without a connection to it the client asks for an address to
/// dial, and gets none.
fn ping_fails(charge: &Charge) -> impl Future<Output = bool> + Send + use<> {
    let (handle, data_centre) = (charge.handle.clone(), charge.data_centre);
    let limit = charge.call_timeout;
    async move {
        let ping = functions::Ping { ping_id: 0 }.to_bytes();
        send::<functions::Ping>(&handle, data_centre, ping, limit).await.is_err()
    }
}

/// Waits for a fence that ends what began in this epoch. Returns for how long the process did not run.
async fn fenced(mut fence: watch::Receiver<Fence>, epoch: Epoch) -> Duration {
    match fence.wait_for(|fence| fence.epoch > epoch).await.map(|fence| fence.stopped) {
        Ok(stopped) => stopped,
        // Nobody is left who could raise one.
        Err(_) => std::future::pending().await,
    }
}

/// Ends the runner.
async fn end_runner<R: Future<Output = Option<()>>>(
    mut runner: Pin<Box<R>>,
    end: End,
    charge: &Charge,
) -> Parted {
    let connected = charge.session.seal();
    let cut = |rest| Parted { closed: false, rest };
    let lost = charge.redial_after_loss;
    let ended = match end {
        End::Ran => Some(Some(())),
        End::Panicked => Some(None),
        // Not yet connected, it has no tasks that could outlive it: it is only dropped.
        _ if !connected => return Parted { closed: true, rest: Duration::ZERO },
        // Without another word: what could still be written may come too late.
        End::Fenced(stopped) => return cut(lost.saturating_sub(stopped)),
        End::Silent => return cut(lost),
        End::Over => quit(&mut runner, charge).await,
        End::Unwanted => match last_words(&mut runner, charge).await {
            LastWords::Heard => quit(&mut runner, charge).await,
            LastWords::Ended(ended) => Some(ended),
            LastWords::Silence => return cut(lost),
        },
    };
    let Some(ended) = ended else { return cut(Duration::ZERO) };
    if ended.is_none() {
        let (account, slot) = (charge.account, charge.slot);
        tracing::warn!(%account, slot, "the client panicked: its connection is lost");
    }
    Parted { closed: ended.is_some() || !connected, rest: Duration::ZERO }
}

/// Asks the runner to quit, which it does once its sockets are closed. `None`: not in time.
async fn quit<R: Future<Output = Option<()>>>(
    runner: &mut Pin<Box<R>>,
    charge: &Charge,
) -> Option<Option<()>> {
    charge.handle.quit();
    tokio::time::timeout(charge.close_grace, runner).await.ok()
}

/// What a connection that is not wanted any more was asked for.
enum LastWords {
    /// The server has answered just now: it will notice that the connection is closed.
    Heard,
    Silence,
    /// The runner has ended meanwhile; `None` if by a panic.
    Ended(Option<()>),
}

async fn last_words<R: Future<Output = Option<()>>>(
    runner: &mut Pin<Box<R>>,
    charge: &Charge,
) -> LastWords {
    if charge.health.has_answered_within(FRESH) {
        return LastWords::Heard;
    }
    let limit = match charge.health.has_unanswered() {
        true => charge.close_grace,
        false => LAST_WORDS.min(charge.call_timeout),
    };
    let mut last = pin!(ping(charge, limit));
    poll_fn(|context| match last.as_mut().poll(context) {
        Poll::Ready(Ok(())) => Poll::Ready(LastWords::Heard),
        Poll::Ready(Err(Silent)) => Poll::Ready(LastWords::Silence),
        // The question is put by the client, which runs on in here.
        Poll::Pending => runner.as_mut().poll(context).map(LastWords::Ended),
    })
    .await
}

#[cfg(test)]
mod tests;
