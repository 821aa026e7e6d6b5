//! Events: the last ones, and the stream of those that come.
//!
//! Owns their answers, and the filter that both go by. What may be seen is the view's.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::account_id::AccountId;
use crate::events::EventLevel;
use crate::http::api::error::ApiError;
use crate::http::api::extract::QueryOf;
use crate::http::api::page::check_text;
use crate::http::api::view::View;
use crate::http::monitor::KeptEvent;

/// How many events an answer has, if nobody says so, and at most.
const LIMIT: u16 = 100;
const LIMIT_MAX: u16 = 2_000;

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Level)]
pub(super) enum LevelName {
    /// All goes as it should.
    Info,
    /// Something to look at.
    Warn,
    /// Something that an operator has to do something about.
    Error,
}

impl From<EventLevel> for LevelName {
    fn from(level: EventLevel) -> Self {
        match level {
            EventLevel::Info => Self::Info,
            EventLevel::Warn => Self::Warn,
            EventLevel::Error => Self::Error,
        }
    }
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// Only those that came after the one of this id.
    #[param(min_length = 1, max_length = 20, pattern = "^[0-9]{1,20}$")]
    after: Option<String>,
    /// Only those of this kind, such as `quarantined`.
    #[param(max_length = 100)]
    kind: Option<String>,
    /// Only those of the account of this `id`.
    #[param(max_length = 100)]
    account: Option<String>,
    /// Only those of accounts of this group.
    #[param(max_length = 100)]
    group: Option<String>,
    /// Only those that are at least so grave.
    #[param(inline)]
    level: Option<LevelName>,
    /// How many at most, the last ones: 100 if it is left out.
    #[param(minimum = 1, maximum = 2000)]
    limit: Option<u16>,
}

/// Which events are meant, of those that may be seen: the list and the stream go by the same.
#[derive(Debug, Default)]
pub(super) struct EventFilter {
    kind: Option<String>,
    account: Option<AccountId>,
    group: Option<String>,
    level: Option<LevelName>,
}

impl EventFilter {
    /// Reads a filter as a query has it. Blocks as a listing does if the account is named by an alias.
    pub(super) fn read(
        view: &View,
        (kind, account): (Option<String>, Option<&str>),
        group: Option<String>,
        level: Option<LevelName>,
    ) -> Result<Self, ApiError> {
        for text in [kind.as_deref(), account, group.as_deref()] {
            check_text(text)?;
        }
        let account = account.map(|id| view.find(id)).transpose()?;
        Ok(Self { kind, account, group, level })
    }

    /// Returns whether an event is meant, and may be seen.
    pub(super) fn wants(&self, view: &View, event: &KeptEvent) -> bool {
        let what = &event.what;
        self.kind.as_deref().is_none_or(|kind| kind == what.kind)
            && self.account.is_none_or(|account| what.account == Some(account))
            && self.group.as_deref().is_none_or(|group| event.group.as_deref() == Some(group))
            && self.level.is_none_or(|level| level <= LevelName::from(what.level))
            && is_seen(view, event)
    }
}

/// Events, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventPage {
    events: Vec<EventRow>,
    /// The id of the last event that there is: what to ask for next comes after it.
    last: String,
}

/// Something that has happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(super) struct EventRow {
    /// Grows from one event to the next, also over a restart.
    id: String,
    /// When, in milliseconds since 1970.
    at: u64,
    /// What, as a word that programs may go by.
    kind: &'static str,
    level: LevelName,
    /// The `id` of the account that it is about.
    account: Option<String>,
    /// The name of that account.
    name: Option<String>,
    group: Option<String>,
    /// The `id` of the connection that it is about.
    connection: Option<String>,
    /// The session that it is about.
    slot: Option<u16>,
    /// What, in words.
    text: String,
    /// What would help.
    remedy: Option<&'static str>,
    /// Who did it, if it was an operation.
    by: Option<String>,
}

impl EventRow {
    pub(super) fn of(view: &View, event: &KeptEvent) -> Self {
        let what = &event.what;
        Self {
            id: event.id.to_string(),
            at: event.at,
            kind: what.kind,
            level: what.level.into(),
            account: what.account.map(|account| view.id(account)),
            name: what.account.map(|account| view.name(account)),
            group: event.group.as_ref().map(ToString::to_string),
            connection: what.connection.map(|id| id.0.to_string()),
            slot: what.slot,
            text: view.text(&what.text, what.account),
            remedy: what.remedy,
            by: what.by.as_deref().map(str::to_owned),
        }
    }
}

/// Whether an event may be seen: that of an account as the account may, one of the pool as a whole by whoever
/// sees everything, but that the pool closes or is reconfigured concerns all.
fn is_seen(view: &View, event: &KeptEvent) -> bool {
    let concerns_all =
        event.what.account.is_none() && matches!(event.what.kind, "closing" | "reconfigured");
    concerns_all || view.sees_of(event.group.as_deref())
}

/// The last events, up to 2,000. Each token sees those of its groups.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    params(EventQuery),
    responses((status = 200, description = "Events, the oldest first", body = EventPage))
)]
pub(super) async fn list_events(
    view: View,
    QueryOf(query): QueryOf<EventQuery>,
) -> Result<Json<EventPage>, ApiError> {
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("limit = {limit}: must be from 1 to {LIMIT_MAX}");
        return Err(ApiError::bad_request("bad_query", detail, "ask for fewer at a time"));
    }
    let after = query.after.as_deref().map(read_id).transpose()?;
    view.blocking(move |view| list(view, query, after, usize::from(limit))).await.map(Json)
}

/// Reads the id of an event.
pub(super) fn read_id(text: &str) -> Result<u64, ApiError> {
    let is_plain = text.bytes().all(|it| it.is_ascii_digit()) && (1..=20).contains(&text.len());
    // Twenty digits may be beyond 64 bits: that is an id of no event, and none comes after it.
    let id = || text.parse().unwrap_or(u64::MAX);
    is_plain.then(id).ok_or_else(|| {
        let detail = "the id of an event is a decimal number";
        ApiError::bad_request("bad_query", detail, "take the id of an event, or `last`")
    })
}

fn list(
    view: &View,
    query: EventQuery,
    after: Option<u64>,
    limit: usize,
) -> Result<EventPage, ApiError> {
    let EventQuery { kind, account, group, level, .. } = query;
    let filter = EventFilter::read(view, (kind, account.as_deref()), group, level)?;
    let found = view.panel.monitor.events.after(after);
    let is_meant = |event: &&std::sync::Arc<KeptEvent>| filter.wants(view, event);
    let meant: Vec<_> = found.events.iter().filter(is_meant).collect();
    let skipped = meant.len().saturating_sub(limit);
    let events = meant[skipped..].iter().map(|event| EventRow::of(view, event)).collect();
    Ok(EventPage { events, last: found.last.to_string() })
}

/// The last events of one account.
pub(super) fn of_account(view: &View, account: AccountId) -> Vec<EventRow> {
    let found = view.panel.monitor.events.after(None);
    let of = |event: &&std::sync::Arc<KeptEvent>| {
        event.what.account == Some(account) && is_seen(view, event)
    };
    let last: Vec<_> = found.events.iter().rev().filter(of).take(usize::from(LIMIT)).collect();
    last.into_iter().rev().map(|event| EventRow::of(view, event)).collect()
}
