//! Copying between the client's socket and the one to the data centre.
//!
//! Owns the order in which the two ends: what one side closes is closed on the other, and the data centre's
//! side is given time to close its own. Holds no buffer while nothing is under way.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// The most that is read at once.
const CHUNK_LEN: usize = 16 * 1024;

/// How the data centre's side of a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FarEnd {
    /// It closed its side in an orderly way, by itself or in answer to ours.
    Closed,
    /// It broke off, or had not closed its side in time.
    Unknown,
}

/// Why nothing more is passed on in one direction.
enum Stop {
    /// There is no more to read.
    End,
    ReadFailed,
    WriteFailed,
}

/// What one look at a socket came to.
enum Relayed {
    Passed,
    /// The other side takes no more for the moment.
    Left(Vec<u8>),
    Stopped(Stop),
}

/// Carries a connection until both of its sides have ended. Once one has, the other has so much time.
pub(super) async fn carry(mut near: TcpStream, mut far: TcpStream, linger: Duration) -> FarEnd {
    let (end, is_broken) = exchange(&mut near, &mut far, linger).await;
    if is_broken {
        // The client learns that it was no orderly end.
        near.set_zero_linger().ok();
    }
    // The data centre's side first: whoever waits for the client's finds both closed.
    drop(far);
    end
}

/// Returns how the far side ended, and whether it broke off.
async fn exchange(near: &mut TcpStream, far: &mut TcpStream, linger: Duration) -> (FarEnd, bool) {
    let (near_reader, mut near_writer) = near.split();
    let (far_reader, mut far_writer) = far.split();
    let mut up = std::pin::pin!(async {
        let stop = pass(&near_reader, &mut far_writer).await;
        if !matches!(stop, Stop::WriteFailed) {
            far_writer.shutdown().await.ok();
        }
        stop
    });
    let mut down = std::pin::pin!(async {
        match pass(&far_reader, &mut near_writer).await {
            // The client is gone. What the data centre still says is of no use but for its end.
            Stop::WriteFailed => drain(&far_reader).await,
            Stop::End => {
                near_writer.shutdown().await.ok();
                Stop::End
            }
            Stop::ReadFailed => Stop::ReadFailed,
        }
    });
    tokio::select! {
        biased;
        stop = &mut down => match stop {
            Stop::End => {
                // What the client had begun to say is passed on as long as the proxy takes it.
                drop(tokio::time::timeout(linger, up).await);
                (FarEnd::Closed, false)
            }
            Stop::ReadFailed | Stop::WriteFailed => (FarEnd::Unknown, true),
        },
        stop = &mut up => match stop {
            Stop::End | Stop::ReadFailed => {
                let closed = tokio::time::timeout(linger, down).await;
                let is_closed = matches!(closed, Ok(Stop::End));
                (if is_closed { FarEnd::Closed } else { FarEnd::Unknown }, false)
            }
            Stop::WriteFailed => (FarEnd::Unknown, true),
        },
    }
}

/// Passes bytes on until there are no more.
async fn pass(from: &ReadHalf<'_>, to: &mut WriteHalf<'_>) -> Stop {
    loop {
        // A side that never pauses lets others have their turn.
        tokio::task::consume_budget().await;
        if from.readable().await.is_err() {
            return Stop::ReadFailed;
        }
        match relay(from, to) {
            Relayed::Passed => {}
            Relayed::Left(bytes) => {
                if to.write_all(&bytes).await.is_err() {
                    return Stop::WriteFailed;
                }
            }
            Relayed::Stopped(stop) => return stop,
        }
    }
}

/// Passes on what there is. In a function that does not wait, so that its buffer is nobody's meanwhile.
fn relay(from: &ReadHalf<'_>, to: &WriteHalf<'_>) -> Relayed {
    let mut chunk = [0; CHUNK_LEN];
    let bytes = match from.try_read(&mut chunk) {
        Ok(0) => return Relayed::Stopped(Stop::End),
        Ok(count) => &chunk[..count],
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Relayed::Passed,
        Err(_) => return Relayed::Stopped(Stop::ReadFailed),
    };
    match to.try_write(bytes) {
        Ok(count) if count == bytes.len() => Relayed::Passed,
        Ok(count) => Relayed::Left(bytes[count..].to_vec()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Relayed::Left(bytes.to_vec()),
        Err(_) => Relayed::Stopped(Stop::WriteFailed),
    }
}

/// Reads until there is no more.
async fn drain(from: &ReadHalf<'_>) -> Stop {
    let mut chunk = [0; 512];
    loop {
        tokio::task::consume_budget().await;
        if from.readable().await.is_err() {
            return Stop::ReadFailed;
        }
        match from.try_read(&mut chunk) {
            Ok(0) => return Stop::End,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Stop::ReadFailed,
        }
    }
}

#[cfg(test)]
mod tests;
