//! One connection of the server: its requests, one after the other, and its end.
//!
//! Owns the watch over its progress. Everything of a connection happens within one task.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::answer::{self, AnswerBody};
use super::limits::ServeLimits;
use super::places::Place;
use super::progress::Progress;
use super::watched::WatchedIo;
use crate::base::clock::now;
use crate::base::sync::Mutex;
use crate::http::access::{Peer, is_stream};

/// What hyper keeps of a request that is read, and of an answer that is not sent yet. The head of an answer
/// and some of its body fit; what is more waits where it is made.
const BUFFER: usize = 64 << 10;

/// A client that was accepted.
pub(super) struct Accepted<T> {
    pub(super) io: T,
    pub(super) peer: Option<Peer>,
    pub(super) place: Place,
    pub(super) router: Router,
}

/// How a connection ended.
enum End {
    Served(hyper::Result<()>),
    /// It had no request under way when the server ended.
    Shutdown,
    TimedOut,
}

/// Serves a connection until its client leaves, its time is up, or the server ends.
pub(super) async fn serve<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    client: Accepted<T>,
    limits: ServeLimits,
    ending: CancellationToken,
) {
    let Accepted { io, peer, place, router } = client;
    let progress = Arc::new(Mutex::new(Progress::new(now())));
    let is_reserved = place.is_reserved;
    let mut server = http1::Builder::new();
    server
        .keep_alive(!is_reserved)
        .max_buf_size(BUFFER.max(limits.head_max))
        .max_header_size(limits.head_max);
    let routes = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        progress.lock().asked(now());
        let answers_all = !is_reserved || answer::is_of_metrics(request.uri().path());
        let answered = answers_all.then(|| routes.call(request));
        let (progress, ending) = (Arc::clone(&progress), ending.clone());
        async move {
            let answer = match answered {
                Some(answered) => answer::explained(answered.await?),
                None => answer::busy(),
            };
            Ok::<_, std::convert::Infallible>(watched(answer, &progress, ending))
        }
    });
    let io = WatchedIo { io, progress: Arc::clone(&progress) };
    let served = pin!(server.serve_connection(TokioIo::new(io), service));
    let end = watch(served, &progress, &limits, &ending).await;
    // What becomes of a client that leaves, or keeps no rule, is its own affair.
    match end {
        End::Served(Ok(())) | End::Shutdown => {}
        End::Served(Err(error)) => tracing::debug!(%error, "a client over HTTP got no answer"),
        End::TimedOut => tracing::debug!("a client over HTTP took too long"),
    }
}

/// The answer, with its end noted.
fn watched(
    answer: Response,
    progress: &Arc<Mutex<Progress>>,
    ending: CancellationToken,
) -> Response<AnswerBody> {
    let is_stream = is_stream(&answer);
    answer.map(|body| {
        let body = AnswerBody::new(body, progress);
        if !is_stream {
            return body;
        }
        progress.lock().streams(now());
        body.until(ending)
    })
}

/// Polls a connection until it ends, has no time left, or the server ends.
async fn watch(
    mut served: Pin<&mut impl GracefulConnection<Error = hyper::Error>>,
    progress: &Mutex<Progress>,
    limits: &ServeLimits,
    ending: &CancellationToken,
) -> End {
    let mut ending = pin!(ending.cancelled());
    let mut is_ending = false;
    let mut timer: Pin<&mut Sleep> = pin!(sleep_until(now()));
    poll_fn(|cx| {
        if !is_ending && ending.as_mut().poll(cx).is_ready() {
            is_ending = true;
            served.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(ended) = served.as_mut().poll(cx) {
            return Poll::Ready(End::Served(ended));
        }
        // Whatever changes the progress happens in that poll.
        let progress = progress.lock();
        if is_ending && progress.may_end() {
            return Poll::Ready(End::Shutdown);
        }
        let Some(deadline) = progress.deadline(limits) else { return Poll::Pending };
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).map(|()| End::TimedOut)
    })
    .await
}
