//! The layer against a server that says what each test has it say.

mod calling;
mod hostile;
mod messages;
mod observing;
mod refusals;
mod time;

use std::sync::Arc;
use std::time::Duration;

use super::{LayerEvent, LayerStart, WireLayer};
use crate::base::clock::{Instant, now};
use crate::telegram::wire::error::{WireEnd, WireError};
use crate::telegram::wire::limits::{WireLimits, WireTimes};
use crate::telegram::wire::salts::{KeyMemory, ServerSalt};
use crate::telegram::wire::tests::server::{
    KEY, NOON, Sent, SentPacket, TestServer, new_session, pong, result,
};
use crate::telegram::wire::tl::PING_DELAY_DISCONNECT;

/// What stands in front of a first call.
const INTRODUCTION: [u8; 12] = [0xdd; 12];
/// A method, and what it answers.
const METHOD: u32 = 0x1234_5678;
const ANSWER: [u8; 8] = [0xab; 8];
const LIMIT: Duration = Duration::from_secs(30);
const SALT: i64 = 77;

/// The body of a call with this number.
fn body(number: u8) -> Vec<u8> {
    [METHOD.to_le_bytes(), [number; 4]].concat()
}

/// What has become of a call.
#[derive(Debug, PartialEq)]
enum Outcome {
    Answer(u8, Vec<u8>),
    Failed(u8, String),
    Updates(Vec<u8>),
    Own(Vec<u8>, Vec<u8>),
    Gap,
    Memory,
    Rejected(i32, Box<str>),
}

/// A layer and its server, on one clock.
struct Bench {
    layer: WireLayer<u8>,
    server: TestServer,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(memory(), |_| {})
    }

    fn with(memory: KeyMemory, change: impl FnOnce(&mut LayerStart<'_>)) -> Self {
        let now = now();
        let mut start = LayerStart {
            key: &KEY,
            memory,
            introduction: Arc::from(&INTRODUCTION[..]),
            wants_updates: true,
            limits: WireLimits::default(),
            times: WireTimes::default(),
            observer: None,
            unix_time: NOON,
            now,
            random: fastrand::Rng::with_seed(1),
        };
        change(&mut start);
        Self { layer: WireLayer::new(start), server: TestServer::new(), now }
    }

    /// One whose first call was answered, and that has nothing more to say.
    fn opened() -> Self {
        Self::opened_with(|_| {})
    }

    fn opened_with(change: impl FnOnce(&mut LayerStart<'_>)) -> Self {
        let mut bench = Self::with(memory(), change);
        bench.call(255);
        let packet = bench.sent();
        let ping = packet.find(PING_DELAY_DISCONNECT).id;
        let first = packet.messages[0].id;
        let call = packet.messages[1].id;
        bench.hear_all(&[new_session(first, SALT), pong(ping), result(call, &ANSWER)]);
        bench.outcomes();
        bench
    }

    fn call(&mut self, number: u8) {
        self.layer.call(number.into(), number, body(number), LIMIT, self.now);
    }

    /// The next packet, read by the server; there has to be one.
    fn sent(&mut self) -> SentPacket {
        self.try_sent().expect("a packet")
    }

    fn try_sent(&mut self) -> Option<SentPacket> {
        let packet = self.layer.poll_transmit(self.now)?;
        self.layer.note_written(self.now);
        Some(self.server.open(&packet[..]))
    }

    /// A message of the server's.
    fn hear(&mut self, body: &[u8]) {
        self.try_hear(body).unwrap();
    }

    fn try_hear(&mut self, body: &[u8]) -> Result<(), WireEnd> {
        let mut packet = self.server.say(body);
        self.layer.handle_packet(&mut packet, self.now)
    }

    fn hear_all(&mut self, bodies: &[Vec<u8>]) {
        let mut packet = self.server.say_all(bodies);
        self.layer.handle_packet(&mut packet, self.now).unwrap();
    }

    fn hear_raw(&mut self, packet: &[u8]) -> Result<(), WireEnd> {
        self.layer.handle_packet(&mut packet.to_vec(), self.now)
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        self.server.time += time;
    }

    /// What has happened, but for what is remembered of the key.
    fn outcomes(&mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while let Some(event) = self.layer.poll_event() {
            outcomes.push(match event {
                LayerEvent::Answer { waiter, body } => Outcome::Answer(waiter, body),
                LayerEvent::Failed { waiter, error } => Outcome::Failed(waiter, error.to_string()),
                LayerEvent::Updates(body) => Outcome::Updates(body),
                LayerEvent::OwnUpdates { request, answer } => Outcome::Own(request, answer),
                LayerEvent::Gap => Outcome::Gap,
                LayerEvent::Memory => Outcome::Memory,
                LayerEvent::Rejected { code, message } => Outcome::Rejected(code, message),
            });
        }
        outcomes.retain(|outcome| *outcome != Outcome::Memory);
        outcomes
    }

    /// The errors of calls.
    fn errors(&mut self) -> Vec<(u8, WireError)> {
        let mut errors = Vec::new();
        while let Some(event) = self.layer.poll_event() {
            if let LayerEvent::Failed { waiter, error } = event {
                errors.push((waiter, error));
            }
        }
        errors
    }

    fn known_salts(&self) -> Vec<i64> {
        self.layer.salts.known().iter().map(|salt| salt.value).collect()
    }
}

/// A salt that lasts.
fn memory() -> KeyMemory {
    let second = i32::try_from(NOON.as_secs()).unwrap();
    let salt =
        ServerSalt { value: SALT, valid_since: second - 3600, valid_until: second + 100_000 };
    KeyMemory { salts: Arc::new([salt]), clock_offset: 0 }
}

/// The calls of a packet, by their numbers.
fn calls(packet: &SentPacket) -> Vec<u8> {
    packet.messages.iter().filter_map(call_number).collect()
}

fn call_number(sent: &Sent) -> Option<u8> {
    let body = sent.body.strip_prefix(&INTRODUCTION).unwrap_or(&sent.body);
    body.strip_prefix(&METHOD.to_le_bytes()).map(|arguments| arguments[0])
}
