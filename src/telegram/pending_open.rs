//! Open of a connection that is under way: it is dialled, but not usable yet.
//!
//! Owns the login check that is under way, and who waits for it. Never dials; where a client does, the check is its
//! first request, which makes it do so.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::task::coop::{Unconstrained, unconstrained};

use super::health::ConnectionHealth;
use super::login_cache::{LoginCache, PendingCheck};
use super::{TelegramError, verdict};
use crate::account_id::AccountId;
use crate::base::text::display_safely;
use crate::manager::Reaction;

/// What the open of a connection came to.
pub(super) type OpenResult = Result<(), TelegramError>;

/// An open that is under way.
pub(super) struct PendingOpen<P> {
    /// The login check; `None` once it has come to something. It is asked last when the connection ends, and has to
    /// answer then, whatever else was done in that turn: hence without the runtime's constraint.
    check: Option<Pin<Box<Unconstrained<P>>>>,
    begun: PendingCheck,
    logins: Arc<LoginCache>,
    session: (AccountId, u16),
    health: Arc<ConnectionHealth>,
    /// Whether the session has passed a login check lately. Then its connection is usable once the server
    /// has its introduction, and the check follows.
    is_trusted: bool,
    /// What is to be told.
    outcome: Option<OpenResult>,
    /// Whoever waits; `None` once it was told.
    dialler: Option<oneshot::Sender<OpenResult>>,
}

impl<P: Future<Output = OpenResult>> PendingOpen<P> {
    /// The other answer tells when the connection may be used, or why it may not.
    pub(super) fn new(
        check: P,
        logins: Arc<LoginCache>,
        (is_trusted, begun): (bool, PendingCheck),
        (account, slot): (AccountId, u16),
        health: Arc<ConnectionHealth>,
    ) -> (Self, oneshot::Receiver<OpenResult>) {
        let (dialler, opened) = oneshot::channel();
        let (check, dialler) = (Some(Box::pin(unconstrained(check))), Some(dialler));
        let (outcome, session) = (None, (account, slot));
        (Self { check, begun, logins, session, health, is_trusted, outcome, dialler }, opened)
    }

    /// The server has the introduction.
    pub(super) fn connected(&mut self) {
        if self.is_trusted && self.outcome.is_none() {
            self.outcome = Some(Ok(()));
        }
    }

    /// Polls the login check, and draws the consequences.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) {
        let Some(check) = &mut self.check else { return };
        let Poll::Ready(checked) = check.as_mut().poll(context) else { return };
        self.check = None;
        let (account, slot) = self.session;
        match &checked {
            Ok(()) => {
                self.health.note_answer();
                self.health.note_login();
                self.logins.note(account, slot, self.begun);
            }
            Err(error) => {
                self.logins.forget(account, slot);
                // Somebody may have it by now. The next dial waits for its check, and the pool learns
                // from what becomes of that.
                if self.dialler.is_none() {
                    let text = display_safely(error);
                    tracing::info!(%account, slot, error = %text, "the session was taken for logged in");
                    if verdict(error).reaction != Reaction::Keep {
                        self.health.mark_broken();
                    }
                }
            }
        }
        self.outcome = Some(checked);
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
