//! Panics of a manager, taken for an answer.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Runs a future of the manager's; `None` if it panicked. What it has left behind is dropped
/// and never looked at again, which is why the assertion of unwind safety holds.
pub(crate) async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_panic) => Poll::Ready(None),
    })
    .await
}

/// Asks the manager something; `None`, and an entry in the log, if it panicked.
pub(crate) fn asked<T>(question: &'static str, ask: impl FnOnce() -> T) -> Option<T> {
    let answer = catch_unwind(AssertUnwindSafe(ask));
    if answer.is_err() {
        // A subscriber is somebody else's code as well.
        drop(catch_unwind(|| tracing::error!(question, "the manager panicked")));
    }
    answer.ok()
}

/// The text of an error, which somebody else writes: it is taken before any lock is held, and
/// before anything is given back.
pub(crate) fn text_of(error: &impl std::fmt::Display) -> String {
    catch_unwind(AssertUnwindSafe(|| error.to_string()))
        .unwrap_or_else(|_| "an error that panics when it is shown".to_owned())
}
