//! Streams that a connection may run over, and how one is silenced.
//!
//! Owns the options of a TCP socket. Never dials, reads or writes.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// For how long the kernel tries to have bytes acknowledged before it gives the connection up: as long as the
/// server keeps its end open without a ping.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// How much the kernel takes that it cannot send yet: what it holds no ping can overtake, and nobody can take back.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_MAX: u32 = 128 * 1024;

/// What a connection runs over: a socket, or anything that carries bytes to a data centre in both directions.
pub trait WireStream: AsyncRead + AsyncWrite + Unpin + Send {
    /// A connection begins on it.
    fn prepare(&self);

    /// Nothing that was written may reach the server any more: what is on the way is thrown away once this is
    /// dropped. A stream over another has to pass this on, or bytes of a connection that is over may meet the next
    /// one of its key.
    fn silence(&self);
}

impl WireStream for TcpStream {
    fn prepare(&self) {
        // Calls in company would wait for an acknowledgement otherwise. Where an option is not to be had the
        // connection works all the same.
        self.set_nodelay(true).ok();
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let socket = SockRef::from(self);
            socket.set_tcp_user_timeout(Some(USER_TIMEOUT)).ok();
            socket.set_tcp_notsent_lowat(UNSENT_MAX).ok();
        }
    }

    fn silence(&self) {
        self.set_zero_linger().ok();
    }
}

impl WireStream for tokio::io::DuplexStream {
    fn prepare(&self) {}

    fn silence(&self) {}
}

impl WireStream for Box<dyn WireStream> {
    fn prepare(&self) {
        (**self).prepare();
    }

    fn silence(&self) {
        (**self).silence();
    }
}

/// A stream, which is silenced when it is dropped before its time.
#[derive(Debug)]
pub(super) struct OpenStream<S: WireStream> {
    pub(super) stream: S,
    /// Both sides have said all.
    pub(super) is_over: bool,
}

impl<S: WireStream> OpenStream<S> {
    pub(super) fn new(stream: S) -> Self {
        stream.prepare();
        Self { stream, is_over: false }
    }
}

impl<S: WireStream> Drop for OpenStream<S> {
    fn drop(&mut self) {
        if !self.is_over {
            self.stream.silence();
        }
    }
}
