//! One dial, from its order to a pooled connection or a place given back.
//!
//! Owns the attempt's guard: however the attempt ends, also by a panic or with the runtime, its
//! slot and its permits come back, and whoever waited hears of it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{MutexGuard, OwnedSemaphorePermit};
use tracing::Instrument as _;

use crate::account_pool::{Connection, ConnectionId, DialOrder, Lost, Purpose};
use crate::caught::{asked, caught, text_of};
use crate::clock::millis;
use crate::dialer::{Entered, Lane};
use crate::entry::Entry;
use crate::error::DialError;
use crate::events::Event;
use crate::expiry::Due;
use crate::manager::{Clearance, Manager, QuarantineReason, Reaction};
use crate::stats::{Measure, OpenEnd};

/// For how long a session is not tried again that may not be dialled for a reason without an end, unless
/// the account has no other.
const DEFERRED: Duration = Duration::from_secs(5);

/// What the wait for a slot came to.
enum SatOut {
    Over,
    Unwanted,
    /// Somebody waits who has less patience than this.
    TooLong(Duration),
}

/// Carries out one order to dial. Ends early when the pool closes. The attempt is made at once: a
/// runtime that ends before it has begun this gives its places back as well.
pub(crate) fn dial<M: Manager>(
    entry: Arc<Entry<M>>,
    order: DialOrder,
) -> impl Future<Output = ()> + Send {
    let (connection, holds_permit, finished) = (None, false, false);
    carry_out(Attempt { entry, order, centre: 0, connection, holds_permit, finished })
}

async fn carry_out<M: Manager>(mut attempt: Attempt<M>) {
    let mut closing = attempt.entry.shared.closing.subscribe();
    tokio::select! {
        biased;
        // The sender lives in the ground that the entry holds, so this ends by closing only.
        _ = closing.wait_for(|closing| *closing) => attempt.abandon(),
        () = attempt.run() => {}
    }
}

struct Attempt<M: Manager> {
    entry: Arc<Entry<M>>,
    order: DialOrder,
    /// The data centre that is dialled.
    centre: u8,
    connection: Option<Arc<Connection<M::Connection>>>,
    /// Whether it holds a place under the global cap.
    holds_permit: bool,
    finished: bool,
}

impl<M: Manager> Attempt<M> {
    async fn run(&mut self) {
        let entry = Arc::clone(&self.entry);
        let shared = &*entry.shared;
        if !self.rest().await {
            return self.abandon();
        }
        match self.clear().await {
            Ok(true) => {}
            Ok(false) => return self.abandon(),
            Err((error, wait)) => return self.refuse(error, wait),
        }
        // The lane before the place under the global cap: whoever waits at a slowed egress keeps
        // nobody at another one from connecting.
        let Some((lane, _handshake)) = self.enter_lane().await else {
            return self.abandon();
        };
        if !self.take_place().await {
            return self.abandon();
        }
        let id = ConnectionId(shared.next_connection());
        let Some(connection) = entry.pool.begin_dial(self.order, id) else {
            return self.abandon();
        };
        self.connection = Some(Arc::clone(&connection));
        let (account, slot) = (entry.pool.account(), self.order.slot);
        let centre = asked("data_centre", || shared.manager.data_centre(account, slot));
        self.centre = centre.unwrap_or_default();
        let limit = shared.config().pool.dial_timeout;
        let started = shared.clock.tick();
        // In a block of its own: the call may panic before there is a future.
        let connect = async { shared.manager.connect(account, slot).await };
        let span = tracing::debug_span!("dial", %account, slot);
        let opened = within(limit, connect).instrument(span).await;
        let took = Duration::from_millis(shared.clock.tick() - started);
        match opened {
            // Taken into the pool it would be found broken at once, and dialled again without
            // any pause.
            Ok(opened) if entry.says_broken(&opened) => {
                let limit = shared.config().pool.close_timeout;
                let close = caught(async { shared.manager.close(&opened).await });
                drop(tokio::time::timeout(limit, close).await);
                self.fail(DialError::Stillborn);
            }
            Ok(opened) => self.succeed(&connection, opened, took, &lane),
            Err(error) => self.fail(error),
        }
    }

    /// Waits for the end of the account's pause. Answers whether the dial is still wanted.
    async fn rest(&self) -> bool {
        let (entry, clock) = (&self.entry, &self.entry.shared.clock);
        loop {
            let mut stirred = pin!(entry.stirred.notified());
            // Registered before anything is looked at, so that no change is missed.
            stirred.as_mut().enable();
            if !entry.pool.wants_dial(self.order) {
                return false;
            }
            let until = entry.pool.resting_until(self.order);
            if until <= clock.tick() {
                return true;
            }
            tokio::select! {
                () = tokio::time::sleep_until(clock.instant_of(until)) => {}
                () = stirred => {}
            }
        }
    }

    /// Waits until the manager lets the slot be dialled: before the dial takes its turn at the egress,
    /// so that it keeps nobody else from theirs. Answers whether it is still wanted; or why it may not be
    /// dialled, and for how long.
    async fn clear(&self) -> Result<bool, (DialError<M::Error>, Duration)> {
        let (entry, shared) = (&self.entry, &self.entry.shared);
        let (account, slot) = (entry.pool.account(), self.order.slot);
        loop {
            let limit = shared.config().pool.dial_timeout;
            let clearance = async { shared.manager.clearance(account, slot).await };
            match self.while_wanted(within(limit, clearance)).await {
                None => return Ok(false),
                Some(Ok(Clearance::Now)) => return Ok(true),
                Some(Ok(Clearance::After(wait, error))) => match self.sit_out(wait).await {
                    SatOut::Over => {}
                    SatOut::Unwanted => return Ok(false),
                    SatOut::TooLong(left) => return Err((DialError::Connect(error), left)),
                },
                Some(Err(error)) => return Err((error, DEFERRED)),
            }
        }
    }

    /// Waits until the slot may be dialled, unless somebody waits who has less patience.
    async fn sit_out(&self, wait: Duration) -> SatOut {
        let (entry, clock) = (&self.entry, &self.entry.shared.clock);
        let until = clock.tick() + millis(wait);
        loop {
            let mut stirred = pin!(entry.stirred.notified());
            stirred.as_mut().enable();
            if !entry.pool.wants_dial(self.order) {
                return SatOut::Unwanted;
            }
            let left = Duration::from_millis(until.saturating_sub(clock.tick()));
            if !self.is_ahead() && left > entry.shared.config().pool.acquire_timeout {
                return SatOut::TooLong(left);
            }
            tokio::select! {
                () = tokio::time::sleep_until(clock.instant_of(until)) => return SatOut::Over,
                () = stirred => {}
            }
        }
    }

    /// Waits for the turn of this dial at its egress. `None`: nobody wants it any more.
    async fn enter_lane(&self) -> Option<(Arc<Lane>, OwnedSemaphorePermit)> {
        let (entry, shared) = (&self.entry, &self.entry.shared);
        loop {
            let lane = shared.lane(&entry.egress);
            let in_advance = self.in_advance(&lane).await?;
            let is_wanted = || entry.pool.wants_dial(self.order);
            let entered = self.while_wanted(lane.enter(&shared.clock, is_wanted)).await?;
            drop(in_advance);
            match entered {
                Entered::Begin(handshake) => return Some((lane, handshake)),
                Entered::Unwanted => return None,
                Entered::Replaced => {}
            }
        }
    }

    /// A dial that nobody waits for lets all others of its kind go before it, one by one, and so
    /// everybody who does wait. `None`: nobody wants it any more.
    async fn in_advance<'a>(&self, lane: &'a Lane) -> Option<Option<MutexGuard<'a, ()>>> {
        let mut turn = pin!(lane.in_advance());
        loop {
            let mut stirred = pin!(self.entry.stirred.notified());
            stirred.as_mut().enable();
            if !self.entry.pool.wants_dial(self.order) {
                return None;
            }
            if !self.is_ahead() {
                return Some(None);
            }
            tokio::select! {
                biased;
                turn = &mut turn => return Some(Some(turn)),
                () = lane.until_replaced() => return Some(None),
                () = stirred => {}
            }
        }
    }

    /// Whether nobody waits for what this dial will bring.
    fn is_ahead(&self) -> bool {
        self.order.purpose != Purpose::Line && !self.entry.pool.has_line()
    }

    /// Takes a place under the global cap. Answers whether there was one.
    async fn take_place(&mut self) -> bool {
        let entry = Arc::clone(&self.entry);
        let shared = &*entry.shared;
        if !shared.budget.try_take() {
            if self.is_ahead() {
                // Nobody waits for it, so nobody makes room for it.
                return false;
            }
            let relieve = || {
                shared.relieve();
            };
            let taking = shared.budget.take(shared.clock.tick(), relieve);
            if self.while_wanted(taking).await.is_none() {
                return false;
            }
        }
        self.holds_permit = true;
        true
    }

    /// Waits for something, unless nobody wants the dial any more.
    async fn while_wanted<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        let mut wait = pin!(wait);
        loop {
            let mut stirred = pin!(self.entry.stirred.notified());
            stirred.as_mut().enable();
            if !self.entry.pool.wants_dial(self.order) {
                return None;
            }
            tokio::select! {
                biased;
                done = &mut wait => return Some(done),
                () = stirred => {}
            }
        }
    }

    fn succeed(
        &mut self,
        connection: &Arc<Connection<M::Connection>>,
        opened: M::Connection,
        took: Duration,
        lane: &Lane,
    ) {
        self.finished = true;
        let entry = &self.entry;
        let shared = &*entry.shared;
        lane.reset_breaker();
        let now = shared.clock.tick();
        let retire_at = shared.draw_retirement(now);
        let account = entry.pool.account();
        entry.counters().count_open(self.centre, OpenEnd::Ok);
        entry.counters().observe(Measure::ConnectionOpen, took);
        let (id, slot) = (connection.id, connection.slot);
        shared.events.emit(|| Event::ConnectionOpened { account, id, slot, took });
        if let Some(registry) = shared.registry.upgrade() {
            registry.note_opened(entry);
        }
        let orders = entry.pool.complete_dial(connection, opened, retire_at, now);
        if orders.cleared {
            entry.latch(1 << slot);
            tracing::info!(%account, slot, "the server knows the session again: it serves");
            shared.events.emit(|| Event::Cleared { account, slot });
        }
        let config = shared.config();
        let looks = [config.watch.held_lease, config.health.login_check_every].map(millis);
        let first_look = looks.into_iter().fold(shared.hot.max_idle_ms(), u64::min);
        let due = (now + first_look).min(retire_at);
        connection.set_look(due);
        shared.expiry.schedule(due, Due::look_at(entry, connection, due));
        entry.carry_out(orders);
        // The new connection may lie idle while others wait for its place.
        if self.connection.take().is_some_and(|it| it.word.snapshot().leases() == 0) {
            shared.relieve();
        }
    }

    fn fail(&mut self, error: DialError<M::Error>) {
        let entry = Arc::clone(&self.entry);
        let shared = &*entry.shared;
        let mut at_least = Duration::ZERO;
        let end = match &error {
            DialError::Connect(error) => {
                // A flood on the dial itself slows the account's dials, no method of it.
                match shared.react(error) {
                    Reaction::CoolDown { wait, .. } => at_least = wait,
                    // It did not know it the last time either.
                    Reaction::QuarantineSession(QuarantineReason::Suspect) if self.is_probe() => {
                        entry.quarantine(Some(self.order.slot), QuarantineReason::Dead);
                    }
                    _ => {
                        entry.learn(error, self.order.slot, None);
                    }
                }
                OpenEnd::of(shared.kind(error))
            }
            DialError::Timeout(_) => OpenEnd::Timeout,
            DialError::Panicked => OpenEnd::Handshake,
            DialError::Stillborn => OpenEnd::Io,
            DialError::Aborted => OpenEnd::Cancelled,
        };
        let now = shared.clock.tick();
        // A probe has a pace of its own, and says nothing of the account's other sessions.
        let retry_at = (!self.is_probe())
            .then(|| entry.pool.pause_after_failure(now, shared.share(), at_least));
        let text = text_of(&error);
        entry.counters().count_open(self.centre, end);
        let (account, slot) = (entry.pool.account(), self.order.slot);
        tracing::info!(%account, slot, error = %text, "a dial failed");
        shared.events.emit(|| Event::DialFailed {
            account,
            slot,
            error: Arc::from(text.as_str()),
            retry_in: retry_at.map_or_else(
                || shared.config().health.probe_after,
                |retry_at| Duration::from_millis(retry_at - now),
            ),
        });
        match retry_at {
            Some(retry_at) => self.end(Lost::Failed { retry_at }, Some((error, text))),
            // Nobody waits for a probe.
            None => self.end(Lost::Unwanted, None),
        }
    }

    /// The slot may not be dialled. If that is for no fault of the account's, it is told to whoever
    /// waits, and holds up nothing.
    fn refuse(&mut self, error: DialError<M::Error>, wait: Duration) {
        let shared = &*self.entry.shared;
        let is_faultless = matches!(
            &error,
            DialError::Connect(error) if shared.react(error) == Reaction::Keep
        );
        if !is_faultless {
            return self.fail(error);
        }
        let text = text_of(&error);
        let (account, slot) = (self.entry.pool.account(), self.order.slot);
        tracing::info!(%account, slot, error = %text, "a session may not be dialled");
        let told: Arc<str> = Arc::from(text.as_str());
        shared.events.emit(|| Event::DialFailed { account, slot, error: told, retry_in: wait });
        let until = shared.clock.tick() + millis(wait);
        match self.is_probe() {
            false => self.end(Lost::Deferred { until }, Some((error, text))),
            true => self.end(Lost::Unwanted, None),
        }
    }

    fn is_probe(&self) -> bool {
        self.order.purpose == Purpose::Probe
    }

    /// Nobody wants the connection any more.
    fn abandon(&mut self) {
        self.count_cancelled();
        self.end(Lost::Unwanted, None);
    }

    /// Counts the attempt if it came as far as to dial.
    fn count_cancelled(&self) {
        if self.connection.is_some() {
            self.entry.counters().count_open(self.centre, OpenEnd::Cancelled);
        }
    }

    fn end(&mut self, lost: Lost, failure: Option<(DialError<M::Error>, String)>) {
        self.finished = true;
        let now = self.entry.shared.clock.tick();
        let connection = self.connection.take();
        let (orders, _unheard) =
            self.entry.pool.fail_dial(self.order, connection.as_deref(), lost, failure, now);
        if self.holds_permit {
            self.entry.shared.budget.put_back(now);
        }
        self.entry.shared.occupancy.vacate();
        self.entry.schedule_look();
        self.entry.carry_out(orders);
        if self.is_probe() {
            // If the doubt was not resolved: the dial failed for another reason.
            self.entry.schedule_probes(1 << self.order.slot);
        }
    }
}

impl<M: Manager> Drop for Attempt<M> {
    fn drop(&mut self) {
        if !self.finished {
            // A panic that nobody took for an answer: the manager's, or a bug.
            if std::thread::panicking() {
                return self.fail(DialError::Panicked);
            }
            self.count_cancelled();
            if self.is_probe() {
                return self.end(Lost::Unwanted, None);
            }
            let retry_at = self.entry.shared.clock.tick();
            let text = text_of(&DialError::<M::Error>::Aborted);
            self.end(Lost::Failed { retry_at }, Some((DialError::Aborted, text)));
        }
    }
}

/// Bounds a connect in time, and takes its panic for an answer.
async fn within<T, E>(
    limit: Duration,
    connect: impl Future<Output = Result<T, E>>,
) -> Result<T, DialError<E>> {
    match tokio::time::timeout(limit, caught(connect)).await {
        Ok(Some(Ok(opened))) => Ok(opened),
        Ok(Some(Err(error))) => Err(DialError::Connect(error)),
        Ok(None) => Err(DialError::Panicked),
        Err(_) => Err(DialError::Timeout(limit)),
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;
    use crate::account::AccountId;
    use crate::error::AcquireError;
    use crate::manager::Profile;
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
    async fn whoever_could_be_served_by_no_session_is_told_why_at_once() {
        let (pool, bot) = pool(3);
        let began = crate::clock::now();
        for _ in 0..5 {
            let refused = pool.acquire(bot).await.unwrap_err();
            assert!(matches!(refused, AcquireError::Dial(DialError::Connect(Rests))), "{refused}");
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
