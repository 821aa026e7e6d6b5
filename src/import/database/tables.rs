//! The tables of a database: which columns each has, and their rows.
//!
//! Owns the queries, whose names are all ours: nothing of a file gets into one.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row};

use super::open::told;
use crate::import::ImportError;

/// An open database.
pub(super) struct Tables {
    connection: Connection,
}

/// The names of a table's columns.
pub(super) struct Columns {
    table: &'static str,
    names: BTreeSet<String>,
}

impl Tables {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// The columns of a table, if there is such a one: a view, and a table that is the work of a module, may
    /// be anything.
    pub(super) fn columns(&self, table: &'static str) -> Result<Option<Columns>, ImportError> {
        let is_there = "SELECT count(*) FROM sqlite_master \
                        WHERE type = 'table' AND rootpage > 0 AND name = ?1 COLLATE NOCASE";
        let count = self.connection.query_row(is_there, [table], |row| row.get::<_, i64>(0));
        if count.map_err(told)? == 0 {
            return Ok(None);
        }
        let mut statement =
            self.connection.prepare(&format!("PRAGMA table_info({table})")).map_err(told)?;
        let mut rows = statement.query([]).map_err(told)?;
        let mut names = BTreeSet::new();
        while let Some(row) = rows.next().map_err(told)? {
            let name = row.get_ref(1).map_err(told)?.as_str().unwrap_or_default();
            names.insert(name.to_ascii_lowercase());
        }
        Ok(Some(Columns { table, names }))
    }

    /// Calls for each row of a table, with the wanted columns in this order, and NULL for those that it does
    /// not have. At most so many rows are read, and the number of the others is returned.
    pub(super) fn each(
        &self,
        columns: &Columns,
        wanted: &[&str],
        limit: usize,
        mut take: impl FnMut(&Row<'_>) -> Result<(), ImportError>,
    ) -> Result<u64, ImportError> {
        let (table, fields) = (columns.table, columns.select(wanted));
        let query = format!("SELECT {fields} FROM {table} LIMIT {limit}");
        let mut statement = self.connection.prepare(&query).map_err(told)?;
        let mut rows = statement.query([]).map_err(told)?;
        let mut taken = 0;
        while let Some(row) = rows.next().map_err(told)? {
            take(row)?;
            taken += 1;
        }
        if taken < limit {
            return Ok(0);
        }
        let query = format!("SELECT count(*) FROM {table}");
        let count = self.connection.query_row(&query, [], |row| row.get::<_, i64>(0));
        Ok(u64::try_from(count.map_err(told)?).unwrap_or_default().saturating_sub(taken as u64))
    }
}

impl Columns {
    /// Whether all of these are there.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.names.contains(*name))
    }

    fn select(&self, wanted: &[&str]) -> String {
        let field = |name| if self.has(&[name]) { name } else { "NULL" };
        wanted.iter().map(|name| field(*name)).collect::<Vec<_>>().join(", ")
    }
}
