//! HTTP server: its accept loop, its limits and its graceful shutdown.
//!
//! Owns the timeouts of a connection, how many there may be at once, and what becomes of them at the end.
//! Binds nothing itself: where it may listen is the caller's decision.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::base::clock::{Instant, now};

/// How long requests may go on after the shutdown has begun.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long a client may take for the head of its request. Those who ask send it in one piece, as soon as
/// they are connected; one that is silent, or sends a byte now and then, has no business here.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take in all: three times as long as Prometheus waits for its answer by
/// default. It also ends those that never read theirs.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How many connections there may be at once. Each takes a file descriptor, of which `telepool serve` keeps
/// 32 back for all that opens late; and a scraper or a probe has one at a time.
const CONNECTIONS_MAX: usize = 16;
/// How often it is warned of at most that all of them are taken.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Serves on a `TcpListener` or a `UnixListener` of tokio's until `shutdown` is ready, and then until
/// every request has been answered, at most 5 seconds. Needs a tokio runtime with time and I/O enabled.
///
/// A connection is for one request, so that none lies idle. It must have sent the head of it after 10
/// seconds, and have taken its answer after 30, or it is closed. 16 are served at once; the others wait
/// until one of these ends, in the backlog of the listener, where they take no file descriptor. This is made
/// for numbers: an answer that goes on for longer, as a stream of events does, needs a server of its own.
///
/// # Errors
/// None so far: a listener that fails tries again by itself.
pub async fn serve<L: Listener<Addr: Debug>>(
    mut listener: L,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (end, ending) = watch::channel(false);
    let mut limit = ConnectionLimit::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            // The permit first: whoever has none yet is left in the backlog of the listener.
            let permit = limit.acquire().await;
            (listener.accept().await.0, permit)
        };
        let (client, permit) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accepted => accepted,
        };
        // Those that have ended, which are as few as there are permits.
        while connections.try_join_next().is_some() {}
        connections.spawn(serve_connection::<L>(client, router.clone(), ending.clone(), permit));
    }
    drop(listener);
    end.send_replace(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, all_ended).await.is_err() {
        tracing::warn!("requests over HTTP were still under way {SHUTDOWN_GRACE:?} after its end");
    }
    Ok(())
}

/// How many connections may be open at once.
struct ConnectionLimit {
    permits: Arc<Semaphore>,
    warned_at: Option<Instant>,
}

impl ConnectionLimit {
    fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)), warned_at: None }
    }

    /// Waits until another connection may be accepted.
    async fn acquire(&mut self) -> OwnedSemaphorePermit {
        let permits = &self.permits;
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return permit;
        }
        if self.warned_at.is_none_or(|warned_at| warned_at + WARN_EVERY <= now()) {
            self.warned_at = Some(now());
            tracing::warn!(
                "{CONNECTIONS_MAX} clients are connected for the numbers, who may take {CONNECTION_TIMEOUT:?} each: \
                 whoever comes now waits (told once a minute)"
            );
        }
        Arc::clone(permits).acquire_owned().await.expect("BUG: nobody closes the semaphore")
    }
}

/// Serves one connection, and the one request on it.
async fn serve_connection<L: Listener>(
    client: L::Io,
    router: Router,
    mut ending: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).keep_alive(false);
    let service = TowerToHyperService::new(router);
    let mut served = pin!(server.serve_connection(TokioIo::new(client), service));
    let connection = async {
        tokio::select! {
            biased;
            served = served.as_mut() => return served,
            // An error would mean that the server has gone, which is an end as well.
            _ = ending.wait_for(|ending| *ending) => served.as_mut().graceful_shutdown(),
        }
        served.await
    };
    // What becomes of a client that leaves, or keeps no rule, is its own affair.
    if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, connection).await {
        tracing::debug!(%error, "a client over HTTP got no answer");
    }
}
