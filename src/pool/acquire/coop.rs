//! Cooperative yielding: when an acquire gives way to other tasks.
//!
//! Owns what each thread knows of its acquires. A lock-free path never yields by itself: now and then
//! an acquire looks how much time has gone by, and charges it to the budget that the runtime gives a
//! task for a turn. It does so before it leases anything, so that whoever gives way holds nothing
//! that others want.

use std::cell::Cell;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::coop::poll_proceed;

use crate::base::clock::{Instant, now};

/// So much time uses up a task's budget of 128. A worker looks at its timers once in 61 turns of
/// tasks, so that timers come some milliseconds late at most; and a turn that ends costs a worker
/// that has nothing else to do some 15 us, which is not to be felt.
const TURN: Duration = Duration::from_micros(100);
const CHARGE: Duration = Duration::from_nanos(100_000 / 128);

/// The most that is charged at once: it may have been others who had the thread.
const CHARGES_MAX: u128 = 32;

/// At most so many acquires go by between two looks, each of which reads the time; fewer while they
/// take long.
const STEP_MAX: u32 = 32;
const LOOK_EVERY: Duration = Duration::from_micros(10);

thread_local! {
    /// Acquires of this thread until the next look.
    static LEFT: Cell<u32> = const { Cell::new(1) };
    /// The last look, and how many acquires were to go by after it.
    static LOOKED: Cell<Option<(Instant, u32)>> = const { Cell::new(None) };
}

/// Counts an acquire of this thread that begins, and says whether it is its turn to look.
#[inline]
pub(super) fn should_check_budget() -> bool {
    let count = |left: &Cell<u32>| {
        left.set(left.get().saturating_sub(1));
        left.get() == 0
    };
    // `try_with`, because a task may be polled while the thread's locals are being dropped.
    LEFT.try_with(count).unwrap_or(true)
}

/// Whether the task must let others have their turn before it goes on; then it is woken.
#[cold]
pub(super) fn must_yield(context: &mut Context<'_>) -> bool {
    let now = now();
    let before = LOOKED.try_with(Cell::get).unwrap_or(None);
    let (taken, step) = match before {
        Some((at, step)) => (now.saturating_duration_since(at), step),
        None => (Duration::ZERO, 1),
    };
    let step = next_step(taken, step);
    // Without its locals, the thread looks each time.
    LOOKED.try_with(|looked| looked.set(Some((now, step)))).ok();
    LEFT.try_with(|left| left.set(step)).ok();
    (0..charges(taken)).any(|_| match poll_proceed(context) {
        Poll::Ready(charge) => {
            charge.made_progress();
            false
        }
        Poll::Pending => true,
    })
}

/// What is charged for the time since the last look.
fn charges(taken: Duration) -> u128 {
    (taken.as_nanos() / CHARGE.as_nanos()).clamp(1, CHARGES_MAX)
}

/// How many acquires go by until the next look.
fn next_step(taken: Duration, step: u32) -> u32 {
    match taken {
        _ if taken >= TURN => 1,
        _ if taken >= 2 * LOOK_EVERY => (step / 2).max(1),
        _ if taken < LOOK_EVERY => (step * 2).min(STEP_MAX),
        _ => step,
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    /// How long a task has its thread if each acquire of its takes so long, and how many it makes.
    fn turn(each: Duration) -> (Duration, u32) {
        let (mut budget, mut step, mut time, mut acquires) = (128, 1, Duration::ZERO, 0);
        loop {
            let taken = each * step;
            (time, acquires) = (time + taken, acquires + step);
            step = next_step(taken, step);
            match u128::checked_sub(budget, charges(taken)) {
                Some(left @ 1..) => budget = left,
                _ => return (time, acquires),
            }
        }
    }

    #[test]
    fn a_turn_ends_by_time_whatever_an_acquire_takes() {
        for nanos in [20, 45, 200, 2_000, 20_000] {
            let (time, acquires) = turn(Duration::from_nanos(nanos));
            assert!(time <= 2 * TURN, "{nanos}: {time:?}, {acquires}");
        }
        // Who works between acquires for longer than a turn has four of them, since the time may
        // have been others'.
        assert_eq!(turn(Duration::from_millis(1)).1, 4);
    }

    #[test]
    fn quick_acquires_are_looked_at_seldom_and_slow_ones_each_time() {
        let settled = |each: Duration| (0..10).fold(1, |step, _| next_step(each * step, step));
        assert_eq!(settled(Duration::from_nanos(50)), STEP_MAX);
        assert!(settled(Duration::from_micros(3)) < 8);
        assert_eq!(settled(Duration::from_micros(300)), 1);
        assert_eq!(next_step(TURN, STEP_MAX), 1, "at once");
    }
}
