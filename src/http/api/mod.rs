//! The HTTP API, `/api/v1`: what there is to be read of a pool, and what an operator can do.
//!
//! Owns the routes and their answers. A handler takes a [`view::View`], which shows what whoever asks may
//! see, and nothing else: none reaches the pool around it.

#![allow(unused_qualifications, reason = "the macros of utoipa name types in full")]

mod accounts;
mod config;
mod connections;
mod cursor;
pub(super) mod error;
mod events;
mod extract;
mod health;
mod history;
mod numbers;
mod openapi;
mod operations;
mod page;
mod snapshot;
mod stream;
mod view;

pub(super) use stream::STREAMS_MAX;
pub(super) use view::without_phones;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::access::SessionDescription;
use crate::http::api::error::ApiError;
use crate::http::panel::PanelState;

/// Where the API is.
const ROOT: &str = "/api/v1";

/// All routes of the API, and their description.
pub(super) fn router(panel: &PanelState) -> Router {
    let (router, mut description) = described().split_for_parts();
    description.merge(SessionDescription::openapi());
    openapi::complete(&mut description);
    let text = openapi::text(&description);
    let describe = get(move |_: view::View| async move { json_text(text) });
    router.route(&format!("{ROOT}/openapi.json"), describe).with_state(panel.clone())
}

/// The routes, each with its description.
fn described() -> OpenApiRouter<PanelState> {
    let routes = OpenApiRouter::new()
        .routes(routes!(snapshot::get_snapshot))
        .routes(routes!(accounts::list_accounts))
        .routes(routes!(accounts::get_account))
        .routes(routes!(connections::list_connections))
        .routes(routes!(events::list_events))
        .routes(routes!(stream::stream_events))
        .routes(routes!(history::get_history))
        .routes(routes!(config::get_config, config::change_config))
        .routes(routes!(operations::close_account))
        .routes(routes!(operations::drain_account))
        .routes(routes!(operations::pause_account))
        .routes(routes!(operations::resume_account))
        .routes(routes!(operations::reinstate_account))
        .routes(routes!(operations::quarantine_account))
        .routes(routes!(operations::close_connection));
    OpenApiRouter::with_openapi(openapi::empty()).nest(ROOT, routes)
}

/// Makes the JSON of an answer.
fn json(answer: &impl Serialize) -> Result<Bytes, ApiError> {
    serde_json::to_vec(answer).map(Bytes::from).map_err(|_| ApiError::internal())
}

/// An answer whose JSON was made before.
fn json_text(text: Bytes) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], text).into_response()
}
