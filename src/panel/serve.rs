//! The server's loop and its end.
//!
//! Owns the time that requests get to end. Binds nothing itself: where the panel may listen is
//! the caller's decision.

use std::fmt::Debug;
use std::future::{Future, IntoFuture as _, pending};
use std::io;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tokio::sync::oneshot;

/// How long requests may go on after the shutdown has begun.
const GRACE: Duration = Duration::from_secs(5);

/// Serves on a `TcpListener` or a `UnixListener` of tokio's until `shutdown` is ready, and then until
/// every request has been answered, at most 5 seconds. Needs a tokio runtime with time and I/O enabled.
///
/// # Errors
/// The listener's own.
pub async fn serve<L: Listener<Addr: Debug>>(
    listener: L,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (begun, begins) = oneshot::channel();
    let shutdown = async move {
        shutdown.await;
        // Nobody listens any more only if the serving has ended.
        begun.send(()).ok();
    };
    let overdue = async {
        if begins.await.is_err() {
            pending::<()>().await;
        }
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = axum::serve(listener, router).with_graceful_shutdown(shutdown).into_future() => {
            served
        }
        () = overdue => {
            tracing::warn!("requests of the panel were still under way {GRACE:?} after its end");
            Ok(())
        }
    }
}
