//! What a dial tells of the address that it went to.
//!
//! Owns the reading of its end: whether the address answers, does not, or nothing can be said. The limiter
//! of the egress keeps it.

use std::sync::Arc;

use super::Attempt;
use crate::base::text::display_safely;
use crate::error::DialError;
use crate::events::Event;
use crate::limits::dialing::DialPermit;
use crate::manager::{ErrorKind, Manager, Reaction};

impl<M: Manager> Attempt<M> {
    /// Whether a failed dial says that its address does not answer, or that it does; `None`: neither.
    pub(super) fn says_silent(&self, error: &DialError<M::Error>) -> Option<bool> {
        let context = self.inner.context();
        let error = match error {
            DialError::Timeout(_) => return Some(true),
            DialError::Connect(error) => error,
            _ => return None,
        };
        match (context.react(error), context.kind(error)) {
            (
                Reaction::Discard | Reaction::Check,
                ErrorKind::Io | ErrorKind::Refused | ErrorKind::Timeout,
            ) => Some(true),
            // The manager may not have come so far as to dial, or somebody else is there.
            (Reaction::Discard | Reaction::Check | Reaction::Keep, ErrorKind::Protocol) => None,
            // What the server says proves that it is there, also if it is a refusal.
            _ => Some(false),
        }
    }

    /// What a failed dial says of the address. Returns whether it was known to be down.
    pub(super) fn judge_address(
        &self,
        error: &DialError<M::Error>,
        permit: &mut DialPermit,
    ) -> bool {
        let inner = &self.inner;
        let context = inner.context();
        match self.says_silent(error) {
            Some(true) => {}
            Some(false) => {
                self.note_answer(permit);
                return false;
            }
            None => return false,
        }
        let is_trial = permit.is_trial();
        let text: Arc<str> = display_safely(error).into();
        let (account, now) = (inner.pool.account(), context.clock.tick());
        if permit.note_failure(account, &text, now, context.share()) {
            let address = permit.address().cloned().unwrap_or_else(|| Arc::from(""));
            tracing::warn!(%address, error = %text, "an address does not answer: it is tried seldom");
            context.events.emit(|| Event::AddressDown { address, error: text });
        }
        is_trial
    }

    pub(super) fn note_answer(&self, permit: &mut DialPermit) {
        if permit.note_answer() {
            let address = permit.address().cloned().unwrap_or_else(|| Arc::from(""));
            tracing::info!(%address, "an address answers again");
            self.inner.context().events.emit(|| Event::AddressUp { address });
        }
    }
}
