//! Names of accounts on the command line: numbers however they are spelled, and the aliases that stand for
//! numbers.

use std::fmt;
use std::str::FromStr;

use telepool::AccountId;

use crate::client::encoded;

/// What begins an alias: what the API shows of a phone to whoever may not see its number.
const ALIAS: &str = "p-";

/// An account as the API takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AccountName(String);

impl AccountName {
    /// Returns it as a part of a path.
    pub(super) fn encoded(&self) -> String {
        encoded(&self.0)
    }

    /// Returns it as a part of a query.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let is_alias = text
            .strip_prefix(ALIAS)
            .is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if is_alias {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        let account: AccountId = text.parse().map_err(|error| format!("{error}"))?;
        Ok(Self(account.reveal().to_string()))
    }
}

/// Returns what names of accounts are searched for: a number without what people write between its digits.
pub(super) fn search_text(text: &str) -> String {
    let is_between = |it: char| it.is_whitespace() || "-.()/".contains(it);
    let is_number = |it: char| it.is_ascii_digit() || it == '+' || is_between(it);
    if text.chars().all(is_number) {
        return text.chars().filter(|it| !is_between(*it)).collect();
    }
    text.to_owned()
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_searched_for_by_its_digits_and_all_else_as_it_is() {
        for (text, searched) in [
            ("+44 (20) 7946-09", "+4420794609"),
            ("7946 0958", "79460958"),
            ("bot:12", "bot:12"),
            ("p-0a 1", "p-0a 1"),
            ("", ""),
        ] {
            assert_eq!(search_text(text), searched, "{text}");
        }
    }

    #[test]
    fn a_number_is_the_same_however_it_is_spelled_and_what_is_none_is_told_why() {
        for text in ["+442079460958", "442079460958", "0044 20 7946 0958", " +44 (20) 7946-0958"] {
            assert_eq!(text.parse::<AccountName>().unwrap().to_string(), "+442079460958", "{text}");
        }
        for (text, name) in [("bot:5", "bot:5"), ("bot5", "bot:5"), ("p-0AF3", "p-0af3")] {
            assert_eq!(text.parse::<AccountName>().unwrap().to_string(), name);
        }
        for text in ["", "+44", "p-", "p-xyz", "alice", "02079460958", "bot:0"] {
            assert!(text.parse::<AccountName>().is_err(), "{text}");
        }
    }
}
