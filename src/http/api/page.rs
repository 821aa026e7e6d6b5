//! Pages of lists: how much of one is wanted, from where, and which way round.
//!
//! Owns the limits that all lists have in common.

use std::time::Duration;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::api::cursor;
use crate::http::api::error::ApiError;
use crate::http::monitor::CursorPlace;

/// How many rows a page has, if nobody says so, and at most.
pub(super) const LIMIT: u16 = 50;
pub(super) const LIMIT_MAX: u16 = 500;
/// The longest text that is searched for, or names a group or a reason.
pub(super) const TEXT_MAX: usize = 100;

/// Which way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Direction {
    #[default]
    Asc,
    Desc,
}

/// How much of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) limit: usize,
    pub(super) descending: bool,
}

impl Page {
    pub(super) fn of(limit: Option<u16>, order: Option<Direction>) -> Result<Self, ApiError> {
        let limit = limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let detail = format!("limit = {limit}: must be from 1 to {LIMIT_MAX}");
            return Err(ApiError::bad_request("bad_query", detail, "ask for several pages"));
        }
        let descending = order.unwrap_or_default() == Direction::Desc;
        Ok(Self { limit: usize::from(limit), descending })
    }
}

/// Refuses a text that is longer than any that could be found.
pub(super) fn check_text(text: Option<&str>) -> Result<(), ApiError> {
    match text.map(|text| text.chars().count()) {
        Some(length) if length > TEXT_MAX => {
            let detail = format!("a text of {length} characters is too long to be searched for");
            let remedy = "use 100 characters at most";
            Err(ApiError::bad_request("bad_query", detail, remedy))
        }
        _ => Ok(()),
    }
}

/// Reads the cursor of a query.
pub(super) fn read_cursor(order: u8, text: Option<&str>) -> Result<Option<CursorPlace>, ApiError> {
    let read = |text| {
        cursor::read(order, text).ok_or_else(|| {
            let detail = "the cursor is none of this list in this order";
            let remedy =
                "begin without one, and then send the `next` of each page, with the same sort";
            ApiError::bad_request("bad_cursor", detail, remedy)
        })
    };
    text.map(read).transpose()
}

/// A time as the API tells it.
pub(super) fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
