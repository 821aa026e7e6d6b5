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
        use authentication::Error;
        // Their own words repeat numbers that only the two sides should know.
        Self::Refused(match error {
            Error::InvalidNonce { .. }
            | Error::InvalidServerNonce { .. }
            | Error::InvalidAnswerHash { .. }
            | Error::InvalidNewNonceHash { .. } => {
                "a number of the agreement came back changed: does anything stand in between?"
                    .to_owned()
            }
            Error::GParameterOutOfRange { .. } => {
                "a number of the agreement is out of range".to_owned()
            }
            error => error.to_string(),
        })
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

#[cfg(test)]
mod tests {
    use telepool::telegram::client::tl::{
        Identifiable as _, Serializable, enums, functions, types,
    };
    use tokio::net::TcpListener;

    use super::*;

    /// Telegram's key for its test servers, as every client has it built in.
    const TEST_KEY: i64 = -5_595_554_452_916_591_101;

    /// A message of the server's in the clear, in its frame.
    fn frame(body: &[u8]) -> Vec<u8> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let message = [&[0; 8][..], &5_i64.to_le_bytes(), &len(body), body].concat();
        [&len(&message)[..], &message].concat()
    }

    /// Reads the body of a message of the client's, behind so many bytes.
    async fn heard(stream: &mut TcpStream, start: usize) -> Vec<u8> {
        let mut begun = vec![0; start];
        stream.read_exact(&mut begun).await.unwrap();
        assert!(begun.iter().all(|byte| *byte == 0xee));
        let len = stream.read_u32_le().await.unwrap() as usize;
        let mut packet = vec![0; len];
        stream.read_exact(&mut packet).await.unwrap();
        assert_eq!(packet[..8], [0; 8], "no key");
        assert_eq!(packet[16..20], u32::try_from(len - 20).unwrap().to_le_bytes());
        packet.split_off(20)
    }

    /// What comes of it if the server has a key with this fingerprint, and gives up then.
    async fn refusal(fingerprint: i64) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let asked = heard(&mut stream, 4).await;
            assert_eq!(asked[..4], functions::ReqPqMulti::CONSTRUCTOR_ID.to_le_bytes());
            let nonce: [u8; 16] = *asked[4..].first_chunk().unwrap();
            let server_nonce = [7; 16];
            let res = types::ResPq {
                nonce,
                server_nonce,
                // 1,229,739,323 times 1,402,015,859, as in the example of the protocol's description.
                pq: vec![0x17, 0xed, 0x48, 0x94, 0x1a, 0x08, 0xf9, 0x81],
                server_public_key_fingerprints: vec![fingerprint],
            };
            stream.write_all(&frame(&enums::ResPq::Pq(res).to_bytes())).await.unwrap();
            if fingerprint == TEST_KEY {
                let asked = heard(&mut stream, 0).await;
                assert_eq!(asked[..4], functions::ReqDhParams::CONSTRUCTOR_ID.to_le_bytes());
                assert_eq!(asked[4..20], nonce);
                let fail =
                    types::ServerDhParamsFail { nonce, server_nonce, new_nonce_hash: [0; 16] };
                let fail = enums::ServerDhParams::Fail(fail).to_bytes();
                stream.write_all(&frame(&fail)).await.unwrap();
            }
            // Until the client hangs up.
            stream.read_u8().await.unwrap_err();
        };
        match tokio::join!(agree(address, Duration::from_secs(60)), serve).0 {
            Err(KeyProblem::Refused(why)) => why,
            Err(KeyProblem::Unreachable(why)) => panic!("unreachable: {why}"),
            Ok(_) => panic!("nobody agrees to that"),
        }
    }

    #[tokio::test]
    async fn the_server_hears_the_requests_one_after_the_other_and_what_it_says_is_read() {
        let unknown = refusal(1).await;
        assert!(unknown.contains("fingerprints are unknown: [1]"), "{unknown}");
        let failed = refusal(TEST_KEY).await;
        // It cannot have read what was encrypted for the real one.
        assert!(failed.contains("came back changed"), "{failed}");
    }

    #[tokio::test]
    async fn what_is_no_packet_is_told_for_what_it_is() {
        for (sent, words) in [
            (&[4, 0, 0, 0, 0x6c, 0xfe, 0xff, 0xff][..], "transport code -404"),
            (b"HTTP/1.1 400 Bad Request", "a frame of 1347703880 bytes"),
            (&[8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8], "it sent no answer"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(sent).await.unwrap();
                stream.read_to_end(&mut Vec::new()).await.ok();
            };
            let (agreed, ()) = tokio::join!(agree(address, Duration::from_secs(60)), serve);
            let Err(KeyProblem::Refused(why)) = agreed else { panic!("{words}") };
            assert!(why.contains(words), "{words}: {why}");
        }
    }

    #[test]
    fn the_first_salt_is_used_from_the_beginning() {
        let agreed = Finished { auth_key: [7; 256], time_offset: -3, first_salt: 99 };
        let known = known(&agreed);
        assert_eq!((known.memory.clock_offset, known.memory.salts.len()), (-3, 1));
        let salt = known.memory.salts[0];
        assert_eq!(salt.value, 99);
        let lasts = i64::from(salt.valid_until) - i64::from(salt.valid_since);
        assert_eq!(lasts, FIRST_SALT_LASTS + 120);
    }
}
