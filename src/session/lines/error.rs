//! The error of a JSON line: what can be wrong with it.
//!
//! Owns the errors and their wording: the line, the key, what is wrong and what would do. Never
//! holds a session string, a proxy URL or a whole phone number.

use std::io;

use super::ForeignFile;
use crate::account_id::ParseAccountError;
use crate::session::{ProxyUrlError, SessionStringError};

/// A line that is no session, and why.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    /// The number of the line, from 1.
    pub line: u64,
    /// What is wrong with it.
    #[source]
    pub problem: LineProblem,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineProblem {
    /// The source of the lines failed.
    #[error("reading failed: {0}")]
    Read(#[from] io::Error),
    /// Longer than any session.
    #[error("over {limit} bytes long: put each session on a line of its own")]
    TooLong {
        /// How many bytes a line may have.
        limit: usize,
    },
    /// Not JSON, or not an object.
    #[error("no JSON object (at column {column}): write {{\"phone\": ..., \"session\": ...}}")]
    NotAnObject {
        /// Where reading stopped, from 1.
        column: usize,
    },
    /// A character that looks like a blank or a quote, or like nothing, and is none of JSON's.
    #[error(
        "no JSON object: at column {column} stands a typographic quote, a blank of another kind or an \
         invisible mark: write plain quotes and blanks"
    )]
    Typography {
        /// Where reading stopped, from 1.
        column: usize,
    },
    /// An object that goes on where the line ends.
    #[error(
        "the line ends within its object: put each session on a line of its own, without line breaks \
         in it"
    )]
    Unfinished,
    /// Another kind of file.
    #[error(
        "this is {0}, and what is wanted are lines such as {{\"phone\": \"+442079460958\", \
         \"session\": \"1BVts...\"}}"
    )]
    Foreign(ForeignFile),
    /// A key of no meaning.
    #[error(
        "unknown key {key}: the keys are phone or bot_id, session, slot, dc, address, user_id, \
         is_bot, group and proxy"
    )]
    UnknownKey {
        /// The key, or its length if it might be a misplaced secret.
        key: String,
    },
    /// The same key twice.
    #[error("`{key}` is there twice: remove one")]
    RepeatedKey {
        /// The key.
        key: &'static str,
    },
    /// A key that has to be there.
    #[error("`{key}` is missing: {remedy}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What to add.
        remedy: &'static str,
    },
    /// A value of another type or outside its range.
    #[error("`{key}` is {found}: it must be {wanted}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value, or its type if it might be a secret.
        found: String,
        /// What would do.
        wanted: &'static str,
    },
    /// Not an account.
    #[error("`{key}`: {source}{}", other_key(.key, .source))]
    Account {
        /// The key.
        key: &'static str,
        /// Why.
        source: ParseAccountError,
    },
    /// Both ways of naming an account at once.
    #[error("both `phone` and `bot_id` are there: a session belongs to one of them")]
    TwoAccounts,
    /// Not a session string.
    #[error("`session`: {0}")]
    Session(#[from] SessionStringError),
    /// Not a proxy.
    #[error("`proxy`: {0}")]
    Proxy(#[from] ProxyUrlError),
    /// Two data centres.
    #[error(
        "`dc` is {key} but the session string says {string}: remove `dc`, or give the session of \
         data centre {key}"
    )]
    DataCentreConflict {
        /// What the line says.
        key: i32,
        /// What the string says.
        string: i32,
    },
    /// The string holds no address, and no table knows its data centre.
    #[error(
        "the session string says data centre {dc}, which there is not: characters may be missing at its \
         beginning: copy it whole (a data centre of your own has to stand in [data_centres])"
    )]
    UnknownDataCentre {
        /// What the string says.
        dc: i32,
    },
    /// Two opinions on whether this is a bot.
    #[error("the session is {}: name the account with {}", bot(.string), account_key(.string))]
    BotConflict {
        /// What `is_bot` or the session string says.
        string: bool,
    },
    /// The string has no address and the table does not know the data centre.
    #[error("no address of data centre {dc} is known: add `address`, such as \"127.0.0.1:443\"")]
    NoAddress {
        /// The data centre.
        dc: i32,
    },
    /// A session of the test servers, of a data centre that is not among theirs.
    #[error(
        "the session belongs to the test servers, which have no data centre {dc}: add its `address`, \
         or set it in [data_centres]"
    )]
    TestServer {
        /// The data centre.
        dc: i32,
    },
    /// The slot has a session already.
    #[error("slot {slot} of this account has a session already (line {first}): choose another")]
    SlotTaken {
        /// The slot.
        slot: u16,
        /// The line that has it.
        first: u64,
    },
    /// All slots of the account have sessions.
    #[error("this account has {limit} sessions already, the most there can be: remove some")]
    NoSlotFree {
        /// How many there can be.
        limit: u16,
    },
    /// The authorization key is on an earlier line.
    #[error(
        "the same authorization key is on line {first}: remove one of the lines, since two \
         connections with one key make Telegram void it (AUTH_KEY_DUPLICATED)"
    )]
    KeyTaken {
        /// The line that has it.
        first: u64,
    },
}

/// Where a bot belongs that stands in the place of a phone number.
fn other_key(key: &str, source: &ParseAccountError) -> &'static str {
    match source {
        ParseAccountError::NotANumber if key == "phone" => " (in a line `bot_id`, in digits alone)",
        _ => "",
    }
}

fn bot(is_bot: &bool) -> &'static str {
    if *is_bot { "a bot's" } else { "a user's" }
}

fn account_key(is_bot: &bool) -> &'static str {
    if *is_bot { "`bot_id`" } else { "`phone`" }
}
