//! The wire against the data centre: opens, calls, faults, clocks, updates, pings and ends.

use std::sync::{Arc, Mutex};

use telepool::session::{AuthKey, ClientIdentity};
use telepool::telegram::client::tl::{Deserializable, Serializable};
use telepool::telegram::wire::{
    KeyMemory, WireDriver, WireEnd, WireError, WireGuard, WireHandle, WireOptions, WireUpdate,
    introduction, open,
};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

fn options(record: &SessionRecord, memory: KeyMemory) -> WireOptions {
    let mut options = WireOptions::new(AuthKey::new(*record.key.expose()));
    options.memory = memory;
    options.introduction = introduction(1, ClientIdentity::new("wire", "test", "1"));
    options.wants_updates = true;
    options
}

type Updates = Arc<Mutex<Vec<WireUpdate>>>;

struct Connection {
    handle: WireHandle,
    driver: JoinHandle<WireEnd>,
    updates: Updates,
}

async fn connect(record: &SessionRecord) -> Connection {
    connect_with(record, options(record, KeyMemory::default()), ()).await
}

async fn connect_with<G: WireGuard + Unpin + Send + 'static>(
    record: &SessionRecord,
    options: WireOptions,
    guard: G,
) -> Connection {
    let stream = TcpStream::connect(record.address).await.unwrap();
    let updates = Updates::default();
    let heard = Arc::clone(&updates);
    let (handle, driver): (_, WireDriver<_, G, _>) =
        open(stream, guard, options, move |it| heard.lock().unwrap().push(it));
    Connection { handle, driver: tokio::spawn(driver), updates }
}

impl Connection {
    async fn call(&self, request: &impl Serializable) -> Result<Vec<u8>, WireError> {
        self.handle.call(request.to_bytes(), LIMIT).await
    }

    async fn close(self) -> WireEnd {
        self.handle.close();
        self.driver.await.unwrap()
    }
}

async fn data_centre(rules: impl IntoIterator<Item = FaultRule>) -> (DataCentre, SessionRecord) {
    let mut options = DataCentreOptions::default();
    options.faults = FaultPlan::new(rules).unwrap();
    let data_centre = DataCentre::start(options).await.unwrap();
    let record = data_centre.create_sessions(OWN, 1, None).remove(0);
    (data_centre, record)
}

#[tokio::test]
async fn the_wire_opens_calls_and_closes_and_its_memory_spares_a_round_trip() {
    let (data_centre, record) = data_centre([]).await;
    let mut memory = KeyMemory::default();
    for (round_trips, refused) in [(2, 1), (1, 0), (1, 0)] {
        let connection = connect_with(&record, options(&record, memory), ()).await;
        let users = connection.call(&myself()).await.unwrap();
        let users = Vec::<enums::User>::from_bytes(&users).unwrap();
        assert!(matches!(&users[..], [enums::User::User(user)] if user.is_self));
        let error = connection.call(&functions::help::GetCdnConfig {}).await.unwrap_err();
        let WireError::Rpc { code: 400, message } = error else { panic!("{error}") };
        assert!(message.starts_with("INPUT_METHOD_INVALID_"), "{message}");
        let counts = connection.handle.counts();
        assert_eq!((counts.opening_round_trips, counts.refused_packets), (round_trips, refused));
        memory = connection.handle.memory();
        assert_eq!(memory.salts.len(), 64);
        assert_eq!(connection.handle.end().map(|end| end.to_string()), None);
        assert!(matches!(connection.close().await, WireEnd::Closed { is_confirmed: true }));
    }
    let introduced = data_centre.introductions(OWN).remove(0).unwrap();
    assert_eq!((introduced.0, &*introduced.1.device_model), (1, "wire"));
    assert_eq!(data_centre.stats().key_violations, 0);
}

#[tokio::test]
async fn a_clock_an_hour_off_costs_a_resend_and_a_wrong_salt_another() {
    let (data_centre, record) = data_centre([]).await;
    for offset in [-3600, 3600, -400, 29, 31] {
        let memory = KeyMemory { clock_offset: offset, ..KeyMemory::default() };
        let connection = connect_with(&record, options(&record, memory), ()).await;
        connection.call(&myself()).await.unwrap();
        let counts = connection.handle.counts();
        assert!(counts.resends <= 2 && counts.refused_packets <= 3, "{offset}: {counts:?}");
        assert!(connection.handle.memory().clock_offset.abs() <= 1, "{offset}");
        for _ in 0..50 {
            connection.call(&functions::updates::GetState {}).await.unwrap();
        }
        assert!(connection.close().await.is_confirmed());
    }
    assert_eq!(data_centre.stats().key_violations, 0);
}

#[tokio::test]
async fn many_calls_at_once_have_their_answers_in_few_packets() {
    let (_data_centre, record) = data_centre([]).await;
    let connection = connect(&record).await;
    let calls: Vec<_> = (0..2_000)
        .map(|ping_id| {
            let handle = connection.handle.clone();
            tokio::spawn(async move {
                let answer =
                    handle.call(functions::Ping { ping_id }.to_bytes(), LIMIT).await.unwrap();
                let enums::Pong::Pong(pong) = enums::Pong::from_bytes(&answer).unwrap();
                assert_eq!(pong.ping_id, ping_id);
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let counts = connection.handle.counts();
    assert!(counts.packets_sent < 200, "{counts:?}");
    connection.close().await;
}

#[tokio::test]
async fn updates_of_others_and_of_oneself_are_told_apart() {
    let (data_centre, record) = data_centre([]).await;
    let connection = connect(&record).await;
    let sent = message_to(enums::InputPeer::PeerSelf);
    let answer = connection.call(&sent).await.unwrap();
    data_centre.post_message(OWN, "hello").unwrap();
    wait_until("the message has come", || {
        connection.updates.lock().unwrap().iter().any(|it| match it {
            WireUpdate::Pushed(body) => enums::Updates::from_bytes(body).is_ok(),
            _ => false,
        })
    })
    .await;
    let own = WireUpdate::Own { request: sent.to_bytes(), answer };
    assert!(connection.updates.lock().unwrap().contains(&own));
    let has_gap = connection.updates.lock().unwrap().contains(&WireUpdate::Gap);
    assert!(!has_gap, "nothing came before the connection");
    connection.close().await;
}

#[tokio::test]
async fn the_server_ends_it_when_nothing_more_comes_and_the_client_when_nothing_is_answered() {
    let (data_centre, record) = data_centre([]).await;
    let mut quick = options(&record, KeyMemory::default());
    quick.times.ping_every = Duration::from_millis(300);
    quick.times.disconnect_delay = Duration::from_secs(1);
    let connection = connect_with(&record, quick.clone(), ()).await;
    connection.call(&myself()).await.unwrap();
    // The pings keep it open far beyond that.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    connection.call(&myself()).await.unwrap();
    assert_eq!(data_centre.stats().closed_by_timer, 0);
    data_centre.set_faults(&FaultPlan::new([FaultRule::new("*", Fault::BlackHole)]).unwrap());
    let end = connection.driver.await.unwrap();
    assert!(matches!(end, WireEnd::Silent | WireEnd::HungUp), "{end}");
    wait_until("both ends are closed", || data_centre.stats().connections == 0).await;
}

#[tokio::test]
async fn the_server_ends_a_connection_whose_driver_is_not_polled_any_more() {
    let (data_centre, record) = data_centre([]).await;
    let mut quick = options(&record, KeyMemory::default());
    quick.times.disconnect_delay = Duration::from_secs(1);
    quick.times.ping_every = Duration::from_secs(1);
    let stream = TcpStream::connect(record.address).await.unwrap();
    let (handle, mut driver) = open(stream, (), quick, |_| {});
    tokio::select! {
        answer = handle.call(myself().to_bytes(), LIMIT) => drop(answer.unwrap()),
        end = &mut driver => panic!("{end}"),
    }
    wait_until("its own end is closed", || data_centre.stats().connections == 0).await;
    assert_eq!(data_centre.stats().closed_by_timer, 1);
    assert!(driver.await.is_confirmed());
}

#[tokio::test]
async fn what_a_server_does_wrong_is_told_for_what_it_is() {
    let faults = [
        (Fault::Close, "closed"),
        (Fault::Reset, "reset"),
        (Fault::BadCrc, "protocol"),
        (Fault::Transport { code: 429 }, "429"),
        (Fault::Transport { code: 404 }, "404"),
    ];
    for (fault, words) in faults {
        let (_data_centre, record) = data_centre([FaultRule::new("users.getUsers", fault)]).await;
        let connection = connect(&record).await;
        connection.call(&functions::updates::GetState {}).await.unwrap();
        let error = connection.call(&myself()).await.unwrap_err();
        assert!(matches!(error, WireError::Lost { was_sent: true, .. }), "{error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert!(connection.driver.await.is_ok());
    }
    let (_data_centre, record) =
        data_centre([FaultRule::new("users.getUsers", Fault::Silence)]).await;
    let connection = connect(&record).await;
    let limit = Duration::from_millis(100);
    let silent = connection.handle.call(myself().to_bytes(), limit).await.unwrap_err();
    assert!(matches!(silent, WireError::TimedOut { was_sent: true, .. }), "{silent}");
    connection.call(&functions::updates::GetState {}).await.unwrap();
}

/// The guard of a key: whoever holds it may be connected, alone.
struct OneAtATime(#[expect(dead_code, reason = "it is held")] tokio::sync::OwnedMutexGuard<()>);

impl WireGuard for OneAtATime {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_faults_cost_the_calls_that_they_strike_and_a_key_is_never_on_two_connections() {
    let mut options_of_centre = DataCentreOptions::default();
    options_of_centre.faults = FaultPlan::mixed();
    let data_centre = DataCentre::start(options_of_centre).await.unwrap();
    let record = data_centre.create_sessions(OWN, 1, None).remove(0);
    let lock = Arc::new(tokio::sync::Mutex::new(()));
    let (mut answered, mut failed, mut memory) = (0, 0, KeyMemory::default());
    let started = std::time::Instant::now();
    for round in 0..150_u32 {
        let guard = OneAtATime(Arc::clone(&lock).lock_owned().await);
        let mut quick = options(&record, memory.clone());
        quick.times.ping_every = Duration::from_millis(500);
        quick.times.close_within = Duration::from_millis(200);
        let connection = connect_with(&record, quick, guard).await;
        let calls: Vec<_> = (0..40)
            .map(|_| {
                let handle = connection.handle.clone();
                tokio::spawn(async move {
                    handle
                        .call(functions::updates::GetState {}.to_bytes(), Duration::from_secs(3))
                        .await
                })
            })
            .collect();
        for call in calls {
            match call.await.unwrap() {
                Ok(_) => answered += 1,
                Err(_) => failed += 1,
            }
        }
        memory = connection.handle.memory();
        match round % 4 {
            0 => drop(connection.close().await),
            1 => connection.handle.abort(),
            2 => connection.driver.abort(),
            // Its guard is given back by itself, or never.
            _ => connection.handle.close(),
        }
    }
    assert!(answered > 5_000, "{answered} answered, {failed} failed after {:?}", started.elapsed());
    assert_eq!(data_centre.stats().key_violations, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_change_hands_quickly_are_never_on_two_connections() {
    let (data_centre, record) = data_centre([]).await;
    let lock = Arc::new(tokio::sync::Mutex::new(()));
    let mut memory = KeyMemory::default();
    for round in 0..600_u32 {
        let guard = OneAtATime(Arc::clone(&lock).lock_owned().await);
        let connection = connect_with(&record, options(&record, memory.clone()), guard).await;
        if round % 7 != 6 {
            connection.call(&functions::updates::GetState {}).await.unwrap();
        }
        memory = connection.handle.memory();
        match round % 4 {
            0 => connection.handle.close(),
            1 => connection.handle.abort(),
            2 => connection.driver.abort(),
            _ => drop(connection.close().await),
        }
    }
    assert_eq!(data_centre.stats().key_violations, 0);
}
