//! When an acquire gives way to other tasks.
//!
//! Owns the count of acquires of each thread. A lock-free path never yields by itself: every so many
//! acquires, one asks whether its task owes others a turn. It does so before it leases anything, so
//! that whoever gives way holds nothing that others want.

use std::cell::Cell;
use std::task::{Context, Poll};

use tokio::task::coop;

/// One in so many acquires asks. A task's budget is 128, and the runtime looks at its timers once in 61
/// turns of tasks: so a task keeps its thread for 512 acquires, some 50 us, and timers come a few
/// milliseconds late at most. (Asked one in 16 times, half a second; in a debug build, ten.) Without
/// optimisation an acquire takes fifty times as long, and each asks.
const COURTESY: u32 = if cfg!(debug_assertions) { 1 } else { 4 };

thread_local! {
    /// Acquires of this thread that have begun.
    static BEGUN: Cell<u32> = const { Cell::new(0) };
}

/// Counts an acquire of this thread that begins, and says whether it is its turn to ask for others.
#[inline]
pub(super) fn is_courteous() -> bool {
    let count = |begun: &Cell<u32>| {
        begun.set(begun.get().wrapping_add(1));
        begun.get().is_multiple_of(COURTESY)
    };
    // `try_with`, because a task may be polled while the thread's locals are being dropped.
    BEGUN.try_with(count).unwrap_or(true)
}

/// Whether the task must let others have their turn before it goes on; then it is woken.
#[cold]
pub(super) fn owes_a_turn(context: &mut Context<'_>) -> bool {
    match coop::poll_proceed(context) {
        Poll::Ready(turn) => {
            turn.made_progress();
            false
        }
        Poll::Pending => true,
    }
}
