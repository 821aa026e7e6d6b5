//! What an error does to an account: the manager says which reaction, and this carries it out.
//!
//! Owns the steps of each reaction. Never decides which it is, and never closes a connection itself.

use std::sync::Arc;
use std::time::Duration;

use super::AccountInner;
use crate::base::panics::call_manager;
use crate::base::text::display_safely;
use crate::connection::CloseReason;
use crate::engine::Connection;
use crate::events::Event;
use crate::manager::{FLOOD_CLASSES_MAX, Manager, Reaction};

impl<M: Manager> AccountInner<M> {
    /// Learns from an error of a connect, a check or a call. Returns how, and whether the connection,
    /// if there is one, must go.
    pub(crate) fn learn(
        self: &Arc<Self>,
        error: &M::Error,
        slot: u16,
        connection: Option<&Connection<M::Connection>>,
    ) -> (Reaction, Option<CloseReason>) {
        let context = self.context();
        let account = self.pool.account();
        let kind = context.kind(error);
        if let Some(connection) = connection {
            let text = display_safely(error);
            self.counters().count_error(kind);
            context.events.emit(|| Event::ConnectionError {
                account,
                id: connection.id,
                kind,
                error: Arc::from(text.as_str()),
            });
            self.pool.note_error(&text, context.clock.tick());
            connection.count_error(text);
        }
        let reaction = context.react(error);
        let reason = self.apply_reaction(&reaction, error, slot, connection);
        (reaction, reason)
    }

    /// Does what the manager makes of an error. Returns whether the connection, if there is one, must
    /// go.
    pub(crate) fn apply_reaction(
        self: &Arc<Self>,
        reaction: &Reaction,
        error: &M::Error,
        slot: u16,
        connection: Option<&Connection<M::Connection>>,
    ) -> Option<CloseReason> {
        let context = self.context();
        let account = self.pool.account();
        match *reaction {
            Reaction::Keep => None,
            Reaction::Check => {
                if let Some(connection) = connection {
                    connection.set_suspect(true);
                }
                None
            }
            Reaction::Discard | Reaction::Exhausted => Some(CloseReason::Broken),
            Reaction::CoolDown { key, wait } => {
                self.cool_down(key, wait);
                None
            }
            Reaction::Restricted => {
                let error: Arc<str> = display_safely(error).into();
                tracing::warn!(%account, %error, "restricted: no waiting mends this");
                context.events.emit(|| Event::Restricted { account, error });
                None
            }
            Reaction::TripBreaker => {
                let limiter = context.dial_limiter(&self.egress);
                limiter.trip(context.clock.tick());
                let error = display_safely(error);
                tracing::warn!(%account, %error, "dials are slowed down: the server refused one");
                Some(CloseReason::Broken)
            }
            Reaction::QuarantineSession(reason) => {
                self.quarantine(Some(slot), reason);
                Some(CloseReason::Quarantine)
            }
            Reaction::QuarantineAccount(reason) => {
                self.quarantine(None, reason);
                Some(CloseReason::Quarantine)
            }
        }
    }

    fn cool_down(self: &Arc<Self>, key: u32, wait: Duration) {
        let now = self.context().clock.tick();
        self.apply(self.pool.cool_down(key, now + crate::base::clock::millis(wait), now));
        let class = || self.context().manager.metrics().map(|it| it.flood_class(key));
        let class = call_manager("flood_class", class).flatten().unwrap_or(usize::MAX);
        // Whatever number it is: it names no dial.
        let class = if class < FLOOD_CLASSES_MAX { class } else { usize::MAX };
        self.report_flood(class, key, wait);
    }

    /// The server would have a method rest, or with it every dial of the account.
    pub(crate) fn report_flood(&self, class: usize, key: u32, wait: Duration) {
        self.counters().count_flood(class, wait);
        let account = self.pool.account();
        tracing::info!(%account, method = format_args!("{key:#010x}"), ?wait, "a method rests: flood");
        self.context().events.emit(|| Event::FloodWait { account, key, wait });
    }
}
