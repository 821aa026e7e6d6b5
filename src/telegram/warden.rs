//! Keys whose supervisor ended before it could prove that their sockets are closed.
//!
//! Owns the thread that waits in its place. A runtime that ends drops its tasks in any order, and a
//! panic drops a supervisor at any point; the client's tasks, which have the sockets, may go on for an
//! instant then. Never gives a key back before they have ended: if the thread cannot be started, the
//! key is not given back at all.

use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use grammers_client::session::updates::UpdatesLike;
use tokio::sync::{mpsc, watch};

use super::custody::KeyToken;
use crate::base::caught::harmless;
use crate::base::clock::{Instant, now};

/// How long the socket may outlive the updates of an aborted task. It is closed by the next few
/// instructions of the same thread; the pause covers that thread being preempted there.
const SETTLE: Duration = Duration::from_millis(50);
/// How often it is looked whether aborted tasks have ended.
const LOOK: Duration = Duration::from_millis(1);

/// What keeps a key from being used, and what tells when it may be. Dropped in this order: first the
/// key is free, then those who wait for the end learn of it.
pub(super) struct Ward {
    /// Each of the client's tasks holds a sender.
    pub(super) updates: mpsc::Receiver<UpdatesLike>,
    pub(super) token: KeyToken,
    _gone: watch::Sender<()>,
}

impl Ward {
    /// Dropping `gone` tells of the end.
    pub(super) fn new(
        updates: mpsc::Receiver<UpdatesLike>,
        token: KeyToken,
        gone: watch::Sender<()>,
    ) -> Self {
        Self { updates, token, _gone: gone }
    }
}

/// The same, and since when no task has been left.
struct Waiting {
    ward: Ward,
    since: Option<Instant>,
}

impl Waiting {
    fn is_over(&mut self) -> bool {
        if self.since.is_none() && self.ward.updates.sender_strong_count() == 0 {
            self.since = Some(now());
        }
        self.since.is_some_and(|since| now() - since >= SETTLE)
    }
}

static WARDEN: LazyLock<Option<Sender<Ward>>> = LazyLock::new(|| {
    let (sender, receiver) = channel();
    let warden = thread::Builder::new().name("telepool-keys".into());
    warden.spawn(move || watch(&receiver)).is_ok().then_some(sender)
});

/// Gives the key back once the sockets are closed, without anybody's waiting for it.
pub(super) fn give_back_later(ward: Ward) {
    let unheard = match &*WARDEN {
        Some(warden) => warden.send(ward).err().map(|error| error.0),
        None => Some(ward),
    };
    if let Some(ward) = unheard {
        // First: a subscriber is somebody else's code.
        std::mem::forget(ward);
        tracing::error!("no thread can be started: the key of a connection stays in use");
    }
}

fn watch(receiver: &Receiver<Ward>) {
    let mut all: Vec<Waiting> = Vec::new();
    loop {
        let next = match all.is_empty() {
            true => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => receiver.recv_timeout(LOOK),
        };
        match next {
            Ok(ward) => all.push(Waiting { ward, since: None }),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        for over in all.extract_if(.., |it| it.is_over()) {
            // Whoever waits for the key is woken by it: others' keys must not be lost to a panic there.
            harmless(|| drop(over));
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
            |context: &mut Context<'_>| pin!(KeyToken::take(key)).poll(context).is_ready();
        let std::task::Poll::Ready(Ok(token)) = pin!(KeyToken::take(key)).poll(&mut context) else {
            panic!("it is free")
        };
        let (task, updates) = mpsc::channel(1);
        let (gone, told) = watch::channel(());
        give_back_later(Ward::new(updates, token, gone));
        thread::sleep(2 * SETTLE);
        assert!(!is_free(&mut context), "the task may have its socket still");
        let ended = now();
        drop(task);
        while told.has_changed().is_ok() {
            thread::sleep(LOOK);
        }
        assert!(now() - ended >= SETTLE, "the socket may outlive what the task let go of first");
        assert!(is_free(&mut context));
    }
}
