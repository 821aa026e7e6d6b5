//! HTTP routes.
//!
//! Owns the paths and the status codes. Everything here only reads.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use super::page;
use crate::metrics::{Prometheus, Readiness};

/// Routes of their own:
///
/// | path | answer |
/// |---|---|
/// | `/` | 200, the live page, whose files are below `/page`; `/api` describes what it reads |
/// | `/metrics` | 200, the numbers as Prometheus' text |
/// | `/healthz` | 200 `ok`, or 503 `closing` once the pool closes: whether the process lives |
/// | `/readyz` | 200 `ready`, or 503 and why: the pool closes, or of all accounts that it knows each is out of service or rests; if one only rests, with until when, and `Retry-After` |
/// | any other | 404 |
///
/// To put them below a path of another router, `nest` them; to take `/metrics` alone, see
/// [`metrics()`].
pub fn router(exporter: &Prometheus) -> Router {
    Router::new()
        .merge(page::router())
        .route("/metrics", metrics(exporter))
        .route("/healthz", health(exporter))
        .route("/readyz", readiness(exporter))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
}

/// The answer to GET and HEAD of `/metrics`, for a router of the application's own. If the text
/// cannot be made, it is 500.
pub fn metrics<S: Clone + Send + Sync + 'static>(exporter: &Prometheus) -> MethodRouter<S> {
    let exporter = exporter.clone();
    get(move || async move { text_of(&exporter).await })
}

async fn text_of(exporter: &Prometheus) -> Response {
    match exporter.scrape().await {
        Ok(text) => ([(header::CONTENT_TYPE, Prometheus::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn health(exporter: &Prometheus) -> MethodRouter {
    let exporter = exporter.clone();
    get(move || async move {
        if exporter.is_closing() {
            (StatusCode::SERVICE_UNAVAILABLE, "closing\n")
        } else {
            (StatusCode::OK, "ok\n")
        }
    })
}

fn readiness(exporter: &Prometheus) -> MethodRouter {
    let exporter = exporter.clone();
    get(move || async move {
        let readiness = exporter.readiness();
        let text = format!("{readiness}\n");
        match readiness {
            Readiness::Ready => text.into_response(),
            Readiness::EverybodyRests { remaining: left, .. } => {
                // In whole seconds: at the end of the last it is over.
                let seconds = left.as_millis().div_ceil(1000).to_string();
                (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, seconds)], text)
                    .into_response()
            }
            _ => (StatusCode::SERVICE_UNAVAILABLE, text).into_response(),
        }
    })
}
