//! Making of a new key over a stream that leads to a data centre, before any connection is opened with it.
//!
//! Owns the plain messages around the exchange, its deadline, and that its mathematics keeps no other task waiting.
//! Never dials, and never keeps the key.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

use super::error::WireEnd;
use super::frame::START;
use super::inbox::Inbox;
use super::salts::KeyMemory;
use super::session::WireSession;
use super::tl::short;
use crate::base::clock::unix_time;
use crate::mtproto::key_exchange::{ExchangeStep, KeyExchange, KeyExchangeError, ServerPublicKey};
use crate::session::AuthKey;

/// The longest answer of an exchange: the real ones have some 700 bytes.
const ANSWER_LEN_MAX: usize = 16 * 1024;
/// No key's id, the message's, and its length.
const PLAIN_HEADER_LEN: usize = 8 + 8 + 4;

/// A key that nobody is logged in with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewKey {
    /// The key.
    pub key: AuthKey,
    /// What its first connection has use for.
    pub memory: KeyMemory,
}

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewKeyError {
    /// The server does not answer as it should.
    #[error(transparent)]
    Exchange(#[from] KeyExchangeError),
    /// The connection has ended.
    #[error("{0}")]
    Lost(WireEnd),
    /// There is no key yet.
    #[error("the server has not made a key within {after:?}")]
    TimedOut {
        /// For how long it was waited for.
        after: Duration,
    },
}

impl From<io::Error> for NewKeyError {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.into())
    }
}

/// Makes a new key with the server at the other end of a stream, which must have one of these keys. It takes three
/// round trips; the stream is of no more use after it.
///
/// # Errors
/// Why there is none. A server whose last answer did not come may have a key that nobody uses.
pub async fn make_key<S>(
    mut stream: S,
    servers: Vec<ServerPublicKey>,
    limit: Duration,
) -> Result<NewKey, NewKeyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let made = timeout(limit, exchange(&mut stream, servers)).await;
    made.unwrap_or(Err(NewKeyError::TimedOut { after: limit }))
}

async fn exchange<S>(stream: &mut S, servers: Vec<ServerPublicKey>) -> Result<NewKey, NewKeyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let random: fn(&mut [u8]) -> io::Result<()> =
        |bytes| getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()));
    let (mut machine, mut request) = KeyExchange::begin(servers, random)?;
    let mut inbox = Inbox::default();
    // The first packet has it in front: one that is written apart may come alone.
    let mut start = &START[..];
    // No session is named yet; its messages are numbered as those of one.
    let mut numbers = WireSession::new(0);
    loop {
        let message = plain(numbers.next_id(unix_time()), &request);
        let packet = [std::mem::take(&mut start), &message].concat();
        stream.write_all(&packet).await?;
        stream.flush().await?;
        let answer = next_answer(stream, &mut inbox).await?;
        let step;
        (machine, step) = spawn_blocking(move || {
            let step = machine.handle(&answer);
            (machine, step)
        })
        .await
        .map_err(stopped)?;
        match step? {
            ExchangeStep::Send(next) => request = next,
            ExchangeStep::Done(made, server_time) => {
                let unix_time = i64::try_from(unix_time().as_secs()).unwrap_or(i64::MAX);
                let memory = KeyMemory::of_a_new_key(made.salt, server_time, unix_time);
                return Ok(NewKey { key: made.key, memory });
            }
        }
    }
}

/// The runtime ends, or the mathematics is at fault.
fn stopped(error: JoinError) -> NewKeyError {
    match error.is_panic() {
        true => KeyExchangeError::Protocol("it sent what nobody can reckon with").into(),
        false => NewKeyError::Lost(WireEnd::Aborted),
    }
}

/// A message that is not encrypted, in its frame.
fn plain(id: i64, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(4 + PLAIN_HEADER_LEN + body.len());
    frame.extend(short(PLAIN_HEADER_LEN + body.len()).to_le_bytes());
    frame.extend([0; 8]);
    frame.extend(id.to_le_bytes());
    frame.extend(short(body.len()).to_le_bytes());
    frame.extend(body);
    frame
}

/// The body of the next message, which must not be encrypted either.
async fn next_answer<S: AsyncRead + Unpin>(
    stream: &mut S,
    inbox: &mut Inbox,
) -> Result<Vec<u8>, NewKeyError> {
    loop {
        if let Some(packet) = inbox.next_packet(ANSWER_LEN_MAX).map_err(NewKeyError::Lost)? {
            let no_answer = KeyExchangeError::Protocol("a message that is not plain");
            let (header, body) = packet.split_at(PLAIN_HEADER_LEN);
            let is_plain = header[..8] == [0; 8] && header[16..] == short(body.len()).to_le_bytes();
            return if is_plain { Ok(body.to_vec()) } else { Err(no_answer.into()) };
        }
        if std::future::poll_fn(|context| inbox.poll_fill(stream, context)).await? == 0 {
            return Err(NewKeyError::Lost(WireEnd::HungUp));
        }
    }
}

#[cfg(feature = "sandbox")]
#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;
    use crate::mtproto::key_exchange::{
        KeyVerdict, ServerExchange, ServerExchangeStep, ServerPrivateKey,
    };

    /// Reads a message of the client's that is not encrypted: its id and its body.
    async fn heard(stream: &mut DuplexStream) -> (i64, Vec<u8>) {
        let len = stream.read_u32_le().await.unwrap() as usize;
        let mut packet = vec![0; len];
        stream.read_exact(&mut packet).await.unwrap();
        assert_eq!(packet[..8], [0; 8]);
        let body = packet.split_off(PLAIN_HEADER_LEN);
        assert_eq!(packet[16..], short(body.len()).to_le_bytes());
        (i64::from_le_bytes(*packet[8..].first_chunk().unwrap()), body)
    }

    #[tokio::test]
    async fn a_key_is_made_that_the_server_has_as_well_with_its_salt_and_its_clock() {
        let (near, mut far) = duplex(4096);
        let server_key = ServerPrivateKey::of_sandboxes();
        let servers = vec![ServerPublicKey::of_telegram(false), server_key.public().clone()];
        let ahead = i32::try_from(unix_time().as_secs()).unwrap() + 5_000;
        let serve = async {
            let random = |bytes: &mut [u8]| {
                fastrand::fill(bytes);
                Ok(())
            };
            let mut server = ServerExchange::new(server_key, random);
            let (mut start, mut last_id) = ([0; 4], 0);
            far.read_exact(&mut start).await.unwrap();
            assert_eq!(start, START);
            loop {
                let (id, request) = heard(&mut far).await;
                assert!(id > last_id && id % 4 == 0, "{id}");
                last_id = id;
                let step = server.handle(&request, ahead, |_| KeyVerdict::Taken).unwrap();
                let (answer, key) = match step {
                    ServerExchangeStep::Answer(answer) => (answer, None),
                    ServerExchangeStep::Done(answer, key) => (answer, Some(key)),
                };
                // A few bytes at a time.
                for part in plain(1, &answer).chunks(50) {
                    far.write_all(part).await.unwrap();
                }
                if let Some(key) = key {
                    return key;
                }
            }
        };
        let (made, had) = tokio::join!(make_key(near, servers, Duration::from_secs(60)), serve);
        let made = made.unwrap();
        assert!(made.key == had.key);
        let [salt] = made.memory.salts[..] else { panic!("{:?}", made.memory) };
        assert_eq!(salt.value, had.salt);
        assert!(salt.valid_since < ahead && ahead < salt.valid_until);
        assert!((4_900..=5_000).contains(&made.memory.clock_offset), "{:?}", made.memory);
    }
}
