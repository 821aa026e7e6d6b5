//! Pacing with a paused clock: its order, its limits, and what becomes of whoever leaves.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use proptest::prelude::*;
use tokio::runtime::{Builder, Handle};
use tokio::time::{advance, sleep};

use super::target::SendChat;
use super::turn::{Pacer, Turn};
use super::{Pacing, SendLimit, SendPacing, SendTarget};
use crate::account_id::AccountId;
use crate::base::clock::{Instant, now};
use crate::base::sync::Mutex;
#[cfg(feature = "metrics")]
use crate::manager::TrafficCounters;
use crate::telegram::pacing::Pacers;

const SECOND: Duration = Duration::from_secs(1);
/// A spacing of 50 ms exactly.
const PACING: SendPacing = SendPacing {
    account: Some(SendLimit::new(20, SECOND)),
    chat: Some(SendLimit::new(2, Duration::from_secs(2))),
    group: Some(SendLimit::new(5, Duration::from_secs(20))),
    margin: Duration::ZERO,
};

fn pacer(pacing: SendPacing) -> Arc<Pacer> {
    Arc::new(Pacer::new(pacing, Arc::default()))
}

fn to(chat: SendChat, messages: u32) -> SendTarget {
    SendTarget { chat, messages }
}

fn user(id: i64) -> SendTarget {
    to(SendChat::User(id), 1)
}

async fn turn_within(
    pacer: &Arc<Pacer>,
    target: SendTarget,
    limit: Duration,
) -> Result<Turn, Duration> {
    let turn = pacer.turn(target, now() + limit, &Handle::current()).await;
    turn.map(|turn| turn.expect("the runtime runs"))
}

/// Waits for a turn and uses it. Returns how long after an instant.
async fn send(pacer: &Arc<Pacer>, target: SendTarget, since: Instant) -> Duration {
    turn_within(pacer, target, 3600 * SECOND).await.unwrap().sent();
    now() - since
}

/// Polls a future once.
async fn begin<F: Future + Unpin>(future: &mut F) {
    std::future::poll_fn(|context| {
        assert!(std::pin::Pin::new(&mut *future).poll(context).is_pending(), "it waits");
        Poll::Ready(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn within_a_chat_who_came_first_goes_first() {
    let (pacer, start) = (pacer(PACING), now());
    let log = Arc::new(Mutex::new(Vec::new()));
    let calls = (0..6).map(|number| {
        let (pacer, log) = (Arc::clone(&pacer), Arc::clone(&log));
        Handle::current().spawn(async move {
            let at = send(&pacer, user(1), start).await;
            log.lock().push((number, at.as_secs()));
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!(*log.lock(), [(0, 0), (1, 0), (2, 2), (3, 2), (4, 4), (5, 4)]);
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_waits_holds_up_no_other_and_others_wait_one_turn() {
    let (pacer, start) = (pacer(PACING), now());
    for chat in 0..8 {
        for _ in 0..50 {
            let pacer = Arc::clone(&pacer);
            Handle::current().spawn(async move { send(&pacer, user(chat), start).await });
        }
    }
    // All turns of the account are wanted for as long as those chats have some.
    sleep(Duration::from_millis(310)).await;
    let before = now();
    let waited = send(&pacer, user(99), before).await;
    assert!(waited <= 9 * SECOND / 20, "a turn of each chat that may be sent to: {waited:?}");
    // The chats have sent what they may.
    sleep(SECOND).await;
    let before = now();
    let waited = send(&pacer, user(100), before).await;
    assert!(waited <= SECOND / 20, "theirs wait for themselves: {waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_gets_all_that_is_allowed() {
    let (pacer, start) = (pacer(SendPacing::bot()), now());
    let calls = (0..900).map(|chat| {
        let pacer = Arc::clone(&pacer);
        Handle::current().spawn(async move { send(&pacer, user(chat), start).await })
    });
    let mut last = Duration::ZERO;
    for call in calls.collect::<Vec<_>>() {
        last = last.max(call.await.unwrap());
    }
    let rate = 900.0 / last.as_secs_f64();
    assert!((0.95 * 30.0..30.0).contains(&rate), "{rate} messages per second");
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_deadline_fails_early_and_takes_no_turn() {
    let pacer = pacer(PACING);
    for _ in 0..2 {
        pacer.try_turn(user(1)).unwrap().sent();
        advance(SECOND / 20).await;
    }
    let before = now();
    let wait = turn_within(&pacer, user(1), SECOND).await.unwrap_err();
    assert_eq!((wait, now()), (2 * SECOND - SECOND / 10, before), "it is known at once");
    assert_eq!(pacer.try_turn(user(1)).unwrap_err(), wait);
    // Behind one that waits there is none for two periods, and that one is not held up.
    let mut first = Box::pin(turn_within(&pacer, user(1), 3600 * SECOND));
    let mut second = Box::pin(turn_within(&pacer, user(1), 3600 * SECOND));
    begin(&mut first).await;
    begin(&mut second).await;
    let wait = turn_within(&pacer, user(1), 3 * SECOND).await.unwrap_err();
    assert_eq!(wait, 4 * SECOND - SECOND / 10);
    first.await.unwrap().sent();
    second.await.unwrap().sent();
    assert!(now() - before < 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn turns_that_are_not_used_yet_do_not_age_and_do_not_come_all_at_once() {
    let (pacer, start) = (pacer(PACING), now());
    let mut held = Vec::new();
    for chat in 0..20 {
        held.push(turn_within(&pacer, user(chat), 3600 * SECOND).await.unwrap());
    }
    // They wait for a connection, and so does whoever comes next.
    let wait = turn_within(&pacer, user(50), 5 * SECOND).await.unwrap_err();
    assert!(wait <= SECOND && now() - start >= 5 * SECOND, "until its deadline: {wait:?}");
    let mut next = Box::pin(turn_within(&pacer, user(50), 3600 * SECOND));
    begin(&mut next).await;
    held.drain(..).for_each(Turn::sent);
    let sent = now();
    next.await.unwrap().sent();
    assert_eq!(now() - sent, SECOND, "after these have aged");
}

#[tokio::test(start_paused = true)]
async fn nobody_gives_turns_once_the_last_who_waited_has_left() {
    let pacer = pacer(PACING);
    let mut held = Vec::new();
    for chat in 0..20 {
        held.push(turn_within(&pacer, user(chat), 3600 * SECOND).await.unwrap());
    }
    // It waits for these to be sent, which nobody does.
    let mut waits = Box::pin(turn_within(&pacer, user(50), 3600 * SECOND));
    begin(&mut waits).await;
    sleep(SECOND).await;
    assert_eq!(Arc::strong_count(&pacer), 2 + held.len());
    drop(waits);
    sleep(SECOND).await;
    assert_eq!(Arc::strong_count(&pacer), 1 + held.len());
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_gives_its_turn_back() {
    let (pacer, start) = (pacer(PACING), now());
    drop(pacer.try_turn(user(1)).unwrap());
    pacer.try_turn(user(1)).unwrap().sent();
    send(&pacer, user(1), start).await;
    // One leaves the queue, one leaves with the turn in its hands.
    let mut leaves = Box::pin(turn_within(&pacer, user(1), 3600 * SECOND));
    let mut drops = Box::pin(turn_within(&pacer, user(1), 3600 * SECOND));
    let mut stays = Box::pin(turn_within(&pacer, user(1), 3600 * SECOND));
    let mut also = Box::pin(turn_within(&pacer, user(1), 3600 * SECOND));
    begin(&mut leaves).await;
    begin(&mut drops).await;
    begin(&mut stays).await;
    begin(&mut also).await;
    drop(leaves);
    drop(drops.await.unwrap());
    stays.await.unwrap().sent();
    also.await.unwrap().sent();
    assert!(now() - start < 5 * SECOND / 2, "both in the second period");
    // One to whom a turn was given that it has never looked at.
    let mut unread = Box::pin(turn_within(&pacer, user(1), 3600 * SECOND));
    begin(&mut unread).await;
    sleep(5 * SECOND).await;
    drop(unread);
    pacer.try_turn(user(1)).unwrap().sent();
    advance(SECOND / 20).await;
    pacer.try_turn(user(1)).unwrap().sent();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_more_than_a_limit_goes_alone_and_makes_the_next_wait() {
    let (pacer, start) = (pacer(PACING), now());
    send(&pacer, user(1), start).await;
    let album = send(&pacer, to(SendChat::User(1), 10), start).await;
    assert_eq!(album, 2 * SECOND, "when nothing else counts in its chat");
    let next = send(&pacer, user(1), start).await;
    assert_eq!(next, album + 10 * SECOND, "its ten messages take five periods");
    let forward = send(&pacer, to(SendChat::User(2), 100), start).await;
    let other = send(&pacer, user(3), start).await;
    assert_eq!(other, forward + 5 * SECOND, "of the account as well");
}

#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn each_turn_that_is_asked_for_is_counted_once_by_how_it_came() {
    let counters = Arc::<TrafficCounters>::default();
    let pacer = Arc::new(Pacer::new(PACING, Arc::clone(&counters)));
    for _ in 0..2 {
        turn_within(&pacer, user(1), SECOND).await.unwrap().sent();
        advance(SECOND / 20).await;
    }
    // One on a lease, one with a short deadline, one that leaves, and one that waits for two seconds.
    assert!(pacer.try_turn(user(1)).is_err());
    assert!(turn_within(&pacer, user(1), SECOND).await.is_err());
    let mut leaves = Box::pin(turn_within(&pacer, user(1), 3600 * SECOND));
    begin(&mut leaves).await;
    drop(leaves);
    turn_within(&pacer, user(1), 3600 * SECOND).await.unwrap().sent();
    assert_eq!((counters.turns(), counters.turn_wait_ms()), ([2, 1, 3], 1900));
}

#[tokio::test(start_paused = true)]
async fn groups_have_a_limit_of_their_own() {
    let (pacer, start) = (pacer(PACING), now());
    for group in [SendChat::Group(1), SendChat::Channel(1)] {
        let mut times = Vec::new();
        for _ in 0..7 {
            times.push(send(&pacer, to(group, 1), start).await.as_secs());
        }
        let first = times[0];
        times.iter_mut().for_each(|time| *time -= first);
        assert_eq!(times, [0, 0, 2, 2, 4, 20, 20], "{group:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_long_ago_is_forgotten() {
    let pacer = pacer(PACING);
    for chat in 0..1000 {
        send(&pacer, user(chat), now()).await;
        assert!(pacer.chats() <= 42, "two seconds of twenty each");
    }
    // Whoever is refused or leaves is not remembered either.
    for chat in 2000..3000 {
        let target = to(SendChat::User(chat), 1);
        let _ = turn_within(&pacer, target, SECOND / 1000).await.map(drop);
        let mut leaves = Box::pin(turn_within(&pacer, target, 3600 * SECOND));
        std::future::poll_fn(|context| {
            let _ = leaves.as_mut().poll(context).map(drop);
            Poll::Ready(())
        })
        .await;
    }
    sleep(3 * SECOND).await;
    assert_eq!(pacer.chats(), 0);
}

#[tokio::test(start_paused = true)]
async fn queues_of_accounts_that_are_idle_are_forgotten() {
    let pacers = Pacers::default();
    let account = |number| AccountId::bot(number).unwrap();
    assert!(pacers.of(account(1), || None).is_none());
    let kept = pacers.of(account(1), || Some((PACING, Arc::default()))).unwrap();
    for number in 2..2000 {
        let pacer = pacers.of(account(number), || Some((PACING, Arc::default()))).unwrap();
        pacer.try_turn(user(1)).unwrap().sent();
        advance(SECOND).await;
    }
    assert!(pacers.len() <= 130, "{pacers:?}");
    assert!(Arc::ptr_eq(&kept, &pacers.of(account(1), || None).unwrap()), "it is in use");
}

#[test]
fn nobody_waits_for_a_runtime_that_has_ended() {
    let pacer = pacer(PACING);
    let home = Builder::new_current_thread().enable_all().build().unwrap();
    let away = Builder::new_current_thread().enable_all().build().unwrap();
    let handle = home.handle().clone();
    away.block_on(async {
        for _ in 0..2 {
            let turn = pacer.turn(user(1), now() + SECOND, &handle).await.unwrap();
            turn.expect("it is free").sent();
            sleep(SECOND / 20).await;
        }
        let mut waits = Box::pin(pacer.turn(user(1), now() + 3600 * SECOND, &handle));
        begin(&mut waits).await;
        home.shutdown_background();
        assert!(waits.await.unwrap().is_none());
        // Nor does one that comes later.
        assert!(pacer.turn(user(1), now() + 3600 * SECOND, &handle).await.unwrap().is_none());
    });
}

#[test]
fn what_holds_for_an_account_comes_before_its_group_and_that_before_all() {
    let other = SendPacing { chat: None, ..PACING };
    let own = AccountId::bot(1).unwrap();
    let pacing = Pacing::all(PACING).group("users", None).account(own, Some(other));
    assert_eq!(pacing.of(AccountId::bot(2).unwrap(), "bots"), Some(PACING));
    assert_eq!(pacing.of(AccountId::bot(2).unwrap(), "users"), None);
    assert_eq!(pacing.of(own, "users"), Some(other));
    assert!(Pacing::none().is_none() && !pacing.is_none());
    assert!(!Pacing::none().account(own, Some(PACING)).is_none());
    let odd = SendLimit::new(0, Duration::ZERO);
    assert_eq!((odd.messages(), odd.per()), (1, Duration::from_millis(1)));
    let odd = SendLimit::new(u32::MAX, Duration::MAX);
    assert_eq!((odd.messages(), odd.per()), (10_000, 86_400 * SECOND));
}

/// One caller: when it comes, where it sends how much, how long it holds its turn, for how long it waits, and
/// whether it drops its turn in the end.
#[derive(Clone, Debug)]
struct ConnectionCaller {
    comes: u64,
    chat: u8,
    messages: u32,
    holds: u64,
    patience: u64,
    drops: bool,
}

fn caller() -> impl Strategy<Value = ConnectionCaller> {
    let holds = prop_oneof![3 => Just(0), 1 => 0..3000_u64];
    let patience = prop_oneof![3 => Just(600_000), 1 => 0..5000_u64];
    let messages = prop_oneof![6 => Just(1), 1 => 1..=5_u32];
    (0..20_000_u64, 0..4_u8, messages, holds, patience, prop::bool::weighted(0.1)).prop_map(
        |(comes, chat, messages, holds, patience, drops)| ConnectionCaller {
            comes,
            chat,
            messages,
            holds,
            patience,
            drops,
        },
    )
}

fn chat(number: u8) -> SendChat {
    match number {
        0 => SendChat::Group(1),
        number => SendChat::User(number.into()),
    }
}

/// When what was sent, in milliseconds.
type Sends = Vec<(u64, SendChat, u32)>;

async fn run(callers: &[ConnectionCaller], pacing: SendPacing) -> (Sends, usize) {
    let (pacer, start) = (pacer(pacing), now());
    let sends: Arc<Mutex<Sends>> = Arc::default();
    let tasks = callers.iter().cloned().map(|caller| {
        let (pacer, sends) = (Arc::clone(&pacer), Arc::clone(&sends));
        Handle::current().spawn(async move {
            sleep(Duration::from_millis(caller.comes)).await;
            let target = to(chat(caller.chat), caller.messages);
            let patience = Duration::from_millis(caller.patience);
            let Ok(turn) = turn_within(&pacer, target, patience).await else { return };
            sleep(Duration::from_millis(caller.holds)).await;
            if !caller.drops {
                turn.sent();
                let at = u64::try_from((now() - start).as_millis()).unwrap();
                sends.lock().push((at, target.chat, target.messages));
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    sleep(30 * SECOND).await;
    let left = pacer.chats();
    let mut sends = std::mem::take(&mut *sends.lock());
    sends.sort_by_key(|(at, ..)| *at);
    (sends, left)
}

/// The most messages of any stretch of so many milliseconds.
fn most_within(sends: &[(u64, SendChat, u32)], of: impl Fn(SendChat) -> bool, stretch: u64) -> u32 {
    let sends: Vec<_> = sends.iter().filter(|(_, chat, _)| of(*chat)).collect();
    let within =
        |from: u64| sends.iter().filter(move |(at, ..)| (from..from + stretch).contains(at));
    sends.iter().map(|(at, ..)| within(*at).map(|(.., many)| many).sum()).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_stretch_of_time_sees_more_than_the_limits(
        callers in prop::collection::vec(caller(), 1..160),
    ) {
        // No call here is more than a limit by itself.
        let pacing = SendPacing {
            account: Some(SendLimit::new(8, SECOND)),
            chat: Some(SendLimit::new(6, 2 * SECOND)),
            group: Some(SendLimit::new(9, 10 * SECOND)),
            margin: Duration::ZERO,
        };
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (sends, left) = runtime.block_on(run(&callers, pacing));
        for periods in 1..=4 {
            let stretch = u64::from(periods);
            prop_assert!(most_within(&sends, |_| true, stretch * 1000) <= 8 * periods);
            for number in 0..4 {
                let one = chat(number);
                prop_assert!(most_within(&sends, |chat| chat == one, stretch * 2000) <= 6 * periods);
            }
            prop_assert!(most_within(&sends, SendChat::is_group, stretch * 10_000) <= 9 * periods);
        }
        prop_assert_eq!(left, 0, "all is forgotten");
        // Whoever had the patience has had its turn.
        let patient = callers.iter().filter(|it| it.patience == 600_000 && !it.drops).count();
        prop_assert!(sends.len() >= patient, "{} of {patient}", sends.len());
    }
}
