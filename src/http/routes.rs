//! HTTP routes of the numbers and the health: for scrapers and probes.
//!
//! Owns their paths and their status codes. Everything here only reads.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use crate::http::access::{Access, Scope};
use crate::http::api::error::ApiError;
use crate::http::api::without_phones;
use crate::http::panel::PanelState;
use crate::metrics::{Prometheus, Readiness};

/// The numbers and the health alone, for an application that wants no page and no API:
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
pub fn probes(exporter: &Prometheus) -> Router {
    Router::new()
        .route("/metrics", metrics(exporter))
        .route("/healthz", health(exporter))
        .route("/readyz", readiness(exporter))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
}

/// The same for a panel: the numbers are those of the groups that whoever asks may see.
pub(super) fn of_panel(panel: &PanelState) -> Router {
    let exporter = panel.exporter.clone();
    let metrics = get(move |access: Access| async move {
        if !access.may(Scope::Read) {
            return ApiError::no_scope(&access, Scope::Read).into_response();
        }
        let text = match access.groups {
            Some(groups) => exporter.scrape_of(groups).await,
            None => exporter.scrape().await,
        };
        match text {
            Ok(text) => ([(header::CONTENT_TYPE, Prometheus::CONTENT_TYPE)], text).into_response(),
            Err(_) => ApiError::internal().into_response(),
        }
    });
    Router::new()
        .route("/metrics", metrics)
        .route("/healthz", health(&panel.exporter))
        .route("/readyz", panel_readiness(&panel.exporter))
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
    get(move || async move { answer_of(&exporter.readiness()) })
}

/// The same for whoever has passed the access policy.
fn panel_readiness(exporter: &Prometheus) -> MethodRouter {
    let exporter = exporter.clone();
    get(move |access: Access| async move { answer_of(&seen_by(&access, exporter.readiness())) })
}

/// What a dial failed with is somebody else's text: it may name an account, and is of some group.
pub(super) fn seen_by(access: &Access, mut readiness: Readiness) -> Readiness {
    if let Readiness::EverybodyRests { why, .. } = &mut readiness
        && !access.phones
    {
        let seen = why.take().filter(|_| access.groups.is_none());
        *why = seen.map(|why| without_phones(&why, None).into());
    }
    readiness
}

fn answer_of(readiness: &Readiness) -> Response {
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
}
