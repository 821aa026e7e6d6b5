//! The judge of the one rule that costs accounts: a key is on one main connection at a time.
//!
//! Owns the look at another connection's socket. The tasks of connections run in any order, so
//! that what a client closed first may be heard last; the judge goes by the sockets, in the
//! order in which the connections came, and never by which task was quicker.
//!
//! # Orderings
//! `busy` is sequentially consistent: a connection marks itself before it takes bytes from its
//! socket, and the judge looks at the socket before it looks at the mark. So bytes that are on
//! their way from the socket to the register are seen in one place or in the other.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::frame::Framing;
use super::population::{Key, Live, World};
use crate::sync::{AtomicBool, Ordering};

/// How often a socket with something unread is looked at, a millisecond apart.
const LOOKS_MAX: usize = 5_000;
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Enough of a first packet to see its key.
const GLANCE_LEN: usize = 20;

/// A connection, as the judge sees it.
#[derive(Debug)]
pub(super) struct Newcomer {
    /// Its place in the order in which connections came.
    pub(super) id: u64,
    pub(super) stream: TcpStream,
    /// Its task has taken bytes from the socket, or is about to.
    busy: AtomicBool,
}

impl Newcomer {
    pub(super) fn new(id: u64, stream: TcpStream) -> Self {
        Self { id, stream, busy: AtomicBool::new(false) }
    }

    pub(super) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
    }

    /// Whether it may have said something with this key that nobody has heard yet.
    fn is_to_be_heard(&self, key: &[u8; 8]) -> bool {
        let mut seen = [0; GLANCE_LEN];
        match look(&self.stream, &mut seen) {
            Ok(count @ 1..) => Framing::key_id(&seen[..count]).is_none_or(|seen| seen == *key),
            Ok(0) | Err(_) => self.busy.load(Ordering::SeqCst),
        }
    }

    /// Whether the client's end of the socket is open. What it still has to say is waited for:
    /// the end may come after it.
    async fn is_open(&self) -> bool {
        for _ in 0..LOOKS_MAX {
            match look(&self.stream, &mut [0]) {
                Ok(0) => return false,
                Ok(_) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// What could be read from a socket right now, without reading it. The runtime's own look would
/// go by what it last heard of the socket, which may be old.
fn look(stream: &TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
    std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?).peek(bytes)
}

/// Hears the first packet of a connection: enters it in the register of its key, and says
/// whether another connection of the key still lives.
pub(super) async fn admit(world: &World, live: Live, key: &Key, key_id: &[u8; 8]) -> bool {
    let newcomer = Arc::clone(&live.newcomer);
    hear_the_older(world, &newcomer, key_id).await;
    let others = {
        let mut register = key.live.lock();
        let others = register.clone();
        register.push(live);
        others
    };
    world.silent.lock().remove(&newcomer.id);
    for other in others {
        if other.newcomer.is_open().await {
            return true;
        }
    }
    false
}

/// Lets connections that came before and have something unread be heard first.
async fn hear_the_older(world: &World, newcomer: &Newcomer, key: &[u8; 8]) {
    let older: Vec<u64> = world.silent.lock().range(..newcomer.id).map(|(id, _)| *id).collect();
    for id in older {
        for _ in 0..LOOKS_MAX {
            let silent = world.silent.lock().get(&id).cloned();
            if !silent.is_some_and(|older| older.is_to_be_heard(key)) {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
