//! The lines of the file: one quarantine each, as JSON.
//!
//! Owns their form and the way back from it. Never opens a file.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::account::AccountId;
use crate::manager::QuarantineReason;
use crate::session::AuthKey;

/// How many seconds a day has.
const DAY: u64 = 24 * 60 * 60;

/// The quarantines of a file by the key that each is bound to.
pub(super) type Latches = BTreeMap<KeyId, Latched>;

/// The public id of an authorization key, as it stands in clear in front of every message. It is
/// written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The id of a key.
    #[must_use]
    pub fn of(key: &AuthKey) -> Self {
        Self(key.id())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = ParseKeyIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A sign is taken by the parser of numbers.
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseKeyIdError);
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| ParseKeyIdError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// A text that is no [`KeyId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a key is 16 hexadecimal digits, such as 00f1e2d3c4b5a697")]
pub struct ParseKeyIdError;

/// A quarantine: which key may not be dialled, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latched {
    /// Whose session has the key.
    pub account: AccountId,
    /// Which of the account's sessions.
    pub slot: u16,
    /// The key that it is bound to, wherever the key stands.
    pub key_id: KeyId,
    /// Why.
    pub reason: QuarantineReason,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

impl Latched {
    /// Since when, as a date and a time of day: `2026-11-26T09:30:00Z`.
    #[must_use]
    pub fn since_utc(&self) -> String {
        utc(self.since)
    }
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    account: String,
    slot: u16,
    key_id: String,
    reason: String,
    /// Seconds since 1970.
    since: u64,
}

/// Reads lines; of two for one key the last counts. The error is the number of a bad line, from 1,
/// and what is wrong with it.
pub(super) fn read(text: &str) -> Result<Latches, (usize, String)> {
    let mut latches = Latches::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let latched = parse(line).map_err(|problem| (index + 1, problem))?;
        latches.insert(latched.key_id, latched);
    }
    Ok(latches)
}

fn parse(line: &str) -> Result<Latched, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| told(&error))?;
    let account: AccountId =
        line.account.parse().map_err(|error: crate::ParseAccountError| error.to_string())?;
    let key_id = line.key_id.parse().map_err(|error: ParseKeyIdError| error.to_string())?;
    let kept = QuarantineReason::ALL.into_iter().filter(|reason| reason.is_kept());
    let reason = kept.into_iter().find(|reason| reason.label() == line.reason);
    let reason = reason.ok_or_else(|| format!("there is no reason {:?}", line.reason))?;
    Ok(Latched { account, slot: line.slot, key_id, reason, since: line.since })
}

/// What is wrong with the JSON. A value of another type is not repeated: it may be a phone number.
fn told(error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    match text.rsplit_once(" at line ") {
        _ if text.starts_with("invalid") => format!("a value of the wrong type (column {column})"),
        Some((what, _)) => format!("{what} (column {column})"),
        None => text,
    }
}

/// Writes lines, those of an account together.
pub(super) fn write(latches: &Latches, out: &mut impl Write) -> io::Result<()> {
    for latched in sorted(latches) {
        let line = Line {
            account: latched.account.reveal().to_string(),
            slot: latched.slot,
            key_id: latched.key_id.to_string(),
            reason: latched.reason.label().to_owned(),
            since: latched.since,
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// In the order of accounts and slots.
pub(super) fn sorted(latches: &Latches) -> Vec<Latched> {
    let mut all: Vec<Latched> = latches.values().copied().collect();
    all.sort_by_key(|latched| (latched.account, latched.slot));
    all
}

/// Seconds since 1970 in the form of RFC 3339.
pub(super) fn utc(seconds: u64) -> String {
    let (year, month, day) = date(seconds / DAY);
    let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The day of the Gregorian calendar that comes so many days after the first of 1970. It is
/// reckoned in years that begin in March, so that the leap day is the last of its year, and in
/// cycles of 400 years, of which each has 146,097 days.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (cycle, of_cycle) = (days / 146_097, days % 146_097);
    let of_cycle_year =
        (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * of_cycle_year + of_cycle_year / 4 - of_cycle_year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (400 * cycle + of_cycle_year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_line_is_told_without_its_phone_number() {
        let (account, rest) =
            (r#"{"account":"+12125550123","#, r#""slot":4,"key_id":"00f1e2d3c4b5a697","#);
        let good = format!(r#"{account}{rest}"reason":"dead","since":1}}"#);
        assert!(parse(&good).is_ok());
        for (bad, told) in [
            (good.replace("\"+12125550123\"", "12125550123"), "wrong type (column 22)"),
            (good.replace(":4", ":x"), "expected value (column"),
            (good.replace("+12", "+x"), "not a phone number"),
            (good.replace("since", "sense"), "unknown field `sense`"),
            (good[..40].to_owned(), "EOF while parsing"),
        ] {
            let problem = parse(&bad).unwrap_err();
            assert!(problem.contains(told), "{problem}");
            assert!(!problem.contains("2125550123") && !problem.contains("line 1"), "{problem}");
        }
    }

    #[test]
    fn a_second_has_its_date() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_798_117_230, "2026-12-24T13:00:30Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), date);
        }
        assert!(utc(u64::MAX).ends_with('Z'), "no number is too large");
    }

    #[test]
    fn the_id_of_a_key_is_read_as_it_is_written() {
        let id = KeyId::of(&AuthKey::new([7; 256]));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        for text in ["", "00", "+0f1e2d3c4b5a697", "00f1e2d3c4b5a69g", "00f1e2d3c4b5a69700"] {
            assert_eq!(text.parse::<KeyId>(), Err(ParseKeyIdError), "{text}");
        }
    }
}
