//! The queue by itself, looked at by a task that comes late.

use super::*;
use crate::base::clock::now;
use crate::telegram::pacing::SendLimit;

const SECOND: Duration = Duration::from_secs(1);

/// A turn each 50 ms.
fn queue() -> SendQueue {
    let mut pacing = SendPacing::bot();
    pacing.account = Some(SendLimit::new(20, SECOND));
    pacing.margin = Duration::ZERO;
    SendQueue::new(pacing)
}

fn to(chat: i64) -> SendTarget {
    SendTarget { chat: SendChat::User(chat), messages: 1 }
}

#[test]
fn whoever_comes_when_a_turn_is_due_does_not_take_it_from_those_who_wait() {
    let (mut queue, start) = (queue(), now());
    queue.try_take(to(1), start).unwrap();
    queue.sent(to(1), start);
    queue.try_take(to(2), start).unwrap_err();
    let (waits, _turn) = oneshot::channel();
    queue.join(to(2), waits, start);
    let due = start + SECOND / 20;
    queue.try_take(to(3), due).unwrap_err();
    let (given, _) = queue.advance(due);
    assert_eq!(given.iter().map(|(target, _)| *target).collect::<Vec<_>>(), [to(2)]);
    queue.sent(to(2), due);
    queue.try_take(to(3), due + SECOND / 20).unwrap();
}

#[test]
fn what_a_late_timer_costs_is_caught_up_with() {
    let (mut queue, start) = (queue(), now());
    let mut waiters = Vec::new();
    for chat in 0..200 {
        let (waits, turn) = oneshot::channel();
        queue.join(to(chat), waits, start);
        waiters.push(turn);
    }
    let (mut time, mut sent) = (start, 0);
    while queue.is_waited_for() {
        let (given, next) = queue.advance(time);
        for (target, _) in given {
            queue.sent(target, time);
            sent += 1;
        }
        let late = Duration::from_millis(9);
        time = next.map_or(time, |next| next + late);
    }
    assert_eq!(sent, 200);
    let took = time - start;
    assert!(took < 10 * SECOND + SECOND / 5, "as if it had never been late: {took:?}");
}

#[test]
fn a_turn_that_is_given_back_is_another_ones_at_once() {
    let (mut queue, start) = (queue(), now());
    queue.try_take(to(1), start).unwrap();
    queue.give_back(to(1), start);
    assert!(queue.is_over(start), "nothing is kept of it");
    queue.try_take(to(2), start).unwrap();
    queue.sent(to(2), start);
    assert!(!queue.is_over(start) && queue.is_over(start + 3 * SECOND));
}
