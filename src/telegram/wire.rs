//! The wire: a connection to a data centre of our own, from the socket up to calls as bytes.
//!
//! Owns the protocol between frames and calls. Knows no method but those of the protocol itself, and never dials,
//! or repeats a call that the server may have carried out.
//!
//! # Parts
//! - `layer`: the messages of a connection, without any I/O. Packets and instants go in; packets, events and the
//!   next instant come out.
//! - `driver`: one future that owns the socket, reads, asks the layer and writes. It is all that a connection
//!   needs to be polled.
//! - `handle`: what calls are made with, from any runtime.
//! - `new_key`: a new key, which takes a stream of its own before the first connection with it.
//!
//! # One key, one connection
//! The driver owns the stream and a *guard*, in that order: whether it ends, is dropped, panics or goes with its
//! runtime, the socket is closed before the guard is given back. A close in good order half-closes the stream
//! and waits for the server to do the same, so that nothing is left there that a second connection could meet;
//! [`WireEnd::is_confirmed`] says whether that came. On every other way out the socket is told to throw away what
//! it has not sent.
//!
//! # When the server's end may still be open
//! The first message of a connection, and one every 15 s, is a `ping_delay_disconnect` of 30 s: so long after the
//! last one that it got, the server closes its end by itself. If nothing comes for 15 s after a ping has left, or no
//! answer for 120 s while other things come, the connection ends here.

mod clock;
mod counts;
mod driver;
mod error;
mod frame;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
mod guard;
mod handle;
mod inbox;
mod introduction;
mod layer;
mod limits;
mod new_key;
mod observer;
mod salts;
mod seen;
mod session;
mod shared;
mod socket;
#[cfg(test)]
mod tests;
pub(super) mod tl;
mod update;

use std::sync::Arc;

use tokio::runtime::Handle;

pub use counts::WireCounts;
pub use driver::WireDriver;
pub(super) use error::Breach;
pub use error::{WireEnd, WireError};
pub use guard::{WireGuard, WireNote};
pub use handle::WireHandle;
pub use introduction::introduction;
pub use limits::{WireLimits, WireTimes};
pub use new_key::{NewKey, NewKeyError, make_key};
pub use observer::{WireMessage, WireObserver};
pub use salts::{KeyMemory, ServerSalt};
pub use socket::WireStream;
pub use update::WireUpdate;

use self::layer::{LayerStart, WireLayer};
use self::limits::{BODY_LEN_MAX, PACKET_LEN_MAX};
use self::shared::WireShared;
use self::socket::OpenStream;
use crate::base::clock::{now, unix_time};
use crate::session::AuthKey;

pub use crate::mtproto::key_exchange::{KeyExchangeError, ServerPublicKey};

/// What goes into the first packet besides a call and the introduction.
const COMPANY_LEN: usize = 1_024;

/// What a connection is opened with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WireOptions {
    /// The authorization key.
    pub key: AuthKey,
    /// What the last connection of the key knew at its end; nothing costs a round trip.
    pub memory: KeyMemory,
    /// Stands in front of each call until one was answered: `invokeWithLayer(initConnection(.., X))` without
    /// `X`. Empty for nothing.
    pub introduction: Arc<[u8]>,
    /// Whether anybody reads updates. If not, none is kept. [`WireHandle::want_updates`] changes it later.
    pub wants_updates: bool,
    /// What the server may send, and what may wait.
    pub limits: WireLimits,
    /// When the connection speaks unasked.
    pub times: WireTimes,
    /// Who sees each message that comes in; `None`, the default, for nobody.
    pub observer: Option<WireObserver>,
}

impl WireOptions {
    /// The defaults, for this key: without memory, introduction and updates.
    #[must_use]
    pub fn new(key: AuthKey) -> Self {
        Self {
            key,
            memory: KeyMemory::default(),
            introduction: Arc::default(),
            wants_updates: false,
            limits: WireLimits::default(),
            times: WireTimes::default(),
            observer: None,
        }
    }
}

/// Opens a connection over a stream that leads to a data centre. Nothing is sent before the driver is polled; calls
/// that are made before go in the first packet.
///
/// `updates` is called by the driver, and must return at once.
///
/// # Panics
/// Outside a tokio runtime with timers.
pub fn open<S, G, U>(
    stream: S,
    guard: G,
    options: WireOptions,
    updates: U,
) -> (WireHandle, WireDriver<S, G, U>)
where
    S: WireStream,
    G: WireGuard,
    U: FnMut(WireUpdate),
{
    // On every way out it goes before the guard does, which the caller's arguments do not.
    let socket = OpenStream::new(stream);
    let WireOptions { key, memory, introduction, wants_updates, limits, times, observer } = options;
    let times = times.within_reason();
    let body_len_max = PACKET_LEN_MAX.saturating_sub(introduction.len() + COMPANY_LEN);
    let shared = Arc::new(WireShared::new(
        Handle::current(),
        memory.clone(),
        body_len_max.min(BODY_LEN_MAX),
        &limits,
    ));
    let layer = WireLayer::new(LayerStart {
        key: key.expose(),
        memory,
        introduction,
        wants_updates,
        limits,
        times,
        observer,
        unix_time: unix_time(),
        now: now(),
        random: fastrand::Rng::with_seed(seed()),
    });
    let driver =
        WireDriver::new(socket, guard, layer, updates, Arc::clone(&shared), (limits, times));
    (WireHandle { shared }, driver)
}

/// What nobody can guess, for the ids of sessions.
fn seed() -> u64 {
    // Where the system has no such source, theirs is the next best.
    getrandom::u64().unwrap_or_else(|_| fastrand::u64(..))
}
