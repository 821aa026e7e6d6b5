//! The runtime around a future, whoever polls it.
//!
//! The pool's tasks run on one runtime, and its callers may be on another or on none. Owns the ways
//! to have a timer all the same.

use std::future::{Future, pending, poll_fn};
use std::panic::catch_unwind;
use std::pin::{Pin, pin};
use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle};
use tokio::time::{Sleep, sleep_until, timeout_at};

use crate::clock::{Instant, now};

/// Runs a future as if on this runtime.
pub(crate) async fn inside<F: Future>(runtime: &Handle, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _inside = runtime.enter();
        future.as_mut().poll(context)
    })
    .await
}

/// Waits for a future until an instant, whatever runtime the caller is on, if any.
pub(crate) async fn wait_until(pool: &Handle, end: Instant, future: impl Future<Output = ()>) {
    let runtime = if is_here(pool) { pool } else { timers() };
    drop(inside(runtime, async { timeout_at(end, future).await }).await);
}

/// A timer for whoever waits for something of a pool, unless it is on the pool's own runtime: if that
/// does not keep the time, the caller is not polled either.
pub(crate) fn timer_elsewhere(pool: &Handle, end: Instant) -> Option<Pin<Box<Sleep>>> {
    if is_here(pool) {
        return None;
    }
    let _inside = timers().enter();
    Some(Box::pin(sleep_until(end)))
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
