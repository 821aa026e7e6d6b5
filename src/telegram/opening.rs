//! A connection on its way to being usable.
//!
//! Owns the proof of the login that is under way, and who waits for it. Never dials: the proof is
//! the client's first request, which makes it do so.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::TelegramError;
use super::logins::Logins;
use super::supervisor::Charge;

/// What the opening of a connection came to.
pub(super) type Opened = Result<(), TelegramError>;

pub(super) struct Opening<P> {
    /// `None` once it has come to something.
    proof: Option<Pin<Box<P>>>,
    logins: Arc<Logins>,
    /// Whether the session has proved its login lately. Then its connection is usable once the server
    /// has its introduction, and the proof follows.
    is_trusted: bool,
    /// Whoever waits; `None` once it was told.
    dialler: Option<oneshot::Sender<Opened>>,
}

impl<P: Future<Output = Opened>> Opening<P> {
    pub(super) fn new(proof: P, logins: Arc<Logins>, is_trusted: bool) -> Self {
        Self { proof: Some(Box::pin(proof)), logins, is_trusted, dialler: None }
    }

    /// The same, and where it tells when the connection is usable or why it is not.
    pub(super) fn begin(mut self) -> (Self, oneshot::Receiver<Opened>) {
        let (dialler, opened) = oneshot::channel();
        self.dialler = Some(dialler);
        (self, opened)
    }

    /// The server has the introduction.
    pub(super) fn connected(&mut self) {
        if self.is_trusted {
            self.tell(Ok(()));
        }
    }

    /// Looks for the proof, and draws the consequences.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, charge: &Charge) {
        let Some(proof) = &mut self.proof else { return };
        let Poll::Ready(proved) = proof.as_mut().poll(context) else { return };
        self.proof = None;
        let (account, slot) = (charge.account, charge.slot);
        match &proved {
            Ok(()) => self.logins.note(account, slot),
            Err(error) => {
                self.logins.forget(account, slot);
                if self.dialler.is_none() {
                    // Somebody may have it by now. The next dial waits for the proof, and the pool
                    // learns from what becomes of that.
                    charge.health.mark_broken();
                    tracing::info!(%account, slot, %error, "the session was taken for logged in");
                }
            }
        }
        self.tell(proved);
    }

    fn tell(&mut self, opened: Opened) {
        if let Some(dialler) = self.dialler.take() {
            // Nobody waits any more if the dial was abandoned.
            dialler.send(opened).ok();
        }
    }
}
