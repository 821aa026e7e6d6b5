//! The driver over a stream in memory: what it packs, keeps and hands over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::server::{KEY, SentPacket, TestServer, bad_salt, longs, pong, result};
use super::spawn;
use crate::session::AuthKey;
use crate::telegram::wire::tl::{ACK, DROP_ANSWER, PING_DELAY_DISCONNECT};
use crate::telegram::wire::{WireEnd, WireError, WireHandle, WireOptions, WireUpdate, open};

const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn options() -> WireOptions {
    WireOptions::new(AuthKey::new(KEY))
}

/// The server's end of a stream.
pub(super) struct Peer {
    pub(super) stream: DuplexStream,
    pub(super) server: TestServer,
    pub(super) has_begun: bool,
}

impl Peer {
    pub(super) fn new(stream: DuplexStream) -> Self {
        let mut server = TestServer::new();
        server.time = crate::base::clock::unix_time();
        Self { stream, server, has_begun: false }
    }

    pub(super) async fn hear(&mut self) -> SentPacket {
        let mut word = [0; 4];
        if !std::mem::replace(&mut self.has_begun, true) {
            self.stream.read_exact(&mut word).await.unwrap();
            assert_eq!(word, [0xee; 4]);
        }
        self.stream.read_exact(&mut word).await.unwrap();
        let mut packet = vec![0; u32::from_le_bytes(word) as usize];
        self.stream.read_exact(&mut packet).await.unwrap();
        self.server.open(&packet)
    }

    pub(super) fn frame(&mut self, bodies: &[Vec<u8>]) -> Vec<u8> {
        let packet = match bodies {
            [body] => self.server.say(body),
            bodies => self.server.say_all(bodies),
        };
        [&u32::try_from(packet.len()).unwrap().to_le_bytes()[..], &packet].concat()
    }

    pub(super) async fn say(&mut self, bodies: &[Vec<u8>]) {
        let frame = self.frame(bodies);
        self.stream.write_all(&frame).await.unwrap();
    }
}

type Updates = Arc<Mutex<Vec<WireUpdate>>>;

/// A connection whose driver is a task, and the server's end.
fn connect(options: WireOptions, room: usize) -> (WireHandle, Peer, Updates) {
    let (near, far) = duplex(room);
    let updates = Updates::default();
    let heard = Arc::clone(&updates);
    let (handle, driver) = open(near, (), options, move |it| heard.lock().unwrap().push(it));
    spawn(driver);
    (handle, Peer::new(far), updates)
}

/// A call of this number, as a task.
fn call(handle: &WireHandle, number: u8) -> tokio::task::JoinHandle<Result<Vec<u8>, WireError>> {
    let handle = handle.clone();
    spawn(async move { handle.call(vec![number; 8], LIMIT).await })
}

#[tokio::test]
async fn calls_made_together_go_in_one_packet_and_each_gets_its_answer() {
    let (handle, mut peer, _) = connect(options(), 4096);
    let calls: Vec<_> = (1..=20).map(|number| call(&handle, number)).collect();
    let packet = peer.hear().await;
    assert_eq!(packet.messages.len(), 21);
    // Backwards, and a few bytes at a time.
    let answers: Vec<Vec<u8>> =
        packet.messages.iter().rev().map(|it| result(it.id, &it.body)).collect();
    for byte in peer.frame(&answers) {
        peer.stream.write_all(&[byte]).await.unwrap();
    }
    for (number, call) in (1..).zip(calls) {
        assert_eq!(call.await.unwrap().unwrap(), [number; 8]);
    }
    let counts = handle.counts();
    assert_eq!((counts.calls_sent, counts.packets_sent, counts.packets_received), (20, 1, 1));
    assert!(counts.answer_age.is_some() && counts.bytes_sent > 0 && counts.bytes_received > 0);
}

#[tokio::test]
async fn what_a_connection_learns_of_its_key_is_there_for_the_next() {
    let (handle, mut peer, _) = connect(options(), 4096);
    let answer = call(&handle, 1);
    let packet = peer.hear().await;
    peer.say(&[bad_salt(packet.id, 99)]).await;
    let packet = peer.hear().await;
    assert_eq!(packet.salt, 99);
    peer.say(&[result(packet.messages[1].id, &[6; 4])]).await;
    assert_eq!(answer.await.unwrap().unwrap(), [6; 4]);
    let mut next = options();
    next.memory = handle.memory();
    assert_eq!(next.memory.salts[0].value, 99);
    let (_handle, mut peer, _) = connect(next, 4096);
    assert_eq!(peer.hear().await.salt, 99);
}

#[tokio::test]
async fn large_bodies_and_answers_pass_a_narrow_stream() {
    let (handle, mut peer, _) = connect(options(), 1000);
    let body: Vec<u8> = (0..900_000_u32).map(|at| (at % 251) as u8).collect();
    let (sent, caller) = (body.clone(), handle.clone());
    let call = spawn(async move { caller.call(sent, LIMIT).await });
    let packet = peer.hear().await;
    let large = packet.messages.iter().find(|it| it.body.len() > 100).unwrap();
    assert_eq!(large.body, body);
    let answer = result(large.id, &body);
    peer.say(&[answer]).await;
    assert_eq!(call.await.unwrap().unwrap(), body);
}

#[tokio::test]
async fn a_call_that_is_given_up_frees_its_place_and_tells_the_server() {
    let mut narrow = options();
    narrow.limits.calls_waiting_max = 1;
    let (handle, mut peer, _) = connect(narrow, 4096);
    let given_up = call(&handle, 1);
    let packet = peer.hear().await;
    let sent = packet.messages[1].id;
    assert!(matches!(handle.call(vec![2; 8], LIMIT).await, Err(WireError::Busy { limit: 1 })));
    given_up.abort();
    let packet = peer.hear().await;
    assert_eq!(packet.find(DROP_ANSWER).body[4..], sent.to_le_bytes());
    let next = call(&handle, 3);
    let packet = peer.hear().await;
    peer.say(&[result(packet.messages[0].id, &[4; 4])]).await;
    assert_eq!(next.await.unwrap().unwrap(), [4; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_time_is_over_has_given_its_place_back() {
    let mut narrow = options();
    narrow.limits.calls_waiting_max = 1;
    let (handle, _peer, _) = connect(narrow, 4096);
    for _ in 0..3 {
        let failed = handle.call(vec![1; 8], Duration::from_secs(3)).await.unwrap_err();
        assert!(matches!(failed, WireError::TimedOut { .. }), "{failed}");
    }
}

#[tokio::test]
async fn the_bodies_that_wait_have_a_limit_together_but_one_always_goes() {
    let mut narrow = options();
    narrow.limits.bytes_waiting_max = 100;
    let (handle, mut peer, _) = connect(narrow, 4096);
    let long = handle.clone();
    let first = spawn(async move { long.call(vec![1; 120], LIMIT).await });
    let packet = peer.hear().await;
    let full = handle.call(vec![2; 8], LIMIT).await.unwrap_err();
    assert!(matches!(full, WireError::Full { limit: 100 }) && !full.may_be_carried_out());
    peer.say(&[result(packet.messages[1].id, &[4; 4])]).await;
    first.await.unwrap().unwrap();
    let next = call(&handle, 3);
    let packet = peer.hear().await;
    peer.say(&[result(packet.messages[0].id, &[4; 4])]).await;
    next.await.unwrap().unwrap();
}

#[tokio::test]
async fn updates_may_be_wanted_later() {
    let (handle, mut peer, updates) = connect(options(), 4096);
    peer.hear().await;
    let mut pushed = Vec::new();
    for (number, wanted) in [(1, false), (2, true), (3, false)] {
        handle.want_updates(wanted);
        let answer = call(&handle, 9);
        let packet = peer.hear().await;
        let asked = packet.messages.iter().find(|it| it.body == [9; 8]).unwrap().id;
        pushed.push(longs(77, &[number]));
        peer.say(&[longs(77, &[number]), result(asked, &[4; 4])]).await;
        answer.await.unwrap().unwrap();
    }
    assert_eq!(*updates.lock().unwrap(), [WireUpdate::Pushed(pushed[1].clone())]);
}

#[tokio::test(start_paused = true)]
async fn no_time_is_too_long_or_too_short() {
    for time in [Duration::ZERO, Duration::MAX] {
        let mut odd = options();
        odd.times.ping_every = time;
        odd.times.disconnect_delay = time;
        odd.times.ack_after = time;
        odd.times.close_within = time;
        let (handle, mut peer, _) = connect(odd, 4096);
        let answer = call(&handle, 1);
        let packet = peer.hear().await;
        let seconds = packet.messages[0].body.last_chunk().map(|it| i32::from_le_bytes(*it));
        assert!(seconds.unwrap() > 0, "{seconds:?}");
        peer.say(&[result(packet.messages[1].id, &[4; 4])]).await;
        answer.await.unwrap().unwrap();
        handle.close();
        peer.stream.read_to_end(&mut Vec::new()).await.unwrap();
        drop(peer);
        assert!(matches!(handle.gone().await, WireEnd::Closed { .. } | WireEnd::Silent));
    }
}

#[tokio::test]
async fn what_no_server_takes_is_not_sent() {
    let (handle, ..) = connect(options(), 4096);
    for len in [0, 3, 5, 1_040_008] {
        let refused = handle.call(vec![0; len], LIMIT).await.unwrap_err();
        assert!(matches!(refused, WireError::Unsendable { len: told, .. } if told == len));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_has_a_deadline_and_a_silent_server_an_end() {
    let (handle, mut peer, _) = connect(options(), 4096);
    let limit = Duration::from_secs(3);
    let failed = handle.call(vec![1; 8], limit).await.unwrap_err();
    assert!(matches!(failed, WireError::TimedOut { was_sent: true, after } if after == limit));
    peer.hear().await;
    assert!(matches!(handle.gone().await, WireEnd::Silent));
    let late = handle.call(vec![1; 8], limit).await.unwrap_err();
    assert!(matches!(late, WireError::Lost { was_sent: false, end: WireEnd::Silent }));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_pings_for_as_long_as_it_is_answered() {
    let (handle, mut peer, _) = connect(options(), 4096);
    let mut pings = 0;
    while pings < 50 {
        let packet = peer.hear().await;
        match packet.messages.iter().find(|it| it.constructor() == PING_DELAY_DISCONNECT) {
            Some(ping) => peer.say(&[pong(ping.id)]).await,
            None => {
                assert_eq!(packet.constructors(), [ACK]);
                continue;
            }
        }
        peer.server.time += Duration::from_secs(15);
        pings += 1;
    }
    assert!(handle.end().is_none());
}

#[test]
fn a_caller_on_another_runtime_or_on_none_has_its_answer_and_its_deadline() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (handle, mut peer) = runtime.block_on(async {
        let (handle, peer, _) = connect(options(), 4096);
        (handle, peer)
    });
    let caller = handle.clone();
    let thread = std::thread::spawn(move || {
        let none = tokio::runtime::Builder::new_current_thread().build().unwrap();
        none.block_on(caller.call(vec![1; 8], LIMIT))
    });
    runtime.block_on(async {
        loop {
            let packet = peer.hear().await;
            if let Some(call) = packet.messages.iter().find(|it| it.body == [1; 8]) {
                return peer.say(&[result(call.id, &[4; 4])]).await;
            }
        }
    });
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
    assert_eq!(thread.join().unwrap().unwrap(), [4; 4]);
    // From here on nobody polls the driver.
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let late = other.block_on(handle.call(vec![1; 8], Duration::from_millis(30)));
    assert!(matches!(late, Err(WireError::TimedOut { .. })), "{late:?}");
}

#[tokio::test]
async fn updates_are_handed_over_in_their_order() {
    let mut listening = options();
    listening.wants_updates = true;
    let (handle, mut peer, updates) = connect(listening, 4096);
    let answer = call(&handle, 1);
    let packet = peer.hear().await;
    let pushed = [longs(77, &[1]), longs(77, &[2]), result(packet.messages[1].id, &[4; 4])];
    peer.say(&pushed).await;
    answer.await.unwrap().unwrap();
    let expected = pushed[..2].iter().cloned().map(WireUpdate::Pushed).collect::<Vec<_>>();
    assert_eq!(*updates.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn calls_that_follow_answers_at_once_go_in_one_packet() {
    let (handle, mut peer, _) = connect(options(), 4096);
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let handle = handle.clone();
            spawn(async move {
                for _ in 0..2 {
                    handle.call(vec![1; 8], LIMIT).await.unwrap();
                }
            })
        })
        .collect();
    let mut answers = Vec::new();
    while answers.len() < callers.len() {
        let packet = peer.hear().await;
        let asked = packet.messages.iter().filter(|it| it.body == [1; 8]);
        answers.extend(asked.map(|it| result(it.id, &[4; 4])));
    }
    peer.say(&answers).await;
    let packet = peer.hear().await;
    let asked: Vec<_> = packet.messages.iter().filter(|it| it.body == [1; 8]).collect();
    assert_eq!(asked.len(), callers.len());
    peer.say(&asked.iter().map(|it| result(it.id, &[4; 4])).collect::<Vec<_>>()).await;
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_keeps_no_buffer() {
    let (near, far) = duplex(1 << 20);
    let (handle, mut driver) = open(near, (), options(), |_| {});
    let mut peer = Peer::new(far);
    let talk = async {
        for _ in 0..5 {
            let calls: Vec<_> = (0..200).map(|_| call(&handle, 1)).collect();
            let mut left = calls.len();
            while left > 0 {
                let packet = peer.hear().await;
                let asked = packet.messages.iter().filter(|it| it.body == [1; 8]);
                let answers: Vec<_> = asked.map(|it| result(it.id, &[4; 3000])).collect();
                left -= answers.len();
                if !answers.is_empty() {
                    peer.say(&answers).await;
                }
            }
            for call in calls {
                call.await.unwrap().unwrap();
            }
        }
    };
    tokio::select! {
        () = talk => {}
        end = &mut driver => panic!("{end}"),
    }
    // The last answers are acknowledged by then.
    tokio::time::timeout(Duration::from_secs(11), &mut driver).await.unwrap_err();
    assert!(!driver.holds_buffers());
}
