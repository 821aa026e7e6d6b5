//! HTTP server: its accept loop, its limits and its graceful shutdown.
//!
//! Owns how many connections there may be at once, how long each may take, and what becomes of them at the
//! end. Binds nothing itself: where it may listen is the caller's decision.

mod answer;
mod connection;
mod limits;
mod places;
mod progress;
mod watched;

use std::any::Any;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;

pub use limits::ServeLimits;

use places::Places;

use crate::http::access::Peer;

/// How long requests may go on after the shutdown has begun.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Serves on a `TcpListener` or a `UnixListener` of tokio's, or on any other of axum's, until `shutdown` is
/// ready, and then until every request has been answered, at most 5 seconds; streams of events end at once.
/// Needs a tokio runtime with time and I/O enabled.
///
/// Each request has the [`Peer`] that it comes from among its extensions: where the addresses of the listener
/// are `SocketAddr`s or peers themselves, that one.
///
/// The same as [`serve_within`] the limits of [`ServeLimits::default`].
///
/// # Errors
/// None so far: a listener that fails tries again by itself.
pub async fn serve<L: Listener<Addr: Debug + 'static>>(
    listener: L,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_within(ServeLimits::default(), listener, router, shutdown).await
}

/// Serves as [`serve`] does, within limits of one's own.
///
/// ```
/// use telepool::http::{self, ServeLimits};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let (router, stop) = (axum::Router::new(), async {});
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let mut limits = ServeLimits::default();
/// limits.connections_max = 32;
/// http::serve_within(limits, listener, router, stop).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// None so far: a listener that fails tries again by itself.
pub async fn serve_within<L: Listener<Addr: Debug + 'static>>(
    limits: ServeLimits,
    mut listener: L,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = router
        .layer(CatchPanicLayer::new())
        .layer(RequestBodyLimitLayer::new(limits.request_body_max));
    let ending = CancellationToken::new();
    let mut places = Places::new(&limits);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            // The place first: whoever has none yet is left in the backlog of the listener.
            let place = places.wait().await;
            (listener.accept().await, place)
        };
        let ((io, address), place) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accepted => accepted,
        };
        // Those that have ended, which are as few as there are places.
        while connections.try_join_next().is_some() {}
        let peer = peer_of(&address);
        let Some(place) = places.take(place, peer) else { continue };
        let client = connection::Accepted { io, peer, place, router: router.clone() };
        connections.spawn(connection::serve(client, limits.clone(), ending.clone()));
    }
    drop(listener);
    ending.cancel();
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, all_ended).await.is_err() {
        tracing::warn!("requests over HTTP were still under way {SHUTDOWN_GRACE:?} after its end");
    }
    Ok(())
}

/// Returns who an address of a listener is: itself a peer, or a socket's. Whoever comes by a Unix socket of
/// which nobody has said more is on this machine, and no more is known: the same as over loopback.
fn peer_of<A: 'static>(address: &A) -> Option<Peer> {
    let address = address as &dyn Any;
    if let Some(peer) = address.downcast_ref::<Peer>() {
        return Some(*peer);
    }
    #[cfg(unix)]
    if address.is::<tokio::net::unix::SocketAddr>() {
        return Some(Peer::Tcp(SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0))));
    }
    address.downcast_ref().copied().map(Peer::Tcp)
}
