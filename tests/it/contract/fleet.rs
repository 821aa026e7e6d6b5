//! A fleet of bots that answer whatever they hear: it is cut off, flooded, ended in the middle of its work and started
//! again, and misses nothing.

use std::path::Path;
use std::sync::Arc;

use telepool::Pool;
use telepool::import::{FoundSession, Origin};
use telepool::session::SessionRecord;
use telepool::store::{NewSession, SessionStore as _, SqliteStore};
use telepool::telegram::{
    AccountUpdate, ServeOptions, SessionSource as _, StoreSource, UpdateStream,
};
use tokio::task::JoinSet;

use super::*;

const BOTS: u64 = 50;
/// How many answers are under way at a time.
const ANSWERS_MAX: usize = 64;

fn bot(number: u64) -> AccountId {
    AccountId::bot(9_000 + number).unwrap()
}

fn add(path: &Path, records: &[SessionRecord]) {
    let sessions: Vec<_> = records
        .iter()
        .map(|record| {
            let mut found = FoundSession::new(Origin::Telethon, record.dc, record.key.clone());
            (found.user_id, found.is_bot) = (Some(record.user_id), Some(true));
            NewSession::new(found, record.address)
        })
        .collect();
    SqliteStore::create(path).unwrap().add(&sessions).unwrap();
}

/// One life of the process that serves the fleet.
struct Fleet {
    source: Arc<StoreSource>,
    pool: Pool<TelegramManager<Arc<StoreSource>>>,
    updates: UpdateStream,
    answers: JoinSet<()>,
}

impl Fleet {
    fn start(path: &Path) -> Self {
        let store = SqliteStore::open(path).unwrap();
        let source = Arc::new(StoreSource::serve(store, &ServeOptions::default()).unwrap());
        let mut settings = settings();
        settings.redial_after_loss = Duration::from_millis(50);
        let pool = Pool::builder(TelegramManager::new(Arc::clone(&source), settings))
            .configure(|config| {
                config.dial.per_second = 2000;
                config.dial.handshakes = 64;
            })
            .build()
            .unwrap();
        let updates = pool.updates().unwrap();
        Self { source, pool, updates, answers: JoinSet::new() }
    }

    /// Answers until it is told that this is enough.
    async fn answer_until(&mut self, is_enough: impl Fn() -> bool) {
        for _ in 0..6_000 {
            let patience = Duration::from_millis(20);
            while let Ok(Some(update)) = tokio::time::timeout(patience, self.updates.recv()).await {
                while self.answers.len() >= ANSWERS_MAX {
                    self.answers.join_next().await.unwrap().unwrap();
                }
                self.answers.spawn(answer(self.pool.clone(), update));
                if is_enough() {
                    return;
                }
            }
            if is_enough() {
                return;
            }
        }
        panic!("it never comes");
    }

    /// Ends in the middle of whatever is under way: that was not taken, and comes again.
    async fn end(self) {
        let Self { source, pool, updates, mut answers } = self;
        drop(updates);
        answers.shutdown().await;
        pool.close().await;
        assert!(source.close(Duration::from_secs(30)));
    }
}

/// Answers a message, unless the bot has written it itself. The update is kept until that is done.
async fn answer(pool: Pool<TelegramManager<Arc<StoreSource>>>, update: AccountUpdate) {
    let Some(message) = update.new_message().filter(|message| !message.out) else { return };
    let peer = update.input_peer(&message.peer_id).expect("it says who has written");
    let mut answer = message_to(peer);
    // The same for the same message: whoever gets it twice answers once.
    answer.random_id = i64::from(message.id);
    let account = pool.account(update.account).unwrap();
    loop {
        match account.invoke_idempotent(&answer, Duration::from_secs(30)).await {
            Ok(_) => return,
            Err(error) if error.to_string().contains("RANDOM_ID_DUPLICATE") => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_is_cut_off_flooded_and_restarted_answers_every_message_once() {
    let flood = Fault::FloodWait { seconds: 1 };
    let mut options = DataCentreOptions::default();
    options.faults = FaultPlan::new([
        FaultRule::new("messages.sendMessage", flood).chance(0.05),
        FaultRule::new("updates", Fault::Lose).chance(0.05),
    ])
    .unwrap();
    let data_centre = DataCentre::start(options).await.unwrap();
    let records: Vec<_> =
        (0..BOTS).flat_map(|it| data_centre.create_sessions(bot(it), 1, None)).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bots.db");
    add(&path, &records);
    let post = |rounds: u64, cut_off: bool| {
        for round in 0..rounds {
            for number in 0..BOTS {
                data_centre.post_message(bot(number), "a word").unwrap();
                if cut_off && number % 7 == round {
                    data_centre.disconnect(bot(number), &Fault::Close);
                }
            }
        }
    };
    // What came in and what went out, of all bots.
    let events = || -> u64 {
        (0..BOTS)
            .map(|it| data_centre.update_counts(bot(it)).unwrap().pts.unsigned_abs())
            .map(u64::from)
            .sum()
    };
    let mut fleet = Fleet::start(&path);
    let has_begun = |it: u64| {
        fleet.source.update_states(bot(it)).unwrap().is_some_and(|states| states.account.is_some())
    };
    wait_until("each bot listens", || (0..BOTS).all(has_begun)).await;
    post(5, true);
    // Ended when some are answered, and others are not.
    fleet.answer_until(|| events() >= BOTS * 8).await;
    fleet.end().await;
    post(5, false);
    let mut fleet = Fleet::start(&path);
    // The first of each box is number one.
    fleet.answer_until(|| events() >= BOTS * (1 + 2 * 10)).await;
    data_centre.set_faults(&FaultPlan::default());
    fleet.end().await;
    assert_eq!(events(), BOTS * (1 + 2 * 10), "every message has one answer");
    assert_eq!(data_centre.stats().key_violations, 0);
}
