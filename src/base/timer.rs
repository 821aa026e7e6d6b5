//! Timers for callers on any runtime, or on none.
//!
//! The pool's tasks run on one runtime, and its callers may be on another or on none. Owns the ways
//! to have a timer all the same.

use std::future::{Future, pending, poll_fn};
use std::panic::catch_unwind;
use std::pin::{Pin, pin};
use std::sync::OnceLock;
use std::task::Poll;
#[cfg(feature = "telegram")]
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::time::{Sleep, sleep_until};

use crate::base::clock::{Instant, now};

/// The longest that a timer is set to.
#[cfg(feature = "telegram")]
const FAR_AWAY: Duration = Duration::from_secs(365 * 86_400);

/// Polls a future within the context of a runtime, whoever polls it.
pub(crate) async fn with_runtime_context<F: Future>(runtime: &Handle, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _inside = runtime.enter();
        future.as_mut().poll(context)
    })
    .await
}

/// Returns the output of a future, or `None` if there is none by an instant, whatever runtime the caller is on,
/// if any.
pub(crate) async fn timeout_at<F: Future>(
    pool: &Handle,
    end: Instant,
    future: F,
) -> Option<F::Output> {
    let (mut future, mut timer) = (pin!(future), pin!(timer(pool, end)));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timer.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Waits for so long, whatever runtime the caller is on, if any.
#[cfg(feature = "telegram")]
pub(crate) async fn sleep(pool: &Handle, time: Duration) {
    timer(pool, after(time)).await;
}

/// When so much time will have passed; what is beyond all telling is a year.
#[cfg(feature = "telegram")]
pub(crate) fn after(time: Duration) -> Instant {
    let now = now();
    now.checked_add(time).unwrap_or_else(|| now + FAR_AWAY)
}

/// A timer for whoever waits for something of a pool, unless it is on the pool's own runtime: if that
/// does not keep the time, the caller is not polled either.
pub(crate) fn timer_elsewhere(
    pool: &Handle,
    end: impl FnOnce() -> Instant,
) -> Option<Pin<Box<Sleep>>> {
    if is_here(pool) {
        return None;
    }
    Some(Box::pin(timer(pool, end())))
}

/// A timer of the pool's own runtime for whoever is on it, of one that is always driven for all others.
fn timer(pool: &Handle, end: Instant) -> Sleep {
    let runtime = if is_here(pool) { pool } else { timers() };
    let _inside = runtime.enter();
    sleep_until(end)
}

/// Whether the caller is on this runtime.
fn is_here(runtime: &Handle) -> bool {
    Handle::try_current().is_ok_and(|here| here.id() == runtime.id())
}

/// The timers of callers that are not on their pool's runtime. Theirs may be without timers, which
/// cannot be asked, they may be on none, and the pool's may not be driven while they wait. A thread
/// keeps them, which is started when the first such caller has to wait.
fn timers() -> &'static Handle {
    static TIMERS: OnceLock<Handle> = OnceLock::new();
    TIMERS.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("BUG: timers need nothing from the system");
        let handle = runtime.handle().clone();
        let keep = move || runtime.block_on(pending::<()>());
        std::thread::Builder::new()
            .name("telepool-timers".to_owned())
            .spawn(keep)
            .expect("the system refuses a thread: raise its limit of threads");
        handle
    })
}

/// Whether a runtime has timers: it has none if it was built without them, and cannot be asked.
pub(crate) fn has_timers(runtime: &Handle) -> bool {
    let _inside = runtime.enter();
    catch_unwind(|| drop(sleep_until(now()))).is_ok()
}
