//! Answers of the server: a body that tells when it has been handed over, and the refusals that no route
//! makes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::progress::Progress;
use crate::base::sync::Mutex;
use crate::http::problem::Problem;

/// The body of an answer.
pub(super) struct AnswerBody {
    body: Body,
    /// At the end of the server a stream ends; any other answer is sent whole.
    ending: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Noted when it is dropped.
    progress: Arc<Mutex<Progress>>,
}

impl AnswerBody {
    pub(super) fn new(body: Body, progress: &Arc<Mutex<Progress>>) -> Self {
        Self { body, ending: None, progress: Arc::clone(progress) }
    }

    /// Has the body end with the server.
    pub(super) fn until(mut self, ending: CancellationToken) -> Self {
        self.ending = Some(Box::pin(ending.cancelled_owned()));
        self
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(ending) = &mut self.ending
            && ending.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.progress.lock().answered();
    }
}

/// Whether a path is of the numbers.
pub(super) fn is_of_metrics(path: &str) -> bool {
    ["/metrics", "/healthz", "/readyz"].iter().any(|it| path.ends_with(it))
}

/// The answer when only places for the numbers are left.
pub(super) fn busy() -> Response {
    let problem = Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        ("connect", "connections"),
        "every connection but those kept for the numbers is taken",
        "try again in some seconds, and close pages and clients that are not needed",
    );
    ([(header::CONNECTION, "close")], problem.retry_after(2)).into_response()
}

/// The answer of the limit of a body as a problem, where it is a bare text.
pub(super) fn explained(answer: Response) -> Response {
    let kind = answer.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_problem = kind == Some(Problem::CONTENT_TYPE.as_bytes());
    if answer.status() != StatusCode::PAYLOAD_TOO_LARGE || is_problem {
        return answer;
    }
    let problem = Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        ("request", "body"),
        "the body of the request is larger than this server takes",
        "send less at once",
    );
    ([(header::CONNECTION, "close")], problem).into_response()
}
