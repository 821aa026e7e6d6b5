//! Panics of somebody else's code, a manager's above all, taken for an answer.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Runs a future of the manager's; `None` if it panicked. What it has left behind is dropped
/// and never looked at again, which is why the assertion of unwind safety holds.
pub(crate) async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match harmless(|| future.as_mut().poll(context)) {
        Some(poll) => poll.map(Some),
        None => Poll::Ready(None),
    })
    .await
}

/// Runs somebody else's code; `None` if it panicked, which ends nothing but that. In which state it
/// leaves its own things is its own affair.
#[inline]
pub(crate) fn harmless<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

/// Asks the manager something; `None`, and an entry in the log, if it panicked.
pub(crate) fn asked<T>(question: &'static str, ask: impl FnOnce() -> T) -> Option<T> {
    let answer = harmless(ask);
    if answer.is_none() {
        // A subscriber is somebody else's code as well.
        harmless(|| tracing::error!(question, "the manager panicked"));
    }
    answer
}

/// The text of an error, which somebody else writes: it is taken before any lock is held, and
/// before anything is given back.
pub(crate) fn text_of(error: &impl std::fmt::Display) -> String {
    harmless(|| error.to_string())
        .unwrap_or_else(|| "an error that panics when it is shown".to_owned())
}
