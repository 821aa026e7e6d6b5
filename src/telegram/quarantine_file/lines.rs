//! Line format of a quarantine file: one quarantine each, as JSON.
//!
//! Owns their form and the way back from it. Never opens a file.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::account_id::AccountId;
use crate::base::text::display_safely;
use crate::config::{VALUE_LEN_MAX, shown};
use crate::manager::QuarantineReason;
use crate::ownership::date_of;
use crate::session::lines::ForeignFile;
use crate::session::{KeyId, ParseKeyIdError};

/// The quarantines of a file by the key that each is bound to.
pub(super) type Quarantines = BTreeMap<KeyId, Quarantine>;

/// A quarantine: which key may not be dialled, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantine {
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

impl Quarantine {
    /// Since when, as a date and a time of day: `2026-11-26T09:30:00Z`.
    #[must_use]
    pub fn since_utc(&self) -> String {
        date_of(self.since)
    }
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuarantineLine {
    account: String,
    slot: u16,
    key_id: String,
    reason: String,
    /// Seconds since 1970.
    since: u64,
}

/// Why a text holds no quarantines.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParseFailure {
    /// It holds something else.
    Foreign(&'static str),
    /// A line of it, by its number from 1, and what is wrong with it.
    Line(usize, String),
}

/// Reads lines; of two for one key the last counts.
pub(super) fn read(text: &str) -> Result<Quarantines, ParseFailure> {
    let mut quarantines = Quarantines::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if quarantines.is_empty()
            && let Some(what) = foreign(line.trim())
        {
            return Err(ParseFailure::Foreign(what));
        }
        let quarantine = parse(line)
            .map_err(|problem| ParseFailure::Line(index + 1, display_safely(&problem)))?;
        quarantines.insert(quarantine.key_id, quarantine);
    }
    Ok(quarantines)
}

/// What else a file is that begins with this line. An object over several lines may have been one of
/// quarantines, before somebody put it in order.
fn foreign(line: &str) -> Option<&'static str> {
    if is_of_session(line) {
        return Some("a file of sessions, not of quarantines");
    }
    let kind = ForeignFile::of_first_line(line.as_bytes());
    kind.filter(|kind| *kind != ForeignFile::Spread).map(ForeignFile::what)
}

fn is_of_session(line: &str) -> bool {
    line.starts_with('{') && line.contains("\"session\"")
}

fn parse(text: &str) -> Result<Quarantine, String> {
    let line: QuarantineLine =
        serde_json::from_str(text).map_err(|error| match is_of_session(text) {
            true => "this is a session, not a quarantine".to_owned(),
            false => told(&error),
        })?;
    let account = AccountId::from_revealed(&line.account).map_err(|error| error.to_string())?;
    let key_id = line.key_id.parse().map_err(|error: ParseKeyIdError| error.to_string())?;
    let kept = QuarantineReason::ALL.into_iter().filter(|reason| reason.is_kept());
    let reason = kept.into_iter().find(|reason| reason.label() == line.reason);
    let reason = reason
        .ok_or_else(|| format!("there is no reason {}", shown(&line.reason, VALUE_LEN_MAX)))?;
    Ok(Quarantine { account, slot: line.slot, key_id, reason, since: line.since })
}

/// What is wrong with the JSON. A value of another type is not repeated: it may be a phone number.
fn told(error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    match text.rsplit_once(" at line ") {
        _ if text.starts_with("invalid") => format!("a value of the wrong type (column {column})"),
        _ if text.split('`').nth(1).is_some_and(|name| shown(name, VALUE_LEN_MAX) != name) => {
            format!("an unknown field (column {column})")
        }
        Some((what, _)) => format!("{what} (column {column})"),
        None => text,
    }
}

/// Writes lines, those of an account together.
pub(super) fn write(quarantines: &Quarantines, out: &mut impl Write) -> io::Result<()> {
    for quarantine in sorted(quarantines) {
        let line = QuarantineLine {
            account: quarantine.account.reveal().to_string(),
            slot: quarantine.slot,
            key_id: quarantine.key_id.to_string(),
            reason: quarantine.reason.label().to_owned(),
            since: quarantine.since,
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// In the order of accounts and slots.
pub(super) fn sorted(quarantines: &Quarantines) -> Vec<Quarantine> {
    let mut all: Vec<Quarantine> = quarantines.values().copied().collect();
    all.sort_by_key(|quarantine| (quarantine.account, quarantine.slot));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_of_any_number_is_read() {
        // Of no country: a program may have made it.
        let line = r#"{"account":"+330610101010","slot":0,"key_id":"00f1e2d3c4b5a697","#;
        let quarantine = parse(&format!(r#"{line}"reason":"dead","since":1}}"#)).unwrap();
        assert_eq!(quarantine.account, AccountId::phone(330_610_101_010).unwrap());
        let mut out = Vec::new();
        write(&Quarantines::from([(quarantine.key_id, quarantine)]), &mut out).unwrap();
        assert_eq!(
            read(std::str::from_utf8(&out).unwrap()).unwrap()[&quarantine.key_id],
            quarantine
        );
    }

    #[test]
    fn a_file_of_something_else_is_known_by_its_first_line_only() {
        let good =
            r#"{"account":"bot:1","slot":0,"key_id":"00f1e2d3c4b5a697","reason":"dead","since":1}"#;
        for (line, what) in [
            ("[pool]", "TOML, as a configuration is"),
            ("[", "a JSON array"),
            (r#"{"phone":"+442079460958","session":"1BVts"}"#, "a file of sessions"),
            ("phone,session", "a table (CSV)"),
        ] {
            let told = read(&format!("\n  {line}\n{good}\n")).unwrap_err();
            assert!(matches!(told, ParseFailure::Foreign(told) if told.contains(what)), "{told:?}");
            let told = read(&format!("{good}\n{line}\n")).unwrap_err();
            assert!(matches!(told, ParseFailure::Line(2, _)), "{told:?}");
        }
        // Somebody has put a line in order, which can be undone.
        assert!(matches!(read("{\n"), Err(ParseFailure::Line(1, _))));
    }

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
            (good.replace("since", &"s".repeat(300)), "an unknown field (column"),
            (good.replace("dead", &"d".repeat(300)), "no reason (a text of 300 characters)"),
            (good.replace("dead", "2125550123@x"), "no reason (a text of 12 characters)"),
            (good.replace("since", "2125550123@x"), "an unknown field (column"),
            (good.replace("since", "session"), "a session, not a quarantine"),
        ] {
            let problem = parse(&bad).unwrap_err();
            assert!(problem.contains(told), "{problem}");
            assert!(
                problem.len() < 150
                    && !problem.contains("2125550123")
                    && !problem.contains("line 1"),
                "{problem}"
            );
        }
    }
}
