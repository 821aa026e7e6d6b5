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

/// What a connection runs over: a socket, or anything that carries bytes to a data centre in both directions.
pub trait WireStream: AsyncRead + AsyncWrite + Unpin + Send {
    /// A connection begins on it.
    fn prepare(&self) {}

    /// Nothing that was written may reach the server any more: what is on the way is thrown away once this is
    /// dropped.
    fn silence(&self) {}
}

impl WireStream for TcpStream {
    fn prepare(&self) {
        // Calls in company would wait for an acknowledgement otherwise. Where an option is not to be had the
        // connection works all the same.
        self.set_nodelay(true).ok();
        #[cfg(any(target_os = "linux", target_os = "android"))]
        SockRef::from(self).set_tcp_user_timeout(Some(USER_TIMEOUT)).ok();
    }

    fn silence(&self) {
        self.set_zero_linger().ok();
    }
}

impl WireStream for tokio::io::DuplexStream {}

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
