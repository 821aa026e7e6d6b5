//! Accounts: the list with its filters and orders, and one by itself.
//!
//! Owns their answers. What is sorted and found is the listing's; what may be seen is the view's.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::account_id::AccountId;
use crate::connection::ConnectionState;
use crate::http::api::connections::ConnectionRow;
use crate::http::api::cursor;
use crate::http::api::error::ApiError;
use crate::http::api::events::{self, EventRow};
use crate::http::api::extract::{PathOf, QueryOf};
use crate::http::api::health::{HealthWords, StateName};
use crate::http::api::page::{Direction, Page, check_text, read_cursor, seconds};
use crate::http::api::view::View;
use crate::http::monitor::{AccountLine, AccountListing, AccountSort, Aliases};
use crate::http::pool::AccountEntry;

/// Which accounts, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AccountQuery {
    /// Only those whose name, id or group contains this text.
    #[param(max_length = 100)]
    q: Option<String>,
    /// Only those in this state.
    #[param(inline)]
    state: Option<StateName>,
    /// Only those that are in their state for this reason, such as `key_duplicated`.
    #[param(max_length = 100)]
    reason: Option<String>,
    /// Only those of this group.
    #[param(max_length = 100)]
    group: Option<String>,
    /// What they are sorted by: `name` if it is left out.
    #[param(inline)]
    sort: Option<AccountSort>,
    /// Which way round: `asc` if it is left out.
    #[param(inline)]
    order: Option<Direction>,
    /// How many at most: 50 if it is left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
    /// Where the page before ended: its `next`, with the same order. Rows that have moved meanwhile are where
    /// they are now; of all others none is left out and none comes twice.
    #[param(min_length = 44, max_length = 44, pattern = "^[A-Za-z0-9_-]{44}$")]
    cursor: Option<String>,
}

/// A page of accounts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountPage {
    /// When they were listed, in milliseconds since 1970.
    at: u64,
    /// How many accounts there are that you may see.
    known: u64,
    /// How many of them the filters leave.
    matched: u64,
    accounts: Vec<AccountRow>,
    /// The cursor of the next page; null behind the last.
    next: Option<String>,
}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountRow {
    /// What routes take: the id itself, or an alias for whoever may not see its phone number.
    id: String,
    /// What is shown: the phone number is masked for whoever may not see it.
    name: String,
    /// `phone` or `bot`.
    kind: &'static str,
    group: String,
    state: StateName,
    /// Why it is in that state, as a word that programs may go by; null if it is ready.
    reason: Option<&'static str>,
    /// The same in words.
    detail: Option<String>,
    /// What would help.
    remedy: Option<&'static str>,
    /// For how much longer it rests.
    until_s: Option<f64>,
    /// How many sessions it has.
    sessions: u16,
    connections: AccountConnections,
    /// The most connections that it may have.
    connections_max: u16,
    /// Leases that are held.
    leases: u32,
    /// Acquires that wait.
    waiting: u32,
    /// For how long the first of them has waited.
    oldest_wait_s: Option<f64>,
    /// Connections that were opened so far.
    created: u64,
    /// Acquires that a live connection served.
    reused: u64,
    /// Connections that were closed so far.
    closed: u64,
    /// Errors of the connections that there are.
    errors: u64,
    /// The last of them.
    last_error: Option<String>,
    /// How long ago a connection of it was last released.
    last_used_s: Option<f64>,
}

/// How many connections an account has.
#[derive(Debug, Serialize, ToSchema)]
struct AccountConnections {
    idle: u16,
    active: u16,
    connecting: u16,
}

/// An account with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountDetail {
    #[serde(flatten)]
    row: AccountRow,
    /// Methods that it may not call for a while.
    cooldowns: Vec<CooldownRow>,
    /// Sessions that are out of service.
    quarantines: Vec<QuarantineRow>,
    connections_list: Vec<ConnectionRow>,
    /// Its last events, the oldest first.
    events: Vec<EventRow>,
}

/// A method that must rest.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cooldown)]
struct CooldownRow {
    /// The number of the method, as Telegram has it, in hexadecimal.
    method: String,
    /// Its name, if it is known, such as `messages.sendMessage`.
    name: Option<&'static str>,
    /// For how much longer.
    remaining_s: f64,
}

/// A session that is out of service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quarantine)]
struct QuarantineRow {
    /// Which session of the account.
    slot: u16,
    reason: &'static str,
    remedy: &'static str,
}

/// The accounts that the pool knows, page by page. They are listed at most once a second: who asks again
/// within that gets the same.
#[utoipa::path(
    get,
    path = "/accounts",
    tag = "accounts",
    params(AccountQuery),
    responses((status = 200, description = "A page of accounts", body = AccountPage))
)]
pub(super) async fn list_accounts(
    view: View,
    QueryOf(query): QueryOf<AccountQuery>,
) -> Result<Json<AccountPage>, ApiError> {
    let page = Page::of(query.limit, query.order)?;
    for text in [&query.q, &query.reason, &query.group] {
        check_text(text.as_deref())?;
    }
    view.blocking(move |view| list(view, &query, page)).await.map(Json)
}

/// One account, with each of its connections and its last events.
#[utoipa::path(
    get,
    path = "/accounts/{id}",
    tag = "accounts",
    params(("id" = String, Path, description = "The `id` of the account", max_length = 100)),
    responses((status = 200, description = "The account", body = AccountDetail))
)]
pub(super) async fn get_account(
    view: View,
    PathOf(id): PathOf<String>,
) -> Result<Json<AccountDetail>, ApiError> {
    view.blocking(move |view| detail(view, &id)).await.map(Json)
}

fn list(view: &View, query: &AccountQuery, page: Page) -> Result<AccountPage, ApiError> {
    let sort = query.sort.unwrap_or_default().seen_by(view.sees_phones());
    let after = read_cursor(sort as u8, query.cursor.as_deref())?;
    let listing = view.accounts()?;
    let seen: Vec<bool> = listing.groups.iter().map(|group| view.sees(group)).collect();
    let is_seen = |line: &&AccountLine| seen[usize::from(line.entry.group)];
    let known = listing.rows.iter().filter(is_seen).count() as u64;
    let filter = Filter::new(view, &listing, query);
    let is_meant = |line: &&AccountLine| is_seen(line) && filter.matches(line);
    let matched = match filter.is_open() {
        true => known,
        false => listing.rows.iter().filter(is_meant).count() as u64,
    };
    let mut rows = listing.sorted(sort, page.descending, after.as_ref()).filter(is_meant);
    let lines: Vec<_> = rows.by_ref().take(page.limit).collect();
    let last = lines.last().filter(|_| rows.next().is_some());
    let next = last.map(|line| cursor::write(sort as u8, &listing.place(sort, line)));
    let accounts =
        lines.iter().map(|line| AccountRow::of(view, &line.entry, listing.group(line.entry.group)));
    Ok(AccountPage { at: listing.at, known, matched, accounts: accounts.collect(), next })
}

fn detail(view: &View, id: &str) -> Result<AccountDetail, ApiError> {
    let account = view.find(id)?;
    let known = view.panel.monitor.pool.account(account);
    let known = known.ok_or_else(|| {
        ApiError::unknown("account", "it was forgotten just now: acquire it, or list the accounts")
    })?;
    let mut row = AccountRow::of(view, &known.entry, &known.group);
    if let Some(error) = known.last_dial_error.as_deref().filter(|_| row.reason.is_some()) {
        let detail = row.detail.take().unwrap_or_default();
        let error = view.text(error, Some(account));
        row.detail = Some(format!("{detail}; its last dial failed: {error}"));
    }
    let cooldowns = known.cooldowns.iter().map(|(cooldown, name)| CooldownRow {
        method: format!("{:08x}", cooldown.key),
        name: *name,
        remaining_s: seconds(cooldown.remaining),
    });
    let quarantines = known.quarantines.iter().map(|(slot, reason)| QuarantineRow {
        slot: *slot,
        reason: reason.label(),
        remedy: reason.remedy(),
    });
    let connections = known.connections.iter().map(|it| ConnectionRow::of(view, account, it));
    Ok(AccountDetail {
        row,
        cooldowns: cooldowns.collect(),
        quarantines: quarantines.collect(),
        connections_list: connections.collect(),
        events: events::of_account(view, account),
    })
}

/// Which accounts are meant.
struct Filter<'a> {
    view: &'a View,
    /// In lower case.
    text: Option<String>,
    alias: Option<u64>,
    /// By the index of the group: whether its name contains the text.
    groups: Vec<bool>,
    state: Option<StateName>,
    reason: Option<&'a str>,
    /// By the index of the group.
    of_group: Option<Vec<bool>>,
}

impl<'a> Filter<'a> {
    fn new(view: &'a View, listing: &AccountListing, query: &'a AccountQuery) -> Self {
        let text = query.q.as_deref().map(str::to_lowercase).filter(|text| !text.is_empty());
        let contains =
            |group: &str| text.as_ref().is_some_and(|text| group.to_lowercase().contains(text));
        let by_group = |name: &str| listing.groups.iter().map(|group| **group == *name).collect();
        Self {
            view,
            alias: query.q.as_deref().and_then(Aliases::parse),
            groups: listing.groups.iter().map(|group| contains(group)).collect(),
            text,
            state: query.state,
            reason: query.reason.as_deref(),
            of_group: query.group.as_deref().map(by_group),
        }
    }

    fn is_open(&self) -> bool {
        self.text.is_none()
            && self.state.is_none()
            && self.reason.is_none()
            && self.of_group.is_none()
    }

    fn matches(&self, line: &AccountLine) -> bool {
        let group = usize::from(line.entry.group);
        if self.of_group.as_ref().is_some_and(|meant| !meant[group]) {
            return false;
        }
        if self.state.is_some() || self.reason.is_some() {
            let words = HealthWords::of(&line.entry.health);
            let is_in = self.state.is_none_or(|state| state == words.state);
            if !is_in || self.reason.is_some_and(|reason| words.reason != Some(reason)) {
                return false;
            }
        }
        let Some(text) = &self.text else { return true };
        self.groups[group]
            || self.alias == Some(line.alias)
            || self.view.name(line.entry.account).contains(text.as_str())
    }
}

impl AccountRow {
    fn of(view: &View, entry: &AccountEntry, group: &str) -> Self {
        let account: AccountId = entry.account;
        let words = HealthWords::of(&entry.health);
        let in_state = |state: ConnectionState| entry.states[state as usize];
        Self {
            id: view.id(account),
            name: view.name(account),
            kind: if account.is_bot() { "bot" } else { "phone" },
            group: group.to_owned(),
            state: words.state,
            reason: words.reason,
            detail: words.detail.map(str::to_owned),
            remedy: words.remedy,
            until_s: words.until.map(seconds),
            sessions: entry.sessions,
            connections: AccountConnections {
                idle: in_state(ConnectionState::Idle),
                active: in_state(ConnectionState::Active),
                connecting: in_state(ConnectionState::Connecting),
            },
            connections_max: entry.connections_max,
            leases: entry.leases,
            waiting: entry.waiting,
            oldest_wait_s: entry.oldest_wait.map(seconds),
            created: entry.created,
            reused: entry.reused,
            closed: entry.closed,
            errors: entry.errors,
            last_error: entry.last_error.as_ref().map(|it| view.text(it, Some(account))),
            last_used_s: entry.last_used.map(seconds),
        }
    }
}
