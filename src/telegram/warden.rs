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
use tokio::sync::mpsc;

use super::custody::KeyToken;
use crate::clock::{Instant, now};

/// How long the socket may outlive the updates of an aborted task. It is closed by the next few
/// instructions of the same thread; the pause covers that thread being preempted there.
pub(super) const SETTLE: Duration = Duration::from_millis(50);
/// How often it is looked whether aborted tasks have ended.
pub(super) const LOOK: Duration = Duration::from_millis(1);

/// What keeps a key from being used, and what tells when it may be.
pub(super) struct Ward<G> {
    /// Each of the client's tasks holds a sender.
    pub(super) updates: mpsc::Receiver<UpdatesLike>,
    pub(super) token: KeyToken,
    /// Whoever waits for the end learns of it when this is dropped.
    pub(super) gone: G,
}

type Hold = Box<dyn Send>;

/// The same, and since when no task has been left.
struct Waiting {
    updates: mpsc::Receiver<UpdatesLike>,
    /// Dropped with this: the token, then what tells of it.
    _hold: (KeyToken, Hold),
    since: Option<Instant>,
}

static WARDEN: LazyLock<Option<Sender<Waiting>>> = LazyLock::new(|| {
    let (sender, receiver) = channel();
    let warden = thread::Builder::new().name("telepool-keys".into());
    warden.spawn(move || watch(&receiver)).is_ok().then_some(sender)
});

/// Gives the key back once the sockets are closed, without anybody's waiting for it.
pub(super) fn give_back_later<G: Send + 'static>(ward: Ward<G>) {
    let Ward { updates, token, gone } = ward;
    let waiting = Waiting { updates, _hold: (token, Box::new(gone)), since: None };
    let unheard = match &*WARDEN {
        Some(warden) => warden.send(waiting).err().map(|error| error.0),
        None => Some(waiting),
    };
    if let Some(waiting) = unheard {
        tracing::error!("no thread can be started: the key of a connection stays in use");
        std::mem::forget(waiting);
    }
}

fn watch(receiver: &Receiver<Waiting>) {
    let mut all: Vec<Waiting> = Vec::new();
    loop {
        let next = match all.is_empty() {
            true => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => receiver.recv_timeout(LOOK),
        };
        match next {
            Ok(waiting) => all.push(waiting),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        all.extend(receiver.try_iter());
        all.retain_mut(|it| {
            if it.since.is_none() && it.updates.sender_strong_count() == 0 {
                it.since = Some(now());
            }
            it.since.is_none_or(|since| now() - since < SETTLE)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::session::AuthKey;

    #[test]
    fn a_key_comes_back_once_the_last_task_has_ended() {
        let key = AuthKey::new([111; 256]);
        let mut context = Context::from_waker(Waker::noop());
        let is_free =
            |context: &mut Context<'_>| pin!(KeyToken::take(&key)).poll(context).is_ready();
        let std::task::Poll::Ready(token) = pin!(KeyToken::take(&key)).poll(&mut context) else {
            panic!("it is free")
        };
        let (task, updates) = mpsc::channel(1);
        let (gone, told) = channel::<()>();
        give_back_later(Ward { updates, token, gone });
        thread::sleep(2 * SETTLE);
        assert!(!is_free(&mut context), "the task may have its socket still");
        drop(task);
        told.recv().unwrap_err();
        assert!(is_free(&mut context));
    }
}
