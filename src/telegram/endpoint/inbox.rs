//! What has come in from the client and is not read yet.
//!
//! Owns the buffer, and has it acknowledged at once. Never grows beyond the frame that is under way.

use std::io;

use tokio::net::TcpStream;

use super::layer::EndpointLayer;
use super::requests::EndpointRequest;

/// How much is read at once, at the least.
const READ_LEN_MIN: usize = 16 << 10;
/// How much is made room for at once, whatever a frame says of its length.
const READ_LEN_MAX: usize = 256 << 10;
/// What is kept of the buffer while it is empty.
const KEPT_LEN_MAX: usize = 64 << 10;

/// Bytes that have come, from the beginning of a frame on.
#[derive(Debug, Default)]
pub(super) struct EndpointInbox {
    bytes: Vec<u8>,
}

impl EndpointInbox {
    /// Reads what there is, and adds what its frames ask for. Returns how many frames were whole.
    ///
    /// # Errors
    /// `UnexpectedEof` once there is no more, `InvalidData` for what no client sends, or those of the socket.
    pub(super) fn read(
        &mut self,
        stream: &TcpStream,
        layer: &mut EndpointLayer,
        requests: &mut Vec<EndpointRequest>,
    ) -> io::Result<usize> {
        self.bytes.reserve(layer.missing(&self.bytes).clamp(READ_LEN_MIN, READ_LEN_MAX));
        match stream.try_read_buf(&mut self.bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => acknowledge(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        }
        let (mut frames, mut start) = (0, 0);
        let broken = |breach| io::Error::new(io::ErrorKind::InvalidData, breach);
        while let Some(len) = layer.receive(&mut self.bytes[start..], requests).map_err(broken)? {
            (frames, start) = (frames + 1, start + len);
        }
        self.bytes.drain(..start);
        if self.bytes.is_empty() {
            self.bytes.shrink_to(KEPT_LEN_MAX);
        }
        Ok(frames)
    }
}

/// The client holds back a second small packet until its first is acknowledged, which would take 40 ms otherwise. The
/// kernel forgets this with every answer.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn acknowledge(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_tcp_quickack(true).ok();
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn acknowledge(_stream: &TcpStream) {}
