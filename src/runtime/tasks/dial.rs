//! One dial, from its order to a pooled connection or a slot given back.
//!
//! Owns the attempt's guard: however the attempt ends, also by a panic or with the runtime, its
//! slot and its permits come back, and whoever waited hears of it.

mod address;
mod waits;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use self::waits::within;
use crate::base::clock::millis;
use crate::base::panics::catch_future;
use crate::base::text::display_safely;
use crate::connection::ConnectionId;
use crate::engine::{Connection, DialLoss, DialOrder, Purpose};
use crate::error::DialError;
use crate::events::Event;
use crate::limits::dialing::{Admission, DEFER_UNREACHABLE_MIN, DialLimiter, DialPermit};
use crate::manager::{Hold, Manager, QuarantineReason, Reaction};
use crate::runtime::account::AccountInner;
use crate::runtime::due::Due;
use crate::stats::{DIAL_FLOOD, Measure, OpenEnd};

/// For how long a session is not tried again that may not be dialled for a reason without an end, unless
/// the account has no other.
const DEFERRED: Duration = Duration::from_secs(5);

/// How often a dial is tried for which the machine had no room. Each time but the first it has been made.
const TRIES_MAX: u32 = 3;

/// Carries out one order to dial. Ends early when the pool closes. The attempt is made at once: a
/// runtime that ends before it has begun this gives its slot and permits back as well.
pub(crate) fn dial<M: Manager>(
    inner: Arc<AccountInner<M>>,
    order: DialOrder,
) -> impl Future<Output = ()> + Send {
    let (connection, holds_permit, hold, finished) = (None, false, None, false);
    apply(Attempt { inner, order, class: 0, connection, holds_permit, hold, finished })
}

async fn apply<M: Manager>(mut attempt: Attempt<M>) {
    let mut closing = attempt.inner.context().closing.subscribe();
    tokio::select! {
        biased;
        // The sender lives in the context that the account holds, so this ends by closing only.
        _ = closing.wait_for(|closing| *closing) => attempt.abandon(),
        () = attempt.run() => {}
    }
}

struct Attempt<M: Manager> {
    inner: Arc<AccountInner<M>>,
    order: DialOrder,
    /// The class that the dial is counted in.
    class: u8,
    connection: Option<Arc<Connection<M::Connection>>>,
    /// Whether it holds a permit of the global cap.
    holds_permit: bool,
    /// What the manager keeps for it from its clearance on.
    hold: Option<Hold>,
    finished: bool,
}

/// What a try to dial came to.
enum Tried<E> {
    /// The attempt is over.
    Over,
    /// The machine has no room for another connection.
    Exhausted(E),
}

impl<M: Manager> Attempt<M> {
    async fn run(&mut self) {
        if !self.wait_backoff().await {
            return self.abandon();
        }
        for tries in 1.. {
            let Tried::Exhausted(error) = self.try_once().await else { return };
            if tries == TRIES_MAX {
                return self.fail(DialError::Exhausted(error), false);
            }
            if !self.make_room(&error).await {
                return self.abandon();
            }
        }
    }

    async fn try_once(&mut self) -> Tried<M::Error> {
        let inner = Arc::clone(&self.inner);
        let context = inner.context();
        match self.clear().await {
            Ok(true) => {}
            Ok(false) => return self.abandoned(),
            Err((DialError::Connect(error), _)) if self.is_exhausted(&error) => {
                return Tried::Exhausted(error);
            }
            Err((error, wait)) => {
                self.refuse(error, wait);
                return Tried::Over;
            }
        }
        // The limiter before the permit of the global cap: whoever waits at a slowed egress keeps
        // nobody at another one from connecting.
        let limiter = context.dial_limiter(&inner.egress);
        let permit = match self.wait_admission(&limiter).await {
            Admission::Admitted(permit) => permit,
            Admission::Unwanted => return self.abandoned(),
            Admission::Unreachable(unreachable) => {
                // Until the next trial, another session may be at an address that answers.
                let wait = unreachable.remaining.max(DEFER_UNREACHABLE_MIN);
                self.refuse(DialError::Unreachable(unreachable), wait);
                return Tried::Over;
            }
        };
        if !self.take_permit().await {
            return self.abandoned();
        }
        if self.connection.is_none() {
            let id = ConnectionId(context.next_connection());
            let Some(connection) = inner.pool.begin_dial(self.order, id) else {
                return self.abandoned();
            };
            self.connection = Some(connection);
        }
        self.connect(&limiter, permit).await
    }

    async fn connect(&mut self, limiter: &DialLimiter, mut permit: DialPermit) -> Tried<M::Error> {
        let inner = Arc::clone(&self.inner);
        let context = inner.context();
        let (account, slot) = (inner.pool.account(), self.order.slot);
        self.class = inner.dial_class(slot);
        let limit = context.config().pool.dial_timeout;
        let started = context.clock.tick();
        // In a block of its own: the call may panic before there is a future.
        let connect = async { context.manager.connect(account, slot).await };
        let span = tracing::debug_span!("dial", %account, slot);
        let opened = within(limit, connect).instrument(span).await;
        let took = Duration::from_millis(context.clock.tick() - started);
        match opened {
            // Taken into the pool it would be found broken at once, and dialled again without
            // any pause.
            Ok(opened) if inner.says_broken(&opened) => {
                let limit = context.config().pool.close_timeout;
                let close = catch_future(async { context.manager.close(&opened).await });
                drop(tokio::time::timeout(limit, close).await);
                self.fail(DialError::BrokenOnArrival, false);
            }
            Ok(opened) => {
                limiter.reset_breaker();
                self.note_answer(&mut permit);
                self.succeed(opened, took);
            }
            Err(DialError::Connect(error)) if self.is_exhausted(&error) => {
                return Tried::Exhausted(error);
            }
            Err(error) => {
                let is_of_address = self.judge_address(&error, &mut permit);
                // Before anybody is told, and dials again.
                drop(permit);
                self.fail(error, is_of_address);
            }
        }
        Tried::Over
    }

    /// Whether an error says that the machine has no room for another connection.
    fn is_exhausted(&self, error: &M::Error) -> bool {
        self.inner.context().react(error) == Reaction::Exhausted
    }

    fn is_faultless(&self, error: &DialError<M::Error>) -> bool {
        match error {
            DialError::Connect(error) => self.inner.context().react(error) == Reaction::Keep,
            DialError::Unreachable(_) => true,
            _ => false,
        }
    }

    /// The machine has no room: the pool is full from now on, and the dial waits for a permit that
    /// comes free. Returns whether there was one.
    async fn make_room(&mut self, error: &M::Error) -> bool {
        let inner = Arc::clone(&self.inner);
        let context = inner.context();
        let error = display_safely(error);
        if context.may_warn() {
            tracing::warn!(
                %error,
                open = context.occupancy.slots(),
                "this machine has no room for another connection: raise its limit (of open files: \
                 ulimit -n), or lower pool.max_connections (told once a second)"
            );
        }
        inner.pool.note_dial_error(error);
        context.budget.withhold(context.clock.tick(), std::mem::take(&mut self.holds_permit));
        self.take_permit().await
    }

    fn abandoned(&mut self) -> Tried<M::Error> {
        self.abandon();
        Tried::Over
    }

    fn succeed(&mut self, opened: M::Connection, took: Duration) {
        self.finished = true;
        let inner = &self.inner;
        let context = inner.context();
        let connection = self.connection.take().expect("BUG: it was published before the dial");
        let now = context.clock.tick();
        let retire_at = context.draw_retirement(now);
        let account = inner.pool.account();
        inner.counters().count_open(self.class, OpenEnd::Ok);
        inner.counters().observe(Measure::ConnectionOpen, took);
        let (id, slot) = (connection.id, connection.slot);
        tracing::info!(%account, slot, ?took, "connected");
        context.events.emit(|| Event::ConnectionOpened { account, id, slot, took });
        if let Some(registry) = inner.runtime.registry() {
            registry.mark_evictable(inner);
        }
        let effects = inner.pool.complete_dial(&connection, opened, retire_at, now);
        if effects.cleared {
            tracing::info!(%account, slot, "the server knows the session again: it serves");
            context.events.emit(|| Event::Cleared { account, slot });
        }
        let config = context.config();
        let looks = [config.watch.held_lease, config.health.login_check_every].map(millis);
        let first_look = looks.into_iter().fold(context.hot.max_idle_ms(), u64::min);
        let due = (now + first_look).min(retire_at);
        connection.set_next_visit(due);
        inner.runtime.schedule.schedule(due, Due::visit(inner, &connection, due));
        inner.apply(effects);
        // The new connection may lie idle while others wait for its permit.
        if connection.word.snapshot().leases() == 0 {
            inner.runtime.evict_idle();
        }
    }

    /// The dial has failed. `is_of_address`: its address was known to be down, so that it says nothing
    /// of the account.
    fn fail(&mut self, error: DialError<M::Error>, is_of_address: bool) {
        let inner = Arc::clone(&self.inner);
        let context = inner.context();
        let mut at_least = Duration::ZERO;
        let end = match &error {
            DialError::Connect(error) => {
                // A flood on the dial itself slows the account's dials, no method of it.
                match &context.react(error) {
                    Reaction::CoolDown { key, wait } => {
                        let (key, wait) = (*key, *wait);
                        at_least = wait;
                        inner.report_flood(DIAL_FLOOD, key, wait);
                    }
                    // It did not know it the last time either.
                    Reaction::QuarantineSession(QuarantineReason::Suspect) if self.is_probe() => {
                        inner.quarantine(Some(self.order.slot), QuarantineReason::Dead);
                    }
                    reaction => {
                        inner.apply_reaction(reaction, error, self.order.slot, None);
                    }
                }
                OpenEnd::of(context.kind(error))
            }
            // Room was made for it, and it is nobody's fault that there was none.
            DialError::Exhausted(error) => OpenEnd::of(context.kind(error)),
            DialError::Timeout(_) => OpenEnd::Timeout,
            DialError::Panicked => OpenEnd::Handshake,
            DialError::Unreachable(_) | DialError::BrokenOnArrival => OpenEnd::Io,
            DialError::Aborted => OpenEnd::Cancelled,
        };
        let now = context.clock.tick();
        // A probe has a pace of its own, and says nothing of the account's other sessions.
        let rest = || match is_of_address {
            true => now,
            false => inner.pool.rest_after_failure(now, context.share(), at_least),
        };
        let retry_at = (!self.is_probe()).then(rest);
        let text = display_safely(&error);
        inner.counters().count_open(self.class, end);
        let (account, slot) = (inner.pool.account(), self.order.slot);
        inner.pool.note_error(&text, now);
        tracing::info!(%account, slot, error = %text, "a dial failed");
        context.events.emit(|| Event::DialFailed {
            account,
            slot,
            error: Arc::from(text.as_str()),
            retry_in: retry_at.map_or_else(
                || context.config().health.probe_after,
                |retry_at| Duration::from_millis(retry_at - now),
            ),
        });
        match retry_at {
            Some(retry_at) => self.end(DialLoss::Failed { retry_at }, Some((error, text))),
            // Nobody waits for a probe.
            None => self.end(DialLoss::Unwanted, None),
        }
    }

    /// The slot may not be dialled. If that is for no fault of the account's, it is told to whoever
    /// waits, and holds up nothing.
    fn refuse(&mut self, error: DialError<M::Error>, wait: Duration) {
        if !self.is_faultless(&error) {
            return self.fail(error, false);
        }
        let context = self.inner.context();
        let text = display_safely(&error);
        let (account, slot) = (self.inner.pool.account(), self.order.slot);
        // Of an address it is told once, when it goes down.
        if !matches!(error, DialError::Unreachable(_)) {
            self.inner.pool.note_error(&text, context.clock.tick());
            tracing::info!(%account, slot, error = %text, "a session may not be dialled");
            let told: Arc<str> = Arc::from(text.as_str());
            context.events.emit(|| Event::DialFailed {
                account,
                slot,
                error: told,
                retry_in: wait,
            });
        }
        let until = context.clock.tick() + millis(wait);
        match self.is_probe() {
            false => self.end(DialLoss::Deferred { until }, Some((error, text))),
            true => self.end(DialLoss::Unwanted, None),
        }
    }

    fn is_warm_up(&self) -> bool {
        self.order.purpose == Purpose::WarmUp
    }

    fn is_probe(&self) -> bool {
        self.order.purpose == Purpose::Probe
    }

    /// Nobody wants the connection any more.
    fn abandon(&mut self) {
        self.count_cancelled();
        self.end(DialLoss::Unwanted, None);
    }

    /// Counts the attempt if it came as far as to dial.
    fn count_cancelled(&self) {
        if self.connection.is_some() {
            self.inner.counters().count_open(self.class, OpenEnd::Cancelled);
        }
    }

    fn end(&mut self, lost: DialLoss, failure: Option<(DialError<M::Error>, String)>) {
        self.finished = true;
        // Before its slot comes back, and is dialled again.
        drop(self.hold.take());
        let now = self.inner.context().clock.tick();
        let connection = self.connection.take();
        let (effects, _unheard) =
            self.inner.pool.fail_dial(self.order, connection.as_deref(), lost, failure, now);
        if self.holds_permit {
            self.inner.context().budget.put_back(now);
        }
        self.inner.context().occupancy.vacate();
        self.inner.apply(effects);
    }
}

impl<M: Manager> Drop for Attempt<M> {
    fn drop(&mut self) {
        if !self.finished {
            // A panic that nobody took for an answer: the manager's, or a bug.
            if std::thread::panicking() {
                return self.fail(DialError::Panicked, false);
            }
            self.count_cancelled();
            if self.is_probe() {
                return self.end(DialLoss::Unwanted, None);
            }
            let retry_at = self.inner.context().clock.tick();
            let text = display_safely(&DialError::<M::Error>::Aborted);
            self.end(DialLoss::Failed { retry_at }, Some((DialError::Aborted, text)));
        }
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;
    use crate::account_id::AccountId;
    use crate::error::AcquireError;
    use crate::manager::{Clearance, Profile};
    use crate::pool::Pool;

    #[derive(Debug, thiserror::Error)]
    #[error("it rests")]
    struct Rests;

    /// Accounts of three sessions, of which the first so many rest for two minutes.
    struct Resting(u16);

    impl Manager for Resting {
        type Connection = u16;
        type Error = Rests;

        fn profile(&self, _account: AccountId) -> Option<Profile> {
            Some(Profile::new(3))
        }

        async fn clearance(&self, _: AccountId, slot: u16) -> Result<Clearance<Rests>, Rests> {
            let rests = slot < self.0;
            Ok(if rests {
                Clearance::After(Duration::from_secs(120), Rests)
            } else {
                Clearance::Now
            })
        }

        async fn connect(&self, _account: AccountId, slot: u16) -> Result<u16, Rests> {
            Ok(slot)
        }

        fn react(&self, _error: &Rests) -> Reaction {
            Reaction::Keep
        }
    }

    fn pool(resting: u16) -> (Pool<Resting>, AccountId) {
        let pool = Pool::builder(Resting(resting)).build().expect("the defaults are valid");
        (pool, AccountId::bot(1).expect("it is a number"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_rests_starves_no_other_of_its_account() {
        let (pool, bot) = pool(2);
        for _ in 0..3 {
            let lease = pool.acquire(bot).await.unwrap();
            assert_eq!(*lease, 2);
            lease.close().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dial_in_advance_that_waits_for_a_rest_makes_way_for_whoever_acquires() {
        let (pool, bot) = pool(2);
        pool.warm_up([bot]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*pool.acquire(bot).await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dial_in_advance_takes_a_session_that_does_not_rest() {
        let (pool, bot) = pool(2);
        pool.warm_up([bot]);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(pool.stats().current_pool_size, 1);
        assert_eq!(*pool.acquire(bot).await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_could_be_served_by_no_session_is_told_why_at_once() {
        let (pool, bot) = pool(3);
        let began = crate::base::clock::now();
        for _ in 0..5 {
            let refused = pool.acquire(bot).await.unwrap_err();
            assert!(matches!(refused, AcquireError::Dial(DialError::Connect(Rests))), "{refused}");
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
