//! The driver under strain: lines that are full, peers that never stop, and orders that must get through all the same.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, BufWriter, DuplexStream, ReadBuf, duplex,
};
use tokio::time::{sleep, timeout};

use super::driving::{Peer, options};
use super::server::TestServer;
use super::spawn;
use crate::telegram::wire::socket::WireStream;
use crate::telegram::wire::{WireEnd, WireError, WireHandle, open};

/// Only for a test that would never end.
const FOR_EVER: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn acknowledgements_that_can_not_leave_are_no_reason_to_be_busy() {
    let (near, far) = duplex(4096);
    let (handle, mut driver) = open(near, (), options(), |_| {});
    let polls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&polls);
    let driver = spawn(std::future::poll_fn(move |context| {
        let mut polls = counted.lock().unwrap();
        *polls += 1;
        assert!(*polls < 200, "it polls without end");
        Pin::new(&mut driver).poll(context)
    }));
    let mut peer = Peer::new(far);
    peer.hear().await;
    let caller = handle.clone();
    spawn(async move { caller.call(vec![1; 40_000], Duration::from_secs(60)).await });
    sleep(Duration::from_millis(1)).await;
    peer.say(&[vec![7; 8]]).await;
    // Due after 10 s, behind what is stuck.
    sleep(Duration::from_secs(12)).await;
    assert!(handle.end().is_none());
    peer.say(&[vec![7; 8]]).await;
    assert!(matches!(driver.await.unwrap(), WireEnd::Silent));
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_that_moves_is_not_silent() {
    let (near, far) = duplex(1_000);
    let (handle, driver) = open(near, (), options(), |_| {});
    spawn(driver);
    let mut peer = Peer::new(far);
    peer.hear().await;
    let caller = handle.clone();
    let call = spawn(async move { caller.call(vec![1; 60_000], Duration::from_secs(200)).await });
    for _ in 0..60 {
        peer.stream.read_exact(&mut [0; 1_000]).await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    assert!(handle.end().is_none(), "a ping has not left for long, but bytes have");
    assert!(!call.is_finished());
    // Now nothing moves any more.
    assert!(matches!(handle.gone().await, WireEnd::Silent));
}

impl WireStream for BufWriter<DuplexStream> {
    fn prepare(&self) {}

    fn silence(&self) {}
}

#[tokio::test]
async fn a_stream_that_keeps_what_is_written_is_told_to_send_it() {
    let (near, far) = duplex(4096);
    let (handle, driver) = open(BufWriter::new(near), (), options(), |_| {});
    spawn(driver);
    let mut peer = Peer::new(far);
    assert_eq!(timeout(FOR_EVER, peer.hear()).await.unwrap().messages.len(), 1);
    handle.abort();
}

/// A server that sends packets without end, from the first one that it gets.
struct Flood(Arc<Mutex<FloodState>>);

struct FloodState {
    server: TestServer,
    heard: bool,
    reads: Option<Waker>,
    is_half_closed: bool,
}

impl Flood {
    fn new() -> (Self, Arc<Mutex<FloodState>>) {
        let mut server = TestServer::new();
        server.time = crate::base::clock::unix_time();
        let state = FloodState { server, heard: false, reads: None, is_half_closed: false };
        let state = Arc::new(Mutex::new(state));
        (Self(Arc::clone(&state)), state)
    }
}

impl AsyncRead for Flood {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        if !state.heard {
            state.reads = Some(context.waker().clone());
            return Poll::Pending;
        }
        let packet = state.server.say(&[7; 8]);
        buffer.put_slice(&u32::try_from(packet.len()).unwrap().to_le_bytes());
        buffer.put_slice(&packet);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().unwrap();
        if !std::mem::replace(&mut state.heard, true) {
            state.server.open(&bytes[8..]);
        }
        state.reads.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().is_half_closed = true;
        Poll::Ready(Ok(()))
    }
}

impl WireStream for Flood {
    fn prepare(&self) {}

    fn silence(&self) {}
}

/// A connection under such a flood.
async fn flooded() -> (WireHandle, Arc<Mutex<FloodState>>) {
    let (stream, state) = Flood::new();
    let mut options = options();
    options.times.close_within = Duration::from_millis(50);
    let (handle, driver) = open(stream, (), options, |_| {});
    spawn(driver);
    while handle.counts().packets_received < 1_000 {
        sleep(Duration::from_millis(1)).await;
    }
    (handle, state)
}

#[tokio::test]
async fn a_flood_keeps_no_deadline_and_no_order_waiting() {
    let (handle, _) = flooded().await;
    let limit = Duration::from_millis(20);
    let failed = timeout(FOR_EVER, handle.call(vec![1; 8], limit)).await.unwrap().unwrap_err();
    assert!(matches!(failed, WireError::TimedOut { was_sent: true, .. }), "{failed}");
    handle.abort();
    assert!(matches!(timeout(FOR_EVER, handle.gone()).await.unwrap(), WireEnd::Aborted));
}

#[tokio::test]
async fn a_flood_keeps_no_close_waiting() {
    let (handle, state) = flooded().await;
    handle.close();
    let end = timeout(FOR_EVER, handle.gone()).await.unwrap();
    assert!(matches!(end, WireEnd::Closed { is_confirmed: false }), "{end}");
    assert!(state.lock().unwrap().is_half_closed);
}
