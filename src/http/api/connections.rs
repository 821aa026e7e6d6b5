//! Connections: the list of all of them, with its filters and orders.
//!
//! Owns their answers. What is sorted is the listing's; what may be seen is the view's.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::account_id::AccountId;
use crate::connection::ConnectionState;
use crate::http::api::cursor;
use crate::http::api::error::ApiError;
use crate::http::api::extract::QueryOf;
use crate::http::api::page::{Direction, Page, check_text, read_cursor, seconds};
use crate::http::api::view::View;
use crate::http::api::{json, json_text};
use crate::http::monitor::{ConnectionListing, ConnectionSort};
use crate::http::pool::ConnectionEntry;
use crate::stats::ConnectionStats;

/// The cursors of accounts and of connections are told apart by this.
const CURSORS: u8 = 0x80;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionState)]
pub(super) enum ConnectionStateName {
    /// Open, and not leased.
    Idle,
    /// Open, with one lease or more.
    Active,
    /// Being opened.
    Connecting,
    /// Being closed in good order.
    Disconnected,
    /// Being closed because it failed.
    Error,
}

impl From<ConnectionState> for ConnectionStateName {
    fn from(state: ConnectionState) -> Self {
        match state {
            ConnectionState::Idle => Self::Idle,
            ConnectionState::Active => Self::Active,
            ConnectionState::Connecting => Self::Connecting,
            ConnectionState::Disconnected => Self::Disconnected,
            ConnectionState::Error => Self::Error,
        }
    }
}

/// Which connections, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ConnectionQuery {
    /// Only those in this state.
    #[param(inline)]
    state: Option<ConnectionStateName>,
    /// Only those of this group.
    #[param(max_length = 100)]
    group: Option<String>,
    /// What they are sorted by: `age` if it is left out.
    #[param(inline)]
    sort: Option<ConnectionSort>,
    /// Which way round: `asc` if it is left out.
    #[param(inline)]
    order: Option<Direction>,
    /// How many at most: 50 if it is left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
    /// Where the page before ended: its `next`, with the same order.
    #[param(min_length = 44, max_length = 44, pattern = "^[A-Za-z0-9_-]{44}$")]
    cursor: Option<String>,
}

/// A page of connections.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectionPage {
    /// When they were listed, in milliseconds since 1970.
    at: u64,
    /// How many the filters leave.
    matched: u64,
    connections: Vec<ConnectionRow>,
    /// The cursor of the next page; null behind the last.
    next: Option<String>,
}

/// A connection.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Connection)]
pub(super) struct ConnectionRow {
    /// Names it for as long as the service runs.
    id: String,
    /// The `id` of its account.
    account: String,
    /// The name of its account.
    name: String,
    /// The session of the account that it belongs to.
    slot: u16,
    /// Where it was dialled, by Telegram's number; null if that is not known.
    data_centre: Option<u8>,
    state: ConnectionStateName,
    /// How long ago it was opened; null while it is being opened.
    age_s: Option<f64>,
    /// How long ago it was last released.
    last_used_s: Option<f64>,
    /// How many leases it has served.
    uses: u64,
    /// How many it bears now.
    leases: u32,
    /// How many errors were reported of it.
    errors: u64,
    /// The last of them.
    last_error: Option<String>,
    /// After how much idle time it is closed.
    idle_timeout_s: f64,
}

impl ConnectionRow {
    pub(super) fn of(view: &View, account: AccountId, stats: &ConnectionStats) -> Self {
        Self {
            id: stats.id.0.to_string(),
            account: view.id(account),
            name: view.name(account),
            slot: stats.slot,
            data_centre: Some(stats.dial_class).filter(|number| *number > 0),
            state: stats.state.into(),
            age_s: stats.age.map(seconds),
            last_used_s: stats.last_used.map(seconds),
            uses: stats.use_count,
            leases: stats.leases,
            errors: stats.error_count,
            last_error: stats.last_error.as_ref().map(|it| view.text(it, Some(account))),
            idle_timeout_s: seconds(stats.idle_timeout),
        }
    }
}

/// The connections that there are, page by page. They are listed at most once a second: who asks again within
/// that gets the same, and one that is up to two seconds old may be given while the next is made.
#[utoipa::path(
    get,
    path = "/connections",
    tag = "accounts",
    params(ConnectionQuery),
    responses((status = 200, description = "A page of connections", body = ConnectionPage))
)]
pub(super) async fn list_connections(
    view: View,
    QueryOf(query): QueryOf<ConnectionQuery>,
) -> Result<Response, ApiError> {
    let page = Page::of(query.limit, query.order)?;
    check_text(query.group.as_deref())?;
    let key = view.list_key(&query);
    let ready = view.panel.monitor.ready_connections();
    if let Some(text) = ready.and_then(|listing| listing.rendered.get(&key)) {
        return Ok(json_text(text));
    }
    let render = move |view: &View| {
        let listing = view.connections()?;
        listing.rendered.get_or_make(&key, || json(&list(view, &listing, &query, page)?))
    };
    view.blocking(render).await.map(json_text)
}

fn list(
    view: &View,
    listing: &ConnectionListing,
    query: &ConnectionQuery,
    page: Page,
) -> Result<ConnectionPage, ApiError> {
    let sort = query.sort.unwrap_or_default();
    let after = read_cursor(CURSORS | sort as u8, query.cursor.as_deref())?;
    let groups = listing.groups.iter();
    let is_meant = |group: &str| query.group.as_deref().is_none_or(|meant| meant == group);
    let meant: Vec<bool> = groups.map(|group| view.sees(group) && is_meant(group)).collect();
    let is_meant = |line: &&ConnectionEntry| {
        let is_in = query.state.is_none_or(|state| state == line.stats.state.into());
        is_in && meant[usize::from(line.group)]
    };
    let matched = listing.rows.iter().filter(is_meant).count() as u64;
    let sorted = listing.sorted(sort, page.descending, after.as_ref());
    let mut rows = sorted.filter(|row| is_meant(&&listing.rows[*row]));
    let page: Vec<usize> = rows.by_ref().take(page.limit).collect();
    let last = page.last().filter(|_| rows.next().is_some());
    let next = last.map(|row| cursor::write(CURSORS | sort as u8, &listing.place(sort, *row)));
    let lines = page.iter().map(|row| &listing.rows[*row]);
    let connections = lines.map(|line| ConnectionRow::of(view, line.account, &line.stats));
    Ok(ConnectionPage { at: listing.at, matched, connections: connections.collect(), next })
}
