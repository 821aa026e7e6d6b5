//! Bridge of a connection: how its dials get to a proxy, or leave from an address of this machine.
//!
//! Owns every socket on that way, and the tasks that copy between them. Never lets the client dial a data
//! centre itself, and never outlives the connection.
//!
//! # How it works
//! The client can dial a plain address and nothing else. So it is given one of this process's own: a listener
//! on the loopback interface, a *door*, for each data centre that it asks for. What comes in at a door is
//! carried to the data centre, by way of the proxy. The way to the home is opened before the client is told of
//! the door: what is wrong with the proxy is then known in its own words, and nothing of the session was sent.
//!
//! A door takes two connections, one after the other, and closes as soon as the client has the first: it
//! dials once more in the same breath if the server does not know a key, and never after that. Nobody else
//! is let in by a door for longer than that; on a machine that others share, one of them could use it up
//! and so make a dial fail, but comes no further than to a data centre of Telegram.
//!
//! # When the server has noticed
//! A socket of this machine that is closed here tells the server so. Behind a proxy it tells only the proxy,
//! whose own connection to the server may stay open. So the end of a connection by a proxy counts as noticed
//! only if the far side has closed its side too, in answer to ours or before it; otherwise the key rests as
//! after any loss. A connection from an address of this machine (`bind://`) is one of this machine's.

mod carry;
mod dial;
mod error;

use std::collections::HashMap;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::carry::{FarEnd, carry};
pub(super) use self::dial::dial;
use self::dial::without_delay;
pub use self::error::{ProxyError, ProxyProblem};
use super::TelegramError;
use crate::base::sync::Mutex;
use crate::base::text::display_safely;
use crate::session::Proxy;

/// How long the parts of a bridge may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct BridgeLimits {
    /// From a dial's begin to a connection with the data centre.
    pub(super) dial: Duration,
    /// From the end of one side to the end of the other.
    pub(super) linger: Duration,
}

/// The way of one connection, and of those to other data centres that the client opens for its sake.
pub(super) struct Bridge {
    way: Arc<Way>,
    home: i32,
    /// The home is dialled as it is.
    is_home_near: bool,
    runtime: Handle,
    doors: Mutex<Doors>,
}

/// What the tasks share.
struct Way {
    proxy: Arc<Proxy>,
    limits: BridgeLimits,
    /// What became of the connections to the home: one of them has the session's key.
    home: Mutex<HomeLegs>,
}

/// The connections that have come in at the door to the home.
#[derive(Clone, Copy, Default)]
struct HomeLegs {
    begun: u32,
    /// Of them, those whose far side has closed in an orderly way.
    closed: u32,
}

#[derive(Default)]
struct Doors {
    open: HashMap<i32, Door>,
    tasks: Vec<JoinHandle<()>>,
    /// No further one may be opened.
    sealed: bool,
}

/// A listener that the client may dial. Dropped, it is closed.
struct Door {
    address: SocketAddr,
    /// Closed once the listener is.
    shut: watch::Sender<()>,
}

impl Bridge {
    /// Opens the way to the home, and the door to it.
    pub(super) async fn open(
        proxy: &Arc<Proxy>,
        home: (i32, SocketAddr),
        limits: BridgeLimits,
    ) -> Result<Arc<Self>, TelegramError> {
        let (dc, target) = home;
        let opened = dial(proxy, target, limits.dial).await?;
        let (proxy, home) = (Arc::clone(proxy), Mutex::default());
        let way = Arc::new(Way { proxy, limits, home });
        let (runtime, doors) = (Handle::current(), Mutex::default());
        let bridge = Self { way, home: dc, is_home_near: false, runtime, doors };
        bridge.open_door(dc, target, Some(opened)).map_err(TelegramError::Io)?;
        Ok(Arc::new(bridge))
    }

    /// A way to foreign data centres alone, of a client whose home is in this process. Nothing is dialled before the
    /// client asks for one.
    pub(super) fn abroad(
        proxy: &Arc<Proxy>,
        home: i32,
        limits: BridgeLimits,
        runtime: &Handle,
    ) -> Arc<Self> {
        let way = Arc::new(Way { proxy: Arc::clone(proxy), limits, home: Mutex::default() });
        let (runtime, doors) = (runtime.clone(), Mutex::default());
        Arc::new(Self { way, home, is_home_near: true, runtime, doors })
    }

    /// Where the client dials a data centre.
    pub(super) fn address(&self, dc: i32, target: SocketAddr) -> io::Result<SocketAddr> {
        if self.is_home_near && dc == self.home {
            return Ok(target);
        }
        let known = {
            let doors = self.doors.lock();
            let open = doors.open.get(&dc).filter(|door| !door.shut.is_closed());
            open.map(|door| door.address)
        };
        known.map_or_else(|| self.open_door(dc, target, None), Ok)
    }

    fn open_door(
        &self,
        dc: i32,
        target: SocketAddr,
        ready: Option<TcpStream>,
    ) -> io::Result<SocketAddr> {
        let mut doors = self.doors.lock();
        if doors.sealed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let (listener, address) = listen(&self.runtime)?;
        let (shut, open) = watch::channel(());
        let hall = Hall { way: Arc::clone(&self.way), is_home: dc == self.home, dc, target };
        doors.tasks.retain(|task| !task.is_finished());
        doors.tasks.push(self.runtime.spawn(hall.serve(listener, open, ready)));
        doors.open.insert(dc, Door { address, shut });
        Ok(address)
    }

    /// The client has its connection to a data centre: it dials none there any more.
    pub(super) fn shut(&self, dc: i32) {
        let door = self.doors.lock().open.remove(&dc);
        drop(door);
    }

    /// Nothing may be dialled any more.
    pub(super) fn seal(&self) {
        let mut doors = self.doors.lock();
        doors.sealed = true;
        doors.open.clear();
    }

    /// Waits until every socket is closed, for so long at most; then they are cut. Returns whether the server
    /// has noticed the end.
    pub(super) async fn end(&self, limit: Duration) -> bool {
        self.seal();
        if tokio::time::timeout(limit, self.gone()).await.is_err() {
            self.cut();
            self.gone().await;
        }
        !self.may_be_open()
    }

    /// Closes every socket without another word. They are closed once it [is gone](Self::is_gone).
    pub(super) fn cut(&self) {
        self.seal();
        for task in &self.doors.lock().tasks {
            task.abort();
        }
    }

    async fn gone(&self) {
        poll_fn(|context| {
            let mut doors = self.doors.lock();
            doors.tasks.retain_mut(|task| Pin::new(task).poll(context).is_pending());
            if doors.tasks.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Whether every socket is closed here.
    pub(super) fn is_gone(&self) -> bool {
        self.doors.lock().tasks.iter().all(JoinHandle::is_finished)
    }

    /// Whether the server's end of the connection may be open once ours is closed.
    pub(super) fn may_be_open(&self) -> bool {
        let is_ours = self.way.proxy.is_of_this_machine();
        // A task that is left may be about to send something.
        let HomeLegs { begun, closed } = *self.way.home.lock();
        !is_ours && (begun > closed || !self.is_gone())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.cut();
    }
}

/// A listener for the client alone.
fn listen(runtime: &Handle) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All ports are taken: the system has another word for that here than where it dials.
    let listener = listener.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => io::ErrorKind::AddrNotAvailable.into(),
        _ => error,
    })?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let _entered = runtime.enter();
    Ok((TcpListener::from_std(listener)?, address))
}

/// What lies behind a door: the connections of one data centre.
struct Hall {
    way: Arc<Way>,
    is_home: bool,
    dc: i32,
    target: SocketAddr,
}

impl Hall {
    /// Carries the connections that come in by a door.
    async fn serve(
        self,
        listener: TcpListener,
        mut open: watch::Receiver<()>,
        ready: Option<TcpStream>,
    ) {
        let Some(first) = accept(&listener, &mut open).await else { return };
        let again = async {
            let second = accept(&listener, &mut open).await;
            drop((listener, open));
            if let Some(second) = second {
                self.carry(second, None).await;
            }
        };
        tokio::join!(self.carry(first, ready), again);
    }

    async fn carry(&self, near: TcpStream, ready: Option<TcpStream>) {
        if !self.is_home {
            self.carry_by(near, ready).await;
            return;
        }
        self.way.home.lock().begun += 1;
        if self.carry_by(near, ready).await == FarEnd::Closed {
            self.way.home.lock().closed += 1;
        }
    }

    /// Carries one connection, over a way that is there or is opened now.
    async fn carry_by(&self, near: TcpStream, ready: Option<TcpStream>) -> FarEnd {
        let Way { proxy, limits, .. } = &*self.way;
        let dialled = match ready {
            Some(far) => Ok(far),
            None => dial(proxy, self.target, limits.dial).await,
        };
        match dialled {
            Ok(far) => carry(near, far, limits.linger).await,
            Err(error) => {
                let error = display_safely(&error);
                tracing::warn!(data_centre = self.dc, %error, "a data centre could not be dialled");
                // Nothing was sent.
                FarEnd::Closed
            }
        }
    }
}

/// The next connection of a door, unless it is shut.
async fn accept(listener: &TcpListener, open: &mut watch::Receiver<()>) -> Option<TcpStream> {
    tokio::select! {
        biased;
        // Nothing is ever sent: only the drop of the sender is awaited.
        _ = open.changed() => None,
        accepted = listener.accept() => accepted.and_then(|(near, _)| without_delay(near)).ok(),
    }
}

#[cfg(test)]
mod tests;
