//! Reaper of orphaned connections: those whose supervisor ended before it could prove that their sockets
//! are closed.
//!
//! Owns the thread that waits for that in its place, and keeps the key locked until then. A runtime
//! that ends drops its tasks in any order, and a panic drops a supervisor at any point; the client's
//! tasks, which have the sockets, may go on for an instant then. Never unlocks a key before they have
//! ended: if the thread cannot be started, the key is not unlocked at all.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use grammers_client::session::updates::UpdatesLike;
use tokio::sync::{mpsc, watch};

use super::bridge::Bridge;
use super::key_lock::KeyGuard;
use crate::base::clock::{Instant, now};
use crate::base::panics::catch;

/// How long the socket may outlive the updates of an aborted task. It is closed by the next few
/// instructions of the same thread; the pause covers that thread being preempted there.
const SETTLE: Duration = Duration::from_millis(50);
/// How often it is polled whether aborted tasks have ended.
const POLL_STEP: Duration = Duration::from_millis(1);

/// The sockets of a connection, as long as one may be open: the key is locked, and somebody may wait for
/// the end. Dropped in this order: first the key is free, then those who wait learn of it.
pub(super) struct OpenSockets {
    /// Each of the client's tasks holds a sender.
    pub(super) updates: mpsc::Receiver<UpdatesLike>,
    /// The way by a proxy, until its sockets are known to be closed.
    pub(super) bridge: Option<Arc<Bridge>>,
    pub(super) guard: KeyGuard,
    _gone: watch::Sender<()>,
}

impl OpenSockets {
    /// Dropping `gone` tells of the end.
    pub(super) fn new(
        updates: mpsc::Receiver<UpdatesLike>,
        bridge: Option<Arc<Bridge>>,
        guard: KeyGuard,
        gone: watch::Sender<()>,
    ) -> Self {
        Self { updates, bridge, guard, _gone: gone }
    }
}

/// Sockets without a supervisor, and since when no task has been left.
struct Orphan {
    sockets: OpenSockets,
    since: Option<Instant>,
}

impl Orphan {
    fn is_over(&mut self) -> bool {
        let is_carried = self.sockets.bridge.as_ref().is_some_and(|bridge| !bridge.is_gone());
        let has_tasks = is_carried || self.sockets.updates.sender_strong_count() > 0;
        if self.since.is_none() && !has_tasks {
            self.since = Some(now());
        }
        self.since.is_some_and(|since| now() - since >= SETTLE)
    }
}

static REAPER: LazyLock<Option<Sender<OpenSockets>>> = LazyLock::new(|| {
    let (sender, receiver) = channel();
    let reaper = thread::Builder::new().name("telepool-keys".into());
    reaper.spawn(move || reap(&receiver)).is_ok().then_some(sender)
});

/// Unlocks the key once the sockets are closed, without anybody's waiting for it.
pub(super) fn reap_later(sockets: OpenSockets) {
    let unsent = match &*REAPER {
        Some(reaper) => reaper.send(sockets).err().map(|error| error.0),
        None => Some(sockets),
    };
    if let Some(sockets) = unsent {
        // First: a subscriber is somebody else's code.
        std::mem::forget(sockets);
        tracing::error!("no thread can be started: the key of a connection stays in use");
    }
}

fn reap(receiver: &Receiver<OpenSockets>) {
    let mut all: Vec<Orphan> = Vec::new();
    loop {
        let next = match all.is_empty() {
            true => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => receiver.recv_timeout(POLL_STEP),
        };
        match next {
            Ok(sockets) => all.push(Orphan { sockets, since: None }),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        for over in all.extract_if(.., |it| it.is_over()) {
            // Whoever waits for the key is woken by it: others' keys must not be lost to a panic there.
            catch(|| drop(over));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::session::{AuthKey, KeyId};

    #[test]
    fn a_key_comes_back_once_the_last_task_has_ended() {
        let key = KeyId::of(&AuthKey::new([111; 256]));
        let mut context = Context::from_waker(Waker::noop());
        let is_free =
            |context: &mut Context<'_>| pin!(KeyGuard::lock(key)).poll(context).is_ready();
        let std::task::Poll::Ready(Ok(guard)) = pin!(KeyGuard::lock(key)).poll(&mut context) else {
            panic!("it is free")
        };
        let (task, updates) = mpsc::channel(1);
        let (gone, told) = watch::channel(());
        reap_later(OpenSockets::new(updates, None, guard, gone));
        thread::sleep(2 * SETTLE);
        assert!(!is_free(&mut context), "the task may have its socket still");
        let ended = now();
        drop(task);
        while told.has_changed().is_ok() {
            thread::sleep(POLL_STEP);
        }
        assert!(now() - ended >= SETTLE, "the socket may outlive what the task let go of first");
        assert!(is_free(&mut context));
    }
}
