//! Lanes by themselves: turns, rests and ends.

use std::time::Duration;

use grammers_client::tl::enums;

use super::*;
use crate::base::clock::now;

fn account(number: u64) -> AccountId {
    AccountId::bot(number).unwrap()
}

fn chat(number: i64) -> WaitingChat {
    let target = BroadcastTarget::any(enums::InputPeer::PeerSelf);
    WaitingChat { target, number, tries: 0 }
}

fn begin(lanes: &mut Lanes) -> Option<(u64, i64)> {
    lanes.begin_call().map(|(account, chat)| (account.number(), chat.number))
}

fn error() -> Arc<InvokeError> {
    Arc::new(InvokeError::RetryAfter { account: account(1), wait: Duration::from_secs(9) })
}

#[test]
fn accounts_take_turns_and_have_so_many_calls_under_way() {
    let mut lanes = Lanes::new(2);
    for number in 0..3 {
        lanes.push(account(1), chat(number));
        lanes.push(account(2), chat(10 + number));
    }
    let begun: Vec<_> = std::iter::from_fn(|| begin(&mut lanes)).collect();
    assert_eq!(begun, [(1, 0), (2, 10), (1, 1), (2, 11)]);
    assert_eq!(lanes.waiting(), 2);
    lanes.end_call(account(2));
    assert_eq!((begin(&mut lanes), begin(&mut lanes)), (Some((2, 12)), None));
}

#[test]
fn an_account_that_rests_holds_up_no_other_and_goes_on_where_it_was() {
    let (mut lanes, start) = (Lanes::new(2), now());
    let at = |seconds| start + Duration::from_secs(seconds);
    for number in 0..2 {
        lanes.push(account(1), chat(number));
        lanes.push(account(2), chat(10 + number));
    }
    let (first, flooded) = lanes.begin_call().unwrap();
    lanes.rest(first, at(5));
    lanes.end_call(first);
    lanes.push_first(first, flooded);
    // The shorter of two rests changes nothing.
    lanes.rest(first, at(3));
    let begun: Vec<_> = std::iter::from_fn(|| begin(&mut lanes)).collect();
    assert_eq!(begun, [(2, 10), (2, 11)]);
    assert_eq!((lanes.next_wake(), lanes.waiting_at_rest()), (Some(at(5)), 2));
    lanes.wake(at(4));
    assert_eq!(begin(&mut lanes), None);
    lanes.wake(at(5));
    let begun: Vec<_> = std::iter::from_fn(|| begin(&mut lanes)).collect();
    assert_eq!(begun, [(1, 0), (1, 1)]);
    assert_eq!((lanes.next_wake(), lanes.waiting()), (None, 0));
}

#[test]
fn a_chat_that_is_tried_later_waits_for_its_time() {
    let (mut lanes, start) = (Lanes::new(9), now());
    lanes.push_later(account(1), chat(1), start + Duration::from_secs(2));
    lanes.push_later(account(1), chat(2), start + Duration::from_secs(2));
    lanes.push(account(1), chat(3));
    assert_eq!((begin(&mut lanes), begin(&mut lanes), lanes.waiting()), (Some((1, 3)), None, 2));
    lanes.wake(start + Duration::from_secs(2));
    let mut begun = [begin(&mut lanes), begin(&mut lanes)];
    begun.sort_unstable();
    assert_eq!(begun, [Some((1, 1)), Some((1, 2))]);
}

#[test]
fn an_account_that_ends_gives_back_all_that_waits_for_it() {
    let (mut lanes, start) = (Lanes::new(9), now());
    for number in 0..3 {
        lanes.push(account(1), chat(number));
        lanes.push(account(2), chat(10 + number));
    }
    lanes.push_later(account(1), chat(4), start);
    lanes.push_later(account(2), chat(14), start);
    lanes.rest(account(1), start + Duration::from_secs(60));
    let left: Vec<_> = lanes.end(account(1), &error()).iter().map(|chat| chat.number).collect();
    assert_eq!((left, lanes.waiting()), (vec![0, 1, 2, 4], 4));
    assert!(lanes.ended(account(1)).is_some() && lanes.ended(account(2)).is_none());
    lanes.wake(start + Duration::from_secs(60));
    let begun: Vec<_> = std::iter::from_fn(|| begin(&mut lanes)).collect();
    assert_eq!(begun, [(2, 14), (2, 10), (2, 11), (2, 12)]);
}

#[test]
fn room_is_made_by_those_that_rest_alone() {
    let (mut lanes, start) = (Lanes::new(9), now());
    for number in 0..3 {
        lanes.push(account(1), chat(number));
        lanes.push(account(2), chat(10 + number));
    }
    assert!(lanes.make_room().is_none());
    lanes.rest(account(1), start + Duration::from_secs(60));
    let left: Vec<_> = std::iter::from_fn(|| lanes.make_room())
        .map(|(account, chat)| (account.number(), chat.number))
        .collect();
    assert_eq!((left, lanes.waiting()), (vec![(1, 2), (1, 1), (1, 0)], 3));
}
