//! Endpoint: the client library over a connection that is not its own.
//!
//! Owns a server for one client, in this process, and that client. Never dials the session's home, never uses the
//! session's key, and never outlives the connection that it is of.
//!
//! # How it works
//! The client can only be driven by its own senders, which dial an address and speak the protocol with it. So there is
//! a listener on the loopback interface, whose key is random and in memory, that speaks the server's side to one
//! client and passes the bodies of its calls on. What comes back is passed on as it is: an error of the server word
//! for word, an answer byte for byte. The introduction of the client is answered here, so that an endpoint costs the
//! server nothing but the calls that are made by it.
//!
//! - `door`: the listener, until the client is in. That is at once, since the endpoint makes the client dial by
//!   itself. Others who come before it, without the key, are put out.
//! - `layer`: the server's side of the protocol, without any I/O, with `cipher`, `requests` and `reply`.
//! - `serve`, `inbox`: the socket, and the calls under way.
//! - `error`: what the client is told of calls that the server has not answered.
//!
//! # How it ends
//! With the connection that it is of, with its guard, or with the client's own senders. Calls under way fail then, and
//! so does every later one, at once ([`TelegramError::Io`](super::TelegramError) or
//! [`TelegramError::Dropped`](super::TelegramError)). A new endpoint has a client of its own: clones of the old one
//! stay dead.
//!
//! # Other data centres
//! Where files are kept elsewhere the client dials that data centre by itself, as any client does: from the table of
//! the settings, with a key of its own, and by the session's proxy if it has one.
//!
//! # What it costs
//! Two file descriptors and a port of the loopback interface, 46 kB of resident memory, and the processor. Against the
//! sandbox on the same machine a call alone takes 38 µs instead of 18 µs over the bare wire, and of 32 at a time each
//! takes 15 µs instead of 3 µs, which makes 66,000 calls in a second. That is fit for the few leases whose holders
//! want `send_message`; whoever calls much calls the connection itself.
//!
//! A call that its caller gives up goes on until it is answered, or until its deadline.
//!
//! # Updates
//! Stay with the connection. The client is sent none but those which are part of an answer, and keeps none.

mod access;
mod door;
pub(super) mod error;
mod inbox;
mod layer;
mod reply;
mod requests;
mod serve;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use grammers_client::client::ClientConfiguration;
use grammers_client::sender::{SenderPool, SenderPoolHandle, SenderPoolRunner};
use grammers_client::session::types::PeerInfo;
use grammers_client::tl::{Serializable as _, functions};
use grammers_client::{Client, InvocationError};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub(super) use self::access::EndpointAccess;
use self::door::EndpointDoor;
use self::serve::serve;
use super::bridge::{Bridge, BridgeLimits};
use super::one_shot_session::OneShotSession;
use super::settings::TelegramSettings;
use super::wire::WireError;
use crate::base::panics::catch_future;
use crate::base::text::display_safely;
use crate::session::{AuthKey, SessionRecord};

/// How long the client may take to come in.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// How long the client's senders may take to end by themselves. They dial a foreign data centre if it is longer.
const QUIT_MAX: Duration = Duration::from_millis(250);
/// How long the client may take to read its last answers.
const READ_MAX: Duration = Duration::from_millis(50);

/// What an endpoint is opened with.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndpointOptions<'a> {
    /// Whose connection it is over. Its key is not looked at.
    pub(super) record: &'a SessionRecord,
    /// How the client is set up, and which foreign data centres it may dial.
    pub(super) settings: &'a TelegramSettings,
    /// Where the endpoint and the client's senders run: where the connection does.
    pub(super) runtime: &'a Handle,
}

/// A client over a connection that is not its own. Dropped, it ends.
pub(super) struct EndpointClient {
    client: Client,
    session: Arc<OneShotSession>,
    /// Where the client has come in.
    address: SocketAddr,
    _stop: watch::Sender<()>,
    gone: watch::Receiver<()>,
}

impl EndpointClient {
    /// Opens an endpoint, and a client to it, which may be used at once. From wherever it is called, nothing is waited
    /// for.
    ///
    /// `forward` makes a call over the connection: it is given a body as [`WireHandle::call`](super::wire::WireHandle)
    /// takes it, is asked for many answers at a time, and sets their deadlines. A call that was sent and
    /// [lost](WireError::Lost) ends the endpoint. So does `ended`, which resolves when the connection has ended.
    ///
    /// Without a port or a file descriptor left for it, the client is as one whose connection has ended: the log says
    /// so, and every call fails at once.
    pub(super) fn open<F, A, E>(options: EndpointOptions<'_>, forward: F, ended: E) -> Self
    where
        F: Fn(Vec<u8>) -> A + Send + 'static,
        A: Future<Output = Result<Vec<u8>, WireError>> + Send + 'static,
        E: Future<Output = ()> + Send + 'static,
    {
        let EndpointOptions { record, runtime, .. } = options;
        // The client dials foreign data centres over what its home has, and a proxy over IPv4.
        let ipv6 = record.address.is_ipv6() && record.proxy.is_none();
        let door = EndpointDoor::open(runtime, record.dc, ipv6);
        if let Err(error) = &door {
            tracing::warn!(
                account = %record.account, slot = record.slot, %error,
                "no client can be had over a connection: raise the limit of open files (ulimit -n) if that is reached"
            );
        }
        Self::behind(door.ok(), options, forward, ended)
    }

    /// The client that comes in by a door, or has nowhere to go.
    fn behind<F, A, E>(
        door: Option<EndpointDoor>,
        options: EndpointOptions<'_>,
        forward: F,
        ended: E,
    ) -> Self
    where
        F: Fn(Vec<u8>) -> A + Send + 'static,
        A: Future<Output = Result<Vec<u8>, WireError>> + Send + 'static,
        E: Future<Output = ()> + Send + 'static,
    {
        let EndpointOptions { record, settings, runtime } = options;
        let record = record_of(record, door.as_ref());
        let limits = BridgeLimits { dial: settings.proxy_timeout, linger: settings.close_grace };
        let abroad = |proxy| Bridge::abroad(proxy, record.dc, limits, runtime);
        let bridge = record.proxy.as_ref().map(abroad);
        let centres = settings.data_centres.clone();
        let session = OneShotSession::new(&record, centres, bridge.clone())
            .with_peer_cache(settings.peer_cache.clone());
        let session = Arc::new(session);
        let api_id = record.api_id.unwrap_or(settings.api_id);
        // Its updates go nowhere: they stay with the connection.
        let SenderPool { runner, handle, .. } = SenderPool::with_configuration(
            Arc::clone(&session),
            api_id,
            settings.connection_params(&record),
        );
        let thin = handle.thin.clone();
        let configuration = ClientConfiguration { auto_cache_peers: settings.cache_peers };
        let client = Client::with_configuration(handle, configuration);
        let (stop, stopped) = watch::channel(());
        let (alive, gone) = watch::channel(());
        if let Some(door) = door {
            let first = first_call(&thin, record.dc);
            let senders = ClientSenders { runner, handle: thin, first };
            let (session, served) = (Arc::clone(&session), serve_one(door, forward, ended));
            drop(runtime.spawn(async move {
                senders.run(served, stopped).await;
                session.seal();
                if let Some(bridge) = bridge {
                    bridge.end(Duration::ZERO).await;
                }
                drop(alive);
            }));
        }
        Self { client, session, address: record.address, _stop: stop, gone }
    }

    /// The client. A clone does not keep the endpoint open.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// The server says who is logged in. Before that, if the record does not say so either, the client cannot send a
    /// message to oneself.
    pub(super) fn note_own(&self, own: PeerInfo) {
        self.session.note_own(own);
    }

    /// Whether no call can succeed any more.
    pub(super) fn is_over(&self) -> bool {
        self.gone.has_changed().is_err()
    }

    /// Waits until every socket of it and every task is gone.
    #[cfg(test)]
    pub(super) async fn gone(&self) {
        // Nothing is ever sent: only the drop of the sender is awaited.
        while self.gone.clone().changed().await.is_ok() {}
    }
}

impl fmt::Debug for EndpointClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointClient")
            .field("address", &self.address)
            .field("is_over", &self.is_over())
            .finish_non_exhaustive()
    }
}

/// What the client is given in place of the session: the same, but for where it dials, and with which key.
fn record_of(session: &SessionRecord, door: Option<&EndpointDoor>) -> SessionRecord {
    let nowhere = || (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), AuthKey::new([0; AuthKey::LEN]));
    let (address, key) = door.map_or_else(nowhere, |door| (door.address(), door.key().clone()));
    SessionRecord { address, key, ..session.clone() }
}

/// Lets the client in, and serves it until the connection has ended.
async fn serve_one<F, A>(door: EndpointDoor, forward: F, ended: impl Future<Output = ()>)
where
    F: Fn(Vec<u8>) -> A,
    A: Future<Output = Result<Vec<u8>, WireError>> + Send + 'static,
{
    let mut ended = pin!(ended);
    let link = tokio::select! {
        link = door.admit() => link,
        () = &mut ended => return,
    };
    serve(link, forward, ended).await;
}

/// The client's own side.
struct ClientSenders {
    runner: SenderPoolRunner,
    handle: SenderPoolHandle,
    first: FirstCall,
}

impl ClientSenders {
    /// Runs them and what serves them, until one of all these ends.
    async fn run(self, served: impl Future<Output = ()>, mut stopped: watch::Receiver<()>) {
        let Self { runner, handle, first } = self;
        let mut runner = Box::pin(catch_future(runner.run()));
        // Whatever ends them, its socket is closed after the client's: the client takes note of an end in order.
        let mut served = pin!(served);
        let (has_run, is_served) = tokio::select! {
            biased;
            // Nothing is ever sent: only the drop of the sender is awaited.
            _ = stopped.changed() => (false, false),
            () = served.as_mut() => (false, true),
            () = come_in(first) => (false, false),
            ran = &mut runner => {
                if ran.is_none() {
                    tracing::warn!("the client panicked: its endpoint is closed");
                }
                (true, false)
            }
        };
        // What was written to the client is read before it ends.
        let has_run =
            has_run || is_served && tokio::time::timeout(READ_MAX, &mut runner).await.is_ok();
        if !has_run {
            handle.quit();
            tokio::time::timeout(QUIT_MAX, runner).await.ok();
        }
    }
}

type FirstCall = Pin<Box<dyn Future<Output = Result<Vec<u8>, InvocationError>> + Send>>;

/// A ping, which is before whatever is asked of the client: it must have its home to be let into other data centres.
fn first_call(handle: &SenderPoolHandle, data_centre: i32) -> FirstCall {
    let handle = handle.clone();
    let ping = functions::Ping { ping_id: 0 }.to_bytes();
    let mut first: FirstCall =
        Box::pin(async move { handle.raw_invoke_in_dc(data_centre, ping).await });
    // The first poll puts it into the queue.
    drop(first.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    first
}

/// Has the client dial its endpoint, so that the door stands open for a moment only. Returns if it does not come in.
async fn come_in(first: FirstCall) {
    match tokio::time::timeout(OPEN_MAX, first).await {
        Ok(Ok(_)) => std::future::pending().await,
        Ok(Err(error)) => {
            let error = display_safely(&error);
            tracing::warn!(%error, "the client does not reach its endpoint");
        }
        Err(_) => tracing::warn!(limit = ?OPEN_MAX, "the client does not reach its endpoint"),
    }
}
