//! End of a connection: why it ends, and how its socket is closed.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;

use tokio::sync::watch;

use super::{ServerConnection, until};
use crate::base::clock::now;
use crate::sandbox::unknown_protocol::UnknownProtocol;

/// How long a client may take to read what was written before the end.
const LINGER: Duration = Duration::from_secs(1);

/// How a connection ends.
pub(super) enum ConnectionEnd {
    /// The client has gone, or has sent what is malformed.
    ClientGone,
    /// The client speaks no transport of the server.
    UnknownProtocol(UnknownProtocol),
    /// After what was written has been read.
    Graceful,
    /// At once.
    Reset,
    /// By the client, after this end has said that it sends no more.
    HalfClosed,
    /// At once, since no further `ping_delay_disconnect` came in time.
    TimerExpired,
}

impl From<io::Error> for ConnectionEnd {
    fn from(_: io::Error) -> Self {
        Self::ClientGone
    }
}

impl ServerConnection {
    /// Closes the connection, however long that takes unless the data centre stops.
    pub(super) async fn close(&self, end: ConnectionEnd, stop: &mut watch::Receiver<bool>) {
        match end {
            ConnectionEnd::ClientGone => {}
            ConnectionEnd::UnknownProtocol(reason) => {
                self.server.counters.transports_unknown.add(1);
                self.server.protocol_warnings.warn(&self.socket.first_bytes(), reason);
            }
            ConnectionEnd::Graceful => {
                let last = now() + LINGER;
                let last = self.closes_at.map_or(last, |at| at.min(last));
                drop(tokio::time::timeout_at(last, self.linger()).await);
            }
            ConnectionEnd::HalfClosed => tokio::select! {
                _ = self.linger() => {}
                () = until(self.closes_at) => self.close_by_timer(),
                _ = stop.wait_for(|stop| *stop) => {}
            },
            ConnectionEnd::Reset => drop(self.socket.stream.set_zero_linger()),
            ConnectionEnd::TimerExpired => self.close_by_timer(),
        }
    }

    /// Closes the connection after the client has read what was written to it.
    async fn linger(&self) -> io::Result<()> {
        let stream = &self.socket.stream;
        SockRef::from(stream).shutdown(Shutdown::Write)?;
        let mut ignored = [0; 1024];
        loop {
            stream.readable().await?;
            match stream.try_read(&mut ignored) {
                Ok(0) => {
                    self.note_client_end();
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the connection, whatever the client may still have to read.
    fn close_by_timer(&self) {
        // Unregistered first: whoever sees the end may connect again at once.
        self.unregister();
        self.server.counters.closed_by_timer.add(1);
        // The detection of duplicate keys may be polling the socket, which must not keep it open.
        SockRef::from(&self.socket.stream).shutdown(Shutdown::Both).ok();
    }
}

impl ServerConnection {
    /// The client's end was seen.
    pub(super) fn note_client_end(&self) {
        if let Some(key) = &self.key {
            key.history.note_client_end(self.socket.id, self.server.next_moment());
        }
    }

    /// No longer counts as a connection that is open.
    fn unregister(&self) {
        self.server.unauthenticated.lock().remove(&self.socket.id);
        if let Some(key) = &self.key {
            key.history.note_close(self.socket.id, self.server.next_moment());
            key.connections.lock().retain(|it| it.socket.id != self.socket.id);
        }
    }
}

impl Drop for ServerConnection {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            self.replies.drain().for_each(|reply| session.keep_unsent(reply));
        }
        self.unregister();
        let open = self.since.elapsed().as_micros();
        self.server.counters.connection_us.add(usize::try_from(open).unwrap_or(usize::MAX));
        if self.closes_at.is_some() {
            self.server.counters.connections_timed.decrement();
        }
        self.server.counters.connections.decrement();
    }
}
