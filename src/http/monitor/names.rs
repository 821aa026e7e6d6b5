//! Names: what of the accounts of a listing stays the same from one listing to the next.
//!
//! Owns their ids, their aliases, the names that are shown of them, and what is searched and sorted by those.
//! An account takes 20 bytes, and some 25 more for its name in either form, masked or in full, once somebody has
//! searched for it or sorted by it.

use std::fmt::Write as _;
use std::sync::OnceLock;

use crate::account_id::AccountId;
use crate::http::monitor::aliases::Aliases;
use crate::http::monitor::orders::{CursorPlace, index, key_of_text, small_index};

/// What stands between names in a text, and in no name.
const END: char = '\n';

/// The accounts that are listed, in the order of the registry.
#[derive(Debug)]
pub(crate) struct AccountNames {
    accounts: Box<[AccountId]>,
    aliases: Box<[u64]>,
    by_alias: Box<[u32]>,
    masked: OnceLock<ShownNames>,
    full: OnceLock<ShownNames>,
}

/// The names of all accounts in one form.
#[derive(Debug)]
struct ShownNames {
    /// One behind the other, each with [`END`].
    text: String,
    /// Where each name and its end are over.
    ends: Box<[u32]>,
    order: OnceLock<Box<[u32]>>,
}

impl AccountNames {
    pub(super) fn new(accounts: Vec<AccountId>, aliases: &Aliases) -> Self {
        let aliases: Box<[u64]> = accounts.iter().map(|account| aliases.of(*account)).collect();
        let mut by_alias: Box<[u32]> = (0..small_index(accounts.len())).collect();
        by_alias.sort_unstable_by_key(|row| aliases[index(*row)]);
        let (masked, full) = (OnceLock::new(), OnceLock::new());
        Self { accounts: accounts.into(), aliases, by_alias, masked, full }
    }

    /// Makes the forms and the orders that another has, before anybody asks for them.
    pub(super) fn prepare_as(&self, other: &Self) {
        for is_full in [false, true] {
            if let Some(shown) = other.form(is_full).get() {
                self.shown(is_full);
                if shown.order.get().is_some() {
                    self.order(is_full);
                }
            }
        }
    }

    /// All accounts, by their index.
    pub(crate) fn accounts(&self) -> &[AccountId] {
        &self.accounts
    }

    /// The alias of each account, by its index.
    pub(crate) fn aliases(&self) -> &[u64] {
        &self.aliases
    }

    /// The indices of all accounts in the order of their aliases.
    pub(super) fn by_alias(&self) -> &[u32] {
        &self.by_alias
    }

    /// Finds the index of an alias.
    pub(crate) fn of_alias(&self, alias: u64) -> Option<usize> {
        let row = |at: usize| index(self.by_alias[at]);
        let at = self.by_alias.partition_point(|row| self.aliases[index(*row)] < alias);
        (at < self.by_alias.len()).then(|| row(at)).filter(|row| self.aliases[*row] == alias)
    }

    /// Marks the accounts whose name contains a text, as it is shown masked or in full.
    pub(crate) fn mark_containing(&self, text: &str, is_full: bool, marks: &mut [bool]) {
        // No name has any other character, so that most words are found in none without a search.
        let is_known = |it: char| it.is_ascii_digit() || "+*:botuser".contains(it);
        if !text.chars().all(is_known) {
            return;
        }
        let shown = self.shown(is_full);
        let mut row = 0;
        for (at, _) in shown.text.match_indices(text) {
            while index(shown.ends[row]) <= at {
                row += 1;
            }
            marks[row] = true;
        }
    }

    /// The indices of all accounts in the order of their names, as they are shown masked or in full.
    pub(super) fn order(&self, is_full: bool) -> &[u32] {
        self.shown(is_full).order.get_or_init(|| {
            let keyed = self.by_alias.iter().map(|row| (self.place(index(*row), is_full).0, *row));
            let mut keyed: Vec<_> = keyed.collect();
            // Stable: equals stay in the order of their aliases.
            keyed.sort_by_key(|(key, _)| *key);
            keyed.into_iter().map(|(_, row)| row).collect()
        })
    }

    /// Where an account stands in the order of the names.
    pub(super) fn place(&self, row: usize, is_full: bool) -> CursorPlace {
        let shown = self.shown(is_full);
        let start = row.checked_sub(1).map_or(0, |before| index(shown.ends[before]));
        let name = &shown.text.as_bytes()[start..index(shown.ends[row]) - END.len_utf8()];
        (key_of_text(name), self.aliases[row])
    }

    fn form(&self, is_full: bool) -> &OnceLock<ShownNames> {
        if is_full { &self.full } else { &self.masked }
    }

    fn shown(&self, is_full: bool) -> &ShownNames {
        self.form(is_full).get_or_init(|| {
            let mut text = String::with_capacity(18 * self.accounts.len());
            let mut ends = Vec::with_capacity(self.accounts.len());
            for account in &self.accounts {
                let written = match is_full {
                    true => write!(text, "{}{END}", account.reveal()),
                    false => write!(text, "{account}{END}"),
                };
                written.expect("BUG: a string takes all that is written");
                ends.push(small_index(text.len()));
            }
            text.shrink_to_fit();
            ShownNames { text, ends: ends.into(), order: OnceLock::new() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> AccountNames {
        let phones = (0..50).map(|number| AccountId::phone(442_079_460_900 + number).unwrap());
        let bots = (1..50).map(|number| AccountId::bot(7 * number).unwrap());
        let users = (1..50).map(|number| AccountId::user(11 * number).unwrap());
        AccountNames::new(phones.chain(bots).chain(users).collect(), &Aliases::default())
    }

    fn shown(account: AccountId, is_full: bool) -> String {
        if is_full { account.reveal().to_string() } else { account.to_string() }
    }

    #[test]
    fn a_search_finds_those_whose_shown_name_contains_the_text() {
        let names = names();
        for text in [
            "44",
            "7946",
            "*",
            "+4420******5",
            "bot:",
            "t:1",
            "user",
            "r:1",
            "9",
            "1\n",
            "\n",
            "x",
            "é",
        ] {
            for is_full in [false, true] {
                let mut marks = vec![false; names.accounts().len()];
                names.mark_containing(text, is_full, &mut marks);
                let expected: Vec<bool> =
                    names.accounts.iter().map(|it| shown(*it, is_full).contains(text)).collect();
                assert_eq!(marks, expected, "{text:?}");
            }
        }
    }

    #[test]
    fn the_order_is_that_of_the_shown_names_and_of_the_aliases_among_equals() {
        let names = names();
        for is_full in [false, true] {
            let mut expected: Vec<usize> = (0..names.accounts.len()).collect();
            expected.sort_by_key(|row| (shown(names.accounts[*row], is_full), names.aliases[*row]));
            let order: Vec<usize> = names.order(is_full).iter().map(|row| index(*row)).collect();
            assert_eq!(order, expected);
        }
    }

    #[test]
    fn an_alias_is_found_and_none_that_nobody_has() {
        let names = names();
        for (row, alias) in names.aliases().iter().enumerate() {
            assert_eq!(names.of_alias(*alias), Some(row));
        }
        let unknown = (0..).find(|it| !names.aliases().contains(it)).unwrap();
        assert_eq!(names.of_alias(unknown), None);
        assert_eq!(names.of_alias(u64::MAX), None);
    }

    #[test]
    fn the_next_names_are_prepared_as_they_were_asked_for() {
        let (before, after) = (names(), names());
        before.order(false);
        after.prepare_as(&before);
        assert!(after.masked.get().is_some_and(|it| it.order.get().is_some()));
        assert!(after.full.get().is_none(), "nobody has asked");
    }
}
