//! That an update reaches whoever listens: in order, once in the life of a process, and after a restart as well.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use telepool::session::SessionRecord;
use telepool::telegram::{
    AccountUpdate, MissedUpdates, SessionSource as _, UpdateContent, UpdateStream, UpdatesOptions,
};
use telepool::{Account, Pool};

use super::*;

pub(super) type Telegram = Pool<TelegramManager<Arc<MemorySource>>>;

fn account(number: u64) -> AccountId {
    AccountId::bot(5_000 + number).unwrap()
}

/// A data centre with some accounts, and the sessions of a process that comes and goes.
pub(super) struct World {
    pub(super) data_centre: DataCentre,
    pub(super) source: Arc<MemorySource>,
    pub(super) accounts: Vec<AccountId>,
}

pub(super) async fn world(accounts: u64, sessions: u16, options: DataCentreOptions) -> World {
    let data_centre = DataCentre::start(options).await.unwrap();
    let accounts: Vec<_> = (0..accounts).map(account).collect();
    let records: Vec<SessionRecord> = accounts
        .iter()
        .flat_map(|account| data_centre.create_sessions(*account, sessions, None))
        .collect();
    World { data_centre, source: Arc::new(MemorySource::new(records).unwrap()), accounts }
}

impl World {
    pub(super) fn pool(&self) -> Telegram {
        let mut settings = settings();
        settings.redial_after_loss = Duration::from_millis(50);
        Pool::builder(TelegramManager::new(Arc::clone(&self.source), settings))
            .configure(|config| {
                config.dial.per_second = 2000;
                config.dial.handshakes = 64;
            })
            .build()
            .unwrap()
    }

    /// Listens, and waits until each account does.
    pub(super) async fn listen(&self, pool: &Telegram, options: &UpdatesOptions) -> UpdateStream {
        let updates = pool.updates_with(options).unwrap();
        self.until_each_listens().await;
        self.until_each_has_begun().await;
        updates
    }

    async fn until_each_listens(&self) {
        let is_listening = |account: &AccountId| {
            self.data_centre.update_counts(*account).unwrap().sessions.iter().any(|it| it.listens)
        };
        wait_until("every account listens", || self.accounts.iter().all(is_listening)).await;
    }
}

impl World {
    /// Waits until it is known of each account from where on updates are wanted.
    async fn until_each_has_begun(&self) {
        let has_begun =
            |account: &AccountId| self.source.update_states(*account).unwrap().is_some();
        wait_until("every account has begun", || self.accounts.iter().all(has_begun)).await;
    }
}

/// What is told of a box: the account's own, or a channel's.
fn place(update: &AccountUpdate) -> Option<(AccountId, i64, i32)> {
    let message = update.new_message()?;
    let channel = match &message.peer_id {
        enums::Peer::Channel(channel) => channel.channel_id,
        _ => 0,
    };
    Some((update.account, channel, message.id))
}

/// Reads until the last message of each box has come. Returns the messages of each, as they came.
pub(super) async fn read_until(
    updates: &mut UpdateStream,
    last: &BTreeMap<(AccountId, i64), i32>,
) -> BTreeMap<(AccountId, i64), Vec<i32>> {
    let mut seen: BTreeMap<_, Vec<i32>> = BTreeMap::new();
    let mut missing = last.clone();
    while !missing.is_empty() {
        let next = tokio::time::timeout(Duration::from_secs(60), updates.recv()).await;
        let Ok(update) = next else { panic!("{missing:?} never came; {seen:?} did") };
        let Some((account, channel, id)) = place(&update.unwrap()) else { continue };
        seen.entry((account, channel)).or_default().push(id);
        if missing.get(&(account, channel)) == Some(&id) {
            missing.remove(&(account, channel));
        }
    }
    seen
}

fn shaken() -> FaultPlan {
    let late = Duration::from_millis(30);
    let rules = [Fault::Lose, Fault::Double, Fault::Reorder, Fault::Delay(late)]
        .map(|fault| FaultRule::new("updates", fault).chance(0.1));
    FaultPlan::new(rules).unwrap()
}

/// Has messages come in, cuts accounts off and closes them, as by age and as by an operator.
async fn post_and_disturb(
    (data_centre, pool): (DataCentre, Telegram),
    (accounts, channels): (Vec<AccountId>, [i64; 2]),
    mut random: fastrand::Rng,
) {
    for turn in 0..600 {
        let account = accounts[random.usize(..accounts.len())];
        data_centre.post_message(account, "a word").unwrap();
        if random.bool() {
            data_centre.post_in_channel(channels[random.usize(..2)], "a post").unwrap();
        }
        match turn % 97 {
            20 => drop(data_centre.disconnect(account, &Fault::Close)),
            50 => drop(pool.close_account(account).await),
            _ => {}
        }
        if turn % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(random.u64(..20))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_update_comes_once_and_in_order_whatever_becomes_of_it_on_the_way() {
    let seed = std::env::var("SEED").ok().and_then(|it| it.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed} repeats what becomes of each update");
    let mut options = DataCentreOptions::default();
    (options.seed, options.difference_len_max) = (seed, 7);
    let world = world(6, 2, options).await;
    let pool = world.pool();
    let mut options = UpdatesOptions::default();
    options.capacity = 5;
    let mut updates = world.listen(&pool, &options).await;
    let data_centre = world.data_centre.clone();
    let channels = [&world.accounts[..4], &world.accounts[2..]]
        .map(|members| (data_centre.create_channel(members), members.to_vec()));
    // A channel begins with the first that is heard of it.
    let mut last = BTreeMap::new();
    for (channel, members) in &channels {
        let id = data_centre.post_in_channel(*channel, "the first").unwrap();
        last.extend(members.iter().map(|member| ((*member, *channel), id)));
    }
    let mut seen = read_until(&mut updates, &last).await;
    data_centre.set_faults(&shaken());
    let mut random = fastrand::Rng::with_seed(seed);
    let posting = tokio::spawn(post_and_disturb(
        (data_centre.clone(), pool.clone()),
        (world.accounts.clone(), [channels[0].0, channels[1].0]),
        random.fork(),
    ));
    // A reader that is slow at first, so that what waits for it is more than fits.
    for _ in 0..50 {
        if let Some((account, channel, id)) = place(&updates.recv().await.unwrap()) {
            seen.entry((account, channel)).or_default().push(id);
        }
        tokio::time::sleep(Duration::from_millis(random.u64(..10))).await;
    }
    posting.await.unwrap();
    data_centre.set_faults(&FaultPlan::default());
    // The last word of each box, by which whoever lost the ones before learns of it.
    for account in &world.accounts {
        last.insert((*account, 0), data_centre.post_message(*account, "the last").unwrap());
    }
    for (channel, members) in &channels {
        let id = data_centre.post_in_channel(*channel, "the last").unwrap();
        last.extend(members.iter().map(|member| ((*member, *channel), id)));
    }
    for (place, ids) in read_until(&mut updates, &last).await {
        seen.entry(place).or_default().extend(ids);
    }
    for (place, last) in &last {
        let expected: Vec<i32> = (1..=*last).collect();
        assert_eq!(seen[place], expected, "{place:?}, SEED={seed}");
    }
    // Doubles of the last, and what was late, are on their way for no longer than that.
    tokio::time::sleep(Duration::from_millis(200)).await;
    while let Ok(update) = updates.try_recv() {
        assert_eq!(place(&update), None, "SEED={seed}");
    }
    let lost: u64 = world
        .accounts
        .iter()
        .flat_map(|account| data_centre.update_counts(*account).unwrap().sessions)
        .map(|session| session.lost)
        .sum();
    assert!(lost > 0, "the data centre has lost some");
    drop(updates);
    pool.close().await;
    assert_eq!(data_centre.stats().key_violations, 0);
}

#[tokio::test]
async fn what_came_while_the_process_was_away_is_fetched_and_what_was_taken_is_not() {
    let world = world(2, 1, DataCentreOptions::default()).await;
    let channel = world.data_centre.create_channel(&world.accounts);
    let mut expected: HashMap<AccountId, i32> = HashMap::new();
    for run in 0..3 {
        let pool = world.pool();
        let mut updates = world.listen(&pool, &UpdatesOptions::default()).await;
        for _ in 0..5 {
            for account in &world.accounts {
                world.data_centre.post_message(*account, "a word").unwrap();
            }
        }
        let post = world.data_centre.post_in_channel(channel, "a post").unwrap();
        // The first run begins with what comes then; the later ones with what came in between.
        let mut last = BTreeMap::new();
        for account in &world.accounts {
            last.insert((*account, 0), run * 6 + 5);
            last.insert((*account, channel), post);
        }
        let seen = read_until(&mut updates, &last).await;
        for account in &world.accounts {
            let first = expected.get(account).copied().unwrap_or(1);
            let ids: Vec<i32> = (first..=run * 6 + 5).collect();
            assert_eq!(seen[&(*account, 0)], ids, "run {run}");
            expected.insert(*account, run * 6 + 6);
        }
        assert_eq!(seen[&(world.accounts[0], channel)].last(), Some(&post));
        pool.close().await;
        drop((updates, pool));
        for account in &world.accounts {
            world.data_centre.post_message(*account, "while away").unwrap();
        }
    }
}

#[tokio::test]
async fn an_update_that_was_not_dropped_comes_again_in_the_next_life() {
    let world = world(1, 1, DataCentreOptions::default()).await;
    let pool = world.pool();
    let mut updates = world.listen(&pool, &UpdatesOptions::default()).await;
    for _ in 0..3 {
        world.data_centre.post_message(world.accounts[0], "a word").unwrap();
    }
    let mut held = Vec::new();
    while held.len() < 3 {
        let update = updates.recv().await.unwrap();
        held.extend(place(&update).is_some().then_some(update));
    }
    // The second and the third are taken, and the first is still worked on when the process ends.
    held.drain(1..);
    pool.close().await;
    drop((updates, pool));
    drop(held);
    let pool = world.pool();
    let mut updates = pool.updates().unwrap();
    let last = [((world.accounts[0], 0), 3)].into();
    assert_eq!(read_until(&mut updates, &last).await[&(world.accounts[0], 0)], [1, 2, 3]);
}

#[tokio::test]
async fn a_lost_update_that_nothing_follows_is_found_by_the_watch_on_silence() {
    let world = world(1, 1, DataCentreOptions::default()).await;
    let pool = world.pool();
    let mut options = UpdatesOptions::default();
    options.check_after = Duration::from_millis(100);
    let mut updates = world.listen(&pool, &options).await;
    let channel = world.data_centre.create_channel(&world.accounts);
    let account = world.accounts[0];
    let known = world.data_centre.post_in_channel(channel, "known").unwrap();
    read_until(&mut updates, &[((account, channel), known)].into()).await;
    let lost = FaultPlan::new([FaultRule::new("updates", Fault::Lose)]).unwrap();
    world.data_centre.set_faults(&lost);
    let message = world.data_centre.post_message(account, "a word").unwrap();
    let post = world.data_centre.post_in_channel(channel, "a post").unwrap();
    let last = [((account, 0), message), ((account, channel), post)].into();
    read_until(&mut updates, &last).await;
}

#[tokio::test]
async fn a_reader_that_is_slow_with_one_account_holds_up_no_other() {
    let world = world(2, 1, DataCentreOptions::default()).await;
    let pool = world.pool();
    let [busy, quiet] = [world.accounts[0], world.accounts[1]];
    let handles: Vec<Account<_>> = [busy, quiet].map(|it| pool.account(it).unwrap()).into();
    let mut options = UpdatesOptions::default();
    options.capacity = 2;
    let mut unread = handles[0].updates_with(&options).unwrap();
    let mut read = handles[1].updates_with(&options).unwrap();
    world.until_each_listens().await;
    world.until_each_has_begun().await;
    for _ in 0..500 {
        world.data_centre.post_message(busy, "a word").unwrap();
    }
    world.data_centre.post_message(quiet, "a word").unwrap();
    let seen = read_until(&mut read, &[((quiet, 0), 1)].into()).await;
    assert_eq!(seen[&(quiet, 0)], [1]);
    // Nothing is missing once it is read.
    let seen = read_until(&mut unread, &[((busy, 0), 500)].into()).await;
    assert_eq!(seen[&(busy, 0)], (1..=500).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_the_server_tells_no_details_of_is_told_as_missed() {
    let mut options = DataCentreOptions::default();
    options.update_log_len_max = 3;
    let world = world(1, 1, options).await;
    let (account, channel) = (world.accounts[0], world.data_centre.create_channel(&world.accounts));
    let pool = world.pool();
    let mut updates = world.listen(&pool, &UpdatesOptions::default()).await;
    let post = world.data_centre.post_in_channel(channel, "a post").unwrap();
    world.data_centre.post_message(account, "a word").unwrap();
    read_until(&mut updates, &[((account, channel), post), ((account, 0), 1)].into()).await;
    pool.close().await;
    drop((updates, pool));
    for _ in 0..10 {
        world.data_centre.post_message(account, "a word").unwrap();
        world.data_centre.post_in_channel(channel, "a post").unwrap();
    }
    let pool = world.pool();
    let mut updates = world.listen(&pool, &UpdatesOptions::default()).await;
    let mut missed = Vec::new();
    while missed.len() < 2 {
        if let UpdateContent::Missed(what) = updates.recv().await.unwrap().content {
            missed.push(what);
        }
    }
    assert_eq!(missed, [MissedUpdates::Account, MissedUpdates::Channel(channel)]);
    let id = world.data_centre.post_message(account, "afterwards").unwrap();
    read_until(&mut updates, &[((account, 0), id)].into()).await;
}

#[tokio::test]
async fn edits_and_deletions_in_a_channel_come_after_the_messages_that_they_are_of() {
    let world = world(1, 1, DataCentreOptions::default()).await;
    let channel = world.data_centre.create_channel(&world.accounts);
    let pool = world.pool();
    let mut updates = world.listen(&pool, &UpdatesOptions::default()).await;
    let post = world.data_centre.post_in_channel(channel, "known").unwrap();
    read_until(&mut updates, &[((world.accounts[0], channel), post)].into()).await;
    pool.close().await;
    drop((updates, pool));
    let post = world.data_centre.post_in_channel(channel, "a post").unwrap();
    assert!(world.data_centre.edit_in_channel(channel, post, "another"));
    assert_eq!(world.data_centre.delete_in_channel(channel, &[post]), 1);
    let pool = world.pool();
    let mut updates = pool.updates().unwrap();
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        match updates.recv().await.unwrap().update() {
            Some(enums::Update::NewChannelMessage(_)) => kinds.push("new"),
            Some(enums::Update::EditChannelMessage(_)) => kinds.push("edit"),
            Some(enums::Update::DeleteChannelMessages(_)) => kinds.push("delete"),
            _ => {}
        }
    }
    assert_eq!(kinds, ["new", "edit", "delete"]);
}

#[tokio::test]
async fn what_is_lost_of_the_secondary_box_is_fetched_like_everything_else() {
    let world = world(1, 1, DataCentreOptions::default()).await;
    let (pool, account) = (world.pool(), world.accounts[0]);
    let mut options = UpdatesOptions::default();
    options.check_after = Duration::from_millis(100);
    let mut updates = world.listen(&pool, &options).await;
    let lost = FaultPlan::new([FaultRule::new("updates", Fault::Lose).chance(0.7)]).unwrap();
    world.data_centre.set_faults(&lost);
    for _ in 0..20 {
        world.data_centre.post_secondary(account).unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 20 {
        if let Some(enums::Update::BotStopped(stopped)) = updates.recv().await.unwrap().update() {
            seen.push(stopped.qts);
        }
    }
    assert_eq!(seen, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_channel_that_is_not_shown_any_more_costs_no_connection_and_is_told() {
    for code in [400, 403, 406] {
        let world = world(1, 1, DataCentreOptions::default()).await;
        let (pool, account) = (world.pool(), world.accounts[0]);
        let channel = world.data_centre.create_channel(&world.accounts);
        let mut options = UpdatesOptions::default();
        options.check_after = Duration::from_millis(100);
        let mut updates = world.listen(&pool, &options).await;
        let post = world.data_centre.post_in_channel(channel, "a post").unwrap();
        read_until(&mut updates, &[((account, channel), post)].into()).await;
        let error = Fault::Error { code, message: "CHANNEL_PRIVATE".into() };
        let rules = [
            FaultRule::new("updates", Fault::Lose).limit(1),
            FaultRule::new("updates.getChannelDifference", error),
        ];
        world.data_centre.set_faults(&FaultPlan::new(rules).unwrap());
        world.data_centre.post_in_channel(channel, "lost").unwrap();
        let missed = loop {
            if let UpdateContent::Missed(missed) = updates.recv().await.unwrap().content {
                break missed;
            }
        };
        assert_eq!(missed, MissedUpdates::Channel(channel));
        let id = world.data_centre.post_message(account, "afterwards").unwrap();
        read_until(&mut updates, &[((account, 0), id)].into()).await;
        assert_eq!(world.data_centre.stats().connections_total, 1);
    }
}
