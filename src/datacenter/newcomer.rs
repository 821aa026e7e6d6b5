//! A connection as others see it: its place in the order of coming, and its socket.
//!
//! Owns the looks at a socket that another task reads. Never reads it.
//!
//! # Orderings
//! The mark is sequentially consistent: a connection marks itself before it takes bytes from its
//! socket, and whoever looks from outside looks at the socket before the mark. So bytes that are
//! on their way from the socket to the register are seen in one place or in the other.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::frame::Framing;
use crate::sync::{AtomicU64, Ordering};

/// How often a socket with something unread is looked at, a millisecond apart.
pub(super) const LOOKS_MAX: usize = 5_000;
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Enough of a first packet to see its key.
const GLANCE_LEN: usize = 20;

/// Marks of a connection that has not been heard; any other is the key that it has spoken with,
/// in numbers. A key of that name would only be waited for in vain for a moment.
const SILENT: u64 = 0;
const READING: u64 = 1;

/// A connection, as the judge sees it.
#[derive(Debug)]
pub(super) struct Newcomer {
    /// Its place in the order in which connections came.
    pub(super) id: u64,
    pub(super) stream: TcpStream,
    /// What its task has taken from the socket, or is about to.
    mark: AtomicU64,
}

impl Newcomer {
    pub(super) fn new(id: u64, stream: TcpStream) -> Self {
        Self { id, stream, mark: AtomicU64::new(SILENT) }
    }

    /// The task is about to read.
    pub(super) fn begin_reading(&self) {
        self.mark.store(READING, Ordering::SeqCst);
    }

    /// The task has read so much so far.
    pub(super) fn end_reading(&self, inbox: &[u8]) {
        let key = Framing::key_id(inbox).map_or(SILENT, u64::from_le_bytes);
        self.mark.store(key, Ordering::SeqCst);
    }

    /// Whether it has said something with this key that nobody has heard yet. Ends, since the
    /// task does not stop between the beginning and the end of a reading.
    pub(super) async fn is_to_be_heard(&self, key: &[u8; 8]) -> bool {
        if let Ok(1..) = unread(&self.stream) {
            let mut seen = [0; GLANCE_LEN];
            // Nobody can tell whose it is without a descriptor to look through, or once the task
            // has taken it: it is looked at again.
            return glance(&self.stream, &mut seen).map_or(true, |count| {
                Framing::key_id(&seen[..count]).is_some_and(|seen| seen == *key)
            });
        }
        loop {
            match self.mark.load(Ordering::SeqCst) {
                READING => tokio::task::yield_now().await,
                mark => return mark == u64::from_le_bytes(*key),
            }
        }
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
