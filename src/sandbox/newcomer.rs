//! A connection as others see it: its place in the order of coming, and its socket.
//!
//! Owns the first bytes of a connection, which tell its key, wherever they are: they are read and
//! looked at under one lock, so that each of them is seen in the socket or here, and never in both.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::transport::{GLANCE_LEN, first_key};
use crate::base::sync::Mutex;

/// How often a socket with something unread is looked at, a millisecond apart.
pub(super) const LOOKS_MAX: usize = 5_000;
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A connection, as the judge sees it.
#[derive(Debug)]
pub(super) struct Newcomer {
    /// Its place in the order in which connections came.
    pub(super) id: u64,
    pub(super) stream: TcpStream,
    /// The first bytes that its task has taken from the socket, as they came: enough of them for a
    /// key.
    begun: Mutex<Vec<u8>>,
}

impl Newcomer {
    pub(super) fn new(id: u64, stream: TcpStream) -> Self {
        Self { id, stream, begun: Mutex::default() }
    }

    /// Reads on to the end of an inbox, as the task does until it knows the key.
    pub(super) fn read(&self, inbox: &mut Vec<u8>) -> io::Result<usize> {
        let mut begun = self.begun.lock();
        let before = inbox.len();
        let count = self.stream.try_read_buf(inbox)?;
        let missing = GLANCE_LEN - begun.len();
        begun.extend(inbox[before..].iter().take(missing));
        Ok(count)
    }

    /// The first bytes that the task has read.
    pub(super) fn begun(&self) -> Vec<u8> {
        self.begun.lock().clone()
    }

    /// Whether it has said something with this key that nobody has heard yet.
    pub(super) fn is_to_be_heard(&self, key: &[u8; 8]) -> bool {
        let begun = self.begun.lock();
        let mut bytes = begun.clone();
        if bytes.len() < GLANCE_LEN && matches!(unread(&self.stream), Ok(1..)) {
            bytes.resize(GLANCE_LEN, 0);
            // Nobody can tell whose it is without a descriptor to look through: it is looked at
            // again.
            let Ok(count) = glance(&self.stream, &mut bytes[begun.len()..]) else { return true };
            bytes.truncate(begun.len() + count);
        }
        drop(begun);
        first_key(&bytes).is_some_and(|seen| seen == *key)
    }

    /// Whether the client's end of the socket is open. What it still has to say is waited for:
    /// the end may come after it.
    pub(super) async fn is_open(&self) -> bool {
        for _ in 0..LOOKS_MAX {
            match unread(&self.stream) {
                Ok(0) => return false,
                Ok(_) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// Whether something could be read from a socket right now, without reading it: zero is the end.
/// The runtime's own look would go by what it last heard of the socket, which may be old. It
/// needs no descriptor, so that a verdict never hangs on whether one is left.
fn unread(stream: &TcpStream) -> io::Result<usize> {
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit()])
}

/// What could be read from a socket right now, without reading it.
fn glance(stream: &TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
    std::net::TcpStream::from(SockRef::from(stream).try_clone()?).peek(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::sandbox::transport::tests::Client;

    /// Waits until so much is there to be read.
    async fn arrived(newcomer: &Newcomer, len: usize) {
        let mut seen = vec![0; len];
        while glance(&newcomer.stream, &mut seen).map_or(0, |count| count) < len {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_key_is_seen_however_much_of_the_first_bytes_the_task_has_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for mut client in Client::all() {
            let bytes = [client.announced.clone(), client.say(&[3; 40])].concat();
            for read in [0, 1, 4, 5, 12, 63, 64, 65, 75, 76, 77] {
                let read = read.min(bytes.len());
                let address = listener.local_addr().unwrap();
                let mut stream = TcpStream::connect(address).await.unwrap();
                let newcomer = Newcomer::new(1, listener.accept().await.unwrap().0);
                assert!(!newcomer.is_to_be_heard(&[3; 8]), "it has said nothing");
                stream.write_all(&bytes).await.unwrap();
                arrived(&newcomer, bytes.len()).await;
                if read > 0 {
                    newcomer.stream.readable().await.unwrap();
                    let mut inbox = Vec::with_capacity(read);
                    assert_eq!(newcomer.read(&mut inbox).unwrap(), read);
                }
                assert!(newcomer.is_to_be_heard(&[3; 8]), "{:?} after {read}", client.framing);
                assert!(!newcomer.is_to_be_heard(&[4; 8]));
            }
        }
    }
}
