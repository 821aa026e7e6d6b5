//! A connection of the sandbox server: the task that reads, answers and writes.
//!
//! Owns the socket, the queue of replies and the timer that a client has set with
//! `ping_delay_disconnect`. A slow answer delays no other, and no request costs a task.

mod authenticate;
mod end;
mod new_key;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use grammers_tl_types::{Serializable, enums};
use tokio::sync::{mpsc, watch};

use super::accounts::{ConnectionCommand, Key};
use super::codec::{PacketCodec, PacketError};
use super::reply_queue::ReplyQueue;
use super::server_state::ServerState;
use super::session::{MtprotoSession, Reply};
use super::socket::AcceptedSocket;
use super::unknown_protocol::UnknownProtocol;
use super::updates::PushedUpdate;
use crate::base::clock::{Instant, now};
use crate::base::sync::{AtomicBool, Ordering};
use end::ConnectionEnd;
use new_key::ConnectionExchange;

/// How many commands a connection may leave unread: of updates beyond them it is told that it has missed some.
const COMMANDS_MAX: usize = 1024;
/// How long an update that is to come after the next one waits for that.
const NEXT_UPDATE_TIMEOUT: Duration = Duration::from_secs(1);
/// The most messages of one frame, and how many bytes of them it has before another frame is begun.
const MESSAGES_MAX: usize = 100;
const FRAME_LEN_MAX: usize = 128 * 1024;
/// How long a client may take, from its first byte, to send enough of them to recognise its transport.
const RECOGNITION_TIMEOUT: Duration = Duration::from_secs(10);

/// The server's end of a connection.
pub(super) struct ServerConnection {
    server: Arc<ServerState>,
    since: Instant,
    /// When it was accepted, among all that was seen.
    accepted: u64,
    socket: Arc<AcceptedSocket>,
    codec: PacketCodec,
    /// When the connection ends unless its transport is known by then.
    recognised_by: Option<Instant>,
    /// Once it is authenticated.
    session: Option<MtprotoSession>,
    /// The key that it is registered with.
    key: Option<Arc<Key>>,
    /// The exchange of a new key, while one is under way.
    exchange: Option<Box<ConnectionExchange>>,
    replies: ReplyQueue,
    /// A fault has it read nothing any more.
    reads_no_more: bool,
    /// When the connection ends unless another `ping_delay_disconnect` comes: never, until there was
    /// one.
    closes_at: Option<Instant>,
    /// It has missed updates, and has not been told yet; shared with its handle.
    missed_updates: Arc<AtomicBool>,
    sender: mpsc::Sender<ConnectionCommand>,
    commands: mpsc::Receiver<ConnectionCommand>,
}

impl ServerConnection {
    pub(super) fn new(server: Arc<ServerState>, socket: Arc<AcceptedSocket>) -> Self {
        server.counters.connections.increment();
        server.unauthenticated.lock().insert(socket.id, Arc::clone(&socket));
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        Self {
            since: now(),
            accepted: server.next_moment(),
            server,
            socket,
            codec: PacketCodec::default(),
            recognised_by: None,
            session: None,
            key: None,
            exchange: None,
            replies: ReplyQueue::default(),
            reads_no_more: false,
            closes_at: None,
            missed_updates: Arc::default(),
            sender,
            commands,
        }
    }

    /// Serves until one side ends it, or the data centre stops.
    pub(super) async fn serve(mut self, mut stop: watch::Receiver<bool>) {
        let end = tokio::select! {
            end = self.run() => end,
            _ = stop.wait_for(|stop| *stop) => ConnectionEnd::ClientGone,
        };
        self.close(end, &mut stop).await;
        // The socket first: whoever waits for the end of `stop` finds every socket closed.
        drop(self);
        drop(stop);
    }

    async fn run(&mut self) -> ConnectionEnd {
        loop {
            let step = match self.reads_no_more {
                true => Ok(()),
                false => match self.read() {
                    Ok(()) => self.handle_inbox().await,
                    Err(end) => Err(end),
                },
            };
            if let Err(end) = step {
                return end;
            }
            if let Err(end) = self.send_due().await {
                return end;
            }
            // After the reading: a ping that has come in time counts, however late this task runs.
            if self.closes_at.is_some_and(|at| at <= now()) {
                return ConnectionEnd::TimerExpired;
            }
            if self.recognised_by.is_some_and(|at| at <= now()) {
                return self.end_of_input();
            }
            if let Err(end) = self.wait().await {
                return end;
            }
        }
    }

    /// Waits until there is something to read, to send or to obey, or until a timer expires.
    async fn wait(&mut self) -> Result<(), ConnectionEnd> {
        let due = self.replies.next_at();
        let next = due.into_iter().chain(self.closes_at).chain(self.recognised_by).min();
        tokio::select! {
            biased;
            ready = self.socket.stream.readable(), if !self.reads_no_more => Ok(ready?),
            () = self.socket.unread_end(), if self.reads_no_more => Err(self.end_of_input()),
            () = until(next) => Ok(()),
            Some(command) = self.commands.recv() => self.obey_all(command),
        }
    }

    /// Obeys a command and those that have come with it, no more than make one frame.
    fn obey_all(&mut self, first: ConnectionCommand) -> Result<(), ConnectionEnd> {
        self.obey(first)?;
        for _ in 1..MESSAGES_MAX {
            let Ok(command) = self.commands.try_recv() else { break };
            self.obey(command)?;
        }
        if self.commands.is_empty() && self.missed_updates.swap(false, Ordering::Relaxed) {
            self.reply(Reply::update(enums::Updates::TooLong.to_bytes()));
        }
        Ok(())
    }

    fn obey(&mut self, command: ConnectionCommand) -> Result<(), ConnectionEnd> {
        match command {
            ConnectionCommand::Push(update) => self.push(update),
            ConnectionCommand::TransportError(code) => self.reply(Reply::TransportError(code)),
            ConnectionCommand::Close => return Err(ConnectionEnd::Graceful),
            ConnectionCommand::Reset => return Err(ConnectionEnd::Reset),
        }
        Ok(())
    }

    /// Queues an update, as the fault that was drawn for it has it.
    fn push(&mut self, update: PushedUpdate) {
        self.server.counters.updates_pushed.add(1);
        let at = now() + self.server.latency() + update.delay;
        let reply = Reply::update(update.body);
        match update.after_next {
            true => self.replies.hold(at + NEXT_UPDATE_TIMEOUT, reply),
            false => self.replies.push_update(at, reply),
        }
    }

    /// Reads what has arrived.
    fn read(&mut self) -> Result<(), ConnectionEnd> {
        let socket = &self.socket;
        let read = match self.session {
            None => self.codec.read_with(|inbox| socket.read(inbox)),
            Some(_) => self.codec.read_with(|inbox| socket.stream.try_read_buf(inbox)),
        };
        match read {
            Ok(0) => Err(self.end_of_input()),
            Ok(count) => {
                self.server.counters.bytes_received.add(count);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(self.end_of_input()),
        }
    }

    /// How a connection ends that nothing more comes from.
    fn end_of_input(&self) -> ConnectionEnd {
        self.note_client_end();
        let first_bytes = self.socket.first_bytes();
        if self.codec.is_recognised() || first_bytes.is_empty() {
            return ConnectionEnd::ClientGone;
        }
        let reason = UnknownProtocol::guess(&first_bytes, UnknownProtocol::TooShort);
        ConnectionEnd::UnknownProtocol(reason)
    }

    /// Handles every whole packet of the inbox.
    async fn handle_inbox(&mut self) -> Result<(), ConnectionEnd> {
        while !self.reads_no_more {
            match self.codec.next_packet() {
                Ok(Some(packet)) => self.handle_packet(packet).await?,
                Ok(None) => break,
                Err(PacketError::UnknownProtocol(reason)) => {
                    return Err(ConnectionEnd::UnknownProtocol(reason));
                }
                Err(PacketError::Frame(error)) => {
                    tracing::debug!(%error, "a client sent no frame");
                    return Err(ConnectionEnd::ClientGone);
                }
            }
        }
        self.codec.shrink();
        self.recognised_by =
            match self.codec.is_recognised() || self.socket.first_bytes().is_empty() {
                true => None,
                false => self.recognised_by.or_else(|| Some(now() + RECOGNITION_TIMEOUT)),
            };
        Ok(())
    }

    async fn handle_packet(&mut self, at: Range<usize>) -> Result<(), ConnectionEnd> {
        if self.session.is_none() {
            let key_id =
                *self.codec.packet(at.clone()).first_chunk().ok_or(ConnectionEnd::ClientGone)?;
            if key_id == [0; 8] {
                return self.handle_plain(at);
            }
            if !self.authenticate(key_id).await? {
                return Ok(());
            }
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        let packet = self.codec.packet(at);
        session.handle_packet(packet).map_err(|_malformed| ConnectionEnd::ClientGone)?;
        let now = now();
        if let Some(delay) = session.take_disconnect_delay()
            && self.closes_at.replace(now + delay).is_none()
        {
            self.server.counters.connections_timed.increment();
        }
        let at = now + self.server.latency();
        for (delay, reply) in session.take_replies() {
            match reply {
                Reply::StopReading => self.reads_no_more = true,
                reply => self.replies.push(at + delay, reply),
            }
        }
        Ok(())
    }

    /// Queues a reply, due after the latency.
    fn reply(&mut self, reply: Reply) {
        self.replies.push(now() + self.server.latency(), reply);
    }

    /// Sends every reply that is due. An error is the end of the connection, which one of them may be.
    async fn send_due(&mut self) -> Result<(), ConnectionEnd> {
        if self.replies.is_empty() {
            return Ok(());
        }
        let end = self.write_due(now());
        self.flush().await?;
        end
    }

    fn write_due(&mut self, now: Instant) -> Result<(), ConnectionEnd> {
        let (mut batch, mut len) = (Vec::new(), 0);
        while let Some(reply) = self.replies.pop_due(now) {
            match &reply {
                Reply::Message(_) | Reply::Again { .. } => {}
                Reply::Plain(packet) => {
                    if let Some((framing, out)) = self.codec.writer() {
                        framing.pack(packet, out);
                    }
                    continue;
                }
                _ => return Err(self.end_by(&reply, batch)),
            }
            let (is_alone, is_damaged) = (reply.is_alone(), reply.is_damaged());
            let is_full = batch.len() == MESSAGES_MAX || len >= FRAME_LEN_MAX;
            if is_alone || is_full || !self.is_of_one_session(&batch, &reply) {
                self.write(&mut batch);
                len = 0;
            }
            len += reply.len();
            batch.push(reply);
            if is_alone {
                self.write(&mut batch);
                len = 0;
            }
            if is_damaged {
                self.codec.corrupt_last_packet();
            }
        }
        self.write(&mut batch);
        Ok(())
    }

    /// Ends the connection by a reply that is no message, after those that were due before it.
    fn end_by(&mut self, reply: &Reply, mut before: Vec<Reply>) -> ConnectionEnd {
        if *reply == Reply::Reset {
            let session = self.session.iter();
            session.for_each(|it| before.drain(..).for_each(|reply| it.keep_unsent(reply)));
            return ConnectionEnd::Reset;
        }
        self.write(&mut before);
        if let Reply::TransportError(code) = reply
            && let Some((framing, out)) = self.codec.writer()
        {
            framing.pack_transport_error(*code, out);
        }
        match reply {
            Reply::HalfClose => ConnectionEnd::HalfClosed,
            _ => ConnectionEnd::Graceful,
        }
    }

    /// Whether a reply belongs to the session that those of a batch are of.
    fn is_of_one_session(&self, batch: &[Reply], reply: &Reply) -> bool {
        let (Some(session), Some(first)) = (&self.session, batch.first()) else { return true };
        Arc::ptr_eq(session.session_of(first), session.session_of(reply))
    }

    fn write(&mut self, batch: &mut Vec<Reply>) {
        if let (Some(session), Some((framing, out)), false) =
            (&mut self.session, self.codec.writer(), batch.is_empty())
        {
            session.seal(std::mem::take(batch), framing, out);
        }
    }

    /// Writes the outbox to the socket. A client that does not read is not read from meanwhile, and is
    /// waited for until its own timer expires.
    async fn flush(&mut self) -> Result<(), ConnectionEnd> {
        let outgoing = self.codec.outgoing();
        let mut at = 0;
        while at < outgoing.len() {
            match self.socket.stream.try_write(&outgoing[at..]) {
                Ok(count) => at += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::select! {
                        biased;
                        () = until(self.closes_at) => return Err(ConnectionEnd::TimerExpired),
                        ready = self.socket.stream.writable() => ready?,
                    }
                }
                Err(_) => {
                    self.note_client_end();
                    return Err(ConnectionEnd::ClientGone);
                }
            }
        }
        self.server.counters.bytes_sent.add(at);
        self.codec.clear_outgoing();
        Ok(())
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
