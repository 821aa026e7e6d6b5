//! What a test can learn of when connections came and ended.

use super::raw::RawClient;
use super::*;

#[tokio::test]
async fn an_end_is_seen_before_the_next_dial_by_whoever_waits_for_it() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let record = data_centre.create_sessions(OWN, 2, None).remove(0);
    let observe = || data_centre.key_observations(OWN).remove(0);
    let mut first = RawClient::connect(&record).await;
    first.learn_salt().await;
    assert_eq!((observe().open, observe().connections[0].ended()), (1, None));
    first.half_close().await;
    assert_eq!(first.until_closed().await, 0, "the data centre closes in turn");
    let mut second = RawClient::connect(&record).await;
    second.learn_salt().await;
    let seen = observe();
    let [first, second] = seen.connections[..] else { panic!("{seen:?}") };
    assert!(first.ended_before_dial_of(&second) && first.ended_before_first_packet_of(&second));
    assert!(first.client_ended < first.closed && second.accepted < second.first_packet);
    assert_eq!((seen.slot, seen.open, seen.is_invalidated), (0, 1, false));
    let other = data_centre.key_observations(OWN).remove(1);
    assert!(other.slot == 1 && other.connections.is_empty());
}

#[tokio::test]
async fn whoever_closes_before_the_next_packet_is_seen_to_and_whoever_does_not_as_well() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let record = data_centre.create_sessions(OWN, 1, None).remove(0);
    for _ in 0..50 {
        let mut client = RawClient::connect(&record).await;
        client.learn_salt().await;
    }
    let before = data_centre.key_observations(OWN).remove(0);
    assert_eq!((before.connections.len(), data_centre.stats().key_violations), (4, 0));
    for two in before.connections.windows(2) {
        assert!(two[0].ended_before_first_packet_of(&two[1]), "{two:?}");
    }
    let mut first = RawClient::connect(&record).await;
    first.learn_salt().await;
    let mut second = RawClient::connect(&record).await;
    second.learn_salt().await;
    let after = data_centre.key_observations(OWN).remove(0);
    let [.., first, second] = after.connections[..] else { panic!("{after:?}") };
    assert!(!first.ended_before_first_packet_of(&second) && after.is_invalidated);
    assert_eq!((after.open, data_centre.live_connections(OWN)), (2, 2));
}
