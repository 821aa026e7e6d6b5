//! The rule of one main connection per key, as the data centre judges it.

use super::raw::RawClient;
use super::*;

#[tokio::test]
async fn a_second_connection_of_a_key_that_lives_is_a_violation_and_voids_the_key() {
    let bench = bench([]).await;
    let connection = bench.connect(OWN).await;
    let records = bench.data_centre.enroll(AccountId::bot(9).unwrap(), 1, None);
    let mut first = RawClient::connect(record(&records)).await;
    first.ping().await;
    first.hear().await.unwrap();
    let mut second = RawClient::connect(record(&records)).await;
    assert_eq!(bench.data_centre.stats().key_violations, 0, "it has not spoken yet");
    second.ping().await;
    second.hear().await.unwrap();
    assert_eq!(bench.data_centre.stats().key_violations, 1);
    // Other keys have nothing to do with it.
    connection.invoke(&myself()).await.unwrap();
}

#[tokio::test]
async fn a_void_key_gets_406() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let records = data_centre.enroll(OWN, 1, None);
    let mut raw = RawClient::connect(record(&records)).await;
    raw.ping().await;
    raw.hear().await.unwrap();
    let source = MemorySource::new(records).unwrap();
    let manager = GrammersManager::new(source, TelegramSettings::new(1));
    let error = manager.connect(OWN, 0).await.unwrap_err();
    assert!(
        matches!(&error, TelegramError::Rpc { code: 406, name, .. }
        if &**name == "AUTH_KEY_DUPLICATED"),
        "{error}"
    );
    assert_eq!(data_centre.stats().key_violations, 1);
}

/// Whoever closes before dialling again keeps the rule, however late the data centre's tasks get
/// to see either: many clients at once keep it busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_closed_before_the_next_is_never_held_against_anybody() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let clients: Vec<_> = (1..=32)
        .map(|id| {
            let records = data_centre.enroll(AccountId::bot(id).unwrap(), 1, None);
            tokio::spawn(async move {
                for round in 0..40 {
                    let mut client = RawClient::connect(record(&records)).await;
                    client.ping().await;
                    if round % 3 == 0 {
                        client.hear().await.unwrap();
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    wait_until("all have ended", || data_centre.stats().connections == 0).await;
    let stats = data_centre.stats();
    assert_eq!((stats.connections_total, stats.key_violations), (32 * 40, 0), "{stats:?}");
}

/// The counterpart: whoever overlaps breaks it every time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlap_is_always_counted() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let clients: Vec<_> = (1..=32)
        .map(|id| {
            let records = data_centre.enroll(AccountId::bot(id).unwrap(), 1, None);
            tokio::spawn(async move {
                let mut before = RawClient::connect(record(&records)).await;
                before.ping().await;
                for _ in 0..10 {
                    let mut next = RawClient::connect(record(&records)).await;
                    next.ping().await;
                    next.hear().await.unwrap();
                    before = next;
                }
                drop(before);
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(data_centre.stats().key_violations, 32 * 10);
}
