//! Observer of a connection: sees each message that comes in.
//!
//! Owns the form in which a message is shown. Never changes what becomes of it, and costs one comparison where
//! nobody looks.

use std::fmt;
use std::sync::Arc;

/// A message of the server's as it came, before anything is made of it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WireMessage<'a> {
    /// Its id: the upper half tells the server's time in seconds since 1970.
    pub id: i64,
    /// Its sequence number, which is odd if it wants an acknowledgement.
    pub sequence: u32,
    /// How many messages it lies in: containers, compressed ones and copies.
    pub depth: usize,
    /// Its constructor, and what follows: unpacked if it came within a compressed message, but the answer of a call
    /// as it is. At least four bytes.
    pub body: &'a [u8],
}

/// Whoever sees each message of a connection: containers before what is in them, and also what comes twice or late.
/// Packets of a session that is none of the connection's are not shown. It is called by the driver, and must return at
/// once.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use telepool::telegram::wire::WireObserver;
///
/// static SEEN: AtomicUsize = AtomicUsize::new(0);
/// let observer = WireObserver::new(|message| {
///     SEEN.fetch_add(message.body.len(), Ordering::Relaxed);
/// });
/// ```
#[derive(Clone)]
pub struct WireObserver(Arc<dyn Fn(&WireMessage<'_>) + Send + Sync>);

impl WireObserver {
    /// Has this called with each message.
    pub fn new(see: impl Fn(&WireMessage<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(see))
    }

    pub(super) fn see(&self, message: &WireMessage<'_>) {
        (self.0)(message);
    }
}

impl fmt::Debug for WireObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireObserver")
    }
}
