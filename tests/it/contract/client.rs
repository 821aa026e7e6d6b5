//! The client's own helpers on a lease: what they know of oneself and of others, and what their errors
//! cost.

use telepool::telegram::client::InvocationError;
use telepool::telegram::client::session::types::{PeerId, PeerRef};
use telepool::{Event, Lease, Pool};

use super::*;

type Held = Lease<TelegramManager<MemorySource>>;

fn pool_of(manager: TelegramManager<MemorySource>) -> Pool<TelegramManager<MemorySource>> {
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
        let mut settings = settings();
        settings.redial_after_loss = Duration::from_millis(50);
        let pool = pool_of(TelegramManager::new(MemorySource::new(records).unwrap(), settings));
        // The second connection is lent before the login is proved, and so is asked nothing.
        for sent in 1..=2 {
            let lease = pool.acquire(OWN).await.unwrap();
            let message = lease.client().send_message(oneself(), "a word").await.unwrap();
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

#[tokio::test]
async fn the_ids_of_the_sandbox_are_ids_to_the_client() {
    let Bench { data_centre: _data_centre, manager } = bench([]).await;
    let pool = pool_of(manager);
    assert!(!pool.acquire(OWN).await.unwrap().client().get_me().await.unwrap().is_bot());
    let bot = pool.acquire(OTHER).await.unwrap().client().get_me().await.unwrap();
    assert_eq!(bot.id(), PeerId::user(77).unwrap());
}

#[tokio::test]
async fn what_the_client_gives_up_by_itself_is_told_in_its_words_and_costs_no_connection() {
    let Bench { data_centre: _data_centre, manager } = bench([]).await;
    let pool = pool_of(manager);
    let mut told = pool.events();
    let bot = pool.acquire(OTHER).await.unwrap();
    // What the answer to a message comes to whose writer the client cannot address.
    let given_up = InvocationError::Dropped("cannot invoke request without a peer ref");
    let error = TelegramError::from(given_up);
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
