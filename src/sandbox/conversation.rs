//! What is said on one connection, once its key is known.
//!
//! Owns the session's numbers, the salts' rules and the faults of calls. It is sans-IO: packets
//! go in, replies come out with the delay that they are due after.

use std::sync::Arc;
use std::time::Duration;

use super::answer::{self, Refusal, carry_out, result};
use super::envelope::{Cipher, Envelope, Malformed, Message, Outgoing, write};
use super::faults::Fault;
use super::frame::Framing;
use super::method::{Call, Request, What};
use super::population::{Key, User, World};
use crate::base::clock::unix_time;
use crate::base::sync::{AtomicBool, Ordering};

/// How far behind and ahead of the server's clock a client's message may be, in seconds.
const BEHIND_MAX: i64 = 300;
const AHEAD_MAX: i64 = 30;
/// What the low bits of a message id say of it: the server's answer, the server's own word.
const ANSWER: i64 = 1;
const OWN: i64 = 3;

/// Something on its way out.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    Message {
        body: Vec<u8>,
        /// Whether it answers a request, as its number says.
        answers: bool,
        /// It goes out damaged.
        damaged: bool,
    },
    /// A transport error, and the end.
    Code(u16),
    Close,
    Reset,
}

impl Reply {
    fn answer(body: Vec<u8>) -> Self {
        Self::Message { body, answers: true, damaged: false }
    }

    pub(super) fn own(body: Vec<u8>) -> Self {
        Self::Message { body, answers: false, damaged: false }
    }
}

pub(super) struct Conversation {
    world: Arc<World>,
    key: Arc<Key>,
    user: Arc<User>,
    cipher: Cipher,
    random: fastrand::Rng,
    session: i64,
    /// The client has said who it is.
    introduced: bool,
    /// Nothing is answered any more.
    deaf: bool,
    /// Whether updates are sent here, as others look it up.
    subscribed: Arc<AtomicBool>,
    /// What the last ping has asked for: to be closed after so long, unless another one comes.
    closes_in: Option<Duration>,
    /// How many messages went out.
    sent: u32,
    last_id: i64,
    /// With the delay that each is due after, beside the latency of the line.
    replies: Vec<(Duration, Reply)>,
}

impl Conversation {
    pub(super) fn new(
        world: Arc<World>,
        key: Arc<Key>,
        user: Arc<User>,
        cipher: Cipher,
        random: fastrand::Rng,
        subscribed: Arc<AtomicBool>,
    ) -> Self {
        Self {
            world,
            key,
            user,
            cipher,
            random,
            session: 0,
            introduced: false,
            deaf: false,
            subscribed,
            closes_in: None,
            sent: 0,
            last_id: 0,
            replies: Vec::new(),
        }
    }

    /// Answers nothing any more, whatever comes.
    pub(super) fn turn_deaf(&mut self) {
        self.deaf = true;
    }

    /// After how long the connection is to be closed, if what was heard last arms that timer or
    /// arms it anew.
    pub(super) fn take_closes_in(&mut self) -> Option<Duration> {
        self.closes_in.take()
    }

    pub(super) fn replies(&mut self) -> std::vec::Drain<'_, (Duration, Reply)> {
        self.replies.drain(..)
    }

    /// Takes a packet in.
    pub(super) fn hear(&mut self, packet: &mut [u8]) -> Result<(), Malformed> {
        if self.deaf {
            self.world.strike(&self.user);
            return Ok(());
        }
        let plain = self.cipher.open(packet).ok_or(Malformed)?;
        let envelope = Envelope::read(plain)?;
        self.session = envelope.session;
        if let Some(complaint) = self.complaint(&envelope) {
            self.replies.push((Duration::ZERO, Reply::own(complaint)));
            return Ok(());
        }
        self.welcome(&envelope);
        for message in &envelope.messages {
            self.message(message);
        }
        Ok(())
    }

    /// What is wrong with the numbers of a packet, if anything is.
    fn complaint(&self, envelope: &Envelope<'_>) -> Option<Vec<u8>> {
        let (id, sequence) = (envelope.id, envelope.sequence.cast_signed());
        let ahead = (id >> 32) - i64::try_from(unix_time().as_secs()).unwrap_or(0);
        let code = match () {
            () if id & 3 != 0 => 18,
            () if ahead < -BEHIND_MAX => 16,
            () if ahead > AHEAD_MAX => 17,
            () if !self.world.takes_salt(&self.key, envelope.salt) => {
                return Some(answer::bad_salt(id, sequence, self.world.salt(&self.key)));
            }
            () => return None,
        };
        Some(answer::bad_message(id, sequence, code))
    }

    /// Tells a session that the key has not had before that it begins.
    fn welcome(&mut self, envelope: &Envelope<'_>) {
        let session = envelope.session.cast_unsigned();
        if self.key.session.swap(session, Ordering::Relaxed) != session {
            let first = envelope.messages.first().map_or(envelope.id, |message| message.id);
            let salt = self.world.salt(&self.key);
            let body = answer::new_session(first, self.random.i64(..), salt);
            self.replies.push((Duration::ZERO, Reply::own(body)));
        }
    }

    fn message(&mut self, message: &Message<'_>) {
        let (id, request) = (message.id, Request::read(&message.body));
        let body = match &request {
            Request::Nothing => return,
            Request::Ping(_) | Request::PingDelayDisconnect { .. } | Request::Call(_) => {
                return self.call(id, &request);
            }
            Request::FutureSalts(count) => answer::future_salts(&self.world, &self.key, id, *count),
            Request::MessageStates(asked) => answer::message_states(id, asked),
            Request::DestroySession(session) => answer::no_such_session(*session),
            Request::DropAnswer => result(id, Ok(answer::nothing_to_drop())),
        };
        if !self.deaf {
            self.replies.push((Duration::ZERO, Reply::answer(body)));
        }
    }

    /// A call, which a fault may strike.
    fn call(&mut self, id: i64, request: &Request) {
        self.world.counters.calls.add(1);
        if self.deaf {
            return self.world.strike(&self.user);
        }
        let name = request.name();
        let method = if let Request::Call(call) = request { call.id } else { 0 };
        let mut delay = Duration::ZERO;
        let mut damaged = false;
        let fault = match self.user.resting(method) {
            Some(seconds) => Some(Fault::FloodWait { seconds }),
            None => {
                let faults = self.world.faults.load();
                let fault = faults.draw(name, self.key.account, &mut self.random);
                if let Some(Fault::FloodWait { seconds }) = fault {
                    self.user.flood(method, seconds);
                }
                fault
            }
        };
        if fault.is_some() {
            self.world.strike(&self.user);
        }
        let body = match fault {
            Some(Fault::Close) => return self.replies.push((delay, Reply::Close)),
            Some(Fault::Reset) => return self.replies.push((delay, Reply::Reset)),
            Some(Fault::Transport { code }) => {
                return self.replies.push((delay, Reply::Code(code)));
            }
            Some(Fault::Silence) => return,
            Some(Fault::BlackHole) => return self.turn_deaf(),
            Some(Fault::FloodWait { seconds }) => {
                result(id, Err(Refusal::new(420, format!("FLOOD_WAIT_{seconds}"))))
            }
            Some(Fault::Error { code, message }) => result(id, Err(Refusal::new(code, message))),
            Some(Fault::Delay(time)) => {
                delay = time;
                self.outcome(id, request)
            }
            Some(Fault::BadCrc) => {
                damaged = true;
                self.outcome(id, request)
            }
            None => self.outcome(id, request),
        };
        self.replies.push((delay, Reply::Message { body, answers: true, damaged }));
    }

    fn outcome(&mut self, id: i64, request: &Request) -> Vec<u8> {
        match request {
            Request::Ping(number) => answer::pong(id, *number),
            Request::PingDelayDisconnect { ping_id, disconnect_delay } => {
                // A delay that is none, or a negative one, has passed as soon as it is heard.
                let seconds = u64::try_from(*disconnect_delay).unwrap_or(0);
                let longest = self.world.disconnect_delay_max.unwrap_or(Duration::MAX);
                self.closes_in = Some(Duration::from_secs(seconds).min(longest));
                answer::pong(id, *ping_id)
            }
            Request::Call(call) => result(id, self.serve(call)),
            _ => unreachable!("BUG: only calls and pings have an outcome"),
        }
    }

    fn serve(&mut self, call: &Call) -> Result<Vec<u8>, Refusal> {
        if self.key.is_void.load(Ordering::Relaxed) {
            return Err(Refusal::new(406, "AUTH_KEY_DUPLICATED"));
        }
        self.introduced |= call.introduces && call.what != What::Malformed;
        if !self.introduced {
            return Err(Refusal::new(400, "CONNECTION_NOT_INITED"));
        }
        if !call.without_updates {
            self.subscribed.store(true, Ordering::Relaxed);
        }
        carry_out(&self.world, &self.user, call)
    }

    /// Writes messages as one frame.
    pub(super) fn write(
        &mut self,
        messages: Vec<(Vec<u8>, bool)>,
        framing: &mut Framing,
        out: &mut Vec<u8>,
    ) {
        let messages: Vec<Outgoing> = messages
            .into_iter()
            .map(|(body, answers)| {
                let id = self.next_id(if answers { ANSWER } else { OWN });
                // Odd: the client is to acknowledge it.
                let sequence = self.sent * 2 + 1;
                self.sent += 1;
                Outgoing { id, sequence, body }
            })
            .collect();
        // A container is numbered after what it holds, and wants no acknowledgement.
        let container = (self.next_id(OWN), self.sent * 2);
        let salt = self.world.salt(&self.key);
        let packet = write(&self.cipher, salt, self.session, &messages, container);
        framing.pack(&packet[..], out);
    }

    /// The time of day, made greater than the last one.
    fn next_id(&mut self, kind: i64) -> i64 {
        let now = unix_time();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(0);
        let fraction = (i64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
        let id = (seconds << 32 | (fraction & !3)).max((self.last_id & !3) + 4);
        self.last_id = id;
        id | kind
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use grammers_crypto::{AuthKey, DequeBuffer, decrypt_data_v2, encrypt_data_v2};
    use grammers_tl_types::{Deserializable, Identifiable, Serializable, functions, types};

    use super::*;
    use crate::account_id::AccountId;
    use crate::sandbox::faults::{FaultPlan, FaultRule, Faults};

    /// A client's end of a conversation.
    struct Bench {
        world: Arc<World>,
        conversation: Conversation,
        key: AuthKey,
        salt: i64,
        framing: Framing,
    }

    fn bench(rules: impl IntoIterator<Item = FaultRule>) -> Bench {
        let faults = Faults::new(&FaultPlan::new(rules).unwrap());
        let mut world = World::new(2, "127.0.0.1:4430".parse().unwrap(), 7, faults);
        world.disconnect_delay_max = Some(Duration::from_secs(100));
        let world = Arc::new(world);
        let account = AccountId::bot(5).unwrap();
        let record = world.enroll(account, 1, None).remove(0);
        let bytes = *record.key.expose();
        let user = world.user(account).unwrap();
        let key = Arc::clone(&user.keys.lock()[0]);
        let salt = world.salt(&key);
        let random = fastrand::Rng::with_seed(1);
        let cipher = Cipher::new(&bytes);
        let shared = Arc::clone(&world);
        let conversation = Conversation::new(shared, key, user, cipher, random, Arc::default());
        let framing = Framing::Full { received: 0, sent: 0 };
        Bench { world, conversation, key: AuthKey::from_bytes(bytes), salt, framing }
    }

    fn message_id() -> i64 {
        i64::try_from(unix_time().as_secs()).unwrap() << 32
    }

    impl Bench {
        fn say_with(&mut self, id: i64, body: &[u8]) -> Vec<Reply> {
            let mut packet = DequeBuffer::with_capacity(body.len() + 128, 64);
            packet.extend(self.salt.to_le_bytes());
            packet.extend(9_i64.to_le_bytes());
            packet.extend(id.to_le_bytes());
            packet.extend(1_u32.to_le_bytes());
            packet.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
            packet.extend(body);
            encrypt_data_v2(&mut packet, &self.key);
            self.conversation.hear(&mut packet[..]).unwrap();
            self.conversation.replies().map(|(_, reply)| reply).collect()
        }

        fn say(&mut self, request: &impl Serializable) -> Vec<Reply> {
            self.say_with(message_id(), &request.to_bytes())
        }

        fn introduce(&mut self) -> Vec<Reply> {
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
            self.say(&functions::InvokeWithLayer { layer: 1, query })
        }

        /// Asks to be closed after so many seconds, and returns what came of it.
        fn ask_to_be_closed(&mut self, disconnect_delay: i32) -> Option<Duration> {
            self.say(&functions::PingDelayDisconnect { ping_id: 3, disconnect_delay });
            self.conversation.take_closes_in()
        }

        fn is_subscribed(&self) -> bool {
            self.conversation.subscribed.load(Ordering::Relaxed)
        }
    }

    /// The constructor of a message, or of what a result holds.
    fn heads(replies: &[Reply]) -> Vec<u32> {
        let head = |bytes: &[u8]| u32::from_le_bytes(*bytes.first_chunk().unwrap());
        let of = |reply: &Reply| match reply {
            Reply::Message { body, .. } if head(body) == 0xf35c_6d01 => head(&body[12..]),
            Reply::Message { body, .. } => head(body),
            other => panic!("{other:?} has no head"),
        };
        replies.iter().map(of).collect()
    }

    /// The code and the name of a refusal.
    fn error(reply: Reply) -> (i32, String) {
        match reply {
            Reply::Message { body, .. } => {
                let grammers_tl_types::enums::RpcError::Error(error) =
                    Deserializable::from_bytes(&body[12..]).unwrap();
                (error.error_code, error.error_message)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wrong_salt_and_a_wrong_clock_are_told_and_nothing_is_carried_out() {
        let mut bench = bench([]);
        bench.salt ^= 1;
        let ping = functions::Ping { ping_id: 3 };
        assert_eq!(heads(&bench.say(&ping)), [types::BadServerSalt::CONSTRUCTOR_ID]);
        bench.salt ^= 1;
        for id in [1, message_id() - (301 << 32), message_id() + (40 << 32)] {
            let replies = bench.say_with(id, &ping.to_bytes());
            assert_eq!(heads(&replies), [types::BadMsgNotification::CONSTRUCTOR_ID]);
        }
        assert_eq!(bench.world.counters.read().calls, 0);
        let session = types::NewSessionCreated::CONSTRUCTOR_ID;
        assert_eq!(heads(&bench.say(&ping)), [session, types::Pong::CONSTRUCTOR_ID]);
        assert_eq!(heads(&bench.say(&ping)), [types::Pong::CONSTRUCTOR_ID], "it is known now");
    }

    #[test]
    fn calls_wait_for_the_introduction() {
        let mut bench = bench([]);
        let state = functions::updates::GetState {};
        let refused = bench.say(&state).pop().unwrap();
        assert_eq!(heads(&[refused]), [types::RpcError::CONSTRUCTOR_ID]);
        bench.introduce();
        assert_eq!(heads(&bench.say(&state)), [types::updates::State::CONSTRUCTOR_ID]);
    }

    #[test]
    fn a_void_key_is_refused_every_call_and_no_ping() {
        let mut bench = bench([]);
        bench.introduce();
        bench.conversation.key.is_void.store(true, Ordering::Relaxed);
        let introduced = bench.introduce().pop().unwrap();
        assert_eq!(error(introduced), (406, "AUTH_KEY_DUPLICATED".to_owned()));
        let seen = bench.say(&functions::Ping { ping_id: 3 });
        assert_eq!(heads(&seen), [types::Pong::CONSTRUCTOR_ID]);
        assert_eq!(bench.ask_to_be_closed(5), Some(Duration::from_secs(5)));
    }

    #[test]
    fn only_a_ping_that_asks_for_it_has_a_connection_closed_and_no_later_than_allowed() {
        let mut bench = bench([]);
        bench.introduce();
        bench.say(&functions::Ping { ping_id: 3 });
        assert_eq!(bench.conversation.take_closes_in(), None);
        for (asked, seconds) in [(5, 5), (0, 0), (-7, 0), (100, 100), (i32::MAX, 100)] {
            assert_eq!(bench.ask_to_be_closed(asked), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(bench.conversation.take_closes_in(), None, "it was taken");
    }

    #[test]
    fn a_ping_that_is_not_carried_out_arms_nothing() {
        let error = Fault::Error { code: 500, message: "RPC_CALL_FAIL".into() };
        for fault in [Fault::Silence, Fault::BlackHole, error, Fault::FloodWait { seconds: 60 }] {
            let mut bench = bench([FaultRule::new("ping", fault.clone())]);
            assert_eq!(bench.ask_to_be_closed(5), None, "{fault:?}");
        }
        for fault in [Fault::Delay(Duration::from_secs(1)), Fault::BadCrc] {
            let mut bench = bench([FaultRule::new("ping", fault.clone())]);
            assert_eq!(bench.ask_to_be_closed(5), Some(Duration::from_secs(5)), "{fault:?}");
        }
        let mut bench = bench([]);
        bench.salt ^= 1;
        assert_eq!(bench.ask_to_be_closed(5), None, "a wrong salt");
        bench.salt ^= 1;
        bench.conversation.turn_deaf();
        assert_eq!(bench.ask_to_be_closed(5), None, "nothing is heard");
    }

    #[test]
    fn a_call_subscribes_to_updates_unless_it_asks_to_do_without() {
        let mut bench = bench([]);
        let state = || functions::updates::GetState {};
        bench.say(&state());
        assert!(!bench.is_subscribed(), "nobody has introduced themselves");
        bench.conversation.introduced = true;
        bench.say(&functions::InvokeWithoutUpdates { query: state() });
        bench.say(&functions::Ping { ping_id: 3 });
        assert!(!bench.is_subscribed());
        bench.say(&state());
        assert!(bench.is_subscribed());
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let ping = functions::Ping { ping_id: 3 };
        for (fault, replies) in [
            (Fault::Close, vec![Reply::Close]),
            (Fault::Reset, vec![Reply::Reset]),
            (Fault::Transport { code: 429 }, vec![Reply::Code(429)]),
            (Fault::Silence, vec![]),
            (Fault::BlackHole, vec![]),
        ] {
            let deaf = fault == Fault::BlackHole;
            let mut bench = bench([FaultRule::new("ping", fault).limit(1)]);
            let seen = bench.say(&ping);
            assert_eq!(seen[1..], replies[..], "after the new session");
            assert_eq!(bench.say(&ping).is_empty(), deaf);
            let struck = 1 + u64::from(deaf);
            assert_eq!(bench.world.counters.read().faults_injected, struck);
        }
        let mut bench = bench([FaultRule::new("ping", Fault::BadCrc)]);
        let seen = bench.say(&ping).pop().unwrap();
        assert!(matches!(seen, Reply::Message { damaged: true, .. }));
    }

    #[test]
    fn a_flooded_method_rests_and_the_others_do_not() {
        let flood = Fault::FloodWait { seconds: 60 };
        let mut bench = bench([FaultRule::new("updates.getState", flood).limit(1)]);
        bench.introduce();
        for _ in 0..2 {
            let seen = bench.say(&functions::updates::GetState {}).pop().unwrap();
            assert_eq!(error(seen), (420, "FLOOD_WAIT_60".to_owned()));
        }
        let users = functions::users::GetUsers { id: Vec::new() };
        assert_eq!(heads(&bench.say(&users)), [0x1cb5_c415]);
    }

    #[test]
    fn several_answers_make_one_frame_and_their_numbers_rise() {
        let mut bench = bench([]);
        bench.say(&functions::Ping { ping_id: 3 });
        let mut bytes = Vec::new();
        for count in [1, 3] {
            let messages = vec![(vec![7; 8], true); count];
            bench.conversation.write(messages, &mut bench.framing, &mut bytes);
        }
        let mut last = 0;
        let mut at = 0;
        for count in [1, 3] {
            let found = bench.framing.next(&bytes[at..]).unwrap().unwrap();
            let range = at + found.payload.start..at + found.payload.end;
            at += found.next;
            let plain = decrypt_data_v2(&mut bytes[range], &bench.key).unwrap();
            let envelope = Envelope::read(plain).unwrap();
            assert_eq!(envelope.session, 9);
            assert_eq!(envelope.messages.len(), count);
            for message in &envelope.messages {
                assert!(message.id > last && message.id & 3 == ANSWER);
                assert_eq!(message.body, Cow::<[u8]>::Owned(vec![7; 8]));
                last = message.id;
            }
        }
    }
}
