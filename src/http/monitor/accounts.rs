//! The listing of accounts: each of them as of one moment, in the orders that are asked for.
//!
//! Owns its memory. An account that never had a connection and does not rest has nothing to tell of itself but
//! its group, its state and its limits: 12 bytes. Any other takes 220 bytes. With the names, the orders that are
//! asked for, at 4 bytes each, and up to 4 MB of answers that is 8 to 12 MB for 100,000 accounts of which 1,000 are
//! connected, and 30 to 34 MB once all have been; while the next listing is made there are two, with the same names.
//! Three seconds after the last question there is none.
//!
//! Judges no access, and forms no answer.

use std::borrow::Cow;
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use crate::account_health::AccountHealth;
use crate::account_id::AccountId;
use crate::http::monitor::aliases::Aliases;
use crate::http::monitor::names::AccountNames;
use crate::http::monitor::orders::{
    AccountSort, CursorPlace, Order, behind, index, key_of_rank, key_of_text, rank, rank_of_time,
    small_index,
};
use crate::http::monitor::rendered::Rendered;
use crate::http::monitor::unix_ms;
use crate::http::pool::ServedPool;
use crate::stats::AccountSummary;

/// After how many accounts others may have the core.
const SLICE: usize = 256;

/// All accounts as of one moment.
#[derive(Debug)]
pub(crate) struct AccountListing {
    /// In milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) names: Arc<AccountNames>,
    pub(crate) groups: Vec<Arc<str>>,
    pub(crate) kinds: Vec<AccountKind>,
    /// Answers that were made of it, by what they depend on.
    pub(crate) rendered: Rendered,
    /// In the order of the names.
    lines: Box<[AccountLine]>,
    /// Those of which there is more to tell than their kind.
    summaries: Vec<AccountSummary>,
    orders: [Order; AccountSort::ALL.len()],
}

/// Accounts of one group that are in the same state for the same reason.
#[derive(Debug)]
pub(crate) struct AccountKind {
    /// An index into the names of the groups.
    pub(crate) group: u16,
    /// Without times and lists.
    pub(crate) health: AccountHealth,
    pub(crate) count: u64,
}

/// One account.
#[derive(Debug)]
struct AccountLine {
    kind: u16,
    sessions: u16,
    connections_max: u32,
    /// The number of its summary, counted from 1; 0 if there is none.
    summary: u32,
}

/// A listing that is being made.
#[derive(Default)]
struct Draft {
    accounts: Vec<AccountId>,
    lines: Vec<AccountLine>,
    summaries: Vec<AccountSummary>,
    kinds: Vec<AccountKind>,
    /// The kinds of each group, those that were met first before the others.
    by_group: Vec<Vec<u16>>,
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

/// A health without its times and lists.
fn bare(health: &AccountHealth) -> AccountHealth {
    match health {
        AccountHealth::Cooling(_) => AccountHealth::Cooling(Vec::new()),
        AccountHealth::Resting { .. } => AccountHealth::Resting { remaining: Duration::ZERO },
        health => health.clone(),
    }
}

fn is_like(one: &AccountHealth, other: &AccountHealth) -> bool {
    match (one, other) {
        (AccountHealth::Quarantined(one), AccountHealth::Quarantined(other)) => one == other,
        _ => discriminant(one) == discriminant(other),
    }
}

/// An account of which there is no more to tell than its kind.
fn quiet(account: AccountId, group: &Arc<str>, health: AccountHealth) -> AccountSummary {
    AccountSummary {
        account,
        group: Arc::clone(group),
        health,
        rests: None,
        sessions: 0,
        idle: 0,
        active: 0,
        connecting: 0,
        closing: 0,
        max_connections: 0,
        leases: 0,
        waiting: 0,
        oldest_wait: None,
        total_connections_created: 0,
        total_connections_reused: 0,
        total_connections_closed: 0,
        errors: 0,
        last_error: None,
        last_error_age: None,
        last_used: None,
    }
}

fn is_quiet(summary: &AccountSummary) -> bool {
    // All fields by name, so that one that is added is not forgotten here.
    let AccountSummary {
        account: _,
        group: _,
        health,
        rests,
        sessions: _,
        idle,
        active,
        connecting,
        closing,
        max_connections: _,
        leases,
        waiting,
        oldest_wait,
        total_connections_created,
        total_connections_reused,
        total_connections_closed,
        errors,
        last_error,
        last_error_age,
        last_used,
    } = summary;
    let times = [rests, oldest_wait, last_error_age, last_used];
    let counts = [
        *leases,
        *waiting,
        *total_connections_created,
        *total_connections_reused,
        *total_connections_closed,
        *errors,
    ];
    !matches!(health, AccountHealth::Resting { .. })
        && [idle, active, connecting, closing].into_iter().all(|count| *count == 0)
        && counts.iter().all(|count| *count == 0)
        && times.into_iter().all(Option::is_none)
        && last_error.is_none()
}

impl Draft {
    fn add(&mut self, group: u16, summary: AccountSummary) {
        let kind = self.kind(group, &summary.health);
        self.kinds[usize::from(kind)].count += 1;
        self.accounts.push(summary.account);
        let (sessions, connections_max) = (summary.sessions, summary.max_connections);
        let number = match is_quiet(&summary) {
            true => 0,
            false => {
                self.summaries.push(summary);
                small_index(self.summaries.len())
            }
        };
        self.lines.push(AccountLine { kind, sessions, connections_max, summary: number });
        if self.lines.len().is_multiple_of(SLICE) {
            std::thread::yield_now();
        }
    }

    fn kind(&mut self, group: u16, health: &AccountHealth) -> u16 {
        let place = usize::from(group);
        if self.by_group.len() <= place {
            self.by_group.resize_with(place + 1, Vec::new);
        }
        let is_it = |kind: &&u16| is_like(&self.kinds[usize::from(**kind)].health, health);
        if let Some(known) = self.by_group[place].iter().find(is_it) {
            return *known;
        }
        let kind = u16::try_from(self.kinds.len()).expect("BUG: 65 groups, a few states of each");
        self.kinds.push(AccountKind { group, health: bare(health), count: 0 });
        self.by_group[place].push(kind);
        kind
    }
}

impl AccountListing {
    /// Lists all accounts, with the names and in the orders that were asked for of the listing before. Blocks
    /// for as long as that takes: about 20 ms for 100,000 accounts. `None`: the pool is gone.
    pub(super) fn make(
        pool: &dyn ServedPool,
        aliases: &Aliases,
        before: Option<&Self>,
    ) -> Option<Self> {
        let mut draft = Draft::default();
        if let Some(before) = before {
            draft.accounts.reserve(before.lines.len());
            draft.lines.reserve(before.lines.len());
            draft.summaries.reserve(before.summaries.len());
        }
        let at = unix_ms();
        let groups = pool.accounts(&mut |group, summary| draft.add(group, summary))?;
        draft.summaries.shrink_to_fit();
        let names = match before {
            Some(before) if *before.names.accounts() == *draft.accounts => {
                Arc::clone(&before.names)
            }
            _ => Arc::new(AccountNames::new(draft.accounts, aliases)),
        };
        let listing = Self {
            at,
            names,
            groups,
            kinds: draft.kinds,
            rendered: Rendered::default(),
            lines: draft.lines.into(),
            summaries: draft.summaries,
            orders: Default::default(),
        };
        if let Some(before) = before {
            listing.names.prepare_as(&before.names);
            for sort in AccountSort::ALL {
                if before.orders[sort as usize].is_asked() {
                    listing.orders[sort as usize].prepare(|| listing.sort(sort));
                }
            }
        }
        Some(listing)
    }

    /// The kind of an account, as an index.
    pub(crate) fn kind(&self, row: usize) -> usize {
        usize::from(self.lines[row].kind)
    }

    /// One account in short.
    pub(crate) fn summary(&self, row: usize) -> Cow<'_, AccountSummary> {
        let line = &self.lines[row];
        if let Some(summary) = self.told(line) {
            return Cow::Borrowed(summary);
        }
        let kind = &self.kinds[usize::from(line.kind)];
        let group = &self.groups[usize::from(kind.group)];
        Cow::Owned(AccountSummary {
            sessions: line.sessions,
            max_connections: line.connections_max,
            ..quiet(self.names.accounts()[row], group, kind.health.clone())
        })
    }

    fn told(&self, line: &AccountLine) -> Option<&AccountSummary> {
        line.summary.checked_sub(1).map(|number| &self.summaries[index(number)])
    }

    /// Where an account stands in an order.
    pub(crate) fn place(&self, sort: AccountSort, row: usize) -> CursorPlace {
        let key = match sort {
            AccountSort::Name => return self.names.place(row, false),
            AccountSort::FullName => return self.names.place(row, true),
            AccountSort::Group => self.key_of_group(self.kinds[self.kind(row)].group),
            sort => key_of_rank(self.rank(sort, row)),
        };
        (key, self.names.aliases()[row])
    }

    fn key_of_group(&self, group: u16) -> [u8; 24] {
        key_of_text(self.groups[usize::from(group)].as_bytes())
    }

    /// The rank of an account in an order that goes by a number.
    fn rank(&self, sort: AccountSort, row: usize) -> u64 {
        let line = &self.lines[row];
        if sort == AccountSort::State {
            return rank(rank_of(&self.kinds[usize::from(line.kind)].health));
        }
        let Some(summary) = self.told(line) else {
            let is_time = matches!(sort, AccountSort::OldestWait | AccountSort::LastUsed);
            return if is_time { rank(None) } else { rank(0) };
        };
        match sort {
            AccountSort::Active => rank(u64::from(summary.active)),
            AccountSort::Waiting => rank(summary.waiting),
            AccountSort::OldestWait => rank_of_time(summary.oldest_wait),
            AccountSort::Created => rank(summary.total_connections_created),
            AccountSort::Closed => rank(summary.total_connections_closed),
            AccountSort::Errors => rank(summary.errors),
            AccountSort::LastUsed => rank_of_time(summary.last_used),
            AccountSort::State | AccountSort::Group | AccountSort::Name | AccountSort::FullName => {
                0
            }
        }
    }

    /// Makes an order.
    fn sort(&self, sort: AccountSort) -> Box<[u32]> {
        let ranks: Option<Vec<u64>> = (sort == AccountSort::Group).then(|| {
            let mut keys: Vec<_> =
                (0..).zip(&self.groups).map(|(it, _)| self.key_of_group(it)).collect();
            let unsorted = keys.clone();
            keys.sort_unstable();
            let rank = |key| keys.partition_point(|it| it < key) as u64;
            unsorted.iter().map(rank).collect()
        });
        let rank = |row: usize| match &ranks {
            Some(ranks) => ranks[usize::from(self.kinds[self.kind(row)].group)],
            None => self.rank(sort, row),
        };
        // Most have the same: the sort is stable, and takes little longer than to see that.
        let ranked = self.names.by_alias().iter().map(|row| (rank(index(*row)), *row));
        let mut ranked: Vec<(u64, u32)> = ranked.collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, row)| row).collect()
    }

    /// The indices of the accounts in an order, or against it, behind a place.
    pub(crate) fn sorted(
        &self,
        sort: AccountSort,
        descending: bool,
        after: Option<&CursorPlace>,
    ) -> impl Iterator<Item = usize> {
        let asked = &self.orders[sort as usize];
        let order = match sort {
            AccountSort::Name => self.names.order(false),
            AccountSort::FullName => self.names.order(true),
            sort => asked.asked(|| self.sort(sort)),
        };
        behind(order, descending, after, move |row| self.place(sort, row))
    }
}

#[cfg(test)]
mod tests;
