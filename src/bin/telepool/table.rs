//! Tables of plain text, aligned in columns.

use crate::logs::escaped;

/// Rows of cells below a head. What stands in a cell is shown in one line.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// Whether the column is of numbers, which are aligned at their end.
    numbers: Vec<bool>,
}

impl Table {
    /// A table with these columns; those whose name begins with `#` are of numbers.
    pub(crate) fn new(head: &[&str]) -> Self {
        let numbers = head.iter().map(|name| name.starts_with('#')).collect();
        let names = head.iter().map(|name| name.trim_start_matches('#').to_owned());
        Self { rows: vec![names.collect()], numbers }
    }

    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().map(|cell| escaped(&cell).into_owned()).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let length = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.numbers.len()).map(length).collect();
        for row in &self.rows {
            let cells =
                row.iter().zip(&widths).zip(&self.numbers).map(|((cell, &width), number)| {
                    if *number { format!("{cell:>width$}") } else { format!("{cell:width$}") }
                });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_and_numbers_end_where_others_do() {
        let mut table = Table::new(&["name", "#leases", "text"]);
        assert!(table.is_empty());
        table.push(["a".into(), "7".into(), "two\nlines".into()]);
        table.push(["longer".into(), "12345678".into(), String::new()]);
        let expected = "name      leases  text\na              7  two\\nlines\nlonger  12345678\n";
        assert_eq!(table.to_string(), expected);
    }
}
