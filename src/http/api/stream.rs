//! The stream of events and samples, as server-sent events.
//!
//! Owns its frames and how many streams there may be. Nothing is queued for a client: when it takes a frame,
//! the next is made of what is new by then, so that one who lags skips samples and holds nobody up.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;
use utoipa::IntoParams;

use crate::http::api::error::ApiError;
use crate::http::api::events::{EventFilter, EventRow, LevelName, read_id};
use crate::http::api::extract::QueryOf;
use crate::http::api::snapshot;
use crate::http::api::view::View;
use crate::http::monitor::Sample;

/// How many streams there may be at once. Whoever comes later polls.
pub(crate) const STREAMS_MAX: usize = 64;
/// After how long a client that has got nothing gets a comment, so that nothing between takes the stream for
/// dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What is streamed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// 0 to leave the samples out: 1 is a snapshot each second.
    #[param(minimum = 0, maximum = 1)]
    samples: Option<u8>,
    /// Only events of this kind, such as `quarantined`.
    #[param(max_length = 100)]
    kind: Option<String>,
    /// Only events of the account of this `id`.
    #[param(max_length = 100)]
    account: Option<String>,
    /// Only events of accounts of this group.
    #[param(max_length = 100)]
    group: Option<String>,
    /// Only events that are at least so grave.
    #[param(inline)]
    level: Option<LevelName>,
}

/// Events as they come, and a snapshot each second, as server-sent events: `event: event` with an event,
/// `event: sample` with a snapshot, `event: missed` if events were lost between. The id of an event is its
/// own: a client that comes back with `Last-Event-ID` gets what it has missed. The filters are those of the list,
/// and leave out no sample. 64 streams at most.
#[utoipa::path(
    get,
    path = "/events/stream",
    tag = "events",
    params(
        StreamQuery,
        ("Last-Event-ID" = Option<String>, Header,
            description = "The id of the last event that the client has got",
            min_length = 1, max_length = 20, pattern = "^[0-9]{1,20}$"),
    ),
    responses((
        status = 200, description = "The stream, which has no end",
        body = String, content_type = "text/event-stream",
    ))
)]
pub(super) async fn stream_events(
    view: View,
    QueryOf(query): QueryOf<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let StreamQuery { samples, kind, account, group, level } = query;
    let samples = samples.unwrap_or(1);
    if samples > 1 {
        let detail = format!("samples = {samples}: must be 0 or 1");
        return Err(ApiError::bad_request("bad_query", detail, "leave it out for samples"));
    }
    let after = match headers.get("last-event-id") {
        None => None,
        Some(id) => Some(read_id(id.to_str().unwrap_or_default())?),
    };
    let read = move |view: &View| EventFilter::read(view, (kind, account.as_deref()), group, level);
    let filter = view.clone().blocking(read).await?;
    let Ok(permit) = std::sync::Arc::clone(&view.panel.streams).try_acquire_owned() else {
        let detail = format!("{STREAMS_MAX} streams are open, which is as many as there may be");
        let stage = ("request", "too_many_streams");
        let remedy = "poll GET /api/v1/snapshot and GET /api/v1/events?after=, and try again later";
        let problem = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, stage, detail, remedy);
        return Err(problem.retry_after(10));
    };
    let frames = Frames::new(view, filter, after, samples == 1, permit);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::new(FrameBody::new(frames))).into_response())
}

/// What a client has got so far, and what it waits for.
struct Frames {
    view: View,
    filter: EventFilter,
    /// The id of the last event that was looked at.
    after: Option<u64>,
    events: watch::Receiver<u64>,
    samples: Option<watch::Receiver<std::sync::Arc<Sample>>>,
    _permit: OwnedSemaphorePermit,
}

impl Frames {
    fn new(
        view: View,
        filter: EventFilter,
        after: Option<u64>,
        samples: bool,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let monitor = &view.panel.monitor;
        let mut samples = samples.then(|| monitor.samples());
        // The first is that of now.
        samples.iter_mut().for_each(watch::Receiver::mark_changed);
        let events = monitor.events.watch();
        let after = after.or_else(|| Some(monitor.events.last()));
        Self { view, filter, after, events, samples, _permit: permit }
    }

    /// The next frame; none once the server stops or the pool is gone.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.new_events() {
                return Some(frame);
            }
            let stopping = self.view.panel.stopping.clone();
            let samples = async {
                match &mut self.samples {
                    Some(samples) => samples.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stopping.cancelled() => return None,
                changed = self.events.changed() => changed.ok()?,
                changed = samples => {
                    changed.ok()?;
                    return self.sample();
                }
                () = sleep(KEEP_ALIVE) => return Some(Bytes::from_static(b": alive\n\n")),
            }
        }
    }

    /// The events that have come and may be seen, if there are any.
    fn new_events(&mut self) -> Option<Bytes> {
        let found = self.view.panel.monitor.events.after(self.after);
        self.after = Some(found.last);
        self.events.mark_unchanged();
        let mut text = String::new();
        if found.missed {
            let last = found.last;
            writeln!(text, "event: missed\ndata: {{\"last\":\"{last}\"}}\n").ok()?;
        }
        for event in found.events.iter().filter(|event| self.filter.wants(&self.view, event)) {
            let row = serde_json::to_string(&EventRow::of(&self.view, event)).ok()?;
            writeln!(text, "id: {}\nevent: event\ndata: {row}\n", event.id).ok()?;
        }
        (!text.is_empty()).then(|| text.into())
    }

    fn sample(&mut self) -> Option<Bytes> {
        let sample = self.samples.as_mut()?.borrow_and_update().clone();
        let framed = sample.rendered.get_or_make(&format!("sse\n{}", self.view.key()), || {
            let text = snapshot::render(&self.view, &sample)?;
            Ok::<_, ApiError>([b"event: sample\ndata: ", &*text, b"\n\n"].concat().into())
        });
        framed.ok()
    }
}

/// A step of a stream: gives the stream back with its next frame.
type NextFrame = Pin<Box<dyn Future<Output = (Frames, Option<Bytes>)> + Send>>;

/// The body of a stream: each frame is made when the one before was taken.
struct FrameBody(NextFrame);

impl FrameBody {
    fn new(frames: Frames) -> Self {
        Self(Self::step(frames))
    }

    fn step(mut frames: Frames) -> NextFrame {
        Box::pin(async move {
            let frame = frames.next().await;
            (frames, frame)
        })
    }
}

impl hyper::body::Body for FrameBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (frames, frame) = ready!(self.0.as_mut().poll(cx));
        match frame {
            Some(frame) => {
                self.0 = Self::step(frames);
                Poll::Ready(Some(Ok(Frame::data(frame))))
            }
            None => {
                // Nobody polls it again, and if so, it has ended for good.
                self.0 = Box::pin(std::future::pending());
                Poll::Ready(None)
            }
        }
    }
}
