//! The layer, with the client library's own side of the protocol at the other end, and with bytes that no client sends.

use grammers_crypto::encrypt_data_v2;
use grammers_mtproto::MsgId;
use grammers_mtproto::mtp::{Deserialization, Encrypted, Mtp as _};
use grammers_tl_types::{Deserializable, Identifiable as _, Serializable, enums, functions, types};

use super::*;
use crate::session::ClientIdentity;
use crate::telegram::endpoint::reply::reply_to;
use crate::telegram::wire::tl::{
    ACK, COPY, GET_FUTURE_SALTS, GZIP_PACKED, HTTP_WAIT, PING, PING_DELAY_DISCONNECT, PONG,
    put_bytes,
};
use crate::telegram::wire::{WireError, introduction};

const KEY: [u8; 256] = {
    let mut key = [7; 256];
    key[8] = 1;
    key
};

/// The client's side.
struct ClientSide {
    messages: Encrypted,
    frames: Full,
}

impl ClientSide {
    fn send(&mut self, bodies: &[&[u8]]) -> (Vec<u8>, Vec<MsgId>) {
        let mut buffer = DequeBuffer::with_capacity(1 << 20, 128);
        let ids =
            bodies.iter().map(|body| self.messages.push(&mut buffer, body).unwrap()).collect();
        self.messages.finalize(&mut buffer).unwrap();
        self.frames.pack(&mut buffer);
        (buffer[..].to_vec(), ids)
    }

    fn hear(&mut self, frame: &mut [u8]) -> Vec<Deserialization> {
        let found = self.frames.unpack(frame).unwrap();
        assert_eq!(found.next_offset, frame.len());
        self.messages.deserialize(&mut frame[found.data_range]).unwrap()
    }
}

fn both() -> (ClientSide, EndpointLayer) {
    let client = ClientSide { messages: Encrypted::build().finish(KEY), frames: Full::new() };
    (client, EndpointLayer::new(&AuthKey::new(KEY), 2))
}

/// What the layer makes of a frame.
fn receive(layer: &mut EndpointLayer, frame: &[u8]) -> Result<Vec<EndpointRequest>, Breach> {
    let mut requests = Vec::new();
    let mut bytes = frame.to_vec();
    let len = layer.receive(&mut bytes, &mut requests)?;
    assert_eq!(len, Some(frame.len()));
    Ok(requests)
}

/// As the client has it.
fn introduced() -> Vec<u8> {
    let identity = ClientIdentity::new("endpoint", "test", "1");
    [&introduction(1, identity), &functions::help::GetConfig {}.to_bytes()[..]].concat()
}

/// Hands the requests back as answers: a call with its own body.
async fn echo(requests: Vec<EndpointRequest>) -> VecDeque<EndpointReply> {
    let mut replies = VecDeque::new();
    for request in requests {
        replies.push_back(match request {
            EndpointRequest::Service(reply) => reply,
            EndpointRequest::Call { id, body } => reply_to(id, Ok(body)).await.unwrap(),
        });
    }
    replies
}

fn result(heard: Deserialization) -> (MsgId, Vec<u8>) {
    match heard {
        Deserialization::RpcResult(result) => (result.msg_id, result.body),
        Deserialization::RpcError(error) => panic!("{}", error.error.error_message),
        _ => panic!("neither a result nor an error"),
    }
}

/// A frame of the client's with any message in it.
fn frame_of(number: u32, session: i64, message: &[u8]) -> Vec<u8> {
    let mut plain = DequeBuffer::with_capacity(message.len() + 64, 64);
    plain.extend([0; 8]);
    plain.extend(session.to_le_bytes());
    plain.extend(message);
    encrypt_data_v2(&mut plain, &grammers_crypto::AuthKey::from_bytes(KEY));
    let mut frames = Full::new();
    for _ in 0..number {
        frames.pack(&mut DequeBuffer::with_capacity(16, 16));
    }
    frames.pack(&mut plain);
    plain[..].to_vec()
}

fn message_of(id: i64, body: &[u8]) -> Vec<u8> {
    let len = short(body.len()).to_le_bytes();
    [&id.to_le_bytes()[..], &[0; 4], &len, body].concat()
}

#[tokio::test]
async fn the_introduction_is_answered_here_once_and_whatever_else_is_passed_on() {
    let (mut client, mut layer) = both();
    let (frame, ids) = client.send(&[&introduced()]);
    let mut replies = echo(receive(&mut layer, &frame).unwrap()).await;
    let mut heard = client.hear(&mut layer.pack(&mut replies).unwrap()[..]);
    let (id, body) = result(heard.remove(0));
    assert_eq!(id, ids[0]);
    let enums::Config::Config(config) = enums::Config::from_bytes(&body).unwrap();
    assert_eq!((config.this_dc, config.dc_options.len(), config.test_mode), (2, 0, false));
    assert_eq!(enums::Config::Config(config).to_bytes(), body, "nothing stands behind it");
    // Another one is a call like any.
    let (frame, _) = client.send(&[&introduced()]);
    let [EndpointRequest::Call { body, .. }] = &receive(&mut layer, &frame).unwrap()[..] else {
        panic!("it is passed on")
    };
    assert_eq!(*body, introduced());
    // A layer that was called before takes no introduction for its own.
    let (mut client, mut layer) = both();
    let config = functions::help::GetConfig {}.to_bytes();
    let (frame, _) = client.send(&[&config]);
    let requests = receive(&mut layer, &frame).unwrap();
    assert!(matches!(&requests[..], [EndpointRequest::Call { body, .. }] if *body == config));
}

#[tokio::test]
async fn many_calls_of_one_packet_have_their_answers_by_their_ids() {
    let (mut client, mut layer) = both();
    // Some of them are long enough to be compressed by the client.
    let bodies: Vec<Vec<u8>> = (0..90_u32)
        .map(|number| {
            number.wrapping_add(0x0100_0000).to_le_bytes().repeat(1 + number as usize * 4)
        })
        .collect();
    let (frame, ids) = client.send(&bodies.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let mut replies = echo(receive(&mut layer, &frame).unwrap()).await;
    assert_eq!(replies.len(), 90);
    replies.make_contiguous().reverse();
    let mut heard = Vec::new();
    while let Some(mut packet) = layer.pack(&mut replies) {
        heard.extend(client.hear(&mut packet[..]).into_iter().map(result));
    }
    heard.reverse();
    let expected: Vec<_> = ids.into_iter().zip(bodies).collect();
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn pings_and_salts_are_answered_and_acknowledgements_ask_for_nothing() {
    let (mut client, mut layer) = both();
    let ping = functions::Ping { ping_id: 5 }.to_bytes();
    let delayed = functions::PingDelayDisconnect { ping_id: 6, disconnect_delay: 75 }.to_bytes();
    let salts = functions::GetFutureSalts { num: 64 }.to_bytes();
    let ack = enums::MsgsAck::Ack(types::MsgsAck { msg_ids: vec![1, 2] }).to_bytes();
    assert_eq!(ack[..4], ACK.to_le_bytes());
    let (frame, ids) = client.send(&[&ack, &ping, &delayed, &salts]);
    let mut replies = echo(receive(&mut layer, &frame).unwrap()).await;
    let heard = client.hear(&mut layer.pack(&mut replies).unwrap()[..]);
    let heard: Vec<_> = heard.into_iter().map(result).collect();
    assert_eq!(heard.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids[1..]);
    for (at, ping_id) in [(0, 5), (1, 6)] {
        let enums::Pong::Pong(pong) = enums::Pong::from_bytes(&heard[at].1).unwrap();
        assert_eq!(pong.ping_id, ping_id);
        assert_eq!(heard[at].1[..4], PONG.to_le_bytes());
    }
    // It asks for no others after that.
    let (frame, _) = client.send(&[&ping]);
    assert_eq!(receive(&mut layer, &frame).unwrap().len(), 1);
}

#[tokio::test]
async fn a_long_answer_comes_compressed_and_one_that_cannot_be_is_an_error_of_its_call() {
    let (mut client, mut layer) = both();
    let call = 7_u32.to_le_bytes();
    let mut random = fastrand::Rng::with_seed(3);
    let noises = [MESSAGE_LEN_MAX - 12, MESSAGE_LEN_MAX - 8, 1 << 20].map(|len| {
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len - 4).collect();
        [&call[..], &noise].concat()
    });
    let flat = [&call[..], &vec![0; 6 << 20]].concat();
    for (answer, is_answered) in
        [(&noises[0], true), (&noises[1], false), (&noises[2], false), (&flat, true)]
    {
        let (frame, ids) = client.send(&[&call]);
        let [EndpointRequest::Call { id, .. }] = receive(&mut layer, &frame).unwrap()[..] else {
            panic!("a call")
        };
        let mut replies = VecDeque::from([reply_to(id, Ok(answer.clone())).await.unwrap()]);
        let mut packet = layer.pack(&mut replies).unwrap();
        assert!(packet.len() <= FRAME_LEN_MAX);
        match (client.hear(&mut packet[..]).remove(0), is_answered) {
            (Deserialization::RpcResult(result), true) => {
                assert_eq!(result.msg_id, ids[0]);
                assert!(result.body == *answer);
            }
            (Deserialization::RpcError(error), false) => {
                assert_eq!(error.msg_id, ids[0]);
                assert_eq!(error.error.error_message, "TELEPOOL_ANSWER_TOO_LARGE");
            }
            _ => panic!("{} bytes", answer.len()),
        }
    }
}

#[tokio::test]
async fn an_answer_that_looks_like_something_else_is_an_answer_all_the_same() {
    let (mut client, mut layer) = both();
    for word in [GZIP_PACKED, types::RpcAnswerUnknown::CONSTRUCTOR_ID, 0x2144_ca19] {
        let answer = [&word.to_le_bytes()[..], &[0; 8]].concat();
        let (frame, _) = client.send(&[&[7, 0, 0, 0]]);
        let [EndpointRequest::Call { id, .. }] = receive(&mut layer, &frame).unwrap()[..] else {
            panic!("a call")
        };
        let mut replies = VecDeque::from([reply_to(id, Ok(answer.clone())).await.unwrap()]);
        let mut heard = client.hear(&mut layer.pack(&mut replies).unwrap()[..]);
        assert_eq!(result(heard.remove(0)).1, answer);
    }
}

#[tokio::test]
async fn errors_reach_the_client_word_for_word() {
    let (mut client, mut layer) = both();
    for (code, words) in [(420, "FLOOD_WAIT_31"), (400, ""), (-503, "Timeout"), (500, "ä b\n")] {
        let (frame, _) = client.send(&[&[7, 0, 0, 0]]);
        let [EndpointRequest::Call { id, .. }] = receive(&mut layer, &frame).unwrap()[..] else {
            panic!("a call")
        };
        let error = WireError::Rpc { code, message: words.into() };
        let mut replies = VecDeque::from([reply_to(id, Err(error)).await.unwrap()]);
        let mut heard = client.hear(&mut layer.pack(&mut replies).unwrap()[..]);
        let Deserialization::RpcError(told) = heard.remove(0) else { panic!("{words}") };
        assert_eq!((told.error.error_code, &*told.error.error_message), (code, words));
    }
}

#[test]
fn a_frame_is_read_once_it_is_whole_and_no_other_length_is_waited_for() {
    let (mut client, mut layer) = both();
    let (frame, _) = client.send(&[&introduced()]);
    for len in 0..frame.len() {
        let missing = layer.missing(&frame[..len]);
        assert!((1..=frame.len() - len).contains(&missing), "{missing} at {len}");
        let received = layer.receive(&mut frame[..len].to_vec(), &mut Vec::new());
        assert_eq!(received, Ok(None));
    }
    for len in [0, 11, short(FIRST_FRAME_LEN_MAX) + 1, short(FRAME_LEN_MAX), 1 << 31, u32::MAX] {
        assert!(layer.receive(&mut len.to_le_bytes(), &mut Vec::new()).is_err(), "{len}");
        assert!(layer.missing(&len.to_le_bytes()) <= FIRST_FRAME_LEN_MAX);
    }
    receive(&mut layer, &frame).unwrap();
    let longest = short(FRAME_LEN_MAX).to_le_bytes();
    assert_eq!(layer.receive(&mut longest.to_vec(), &mut Vec::new()), Ok(None));
    let longer = (short(FRAME_LEN_MAX) + 1).to_le_bytes();
    assert!(layer.receive(&mut longer.to_vec(), &mut Vec::new()).is_err());
}

#[test]
fn whoever_changes_a_byte_or_has_another_key_is_refused() {
    let (mut client, _) = both();
    let (frame, _) = client.send(&[&introduced()]);
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..2_000 {
        let (_, mut layer) = both();
        let mut bytes = frame.clone();
        bytes[random.usize(..frame.len())] ^= 1 << random.u8(..8);
        let received = layer.receive(&mut bytes, &mut Vec::new());
        assert!(!matches!(received, Ok(Some(_))), "{received:?}");
    }
    let mut other =
        ClientSide { messages: Encrypted::build().finish([9; 256]), frames: Full::new() };
    let (frame, _) = other.send(&[&introduced()]);
    let (_, mut layer) = both();
    assert_eq!(receive(&mut layer, &frame), Err(Breach("a packet of another key")));
}

#[test]
fn messages_that_no_client_sends_end_the_connection_and_nothing_else() {
    let ping = functions::Ping { ping_id: 1 }.to_bytes();
    let container = |count: u32, messages: &[u8]| {
        [&CONTAINER.to_le_bytes()[..], &count.to_le_bytes(), messages].concat()
    };
    let packed = |plain: &[u8]| {
        use std::io::Write as _;
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(plain).unwrap();
        let mut body = GZIP_PACKED.to_le_bytes().to_vec();
        put_bytes(&mut body, &packer.finish().unwrap());
        body
    };
    let inner = message_of(4, &ping);
    let bad = [
        vec![],
        message_of(4, &[]),
        message_of(4, &[1, 2, 3]),
        message_of(4, &container(0, &[])[..4]),
        message_of(4, &container(2, &inner)),
        message_of(4, &container(1_021, &inner)),
        message_of(4, &container(u32::MAX, &inner)),
        message_of(4, &container(1, &message_of(0, &container(1, &inner)))),
        message_of(4, &packed(&container(1, &inner))),
        message_of(4, &packed(&packed(&ping))),
        message_of(4, &packed(&[1, 2, 3])),
        message_of(4, &packed(&vec![0; 8 << 20])),
        message_of(4, &[&GZIP_PACKED.to_le_bytes()[..], &[255; 4]].concat()),
        message_of(4, &[&GZIP_PACKED.to_le_bytes()[..], &[3, 1, 2, 3]].concat()),
        message_of(4, &ping[..8]),
        [message_of(4, &ping), vec![0; 2_000]].concat(),
    ];
    for message in bad {
        let (_, mut layer) = both();
        let received = receive(&mut layer, &frame_of(0, 1, &message));
        assert!(received.is_err(), "{message:?}");
    }
    let (_, mut layer) = both();
    assert_eq!(receive(&mut layer, &frame_of(0, 1, &inner)).unwrap().len(), 1);
    let second = receive(&mut layer, &frame_of(1, 2, &inner));
    assert_eq!(second, Err(Breach("a second session on one connection")));
}

#[test]
fn a_packet_of_many_bombs_is_not_unpacked_beyond_its_allowance() {
    let (mut client, mut layer) = both();
    let (first, _) = client.send(&[&[7, 0, 0, 0]]);
    receive(&mut layer, &first).unwrap();
    let (frame, _) = client.send(&[&vec![0; 1_000_000][..]; 99]);
    let requests = receive(&mut layer, &frame).unwrap();
    let calls = requests.iter().filter(|it| matches!(it, EndpointRequest::Call { .. })).count();
    assert_eq!((calls, requests.len()), (67, 99), "64 MiB of a million bytes each");
}

#[tokio::test]
async fn nothing_that_is_in_a_packet_harms_the_process() {
    let words: Vec<[u8; 4]> =
        [CONTAINER, GZIP_PACKED, ACK, PONG, COPY, PING, PING_DELAY_DISCONNECT]
            .into_iter()
            .chain([GET_FUTURE_SALTS, HTTP_WAIT, 0, 1, 4, 16, 254, 1 << 31, u32::MAX])
            .map(u32::to_le_bytes)
            .collect();
    let mut random = fastrand::Rng::with_seed(11);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..50_000 {
        let count = random.usize(..12);
        let mut any_word = || words[random.usize(..words.len())];
        let mut body: Vec<u8> = (0..count).flat_map(|_| any_word()).collect();
        for _ in 0..random.usize(..3) {
            let inner = message_of(random.i64(..), &body);
            body = match random.bool() {
                true => [&CONTAINER.to_le_bytes()[..], &1_u32.to_le_bytes(), &inner].concat(),
                false => body,
            };
        }
        let plain = [&[0; 16][..], &message_of(random.i64(..), &body), &[0; 12]].concat();
        let mut requests = Vec::new();
        match RequestReader::new(2).read_packet(&plain, &mut requests) {
            Ok(()) => read += 1,
            Err(_) => refused += 1,
        }
        assert!(echo(requests).await.len() <= 1);
    }
    assert!(read > 5_000 && refused > 5_000, "{read} read, {refused} refused");
}
