//! Senders by themselves: turns, rests and ends.

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

fn begin(senders: &mut Senders) -> Option<(u64, i64)> {
    senders.begin_call().map(|(account, chat)| (account.number(), chat.number))
}

fn error() -> Arc<InvokeError> {
    Arc::new(InvokeError::RetryAfter { account: account(1), wait: Duration::from_secs(9) })
}

#[test]
fn accounts_take_turns_and_have_so_many_calls_under_way() {
    let mut senders = Senders::new(2);
    for number in 0..3 {
        senders.push(account(1), chat(number));
        senders.push(account(2), chat(10 + number));
    }
    let begun: Vec<_> = std::iter::from_fn(|| begin(&mut senders)).collect();
    assert_eq!(begun, [(1, 0), (2, 10), (1, 1), (2, 11)]);
    assert_eq!(senders.waiting(), 2);
    senders.end_call(account(2));
    assert_eq!((begin(&mut senders), begin(&mut senders)), (Some((2, 12)), None));
}

#[test]
fn an_account_that_rests_holds_up_no_other_and_goes_on_where_it_was() {
    let (mut senders, start) = (Senders::new(2), now());
    let at = |seconds| start + Duration::from_secs(seconds);
    for number in 0..2 {
        senders.push(account(1), chat(number));
        senders.push(account(2), chat(10 + number));
    }
    let (first, flooded) = senders.begin_call().unwrap();
    senders.rest(first, at(5));
    senders.end_call(first);
    senders.push_first(first, flooded);
    // The shorter of two rests changes nothing.
    senders.rest(first, at(3));
    let begun: Vec<_> = std::iter::from_fn(|| begin(&mut senders)).collect();
    assert_eq!(begun, [(2, 10), (2, 11)]);
    assert_eq!((senders.next_wake(), senders.waiting_at_rest()), (Some(at(5)), 2));
    senders.wake(at(4));
    assert_eq!(begin(&mut senders), None);
    senders.wake(at(5));
    let begun: Vec<_> = std::iter::from_fn(|| begin(&mut senders)).collect();
    assert_eq!(begun, [(1, 0), (1, 1)]);
    assert_eq!((senders.next_wake(), senders.waiting()), (None, 0));
}

#[test]
fn a_chat_that_is_tried_later_waits_for_its_time() {
    let (mut senders, start) = (Senders::new(9), now());
    senders.push_later(account(1), chat(1), start + Duration::from_secs(2));
    senders.push_later(account(1), chat(2), start + Duration::from_secs(2));
    senders.push(account(1), chat(3));
    assert_eq!(
        (begin(&mut senders), begin(&mut senders), senders.waiting()),
        (Some((1, 3)), None, 2)
    );
    senders.wake(start + Duration::from_secs(2));
    let mut begun = [begin(&mut senders), begin(&mut senders)];
    begun.sort_unstable();
    assert_eq!(begun, [Some((1, 1)), Some((1, 2))]);
}

#[test]
fn an_account_that_ends_gives_back_all_that_waits_for_it() {
    let (mut senders, start) = (Senders::new(9), now());
    for number in 0..3 {
        senders.push(account(1), chat(number));
        senders.push(account(2), chat(10 + number));
    }
    senders.push_later(account(1), chat(4), start);
    senders.push_later(account(2), chat(14), start);
    senders.rest(account(1), start + Duration::from_secs(60));
    let left: Vec<_> = senders.end(account(1), &error()).iter().map(|chat| chat.number).collect();
    assert_eq!((left, senders.waiting()), (vec![0, 1, 2, 4], 4));
    assert!(senders.ended(account(1)).is_some() && senders.ended(account(2)).is_none());
    senders.wake(start + Duration::from_secs(60));
    let begun: Vec<_> = std::iter::from_fn(|| begin(&mut senders)).collect();
    assert_eq!(begun, [(2, 14), (2, 10), (2, 11), (2, 12)]);
}

#[test]
fn room_is_made_by_those_that_rest_alone() {
    let (mut senders, start) = (Senders::new(9), now());
    for number in 0..3 {
        senders.push(account(1), chat(number));
        senders.push(account(2), chat(10 + number));
    }
    assert!(senders.make_room().is_none());
    senders.rest(account(1), start + Duration::from_secs(60));
    let left: Vec<_> = std::iter::from_fn(|| senders.make_room())
        .map(|(account, chat)| (account.number(), chat.number))
        .collect();
    assert_eq!((left, senders.waiting()), (vec![(1, 2), (1, 1), (1, 0)], 3));
}
