//! The client's own helpers on a lease: what they know of oneself and of others, and what their errors
//! cost.

use telepool::telegram::client::InvocationError;
use telepool::telegram::client::client::UpdateStream;
use telepool::telegram::client::message::Message;
use telepool::telegram::client::sender::UpdatesConfiguration;
use telepool::telegram::client::session::types::{PeerId, PeerRef};
use telepool::telegram::client::update::Update;
use telepool::{Event, Lease, Pool};
use tokio::sync::mpsc;

use super::*;

type Held = Lease<GrammersManager<MemorySource>>;

fn pool_of(manager: GrammersManager<MemorySource>) -> Pool<GrammersManager<MemorySource>> {
    Pool::builder(manager)
        .configure(|config| {
            config.dial.per_second = 2000;
            config.dial.handshakes = 64;
        })
        .build()
        .unwrap()
}

fn oneself() -> PeerRef {
    PeerId::self_user().to_ambient_ref()
}

/// How many messages the user has sent or received.
async fn events(lease: &Held) -> i32 {
    let state = lease.invoke(&functions::updates::GetState {}).await.unwrap();
    let enums::updates::State::State(state) = state;
    state.pts - 1
}

#[tokio::test]
async fn a_message_to_oneself_goes_out_once_whether_or_not_the_record_says_who_that_is() {
    for is_told in [true, false] {
        let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
        let mut records = data_centre.create_sessions(OWN, 1, None);
        let own = PeerId::user(records[0].user_id).unwrap();
        if !is_told {
            records[0].user_id = 0;
        }
        let mut settings = TelegramSettings::new(1);
        settings.redial_after_loss = Duration::from_millis(50);
        let pool = pool_of(GrammersManager::new(MemorySource::new(records).unwrap(), settings));
        // The second connection is lent before the login is proved, and so is asked nothing.
        for sent in 1..=2 {
            let lease = pool.acquire(OWN).await.unwrap();
            let message = lease.send_message(oneself(), "a word").await.unwrap();
            assert_eq!((message.id(), message.peer_id()), (sent, own), "told: {is_told}");
            assert_eq!(events(&lease).await, sent, "it went out once");
            // What was sent may be worked with: its peer is known.
            let refused = message.edit("another").await.unwrap_err();
            assert!(matches!(refused, InvocationError::Rpc(_)), "{refused}");
            drop(lease);
            pool.close_account(OWN).await;
        }
        assert_eq!(data_centre.stats().key_violations, 0);
    }
}

/// A bot whose updates are read by the client.
struct Listening {
    _data_centre: DataCentre,
    pool: Pool<GrammersManager<MemorySource>>,
    user: Held,
    bot: Held,
    stream: UpdateStream,
}

impl Listening {
    async fn start() -> Self {
        let Bench { data_centre, manager } = bench([]).await;
        let mut updates = manager.subscribe(100);
        let pool = pool_of(manager);
        let (user, bot) = (pool.acquire(OWN).await.unwrap(), pool.acquire(OTHER).await.unwrap());
        let (sender, receiver) = mpsc::channel(100);
        tokio::spawn(async move {
            while let Some(update) = updates.recv().await {
                if update.account == OTHER && sender.send(update.update).await.is_err() {
                    return;
                }
            }
        });
        let configuration = UpdatesConfiguration::default();
        let stream = bot.stream_updates(receiver, configuration).await.unwrap();
        Self { _data_centre: data_centre, pool, user, bot, stream }
    }

    /// Has the user write until the bot hears of it: the stream begins by asking for the state, and
    /// what comes before is none of its news.
    async fn receive(&mut self) -> Message {
        let bot = types::InputPeerUser { user_id: 77, access_hash: 0 };
        for _ in 0..1000 {
            self.user.invoke(&message_to(bot.clone().into())).await.unwrap();
            let patience = Duration::from_millis(50);
            if let Ok(update) = tokio::time::timeout(patience, self.stream.next()).await {
                let Update::NewMessage(message) = update.unwrap() else { continue };
                return (*message).clone();
            }
        }
        panic!("the bot hears nothing")
    }
}

#[tokio::test]
async fn the_ids_of_the_sandbox_are_ids_to_the_client_and_its_stream_of_updates_goes_on() {
    let mut listening = Listening::start().await;
    let me = listening.user.get_me().await.unwrap();
    assert!(!me.is_bot());
    for _ in 0..2 {
        assert_eq!(listening.receive().await.peer_id(), me.id());
    }
    let bot = listening.bot.get_me().await.unwrap();
    assert_eq!(bot.id(), PeerId::user(77).unwrap());
}

#[tokio::test]
async fn what_the_client_gives_up_by_itself_is_told_in_its_words_and_costs_no_connection() {
    let mut listening = Listening::start().await;
    let mut told = listening.pool.events();
    let message = listening.receive().await;
    let Listening { bot, pool, _data_centre, .. } = listening;
    // An update of the short kind brings no access hash of whoever wrote.
    let error = TelegramError::from(message.respond("echo").await.unwrap_err());
    bot.report(&error);
    let error = loop {
        if let Event::ConnectionError { account, error, .. } = told.next().await.unwrap() {
            assert_eq!(account, OTHER);
            break error;
        }
    };
    assert!(error.contains("cannot invoke request without a peer ref"), "{error}");
    let id = bot.connection_id();
    drop(bot);
    assert_eq!(pool.acquire(OTHER).await.unwrap().connection_id(), id, "the same connection");
    assert_eq!(pool.stats().total_connections_closed, 0);
}
