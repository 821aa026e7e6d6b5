//! A connection on its way to being usable.
//!
//! Owns the proof of the login that is under way, and who waits for it. Never dials: the proof is
//! the client's first request, which makes it do so.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::task::coop::{Unconstrained, unconstrained};

use super::logins::{Begun, Logins};
use super::supervisor::Charge;
use super::{TelegramError, verdict};
use crate::base::caught::text_of;
use crate::manager::Reaction;

/// What the opening of a connection came to.
pub(super) type Opened = Result<(), TelegramError>;

pub(super) struct Opening<P> {
    /// `None` once it has come to something. It is asked last when the connection ends, and has to
    /// answer then, whatever else was done in that turn: hence without the runtime's constraint.
    proof: Option<Pin<Box<Unconstrained<P>>>>,
    begun: Begun,
    logins: Arc<Logins>,
    /// Whether the session has proved its login lately. Then its connection is usable once the server
    /// has its introduction, and the proof follows.
    is_trusted: bool,
    /// What is to be told.
    outcome: Option<Opened>,
    /// Whoever waits; `None` once it was told.
    dialler: Option<oneshot::Sender<Opened>>,
}

impl<P: Future<Output = Opened>> Opening<P> {
    /// The other answer tells when the connection may be used, or why it may not.
    pub(super) fn new(
        proof: P,
        logins: Arc<Logins>,
        (is_trusted, begun): (bool, Begun),
    ) -> (Self, oneshot::Receiver<Opened>) {
        let (dialler, opened) = oneshot::channel();
        let (proof, dialler) = (Some(Box::pin(unconstrained(proof))), Some(dialler));
        (Self { proof, begun, logins, is_trusted, outcome: None, dialler }, opened)
    }

    /// The server has the introduction.
    pub(super) fn connected(&mut self) {
        if self.is_trusted && self.outcome.is_none() {
            self.outcome = Some(Ok(()));
        }
    }

    /// Looks for the proof, and draws the consequences.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, charge: &Charge) {
        let Some(proof) = &mut self.proof else { return };
        let Poll::Ready(proved) = proof.as_mut().poll(context) else { return };
        self.proof = None;
        let (account, slot) = (charge.account, charge.slot);
        match &proved {
            Ok(()) => {
                charge.health.hear();
                charge.health.prove();
                self.logins.note(account, slot, self.begun);
            }
            Err(error) => {
                self.logins.forget(account, slot);
                // Somebody may have it by now. The next dial waits for the proof, and the pool learns
                // from what becomes of that.
                if self.dialler.is_none() {
                    let text = text_of(error);
                    tracing::info!(%account, slot, error = %text, "the session was taken for logged in");
                    if verdict(error).reaction != Reaction::Keep {
                        charge.health.mark_broken();
                    }
                }
            }
        }
        self.outcome = Some(proved);
    }

    /// Whether there is something to tell.
    pub(super) fn has_news(&self) -> bool {
        self.outcome.is_some() && self.dialler.is_some()
    }

    /// Tells it.
    pub(super) fn tell(&mut self) {
        if let Some(opened) = self.outcome.take()
            && let Some(dialler) = self.dialler.take()
        {
            // Nobody waits any more if the dial was abandoned.
            dialler.send(opened).ok();
        }
    }
}
