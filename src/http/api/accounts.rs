//! Accounts: the list with its filters and orders, and one by itself.
//!
//! Owns their answers. What is sorted and found is the listing's; what may be seen is the view's.

use axum::Json;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::account_id::AccountId;
use crate::http::api::connections::ConnectionRow;
use crate::http::api::cursor;
use crate::http::api::error::ApiError;
use crate::http::api::events::{self, EventRow};
use crate::http::api::extract::{PathOf, QueryOf};
use crate::http::api::health::{HealthWords, StateName};
use crate::http::api::page::{Direction, Page, check_text, read_cursor, seconds};
use crate::http::api::view::View;
use crate::http::api::{json, json_text};
use crate::http::monitor::{AccountKind, AccountListing, AccountSort, Aliases};
use crate::stats::AccountSummary;

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
    /// `phone`, `bot` or `user`.
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
    /// Errors of its connections so far, also of those that are closed, and dials that failed.
    errors: u64,
    /// The last of them.
    last_error: Option<String>,
    /// How long ago a connection of it was last used: 0 while one is leased, null if none was ever open.
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
/// within that gets the same, and one that is up to two seconds old may be given while the next is made.
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
) -> Result<Response, ApiError> {
    let page = Page::of(query.limit, query.order)?;
    for text in [&query.q, &query.reason, &query.group] {
        check_text(text.as_deref())?;
    }
    let key = view.list_key(&query);
    let ready = view.panel.monitor.ready_accounts();
    if let Some(text) = ready.and_then(|listing| listing.rendered.get(&key)) {
        return Ok(json_text(text));
    }
    let render = move |view: &View| {
        let listing = view.accounts()?;
        listing.rendered.get_or_make(&key, || json(&list(view, &listing, &query, page)?))
    };
    view.blocking(render).await.map(json_text)
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

fn list(
    view: &View,
    listing: &AccountListing,
    query: &AccountQuery,
    page: Page,
) -> Result<AccountPage, ApiError> {
    let sort = query.sort.unwrap_or_default().seen_by(view.sees_phones());
    let after = read_cursor(sort as u8, query.cursor.as_deref())?;
    let seen =
        listing.kinds.iter().filter(|kind| view.sees(&listing.groups[usize::from(kind.group)]));
    let known = seen.map(|kind| kind.count).sum();
    let filter = Filter::new(view, listing, query);
    let matched = filter.count();
    let all = listing.sorted(sort, page.descending, after.as_ref());
    // If there are none, nothing is gone through.
    let all = all.take(if matched > 0 { usize::MAX } else { 0 });
    let mut rows = all.filter(|row| filter.matches(*row));
    let rows_of_page: Vec<usize> = rows.by_ref().take(page.limit).collect();
    let last = rows_of_page.last().filter(|_| rows.next().is_some());
    let next = last.map(|row| cursor::write(sort as u8, &listing.place(sort, *row)));
    let accounts = rows_of_page.iter().map(|row| AccountRow::of(view, &listing.summary(*row)));
    Ok(AccountPage { at: listing.at, known, matched, accounts: accounts.collect(), next })
}

fn detail(view: &View, id: &str) -> Result<AccountDetail, ApiError> {
    let account = view.find(id)?;
    let known = view.panel.monitor.pool.account(account);
    let known = known.ok_or_else(|| {
        ApiError::unknown("account", "it was forgotten just now: acquire it, or list the accounts")
    })?;
    let mut row = AccountRow::of(view, &known.summary);
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
    listing: &'a AccountListing,
    /// By the index of the kind: whether its group is seen, and it is as the filters say.
    kinds: Vec<bool>,
    text: Option<FoundAccount>,
}

/// What was found of a text.
struct FoundAccount {
    /// By the index of the kind: whether the name of its group contains it.
    kinds: Vec<bool>,
    /// By the index of the account: whether its name contains it, or it is its alias.
    accounts: Vec<bool>,
}

impl<'a> Filter<'a> {
    fn new(view: &View, listing: &'a AccountListing, query: &AccountQuery) -> Self {
        let is_meant = |kind: &AccountKind| {
            let group = &*listing.groups[usize::from(kind.group)];
            let words = HealthWords::of(&kind.health);
            view.sees(group)
                && query.group.as_deref().is_none_or(|meant| meant == group)
                && query.state.is_none_or(|state| state == words.state)
                && query.reason.as_deref().is_none_or(|reason| words.reason == Some(reason))
        };
        let text = query.q.as_deref().map(str::to_lowercase).filter(|text| !text.is_empty());
        let alias = query.q.as_deref().and_then(Aliases::parse);
        let find = |text: String| {
            let contains = |kind: &AccountKind| {
                listing.groups[usize::from(kind.group)].to_lowercase().contains(&text)
            };
            let mut accounts = vec![false; listing.names.accounts().len()];
            listing.names.mark_containing(&text, view.sees_phones(), &mut accounts);
            if let Some(row) = alias.and_then(|alias| listing.names.of_alias(alias)) {
                accounts[row] = true;
            }
            FoundAccount { kinds: listing.kinds.iter().map(contains).collect(), accounts }
        };
        let kinds = listing.kinds.iter().map(is_meant).collect();
        Self { listing, kinds, text: text.map(find) }
    }

    fn matches(&self, row: usize) -> bool {
        let kind = self.listing.kind(row);
        let is_found = |found: &FoundAccount| found.accounts[row] || found.kinds[kind];
        self.kinds[kind] && self.text.as_ref().is_none_or(is_found)
    }

    /// How many there are.
    fn count(&self) -> u64 {
        match self.text {
            Some(_) => {
                let rows = 0..self.listing.names.accounts().len();
                rows.filter(|row| self.matches(*row)).count() as u64
            }
            None => {
                let meant = self.listing.kinds.iter().zip(&self.kinds);
                meant.filter(|(_, is_meant)| **is_meant).map(|(kind, _)| kind.count).sum()
            }
        }
    }
}

fn small<T: TryFrom<u64>>(count: u64, max: T) -> T {
    T::try_from(count).unwrap_or(max)
}

impl AccountRow {
    fn of(view: &View, summary: &AccountSummary) -> Self {
        let account: AccountId = summary.account;
        let words = HealthWords::of(&summary.health);
        Self {
            id: view.id(account),
            name: view.name(account),
            kind: match account {
                it if it.is_phone() => "phone",
                it if it.is_bot() => "bot",
                _ => "user",
            },
            group: summary.group.to_string(),
            state: words.state,
            reason: words.reason,
            detail: words.detail.map(str::to_owned),
            remedy: words.remedy,
            until_s: words.until.map(seconds),
            sessions: summary.sessions,
            connections: AccountConnections {
                idle: small(summary.idle.into(), u16::MAX),
                active: small(summary.active.into(), u16::MAX),
                connecting: small(summary.connecting.into(), u16::MAX),
            },
            connections_max: small(summary.max_connections.into(), u16::MAX),
            leases: small(summary.leases, u32::MAX),
            waiting: small(summary.waiting, u32::MAX),
            oldest_wait_s: summary.oldest_wait.map(seconds),
            created: summary.total_connections_created,
            reused: summary.total_connections_reused,
            closed: summary.total_connections_closed,
            errors: summary.errors,
            last_error: summary.last_error.as_ref().map(|it| view.text(it, Some(account))),
            last_used_s: summary.last_used.map(seconds),
        }
    }
}
