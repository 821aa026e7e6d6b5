//! Panics of others' code, a manager's above all, caught and taken for a result.
//!
//! Owns the calls of `catch_unwind`, and what is logged of a panic.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Runs a future of the manager's; `None` if it panicked. What it has left behind is dropped
/// and never looked at again, which is why the assertion of unwind safety holds.
pub(crate) async fn catch_future<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match catch(|| future.as_mut().poll(context)) {
        Some(poll) => poll.map(Some),
        None => Poll::Ready(None),
    })
    .await
}

/// Runs somebody else's code; `None` if it panicked, which ends nothing but that. In which state it
/// leaves its own things is its own affair.
#[inline]
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

/// Calls the manager; `None`, and an entry in the log, if it panicked.
pub(crate) fn call_manager<T>(question: &'static str, ask: impl FnOnce() -> T) -> Option<T> {
    let answer = catch(ask);
    if answer.is_none() {
        // A subscriber is somebody else's code as well.
        catch(|| tracing::error!(question, "the manager panicked"));
    }
    answer
}

/// Runs what may come by anybody else's code: the end of a connection, a callback, a subscriber of the
/// log. `None`, and an entry in the log, if it panicked: where that was stands in the panic's own words.
pub(crate) fn catch_logged<T>(during: &'static str, run: impl FnOnce() -> T) -> Option<T> {
    let done = catch(run);
    if done.is_none() {
        catch(|| {
            tracing::error!(
                during,
                "a connection, a callback or a subscriber of the log panicked: none of them is the pool's"
            );
        });
    }
    done
}
