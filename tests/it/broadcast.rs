//! Broadcasts against the sandbox: who gets the message, once, and what holds up whom.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use telepool::sandbox::{DataCentre, DataCentreOptions, Fault, FaultPlan, FaultRule};
use telepool::session::{DataCentres, SessionRecord, lines};
use telepool::telegram::client::tl::{enums, types};
use telepool::telegram::{
    BroadcastError, BroadcastMessage, BroadcastOutcome, BroadcastResult, BroadcastTarget,
    MemorySource, TelegramError, TelegramManager, TelegramSettings, UnsentReason,
};
use telepool::{AccountId, Pool};

const SECOND: Duration = Duration::from_secs(1);

type TestPool = Pool<TelegramManager<MemorySource>>;

fn bot(number: u64) -> AccountId {
    AccountId::bot(5_000_000_000 + number).unwrap()
}

fn group(chat_id: i64) -> enums::InputPeer {
    types::InputPeerChat { chat_id }.into()
}

fn group_id(chat: &enums::InputPeer) -> i64 {
    let enums::InputPeer::Chat(chat) = chat else { panic!("{chat:?}") };
    chat.chat_id
}

fn user(user_id: i64) -> enums::InputPeer {
    types::InputPeerUser { user_id, access_hash: 0 }.into()
}

/// A data centre with so many bots, and a pool of them.
async fn bots(bots: u64, rules: impl IntoIterator<Item = FaultRule>) -> (DataCentre, TestPool) {
    let mut options = DataCentreOptions::default();
    options.faults = FaultPlan::new(rules).unwrap();
    let data_centre = DataCentre::start(options).await.unwrap();
    let pool = pool_of(&data_centre, bots);
    (data_centre, pool)
}

fn pool_of(data_centre: &DataCentre, bots: u64) -> TestPool {
    pool_with(
        (1..=bots)
            .flat_map(|number| data_centre.create_sessions(bot(number), 1, Some("bots".into()))),
    )
}

fn pool_with(sessions: impl IntoIterator<Item = SessionRecord>) -> TestPool {
    let mut settings = TelegramSettings::new(1);
    settings.redial_after_loss = Duration::from_millis(50);
    let manager = TelegramManager::new(MemorySource::new(sessions).unwrap(), settings);
    Pool::builder(manager).configure(|config| config.dial.per_second = 2000).build().unwrap()
}

fn rule(on: u64, code: i32, message: &str) -> FaultRule {
    let fault = Fault::Error { code, message: message.into() };
    FaultRule::new("messages.sendMessage", fault).account(bot(on))
}

fn is_sent(result: &BroadcastResult) -> bool {
    matches!(result.outcome, BroadcastOutcome::Sent { message: Some(_) })
}

#[tokio::test]
async fn each_chat_gets_the_message_once_from_its_account_or_from_any() {
    let (data_centre, pool) = bots(3, []).await;
    let own = (0..30)
        .map(|chat: i64| BroadcastTarget::by(bot(1 + chat.cast_unsigned() % 2), group(chat)));
    let any = (30..90).map(|chat| BroadcastTarget::any(group(chat)));
    let mut run = pool.broadcast("bots", "news", "hello").start(own.chain(any)).await.unwrap();
    let mut by_account: BTreeMap<AccountId, BTreeSet<i64>> = BTreeMap::new();
    while let Some(result) = run.next().await {
        let result = result.unwrap();
        assert!(is_sent(&result), "{result:?}");
        let account = result.account.unwrap();
        assert!(by_account.entry(account).or_default().insert(group_id(&result.chat)));
        assert!(group_id(&result.chat) >= 30 || account != bot(3));
    }
    let progress = run.progress();
    assert_eq!((progress.sent, progress.failed, progress.unsent, progress.waiting), (90, 0, 0, 0));
    assert!(by_account.values().all(|chats| chats.len() >= 8), "the members share: {by_account:?}");
    assert_eq!(by_account.values().map(BTreeSet::len).sum::<usize>(), 90);
    assert_eq!(data_centre.stats().faults_injected, 0);
}

#[tokio::test]
async fn what_a_chat_refuses_is_told_and_not_tried_again() {
    let (data_centre, pool) = bots(1, [rule(1, 400, "USER_IS_BLOCKED").limit(1)]).await;
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("news");
    let targets = || (0..10).map(|chat| (bot(1), group(chat)));
    let broadcast = || pool.broadcast("bots", "news", "hello").journal(&journal);
    let mut run = broadcast().calls_per_account(1).start(targets()).await.unwrap();
    let first = run.next().await.unwrap().unwrap();
    let BroadcastOutcome::Failed { error: TelegramError::Rpc { name, .. } } = &first.outcome else {
        panic!("{first:?}")
    };
    assert_eq!((&**name, group_id(&first.chat)), ("USER_IS_BLOCKED", 0));
    let progress = run.finish().await.unwrap();
    assert_eq!((progress.sent, progress.failed, progress.skipped), (9, 1, 0));
    let calls = data_centre.stats().calls;
    let again = broadcast().start(targets()).await.unwrap().finish().await.unwrap();
    assert_eq!((again.sent, again.failed, again.skipped), (0, 0, 10));
    assert_eq!(data_centre.stats().calls, calls, "nothing was sent");
}

#[tokio::test]
async fn a_run_that_is_cut_short_goes_on_where_it_was_and_sends_nothing_twice() {
    let (data_centre, pool) = bots(2, []).await;
    data_centre.set_latency(Duration::from_millis(5));
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("news");
    let targets = || (0..400).map(|chat| BroadcastTarget::any(group(chat)));
    let broadcast = || pool.broadcast("bots", "news", "hello").journal(&journal);
    let mut settled = BTreeSet::new();
    let (mut sent, mut duplicates) = (0, 0);
    for cut in [1, 40, 100, usize::MAX] {
        let mut run = broadcast().calls_per_account(8).start(targets()).await.unwrap();
        let mut seen = 0;
        while seen < cut
            && let Some(result) = run.next().await
        {
            let result = result.unwrap();
            let BroadcastOutcome::Sent { message } = result.outcome else { panic!("{result:?}") };
            *(if message.is_some() { &mut sent } else { &mut duplicates }) += 1;
            assert!(settled.insert(group_id(&result.chat)), "it was in the journal");
            seen += 1;
        }
        if cut == usize::MAX {
            assert_eq!(run.progress().waiting, 0);
        } else {
            // What was answered and not taken yet is in the journal, and no result tells of it.
            drop(run);
        }
    }
    let lines = std::fs::read_to_string(&journal).unwrap();
    let numbers: BTreeSet<&str> = lines.lines().skip(1).map(|line| &line[..30]).collect();
    assert_eq!((lines.lines().count(), numbers.len()), (401, 400), "each chat has one line");
    assert!(sent + duplicates <= 400 && sent > 300, "{sent} and {duplicates}");
    // Without the journal the server drops what it has.
    let again = pool.broadcast("bots", "news", "hello").start(targets()).await.unwrap();
    assert_eq!(again.finish().await.unwrap().sent, 400);
}

#[tokio::test]
async fn chats_of_an_account_that_is_paused_wait_for_it_together_and_no_longer_than_they_may() {
    let (_data_centre, pool) = bots(2, []).await;
    let targets = || (0..200).map(|chat: i64| (bot(1 + chat.cast_unsigned() % 2), group(chat)));
    assert!(pool.pause(bot(1)));
    let broadcast = |id, patience| pool.broadcast("bots", id, "hello").patience(patience);
    let progress =
        broadcast("news", SECOND).start(targets()).await.unwrap().finish().await.unwrap();
    assert_eq!((progress.sent, progress.unsent), (100, 100));
    let run = broadcast("more", 600 * SECOND).start(targets()).await.unwrap();
    let done = tokio::spawn(run.finish());
    tokio::time::sleep(SECOND / 2).await;
    assert!(pool.resume(bot(1)));
    assert_eq!(done.await.unwrap().unwrap().sent, 200);
}

/// What a process is told that broadcasts until it is killed.
const SESSIONS: &str = "BROADCAST_SESSIONS";

fn four_hundred() -> impl Iterator<Item = BroadcastTarget> {
    (0..400).map(|chat| BroadcastTarget::any(group(chat)))
}

/// A process that broadcasts by the sessions of a file, with a journal beside it.
async fn broadcast_from(sessions: &std::path::Path) {
    let file = std::io::BufReader::new(std::fs::File::open(sessions).unwrap());
    let mut records = lines::read_all(file, &DataCentres::default()).unwrap();
    records.iter_mut().for_each(|record| record.group = Some("bots".into()));
    let pool = pool_with(records);
    let journal = sessions.with_extension("journal");
    let broadcast = pool.broadcast("bots", "news", "hello").journal(&journal).calls_per_account(8);
    broadcast.start(four_hundred()).await.unwrap().finish().await.unwrap();
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_again_and_again_leaves_no_chat_out_and_writes_to_none_twice() {
    if let Some(sessions) = std::env::var_os(SESSIONS) {
        return broadcast_from(sessions.as_ref()).await;
    }
    let name = "broadcast::a_process_that_is_killed_again_and_again_leaves_no_chat_out_and_writes_to_none_twice";
    let mut options = DataCentreOptions::default();
    options.latency = Duration::from_millis(5);
    let data_centre = DataCentre::start(options).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sessions = folder.path().join("sessions");
    let mut file = Vec::new();
    for number in 1..=2 {
        for record in data_centre.create_sessions(bot(number), 1, None) {
            lines::write_line(&mut file, &record).unwrap();
        }
    }
    std::fs::write(&sessions, file).unwrap();
    let written = || -> usize {
        (1..=2).map(|it| data_centre.update_counts(bot(it)).unwrap().common_kept).sum()
    };
    let mut kills = 0;
    loop {
        let before = written();
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let mut process = command.args(["--exact", name]).env(SESSIONS, &sessions).spawn().unwrap();
        while process.try_wait().unwrap().is_none() && (kills == 5 || written() < before + 50) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        process.kill().unwrap();
        if process.wait().unwrap().success() {
            break;
        }
        kills += 1;
    }
    assert_eq!((kills, written()), (5, 400));
    assert_eq!(data_centre.stats().key_violations, 0);
}

#[tokio::test]
async fn an_account_that_is_flooded_or_restricted_holds_up_no_other() {
    let flood = FaultRule::new("messages.sendMessage", Fault::FloodWait { seconds: 3600 });
    let rules = [flood.account(bot(1)).limit(1), rule(2, 400, "PEER_FLOOD")];
    let (data_centre, pool) = bots(4, rules).await;
    assert!(pool.quarantine(bot(3)));
    let targets = (0..400).map(|chat: i64| (bot(1 + chat.cast_unsigned() % 4), group(chat)));
    let broadcast = pool.broadcast("bots", "news", "hello").calls_per_account(1);
    let mut run = broadcast.patience(60 * SECOND).start(targets).await.unwrap();
    let mut unsent: BTreeMap<AccountId, u32> = BTreeMap::new();
    while let Some(result) = run.next().await {
        let result = result.unwrap();
        match result.outcome {
            BroadcastOutcome::Sent { .. } => assert_eq!(result.account, Some(bot(4))),
            BroadcastOutcome::Unsent { reason: UnsentReason::Account(_) } => {
                *unsent.entry(result.account.unwrap()).or_default() += 1;
            }
            _ => panic!("{result:?}"),
        }
    }
    assert_eq!(run.progress().sent, 100);
    assert_eq!(unsent, [(bot(1), 100), (bot(2), 100), (bot(3), 100)].into());
    let stats = data_centre.stats();
    assert_eq!(stats.faults_injected, 2, "neither was asked again");
}

#[tokio::test]
async fn a_long_list_of_an_account_that_rests_makes_room_for_the_others() {
    let flood = FaultRule::new("messages.sendMessage", Fault::FloodWait { seconds: 3600 });
    let (_data_centre, pool) = bots(2, [flood.account(bot(1)).limit(1)]).await;
    let targets = (0..400).map(|chat: i64| (bot(1 + chat.cast_unsigned() % 2), group(chat)));
    let broadcast = pool.broadcast("bots", "news", "hello").look_ahead(20).patience(7200 * SECOND);
    let mut run = broadcast.start(targets).await.unwrap();
    while run.progress().sent < 200 {
        let result = run.next().await.unwrap().unwrap();
        match (result.account, result.outcome) {
            (Some(account), BroadcastOutcome::Sent { .. }) => assert_eq!(account, bot(2)),
            (account, BroadcastOutcome::Unsent { reason: UnsentReason::Crowded }) => {
                assert_eq!(account, Some(bot(1)));
            }
            (_, outcome) => panic!("{outcome:?}"),
        }
    }
    let progress = run.cancel().await.unwrap();
    assert!(progress.unsent >= 150 && progress.waiting <= 20, "{progress:?}");
}

#[tokio::test]
async fn chats_of_an_account_that_cannot_serve_go_to_other_members_if_any_may_write_to_them() {
    let (_data_centre, pool) = bots(2, []).await;
    assert!(pool.quarantine(bot(1)));
    let targets = (0..40).map(|chat| BroadcastTarget::any(group(chat)));
    let run = pool.broadcast("bots", "news", "hello").start(targets).await.unwrap();
    assert_eq!(run.finish().await.unwrap().sent, 40);
    assert!(pool.quarantine(bot(2)));
    let targets = [BroadcastTarget::any(group(77))];
    let mut run = pool.broadcast("bots", "other", "hello").start(targets).await.unwrap();
    let result = run.next().await.unwrap().unwrap();
    assert!(
        matches!(result.outcome, BroadcastOutcome::Unsent { reason: UnsentReason::NoMember }),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_short_flood_is_waited_for() {
    let flood = FaultRule::new("messages.sendMessage", Fault::FloodWait { seconds: 1 }).limit(1);
    let (data_centre, pool) = bots(1, [flood]).await;
    let targets = (0..40).map(|chat| (bot(1), group(chat)));
    let run = pool.broadcast("bots", "news", "hello").start(targets).await.unwrap();
    let progress = run.finish().await.unwrap();
    assert_eq!((progress.sent, progress.unsent), (40, 0));
    assert!(data_centre.stats().faults_injected >= 1);
}

#[tokio::test]
async fn a_long_list_is_read_as_it_is_needed_and_nothing_of_it_is_kept() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    let (_data_centre, pool) = bots(1, []).await;
    let read = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&read);
    let targets = (0..).map(move |chat| {
        counter.fetch_add(1, Ordering::SeqCst);
        (bot(1), group(chat))
    });
    let broadcast = pool.broadcast("bots", "endless", "hello").look_ahead(50).calls_per_account(4);
    let mut run = broadcast.start(targets).await.unwrap();
    for taken in 1..=200 {
        assert!(is_sent(&run.next().await.unwrap().unwrap()));
        assert!(read.load(Ordering::SeqCst) <= taken + 50 + 4 + 1, "{taken}");
    }
    let progress = run.cancel().await.unwrap();
    assert!(progress.sent >= 200);
}

#[tokio::test]
async fn the_message_may_be_another_one_for_each_chat() {
    let (data_centre, pool) = bots(2, []).await;
    let other = data_centre.create_sessions("+9996620001".parse().unwrap(), 1, None);
    let receiver = other[0].user_id;
    let broadcast = pool.broadcast("bots", "news", "x").each(move |account, chat| {
        assert!([bot(1), bot(2)].contains(&account));
        // The server refuses a text that is empty.
        BroadcastMessage::text(if *chat == user(receiver) { "for you" } else { "" })
    });
    let targets = [(bot(1), user(receiver)), (bot(2), group(1))];
    let progress = broadcast.start(targets).await.unwrap().finish().await.unwrap();
    assert_eq!((progress.sent, progress.failed), (1, 1));
}

#[tokio::test]
async fn a_journal_that_belongs_to_another_broadcast_or_run_is_refused() {
    let (_data_centre, pool) = bots(1, []).await;
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("news");
    let targets = || [(bot(1), group(1))];
    let open = |id: &str| pool.broadcast("bots", id, "hello").journal(&journal).start(targets());
    let run = open("news").await.unwrap();
    let error = open("news").await.unwrap_err();
    assert!(matches!(error, BroadcastError::InUse { .. }), "{error}");
    drop(run);
    let error = open("other").await.unwrap_err();
    assert!(matches!(error, BroadcastError::OtherFile { .. }), "{error}");
    open("news").await.unwrap().finish().await.unwrap();
}

#[test]
fn a_broadcast_may_be_run_from_another_runtime_or_none_and_ends_with_the_pools() {
    let home = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let home = home.unwrap();
    let (_data_centre, pool) = home.block_on(bots(1, []));
    let targets = (0..50).map(|chat| (bot(1), group(chat)));
    let sent = crate::surroundings::wait_for(async {
        pool.broadcast("bots", "news", "hello").start(targets).await.unwrap().finish().await
    });
    assert_eq!(sent.unwrap().sent, 50);
    let targets = (50..1000).map(|chat| (bot(1), group(chat)));
    let ended = crate::surroundings::wait_for(async {
        let mut run = pool.broadcast("bots", "news", "hello").start(targets).await.unwrap();
        run.next().await.unwrap().unwrap();
        home.shutdown_background();
        loop {
            match run.next().await {
                Some(Ok(_)) => {}
                end => break end,
            }
        }
    });
    assert!(matches!(ended, Some(Err(BroadcastError::RuntimeEnded)) | None), "{ended:?}");
}
