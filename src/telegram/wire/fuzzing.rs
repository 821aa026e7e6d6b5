//! Fuzz targets of the wire: what a server may send.
//!
//! Owns the reading of bytes as a server's packets, and a reader of what goes out that knows when a call may go under
//! a second number. Compiled for fuzzing, and for a test that tries a few thousand.

use std::collections::BTreeMap;
use std::time::Duration;

use grammers_crypto::{AuthKey, decrypt_data_v2};

use super::frame::{Framed, next_frame};
use super::layer::{LayerEvent, LayerStart, WireLayer};
use super::limits::{WireLimits, WireTimes};
use super::salts::KeyMemory;
use super::tl::{
    BAD_MESSAGE, BAD_SALT, CONTAINER, GZIP_PACKED, RPC_RESULT, STATE_INFO, STATE_REQUEST,
    WireReader, constructor,
};
use crate::base::clock::now;

const NOON: Duration = Duration::from_secs(1_700_000_000);
/// How many packets are read from one input: more tell nothing new.
const PACKETS_MAX: usize = 64;
/// All of its bytes are the same, so that both sides' ciphers are.
const KEY: [u8; 256] = [7; 256];
const INTRODUCTION: [u8; 8] = [1; 8];
/// What the body of a call begins with; its number follows.
const METHOD: u32 = 0x1234_5678;
/// A word in place of an id, with the next one: that of the message sent so many before the last.
const MARK: u32 = 0x1d1d_1d1d;

/// What stands in a message for the id of one that was sent, so many before the last.
#[cfg(test)]
pub(super) fn mark(back: u32) -> i64 {
    i64::from(back) << 32 | i64::from(MARK)
}

/// Puts ids that were sent in the place of marks.
pub(super) fn put_ids(body: &mut [u8], sent: &[i64]) {
    for at in (0..body.len().saturating_sub(7)).step_by(4) {
        let mut reader = WireReader(&body[at..]);
        let (Ok(MARK), Ok(back)) = (reader.word(), reader.word()) else { continue };
        let place = back as usize % sent.len().max(1);
        if let Some(id) = sent.iter().rev().nth(place) {
            body[at..at + 8].copy_from_slice(&id.to_le_bytes());
        }
    }
}

/// A byte that says what comes next, and its bytes: a call, some time, or a packet as it is once decrypted, with the
/// session's id in its place. Whatever was asked ends, and in the end nothing waits.
pub(crate) fn wire(data: &[u8]) {
    let start = now();
    let limits = WireLimits { unpacked_packet_max: 1 << 20, ..WireLimits::default() };
    let mut layer = WireLayer::<u32>::new(LayerStart {
        key: &KEY,
        memory: KeyMemory::default(),
        introduction: INTRODUCTION.into(),
        wants_updates: true,
        limits,
        times: WireTimes::default(),
        observer: None,
        unix_time: NOON,
        now: start,
        random: fastrand::Rng::with_seed(1),
    });
    let mut reader = PacketReader::new(limits.resends_max);
    let (mut rest, mut at, mut calls, mut ended) = (data, start, 0_u32, 0);
    for _ in 0..PACKETS_MAX {
        let Some((kind, after)) = rest.split_first() else { break };
        rest = after;
        let outcome = match kind % 4 {
            0 if *kind >= 0xc0 => {
                ended += u32::from(layer.cancel(u64::from(kind / 4) % 16).is_some());
                Ok(())
            }
            0 => {
                let body = [METHOD.to_le_bytes(), calls.to_le_bytes()].concat();
                layer.call(calls.into(), calls, body, Duration::from_secs(30), at);
                calls += 1;
                Ok(())
            }
            1 => {
                at += Duration::from_secs(u64::from(kind / 32));
                layer.handle_timeout(at)
            }
            _ => {
                let len = rest.first_chunk().map_or(0, |len| usize::from(u16::from_le_bytes(*len)));
                let (body, after) = rest.split_at(rest.len().min(2 + len));
                rest = after;
                let mut body = body.get(2..).unwrap_or_default().to_vec();
                put_ids(&mut body, &reader.sent);
                reader.hear(&body);
                layer.hear(at);
                layer.handle_message_bytes(&body, at)
            }
        };
        while let Some(packet) = layer.poll_transmit(at) {
            layer.note_written(at);
            reader.read(&packet[..]);
        }
        ended += ended_calls(&mut layer);
        if let Err(end) = outcome {
            layer.end(&end);
            break;
        }
    }
    layer.end(&super::WireEnd::HungUp);
    ended += ended_calls(&mut layer);
    assert_eq!(ended, calls, "each call has an answer or an error");
    assert!(layer.is_idle());
    frames(data);
}

/// How many calls have ended since it was last asked.
fn ended_calls(layer: &mut WireLayer<u32>) -> u32 {
    let events = std::iter::from_fn(|| layer.poll_event());
    let is_end =
        |it: &LayerEvent<u32>| matches!(it, LayerEvent::Answer { .. } | LayerEvent::Failed { .. });
    events.filter(is_end).map(|_| 1).sum()
}

/// A call as it went.
#[derive(Debug, Default)]
struct SentCall {
    /// The last number that it went under.
    id: i64,
    session: i64,
    /// The packets with that message.
    packets: Vec<i64>,
    /// How often it had another number before.
    moves: u8,
    /// The server has said that it did not take it.
    may_move: bool,
}

/// Reads what goes out as a server does, and allows no call a second number that the server may have taken under
/// the first.
struct PacketReader {
    key: AuthKey,
    resends_max: u8,
    /// The ids of all messages and packets.
    sent: Vec<i64>,
    calls: BTreeMap<u32, SentCall>,
    /// Questions about messages, with the session that they went in.
    questions: BTreeMap<i64, i64>,
}

impl PacketReader {
    fn new(resends_max: u8) -> Self {
        let key = AuthKey::from_bytes(KEY);
        let (sent, calls, questions) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { key, resends_max, sent, calls, questions }
    }

    /// What the server says, as it may be understood at the most.
    fn hear(&mut self, body: &[u8]) {
        let has = |words: &[u8]| body.windows(words.len()).any(|it| it == words);
        let is_packed = has(&GZIP_PACKED.to_le_bytes());
        let is_forgetful = has(b"CONNECTION_NOT_INITED");
        for at in (0..body.len()).step_by(4) {
            let mut reader = WireReader(&body[at..]);
            let (Ok(constructor), Ok(id)) = (reader.word(), reader.long()) else { break };
            let code = reader.word().and_then(|_sequence| reader.int());
            let was_not_taken = match constructor {
                BAD_SALT => true,
                BAD_MESSAGE => matches!(code, Ok(16..=19 | 32..=35 | 48 | 64)),
                _ => false,
            };
            let question = self.questions.get(&id).filter(|_| constructor == STATE_INFO);
            for call in self.calls.values_mut() {
                // Under one number it went once, so that a refusal is of all of it.
                let is_refused = was_not_taken
                    && matches!(&call.packets[..], [packet] if *packet == id || call.id == id);
                let is_unknown = is_forgetful && constructor == RPC_RESULT && call.id == id;
                let is_missing = question.is_some_and(|session| {
                    call.session == *session && call.packets.iter().all(|packet| *packet < id)
                });
                call.may_move |= is_refused || is_unknown || is_missing || is_packed;
            }
        }
    }

    fn read(&mut self, packet: &[u8]) {
        let mut packet = packet.to_vec();
        let plain = decrypt_data_v2(&mut packet, &self.key).expect("a packet of ours");
        let mut reader = WireReader(plain);
        let (_salt, session) = (reader.long(), reader.long().expect("a session"));
        let (id, body) = message(&mut reader).expect("a message");
        match constructor(body) {
            CONTAINER => {
                let mut inner = WireReader(&body[8..]);
                while let Some((message_id, body)) = message(&mut inner) {
                    assert!(message_id < id, "a container is the last of its messages");
                    self.read_message(session, id, message_id, body);
                }
                self.sent.push(id);
            }
            _ => self.read_message(session, id, id, body),
        }
    }

    fn read_message(&mut self, session: i64, packet: i64, id: i64, body: &[u8]) {
        self.sent.push(id);
        let mut reader = WireReader(body.strip_prefix(&INTRODUCTION).unwrap_or(body));
        match reader.word() {
            Ok(STATE_REQUEST) => {
                self.questions.insert(id, session);
            }
            Ok(METHOD) => {
                let number = reader.word().expect("the number of a call");
                let call = self.calls.entry(number).or_default();
                if call.packets.is_empty() || call.id != id || call.session != session {
                    assert!(
                        call.packets.is_empty() || call.may_move,
                        "it may be carried out twice"
                    );
                    call.moves += u8::from(!call.packets.is_empty());
                    assert!(call.moves <= self.resends_max, "it is sent without end");
                    (call.id, call.session, call.may_move) = (id, session, false);
                    call.packets.clear();
                }
                call.packets.push(packet);
            }
            _ => {}
        }
    }
}

/// Takes a message off the front: its id and its body.
fn message<'a>(reader: &mut WireReader<'a>) -> Option<(i64, &'a [u8])> {
    let (id, _sequence, len) = (reader.long().ok()?, reader.word().ok()?, reader.len().ok()?);
    Some((id, reader.take(len).ok()?))
}

/// However the bytes come, what is missing of a frame is no more than a frame.
fn frames(data: &[u8]) {
    const LEN_MAX: usize = 1 << 16;
    let mut rest = data;
    while let Ok(Framed::Packet(packet)) = next_frame(rest, LEN_MAX) {
        rest = &rest[packet.end..];
    }
    if let Ok(Framed::Part { missing }) = next_frame(rest, LEN_MAX) {
        assert!((1..=LEN_MAX).contains(&missing) || missing <= 4);
    }
}
