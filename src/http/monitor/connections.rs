//! The listing of connections: each of them as of one moment, in the orders that are asked for.
//!
//! Owns its memory: some 150 bytes for each connection, and 4 for each order that is asked for. Judges no
//! access, and forms no answer.

use std::sync::Arc;

use crate::http::monitor::orders::{
    CONNECTION_SORTS, ConnectionSort, CursorPlace, Order, behind, key_of_rank, rank, rank_of_time,
    small_index,
};
use crate::http::monitor::rendered::Rendered;
use crate::http::monitor::unix_ms;
use crate::http::pool::{ConnectionEntry, Entries, ServedPool};

/// All connections as of one moment.
#[derive(Debug)]
pub(crate) struct ConnectionListing {
    /// In milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) groups: Vec<Arc<str>>,
    pub(crate) rows: Vec<ConnectionEntry>,
    /// Answers that were made of it, by what they depend on.
    pub(crate) rendered: Rendered,
    orders: [Order; CONNECTION_SORTS],
}

impl ConnectionListing {
    /// Lists all connections. Blocks for as long as that takes: a microsecond for each. `None`: the pool is gone.
    pub(super) fn make(pool: &dyn ServedPool) -> Option<Self> {
        let at = unix_ms();
        let Entries { groups, entries: rows } = pool.connections()?;
        let rendered = Rendered::default();
        Some(Self { at, groups, rows, rendered, orders: Default::default() })
    }

    fn rank(&self, sort: ConnectionSort, row: usize) -> (u64, u64) {
        let stats = &self.rows[row].stats;
        let rank = match sort {
            ConnectionSort::Age => rank_of_time(stats.age),
            ConnectionSort::LastUsed => rank_of_time(stats.last_used),
            ConnectionSort::Uses => rank(stats.use_count),
            ConnectionSort::Errors => rank(stats.error_count),
            ConnectionSort::Leases => rank(u64::from(stats.leases)),
        };
        (rank, stats.id.0)
    }

    /// Where a connection stands in an order.
    pub(crate) fn place(&self, sort: ConnectionSort, row: usize) -> CursorPlace {
        let (rank, id) = self.rank(sort, row);
        (key_of_rank(rank), id)
    }

    /// The indices of the connections in an order, or against it, behind a place.
    pub(crate) fn sorted(
        &self,
        sort: ConnectionSort,
        descending: bool,
        after: Option<&CursorPlace>,
    ) -> impl Iterator<Item = usize> {
        let order = self.orders[sort as usize].asked(|| {
            let ranked = (0..self.rows.len()).map(|row| (self.rank(sort, row), small_index(row)));
            let mut ranked: Vec<_> = ranked.collect();
            ranked.sort_unstable();
            ranked.into_iter().map(|(_, row)| row).collect()
        });
        behind(order, descending, after, move |row| self.place(sort, row))
    }
}
