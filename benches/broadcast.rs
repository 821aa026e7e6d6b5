//! Broadcasts by bots over a data centre that refuses what Telegram refuses, with pacing and without; and how
//! long a chat waits while another one is flooded by its own caller.
//!
//! `cargo bench --bench broadcast` takes a minute; each figure stands with its aim and whether it was reached.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the time by itself")]

use std::thread;
use std::time::{Duration, Instant};

use telepool::sandbox::{DataCentre, DataCentreOptions, SendLimits};
use telepool::session::SessionRecord;
use telepool::telegram::client::tl::{enums, functions, types};
use telepool::telegram::{
    BroadcastOutcome, MemorySource, Pacing, SendPacing, TelegramManager, TelegramSettings,
    UnsentReason, text_message,
};
use telepool::{AccountId, Pool};
use tokio::task::JoinSet;

type BotPool = Pool<TelegramManager<MemorySource>>;

/// What Telegram documents: so many messages of a bot in a second.
const PERMITTED: f64 = 30.0;
/// The time from one turn of a bot to its next, with the margin of [`SendPacing::bot`].
const TURN_MS: f64 = 1030.0 / PERMITTED;

fn bot(number: u64) -> AccountId {
    AccountId::bot(5_000_000_000 + number).unwrap()
}

fn group(chat_id: i64) -> enums::InputPeer {
    types::InputPeerChat { chat_id }.into()
}

/// A data centre on a thread of its own, with so many bots.
fn data_centre(bots: u64) -> (DataCentre, Vec<SessionRecord>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut options = DataCentreOptions::default();
            options.latency = Duration::from_millis(20);
            options.send_limits = Some(SendLimits::bot());
            let data_centre = DataCentre::start(options).await.unwrap();
            let sessions = (0..bots).flat_map(|number| {
                data_centre.create_sessions(bot(number), 1, Some("bots".into()))
            });
            let sessions = sessions.collect();
            sender.send((data_centre, sessions)).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().unwrap()
}

/// A pool of these bots, each of which has its connection.
async fn pool(sessions: Vec<SessionRecord>, pacing: Pacing) -> BotPool {
    let accounts: Vec<_> = sessions.iter().map(|session| session.account).collect();
    let mut settings = TelegramSettings::new(1);
    settings.pacing = pacing;
    let manager = TelegramManager::new(MemorySource::new(sessions).unwrap(), settings);
    let pool =
        Pool::builder(manager).configure(|config| config.dial.per_second = 2000).build().unwrap();
    for account in accounts {
        drop(pool.acquire(account).await.unwrap());
    }
    pool
}

/// Floods, and messages of a bot in a second.
async fn broadcast(bots: u64, chats: i64, pacing: Pacing) -> (u64, f64) {
    let (data_centre, sessions) = data_centre(bots);
    let pool = pool(sessions, pacing).await;
    let targets = (0..chats)
        .flat_map(move |chat| (0..bots).map(move |number| (bot(number), group(1 + chat))));
    let start = Instant::now();
    let run = pool.broadcast("bots", "bench", "hello").start(targets).await.unwrap();
    let progress = run.finish().await.unwrap();
    let took = start.elapsed().as_secs_f64();
    assert_eq!(progress.sent, bots * chats.unsigned_abs(), "{progress:?}");
    let stats = data_centre.stats();
    assert_eq!(stats.key_violations, 0);
    pool.close().await;
    (stats.send_floods, progress.sent as f64 / took / bots as f64)
}

fn message(chat: i64) -> functions::messages::SendMessage {
    text_message(group(chat), "hello", fastrand::i64(1..))
}

/// For how long messages to other chats wait while the queue of one is long: the median and the longest, in
/// milliseconds, without the time of an answer.
async fn fairness(probes: i64) -> (f64, f64) {
    let (_data_centre, sessions) = data_centre(1);
    let pool = pool(sessions, SendPacing::bot().into()).await;
    let account = pool.account(bot(0)).unwrap();
    let mut flood = JoinSet::new();
    for _ in 0..2000 {
        let account = account.clone();
        // Most of them give up in the end.
        let limit = Duration::from_secs(3600);
        flood.spawn(async move { account.invoke_within(&message(1), limit).await.map(drop) });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut answers = Vec::new();
    let mut waits = Vec::new();
    for probe in 0..probes {
        let ping = Instant::now();
        account.invoke(&functions::updates::GetState {}).await.unwrap();
        answers.push(ping.elapsed());
        let start = Instant::now();
        account.invoke(&message(100 + probe)).await.unwrap();
        waits.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(fastrand::u64(5..60))).await;
    }
    flood.shutdown().await;
    pool.close().await;
    answers.sort();
    let answer = answers[answers.len() / 2];
    let mut waits: Vec<_> =
        waits.into_iter().map(|wait| wait.saturating_sub(answer).as_secs_f64() * 1e3).collect();
    waits.sort_by(f64::total_cmp);
    (waits[waits.len() / 2], waits[waits.len() - 1])
}

/// Resident memory in bytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("VmRSS: 0");
    1024.0 * line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap()
}

/// A list without an end for an account that does not serve: how many bytes a chat takes that is read ahead.
async fn read_ahead() -> f64 {
    let (_data_centre, sessions) = data_centre(1);
    let pool = pool(sessions, Pacing::none()).await;
    assert!(pool.pause(bot(0)));
    let before = resident();
    let targets = (1..).map(|chat| (bot(0), group(chat)));
    let mut run = pool.broadcast("bots", "endless", "hello").start(targets).await.unwrap();
    // The first for which there is no room is told at once.
    let crowded = run.next().await.unwrap().unwrap();
    assert!(matches!(crowded.outcome, BroadcastOutcome::Unsent { reason: UnsentReason::Crowded }));
    let progress = run.progress();
    let each = (resident() - before) / progress.waiting as f64;
    run.cancel().await.unwrap();
    pool.close().await;
    each
}

/// How many chats of a list are passed over in a second, and by how many bytes of memory that grows, of an
/// account that nobody knows.
async fn pass_over(chats: i64) -> (f64, f64) {
    let (_data_centre, sessions) = data_centre(1);
    let pool = pool(sessions, Pacing::none()).await;
    let targets = (1..=chats).map(|chat| (bot(77), group(chat)));
    let mut run = pool.broadcast("bots", "long", "hello").start(targets).await.unwrap();
    let (before, start) = (resident(), Instant::now());
    let mut passed = 0;
    while let Some(result) = run.next().await {
        result.unwrap();
        passed += 1;
    }
    assert_eq!(passed, chats);
    let figures = (passed as f64 / start.elapsed().as_secs_f64(), resident() - before);
    pool.close().await;
    figures
}

fn tell(what: &str, figure: String, aim: &str, reached: bool) {
    let verdict = if reached { "reached" } else { "NOT reached" };
    println!("| {what} | {figure} | {aim} | {verdict} |");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let short = std::env::args().any(|argument| argument == "--test");
    let (bots, chats, probes) = if short { (2, 60, 5) } else { (20, 500, 100) };
    println!("| {bots} bots, {chats} chats each | figure | aim | verdict |\n|---|---:|---:|---|");
    let (floods, rate) = broadcast(bots, chats, SendPacing::bot().into()).await;
    let share = rate / PERMITTED * 100.0;
    tell("floods, with pacing", floods.to_string(), "0", floods == 0);
    tell(
        "rate of each bot, with pacing",
        format!("{rate:.1}/s, {share:.1} % of what is permitted"),
        ">= 95 %",
        share >= 95.0,
    );
    let (median, longest) = fairness(probes).await;
    tell(
        "wait of another chat while one is flooded",
        format!("{median:.1} ms, at most {longest:.1} ms"),
        &format!("<= {TURN_MS:.1} ms"),
        longest <= TURN_MS,
    );
    let each = read_ahead().await;
    tell("a chat that is read ahead", format!("{each:.0} bytes"), "<= 120 bytes", each <= 120.0);
    let (passed, grown) = pass_over(if short { 10_000 } else { 1_000_000 }).await;
    let grown = grown / 1e6;
    tell(
        "a list of a million for an account that nobody knows",
        format!("{passed:.0} chats/s, and {grown:.1} MB more at its end"),
        "<= 10 MB",
        grown <= 10.0,
    );
    let (floods, rate) = broadcast(bots, chats, Pacing::none()).await;
    println!("| floods, without pacing | {floods} | | |");
    println!("| rate of each bot, without pacing | {rate:.1}/s | | |");
}
