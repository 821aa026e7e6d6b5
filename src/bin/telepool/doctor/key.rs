//! A fresh authorization key, made with a server.
//!
//! Owns what is told if there is none. Never keeps a key past the process, and logs nothing in.

use std::net::SocketAddr;
use std::time::Duration;

use telepool::session::AuthKey;
use telepool::telegram::wire::{KeyMemory, NewKeyError, ServerPublicKey, WireEnd, make_key};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A key that nobody is logged in with.
#[derive(Clone)]
pub(super) struct DoctorKey {
    pub(super) key: AuthKey,
    /// Its first salt and the server's clock, if it was made just now.
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

impl From<NewKeyError> for KeyProblem {
    fn from(error: NewKeyError) -> Self {
        match error {
            NewKeyError::TimedOut { after } => {
                Self::Unreachable(format!("the server was silent for {after:?}"))
            }
            NewKeyError::Lost(WireEnd::HungUp) => {
                Self::Unreachable("the server has hung up".to_owned())
            }
            NewKeyError::Lost(WireEnd::Io(error)) => Self::Unreachable(error.to_string()),
            error => Self::Refused(error.to_string()),
        }
    }
}

/// Makes a key with the server at an address, which may take so long.
pub(super) async fn agree(address: SocketAddr, limit: Duration) -> Result<DoctorKey, KeyProblem> {
    let agreed = async {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| KeyProblem::Unreachable(error.to_string()))?;
        // Which of them a server has is for it to say: it may be a test server or not.
        let servers = [true, false].map(ServerPublicKey::of_telegram).to_vec();
        let made = make_key(stream, servers, limit).await?;
        Ok(DoctorKey { key: made.key, memory: made.memory })
    };
    let silent = KeyProblem::Unreachable(format!("the server was silent for {limit:?}"));
    timeout(limit, agreed).await.unwrap_or(Err(silent))
}

#[cfg(test)]
mod tests {
    use telepool::telegram::client::tl::{
        Identifiable as _, Serializable, enums, functions, types,
    };
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
        assert!(
            unknown.contains("none of the keys that are known for it, but 0000000000000001"),
            "{unknown}"
        );
        let failed = refusal(TEST_KEY).await;
        // It cannot have read what was encrypted for the real one.
        assert!(failed.contains("an answer is of another exchange"), "{failed}");
    }

    #[tokio::test]
    async fn what_is_no_answer_is_told_for_what_it_is() {
        let encrypted = [&72_u32.to_le_bytes()[..], &[7; 72]].concat();
        for (sent, words) in [
            (&[4, 0, 0, 0, 0x6c, 0xfe, 0xff, 0xff][..], "transport code 404"),
            (b"HTTP/1.1 400 Bad Request", "no frame has such a length"),
            (&encrypted, "a message that is not plain"),
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

    #[tokio::test]
    async fn a_server_that_is_silent_or_hangs_up_is_not_reached() {
        for hangs_up in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                heard(&mut stream, 4).await;
                if !hangs_up {
                    stream.read_u8().await.unwrap_err();
                }
            };
            let limit = if hangs_up { 60_000 } else { 50 };
            let agreed = agree(address, Duration::from_millis(limit));
            let (Err(KeyProblem::Unreachable(why)), ()) = tokio::join!(agreed, serve) else {
                panic!("there is a key")
            };
            let words = if hangs_up { "the server has hung up" } else { "silent for 50ms" };
            assert!(why.contains(words), "{why}");
        }
    }
}
