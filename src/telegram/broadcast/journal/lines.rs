//! Lines of a journal: which broadcast it is of, and one for each chat that is settled, as JSON.
//!
//! Owns their form and the way back from it. Never opens a file.

use serde::{Deserialize, Serialize};

use crate::base::text::display_safely;

/// What is said of a file that is no journal.
pub(super) const FOREIGN: &str = "it holds something else: name another file";
/// The version of the form.
const VERSION: u32 = 1;

/// The first line: which broadcast it is of.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    telepool_broadcast: u32,
    id: String,
}

impl Header {
    pub(super) fn of(broadcast: &str) -> Self {
        Self { telepool_broadcast: VERSION, id: broadcast.to_owned() }
    }

    pub(super) fn to_line(&self) -> String {
        line_of(self)
    }
}

/// Why the first line is not the one that is wanted.
pub(super) fn check_header(line: &[u8], wanted: &str) -> Result<(), String> {
    let wanted: Header = serde_json::from_str(wanted).map_err(|error| error.to_string())?;
    let found: Header = serde_json::from_slice(line).map_err(|_| FOREIGN.to_owned())?;
    if found.telepool_broadcast != VERSION {
        return Err("it was written by a later version: use that".to_owned());
    }
    if found.id != wanted.id {
        let id = display_safely(&found.id);
        return Err(format!("it is that of the broadcast {id:?}: name another file"));
    }
    Ok(())
}

/// A chat that is settled: it has the message, or the server refuses it for good.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::telegram::broadcast) struct Settled {
    /// The number of the chat in the broadcast, in hexadecimal digits.
    number: String,
    account: String,
    chat: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<i32>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Settled {
    pub(in crate::telegram::broadcast) fn sent(
        number: i64,
        account: String,
        chat: String,
        message: Option<i32>,
    ) -> Self {
        Self { number: format!("{number:016x}"), account, chat, message, error: None }
    }

    pub(in crate::telegram::broadcast) fn failed(
        number: i64,
        account: String,
        chat: String,
        error: String,
    ) -> Self {
        let error = Some(error);
        Self { number: format!("{number:016x}"), account, chat, message: None, error }
    }

    pub(super) fn to_line(&self) -> String {
        line_of(self)
    }

    /// The number of the chat that a line is of.
    pub(super) fn number_in(line: &[u8]) -> Result<i64, String> {
        let settled: Self =
            serde_json::from_slice(line).map_err(|error| display_safely(&error.to_string()))?;
        let number = u64::from_str_radix(&settled.number, 16);
        number.map(u64::cast_signed).map_err(|_| "its number is none: remove the line".to_owned())
    }
}

fn line_of(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("BUG: it holds texts and numbers only");
    line.push('\n');
    line
}
