//! The rules of MTProto about sessions, messages and salts, with a client that keeps and breaks each of them.

use telepool::telegram::client::tl::{Identifiable, Serializable};

use super::raw::{NEW_SESSION, RPC_RESULT, RawClient, RawMessage, init_connection};
use super::*;

const PONG: u32 = types::Pong::CONSTRUCTOR_ID;
const VECTOR: u32 = 0x1cb5_c415;

/// A data centre, a session of it, and a client that has introduced itself.
async fn introduced() -> (DataCentre, SessionRecord, RawClient) {
    introduced_with(DataCentreOptions::default()).await
}

async fn introduced_with(options: DataCentreOptions) -> (DataCentre, SessionRecord, RawClient) {
    let data_centre = DataCentre::start(options).await.unwrap();
    let record = data_centre.create_sessions(OWN, 1, None).remove(0);
    let mut client = RawClient::connect(&record).await;
    client.introduce().await;
    (data_centre, record, client)
}

/// A call whose answer is long: so many users of 40 bytes and more.
fn users(count: usize) -> functions::users::GetUsers {
    functions::users::GetUsers { id: vec![enums::InputUser::UserSelf; count] }
}

/// Asks what the server knows of messages.
async fn states(client: &mut RawClient, msg_ids: Vec<i64>) -> Vec<u8> {
    let asked = client.notify(&enums::MsgsStateReq::Req(types::MsgsStateReq { msg_ids })).await;
    let info: types::MsgsStateInfo = client.message().await.read();
    assert_eq!(info.req_msg_id, asked);
    info.info
}

/// The code that a message is refused with.
async fn refusal(client: &mut RawClient, message: &RawMessage) -> i32 {
    client.send_message(message).await.unwrap();
    let told = client.message().await;
    assert!(told.sequence.is_multiple_of(2), "nobody acknowledges it");
    let bad: types::BadMsgNotification = told.read();
    assert_eq!((bad.bad_msg_id, bad.bad_msg_seqno), (message.id, message.sequence.cast_signed()));
    bad.error_code
}

#[tokio::test]
async fn a_session_is_told_to_be_new_once_and_again_after_it_was_destroyed() {
    let (data_centre, record, client) = introduced().await;
    let mut client = RawClient::resume(client, &record).await;
    assert!(client.is_served().await);
    let first = client.session;
    client.session = first ^ 1;
    let ping = client.send(&functions::Ping { ping_id: 1 }).await.unwrap();
    let told = client.messages_of(2).await;
    let new: types::NewSessionCreated = told[0].read();
    assert_eq!((new.first_msg_id, new.server_salt.to_le_bytes()), (ping, client.salt));
    assert_eq!((told[0].sequence, told[1].head(), told[1].sequence), (1, PONG, 2));
    client.acknowledge(&told[..1]).await;
    // Another session is destroyed, the one that asks is not.
    for (session_id, head) in [
        (client.session, types::DestroySessionNone::CONSTRUCTOR_ID),
        (first, types::DestroySessionOk::CONSTRUCTOR_ID),
        (first, types::DestroySessionNone::CONSTRUCTOR_ID),
    ] {
        client.send(&functions::DestroySession { session_id }).await.unwrap();
        assert_eq!(client.message().await.head(), head);
    }
    client.session = first;
    client.ping().await;
    assert_eq!(client.messages_of(2).await[0].head(), NEW_SESSION);
    assert_eq!(data_centre.stats().key_violations, 0);
}

#[tokio::test]
async fn a_message_older_than_its_session_is_carried_out_and_told_of() {
    let (_data_centre, _, mut client) = introduced().await;
    client.session ^= 1;
    let late = client.number(functions::Ping { ping_id: 5 }.to_bytes(), false);
    client.ping().await;
    let first: types::NewSessionCreated = client.messages_of(2).await[0].read();
    client.send_message(&late).await.unwrap();
    let told = client.messages_of(2).await;
    let new: types::NewSessionCreated = told[0].read();
    assert!(new.first_msg_id == late.id && new.unique_id != first.unique_id, "{new:?}");
    assert_eq!(told[1].head(), PONG);
}

#[tokio::test]
async fn a_session_that_the_server_has_forgotten_is_new_and_nothing_of_it_is_left() {
    let (data_centre, _, mut client) = introduced().await;
    client.send(&users(100)).await.unwrap();
    let answer = client.message().await;
    assert_eq!(data_centre.forget_mtproto_sessions(OWN), 1);
    let asked = client.notify(&resend(vec![answer.id])).await;
    let told = client.messages_of(2).await;
    let new: types::NewSessionCreated = told[0].read();
    let info: types::MsgsStateInfo = told[1].read();
    assert_eq!((new.first_msg_id, info.req_msg_id), (asked, asked));
    // The connection has introduced itself, whatever the session.
    client.send(&users(1)).await.unwrap();
    assert_eq!(client.message().await.result().1, VECTOR);
}

#[tokio::test]
async fn every_rule_about_numbers_has_its_code() {
    let (data_centre, _, mut client) = introduced().await;
    let calls = data_centre.stats().calls;
    let ping = || functions::Ping { ping_id: 1 }.to_bytes();
    for (shift, code) in [(-301 << 32, 16), (60 << 32, 17), (1, 18), (2, 18)] {
        let mut message = client.number(ping(), true);
        message.id += shift;
        assert_eq!(refusal(&mut client, &message).await, code);
    }
    let inner = client.number(ping(), true);
    let container = client.contain(std::slice::from_ref(&inner));
    client.send_message(&container).await.unwrap();
    assert_eq!(client.message().await.head(), PONG);
    let again = RawMessage { sequence: container.sequence, ..container.clone() };
    assert_eq!(refusal(&mut client, &again).await, 19, "a container comes once");

    let early = client.number(ping(), true);
    let late = client.number(ping(), true);
    client.send_message(&late).await.unwrap();
    assert_eq!(client.message().await.head(), PONG);
    let mut low = client.number(ping(), true);
    low.sequence = 1;
    assert_eq!(refusal(&mut client, &low).await, 32);
    let mut high = early;
    high.sequence = late.sequence + 10;
    assert_eq!(refusal(&mut client, &high).await, 33);
    let told = types::MsgsAllInfo { msg_ids: vec![1], info: vec![1] };
    let odd = client.number(enums::MsgsAllInfo::Info(told).to_bytes(), true);
    assert_eq!(refusal(&mut client, &odd).await, 34);
    let even = client.number(users(1).to_bytes(), false);
    assert_eq!(refusal(&mut client, &even).await, 35);
    assert_eq!(data_centre.stats().calls, calls + 2, "only two pings were carried out");
}

#[tokio::test]
async fn a_container_that_is_not_valid_gets_64_and_one_bad_message_harms_no_other() {
    let (_data_centre, _, mut client) = introduced().await;
    let ping = || functions::Ping { ping_id: 1 }.to_bytes();
    let inner = client.number(ping(), true);
    let nested = client.contain(std::slice::from_ref(&inner));
    let outer = client.contain(&[nested]);
    assert_eq!(refusal(&mut client, &outer).await, 64);
    let mut not_younger = client.contain(std::slice::from_ref(&inner));
    not_younger.id = inner.id;
    assert_eq!(refusal(&mut client, &not_younger).await, 64);
    let mut lying = client.contain(std::slice::from_ref(&inner));
    lying.body[4] = 2;
    assert_eq!(refusal(&mut client, &lying).await, 64);

    let mut bad = client.number(ping(), true);
    bad.sequence = 1;
    let good = client.number(ping(), true);
    let both = client.contain(&[bad.clone(), good.clone()]);
    client.send_message(&both).await.unwrap();
    let told = client.messages_of(2).await;
    let refused: types::BadMsgNotification = told[0].read();
    let pong: types::Pong = told[1].read();
    assert_eq!((refused.bad_msg_id, refused.error_code, pong.msg_id), (bad.id, 32, good.id));
}

#[tokio::test]
async fn what_is_asked_about_messages_is_told_by_what_became_of_them() {
    let mut options = DataCentreOptions::default();
    options.faults = FaultPlan::new([FaultRule::new("users.getUsers", Fault::Silence)]).unwrap();
    let (_data_centre, _, mut client) = introduced_with(options).await;
    let answered = client.send(&functions::updates::GetState {}).await.unwrap();
    client.message().await;
    let never_sent = client.number(vec![0; 4], true);
    let running = client.send(&users(1)).await.unwrap();
    let notice = client.notify(&types_ack(Vec::new())).await;
    let later = notice + (1 << 32);
    let asked = vec![answered, never_sent.id, running, notice, later];
    assert_eq!(states(&mut client, asked).await, [4 + 8 + 32 + 64, 2, 4 + 32, 4 + 16, 3]);
    // What tells instead of asking is taken in silence.
    let info = || vec![1_u8];
    let all = types::MsgsAllInfo { msg_ids: vec![1], info: info() };
    client.notify(&enums::MsgsAllInfo::Info(all)).await;
    let told = types::MsgsStateInfo { req_msg_id: 1, info: info() };
    client.notify(&enums::MsgsStateInfo::Info(told)).await;
    let wait = types::HttpWait { max_delay: 1, wait_after: 1, max_wait: 1 };
    client.notify(&enums::HttpWait::Wait(wait)).await;
    let copied = client.number(users(1).to_bytes(), true);
    let copy = [&0xe060_46b2_u32.to_le_bytes()[..], &copied.id.to_le_bytes(), &[0; 8]].concat();
    let copy = client.number(copy, false);
    client.send_message(&copy).await.unwrap();
    client.ping().await;
    assert_eq!(client.message().await.head(), PONG);
}

fn types_ack(msg_ids: Vec<i64>) -> enums::MsgsAck {
    enums::MsgsAck::Ack(types::MsgsAck { msg_ids })
}

fn resend(msg_ids: Vec<i64>) -> enums::MsgResendReq {
    enums::MsgResendReq::Req(types::MsgResendReq { msg_ids })
}

fn resend_answers(msg_ids: Vec<i64>) -> enums::MsgResendReq {
    enums::MsgResendReq::MsgResendAnsReq(types::MsgResendAnsReq { msg_ids })
}

#[tokio::test]
async fn an_answer_can_be_asked_for_again_until_it_is_acknowledged() {
    let (data_centre, _, mut client) = introduced().await;
    let call = client.send(&users(100)).await.unwrap();
    let answer = client.message().await;
    assert_eq!(answer.result().0, call);
    client.notify(&resend(vec![answer.id])).await;
    assert_eq!(client.message().await, answer, "byte for byte");
    client.notify(&resend_answers(vec![call, call + 4])).await;
    let told = client.messages_of(2).await;
    let info: types::MsgsStateInfo = told[1].read();
    assert_eq!((&told[0], &info.info[..]), (&answer, &[4 + 8 + 32 + 64, 2][..]));
    client.acknowledge(std::slice::from_ref(&answer)).await;
    client.notify(&resend(vec![answer.id])).await;
    assert_eq!(client.message().await.head(), types::MsgsStateInfo::CONSTRUCTOR_ID);
    assert_eq!(data_centre.stats().calls, 2, "nothing was carried out twice");
}

#[tokio::test]
async fn a_call_that_comes_again_is_not_carried_out_again() {
    let (data_centre, _, mut client) = introduced().await;
    for (request, is_long) in [(users(1), false), (users(100), true)] {
        let call = client.number(request.to_bytes(), true);
        client.send_message(&call).await.unwrap();
        let answer = client.message().await;
        client.send_message(&call).await.unwrap();
        let again = client.message().await;
        if is_long {
            let info: types::MsgDetailedInfo = again.read();
            assert_eq!((info.msg_id, info.answer_msg_id, info.status), (call.id, answer.id, 0));
            assert_eq!(usize::try_from(info.bytes).unwrap(), answer.body.len());
            client.notify(&resend(vec![info.answer_msg_id])).await;
            assert_eq!(client.message().await, answer);
        } else {
            assert_eq!(again, answer);
        }
        client.acknowledge(&[answer]).await;
        client.send_message(&call).await.unwrap();
    }
    client.ping().await;
    assert_eq!(client.message().await.head(), PONG, "nothing about what was acknowledged");
    assert_eq!(data_centre.stats().calls, 4, "nothing was carried out twice");
}

#[tokio::test]
async fn what_was_not_acknowledged_is_offered_on_the_next_connection_of_the_session() {
    let (data_centre, record, mut client) = introduced().await;
    let long = client.send(&users(100)).await.unwrap();
    let answer = client.message().await;
    let short = client.send(&functions::updates::GetState {}).await.unwrap();
    let state = client.message().await;
    assert!(data_centre.push_update(OWN) > 0);
    let update = client.message().await;
    client.send(&functions::updates::GetState {}).await.unwrap();
    let acknowledged = client.message().await;
    client.acknowledge(&[acknowledged]).await;
    assert!(states(&mut client, vec![1]).await.len() == 1, "the acknowledgement was read");
    // It is told of what is there, unless the first packet says that it has that.
    let mut client = RawClient::resume(client, &record).await;
    client.acknowledge(std::slice::from_ref(&update)).await;
    let told = client.messages_of(2).await;
    let info: types::MsgDetailedInfo = told[0].read();
    assert_eq!((info.msg_id, info.answer_msg_id), (long, answer.id));
    assert_eq!((&told[1], told[1].result().0), (&state, short));
    // Another session of the key gets nothing of it.
    let mut other = RawClient::resume(client, &record).await;
    let first = std::mem::replace(&mut other.session, 77);
    other.ping().await;
    assert_eq!(other.messages_of(2).await[1].head(), PONG);
    other.session = first;
    other.notify(&resend(vec![answer.id])).await;
    let told = other.messages_of(3).await;
    assert!(told.contains(&answer) && told.contains(&state), "{told:?}");
    assert_eq!(data_centre.stats().key_violations, 0);
}

#[tokio::test]
async fn an_answer_that_had_not_left_comes_on_the_next_connection() {
    let slow = Fault::Delay(Duration::from_secs(600));
    let mut options = DataCentreOptions::default();
    options.faults = FaultPlan::new([FaultRule::new("users.getUsers", slow)]).unwrap();
    let (_data_centre, record, mut client) = introduced_with(options).await;
    let call = client.number(users(1).to_bytes(), true);
    client.send_message(&call).await.unwrap();
    let received: types::MsgsAck = client.message().await.read();
    assert_eq!(received.msg_ids, [call.id], "it is a long time coming");
    assert_eq!(states(&mut client, vec![call.id]).await, [4 + 8 + 32]);
    client.send_message(&call).await.unwrap();
    assert_eq!(states(&mut client, vec![call.id]).await, [4 + 8 + 32], "it says nothing of it");
    let mut client = RawClient::resume(client, &record).await;
    client.ping().await;
    let told = client.messages_of(2).await;
    assert_eq!((told[0].head(), told[1].result().0), (PONG, call.id));
    assert_eq!(states(&mut client, vec![call.id]).await, [4 + 8 + 32 + 64]);
}

#[tokio::test]
async fn a_call_that_ended_its_connection_may_come_again_by_the_same_id() {
    let mut options = DataCentreOptions::default();
    let close = FaultRule::new("users.getUsers", Fault::Close).limit(1);
    options.faults = FaultPlan::new([close]).unwrap();
    let (_data_centre, record, mut client) = introduced_with(options).await;
    let call = client.number(init_connection(users(1)).to_bytes(), true);
    client.send_message(&call).await.unwrap();
    client.until_closed().await;
    let mut client = RawClient::resume(client, &record).await;
    client.send_message(&call).await.unwrap();
    assert_eq!(client.message().await.result().0, call.id);
}

#[tokio::test]
async fn an_answer_that_nobody_wants_is_dropped() {
    let slow = Fault::Delay(Duration::from_millis(300));
    let mut options = DataCentreOptions::default();
    options.faults = FaultPlan::new([FaultRule::new("users.getUsers", slow)]).unwrap();
    let (_data_centre, record, mut client) = introduced_with(options).await;
    let call = client.send(&users(1)).await.unwrap();
    assert_eq!(client.message().await.head(), types::MsgsAck::CONSTRUCTOR_ID);
    let drop_of = |req_msg_id| functions::RpcDropAnswer { req_msg_id };
    let running = types_of::DROPPED_RUNNING;
    let asked = client.send(&drop_of(call)).await.unwrap();
    let told = client.messages_of(2).await;
    assert_eq!([told[0].result(), told[1].result()], [(call, running), (asked, running)]);
    client.acknowledge(&told).await;

    let call = client.send(&functions::updates::GetState {}).await.unwrap();
    let answer = client.message().await;
    let asked = client.send(&drop_of(call)).await.unwrap();
    let told = client.message().await;
    assert_eq!(told.result(), (asked, types::RpcAnswerDropped::CONSTRUCTOR_ID));
    assert_eq!(told.body[16..24], answer.id.to_le_bytes());
    client.acknowledge(&[told]).await;
    for unknown in [call, call + 4] {
        let asked = client.send(&drop_of(unknown)).await.unwrap();
        let told = client.message().await;
        assert_eq!(told.result(), (asked, types_of::UNKNOWN));
        client.acknowledge(&[told]).await;
    }
    // The answer of the first call has been due for long once this one comes.
    let last = client.send(&users(1)).await.unwrap();
    assert_eq!(client.messages_of(2).await[1].result().0, last);
    let mut client = RawClient::resume(client, &record).await;
    client.ping().await;
    let told = client.messages_of(2).await;
    assert_eq!((told[0].head(), told[1].result().0), (PONG, last), "the rest is settled");
}

/// Constructors of types that hold nothing, which the schema's own types do not name.
mod types_of {
    pub(super) const UNKNOWN: u32 = 0x5e2a_d36e;
    pub(super) const DROPPED_RUNNING: u32 = 0xcd78_e586;
}

#[tokio::test]
async fn salts_to_come_are_told_and_a_wrong_one_is_told_the_right_one() {
    let (_data_centre, _, mut client) = introduced().await;
    for (asked, count) in [(64, 64), (1000, 64), (10, 10)] {
        let id = client.send(&functions::GetFutureSalts { num: asked }).await.unwrap();
        let told = client.message().await;
        let salts: types::FutureSalts = told.read();
        let all = salts.salts.0;
        assert_eq!((salts.req_msg_id, all.len()), (id, count));
        assert_eq!(all[0].salt.to_le_bytes(), client.salt);
        assert!(all[0].valid_since <= salts.now && salts.now < all[0].valid_until);
        let follow = all.windows(2).all(|two| two[1].valid_since == two[0].valid_since + 1800);
        assert!(follow && all.iter().all(|it| it.valid_until == it.valid_since + 3600));
    }
    let right = std::mem::replace(&mut client.salt, [7; 8]);
    client.ping().await;
    let bad: types::BadServerSalt = client.message().await.read();
    assert_eq!((bad.error_code, bad.new_server_salt.to_le_bytes()), (48, right));
    client.salt = right;
    assert!(client.is_served().await);
}

#[tokio::test]
async fn what_wants_an_acknowledgement_has_an_odd_number_and_the_rest_an_even_one() {
    let (data_centre, _, mut client) = introduced().await;
    client.send(&users(1)).await.unwrap();
    let answer = client.message().await;
    client.ping().await;
    let pong = client.message().await;
    data_centre.push_update(OWN);
    let update = client.message().await;
    let numbers = [&answer, &pong, &update].map(|it| (it.id & 3, it.sequence));
    // Two went out before: the new session, and the first answer.
    assert_eq!(numbers, [(1, 5), (1, 6), (3, 7)]);
    assert_eq!(answer.head(), RPC_RESULT);
}
