//! An accepted socket, as the detection of duplicate keys sees it.
//!
//! Owns the first bytes of a connection, which name its key, wherever they are: they are read and
//! peeked at under one lock, so that each of them is seen in the socket or here, and never in both.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::transport::{FIRST_BYTES_LEN, first_key};
use crate::base::sync::Mutex;

/// How often a socket with unread bytes is polled, a millisecond apart.
pub(super) const POLLS_MAX: usize = 5_000;
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// How often it is looked whether a connection that is not read has ended.
const END_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A socket with its place in the order of acceptance, and the first bytes that were read from it.
#[derive(Debug)]
pub(super) struct AcceptedSocket {
    /// Its place in the order in which connections were accepted.
    pub(super) id: u64,
    pub(super) stream: TcpStream,
    /// The first bytes that its task has read, as they came: enough of them to name a key.
    first_bytes: Mutex<Vec<u8>>,
}

impl AcceptedSocket {
    pub(super) fn new(id: u64, stream: TcpStream) -> Self {
        Self { id, stream, first_bytes: Mutex::default() }
    }

    /// Reads to the end of an inbox, as the task does until the connection is authenticated.
    pub(super) fn read(&self, inbox: &mut Vec<u8>) -> io::Result<usize> {
        let mut first_bytes = self.first_bytes.lock();
        let before = inbox.len();
        let count = self.stream.try_read_buf(inbox)?;
        let missing = FIRST_BYTES_LEN - first_bytes.len();
        first_bytes.extend(inbox[before..].iter().take(missing));
        Ok(count)
    }

    /// The first bytes that the task has read.
    pub(super) fn first_bytes(&self) -> Vec<u8> {
        self.first_bytes.lock().clone()
    }

    /// Whether the client has sent a first packet that names this key and is not handled yet.
    pub(super) fn has_unhandled_packet_of(&self, key: &[u8; 8]) -> bool {
        let first_bytes = self.first_bytes.lock();
        let mut bytes = first_bytes.clone();
        if bytes.len() < FIRST_BYTES_LEN && matches!(peek_len(&self.stream), Ok(1..)) {
            bytes.resize(FIRST_BYTES_LEN, 0);
            // Without a free descriptor it cannot be peeked at: it is polled again.
            let rest = &mut bytes[first_bytes.len()..];
            let Ok(count) = peek(&self.stream, rest) else { return true };
            bytes.truncate(first_bytes.len() + count);
        }
        drop(first_bytes);
        first_key(&bytes).is_some_and(|seen| seen == *key)
    }

    /// Waits until the client has ended a connection that its task does not read, and takes in what it has
    /// sent: whoever looks at the socket finds the end behind that.
    pub(super) async fn unread_end(&self) {
        // A socket with unread bytes is always ready, so that its end has to be looked for.
        while self.stream.ready(Interest::READABLE).await.is_ok_and(|ready| !ready.is_read_closed())
        {
            tokio::time::sleep(END_POLL_INTERVAL).await;
        }
        let mut ignored = [0; 4096];
        while self.stream.try_read(&mut ignored).is_ok_and(|count| count > 0) {}
    }

    /// Whether the client's end of the socket is open. Unread bytes are waited for to be read: the
    /// end may come after them.
    pub(super) async fn is_open(&self) -> bool {
        for _ in 0..POLLS_MAX {
            match peek_len(&self.stream) {
                Ok(0) => return false,
                Ok(_) => tokio::time::sleep(POLL_INTERVAL).await,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// Whether something could be read from a socket right now, without reading it: zero is the end.
/// The runtime's readiness would go by the last event of the socket, which may be old. It needs no
/// descriptor, so that a verdict never hangs on whether one is left.
fn peek_len(stream: &TcpStream) -> io::Result<usize> {
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit()])
}

/// What could be read from a socket right now, without reading it.
fn peek(stream: &TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
    std::net::TcpStream::from(SockRef::from(stream).try_clone()?).peek(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::sandbox::transport::tests::Client;

    /// Waits until so many bytes can be read.
    async fn arrived(socket: &AcceptedSocket, len: usize) {
        let mut seen = vec![0; len];
        while peek(&socket.stream, &mut seen).map_or(0, |count| count) < len {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_key_is_seen_however_much_of_the_first_bytes_the_task_has_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for mut client in Client::all() {
            let bytes = [client.announced.clone(), client.send(&[3; 40])].concat();
            for read in [0, 1, 4, 5, 12, 63, 64, 65, 75, 76, 77] {
                let read = read.min(bytes.len());
                let address = listener.local_addr().unwrap();
                let mut stream = TcpStream::connect(address).await.unwrap();
                let socket = AcceptedSocket::new(1, listener.accept().await.unwrap().0);
                assert!(!socket.has_unhandled_packet_of(&[3; 8]), "it has sent nothing");
                stream.write_all(&bytes).await.unwrap();
                arrived(&socket, bytes.len()).await;
                if read > 0 {
                    socket.stream.readable().await.unwrap();
                    let mut inbox = Vec::with_capacity(read);
                    assert_eq!(socket.read(&mut inbox).unwrap(), read);
                }
                assert!(
                    socket.has_unhandled_packet_of(&[3; 8]),
                    "{:?} after {read}",
                    client.framing
                );
                assert!(!socket.has_unhandled_packet_of(&[4; 8]));
            }
        }
    }
}
