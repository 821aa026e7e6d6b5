//! Tests of a session, from its packets.

use grammers_crypto::{AuthKey, DequeBuffer, decrypt_data_v2, encrypt_data_v2};
use grammers_tl_types::{Deserializable, Identifiable, Serializable, functions, types};

use super::*;
use crate::account_id::AccountId;
use crate::base::sync::Ordering;
use crate::sandbox::faults::{Fault, FaultInjector, FaultPlan, FaultRule};
use crate::sandbox::frame::Framing;
use crate::sandbox::world::World;

/// A client's end of a session.
struct TestClient {
    server: Arc<ServerState>,
    session: MtprotoSession,
    key: AuthKey,
    salt: i64,
    /// The session that it uses, the last message id, and how many messages wanted an acknowledgement.
    id: i64,
    last_message: i64,
    sent: u32,
    framing: Framing,
}

fn client(rules: impl IntoIterator<Item = FaultRule>) -> TestClient {
    let faults = FaultInjector::new(&FaultPlan::new(rules).unwrap());
    let mut server =
        ServerState::new((2, "127.0.0.1:4430".parse().unwrap()), Arc::new(World::new()), 7, faults);
    server.disconnect_delay_max = Some(Duration::from_secs(100));
    let server = Arc::new(server);
    let account = AccountId::bot(5).unwrap();
    let record = server.create_sessions(account, 1, None).remove(0);
    let bytes = *record.key.expose();
    let user = server.user(account).unwrap();
    let key = Arc::clone(&user.keys.lock()[0]);
    let salt = server.salt(&key, unix_time().as_secs());
    let random = fastrand::Rng::with_seed(1);
    let cipher = ServerCipher::new(&record.key);
    let shared = Arc::clone(&server);
    let session = MtprotoSession::new(shared, key, Some(user), cipher, random, Arc::default());
    let framing = Framing::Full { received: 0, sent: 0 };
    let key = AuthKey::from_bytes(bytes);
    TestClient { server, session, key, salt, id: 9, last_message: 0, sent: 0, framing }
}

fn message_id() -> i64 {
    i64::try_from(unix_time().as_secs()).unwrap() << 32
}

/// A message with its header.
fn enclose(id: i64, sequence: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap();
    [&id.to_le_bytes()[..], &sequence.to_le_bytes(), &len.to_le_bytes(), body].concat()
}

impl TestClient {
    /// The numbers of the next message.
    fn next(&mut self, wants_acknowledgement: bool) -> (i64, u32) {
        self.last_message = (self.last_message + 4).max(message_id());
        let sequence = self.sent * 2 + u32::from(wants_acknowledgement);
        self.sent += u32::from(wants_acknowledgement);
        (self.last_message, sequence)
    }

    fn send_with(&mut self, (id, sequence): (i64, u32), body: &[u8]) -> Vec<Reply> {
        let mut packet = DequeBuffer::with_capacity(body.len() + 128, 64);
        packet.extend(self.salt.to_le_bytes());
        packet.extend(self.id.to_le_bytes());
        packet.extend(enclose(id, sequence, body));
        encrypt_data_v2(&mut packet, &self.key);
        self.session.handle_packet(&mut packet[..]).unwrap();
        self.session.take_replies().map(|(_, reply)| reply).collect()
    }

    fn send(&mut self, request: &impl Serializable) -> Vec<Reply> {
        let numbers = self.next(true);
        self.send_with(numbers, &request.to_bytes())
    }

    /// What leaves by the connection: id, sequence number and body of each message.
    fn leave(&mut self, replies: Vec<Reply>) -> Vec<(i64, u32, Vec<u8>)> {
        let mut bytes = Vec::new();
        self.session.seal(replies, &mut self.framing, &mut bytes);
        let Some(found) = self.framing.next(&bytes).unwrap() else { return Vec::new() };
        let plain = decrypt_data_v2(&mut bytes[found.payload], &self.key).unwrap();
        let envelope = Envelope::read(plain).unwrap();
        assert_eq!(envelope.session, self.id);
        let messages = envelope.messages.into_iter();
        messages.map(|it| (it.id, it.sequence, it.body.into_owned())).collect()
    }

    fn initialise(&mut self) -> Vec<Reply> {
        let text = String::new;
        let query = functions::InitConnection {
            api_id: 1,
            device_model: text(),
            system_version: text(),
            app_version: text(),
            system_lang_code: text(),
            lang_pack: text(),
            lang_code: text(),
            proxy: None,
            params: None,
            query: functions::help::GetConfig {},
        };
        self.send(&functions::InvokeWithLayer { layer: 1, query })
    }

    /// Asks to be closed after so many seconds, and returns what came of it.
    fn ask_to_be_closed(&mut self, disconnect_delay: i32) -> Option<Duration> {
        self.send(&functions::PingDelayDisconnect { ping_id: 3, disconnect_delay });
        self.session.take_disconnect_delay()
    }

    fn is_subscribed(&self) -> bool {
        self.session.subscribed.load(Ordering::Relaxed)
    }
}

const RPC_RESULT: u32 = 0xf35c_6d01;
const BAD_MESSAGE: u32 = types::BadMsgNotification::CONSTRUCTOR_ID;

/// The code of a `bad_msg_notification` about a message, if there was one and nothing else.
fn refusal(replies: &[Reply], id: i64) -> Option<i32> {
    let [Reply::Message(reply)] = replies else { return None };
    let (head, rest) = reply.body.split_at(4);
    let bad = types::BadMsgNotification::from_bytes(rest).ok()?;
    assert_eq!(bad.bad_msg_id, id);
    (head == BAD_MESSAGE.to_le_bytes()).then_some(bad.error_code)
}

/// The constructor of a message, or of what a result holds.
fn heads(replies: &[Reply]) -> Vec<u32> {
    let head = |bytes: &[u8]| u32::from_le_bytes(*bytes.first_chunk().unwrap());
    let of = |reply: &Reply| match reply {
        Reply::Message(it) if head(&it.body) == RPC_RESULT => head(&it.body[12..]),
        Reply::Message(it) => head(&it.body),
        other => panic!("{other:?} has no head"),
    };
    replies.iter().map(of).collect()
}

/// The code and the name of a refusal.
fn error(reply: Reply) -> (i32, String) {
    match reply {
        Reply::Message(it) => {
            let grammers_tl_types::enums::RpcError::Error(error) =
                Deserializable::from_bytes(&it.body[12..]).unwrap();
            (error.error_code, error.error_message)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_salt_and_a_wrong_clock_are_told_and_nothing_is_carried_out() {
    let mut client = client([]);
    client.salt ^= 1;
    let ping = functions::Ping { ping_id: 3 };
    assert_eq!(heads(&client.send(&ping)), [types::BadServerSalt::CONSTRUCTOR_ID]);
    client.salt ^= 1;
    for id in [1, message_id() - (301 << 32), message_id() + (40 << 32)] {
        let replies = client.send_with((id, 1), &ping.to_bytes());
        assert!([16, 17, 18].contains(&refusal(&replies, id).unwrap()));
    }
    assert_eq!(client.server.counters.read().calls, 0);
    let session = types::NewSessionCreated::CONSTRUCTOR_ID;
    assert_eq!(heads(&client.send(&ping)), [session, types::Pong::CONSTRUCTOR_ID]);
    assert_eq!(heads(&client.send(&ping)), [types::Pong::CONSTRUCTOR_ID], "it is known now");
}

#[test]
fn calls_wait_for_init_connection() {
    let mut client = client([]);
    let state = functions::updates::GetState {};
    let refused = client.send(&state).pop().unwrap();
    assert_eq!(heads(&[refused]), [types::RpcError::CONSTRUCTOR_ID]);
    client.initialise();
    assert_eq!(heads(&client.send(&state)), [types::updates::State::CONSTRUCTOR_ID]);
}

#[test]
fn a_void_key_is_refused_every_call_and_no_ping() {
    let mut client = client([]);
    client.initialise();
    client.session.key.is_invalidated.store(true, Ordering::Relaxed);
    let refused = client.initialise().pop().unwrap();
    assert_eq!(error(refused), (406, "AUTH_KEY_DUPLICATED".to_owned()));
    let seen = client.send(&functions::Ping { ping_id: 3 });
    assert_eq!(heads(&seen), [types::Pong::CONSTRUCTOR_ID]);
    assert_eq!(client.ask_to_be_closed(5), Some(Duration::from_secs(5)));
}

#[test]
fn only_a_ping_that_asks_for_it_has_a_connection_closed_and_no_later_than_allowed() {
    let mut client = client([]);
    client.initialise();
    client.send(&functions::Ping { ping_id: 3 });
    assert_eq!(client.session.take_disconnect_delay(), None);
    for (asked, seconds) in [(5, 5), (0, 0), (-7, 0), (100, 100), (i32::MAX, 100)] {
        assert_eq!(client.ask_to_be_closed(asked), Some(Duration::from_secs(seconds)));
    }
    assert_eq!(client.session.take_disconnect_delay(), None, "it was taken");
}

#[test]
fn a_ping_that_is_not_carried_out_arms_nothing() {
    let error = Fault::Error { code: 500, message: "RPC_CALL_FAIL".into() };
    for fault in [Fault::Silence, Fault::BlackHole, error, Fault::FloodWait { seconds: 60 }] {
        let mut client = client([FaultRule::new("ping", fault.clone())]);
        assert_eq!(client.ask_to_be_closed(5), None, "{fault:?}");
    }
    for fault in [Fault::Delay(Duration::from_secs(1)), Fault::BadCrc] {
        let mut client = client([FaultRule::new("ping", fault.clone())]);
        assert_eq!(client.ask_to_be_closed(5), Some(Duration::from_secs(5)), "{fault:?}");
    }
    let mut client = client([]);
    client.salt ^= 1;
    assert_eq!(client.ask_to_be_closed(5), None, "a wrong salt");
    client.salt ^= 1;
    client.session.stop_answering();
    assert_eq!(client.ask_to_be_closed(5), None, "nothing is answered");
}

#[test]
fn a_call_subscribes_to_updates_unless_it_asks_to_do_without() {
    let mut client = client([]);
    let state = || functions::updates::GetState {};
    client.send(&state());
    assert!(!client.is_subscribed(), "before initConnection");
    client.session.is_initialised = true;
    client.send(&functions::InvokeWithoutUpdates { query: state() });
    client.send(&functions::Ping { ping_id: 3 });
    assert!(!client.is_subscribed());
    client.send(&state());
    assert!(client.is_subscribed());
}

#[test]
fn each_fault_does_what_it_says() {
    let ping = functions::Ping { ping_id: 3 };
    for (fault, replies) in [
        (Fault::Close, vec![Reply::Close]),
        (Fault::Reset, vec![Reply::Reset]),
        (Fault::Transport { code: 429 }, vec![Reply::TransportError(429)]),
        (Fault::Silence, vec![]),
        (Fault::BlackHole, vec![]),
    ] {
        let is_unresponsive = fault == Fault::BlackHole;
        let mut client = client([FaultRule::new("ping", fault).limit(1)]);
        let seen = client.send(&ping);
        assert_eq!(seen[1..], replies[..], "after the new session");
        assert_eq!(client.send(&ping).is_empty(), is_unresponsive);
        let struck = 1 + u64::from(is_unresponsive);
        assert_eq!(client.server.counters.read().faults_injected, struck);
    }
    let mut client = client([FaultRule::new("ping", Fault::BadCrc)]);
    let seen = client.send(&ping).pop().unwrap();
    assert!(seen.is_damaged());
}

#[test]
fn a_flooded_method_rests_and_the_others_do_not() {
    let flood = Fault::FloodWait { seconds: 60 };
    let mut client = client([FaultRule::new("updates.getState", flood).limit(1)]);
    client.initialise();
    for _ in 0..2 {
        let seen = client.send(&functions::updates::GetState {}).pop().unwrap();
        assert_eq!(error(seen), (420, "FLOOD_WAIT_60".to_owned()));
    }
    let users = functions::users::GetUsers { id: Vec::new() };
    assert_eq!(heads(&client.send(&users)), [0x1cb5_c415]);
}

#[test]
fn several_answers_make_one_frame_and_their_numbers_rise() {
    let mut client = client([]);
    client.send(&functions::Ping { ping_id: 3 });
    let (mut last, mut sequence) = (0, 0);
    for count in [1, 3] {
        let answers = (0..count)
            .map(|at| Reply::message(&client.session.current, ReplyKind::Answer(at), vec![7; 8]));
        let seen = client.leave(answers.collect());
        assert_eq!(seen.len(), usize::try_from(count).unwrap());
        for message in &seen {
            assert!(message.0 > last && message.0 & 3 == 1 && message.1 == sequence * 2 + 1);
            assert_eq!(message.2, vec![7; 8]);
            (last, sequence) = (message.0, sequence + 1);
        }
    }
}
