//! Agreement of a fresh authorization key with a server.
//!
//! Owns the few messages in the clear that it takes. The mathematics and the public keys of Telegram's servers are
//! grammers'. Never keeps a key past the process, and logs nothing in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use grammers_crypto::DequeBuffer;
use grammers_mtproto::authentication::{self, Finished};
use grammers_mtproto::mtp::{Deserialization, Mtp as _, Plain};
use telepool::session::AuthKey;
use telepool::telegram::client::tl::{Deserializable as _, RemoteCall};
use telepool::telegram::wire::{KeyMemory, ServerSalt};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::clock::wall_time;

/// What the intermediate transport begins with.
const START: [u8; 4] = [0xee; 4];
/// The longest answer of an agreement: the real ones have some 700 bytes.
const FRAME_LEN_MAX: usize = 16 * 1024;
/// How much room is kept before a message for what goes in front of it.
const FRONT_LEN: usize = 64;
/// How long a server's first salt is taken to be valid: half of what Telegram gives each.
const FIRST_SALT_LASTS: i64 = 1_800;

/// A key that nobody is logged in with.
#[derive(Clone)]
pub(super) struct DoctorKey {
    pub(super) key: AuthKey,
    /// Its first salt and the server's clock, if it was agreed on just now.
    pub(super) memory: KeyMemory,
}

/// Why there is no key.
#[derive(Debug)]
pub(super) enum KeyProblem {
    /// Nobody is there, or nobody that speaks.
    Unreachable(String),
    /// The server has said something else than it should.
    Refused(String),
}

impl From<io::Error> for KeyProblem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Unreachable("the server has hung up".to_owned()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<authentication::Error> for KeyProblem {
    fn from(error: authentication::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Agrees on a key with the server at an address, which may take so long.
pub(super) async fn agree(address: SocketAddr, limit: Duration) -> Result<DoctorKey, KeyProblem> {
    // In a task of its own: the mathematics panics over some numbers that no sound server sends.
    let agreement = Handle::current().spawn(agreement(address));
    let stop = agreement.abort_handle();
    match timeout(limit, agreement).await {
        Ok(Ok(agreed)) => Ok(known(&agreed?)),
        Ok(Err(_)) => Err(KeyProblem::Refused("it sent what nobody can reckon with".to_owned())),
        Err(_) => {
            stop.abort();
            Err(KeyProblem::Unreachable(format!("the server was silent for {limit:?}")))
        }
    }
}

async fn agreement(address: SocketAddr) -> Result<Finished, KeyProblem> {
    let mut stream = PlainStream::connect(address).await?;
    let (request, data) = authentication::step1()?;
    let answer = stream.ask(&request).await?;
    let (request, data) = authentication::step2(data, answer)?;
    let answer = stream.ask(&request).await?;
    let (request, data) = authentication::step3(data, answer)?;
    let answer = stream.ask(&request).await?;
    Ok(authentication::create_key(data, answer)?)
}

/// The key, with what the first connection has use for.
fn known(agreed: &Finished) -> DoctorKey {
    let offset = i64::from(agreed.time_offset);
    let now = wall_time().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX).saturating_add(offset);
    let second = |at: i64| i32::try_from(at).unwrap_or(i32::MAX);
    let salt = ServerSalt {
        value: agreed.first_salt,
        valid_since: second(now - 2 * 60),
        valid_until: second(now.saturating_add(FIRST_SALT_LASTS)),
    };
    let memory = KeyMemory { salts: Arc::new([salt]), clock_offset: offset };
    DoctorKey { key: AuthKey::new(agreed.auth_key), memory }
}

/// A connection without a key.
struct PlainStream {
    stream: TcpStream,
    has_begun: bool,
}

impl PlainStream {
    async fn connect(address: SocketAddr) -> Result<Self, KeyProblem> {
        let stream = TcpStream::connect(address).await?;
        Ok(Self { stream, has_begun: false })
    }

    async fn ask<R: RemoteCall>(&mut self, request: &R) -> Result<R::Return, KeyProblem> {
        let mut plain = Plain::new();
        let mut message = DequeBuffer::with_capacity(1_024, FRONT_LEN);
        plain.push(&mut message, &request.to_bytes());
        plain.finalize(&mut message);
        let len = u32::try_from(message.len()).expect("BUG: such requests are short");
        let start: &[u8] = if self.has_begun { &[] } else { &START };
        let frame = [start, &len.to_le_bytes(), &message[..]].concat();
        self.has_begun = true;
        self.stream.write_all(&frame).await?;
        let mut packet = self.packet().await?;
        let unreadable = |what: String| KeyProblem::Refused(format!("it sent no answer: {what}"));
        let heard =
            plain.deserialize(&mut packet).map_err(|error| unreadable(error.to_string()))?;
        let Some(Deserialization::RpcResult(result)) = heard.into_iter().next() else {
            return Err(unreadable("an empty message".to_owned()));
        };
        R::Return::from_bytes(&result.body).map_err(|error| unreadable(error.to_string()))
    }

    /// Reads one frame.
    async fn packet(&mut self) -> Result<Vec<u8>, KeyProblem> {
        let len = self.stream.read_u32_le().await? as usize;
        if !(4..=FRAME_LEN_MAX).contains(&len) {
            return Err(KeyProblem::Refused(format!("it sent a frame of {len} bytes")));
        }
        let mut packet = vec![0; len];
        self.stream.read_exact(&mut packet).await?;
        match packet.first_chunk() {
            Some(code) if len == 4 => {
                let code = i32::from_le_bytes(*code);
                Err(KeyProblem::Refused(format!("it sent the transport code {code}")))
            }
            _ => Ok(packet),
        }
    }
}
