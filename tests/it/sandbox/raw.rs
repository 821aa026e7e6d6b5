//! A client of raw packets, which can break every rule.

use std::sync::{Arc, Mutex};

use grammers_crypto::{AuthKey, DequeBuffer, decrypt_data_v2, encrypt_data_v2};
use grammers_mtproto::transport::{
    Abridged, Error, Full, Intermediate, Obfuscated, Transport, UnpackedOffset,
};
use telepool::telegram::client::tl::{Deserializable, Serializable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::stock::StockClient;
use super::*;

/// How long the server may take to do what it must.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct RawClient {
    stream: TcpStream,
    key: AuthKey,
    outgoing: Box<dyn Transport + Send>,
    incoming: Box<dyn Transport + Send>,
    received: Vec<u8>,
    pub(crate) salt: [u8; 8],
    /// The session that it uses: it may be set, to go on with that of another connection.
    pub(crate) session: i64,
    last_id: i64,
    /// How many messages went out that want an acknowledgement.
    pub(crate) sent: u32,
    /// How many seconds its clock is ahead.
    pub(crate) ahead: i64,
}

/// A message with its numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawMessage {
    pub(crate) id: i64,
    pub(crate) sequence: u32,
    pub(crate) body: Vec<u8>,
}

impl RawMessage {
    pub(crate) fn head(&self) -> u32 {
        word(&self.body)
    }

    /// Reads what it holds, less its constructor.
    pub(crate) fn read<T: Deserializable>(&self) -> T {
        T::from_bytes(&self.body[4..]).unwrap()
    }

    /// What it is the result of, and the constructor of that.
    pub(crate) fn result(&self) -> (i64, u32) {
        assert_eq!(self.head(), RPC_RESULT, "{self:?}");
        (i64::from_le_bytes(self.body[4..12].try_into().unwrap()), word(&self.body[12..]))
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.id.to_le_bytes());
        out.extend(self.sequence.to_le_bytes());
        out.extend(u32::try_from(self.body.len()).unwrap().to_le_bytes());
        out.extend(&self.body);
    }

    /// Takes a message off the front.
    pub(crate) fn take(bytes: &[u8]) -> (Self, &[u8]) {
        let len = word(&bytes[12..]) as usize;
        let id = i64::from_le_bytes(bytes[..8].try_into().unwrap());
        let body = bytes[16..16 + len].to_vec();
        (Self { id, sequence: word(&bytes[8..]), body }, &bytes[16 + len..])
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..4].try_into().unwrap())
}

impl RawClient {
    pub(crate) async fn connect(record: &SessionRecord) -> Self {
        Self::connect_by(record, Box::new(Full::new()), Box::new(Full::new())).await
    }

    async fn connect_by(
        record: &SessionRecord,
        outgoing: Box<dyn Transport + Send>,
        incoming: Box<dyn Transport + Send>,
    ) -> Self {
        let stream = TcpStream::connect(record.address).await.unwrap();
        Self::on(stream, record, outgoing, incoming)
    }

    /// One that takes in next to nothing until it reads.
    pub(crate) async fn connect_narrowly(record: &SessionRecord) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(record.address).await.unwrap();
        Self::on(stream, record, Box::new(Full::new()), Box::new(Full::new()))
    }

    /// One that goes on with the session of another, which has gone, as a client does that redials.
    pub(crate) async fn resume(before: Self, record: &SessionRecord) -> Self {
        let Self { salt, session, last_id, sent, ahead, stream, .. } = before;
        drop(stream);
        Self { salt, session, last_id, sent, ahead, ..Self::connect(record).await }
    }

    fn on(
        stream: TcpStream,
        record: &SessionRecord,
        outgoing: Box<dyn Transport + Send>,
        incoming: Box<dyn Transport + Send>,
    ) -> Self {
        stream.set_nodelay(true).unwrap();
        let key = AuthKey::from_bytes(*record.key.expose());
        let session = fastrand::i64(..);
        let (received, salt) = (Vec::new(), [0; 8]);
        let (last_id, sent, ahead) = (0, 0, 0);
        Self { stream, key, outgoing, incoming, received, salt, session, last_id, sent, ahead }
    }

    /// A message with the next numbers: by the time of day, and odd if it wants an acknowledgement.
    pub(crate) fn number(&mut self, body: Vec<u8>, wants_acknowledgement: bool) -> RawMessage {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seconds = i64::try_from(now.as_secs()).unwrap() + self.ahead;
        let fraction = (i64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
        self.last_id = (seconds << 32 | (fraction & !3)).max(self.last_id + 4);
        let sequence = self.sent * 2 + u32::from(wants_acknowledgement);
        self.sent += u32::from(wants_acknowledgement);
        RawMessage { id: self.last_id, sequence, body }
    }

    /// Sends a ping and waits for nothing.
    pub(crate) async fn ping(&mut self) {
        self.send(&functions::Ping { ping_id: 1 }).await.unwrap();
    }

    /// Sends a request, and waits for nothing. Returns its message id.
    pub(crate) async fn send(&mut self, request: &impl Serializable) -> std::io::Result<i64> {
        self.send_all(&[request.to_bytes()]).await
    }

    /// Sends what wants no acknowledgement, such as one. Returns its message id.
    pub(crate) async fn notify(&mut self, notice: &impl Serializable) -> i64 {
        let message = self.number(notice.to_bytes(), false);
        self.send_message(&message).await.unwrap();
        message.id
    }

    /// Sends requests in one container, and waits for nothing. Returns the id of the packet.
    pub(crate) async fn send_all(&mut self, requests: &[Vec<u8>]) -> std::io::Result<i64> {
        let mut messages: Vec<_> =
            requests.iter().map(|request| self.number(request.clone(), true)).collect();
        let message = match &messages[..] {
            [_] => messages.remove(0),
            _ => self.contain(&messages),
        };
        self.send_message(&message).await?;
        Ok(message.id)
    }

    /// Goes on in a new session, by another clock.
    pub(crate) fn begin_anew(&mut self, ahead: i64) {
        (self.session, self.last_id, self.sent, self.ahead) = (fastrand::i64(..), 0, 0, ahead);
    }

    /// A container of messages.
    pub(crate) fn contain(&mut self, messages: &[RawMessage]) -> RawMessage {
        let count = u32::try_from(messages.len()).unwrap();
        let mut container = [CONTAINER.to_le_bytes(), count.to_le_bytes()].concat();
        messages.iter().for_each(|message| message.put(&mut container));
        self.number(container, false)
    }

    /// Sends a message with whatever numbers it has.
    pub(crate) async fn send_message(&mut self, message: &RawMessage) -> std::io::Result<()> {
        let mut body = Vec::new();
        message.put(&mut body);
        let mut packet = DequeBuffer::with_capacity(body.len() + 128, 64);
        packet.extend(self.salt);
        packet.extend(self.session.to_le_bytes());
        packet.extend(body);
        encrypt_data_v2(&mut packet, &self.key);
        self.outgoing.pack(&mut packet);
        self.stream.write_all(&packet[..]).await
    }

    /// The messages of the next packet, which is of this session.
    pub(crate) async fn messages(&mut self) -> Vec<RawMessage> {
        let plain = self.receive_packet().await.unwrap();
        assert_eq!(plain[8..16], self.session.to_le_bytes());
        let (message, _padding) = RawMessage::take(&plain[16..]);
        if message.head() != CONTAINER {
            return vec![message];
        }
        let mut rest = &message.body[8..];
        let mut messages = Vec::new();
        for _ in 0..word(&message.body[4..]) {
            let (inner, next) = RawMessage::take(rest);
            assert!(inner.id < message.id && inner.sequence <= message.sequence);
            messages.push(inner);
            rest = next;
        }
        assert!(rest.is_empty());
        messages
    }

    /// Waits until so many messages have come.
    pub(crate) async fn messages_of(&mut self, count: usize) -> Vec<RawMessage> {
        let mut all = Vec::new();
        while all.len() < count {
            let more = tokio::time::timeout(PATIENCE, self.messages());
            all.extend(more.await.unwrap_or_else(|_| panic!("no more than {all:?}")));
        }
        assert_eq!(all.len(), count, "{all:?}");
        all
    }

    /// The only message that comes.
    pub(crate) async fn message(&mut self) -> RawMessage {
        self.messages_of(1).await.remove(0)
    }

    /// Says hello, so that calls are carried out from now on and nothing is left to be read or acknowledged.
    pub(crate) async fn introduce(&mut self) {
        self.learn_salt().await;
        self.send(&init_connection(functions::updates::GetState {})).await.unwrap();
        let told = self.messages_of(2).await;
        assert_eq!((told[0].head(), told[1].head()), (NEW_SESSION, RPC_RESULT));
        self.acknowledge(&told).await;
    }

    pub(crate) async fn acknowledge(&mut self, messages: &[RawMessage]) {
        let msg_ids = messages.iter().map(|it| it.id).collect();
        self.notify(&enums::MsgsAck::Ack(types::MsgsAck { msg_ids })).await;
    }

    /// Learns the salt, so that requests are carried out from now on.
    pub(crate) async fn learn_salt(&mut self) {
        self.ping().await;
        assert_eq!(self.receive().await, Ok(BAD_SERVER_SALT));
    }

    /// Whether a ping is answered.
    pub(crate) async fn is_served(&mut self) -> bool {
        self.ping().await;
        let heard = tokio::time::timeout(PATIENCE, self.receive()).await;
        heard.is_ok_and(|heard| heard.is_ok())
    }

    /// The constructors of the messages of the next packet, one or a container of them.
    pub(crate) async fn receive_all(&mut self) -> Vec<u32> {
        self.messages().await.iter().map(RawMessage::head).collect()
    }

    /// The constructor of the next message, or what came instead of one.
    pub(crate) async fn receive(&mut self) -> Result<u32, Error> {
        let plain = self.receive_packet().await?;
        let head = u32::from_le_bytes(plain[32..36].try_into().unwrap());
        if head == 0xedab_447b {
            self.salt = plain[52..60].try_into().unwrap();
        }
        Ok(head)
    }

    /// The next packet, decrypted: its message begins behind 32 bytes.
    async fn receive_packet(&mut self) -> Result<Vec<u8>, Error> {
        Ok(self.receive_sealed().await?.expect("the packet is of the key"))
    }

    /// The next packet, decrypted if that can be done.
    pub(crate) async fn receive_sealed(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            match self.incoming.unpack(&mut self.received) {
                Err(Error::MissingBytes) => {
                    let count = self.stream.read_buf(&mut self.received).await.unwrap();
                    assert_ne!(count, 0, "the server has hung up");
                }
                Err(error) => return Err(error),
                Ok(found) => {
                    let mut packet = self.received[found.data_range].to_vec();
                    self.received.drain(..found.next_offset);
                    return Ok(decrypt_data_v2(&mut packet, &self.key).ok().map(|it| it.to_vec()));
                }
            }
        }
    }

    /// So many bytes as they come, of which none were read before.
    pub(crate) async fn receive_bytes(&mut self, count: usize) -> Vec<u8> {
        assert!(self.received.is_empty());
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// Sends bytes until nobody takes any more of them for a while, and counts them.
    pub(crate) async fn send_until_it_stops(&mut self) -> usize {
        let mut sent = 0;
        let bytes = [0; 1 << 16];
        let while_they_are_taken = Duration::from_millis(300);
        while let Ok(count) =
            tokio::time::timeout(while_they_are_taken, self.stream.write(&bytes)).await
        {
            sent += count.unwrap();
        }
        sent
    }

    /// Ends at once, whatever it had still to send.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Sends no more, and goes on reading.
    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Waits until the server has hung up, and counts what it said before.
    pub(crate) async fn until_closed(&mut self) -> usize {
        let mut said = Vec::new();
        let end = self.stream.read_to_end(&mut said);
        drop(tokio::time::timeout(PATIENCE, end).await.expect("the server hangs up"));
        said.len()
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }
}

/// A request wrapped in `initConnection`.
pub(crate) fn init_connection<X>(
    query: X,
) -> functions::InvokeWithLayer<functions::InitConnection<X>> {
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
        query,
    };
    functions::InvokeWithLayer { layer: 1, query }
}

fn key_id(record: &SessionRecord) -> [u8; 8] {
    let mut buffer = DequeBuffer::with_capacity(64, 64);
    encrypt_data_v2(&mut buffer, &AuthKey::from_bytes(*record.key.expose()));
    buffer[..8].try_into().unwrap()
}

const BAD_SERVER_SALT: u32 = 0xedab_447b;
const CONTAINER: u32 = 0x73f1_f8dc;
pub(crate) const NEW_SESSION: u32 = 0x9ec2_0908;
pub(crate) const RPC_RESULT: u32 = 0xf35c_6d01;

#[tokio::test]
async fn clients_of_every_plain_transport_are_served() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let transports: [fn() -> Box<dyn Transport + Send>; 3] =
        [|| Box::new(Full::new()), || Box::new(Abridged::new()), || Box::new(Intermediate::new())];
    for (index, transport) in (1..).zip(transports) {
        let account = AccountId::bot(index).unwrap();
        let records = data_centre.create_sessions(account, 32, None);
        // The library's abridged transport takes a key whose name looks negative for an error.
        let record = records.iter().find(|record| key_id(record)[3] < 0x80).unwrap();
        let mut client = RawClient::connect_by(record, transport(), transport()).await;
        client.ping().await;
        assert_eq!(client.receive().await, Ok(BAD_SERVER_SALT));
        client.ping().await;
        assert_eq!(client.receive().await, Ok(CONTAINER), "the new session, and the pong");
    }
}

/// A transport both of whose directions are of one mind.
#[derive(Clone)]
struct Shared(Arc<Mutex<dyn Transport + Send>>);

impl Transport for Shared {
    fn pack(&mut self, buffer: &mut DequeBuffer<u8>) {
        self.0.lock().unwrap().pack(buffer);
    }

    fn unpack(&mut self, buffer: &mut [u8]) -> Result<UnpackedOffset, Error> {
        self.0.lock().unwrap().unpack(buffer)
    }
}

#[tokio::test]
async fn clients_of_obfuscated_transports_are_served_and_their_duplicates_seen() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let transports: [fn() -> Shared; 2] = [
        || Shared(Arc::new(Mutex::new(Obfuscated::new(Abridged::new())))),
        || Shared(Arc::new(Mutex::new(Obfuscated::new(Intermediate::new())))),
    ];
    for (index, transport) in (1..).zip(transports) {
        let account = AccountId::bot(index).unwrap();
        let records = data_centre.create_sessions(account, 32, None);
        // The library's abridged transport takes a key whose name looks negative for an error.
        let record = records.iter().find(|record| key_id(record)[3] < 0x80).unwrap();
        let connect = || {
            let transport = transport();
            RawClient::connect_by(record, Box::new(transport.clone()), Box::new(transport))
        };
        let mut client = connect().await;
        client.learn_salt().await;
        client.ping().await;
        assert_eq!(client.receive().await, Ok(CONTAINER), "the new session, and the pong");
        assert_eq!(data_centre.stats().key_violations, index - 1);
        let mut second = connect().await;
        second.learn_salt().await;
        assert_eq!(data_centre.stats().key_violations, index, "the first one lives");
    }
    assert_eq!(data_centre.stats().transports_unknown, 0);
}

#[tokio::test]
async fn an_unknown_key_and_what_begins_no_exchange_get_404() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let mut records = data_centre.create_sessions(OWN, 1, None);
    records[0].key = telepool::session::AuthKey::new([3; 256]);
    let mut client = RawClient::connect(record(&records)).await;
    client.ping().await;
    assert_eq!(client.receive().await, Err(Error::BadStatus { status: 404 }));
    let mut client = RawClient::connect(record(&records)).await;
    let mut plain = DequeBuffer::with_capacity(64, 64);
    // No key, an id, and a body of 20 bytes that is no request for one.
    plain.extend([0; 16]);
    plain.extend(20_u32.to_le_bytes());
    plain.extend([0; 20]);
    Full::new().pack(&mut plain);
    client.send_bytes(&plain[..]).await;
    assert_eq!(client.receive().await, Err(Error::BadStatus { status: 404 }));
    let stats = data_centre.stats();
    assert_eq!((stats.keys_unknown, stats.keys_made), (2, 0));
}

#[tokio::test]
async fn an_unknown_protocol_is_closed_and_harms_nobody() {
    let bench = bench([]).await;
    let (heard, _updates) = tokio::sync::mpsc::unbounded_channel();
    let connection = StockClient::connect(&bench, (OWN, 0), heard).await;
    let records = bench.data_centre.create_sessions(AccountId::bot(9).unwrap(), 1, None);
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..200_u64 {
        let mut client = RawClient::connect(record(&records)).await;
        let bytes: Vec<u8> = (0..random.usize(16..600)).map(|_| random.u8(..)).collect();
        // A length that would be waited for is no nonsense yet, nor is less than a header.
        let bytes = match round % 3 {
            0 => [&[1, 0, 0, 0, 0, 0, 0, 0], &bytes[..]].concat(),
            1 => [&[0x42; 64], &bytes[..]].concat(),
            _ => [b"GET ", &bytes[..]].concat(),
        };
        client.send_bytes(&bytes).await;
        assert_eq!(client.until_closed().await, 0);
        let stats = bench.data_centre.stats();
        assert_eq!((stats.transports_unknown, stats.keys_unknown), (round + 1, 0));
    }
    connection.client.invoke(&myself()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_sends_enough_is_closed_in_time() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let records = data_centre.create_sessions(OWN, 1, None);
    let mut client = RawClient::connect(record(&records)).await;
    // A number that no full frame has, and less than a header of obfuscation.
    client.send_bytes(b"SSH-2.0-here\r\n").await;
    assert_eq!(client.until_closed().await, 0);
    assert_eq!(data_centre.stats().transports_unknown, 1);
    // Who says nothing at all, or has gone again, speaks no unknown protocol.
    drop(RawClient::connect(record(&records)).await);
    let mut silent = RawClient::connect(record(&records)).await;
    tokio::time::sleep(PATIENCE).await;
    assert!(silent.is_served().await);
    assert_eq!(data_centre.stats().transports_unknown, 1);
}
