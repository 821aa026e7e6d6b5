//! Orders of lists: what rows are sorted by, and where one stands.
//!
//! Owns the keys. Among rows with equal keys the alias of the row decides, so that no two share a place.

use std::sync::OnceLock;
use std::time::Duration;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::base::clock::millis;

/// What accounts are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
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

impl AccountSort {
    /// All of them, each at its number.
    pub(super) const ALL: [Self; 11] = [
        Self::Name,
        Self::FullName,
        Self::State,
        Self::Group,
        Self::Active,
        Self::Waiting,
        Self::OldestWait,
        Self::Created,
        Self::Closed,
        Self::Errors,
        Self::LastUsed,
    ];

    /// Names are sorted by what is shown of them.
    pub(crate) fn seen_by(self, sees_phones: bool) -> Self {
        match self {
            Self::Name if sees_phones => Self::FullName,
            sort => sort,
        }
    }
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

/// How many orders connections have.
pub(super) const CONNECTION_SORTS: usize = ConnectionSort::Leases as usize + 1;

/// What a row is sorted by: a number, or the first bytes of a text.
pub(crate) type SortKey = [u8; 24];

/// The place of a row in an order: by its key, and by its alias among equals, so that no two share one.
pub(crate) type CursorPlace = (SortKey, u64);

/// A number as a rank: what is larger comes later, and nothing comes first.
pub(super) fn rank(number: impl Into<Option<u64>>) -> u64 {
    number.into().map_or(0, |number| number.saturating_add(1))
}

/// The same of a time.
pub(super) fn rank_of_time(time: Option<Duration>) -> u64 {
    rank(time.map(millis))
}

/// A rank as a key.
pub(super) fn key_of_rank(rank: u64) -> SortKey {
    key_of_text(&rank.to_be_bytes())
}

/// A text as a key: what it begins with.
pub(super) fn key_of_text(bytes: &[u8]) -> SortKey {
    let mut key = SortKey::default();
    key.iter_mut().zip(bytes).for_each(|(key, byte)| *key = *byte);
    key
}

/// The indices of all rows in an order, made when it is first asked for.
#[derive(Debug, Default)]
pub(super) struct Order {
    rows: OnceLock<Box<[u32]>>,
    asked: OnceLock<()>,
}

impl Order {
    /// The rows, for whoever asks for a list.
    pub(super) fn asked(&self, make: impl FnOnce() -> Box<[u32]>) -> &[u32] {
        self.asked.get_or_init(|| ());
        self.rows.get_or_init(make)
    }

    /// Makes it before anybody asks, so that nobody waits for that.
    pub(super) fn prepare(&self, make: impl FnOnce() -> Box<[u32]>) {
        self.rows.get_or_init(make);
    }

    #[cfg(test)]
    pub(super) fn is_made(&self) -> bool {
        self.rows.get().is_some()
    }

    /// Whether somebody has asked for a list in this order.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.get().is_some()
    }
}

/// The index of a row as an order keeps it.
pub(super) fn small_index(index: usize) -> u32 {
    u32::try_from(index).expect("BUG: there are fewer rows than 2^32")
}

/// The same as an index again.
pub(super) fn index(small: u32) -> usize {
    usize::try_from(small).expect("BUG: an index has been one before")
}

/// The indices behind a place, in an order or against it.
pub(super) fn behind<'a>(
    order: &'a [u32],
    descending: bool,
    after: Option<&CursorPlace>,
    place: impl Fn(usize) -> CursorPlace,
) -> Box<dyn Iterator<Item = usize> + 'a> {
    let rows = |rows: &'a [u32]| rows.iter().map(|row| index(*row));
    if descending {
        let end = after
            .map_or(order.len(), |after| order.partition_point(|row| place(index(*row)) < *after));
        return Box::new(rows(&order[..end]).rev());
    }
    let start = after.map_or(0, |after| order.partition_point(|row| place(index(*row)) <= *after));
    Box::new(rows(&order[start..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sort_is_at_its_number() {
        for (number, sort) in AccountSort::ALL.into_iter().enumerate() {
            assert_eq!(sort as usize, number);
        }
        assert_eq!(AccountSort::ALL.len(), AccountSort::LastUsed as usize + 1);
    }

    #[test]
    fn a_key_of_a_rank_is_in_its_order() {
        let ranks = [rank(None), rank(0), rank(255), rank(256), rank(u64::MAX)];
        assert!(ranks.map(key_of_rank).is_sorted());
        assert_eq!(rank_of_time(Some(Duration::from_millis(3))), 4);
    }
}
