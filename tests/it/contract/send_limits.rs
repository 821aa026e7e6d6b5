//! Limits of what bots send: the data centre that has them, and accounts that keep to them.

use telepool::Pool;
use telepool::sandbox::SendLimits;
use telepool::telegram::{InvokeError, Pacing, SendLimit, SendPacing};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A tenth of the time that the real limits have.
fn limits() -> SendLimits {
    let mut limits = SendLimits::bot();
    limits.account.1 /= 10;
    limits.chat.1 /= 10;
    limits.group.1 /= 10;
    limits
}

fn pacing() -> SendPacing {
    let mut pacing = SendPacing::bot();
    let tenth = |limit: SendLimit| SendLimit::new(limit.messages(), limit.per() / 10);
    pacing.account = pacing.account.map(tenth);
    pacing.chat = pacing.chat.map(tenth);
    pacing.group = pacing.group.map(tenth);
    // However busy the machine that runs this, no message is held up for so long.
    pacing.margin = SECOND / 2;
    pacing
}

async fn limited(pacing: Pacing) -> (DataCentre, Pool<TelegramManager<MemorySource>>) {
    let mut options = DataCentreOptions::default();
    options.send_limits = Some(limits());
    let data_centre = DataCentre::start(options).await.unwrap();
    let mut records = data_centre.create_sessions(OWN, 1, None);
    records.extend(data_centre.create_sessions(OTHER, 1, None));
    let mut settings = settings();
    settings.pacing = pacing;
    let manager = TelegramManager::new(MemorySource::new(records).unwrap(), settings);
    (data_centre, Pool::builder(manager).build().unwrap())
}

fn group(chat_id: i64) -> enums::InputPeer {
    types::InputPeerChat { chat_id }.into()
}

#[tokio::test]
async fn a_bot_that_sends_too_much_is_refused_and_a_person_is_not() {
    let (data_centre, pool) = limited(Pacing::none()).await;
    let bot = pool.acquire(OTHER).await.unwrap();
    for _ in 0..3 {
        bot.invoke(&message_to(group(1))).await.unwrap();
    }
    let error = (*bot).invoke(&message_to(group(1))).await.unwrap_err();
    let TelegramError::Rpc { code: 420, name, value: Some(1), .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((&**name, data_centre.stats().send_floods), ("FLOOD_WAIT", 1));
    // It is that chat's: another is sent to.
    (*bot).invoke(&message_to(group(2))).await.unwrap();
    let person = pool.acquire(OWN).await.unwrap();
    for _ in 0..10 {
        person.invoke(&message_to(enums::InputPeer::PeerSelf)).await.unwrap();
    }
    assert_eq!(data_centre.stats().send_floods, 1);
}

#[tokio::test]
async fn an_account_that_keeps_to_the_limits_meets_no_flood() {
    let (data_centre, pool) = limited(pacing().into()).await;
    let account = pool.account(OTHER).unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..200 {
        let account = account.clone();
        // Most chats get a few, one gets many.
        let chat = if number % 16 == 0 { 1 } else { 2 + number };
        calls.spawn(async move {
            account.invoke_within(&message_to(group(chat)), 60 * SECOND).await.map(drop)
        });
    }
    while let Some(sent) = calls.join_next().await {
        sent.unwrap().unwrap();
    }
    let stats = data_centre.stats();
    assert_eq!((stats.send_floods, stats.faults_injected), (0, 0));
}

#[tokio::test]
async fn a_broadcast_of_an_account_that_keeps_to_the_limits_meets_no_flood() {
    let (data_centre, pool) = limited(Pacing::none().account(OTHER, Some(pacing()))).await;
    // Twice the same chats: what the server drops counts there as what it takes.
    let chats = (0..40).chain(0..40).map(|chat| (OTHER, group(chat)));
    let broadcast = pool.broadcast("any", "news", "hello");
    let progress = broadcast.start(chats).await.unwrap().finish().await.unwrap();
    assert_eq!((progress.sent, progress.failed, progress.unsent), (80, 0, 0));
    assert_eq!(data_centre.stats().send_floods, 0);
}

#[tokio::test]
async fn a_lease_never_waits_for_a_turn_and_a_deadline_comes_before_one() {
    let (data_centre, pool) = limited(SendPacing::bot().into()).await;
    let account = pool.account(OTHER).unwrap();
    let message = |chat| functions::InvokeWithoutUpdates { query: message_to(group(chat)) };
    let within = 10 * SECOND;
    for _ in 0..3 {
        account.invoke_within(&message(1), within).await.unwrap();
    }
    let lease = account.acquire().await.unwrap();
    let calls = data_centre.stats().calls;
    let on_lease = lease.invoke(&message(1)).await.unwrap_err();
    let too_soon = account.invoke_within(&message(1), SECOND).await.unwrap_err();
    for error in [on_lease, too_soon] {
        let InvokeError::RetryAfter { account, wait } = error else { panic!("{error}") };
        assert!(account == OTHER && wait > SECOND && wait <= 4 * SECOND, "{wait:?}");
    }
    assert_eq!(data_centre.stats().calls, calls, "nothing was sent");
    // Other chats and other methods are not concerned.
    account.invoke(&message(2)).await.unwrap();
    lease.invoke(&functions::updates::GetState {}).await.unwrap();
}

#[tokio::test]
async fn a_message_is_sent_once() {
    let (_data_centre, pool) = limited(Pacing::none()).await;
    let account = pool.account(OWN).unwrap();
    let message = message_to(enums::InputPeer::PeerSelf);
    account.invoke(&message).await.unwrap();
    let error = account.invoke(&message).await.unwrap_err();
    let InvokeError::Call(TelegramError::Rpc { code: 500, name, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(&**name, "RANDOM_ID_DUPLICATE");
    // The account of another is another's.
    let bot = pool.account(OTHER).unwrap();
    bot.invoke(&message).await.unwrap();
}
