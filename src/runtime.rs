//! The runtime around a future, whoever polls it.
//!
//! The pool's tasks run on one runtime, and its callers may be on another or on none. Owns the ways
//! to have a timer all the same.

use std::future::{Future, poll_fn};
use std::panic::catch_unwind;
use std::pin::pin;

use tokio::runtime::Handle;
use tokio::time::timeout_at;

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

/// Waits for a future until an instant, by the caller's timers or, if there is no runtime here, by
/// those of the pool's.
pub(crate) async fn wait_until(runtime: &Handle, end: Instant, future: impl Future<Output = ()>) {
    let here = Handle::try_current();
    let runtime = here.as_ref().unwrap_or(runtime);
    drop(inside(runtime, async { timeout_at(end, future).await }).await);
}

/// Whether a runtime has timers: it has none if it was built without them, and cannot be asked.
pub(crate) fn has_timers(runtime: &Handle) -> bool {
    let _inside = runtime.enter();
    catch_unwind(|| drop(tokio::time::sleep_until(now()))).is_ok()
}
