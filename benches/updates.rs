//! Updates of a thousand accounts that listen: how many a second, how late, and how long it takes to fetch what came
//! while all connections were lost.
//!
//! `cargo bench --bench updates` takes half a minute; each figure stands with its aim and whether it was reached.
//! The data centre runs in the same process, so that both share the machine.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the time by itself")]

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use telepool::sandbox::{DataCentre, DataCentreOptions, Fault};
use telepool::session::SessionRecord;
use telepool::telegram::{
    MemorySource, SessionSource as _, TelegramManager, TelegramSettings, UpdateStream,
};
use telepool::{AccountId, Pool};

type Bots = Pool<TelegramManager<Arc<MemorySource>>>;

struct Size {
    accounts: u64,
    per_second: u64,
    seconds: u64,
    missed: u64,
}

fn bot(number: u64) -> AccountId {
    AccountId::bot(5_000_000_000 + number).unwrap()
}

/// A data centre on a thread of its own, with so many bots.
fn data_centre(bots: u64) -> (DataCentre, Vec<SessionRecord>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
            let sessions = (0..bots).flat_map(|it| data_centre.create_sessions(bot(it), 1, None));
            let sessions = sessions.collect();
            sender.send((data_centre, sessions)).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().unwrap()
}

/// A pool whose accounts all listen.
async fn listening(sessions: Vec<SessionRecord>) -> (Bots, UpdateStream) {
    let accounts: Vec<_> = sessions.iter().map(|session| session.account).collect();
    let source = Arc::new(MemorySource::new(sessions).unwrap());
    let manager = TelegramManager::new(Arc::clone(&source), TelegramSettings::new(1));
    let configured = Pool::builder(manager).configure(|config| {
        config.dial.per_second = 2000;
        config.dial.handshakes = 64;
    });
    let pool = configured.build().unwrap();
    let updates = pool.updates().unwrap();
    while !accounts.iter().all(|account| source.update_states(*account).unwrap().is_some()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (pool, updates)
}

/// Reads so many messages; each account's must come in order. Returns how late each was that tells when it was sent.
async fn read(
    updates: &mut UpdateStream,
    count: u64,
    began: Instant,
    last: &mut HashMap<AccountId, i32>,
) -> Vec<Duration> {
    let mut late = Vec::with_capacity(usize::try_from(count).unwrap());
    let mut seen = 0;
    while seen < count {
        let update = updates.recv().await.unwrap();
        let Some(message) = update.new_message() else { continue };
        let before = last.insert(update.account, message.id).unwrap_or(0);
        assert_eq!(message.id, before + 1, "{}: in order, and each once", update.account);
        if let Ok(sent) = message.message.parse::<u64>() {
            late.push(began.elapsed().saturating_sub(Duration::from_micros(sent)));
        }
        seen += 1;
    }
    late.sort_unstable();
    late
}

fn tell(what: &str, figure: &str, aim: &str, reached: bool) {
    let verdict = if reached { "reached" } else { "NOT reached" };
    println!("| {what} | {figure} | {aim} | {verdict} |");
}

/// The processor time of this process so far.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum();
    // As Linux counts them: a hundred a second.
    Duration::from_millis(ticks * 10)
}

async fn measure(size: &Size) {
    let &Size { accounts, per_second, seconds, missed } = size;
    let (data_centre, sessions) = data_centre(accounts);
    let (pool, mut updates) = listening(sessions).await;
    println!("| {accounts} accounts that listen | figure | aim | verdict |\n|---|---:|---:|---|");
    let (began, mut last) = (Instant::now(), HashMap::new());
    let before = processor_time();
    let poster = data_centre.clone();
    let posting = thread::spawn(move || {
        for turn in 0..per_second * seconds {
            let due = Duration::from_micros(turn * 1_000_000 / per_second);
            thread::sleep(due.saturating_sub(began.elapsed()));
            let sent = began.elapsed().as_micros().to_string();
            poster.post_message(bot(turn % accounts), &sent).unwrap();
        }
        began.elapsed()
    });
    let count = per_second * seconds;
    let late = read(&mut updates, count, began, &mut last).await;
    let took = began.elapsed();
    let used = processor_time().saturating_sub(before).as_secs_f64() / took.as_secs_f64();
    let posted = posting.join().unwrap();
    let rate = count as f64 / took.as_secs_f64();
    let aim = per_second as f64 * 0.98;
    tell("updates a second", &format!("{rate:.0}"), &format!(">= {aim:.0}"), rate >= aim);
    let p99 = late[late.len() * 99 / 100];
    tell("late, 99 of 100", &format!("{p99:.1?}"), "<= 100 ms", p99.as_millis() <= 100);
    let after = took.saturating_sub(posted);
    tell("after the last was sent", &format!("{after:.1?}"), "<= 1 s", after.as_secs() < 1);
    let figure = format!("{used:.2} of a core");
    tell("with the data centre in it", &figure, "<= 2 cores", used <= 2.0);
    // All are cut off, and what comes meanwhile is fetched.
    for number in 0..accounts {
        data_centre.disconnect(bot(number), &Fault::Close);
        for _ in 0..missed {
            data_centre.post_message(bot(number), "while away").unwrap();
        }
    }
    let began = Instant::now();
    read(&mut updates, accounts * missed, began, &mut last).await;
    let took = began.elapsed();
    let figure = format!("{took:.1?}");
    let what = format!("{missed} updates each fetched, after all were cut off");
    tell(&what, &figure, "<= 30 s", took.as_secs() < 30);
    assert_eq!(data_centre.stats().key_violations, 0);
    drop(updates);
    pool.close().await;
}

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let size = match is_test {
        true => Size { accounts: 20, per_second: 500, seconds: 1, missed: 10 },
        false => Size { accounts: 1_000, per_second: 10_000, seconds: 10, missed: 100 },
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all();
    builder.build().unwrap().block_on(measure(&size));
}
