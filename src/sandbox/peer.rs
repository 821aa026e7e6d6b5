//! One connection: its socket, and what is due on it.
//!
//! Owns reading, writing and the timer that a client has set on its connection. A slow answer
//! delays no other, and no request costs a task.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::Shutdown;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::sync::{mpsc, watch};

use super::conversation::{Conversation, Reply};
use super::due::Due;
use super::envelope::Cipher;
use super::faults::Fault;
use super::judge::admit;
use super::newcomer::Newcomer;
use super::population::{Key, Live, Order, World};
use super::stranger::Stranger;
use super::wire::{Nonsense, Wire};
use crate::base::clock::{Instant, now};
use crate::base::sync::{AtomicBool, Ordering};

/// How many orders a connection may leave unread.
const ORDERS_MAX: usize = 64;
/// The most answers of one frame.
const ANSWERS_MAX: usize = 100;
/// How long a client may take to read the last words.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a client may take, from its first byte, to send enough of them to tell its transport.
const RECOGNITION: Duration = Duration::from_secs(10);
/// The transport error for a key that nobody has.
const KEY_UNKNOWN: u16 = 404;
/// The name of the first packet's place in a plan of faults.
const CONNECT: &str = "connect";

/// How a connection ends.
enum End {
    /// The client has gone, or makes no sense.
    Gone,
    /// Nobody knows what the client speaks.
    Stranger(Stranger),
    /// After what was written has been read.
    Orderly,
    /// At once.
    Reset,
    /// At once, since the client has let the time pass that it had set itself.
    TimeIsUp,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// The server's end of a connection.
pub(super) struct Peer {
    world: Arc<World>,
    since: Instant,
    newcomer: Arc<Newcomer>,
    wire: Wire,
    /// When the connection ends unless it is known by then what the client speaks.
    recognised_by: Option<Instant>,
    conversation: Option<Conversation>,
    /// In whose register the connection stands.
    key: Option<Arc<Key>>,
    due: BinaryHeap<Reverse<Due>>,
    asked: u64,
    /// When the connection ends unless the client asks for more time: never, until it has asked
    /// for an end at all.
    closes_at: Option<Instant>,
    sender: mpsc::Sender<Order>,
    orders: mpsc::Receiver<Order>,
}

impl Peer {
    pub(super) fn new(world: Arc<World>, newcomer: Arc<Newcomer>) -> Self {
        world.counters.connections.raise();
        world.silent.lock().insert(newcomer.id, Arc::clone(&newcomer));
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        Self {
            world,
            since: now(),
            newcomer,
            wire: Wire::default(),
            recognised_by: None,
            conversation: None,
            key: None,
            due: BinaryHeap::new(),
            asked: 0,
            closes_at: None,
            sender,
            orders,
        }
    }

    /// Serves until one side ends it, or the data centre stops.
    pub(super) async fn serve(mut self, mut stop: watch::Receiver<bool>) {
        let end = tokio::select! {
            end = self.converse() => end,
            _ = stop.wait_for(|stop| *stop) => End::Gone,
        };
        match end {
            End::Gone => {}
            End::Stranger(reason) => {
                self.world.counters.transports_unknown.add(1);
                self.world.strangers.tell(&self.newcomer.begun(), reason);
            }
            End::Orderly => {
                let last = now() + FAREWELL;
                let last = self.closes_at.map_or(last, |at| at.min(last));
                drop(tokio::time::timeout_at(last, self.part()).await);
            }
            End::Reset => drop(self.newcomer.stream.set_zero_linger()),
            End::TimeIsUp => self.hang_up(),
        }
        // The socket first: whoever waits for the end of `stop` finds every socket closed.
        drop(self);
        drop(stop);
    }

    async fn converse(&mut self) -> End {
        loop {
            let step = match self.read() {
                Ok(()) => self.handle_inbox().await,
                Err(end) => Err(end),
            };
            if let Err(end) = step {
                return end;
            }
            if let Err(end) = self.send_due().await {
                return end;
            }
            // After the reading: a ping that has come in time counts, however late this task runs.
            if self.closes_at.is_some_and(|at| at <= now()) {
                return End::TimeIsUp;
            }
            if self.recognised_by.is_some_and(|at| at <= now()) {
                return self.gone();
            }
            if let Err(end) = self.wait().await {
                return end;
            }
        }
    }

    /// Waits until there is something to read, to answer or to obey, or until the time is up.
    async fn wait(&mut self) -> Result<(), End> {
        let due = self.due.peek().map(|Reverse(due)| due.at);
        let next = due.into_iter().chain(self.closes_at).chain(self.recognised_by).min();
        tokio::select! {
            biased;
            ready = self.newcomer.stream.readable() => Ok(ready?),
            () = until(next) => Ok(()),
            Some(order) = self.orders.recv() => {
                let latency = self.world.latency();
                match order {
                    Order::Push(body) => {
                        self.world.counters.updates_pushed.add(1);
                        self.reply(latency, Reply::own(body));
                    }
                    Order::Transport(code) => self.reply(latency, Reply::Code(code)),
                    Order::Close => return Err(End::Orderly),
                    Order::Reset => return Err(End::Reset),
                }
                Ok(())
            }
        }
    }

    /// Reads what has arrived.
    fn read(&mut self) -> Result<(), End> {
        let newcomer = &self.newcomer;
        let read = match self.conversation {
            None => self.wire.fill(|inbox| newcomer.read(inbox)),
            Some(_) => self.wire.fill(|inbox| newcomer.stream.try_read_buf(inbox)),
        };
        match read {
            Ok(0) => Err(self.gone()),
            Ok(count) => {
                self.world.counters.bytes_received.add(count);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(self.gone()),
        }
    }

    /// How a connection ends that nothing more is heard of.
    fn gone(&self) -> End {
        let begun = self.newcomer.begun();
        if self.wire.is_recognised() || begun.is_empty() {
            return End::Gone;
        }
        End::Stranger(Stranger::guess(&begun, Stranger::Short))
    }

    /// Handles every whole packet of the inbox.
    async fn handle_inbox(&mut self) -> Result<(), End> {
        loop {
            match self.wire.next() {
                Ok(Some(packet)) => self.packet(packet).await?,
                Ok(None) => break,
                Err(Nonsense::Stranger(reason)) => return Err(End::Stranger(reason)),
                Err(Nonsense::Frame(error)) => {
                    tracing::debug!(%error, "a client sent no frame");
                    return Err(End::Gone);
                }
            }
        }
        self.wire.settle();
        self.recognised_by = match self.wire.is_recognised() || self.newcomer.begun().is_empty() {
            true => None,
            false => self.recognised_by.or_else(|| Some(now() + RECOGNITION)),
        };
        Ok(())
    }

    async fn packet(&mut self, at: Range<usize>) -> Result<(), End> {
        if self.conversation.is_none() {
            let id: [u8; 8] = *self.wire.packet(at.clone()).first_chunk().ok_or(End::Gone)?;
            if !self.begin(id).await? {
                return Ok(());
            }
        }
        let Some(conversation) = &mut self.conversation else { return Ok(()) };
        conversation.hear(self.wire.packet(at)).map_err(|_malformed| End::Gone)?;
        let now = now();
        if let Some(delay) = conversation.take_closes_in()
            && self.closes_at.replace(now + delay).is_none()
        {
            self.world.counters.connections_timed.raise();
        }
        let at = now + self.world.latency();
        for (delay, reply) in conversation.replies() {
            self.due.push(Reverse(Due { at: at + delay, order: self.asked, reply }));
            self.asked += 1;
        }
        Ok(())
    }

    /// Takes the key that the first packet of a connection names. Returns whether the packet is to
    /// be read further.
    async fn begin(&mut self, id: [u8; 8]) -> Result<bool, End> {
        let latency = self.world.latency();
        let known = self.world.key(&id);
        let known = known.and_then(|key| Some((self.world.user(key.account)?, key)));
        let Some((user, key)) = known else {
            // Zero asks for a new key, which this data centre gives to nobody.
            self.world.counters.keys_unknown.add(1);
            self.reply(latency, Reply::Code(KEY_UNKNOWN));
            return Ok(false);
        };
        self.world.counters.handshakes.add(1);
        let mut random = fastrand::Rng::with_seed(self.world.seed ^ self.newcomer.id << 20);
        let subscribed = Arc::new(AtomicBool::new(false));
        let live = Live {
            newcomer: Arc::clone(&self.newcomer),
            orders: self.sender.clone(),
            subscribed: Arc::clone(&subscribed),
        };
        self.key = Some(Arc::clone(&key));
        if admit(&self.world, live, &key, &id).await {
            self.world.counters.key_violations.add(1);
            key.is_void.store(true, Ordering::Relaxed);
            tracing::warn!(account = %key.account, slot = key.slot, "a key is used twice");
        }
        let fault = self.world.faults.load().draw(CONNECT, key.account, &mut random);
        if fault.is_some() {
            self.world.strike(&user);
        }
        let cipher = Cipher::new(key.secret.expose());
        let world = Arc::clone(&self.world);
        let mut conversation = Conversation::new(world, key, user, cipher, random, subscribed);
        match fault {
            Some(Fault::Close) => return Err(End::Orderly),
            Some(Fault::Reset) => return Err(End::Reset),
            Some(Fault::Transport { code }) => {
                self.reply(latency, Reply::Code(code));
                conversation.turn_deaf();
            }
            Some(Fault::Silence | Fault::BlackHole) => conversation.turn_deaf(),
            // The plan lets no other fault onto this place.
            Some(_) | None => {}
        }
        self.conversation = Some(conversation);
        Ok(true)
    }

    fn reply(&mut self, delay: Duration, reply: Reply) {
        let due = Due { at: now() + delay, order: self.asked, reply };
        self.asked += 1;
        self.due.push(Reverse(due));
    }

    /// Sends everything that is due, and carries out the end that may come with it.
    async fn send_due(&mut self) -> Result<(), End> {
        if self.due.is_empty() {
            return Ok(());
        }
        let end = self.write_due(now());
        self.flush().await?;
        end
    }

    fn write_due(&mut self, now: Instant) -> Result<(), End> {
        let mut batch = Vec::new();
        while self.due.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Some(Reverse(due)) = self.due.pop() else { break };
            match due.reply {
                Reply::Message { body, answers, damaged } => {
                    if damaged || batch.len() == ANSWERS_MAX {
                        self.write(&mut batch);
                    }
                    batch.push((body, answers));
                    if damaged {
                        self.write(&mut batch);
                        self.wire.damage();
                    }
                }
                Reply::Code(code) => {
                    self.write(&mut batch);
                    if let Some((framing, out)) = self.wire.way_out() {
                        framing.pack_code(code, out);
                    }
                    return Err(End::Orderly);
                }
                Reply::Close => {
                    self.write(&mut batch);
                    return Err(End::Orderly);
                }
                Reply::Reset => return Err(End::Reset),
            }
        }
        self.write(&mut batch);
        Ok(())
    }

    fn write(&mut self, batch: &mut Vec<(Vec<u8>, bool)>) {
        if let (Some(conversation), Some((framing, out)), false) =
            (&mut self.conversation, self.wire.way_out(), batch.is_empty())
        {
            conversation.write(std::mem::take(batch), framing, out);
        }
    }

    /// Writes what is to go out. Whoever does not read it is not heard meanwhile either, but is
    /// not waited for any longer than it has asked to be.
    async fn flush(&mut self) -> Result<(), End> {
        let outgoing = self.wire.outgoing();
        let mut at = 0;
        while at < outgoing.len() {
            match self.newcomer.stream.try_write(&outgoing[at..]) {
                Ok(count) => at += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::select! {
                        biased;
                        () = until(self.closes_at) => return Err(End::TimeIsUp),
                        ready = self.newcomer.stream.writable() => ready?,
                    }
                }
                Err(_) => return Err(End::Gone),
            }
        }
        self.world.counters.bytes_sent.add(at);
        self.wire.sent();
        Ok(())
    }

    /// Ends the connection after the client has read what was written to it.
    async fn part(&mut self) -> io::Result<()> {
        let stream = &self.newcomer.stream;
        SockRef::from(stream).shutdown(Shutdown::Write)?;
        let mut ignored = [0; 1024];
        loop {
            stream.readable().await?;
            match stream.try_read(&mut ignored) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the connection, whatever the client may still have to read.
    fn hang_up(&self) {
        // The registers first: whoever sees the end may come again at once.
        self.leave_registers();
        self.world.counters.closed_by_timer.add(1);
        // The judge may be looking at the socket, which must not keep it open.
        SockRef::from(&self.newcomer.stream).shutdown(Shutdown::Both).ok();
    }

    fn leave_registers(&self) {
        self.world.silent.lock().remove(&self.newcomer.id);
        if let Some(key) = &self.key {
            key.live.lock().retain(|live| live.newcomer.id != self.newcomer.id);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.leave_registers();
        let open = self.since.elapsed().as_micros();
        self.world.counters.connection_us.add(usize::try_from(open).unwrap_or(usize::MAX));
        if self.closes_at.is_some() {
            self.world.counters.connections_timed.lower();
        }
        self.world.counters.connections.lower();
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
