//! A data centre just large enough to judge connections: it answers the calls that open one,
//! keeps the rule of one main connection per authorization key, and can be told to misbehave.
//!
//! It runs on threads of its own with blocking sockets, so that it judges the client's runtime
//! from outside: when the second connection of a key speaks, it looks at the socket of the first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use grammers_client::tl::{Identifiable, Serializable, enums, functions, types};
use grammers_crypto::{AuthKey, DequeBuffer, decrypt_data_v2, encrypt_data_v2};
use grammers_mtproto::transport::{Full, Intermediate, Transport};

/// What a client begins with that frames its packets so.
const INTERMEDIATE: [u8; 4] = [0xee; 4];
const CONTAINER: u32 = 0x73f1_f8dc;
const RPC_RESULT: u32 = 0xf35c_6d01;
/// How often a socket with something unread is looked at, a millisecond apart.
const LOOKS_MAX: usize = 5_000;
const VECTOR: u32 = 0x1cb5_c415;
const CONFIG: u32 = 0xcc1a_241e;
const INVOKE_WITH_LAYER: u32 = 0xda9b_0d0d;
const INVOKE_WITHOUT_UPDATES: u32 = 0xbf94_59b7;
/// What anybody may call, which asks for no updates.
const FREE: [u32; 4] = [
    functions::Ping::CONSTRUCTOR_ID,
    functions::PingDelayDisconnect::CONSTRUCTOR_ID,
    INVOKE_WITH_LAYER,
    functions::help::GetConfig::CONSTRUCTOR_ID,
];
const BOOL_FALSE: u32 = 0xbc79_9737;

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Reply {
    Answer,
    Error(i32, &'static str),
    Silence,
    Close,
    /// A transport error instead of an answer, then the end.
    Transport(i32),
    /// An update beside the answer, which has no place in a box.
    Update,
    /// Updates instead of an answer, then the end.
    LastWords,
    /// A configuration with something else in the place of an address, which no client expects.
    #[allow(dead_code, reason = "only the client of one engine asks for it")]
    Nonsense,
}

#[derive(Default)]
pub(crate) struct State {
    /// The replies to requests by constructor; the others are answered.
    replies: Mutex<HashMap<u32, Reply>>,
    keys: Mutex<HashMap<[u8; 8], Key>>,
    /// Connections that have not spoken yet, in the order in which they came, and whether their
    /// first words have been taken from the socket.
    silent: Mutex<BTreeMap<u64, (TcpStream, Arc<AtomicBool>)>>,
    /// Requests so far, by constructor.
    calls: Mutex<HashMap<u32, u64>>,
    /// Connections that have asked for updates.
    subscribed: Mutex<BTreeSet<u64>>,
    stopped: AtomicBool,
    pub(crate) accepted: AtomicU64,
    /// Connections that sent a request with a key.
    pub(crate) spoken: AtomicU64,
    pub(crate) key_violations: AtomicU64,
    pub(crate) key_exchanges: AtomicU64,
}

struct Key {
    bytes: [u8; 256],
    /// The connections that have spoken with it.
    live: HashMap<u64, TcpStream>,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<State>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let heard = Arc::<AtomicBool>::default();
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let id = shared.accepted.fetch_add(1, Ordering::SeqCst);
                let silent = (stream.try_clone().unwrap(), Arc::clone(&heard));
                shared.silent.lock().unwrap().insert(id, silent);
                let state = Arc::clone(&shared);
                thread::spawn(move || Peer::new(id, stream, state, heard).serve());
            }
        });
        Self { address, state }
    }

    /// Lets sessions with this key in.
    pub(crate) fn create_sessions(&self, bytes: [u8; 256]) {
        let key = Key { bytes, live: HashMap::new() };
        self.state.keys.lock().unwrap().insert(key_id(&bytes), key);
    }

    pub(crate) fn forget(&self, bytes: [u8; 256]) {
        self.state.keys.lock().unwrap().remove(&key_id(&bytes));
    }

    pub(crate) fn decide<R: Identifiable>(&self, reply: Reply) {
        self.state.replies.lock().unwrap().insert(R::CONSTRUCTOR_ID, reply);
    }

    /// Ends every connection, out of the blue.
    pub(crate) fn hang_up(&self) {
        for key in self.state.keys.lock().unwrap().values() {
            for stream in key.live.values() {
                stream.shutdown(Shutdown::Both).unwrap();
            }
        }
    }

    pub(crate) fn violations(&self) -> u64 {
        self.state.key_violations.load(Ordering::SeqCst)
    }

    /// How often a method was called.
    pub(crate) fn calls<R: Identifiable>(&self) -> u64 {
        self.state.calls.lock().unwrap().get(&R::CONSTRUCTOR_ID).copied().unwrap_or_default()
    }

    /// How many connections have asked for updates so far.
    pub(crate) fn subscribed(&self) -> usize {
        self.state.subscribed.lock().unwrap().len()
    }

    pub(crate) fn live(&self) -> usize {
        self.state.keys.lock().unwrap().values().map(|key| key.live.len()).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        drop(TcpStream::connect(self.address));
    }
}

/// How a client's packets are framed.
enum Framing {
    Unknown,
    /// What comes, and what goes.
    Full(Full, Full),
    Intermediate,
}

impl Framing {
    fn of(first: &[u8]) -> Self {
        match first == INTERMEDIATE {
            true => Self::Intermediate,
            false => Self::Full(Full::new(), Full::new()),
        }
    }
}

/// The other end of one connection.
struct Peer {
    id: u64,
    stream: TcpStream,
    state: Arc<State>,
    framing: Framing,
    /// The key it speaks with, once it has spoken.
    key: Option<[u8; 256]>,
    session: [u8; 8],
    sent: i64,
    /// What a packet of the client is answered with, which leaves in one piece.
    answers: Vec<u8>,
    heard: Arc<AtomicBool>,
}

impl Peer {
    fn new(id: u64, stream: TcpStream, state: Arc<State>, heard: Arc<AtomicBool>) -> Self {
        stream.set_nodelay(true).unwrap();
        let (framing, key, session, sent) = (Framing::Unknown, None, [0; 8], 0);
        let answers = Vec::new();
        Self { id, stream, state, framing, key, session, sent, answers, heard }
    }

    fn serve(mut self) {
        drop(self.packets());
        self.state.silent.lock().unwrap().remove(&self.id);
        if let Some(key) = self.key
            && let Some(key) = self.state.keys.lock().unwrap().get_mut(&key_id(&key))
        {
            key.live.remove(&self.id);
        }
    }

    fn packets(&mut self) -> io::Result<()> {
        // Marked between the words' coming and their being taken, so that a judge sees them in
        // one place or in the other.
        while matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
        {
            thread::yield_now();
        }
        self.heard.store(true, Ordering::SeqCst);
        loop {
            let mut packet = vec![0; 4];
            read_exact(&mut self.stream, &mut packet)?;
            if matches!(self.framing, Framing::Unknown) {
                self.framing = Framing::of(&packet);
                if packet == INTERMEDIATE {
                    continue;
                }
            }
            let len = u32::from_le_bytes(packet[..].try_into().unwrap());
            assert!((12..2_000_000).contains(&len), "the client sent a packet of {len} bytes");
            let len = usize::try_from(len).unwrap();
            match &mut self.framing {
                Framing::Full(incoming, _) => {
                    packet.resize(len, 0);
                    read_exact(&mut self.stream, &mut packet[4..])?;
                    let unpacked = incoming.unpack(&mut packet).unwrap();
                    self.packet(&mut packet[unpacked.data_range])?;
                }
                _ => {
                    packet.resize(len, 0);
                    read_exact(&mut self.stream, &mut packet)?;
                    self.packet(&mut packet)?;
                }
            }
        }
    }

    fn packet(&mut self, payload: &mut [u8]) -> io::Result<()> {
        let id: [u8; 8] = payload[..8].try_into().unwrap();
        if id == [0; 8] {
            self.state.key_exchanges.fetch_add(1, Ordering::SeqCst);
            return self.refuse(404);
        }
        let Some(key) = self.state.keys.lock().unwrap().get(&id).map(|key| key.bytes) else {
            return self.refuse(404);
        };
        if self.key.is_none() {
            self.key = Some(key);
            self.state.spoken.fetch_add(1, Ordering::SeqCst);
            self.keep_the_rule(&id)?;
        }
        let plain = decrypt(payload, &key);
        self.session.copy_from_slice(&plain[8..16]);
        self.message(&plain[16..])?;
        self.answer_packet()
    }

    /// A packet that ends the connection, or is refused as a whole, never comes to this.
    fn answer_packet(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.answers)?;
        self.answers.clear();
        Ok(())
    }

    /// Registers the connection, and looks whether another of its key still lives.
    fn keep_the_rule(&self, id: &[u8; 8]) -> io::Result<()> {
        self.hear_the_older();
        let own = self.stream.try_clone()?;
        let others: Vec<TcpStream> = {
            let mut keys = self.state.keys.lock().unwrap();
            let live = &mut keys.get_mut(id).unwrap().live;
            let others = live.values().map(|other| other.try_clone().unwrap()).collect();
            live.insert(self.id, own);
            others
        };
        self.state.silent.lock().unwrap().remove(&self.id);
        for other in others {
            if is_open(&other) {
                self.state.key_violations.fetch_add(1, Ordering::SeqCst);
            }
        }
        Ok(())
    }

    /// Lets older connections that have something unread be heard first. The threads run in any
    /// order; without this a request of a connection that is closed already could seem to come
    /// after ours.
    fn hear_the_older(&self) {
        let older: Vec<u64> =
            self.state.silent.lock().unwrap().range(..self.id).map(|(id, _)| *id).collect();
        for id in older {
            for _ in 0..LOOKS_MAX {
                let silent = self.state.silent.lock().unwrap();
                let Some((stream, heard)) = silent.get(&id) else { break };
                if !matches!(look(stream), Ok(1..)) && !heard.load(Ordering::SeqCst) {
                    break;
                }
                drop(silent);
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn message(&mut self, message: &[u8]) -> io::Result<()> {
        let msg_id = i64::from_le_bytes(message[..8].try_into().unwrap());
        let len = usize::try_from(word(message, 12)).unwrap();
        let body = &message[16..16 + len];
        match word(body, 0) {
            CONTAINER => {
                let mut rest = &body[8..];
                for _ in 0..word(body, 4) {
                    self.message(rest)?;
                    rest = &rest[16 + usize::try_from(word(rest, 12)).unwrap()..];
                }
                Ok(())
            }
            types::MsgsAck::CONSTRUCTOR_ID => Ok(()),
            _ => self.request(msg_id, body),
        }
    }

    fn request(&mut self, msg_id: i64, body: &[u8]) -> io::Result<()> {
        let (body, is_subscribed) = match word(body, 0) {
            INVOKE_WITHOUT_UPDATES => (&body[4..], false),
            _ => (body, true),
        };
        let method = word(body, 0);
        if is_subscribed && !FREE.contains(&method) {
            self.state.subscribed.lock().unwrap().insert(self.id);
        }
        *self.state.calls.lock().unwrap().entry(method).or_default() += 1;
        let reply = self.state.replies.lock().unwrap().get(&method).copied();
        match reply.unwrap_or(Reply::Answer) {
            Reply::Silence => Ok(()),
            Reply::Close => Err(ErrorKind::ConnectionAborted.into()),
            Reply::Transport(code) => self.refuse(code),
            Reply::Error(code, message) => {
                let error = types::RpcError { error_code: code, error_message: message.into() };
                self.send(&result(msg_id, &enums::RpcError::Error(error).to_bytes()))
            }
            // What is introduced follows the introduction.
            Reply::Answer if method == INVOKE_WITH_LAYER => self.request(msg_id, introduced(body)),
            Reply::Answer => self.answer(msg_id, body),
            Reply::Nonsense => self.send(&result(msg_id, &config("nowhere"))),
            Reply::LastWords => {
                for _ in 0..4 {
                    self.send(&enums::Updates::TooLong.to_bytes())?;
                }
                self.answer_packet()?;
                Err(ErrorKind::ConnectionAborted.into())
            }
            Reply::Update => {
                let (update, date) = (enums::Update::PtsChanged, 1);
                let update = enums::Updates::UpdateShort(types::UpdateShort { update, date });
                self.send(&update.to_bytes())?;
                self.answer(msg_id, body)
            }
        }
    }

    fn answer(&mut self, msg_id: i64, body: &[u8]) -> io::Result<()> {
        match word(body, 0) {
            functions::Ping::CONSTRUCTOR_ID | functions::PingDelayDisconnect::CONSTRUCTOR_ID => {
                let ping_id = i64::from_le_bytes(body[4..12].try_into().unwrap());
                let pong = enums::Pong::Pong(types::Pong { msg_id, ping_id });
                self.send(&pong.to_bytes())
            }
            functions::help::GetConfig::CONSTRUCTOR_ID => {
                self.send(&result(msg_id, &config("127.9.9.9")))
            }
            functions::users::GetUsers::CONSTRUCTOR_ID => {
                let nobody = [VECTOR.to_le_bytes(), [0; 4]].concat();
                self.send(&result(msg_id, &nobody))
            }
            functions::updates::GetState::CONSTRUCTOR_ID => {
                let (pts, qts, date, seq, unread_count) = (1, 1, 1, 1, 0);
                let state = types::updates::State { pts, qts, date, seq, unread_count };
                self.send(&result(msg_id, &enums::updates::State::State(state).to_bytes()))
            }
            functions::updates::GetDifference::CONSTRUCTOR_ID => {
                let empty = types::updates::DifferenceEmpty { date: 1, seq: 1 };
                let empty = enums::updates::Difference::Empty(empty);
                self.send(&result(msg_id, &empty.to_bytes()))
            }
            _ => {
                let (country, this_dc, nearest_dc) = ("XX".into(), 2, 2);
                let nearest = types::NearestDc { country, this_dc, nearest_dc };
                self.send(&result(msg_id, &enums::NearestDc::Dc(nearest).to_bytes()))
            }
        }
    }

    fn send(&mut self, body: &[u8]) -> io::Result<()> {
        let key = self.key.unwrap();
        self.sent += 4;
        let mut plain = Vec::new();
        plain.extend([0; 8]);
        plain.extend(self.session);
        plain.extend(((1_700_000_000_i64 << 32) + self.sent + 1).to_le_bytes());
        plain.extend(1_u32.to_le_bytes());
        plain.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        plain.extend(body);
        let mut packet = DequeBuffer::with_capacity(plain.len() + 64, 64);
        packet.extend(encrypt(&plain, &key));
        match &mut self.framing {
            Framing::Full(_, outgoing) => outgoing.pack(&mut packet),
            _ => Intermediate::new().pack(&mut packet),
        }
        // It says so itself, which is the client's part.
        let packet = packet[..].strip_prefix(&INTERMEDIATE).unwrap_or(&packet[..]);
        self.answers.extend(packet);
        Ok(())
    }

    /// Sends a transport error as the real servers do, and hangs up.
    fn refuse(&mut self, code: i32) -> io::Result<()> {
        let code = (-code).to_le_bytes();
        match self.framing {
            Framing::Full(..) => self.stream.write_all(&code.repeat(3))?,
            _ => self.stream.write_all(&[4_u32.to_le_bytes(), code].concat())?,
        }
        // The client has to read it before the end.
        let mut rest = [0; 1024];
        self.stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        while self.stream.read(&mut rest)? != 0 {}
        Err(ErrorKind::ConnectionAborted.into())
    }
}

/// The judge's look at another connection's socket switches blocking off for an instant.
fn read_exact(stream: &mut TcpStream, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => buffer = &mut buffer[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the client's end of the socket is open. What it still has to say is waited for: the
/// end may come after it.
fn is_open(stream: &TcpStream) -> bool {
    for _ in 0..LOOKS_MAX {
        match look(stream) {
            Ok(0) => return false,
            Ok(_) => thread::sleep(Duration::from_millis(1)),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    true
}

/// What could be read from the socket right now, without reading it.
fn look(stream: &TcpStream) -> io::Result<usize> {
    // One at a time: a look that finds the socket blocking again would wait.
    static LOOKING: Mutex<()> = Mutex::new(());
    let _looking = LOOKING.lock().unwrap();
    stream.set_nonblocking(true)?;
    let seen = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    seen
}

/// The request behind an introduction: five numbers and six short texts.
fn introduced(body: &[u8]) -> &[u8] {
    let skip = |rest: &mut &[u8]| *rest = &rest[(1 + usize::from(rest[0])).next_multiple_of(4)..];
    let mut rest = &body[5 * 4..];
    (0..6).for_each(|_| skip(&mut rest));
    rest
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn result(msg_id: i64, answer: &[u8]) -> Vec<u8> {
    [&RPC_RESULT.to_le_bytes()[..], &msg_id.to_le_bytes(), answer].concat()
}

/// A configuration that lists other addresses for the home and for another data centre, which
/// nobody may follow.
fn config(home: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [CONFIG, 0, 0, 0, BOOL_FALSE, 2, VECTOR, 3] {
        bytes.extend(word.to_le_bytes());
    }
    for (id, ip_address, ipv6) in [(2, home, false), (2, "::9", true), (4, "127.9.9.8", false)] {
        let option = types::DcOption {
            ipv6,
            media_only: false,
            tcpo_only: false,
            cdn: false,
            r#static: true,
            this_port_only: false,
            id,
            ip_address: ip_address.into(),
            port: 9,
            secret: None,
        };
        enums::DcOption::Option(option).serialize(&mut bytes);
    }
    // Two empty texts and 24 numbers.
    bytes.extend([0; 26 * 4]);
    bytes
}

/// The library encrypts with the client's part of a key and decrypts with the server's, which
/// begins 8 bytes further on. A key shifted by as much swaps the parts.
fn shifted(key: &[u8; 256], left: bool) -> AuthKey {
    let mut bytes = *key;
    if left {
        bytes.rotate_left(8)
    } else {
        bytes.rotate_right(8)
    }
    AuthKey::from_bytes(bytes)
}

fn encrypt(plain: &[u8], key: &[u8; 256]) -> Vec<u8> {
    let mut buffer = DequeBuffer::with_capacity(plain.len() + 64, 64);
    buffer.extend(plain.iter().copied());
    encrypt_data_v2(&mut buffer, &shifted(key, true));
    let mut packet = buffer[..].to_vec();
    packet[..8].copy_from_slice(&key_id(key));
    packet
}

fn decrypt(payload: &mut [u8], key: &[u8; 256]) -> Vec<u8> {
    let key = shifted(key, false);
    payload[..8].copy_from_slice(&key_id(&key.to_bytes()));
    decrypt_data_v2(payload, &key).unwrap().to_vec()
}

pub(crate) fn key_id(key: &[u8; 256]) -> [u8; 8] {
    let mut buffer = DequeBuffer::with_capacity(64, 64);
    encrypt_data_v2(&mut buffer, &AuthKey::from_bytes(*key));
    buffer[..8].try_into().unwrap()
}
