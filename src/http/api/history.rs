//! The history: what was, second by second or in longer steps.
//!
//! Owns its answer, which is made once for all who ask for the same within a second.

use axum::body::Bytes;
use axum::response::Response;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use crate::http::api::error::ApiError;
use crate::http::api::extract::QueryOf;
use crate::http::api::page::check_text;
use crate::http::api::view::View;
use crate::http::api::{json, json_text};
use crate::http::monitor::Excerpt;

/// The longest step, in seconds.
const STEP_MAX: u16 = 600;

/// The latest time that a number of JavaScript tells apart from the next.
const TIME_MAX: u64 = (1 << 53) - 1;

/// Which part of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Only what was after this time, in milliseconds since 1970: the last hour if it is left out.
    #[param(minimum = 0, maximum = 9007199254740991i64)]
    since: Option<u64>,
    /// Only this group.
    #[param(max_length = 100)]
    group: Option<String>,
    /// How many seconds a step has: 1 if it is left out.
    #[param(minimum = 1, maximum = 600)]
    step: Option<u16>,
}

/// The history in steps.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HistoryPage {
    /// How long a step is, in milliseconds.
    step_ms: u64,
    /// When each step ended, in milliseconds since 1970.
    at: Vec<u64>,
    /// A number for each step, by the name of the series: `connections.<state>`, `acquires.<result>`,
    /// `opens.ok`, `opens.failed`, `closes.<reason>`, `floods`, `waiting`, `leases`, `oldest_wait_s`,
    /// `wait_p50_s`, `wait_p99_s`. What is done is per second; null where nothing is known.
    #[serde(serialize_with = "by_name")]
    #[schema(value_type = std::collections::BTreeMap<String, Vec<Option<f64>>>)]
    series: Vec<(String, Vec<Option<f64>>)>,
}

fn by_name<S: Serializer>(
    series: &[(String, Vec<Option<f64>>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(series.len()))?;
    for (name, numbers) in series {
        map.serialize_entry(name, numbers)?;
    }
    map.end()
}

/// The last hour at most, of the groups that you may see.
#[utoipa::path(
    get,
    path = "/history",
    tag = "numbers",
    params(HistoryQuery),
    responses((status = 200, description = "The history in steps", body = HistoryPage))
)]
pub(super) async fn get_history(
    view: View,
    QueryOf(query): QueryOf<HistoryQuery>,
) -> Result<Response, ApiError> {
    check_text(query.group.as_deref())?;
    let step = query.step.unwrap_or(1);
    if !(1..=STEP_MAX).contains(&step) {
        let detail = format!("step = {step}: must be from 1 to {STEP_MAX}");
        return Err(ApiError::bad_request("bad_query", detail, "leave it out for seconds"));
    }
    if query.since.is_some_and(|since| since > TIME_MAX) {
        let detail = format!("since is beyond {TIME_MAX}");
        let remedy = "give a time in milliseconds since 1970";
        return Err(ApiError::bad_request("bad_query", detail, remedy));
    }
    view.blocking(move |view| render(view, &query, step)).await.map(json_text)
}

fn render(view: &View, query: &HistoryQuery, step: u16) -> Result<Bytes, ApiError> {
    let key = format!("history\n{}\n{:?}\n{step}", view.key(), (query.since, &query.group));
    view.sample().rendered.get_or_make(&key, || {
        let meant = |name: &str| {
            view.sees(name) && query.group.as_deref().is_none_or(|group| group == name)
        };
        let since = query.since.unwrap_or_default();
        let history = view.panel.monitor.history.lock();
        let Excerpt { at, series } = history.excerpt(since, usize::from(step), meant);
        drop(history);
        json(&HistoryPage { step_ms: 1000 * u64::from(step), at, series })
    })
}
