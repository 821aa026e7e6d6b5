//! The acquire future.
//!
//! Owns the future that [`Account::acquire`] and its kin return. It can be dropped at any point:
//! what it held by then goes back, and a connection that was being dialled for it is pooled.

mod coop;
mod poll;
mod report;

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;
use tracing::Span;

use self::report::timeout_report;
pub(super) use self::report::unready_error;
use crate::base::clock::{Instant, now};
use crate::base::sync::thread_number;
use crate::base::timer::timer_elsewhere;
use crate::connection::{CloseReason, Source};
use crate::engine::{Connection, Served, Take, WaitRefusal, Waiter};
use crate::error::{AcquireError, DialError, Stage};
use crate::manager::Manager;
use crate::pool::Account;
use crate::pool::lease::{AccountRef, Lease};
use crate::runtime::account::AccountInner;
use crate::stats::AcquireEnd;

enum Step<M: Manager, A: AccountRef<M>> {
    /// Not begun; or over, if the account has gone.
    Start,
    /// In line.
    Waiting(Arc<Waiter<M::Connection, M::Error>>),
    /// In line, with a timer of its own: nobody else tells in time that the patience is over.
    Timed(Box<Timed<M>>),
    /// A connection was leased that takes more than a look.
    Found(Arc<Connection<M::Connection>>, Source),
    /// Over, and what came of it not yet handed out.
    Over(Result<Lease<M, A>, AcquireError<M::Error>>),
    Done,
}

struct Timed<M: Manager> {
    waiter: Arc<Waiter<M::Connection, M::Error>>,
    timer: Pin<Box<Sleep>>,
}

/// What follows a step.
enum Next<M: Manager, A: AccountRef<M>> {
    /// The acquire is over.
    Over(Result<Lease<M, A>, AcquireError<M::Error>>),
    /// The step that was set may go on at once.
    On,
    /// There is nothing to do but wait.
    Later,
}

/// What a look at a connection that was leased comes to.
enum Inspected<M: Manager, A: AccountRef<M>> {
    Lent(Next<M, A>),
    /// It was dead, and is gone.
    Dead,
    /// It is suspect, and is being checked: another may do.
    Suspect,
    /// It was idle for long, and is being checked: that is waited for.
    CheckDue,
}

/// A lease in the making. Await it, or drop it at any point.
///
/// Once it has been polled, it must be polled until it is over, or dropped. It waits in a queue meanwhile,
/// first come, first served, and what it is handed waits for it and serves nobody else. So an acquire
/// that was polled once and left holds others up: one kept beside a `select!` that goes on without it,
/// or after `now_or_never`, or several in a `buffer_unordered` whose consumer waits for a lease of
/// the same account in its body. The pool takes back at the acquire's deadline what was not taken by
/// then, and gives it to the next waiter; the acquire ends with [`AcquireError::Timeout`] when it is
/// polled again. Until then an acquire behind it that times out names it
/// ([`WaitTimeout::oldest_lease_taken`](crate::WaitTimeout::oldest_lease_taken)).
#[must_use = "futures do nothing unless awaited"]
pub struct Acquire<M: Manager, A: AccountRef<M> = Account<M>> {
    account_ref: Option<A>,
    site: &'static Location<'static>,
    fresh: bool,
    timeout: Option<Duration>,
    /// When the acquire found that it would take time.
    started: Option<Instant>,
    /// Whether it has waited.
    waited: bool,
    /// Made when it is first polled, if anybody listens.
    span: Option<Box<Span>>,
    step: Step<M, A>,
}

impl<M: Manager, A: AccountRef<M>> Acquire<M, A> {
    pub(crate) fn new(
        account_ref: A,
        site: &'static Location<'static>,
        timeout: Option<Duration>,
        fresh: bool,
    ) -> Self {
        let (started, waited, span, step) = (None, false, None, Step::Start);
        Self { account_ref: Some(account_ref), site, fresh, timeout, started, waited, span, step }
    }

    pub(crate) fn failed(error: AcquireError<M::Error>, site: &'static Location<'static>) -> Self {
        let step = Step::Over(Err(error));
        let (timeout, started, span) = (None, None, None);
        Self { account_ref: None, site, fresh: false, timeout, started, waited: false, span, step }
    }

    #[inline]
    fn inner(&self) -> &Arc<AccountInner<M>> {
        let account_ref =
            self.account_ref.as_ref().expect("BUG: the account leaves with the lease only");
        account_ref.account().inner()
    }

    fn start(&mut self, context: &Context<'_>) -> Next<M, A> {
        while !self.fresh {
            let now = self.inner().context().clock.coarse();
            match self.inner().pool.try_lease_any(now, thread_number()) {
                Take::Leased(connection, source) => match self.inspect(connection, source) {
                    Inspected::Lent(next) => return next,
                    Inspected::Dead | Inspected::Suspect => {}
                    Inspected::CheckDue => break,
                },
                // Each iteration takes one connection out of circulation.
                Take::Outdated(connection) => {
                    self.inner().release(connection);
                }
                Take::Empty | Take::NotReady => break,
            }
        }
        // Whoever was served once, by a connection that proved dead, is not sent to the end.
        self.wait(self.waited, context)
    }

    /// When the patience of this acquire ends; `None` if that is too far away to be told.
    fn deadline(&mut self) -> Option<Instant> {
        let began = *self.started.get_or_insert_with(now);
        let timeout = self.timeout.unwrap_or_else(|| {
            Duration::from_millis(self.inner().context().hot.acquire_timeout_ms())
        });
        began.checked_add(timeout)
    }

    /// Joins the wait queue. `front`: the acquire was served once, by a connection that proved dead.
    fn wait(&mut self, front: bool, context: &Context<'_>) -> Next<M, A> {
        let is_first = self.started.is_none();
        let deadline = self.deadline();
        self.waited = true;
        let inner = self.inner();
        let clock = &inner.context().clock;
        let began = self.started.expect("BUG: a deadline has a beginning");
        let tick = if is_first { clock.tick_at(began) } else { clock.tick() };
        if inner.runtime.commands.is_closed() {
            return Next::Over(Err(self.refuse(WaitRefusal::Closed)));
        }
        inner.reread_profile_if_due(tick);
        let waiter =
            Waiter::new(self.fresh, began, deadline, self.site, Some(context.waker().clone()));
        let timer = deadline.and_then(|ends| timer_elsewhere(&inner.context().handle, || ends));
        let effects = match inner.pool.enqueue_waiter(&waiter, front, tick) {
            Ok(effects) => effects,
            Err(refusal) => return Next::Over(Err(self.refuse(refusal))),
        };
        // A timer tells only whoever has polled it.
        let is_done = effects.is_none() && timer.is_none();
        // First of all the acquire has to own the waiter, so that it leaves the queue if it is dropped.
        self.step = match timer {
            Some(timer) => Step::Timed(Box::new(Timed { waiter, timer })),
            None => Step::Waiting(waiter),
        };
        if let Some(effects) = effects {
            self.inner().apply(effects);
        }
        if is_done { Next::Later } else { Next::On }
    }

    /// The patience is over, and nobody has said so: the pool's runtime is not driven.
    #[cold]
    fn give_up(&mut self) -> Next<M, A> {
        let Step::Timed(timed) = std::mem::replace(&mut self.step, Step::Done) else {
            unreachable!("BUG: only who waits by a timer gives up")
        };
        self.inner().apply(self.inner().pool.cancel_waiter(&timed.waiter));
        Next::Over(Err(self.time_out()))
    }

    /// A connection that is free now and needs no more than a look, with its count of uses.
    #[inline(always)]
    fn take_at_once(&mut self) -> Option<(Arc<Connection<M::Connection>>, u64)> {
        let inner = self.account_ref.as_ref()?.account().inner();
        let now = inner.context().clock.coarse();
        match inner.pool.try_lease(now, thread_number()) {
            Take::Leased(connection, source) => {
                if inner.is_broken(&connection) || inner.needs_inspection(&connection, source, now)
                {
                    self.step = Step::Found(connection, source);
                    return None;
                }
                let uses = inner.pool.accept(&connection, source, now, self.site);
                Some((connection, uses))
            }
            // It bears a lease, like any other that was taken.
            Take::Outdated(connection) => {
                inner.release(connection);
                None
            }
            Take::Empty | Take::NotReady => None,
        }
    }

    /// Looks at a connection before it is lent.
    fn inspect(
        &mut self,
        connection: Arc<Connection<M::Connection>>,
        source: Source,
    ) -> Inspected<M, A> {
        let inner = self.inner();
        // It may have been closed by force while the lease lay with whoever does not poll.
        if inner.is_broken(&connection) || connection.word.snapshot().is_final() {
            inner.discard(connection, CloseReason::Broken);
            return Inspected::Dead;
        }
        if connection.is_checking() {
            inner.release(connection);
            return Inspected::CheckDue;
        }
        let clock = &inner.context().clock;
        // What was used or checked since this acquire began is good enough for it, however long it had to
        // wait to be polled.
        let is_checked_since = || {
            let used = connection.last_used();
            self.started.is_some_and(|began| used >= clock.tick_at(began))
        };
        let is_check_due =
            inner.is_check_due(&connection, source, clock.coarse()) && !is_checked_since();
        let is_suspect = connection.is_suspect();
        if !is_check_due && !is_suspect {
            return Inspected::Lent(self.lend(connection, source));
        }
        // The wait begins here.
        self.deadline();
        self.inner().check(connection);
        if is_check_due { Inspected::CheckDue } else { Inspected::Suspect }
    }

    /// The deadline has passed.
    fn time_out(&self) -> AcquireError<M::Error> {
        let inner = self.inner();
        inner.counters().count_acquire(AcquireEnd::Timeout);
        AcquireError::Timeout(Box::new(timeout_report(inner, self.started)))
    }

    /// Makes the lease.
    fn lend(&mut self, connection: Arc<Connection<M::Connection>>, source: Source) -> Next<M, A> {
        let inner = self.inner();
        let tick = inner.context().clock.coarse();
        if source == Source::New {
            inner.counters().count_new_use();
        }
        let uses = inner.pool.accept(&connection, source, tick, self.site);
        let account_ref = self.account_ref.take().expect("BUG: an acquire lends once");
        let lease = Lease::new(account_ref, connection, uses);
        if let (Some(started), true) = (self.started, self.waited) {
            lease.report_waited(now().saturating_duration_since(started), self.site);
        }
        Next::Over(Ok(lease))
    }

    fn refuse(&self, refusal: WaitRefusal<M::Error>) -> AcquireError<M::Error> {
        let inner = self.inner();
        let account = inner.pool.account();
        let (end, error) = match refusal {
            WaitRefusal::Closed if inner.has_outlived_its_runtime() => {
                (AcquireEnd::Closed, AcquireError::RuntimeEnded)
            }
            WaitRefusal::Dial(DialError::Aborted) if inner.has_outlived_its_runtime() => {
                (AcquireEnd::Closed, AcquireError::RuntimeEnded)
            }
            WaitRefusal::Closed => {
                let stage = if self.waited { Stage::Wait } else { Stage::Lookup };
                (AcquireEnd::Closed, AcquireError::Closed { stage })
            }
            WaitRefusal::Draining => (AcquireEnd::Rejected, AcquireError::Draining { account }),
            WaitRefusal::NoSession => (AcquireEnd::Rejected, AcquireError::NoSession { account }),
            WaitRefusal::Quarantined(reason) => {
                (AcquireEnd::Rejected, AcquireError::Quarantined { account, reason })
            }
            WaitRefusal::Resting { until } => {
                let left = until.saturating_sub(inner.context().clock.tick());
                let left = Duration::from_millis(left);
                let last_dial_error = inner.pool.last_dial_error();
                (
                    AcquireEnd::Rejected,
                    AcquireError::Resting { account, remaining: left, last_dial_error },
                )
            }
            WaitRefusal::Timeout => return self.time_out(),
            WaitRefusal::Dial(error) => (AcquireEnd::Error, AcquireError::Dial(error)),
        };
        inner.counters().count_acquire(end);
        error
    }

    /// What follows the wait.
    fn served(
        &mut self,
        served: Served<M::Connection, M::Error>,
        context: &Context<'_>,
    ) -> Next<M, A> {
        self.step = Step::Done;
        match served {
            Ok((connection, source)) => match self.inspect(connection, source) {
                Inspected::Lent(next) => next,
                Inspected::Dead | Inspected::CheckDue => self.wait(true, context),
                Inspected::Suspect => self.start(context),
            },
            Err(refusal) => Next::Over(Err(self.refuse(refusal))),
        }
    }

    /// One step further.
    fn advance(&mut self, context: &mut Context<'_>) -> Next<M, A> {
        match &mut self.step {
            Step::Waiting(waiter) => match waiter.poll(context) {
                Poll::Ready(served) => self.served(served, context),
                Poll::Pending => Next::Later,
            },
            Step::Timed(timed) => match timed.waiter.poll(context) {
                Poll::Ready(served) => self.served(served, context),
                Poll::Pending if timed.timer.as_mut().poll(context).is_ready() => self.give_up(),
                Poll::Pending => Next::Later,
            },
            Step::Found(..) => {
                let found = std::mem::replace(&mut self.step, Step::Done);
                let Step::Found(connection, source) = found else {
                    unreachable!("BUG: the step was just read")
                };
                match self.inspect(connection, source) {
                    Inspected::Lent(next) => next,
                    Inspected::Dead | Inspected::Suspect => self.start(context),
                    Inspected::CheckDue => self.wait(self.waited, context),
                }
            }
            Step::Start if self.account_ref.is_some() => {
                self.step = Step::Done;
                self.start(context)
            }
            Step::Over(_) => {
                let Step::Over(done) = std::mem::replace(&mut self.step, Step::Done) else {
                    unreachable!("BUG: the step was just read")
                };
                Next::Over(done)
            }
            Step::Start | Step::Done => {
                panic!("an acquire was polled after it had ended")
            }
        }
    }
}

impl<M: Manager, A: AccountRef<M>> fmt::Debug for Acquire<M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match &self.step {
            Step::Start => "start",
            Step::Waiting(_) | Step::Timed(_) => "waiting",
            Step::Found(..) => "found",
            Step::Over(_) => "over",
            Step::Done => "done",
        };
        f.debug_struct("Acquire")
            .field("step", &step)
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}
