//! Faults of the protocol, byte by byte, with a client that looks at each.

use telepool::sandbox::ProtocolFault;

use super::raw::{RPC_RESULT, RawClient, RawMessage};
use super::*;

const CONTAINER: u32 = 0x73f1_f8dc;
const GZIP_PACKED: u32 = 0x3072_cfa1;
const MSG_COPY: u32 = 0xe060_46b2;
const UPDATES_TOO_LONG: u32 = 0xe317_af7e;
const HOUR: i64 = 3600;

/// What became of a client whose next call of `users.getUsers` a fault strikes once.
struct Struck {
    data_centre: DataCentre,
    record: SessionRecord,
    client: RawClient,
    /// The last message that the server sent before, and the call.
    before: RawMessage,
    call: i64,
}

async fn struck(fault: ProtocolFault) -> Struck {
    let mut options = DataCentreOptions::default();
    let rule = FaultRule::new("users.getUsers", Fault::Protocol(fault)).limit(1);
    options.faults = FaultPlan::new([rule]).unwrap();
    let data_centre = DataCentre::start(options).await.unwrap();
    let record = data_centre.create_sessions(OWN, 1, None).remove(0);
    let mut client = RawClient::connect(&record).await;
    client.introduce().await;
    client.ping().await;
    let before = client.message().await;
    let call = client.send(&myself()).await.unwrap();
    Struck { data_centre, record, client, before, call }
}

impl Struck {
    /// The next packet: its session and its message.
    async fn packet(&mut self) -> (i64, RawMessage) {
        let plain = self.client.receive_sealed().await.unwrap().unwrap();
        let session = i64::from_le_bytes(plain[8..16].try_into().unwrap());
        (session, RawMessage::take(&plain[16..]).0)
    }

    /// The connection goes on as if nothing had been.
    async fn goes_on(mut self) {
        let call = self.client.send(&myself()).await.unwrap();
        assert_eq!(self.client.message().await.result().0, call);
        let stats = self.data_centre.stats();
        assert_eq!((stats.faults_injected, stats.key_violations), (1, 0));
    }
}

fn word_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

#[tokio::test]
async fn a_frame_says_another_length() {
    for length in [1_500_000_000, -1, 0, 16] {
        let mut struck = struck(ProtocolFault::FrameLength { length }).await;
        let bytes = struck.client.receive_bytes(16).await;
        assert_eq!(bytes[..4], length.to_le_bytes());
    }
}

#[tokio::test]
async fn a_packet_has_another_key_or_another_session() {
    let mut forged = struck(ProtocolFault::MessageKey).await;
    assert_eq!(forged.client.receive_sealed().await.unwrap(), None);
    forged.goes_on().await;
    let mut foreign = struck(ProtocolFault::WrongSession).await;
    let (session, answer) = foreign.packet().await;
    assert_eq!((session, answer.result().0), (foreign.client.session ^ 1, foreign.call));
    foreign.goes_on().await;
}

#[tokio::test]
async fn an_answer_has_an_id_that_it_should_not_have() {
    let mut old = struck(ProtocolFault::OldMessageId).await;
    let (_, answer) = old.packet().await;
    let age = (old.before.id >> 32) - (answer.id >> 32);
    assert!((HOUR - 60..=HOUR).contains(&age) && answer.result().0 == old.call, "{age}");
    old.goes_on().await;
    let mut repeated = struck(ProtocolFault::RepeatedMessageId).await;
    let (_, answer) = repeated.packet().await;
    assert_eq!((answer.id, answer.result().0), (repeated.before.id, repeated.call));
    repeated.goes_on().await;
    let mut even = struck(ProtocolFault::EvenMessageId).await;
    let (_, answer) = even.packet().await;
    assert_eq!((answer.id & 3, answer.result().0), (0, even.call));
    even.goes_on().await;
}

#[tokio::test]
async fn a_message_or_a_container_says_more_or_less_than_it_has() {
    for length in [-4, i32::MAX, 3] {
        let mut struck = struck(ProtocolFault::MessageLength { length }).await;
        let plain = struck.client.receive_sealed().await.unwrap().unwrap();
        assert_eq!(plain[28..32], length.to_le_bytes());
        assert_eq!(word_at(&plain, 32), RPC_RESULT);
        struck.goes_on().await;
    }
    for count in [-1, 0, 2, i32::MAX] {
        let mut struck = struck(ProtocolFault::ContainerCount { count }).await;
        let (_, container) = struck.packet().await;
        assert_eq!(
            (container.head(), &container.body[4..8]),
            (CONTAINER, &count.to_le_bytes()[..])
        );
        let (answer, rest) = RawMessage::take(&container.body[8..]);
        assert_eq!((answer.result().0, rest.len()), (struck.call, 0));
        struck.goes_on().await;
    }
}

#[tokio::test]
async fn containers_lie_in_containers_as_deep_as_they_should() {
    let mut struck = struck(ProtocolFault::NestedContainers { depth: 20_000 }).await;
    let (_, outermost) = struck.packet().await;
    let (mut rest, mut depth, mut last) = (&outermost.body[..], 1, outermost.id);
    while word_at(rest, 8 + 16) == CONTAINER {
        assert_eq!((word_at(rest, 0), word_at(rest, 4)), (CONTAINER, 1));
        let id = i64::from_le_bytes(rest[8..16].try_into().unwrap());
        assert!(id < last);
        assert_eq!(word_at(rest, 20) as usize, rest.len() - 24);
        (rest, depth, last) = (&rest[24..], depth + 1, id);
    }
    assert_eq!(depth, 20_000);
    assert_eq!(RawMessage::take(&rest[8..]).0.result().0, struck.call);
    struck.goes_on().await;
}

#[tokio::test]
async fn an_answer_comes_to_far_more_than_what_is_sent() {
    let mut struck = struck(ProtocolFault::GzipBomb { bytes: 200 << 20 }).await;
    let (_, answer) = struck.packet().await;
    assert_eq!(answer.result(), (struck.call, GZIP_PACKED));
    assert!(answer.body.len() < 300 << 10, "{}", answer.body.len());
    struck.client.acknowledge(&[answer]).await;
    struck.goes_on().await;
}

#[tokio::test]
async fn an_answer_is_copied_or_comes_with_what_nobody_asked_for() {
    let mut copied = struck(ProtocolFault::MsgCopy).await;
    let (_, copy) = copied.packet().await;
    assert_eq!(copy.head(), MSG_COPY);
    assert_eq!(RawMessage::take(&copy.body[4..]).0.result().0, copied.call);
    copied.goes_on().await;

    let mut stray = struck(ProtocolFault::StrayAnswer).await;
    let told = stray.client.messages_of(2).await;
    assert!(told[0].result().0 != stray.call && told[1].result().0 == stray.call);
    stray.goes_on().await;

    let mut stray = struck(ProtocolFault::StrayService).await;
    let told = stray.client.messages_of(14).await;
    let heads: std::collections::BTreeSet<_> = told.iter().map(RawMessage::head).collect();
    assert!(heads.len() == 14 && told[13].result().0 == stray.call, "{told:?}");
    stray.goes_on().await;

    let mut twice = struck(ProtocolFault::AnswerTwice).await;
    let told = twice.client.messages_of(2).await;
    assert!(told[0].id != told[1].id && told[0].body == told[1].body);
    twice.goes_on().await;

    let mut repeated = struck(ProtocolFault::MessageTwice).await;
    let told = repeated.client.messages_of(2).await;
    assert_eq!(told[0], told[1]);
    repeated.goes_on().await;
}

#[tokio::test]
async fn an_answer_is_kept_back_until_it_is_asked_for() {
    let mut struck = struck(ProtocolFault::DetailedInfo).await;
    let told = struck.client.message().await;
    assert!(told.sequence.is_multiple_of(2));
    let info: types::MsgDetailedInfo = told.read();
    assert_eq!(info.msg_id, struck.call);
    let msg_ids = vec![info.answer_msg_id];
    struck.client.notify(&enums::MsgResendReq::Req(types::MsgResendReq { msg_ids })).await;
    let answer = struck.client.message().await;
    assert_eq!((answer.id, answer.result().0), (info.answer_msg_id, struck.call));
    assert_eq!(answer.body.len(), usize::try_from(info.bytes).unwrap());
    struck.goes_on().await;
}

#[tokio::test]
async fn a_call_is_refused_for_no_reason_and_may_come_again() {
    let mut salted = struck(ProtocolFault::BadSalt).await;
    let bad: types::BadServerSalt = salted.client.message().await.read();
    assert_eq!((bad.bad_msg_id, bad.error_code), (salted.call, 48));
    assert_eq!(bad.new_server_salt.to_le_bytes(), salted.client.salt, "it was right");
    salted.goes_on().await;
    for code in [16, 20, 32, 64, 99] {
        let mut struck = struck(ProtocolFault::BadMessage { code }).await;
        let bad: types::BadMsgNotification = struck.client.message().await.read();
        assert_eq!((bad.bad_msg_id, bad.error_code), (struck.call, code));
        struck.goes_on().await;
    }
}

#[tokio::test]
async fn a_clock_jumps_for_whoever_is_connected_and_for_nobody_else() {
    for (seconds, code) in [(3600, 16), (-3600, 17)] {
        let mut struck = struck(ProtocolFault::ClockJump { seconds }).await;
        let told = struck.client.message().await;
        let bad: types::BadMsgNotification = told.read();
        assert_eq!((bad.bad_msg_id, bad.error_code), (struck.call, code));
        // The id of the refusal tells the time.
        let ahead = (told.id >> 32) - (struck.before.id >> 32);
        assert!((ahead - i64::from(seconds)).abs() < 60, "{ahead}");
        let Struck { client, .. } = &mut struck;
        client.begin_anew(ahead);
        client.learn_salt().await;
        let id = client.send(&functions::GetFutureSalts { num: 2 }).await.unwrap();
        let salts: types::FutureSalts = client.messages_of(2).await[1].read();
        assert_eq!(salts.req_msg_id, id);
        assert!((i64::from(salts.now) - (id >> 32)).abs() < 60);
        let Struck { data_centre, record, client, .. } = struck;
        drop(client);
        RawClient::connect(&record).await.introduce().await;
        assert_eq!(data_centre.stats().key_violations, 0);
    }
    let small = struck(ProtocolFault::ClockJump { seconds: 5 }).await;
    let Struck { mut client, call, .. } = small;
    assert_eq!(client.message().await.result().0, call, "it fits still");
}

#[tokio::test]
async fn a_server_that_has_said_its_end_waits_for_that_of_the_client() {
    let Struck { data_centre, record, mut client, .. } = struck(ProtocolFault::HalfClose).await;
    assert_eq!(client.until_closed().await, 0, "there is no answer");
    for _ in 0..20 {
        client.ping().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((data_centre.stats().connections, data_centre.live_connections(OWN)), (1, 1));
    drop(client);
    RawClient::connect(&record).await.introduce().await;
    wait_until("it has ended", || data_centre.live_connections(OWN) == 0).await;
    assert_eq!(data_centre.stats().key_violations, 0);
}

#[tokio::test]
async fn a_server_that_reads_no_more_brings_writes_to_a_stop_and_sees_the_end() {
    let Struck { data_centre, record, mut client, .. } = struck(ProtocolFault::StopReading).await;
    let before = data_centre.stats().bytes_received;
    assert!(client.send_until_it_stops().await > 100_000);
    assert!(data_centre.stats().bytes_received - before < 10_000);
    assert!(data_centre.push_update(OWN) > 0);
    assert_eq!(client.receive().await, Ok(UPDATES_TOO_LONG), "it goes on sending");
    // An end behind what finds no room would never arrive.
    client.reset();
    wait_until("it has ended", || data_centre.live_connections(OWN) == 0).await;
    RawClient::connect(&record).await.introduce().await;
    assert_eq!(data_centre.stats().key_violations, 0);
}

#[tokio::test]
async fn what_strikes_a_connection_strikes_its_first_packet_too() {
    let on_connect = |fault| FaultRule::new("connect", Fault::Protocol(fault)).limit(1);
    for fault in [
        ProtocolFault::HalfClose,
        ProtocolFault::StopReading,
        ProtocolFault::ClockJump { seconds: -3600 },
    ] {
        let mut options = DataCentreOptions::default();
        options.faults = FaultPlan::new([on_connect(fault)]).unwrap();
        let data_centre = DataCentre::start(options).await.unwrap();
        let record = data_centre.create_sessions(OWN, 1, None).remove(0);
        let mut client = RawClient::connect(&record).await;
        client.ping().await;
        match fault {
            ProtocolFault::HalfClose => assert_eq!(client.until_closed().await, 0),
            ProtocolFault::StopReading => assert!(client.send_until_it_stops().await > 100_000),
            _ => {
                let bad: types::BadMsgNotification = client.message().await.read();
                assert_eq!(bad.error_code, 17);
            }
        }
        client.reset();
        wait_until("it has ended", || data_centre.stats().connections == 0).await;
        RawClient::connect(&record).await.introduce().await;
        let stats = data_centre.stats();
        assert_eq!((stats.faults_injected, stats.key_violations), (1, 0));
    }
}
