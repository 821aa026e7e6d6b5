//! Answers of guarded routes.
//!
//! Owns the headers that keep an answer to whoever has asked for it, and the end of a stream whose token has
//! ended. Whatever a route says itself stays.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use super::token::TokenId;
use super::tokens::Tokens;

/// What every answer is sent with: nobody else's page can load it, whatever it takes it for.
const HEADERS: [(HeaderName, &str); 2] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Gives an answer the headers that it lacks. One that depends on who asks is kept by no cache.
pub(super) fn finish(mut response: Response, is_for_all: bool) -> Response {
    let cached = (!is_for_all).then_some((header::CACHE_CONTROL, "no-store"));
    for (name, value) in HEADERS.into_iter().chain(cached) {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Whether an answer goes on for as long as its client wants.
pub(crate) fn is_stream<B>(answer: &Response<B>) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"text/event-stream"))
}

/// Ends a stream of events with the token by which it was asked for. Any other answer is over soon.
pub(super) fn end_with(response: Response, tokens: &Tokens, token: TokenId) -> Response {
    if !is_stream(&response) {
        return response;
    }
    let tokens = tokens.clone();
    response.map(|body| Body::new(WhileTokenLives { body, tokens, token }))
}

/// A body that goes on for as long as its token lets somebody in.
struct WhileTokenLives {
    body: Body,
    tokens: Tokens,
    token: TokenId,
}

impl HttpBody for WhileTokenLives {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() && !self.tokens.lets_in(self.token) {
            return Poll::Ready(None);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;
    use crate::http::access::{Scope, TokenFile, TokenGrant};

    /// Goes on for ever.
    struct Events;

    impl HttpBody for Events {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: x\n\n")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_its_token_and_another_answer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::at(folder.path().join("tokens"));
        let (token, _) = file.create(TokenGrant::new("a", [Scope::Read])).unwrap();
        let tokens = Tokens::open(file.clone()).unwrap();
        let answer = |kind: &'static str| {
            let mut response = Response::new(Body::new(Events));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            end_with(response, &tokens, token.id()).into_body()
        };
        let [mut events, mut other] = ["text/event-stream", "text/plain"].map(answer);
        let next = async |body: &mut Body| {
            poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await.is_some()
        };
        assert!(next(&mut events).await);
        file.revoke("a").unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let mut has_ended = false;
        // The file is read meanwhile.
        for _ in 0..1000 {
            has_ended = !next(&mut events).await;
            if has_ended {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(has_ended);
        assert!(next(&mut other).await, "only a stream is held to it");
    }

    #[test]
    fn an_answer_is_for_whoever_has_asked() {
        let answer = finish(Response::new(Body::empty()), false);
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        assert_eq!(answer.headers()["cross-origin-resource-policy"], "same-origin");
        let mut kept = Response::new(Body::empty());
        kept.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        assert_eq!(finish(kept, false).headers()[header::CACHE_CONTROL], "no-cache");
        let page = finish(Response::new(Body::empty()), true);
        assert!(!page.headers().contains_key(header::CACHE_CONTROL));
    }
}
