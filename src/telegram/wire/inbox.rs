//! Inbox of a connection: what has come and is not handled yet.
//!
//! Owns the memory for it: none while nothing waits. Never takes more into it than the frame that comes needs, whose
//! length is checked first.

use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use super::error::WireEnd;
use super::frame::{Framed, next_frame};

/// How much is read at once into the stack.
const READ_LEN: usize = 16 * 1024;
/// What is kept while more is about to come.
const KEPT_LEN_MAX: usize = 64 * 1024;

/// What has come.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// Where the first frame begins that is not handled.
    start: usize,
    /// How much is missing of it.
    missing: usize,
}

impl Inbox {
    /// Reads what has come into a stream. Zero is its end.
    pub(super) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.missing > READ_LEN {
            self.bytes.reserve_exact(self.missing);
            return pin!(stream.read_buf(&mut self.bytes)).poll(context);
        }
        let mut space = [MaybeUninit::uninit(); READ_LEN];
        let mut space = ReadBuf::uninit(&mut space);
        let polled = Pin::new(stream).poll_read(context, &mut space);
        polled.map_ok(|()| {
            self.bytes.extend_from_slice(space.filled());
            space.filled().len()
        })
    }

    /// The next packet, if it is whole. An error is the end of the connection.
    pub(super) fn next_packet(&mut self, len_max: usize) -> Result<Option<&mut [u8]>, WireEnd> {
        match next_frame(&self.bytes[self.start..], len_max)? {
            Framed::Part { missing } => {
                self.missing = missing;
                self.bytes.drain(..self.start);
                self.start = 0;
                Ok(None)
            }
            Framed::Packet(packet) => {
                let packet = self.start + packet.start..self.start + packet.end;
                self.start = packet.end;
                Ok(Some(&mut self.bytes[packet]))
            }
        }
    }

    /// Gives back what is not needed, once there is no other packet.
    pub(super) fn release_memory(&mut self, more_comes: bool) {
        let kept_max = if more_comes { KEPT_LEN_MAX } else { 0 };
        if self.bytes.is_empty() && self.bytes.capacity() > kept_max {
            self.bytes = Vec::new();
        }
    }

    /// How much memory it holds.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const LEN_MAX: usize = 1 << 20;

    /// The packets that come out of pieces, and how much memory was taken at the most.
    fn packets(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, usize) {
        let (mut inbox, mut packets, mut most) = (Inbox::default(), vec![], 0);
        for piece in pieces {
            let mut piece = *piece;
            while !piece.is_empty() {
                let context = &mut Context::from_waker(Waker::noop());
                let Poll::Ready(Ok(count)) = inbox.poll_fill(&mut piece, context) else {
                    panic!("a slice is always ready")
                };
                assert!(count > 0);
                while let Some(packet) = inbox.next_packet(LEN_MAX).unwrap() {
                    packets.push(packet.to_vec());
                }
                most = most.max(inbox.capacity());
            }
        }
        inbox.release_memory(true);
        assert!(inbox.capacity() <= KEPT_LEN_MAX);
        inbox.release_memory(false);
        assert_eq!(inbox.capacity(), 0);
        (packets, most)
    }

    #[test]
    fn packets_come_out_whole_however_they_came_and_take_no_more_than_themselves() {
        let sent: Vec<Vec<u8>> =
            [72, 100, 16_384, 200_000, 72, 1 << 20].map(|len| vec![7; len]).into();
        let stream: Vec<u8> = sent
            .iter()
            .flat_map(|it| [&u32::try_from(it.len()).unwrap().to_le_bytes()[..], it].concat())
            .collect();
        for len in [3, 71, 5_000, 70_000, stream.len()] {
            let pieces: Vec<&[u8]> = stream.chunks(len).collect();
            let (received, most) = packets(&pieces);
            assert_eq!(received, sent, "{len} bytes at a time");
            assert!(most <= LEN_MAX + 2 * READ_LEN + 4, "{most} bytes for {len} at a time");
        }
    }
}
