//! What an account reports: events, log lines and counters that belong together.

use std::panic::Location;
use std::time::Duration;

use super::AccountInner;
use crate::base::panics::call_manager;
use crate::base::sync::Ordering;
use crate::connection::CloseReason;
use crate::engine::Connection;
use crate::events::Event;
use crate::manager::Manager;
use crate::stats::Measure;

impl<M: Manager> AccountInner<M> {
    /// Tells that the account has left the registry, which has kept its totals.
    pub(crate) fn report_forgotten(&self) {
        let account = self.pool.account();
        self.context().events.emit(|| Event::AccountClosed { account });
    }

    /// If somebody reads what comes unasked, and this was the account's last connection, that is missed
    /// from now on. Not told where the end is meant: of an account that was removed, or of the pool.
    pub(super) fn report_unheard_updates(
        &self,
        connection: &Connection<M::Connection>,
        reason: CloseReason,
    ) {
        if reason == CloseReason::Shutdown || self.pool.is_open() {
            return;
        }
        if self.is_listened_to(connection) {
            let account = self.pool.account();
            self.counters().updates_interrupted.fetch_add(1, Ordering::Relaxed);
            tracing::info!(%account, reason = reason.label(), "updates are late until the next dial");
            self.context().events.emit(|| Event::UpdatesInterrupted { account, reason });
        }
    }

    /// Whether somebody reads what a connection brings unasked.
    pub(crate) fn is_listened_to(&self, connection: &Connection<M::Connection>) -> bool {
        let Some(live) = connection.live() else { return false };
        let ask = || self.context().manager.is_listened_to(&live.connection);
        call_manager("is_listened_to", ask).unwrap_or(false)
    }

    /// A lease has been held for so many milliseconds that it may have been forgotten.
    pub(crate) fn report_held(&self, connection: &Connection<M::Connection>, held: u64) {
        let (account, id) = (self.pool.account(), connection.id);
        let held = Duration::from_millis(held);
        let site = connection.held().and_then(|held| held.site);
        self.counters().lease_leaks.fetch_add(1, Ordering::Relaxed);
        let at = site.map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%account, %id, ?held, at, "a lease is held for long: was it forgotten?");
        self.context().events.emit(|| Event::LeaseHeld { account, id, held, site });
    }

    /// An acquire got its lease after a wait.
    pub(crate) fn report_waited(&self, waited: Duration, site: &'static Location<'static>) {
        self.counters().observe(Measure::AcquireWait, waited);
        if waited > Duration::from_millis(self.context().hot.slow_acquire_ms()) {
            self.report_slow(waited, site);
        }
    }

    #[cold]
    fn report_slow(&self, waited: Duration, site: &'static Location<'static>) {
        let account = self.pool.account();
        self.counters().slow_acquires.fetch_add(1, Ordering::Relaxed);
        if self.context().may_warn() {
            tracing::warn!(%account, ?waited, at = %site, "an acquire was slow (told once a second)");
        }
        self.context().events.emit(|| Event::SlowAcquire { account, waited, site });
    }
}
