//! The client library over an endpoint over a wire to the sandbox.

use grammers_client::message::InputMessage;
use grammers_client::session::types::PeerId;
use tokio::net::TcpStream;

use super::*;
use crate::sandbox::{DataCentre, DataCentreOptions, Fault, FaultPlan, FaultRule};
use crate::session::ClientIdentity;
use crate::telegram::wire::{WireHandle, WireOptions, introduction};

const LIMIT: Duration = Duration::from_secs(20);
const OWN: AccountId = match AccountId::phone(9_996_621_001) {
    Ok(account) => account,
    Err(_) => panic!("it is a phone number"),
};

/// A connection of the wire, and a client over it.
struct Bench {
    data_centre: DataCentre,
    wire: WireHandle,
    driver: JoinHandle<WireEnd>,
    endpoint: EndpointClient,
}

async fn bench(rules: impl IntoIterator<Item = FaultRule>) -> Bench {
    let options = DataCentreOptions {
        faults: FaultPlan::new(rules).unwrap(),
        ..DataCentreOptions::default()
    };
    let data_centre = DataCentre::start(options).await.unwrap();
    let record = data_centre.create_sessions(OWN, 1, None).remove(0);
    let mut options = WireOptions::new(record.key.clone());
    options.introduction = introduction(1, ClientIdentity::new("wire", "test", "1"));
    let stream = TcpStream::connect(record.address).await.unwrap();
    let (wire, driver) = crate::telegram::wire::open(stream, (), options, |_| {});
    let driver = spawn(driver);
    let (settings, runtime) = (TelegramSettings::new(1), &Handle::current());
    let options = EndpointOptions { record: &record, settings: &settings, runtime };
    let (calls, end) = (wire.clone(), wire.clone());
    let endpoint = EndpointClient::open(
        options,
        move |body| {
            let wire = calls.clone();
            async move { wire.call(body, LIMIT).await }
        },
        async move { drop(end.gone().await) },
    );
    Bench { data_centre, wire, driver, endpoint }
}

#[tokio::test]
async fn the_client_finds_itself_and_sends_messages_over_the_wire() {
    let Bench { data_centre, wire, driver, endpoint } = bench([]).await;
    let client = endpoint.client();
    let own = client.get_me().await.unwrap();
    let oneself = PeerId::self_user().to_ambient_ref();
    // The second is long enough for the client to compress it.
    for (id, text) in [(1, "a word".to_owned()), (2, "words ".repeat(600))] {
        let message = InputMessage::new().text(text);
        let sent = client.send_message(oneself, message).await.unwrap();
        assert_eq!((sent.id(), sent.peer_id()), (id, own.id()));
    }
    let enums::updates::State::State(state) =
        client.invoke(&functions::updates::GetState {}).await.unwrap();
    assert_eq!(state.pts, 3, "one more than the messages");
    let stats = data_centre.stats();
    assert_eq!((stats.connections_total, stats.handshakes, stats.key_violations), (1, 1, 0));
    drop(endpoint);
    wire.close();
    assert!(driver.await.unwrap().is_confirmed());
}

#[tokio::test]
async fn errors_of_the_server_reach_the_client_word_for_word() {
    let fault = Fault::Error { code: 500, message: "SOME_WORDS_7_HERE".into() };
    let rules = [
        FaultRule::new("users.getUsers", Fault::FloodWait { seconds: 77 }),
        FaultRule::new("updates.getState", fault),
    ];
    let Bench { data_centre: _data_centre, endpoint, wire: _wire, .. } = bench(rules).await;
    let error = endpoint.client().get_me().await.unwrap_err();
    let InvocationError::Rpc(error) = error else { panic!("{error}") };
    assert_eq!((error.code, &*error.name, error.value), (420, "FLOOD_WAIT", Some(77)));
    let error = endpoint.client().invoke(&functions::updates::GetState {}).await.unwrap_err();
    let InvocationError::Rpc(error) = error else { panic!("{error}") };
    assert_eq!((error.code, &*error.name, error.value), (500, "SOME_WORDS_HERE", Some(7)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_of_many_callers_go_over_one_wire() {
    let Bench { data_centre, endpoint, wire, .. } = bench([]).await;
    let calls: Vec<_> = (0..32)
        .map(|_| {
            let client = endpoint.client().clone();
            spawn(async move {
                for _ in 0..50 {
                    client.invoke(&functions::updates::GetState {}).await.unwrap();
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    // Those in the first packet go twice, since the wire does not know the salt.
    let counts = wire.counts();
    assert_eq!(counts.calls_sent - counts.resends, 1_600, "it asks for nothing by itself");
    assert_eq!(data_centre.stats().connections_total, 1);
}

#[tokio::test]
async fn with_the_wire_the_client_ends_in_the_middle_of_its_calls() {
    let rule = FaultRule::new("updates.getState", Fault::Silence);
    for how in 0..3 {
        let Bench { data_centre, wire, driver, endpoint } = bench([rule.clone()]).await;
        endpoint.client().get_me().await.unwrap();
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let client = endpoint.client().clone();
                let state = functions::updates::GetState {};
                spawn(async move { client.invoke(&state).await.unwrap_err() })
            })
            .collect();
        while data_centre.stats().calls < 21 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match how {
            0 => wire.close(),
            1 => wire.abort(),
            _ => assert_eq!(data_centre.disconnect(OWN, &Fault::Reset), 1),
        }
        all_fail(calls, endpoint.client()).await;
        endpoint.gone().await;
        drop(driver.await.unwrap());
    }
}
