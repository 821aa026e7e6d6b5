//! Updates when something is in their way: a server that wants pauses, a source that cannot be read, senders that
//! nobody has described, a close in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use telepool::session::{SessionRecord, UpdateStates};
use telepool::telegram::{
    BoxError, MissedUpdates, SessionProfile, SessionSource, UpdateContent, UpdateStream,
    UpdatesOptions,
};
use telepool::{CloseReason, Event, Pool};

use super::delivery::{Telegram, World, read_until, world};
use super::*;

/// Longer than a test may take.
const LONG: u32 = 600;

fn flood(method: &str) -> FaultRule {
    FaultRule::new(method, Fault::FloodWait { seconds: LONG })
}

fn quick_watch() -> UpdatesOptions {
    let mut options = UpdatesOptions::default();
    options.check_after = Duration::from_millis(100);
    options
}

/// Waits until so many updates were lost and calls refused.
async fn until_injected(world: &World, count: u64) {
    wait_until("it was asked", || world.data_centre.stats().faults_injected >= count).await;
}

async fn ends(mut updates: UpdateStream) {
    let end = async { while updates.recv().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), end).await.expect("it ends with the pool");
}

/// An account that listens, and a channel of which it has heard.
async fn known_channel() -> (World, Telegram, UpdateStream, i64) {
    let world = world(1, 1, DataCentreOptions::default()).await;
    let (pool, account) = (world.pool(), world.accounts[0]);
    let channel = world.data_centre.create_channel(&world.accounts);
    let mut updates = world.listen(&pool, &quick_watch()).await;
    let post = world.data_centre.post_in_channel(channel, "a post").unwrap();
    read_until(&mut updates, &[((account, channel), post)].into()).await;
    (world, pool, updates, channel)
}

#[tokio::test]
async fn a_pause_that_the_server_wants_for_channels_holds_up_neither_the_account_nor_the_close() {
    let (world, pool, mut updates, channel) = known_channel().await;
    let account = world.accounts[0];
    let rules =
        [FaultRule::new("updates", Fault::Lose).limit(1), flood("updates.getChannelDifference")];
    world.data_centre.set_faults(&FaultPlan::new(rules).unwrap());
    world.data_centre.post_in_channel(channel, "lost").unwrap();
    until_injected(&world, 2).await;
    let id = world.data_centre.post_message(account, "a word").unwrap();
    read_until(&mut updates, &[((account, 0), id)].into()).await;
    pool.close().await;
    ends(updates).await;
}

#[tokio::test]
async fn whatever_pause_the_server_wants_the_updates_end_with_the_pool() {
    for method in ["updates.getState", "updates.getDifference"] {
        let world = world(1, 1, DataCentreOptions::default()).await;
        let pool = world.pool();
        let mut events = pool.events();
        let rules = FaultPlan::new([flood(method)]).unwrap();
        let updates = if method == "updates.getState" {
            world.data_centre.set_faults(&rules);
            pool.updates().unwrap()
        } else {
            let updates = world.listen(&pool, &quick_watch()).await;
            world.data_centre.set_faults(&rules);
            updates
        };
        until_injected(&world, 1).await;
        // The pool knows of it, and tells.
        while !matches!(events.next().await, Some(Event::FloodWait { .. })) {}
        pool.close().await;
        ends(updates).await;
    }
}

#[tokio::test]
async fn a_connection_that_ends_while_the_server_wants_a_pause_is_replaced_at_once() {
    let world = world(1, 1, DataCentreOptions::default()).await;
    let (pool, account) = (world.pool(), world.accounts[0]);
    let mut events = pool.events();
    let mut updates = world.listen(&pool, &quick_watch()).await;
    let error = Fault::Error { code: 420, message: format!("FLOOD_WAIT_{LONG}").into() };
    let once = FaultRule::new("updates.getDifference", error).limit(1);
    world.data_centre.set_faults(&FaultPlan::new([once]).unwrap());
    until_injected(&world, 1).await;
    let id = world.data_centre.post_message(account, "a word").unwrap();
    pool.close_account(account).await;
    let told = async {
        loop {
            if let Some(Event::UpdatesInterrupted { reason, .. }) = events.next().await {
                break reason;
            }
        }
    };
    assert_eq!(told.await, CloseReason::Requested);
    read_until(&mut updates, &[((account, 0), id)].into()).await;
}

#[tokio::test]
async fn a_channel_that_the_server_did_not_answer_for_is_asked_for_again() {
    let (world, _pool, mut updates, channel) = known_channel().await;
    let account = world.accounts[0];
    let trouble = Fault::Error { code: 500, message: "INTERNAL".into() };
    let rules = [
        FaultRule::new("updates", Fault::Lose).limit(1),
        FaultRule::new("updates.getChannelDifference", trouble).limit(1),
    ];
    world.data_centre.set_faults(&FaultPlan::new(rules).unwrap());
    let post = world.data_centre.post_in_channel(channel, "lost").unwrap();
    read_until(&mut updates, &[((account, channel), post)].into()).await;
    assert_eq!(world.data_centre.stats().faults_injected, 2);
}

#[tokio::test]
async fn a_channel_that_is_not_shown_any_more_is_not_asked_for_by_the_next_process() {
    let (world, pool, mut updates, channel) = known_channel().await;
    let account = world.accounts[0];
    let channels = || world.source.update_states(account).unwrap().unwrap().channels;
    wait_until("it is saved", || channels().len() == 1).await;
    let private = Fault::Error { code: 400, message: "CHANNEL_PRIVATE".into() };
    let rules = [
        FaultRule::new("updates", Fault::Lose).limit(1),
        FaultRule::new("updates.getChannelDifference", private),
    ];
    world.data_centre.set_faults(&FaultPlan::new(rules).unwrap());
    world.data_centre.post_in_channel(channel, "lost").unwrap();
    let missed = UpdateContent::Missed(MissedUpdates::Channel(channel));
    while updates.recv().await.unwrap().content != missed {}
    pool.close().await;
    assert_eq!(channels(), []);
}

#[tokio::test]
async fn what_came_in_a_channel_before_anything_was_heard_of_it_is_told_as_missed() {
    let world = world(1, 1, DataCentreOptions::default()).await;
    let (pool, account) = (world.pool(), world.accounts[0]);
    let mut updates = world.listen(&pool, &quick_watch()).await;
    let lost = FaultRule::new("updates", Fault::Lose);
    world.data_centre.set_faults(&FaultPlan::new([lost]).unwrap());
    let channel = world.data_centre.create_channel(&world.accounts);
    world.data_centre.post_in_channel(channel, "lost").unwrap();
    let missed = UpdateContent::Missed(MissedUpdates::Channel(channel));
    while updates.recv().await.unwrap().content != missed {}
    world.data_centre.set_faults(&FaultPlan::default());
    let post = world.data_centre.post_in_channel(channel, "a post").unwrap();
    read_until(&mut updates, &[((account, channel), post)].into()).await;
}

#[tokio::test]
async fn whoever_writes_can_be_answered_though_the_message_describes_nobody() {
    let world = world(2, 1, DataCentreOptions::default()).await;
    let pool = world.pool();
    let [from, to] = [world.accounts[0], world.accounts[1]];
    let mut updates = world.listen(&pool, &UpdatesOptions::default()).await;
    // The first time nothing is known of the sender, the second time its hash is.
    for _ in 0..2 {
        let user_id = 5_001;
        let peer = types::InputPeerUser { user_id, access_hash: 0 };
        pool.acquire(from).await.unwrap().invoke(&message_to(peer.into())).await.unwrap();
        let answer = loop {
            let update = updates.recv().await.unwrap();
            if update.account == to && update.new_message().is_some_and(|message| !message.out) {
                break update.answer("an answer").expect("its sender can be addressed");
            }
        };
        assert!(matches!(
            &answer.peer,
            enums::InputPeer::User(user) if user.user_id == 5_000 && user.access_hash != 0
        ));
        // If the update came again, so would the answer.
        let lease = pool.acquire(to).await.unwrap();
        lease.invoke(&answer).await.unwrap();
        let again = lease.invoke(&answer).await.unwrap_err();
        assert!(again.to_string().contains("RANDOM_ID_DUPLICATE"), "{again}");
    }
}

/// A source that cannot be read at first.
struct Unreadable {
    source: MemorySource,
    failures_left: AtomicU32,
}

impl SessionSource for Unreadable {
    fn profile(&self, account: AccountId) -> Option<SessionProfile> {
        self.source.profile(account)
    }

    fn session(&self, account: AccountId, slot: u16) -> Option<SessionRecord> {
        self.source.session(account, slot)
    }

    fn all_accounts(&self) -> Option<Vec<AccountId>> {
        self.source.all_accounts()
    }

    fn update_states(&self, account: AccountId) -> Result<Option<UpdateStates>, BoxError> {
        let left = &self.failures_left;
        let failure =
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match failure {
            Ok(_) => Err("the disk does not answer".into()),
            Err(_) => self.source.update_states(account),
        }
    }

    fn set_update_states(&self, account: AccountId, changed: &UpdateStates) {
        self.source.set_update_states(account, changed);
    }
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_asked_again_and_nothing_is_missed() {
    let world = world(1, 1, DataCentreOptions::default()).await;
    let (pool, account) = (world.pool(), world.accounts[0]);
    let updates = world.listen(&pool, &UpdatesOptions::default()).await;
    pool.close().await;
    drop((updates, pool));
    let saved = world.source.update_states(account).unwrap().unwrap();
    let id = world.data_centre.post_message(account, "while away").unwrap();
    let records = [world.source.session(account, 0).unwrap()];
    let source = MemorySource::new(records).unwrap();
    source.set_update_states(account, &saved);
    let source = Arc::new(Unreadable { source, failures_left: AtomicU32::new(1) });
    let mut settings = settings();
    settings.redial_after_loss = Duration::from_millis(50);
    let manager = TelegramManager::new(Arc::clone(&source), settings);
    let pool = Pool::builder(manager).build().unwrap();
    let mut updates = pool.updates().unwrap();
    read_until(&mut updates, &[((account, 0), id)].into()).await;
    assert_eq!(source.failures_left.load(Ordering::SeqCst), 0);
}
