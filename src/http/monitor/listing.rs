//! Listings of accounts and of connections: made at most once a second, and only while somebody asks.
//!
//! Owns the orders that they are sorted in, each made when it is first asked for and shared by all who ask
//! for it within that second. Judges no access, and forms no answer.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::account_health::AccountHealth;
use crate::account_id::AccountId;
use crate::base::clock::{Instant, millis, now};
use crate::base::sync::Mutex;
use crate::connection::ConnectionState;
use crate::http::monitor::aliases::Aliases;
use crate::http::monitor::unix_ms;
use crate::http::pool::{AccountEntry, ConnectionEntry, ServedPool};

/// How old a listing may be.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// What accounts are sorted by.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AccountSort {
    // As it is shown: what is masked does not count.
    #[default]
    Name,
    // The same in full: nobody asks for it, and whoever may see it gets it.
    #[serde(skip)]
    FullName,
    State,
    Group,
    Active,
    Waiting,
    OldestWait,
    Created,
    Closed,
    Errors,
    LastUsed,
}

/// What connections are sorted by.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConnectionSort {
    #[default]
    Age,
    LastUsed,
    Uses,
    Errors,
    Leases,
}

impl AccountSort {
    /// Names are sorted by what is shown of them.
    pub(crate) fn seen_by(self, sees_phones: bool) -> Self {
        match self {
            Self::Name if sees_phones => Self::FullName,
            sort => sort,
        }
    }
}

/// What a row is sorted by: a number, or the first bytes of a text.
pub(crate) type SortKey = [u8; 24];

/// The place of a row in an order: by its key, and by its alias among equals, so that no two share one.
pub(crate) type CursorPlace = (SortKey, u64);

/// A list of rows as of one moment, with the orders that were asked for.
#[derive(Debug)]
pub(crate) struct Rows<T, const ORDERS: usize> {
    /// In milliseconds since 1970.
    pub(crate) at: u64,
    made: Instant,
    pub(crate) groups: Vec<Arc<str>>,
    pub(crate) rows: Vec<T>,
    orders: [OnceLock<Box<[u32]>>; ORDERS],
}

/// An account, with its alias.
#[derive(Debug)]
pub(crate) struct AccountLine {
    pub(crate) alias: u64,
    pub(crate) entry: AccountEntry,
}

pub(crate) type AccountListing = Rows<AccountLine, { AccountSort::LastUsed as usize + 1 }>;
pub(crate) type ConnectionListing = Rows<ConnectionEntry, { ConnectionSort::Leases as usize + 1 }>;

impl<T, const ORDERS: usize> Rows<T, ORDERS> {
    fn new(groups: Vec<Arc<str>>, rows: Vec<T>) -> Self {
        Self {
            at: unix_ms(),
            made: now(),
            groups,
            rows,
            orders: [const { OnceLock::new() }; ORDERS],
        }
    }

    /// The name of a row's group.
    pub(crate) fn group(&self, index: u16) -> &Arc<str> {
        &self.groups[usize::from(index)]
    }

    /// The rows in an order, as indices.
    fn order(&self, order: usize, place: impl Fn(&T) -> CursorPlace) -> &[u32] {
        self.orders[order].get_or_init(|| {
            let rows = (0..).zip(&self.rows);
            let mut keyed: Vec<(CursorPlace, u32)> =
                rows.map(|(at, row)| (place(row), at)).collect();
            keyed.sort_unstable();
            keyed.into_iter().map(|(_, at)| at).collect()
        })
    }

    /// The rows behind a place, in an order or against it.
    fn behind<'a>(
        &'a self,
        order: &'a [u32],
        descending: bool,
        after: Option<&CursorPlace>,
        place: impl Fn(&T) -> CursorPlace,
    ) -> Box<dyn Iterator<Item = &'a T> + 'a> {
        let row = |index: &u32| &self.rows[usize::try_from(*index).unwrap_or_default()];
        if descending {
            let end = after.map_or(order.len(), |after| {
                order.partition_point(|index| place(row(index)) < *after)
            });
            return Box::new(order[..end].iter().rev().map(row));
        }
        let start =
            after.map_or(0, |after| order.partition_point(|index| place(row(index)) <= *after));
        Box::new(order[start..].iter().map(row))
    }
}

/// A number as a key: what is larger comes later, and nothing comes first.
fn number(number: impl Into<Option<u64>>) -> SortKey {
    text(&number.into().map_or(0, |number| number.saturating_add(1)).to_be_bytes())
}

fn time(time: Option<Duration>) -> SortKey {
    number(time.map(millis))
}

/// A text as a key: what it begins with.
fn text(bytes: &[u8]) -> SortKey {
    let mut key = SortKey::default();
    key.iter_mut().zip(bytes).for_each(|(key, byte)| *key = *byte);
    key
}

/// Where a state stands in the order: what needs an operator comes last.
fn rank_of(health: &AccountHealth) -> u64 {
    match health {
        AccountHealth::Ready => 0,
        AccountHealth::Cooling(_) => 1,
        AccountHealth::Resting { .. } => 2,
        AccountHealth::Paused => 3,
        AccountHealth::Draining | AccountHealth::Closed => 4,
        AccountHealth::Suspect => 5,
        AccountHealth::Quarantined(_) => 6,
        AccountHealth::NoSession => 7,
    }
}

impl AccountListing {
    /// Where an account stands in an order.
    pub(crate) fn place(&self, sort: AccountSort, line: &AccountLine) -> CursorPlace {
        let entry = &line.entry;
        let key = match sort {
            AccountSort::Name => text(entry.account.to_string().as_bytes()),
            AccountSort::FullName => text(entry.account.reveal().to_string().as_bytes()),
            AccountSort::State => number(rank_of(&entry.health)),
            AccountSort::Group => text(self.group(entry.group).as_bytes()),
            AccountSort::Active => {
                number(u64::from(entry.states[ConnectionState::Active as usize]))
            }
            AccountSort::Waiting => number(u64::from(entry.waiting)),
            AccountSort::OldestWait => time(entry.oldest_wait),
            AccountSort::Created => number(entry.created),
            AccountSort::Closed => number(entry.closed),
            AccountSort::Errors => number(entry.errors),
            AccountSort::LastUsed => time(entry.last_used),
        };
        (key, line.alias)
    }

    /// The accounts in an order, or against it, behind a place.
    pub(crate) fn sorted(
        &self,
        sort: AccountSort,
        descending: bool,
        after: Option<&CursorPlace>,
    ) -> impl Iterator<Item = &AccountLine> {
        let order = self.order(sort as usize, |line| self.place(sort, line));
        self.behind(order, descending, after, move |line| self.place(sort, line))
    }
}

impl ConnectionListing {
    /// Where a connection stands in an order.
    pub(crate) fn place(sort: ConnectionSort, entry: &ConnectionEntry) -> CursorPlace {
        let stats = &entry.stats;
        let key = match sort {
            ConnectionSort::Age => time(stats.age),
            ConnectionSort::LastUsed => time(stats.last_used),
            ConnectionSort::Uses => number(stats.use_count),
            ConnectionSort::Errors => number(stats.error_count),
            ConnectionSort::Leases => number(u64::from(stats.leases)),
        };
        (key, stats.id.0)
    }

    /// The connections in an order, or against it, behind a place.
    pub(crate) fn sorted(
        &self,
        sort: ConnectionSort,
        descending: bool,
        after: Option<&CursorPlace>,
    ) -> impl Iterator<Item = &ConnectionEntry> {
        let order = self.order(sort as usize, |line| Self::place(sort, line));
        self.behind(order, descending, after, move |line| Self::place(sort, line))
    }
}

/// The listings that are fresh.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    accounts: Mutex<Option<Arc<AccountListing>>>,
    connections: Mutex<Option<Arc<ConnectionListing>>>,
}

impl Listings {
    /// A listing of the accounts that is fresh, made now if there is none. Blocks for as long as that takes,
    /// and whoever else asks waits for it. `None`: the pool is gone.
    pub(crate) fn accounts(
        &self,
        pool: &dyn ServedPool,
        aliases: &Aliases,
    ) -> Option<Arc<AccountListing>> {
        fresh(
            &self.accounts,
            |it| it.made,
            || {
                let listed = pool.accounts()?;
                let line =
                    |entry: AccountEntry| AccountLine { alias: aliases.of(entry.account), entry };
                Some(Rows::new(listed.groups, listed.entries.into_iter().map(line).collect()))
            },
        )
    }

    /// The same of the connections.
    pub(crate) fn connections(&self, pool: &dyn ServedPool) -> Option<Arc<ConnectionListing>> {
        fresh(
            &self.connections,
            |it| it.made,
            || {
                let listed = pool.connections()?;
                Some(Rows::new(listed.groups, listed.entries))
            },
        )
    }

    /// Lets go of listings that nobody has asked for again.
    pub(super) fn forget_stale(&self) {
        let limit = 3 * FRESH_FOR;
        forget(&self.accounts, |it| it.made + limit);
        forget(&self.connections, |it| it.made + limit);
    }

    /// Finds the account of an alias.
    pub(crate) fn of_alias(
        &self,
        pool: &dyn ServedPool,
        aliases: &Aliases,
        alias: u64,
    ) -> Option<AccountId> {
        let listing = self.accounts(pool, aliases)?;
        listing.rows.iter().find(|line| line.alias == alias).map(|line| line.entry.account)
    }
}

fn fresh<T>(
    kept: &Mutex<Option<Arc<T>>>,
    made: impl Fn(&T) -> Instant,
    make: impl FnOnce() -> Option<T>,
) -> Option<Arc<T>> {
    let mut kept = kept.lock();
    if let Some(listing) = kept.as_ref().filter(|it| now() < made(it) + FRESH_FOR) {
        return Some(Arc::clone(listing));
    }
    // The old one goes first: two at once would take twice the memory.
    *kept = None;
    let listing = Arc::new(make()?);
    *kept = Some(Arc::clone(&listing));
    Some(listing)
}

fn forget<T>(kept: &Mutex<Option<Arc<T>>>, until: impl Fn(&T) -> Instant) {
    let mut kept = kept.lock();
    if kept.as_ref().is_some_and(|it| until(it) <= now()) {
        *kept = None;
    }
}
