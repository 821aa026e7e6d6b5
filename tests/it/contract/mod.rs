//! The contract of the manager over the sandbox data centre, whatever engine carries the connections.

#[cfg(feature = "cli")]
mod chaos;
mod client;
mod delivery;
mod duplicate_key;
mod faults;
mod fleet;
mod hindrances;
mod invoke;
mod lost;
mod send_limits;
mod signals;
#[cfg(feature = "cli")]
mod spans;

use std::time::Duration;

use telepool::sandbox::{DataCentre, DataCentreOptions, Fault, FaultPlan, FaultRule};
use telepool::session::SessionRecord;
use telepool::telegram::client::tl::{enums, functions, types};
use telepool::telegram::{
    Engine, MemorySource, SessionSource as _, TelegramConnection, TelegramError, TelegramManager,
    TelegramSettings,
};
use telepool::{AccountId, Manager};

use tokio::sync::mpsc;

use super::ENGINE;
use crate::sandbox::{self, OTHER, OWN, message_to, myself, raw, record, wait_until};

/// The settings of an application that has this engine.
fn settings() -> TelegramSettings {
    let mut settings = TelegramSettings::new(1);
    settings.engine = ENGINE;
    settings
}

/// A data centre, and a manager of two accounts of it.
struct Bench {
    data_centre: DataCentre,
    manager: TelegramManager<MemorySource>,
}

async fn bench(rules: impl IntoIterator<Item = FaultRule>) -> Bench {
    let sandbox::Bench { data_centre, records } = sandbox::bench(rules).await;
    let mut settings = settings();
    // Here the data centre notices every end at once.
    settings.redial_after_loss = Duration::from_millis(50);
    settings.call_timeout = Duration::from_secs(20);
    let manager = TelegramManager::new(MemorySource::new(records).unwrap(), settings);
    Bench { data_centre, manager }
}

impl Bench {
    async fn connect(&self, account: AccountId) -> TelegramConnection {
        self.manager.connect(account, 0).await.unwrap()
    }

    /// Waits until the data centre has seen every connection end.
    async fn quiet(&self) {
        wait_until("every connection has ended", || self.data_centre.stats().connections == 0)
            .await;
    }
}

#[tokio::test]
async fn the_client_connects_calls_and_closes() {
    let bench = bench([]).await;
    let connection = bench.connect(OWN).await;
    connection.invoke(&functions::Ping { ping_id: 3 }).await.unwrap();
    let users = connection.invoke(&myself()).await.unwrap();
    let [enums::User::User(user)] = &users[..] else { panic!("{users:?}") };
    assert!(user.is_self && !user.bot);
    let sent = connection.invoke(&message_to(enums::InputPeer::PeerSelf)).await.unwrap();
    let enums::Updates::UpdateShortSentMessage(sent) = sent else { panic!("{sent:?}") };
    assert_eq!(sent.id, 1);
    let enums::updates::State::State(state) =
        connection.invoke(&functions::updates::GetState {}).await.unwrap();
    assert_eq!(state.pts, 2, "one more than the events");
    let error = connection.invoke(&functions::help::GetCdnConfig {}).await.unwrap_err();
    assert!(
        matches!(&error, TelegramError::Rpc { code: 400, name, .. }
        if &**name == "INPUT_METHOD_INVALID"),
        "{error}"
    );
    assert_eq!(bench.data_centre.live_connections(OWN), 1);
    bench.manager.close(&connection).await;
    bench.quiet().await;
    let stats = bench.data_centre.stats();
    assert_eq!((stats.connections_total, stats.handshakes, stats.key_violations), (1, 1, 0));
    assert!(stats.calls >= 6 && stats.bytes_received > 0 && stats.bytes_sent > 0, "{stats:?}");
}

#[tokio::test]
async fn a_message_reaches_the_listener_of_the_receiver_and_the_answer_that_of_the_sender() {
    let bench = bench([]).await;
    let pool = telepool::Pool::builder(bench.manager).build().unwrap();
    let mut updates = pool.updates().unwrap();
    let sender = pool.acquire(OTHER).await.unwrap();
    let enums::User::User(user) =
        pool.acquire(OWN).await.unwrap().invoke(&myself()).await.unwrap().remove(0)
    else {
        panic!("it is somebody")
    };
    let peer = types::InputPeerUser { user_id: user.id, access_hash: 0 };
    // Until both listen.
    let mut receivers = std::collections::BTreeSet::new();
    while receivers.len() < 2 {
        sender.invoke(&message_to(peer.clone().into())).await.unwrap();
        while let Ok(Some(update)) =
            tokio::time::timeout(Duration::from_millis(50), updates.recv()).await
        {
            assert!(update.new_message().is_some(), "{update:?}");
            receivers.insert(update.account);
        }
    }
    assert_eq!(receivers, [OWN, OTHER].into());
}

#[tokio::test]
async fn a_call_without_updates_is_answered_and_brings_none() {
    let bench = bench([]).await;
    let without = || functions::InvokeWithoutUpdates { query: myself() };
    let users = bench.connect(OWN).await.invoke(&without()).await.unwrap();
    assert!(matches!(&users[..], [enums::User::User(user)] if user.is_self), "{users:?}");
    let account = AccountId::bot(9).unwrap();
    let records = bench.data_centre.create_sessions(account, 1, None);
    let mut client = raw::RawClient::connect(record(&records)).await;
    client.learn_salt().await;
    for wrapped in [true, false] {
        match wrapped {
            true => client.send(&raw::init_connection(without())).await.unwrap(),
            false => client.send(&myself()).await.unwrap(),
        };
        client.receive().await.unwrap();
        assert_eq!(bench.data_centre.push_update(account), usize::from(!wrapped));
    }
}

#[tokio::test]
async fn an_outage_ends_connections_and_refuses_new_ones() {
    let bench = bench([]).await;
    for how in [Fault::Close, Fault::Reset, Fault::Transport { code: 429 }] {
        let connection = bench.connect(OWN).await;
        assert_eq!(bench.data_centre.disconnect(OWN, &how), 1);
        wait_until("the client knows", || bench.manager.is_broken(&connection)).await;
        bench.manager.close(&connection).await;
    }
    bench.data_centre.refuse_connections(true);
    let refused = bench.manager.connect(OWN, 0).await.unwrap_err();
    assert!(matches!(refused, TelegramError::Io(_) | TelegramError::Dropped), "{refused:?}");
    bench.data_centre.refuse_connections(false);
    let connection = bench.connect(OWN).await;
    bench.data_centre.stop().await;
    assert_eq!(bench.data_centre.stats().connections, 0);
    wait_until("the client knows", || bench.manager.is_broken(&connection)).await;
    assert_eq!(bench.data_centre.stats().key_violations, 0);
}

#[tokio::test]
async fn a_forgotten_data_centre_ends_by_itself() {
    let bench = bench([]).await;
    let connection = bench.connect(OWN).await;
    let address = bench.data_centre.address();
    drop(bench.data_centre);
    wait_until("the client knows", || bench.manager.is_broken(&connection)).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn nothing_is_lost_to_a_client_that_keeps_the_rules() {
    let late = Duration::from_millis(20);
    let rules = [Fault::Lose, Fault::Double, Fault::Reorder, Fault::Delay(late)]
        .map(|fault| FaultRule::new("updates", fault).chance(0.1));
    let bench = bench(rules).await;
    let data_centre = bench.data_centre.clone();
    let pool = telepool::Pool::builder(bench.manager).build().unwrap();
    let mut updates = pool.account(OTHER).unwrap().updates().unwrap();
    let (heard, mut messages) = mpsc::unbounded_channel();
    let reading = tokio::spawn(async move {
        while let Some(update) = updates.recv().await {
            if let Some(message) = update.new_message() {
                heard.send(message.id).unwrap();
            }
        }
    });
    let has_begun = || pool.manager().source().update_states(OTHER).unwrap().is_some();
    wait_until("it is known where the updates begin", has_begun).await;
    for _ in 0..100 {
        data_centre.post_message(OTHER, "a word").unwrap();
        tokio::task::yield_now().await;
    }
    data_centre.set_faults(&FaultPlan::default());
    let mut missing: std::collections::BTreeSet<i32> = (1..=100).collect();
    for _ in 0..100 {
        // The client can forget that it was to ask about a gap until another update comes.
        data_centre.post_message(OTHER, "another").unwrap();
        let patience = Duration::from_millis(200);
        while let Ok(Some(id)) = tokio::time::timeout(patience, messages.recv()).await {
            missing.remove(&id);
        }
        if missing.is_empty() {
            break;
        }
    }
    assert!(missing.is_empty(), "{missing:?} never came");
    reading.abort();
    let seen = data_centre.update_counts(OTHER).unwrap().sessions[0];
    assert!(seen.lost > 0, "{seen:?}");
}
