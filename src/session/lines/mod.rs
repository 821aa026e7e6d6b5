//! JSON lines: one authorized session per line, the form in which sessions are kept and moved.
//!
//! Owns the reader, the writer and the rules between lines. Never opens a file, and never
//! repeats a session string in an error.
//!
//! ```json
//! {"phone": "+442079460958", "session": "1BVts..."}
//! {"bot_id": 123456, "slot": 1, "dc": 2, "address": "149.154.167.41:443", "session": "AgE..."}
//! ```
//!
//! | key | value | without it |
//! |---|---|---|
//! | `phone` or `bot_id` | text or number | an error: exactly one of them names the account |
//! | `session` | a string of Telethon, GramJS, Pyrogram, mtcute or MTKruto | an error |
//! | `slot` | 0 to 63 | the lowest that the account has free so far |
//! | `dc` | 1 to 255 | what the string says; another number than the string's is an error |
//! | `address` | IP address and port | what the string says, else the table of data centres, or of test servers |
//! | `user_id` | a positive number | what the string says, else the bot id, else 0 (unknown) |
//! | `is_bot` | true or false | what the string says, else whether `bot_id` names the account |
//! | `group` | a label of up to 64 characters | none |
//! | `proxy` | `socks5://[user:password@]host:port`, `http://[user:password@]host:port`, or `bind://IP` for an address of this machine to dial from | none: dialled directly |
//!
//! Blank lines are skipped, and so are marks and blanks of any kind around a line, which may end as on any
//! system; an optional key whose text is empty is not there. Any other key is an error, so that a misspelt
//! one is not lost. A file that begins as no such file does, or that is not UTF-8, is told what it is, once.

mod error;
mod fields;
mod foreign;
mod read;
mod source;
mod write;

pub use error::{LineError, LineProblem};
pub use foreign::{ForeignFile, file_text};
#[cfg(feature = "store")]
pub(crate) use read::LastLine;
pub use read::{LineReader, read, read_all};
#[cfg(feature = "store")]
pub(crate) use source::{LineStatus, next_line, text_of};
pub use write::write_line;

/// The longest line taken, in bytes: ten times what the longest sensible line needs.
pub const LINE_LEN_MAX: usize = 8 * 1024;
/// The slots an account can have.
pub const SLOTS_MAX: u16 = crate::manager::SLOTS_MAX;
/// The longest group label, in characters.
pub const GROUP_LEN_MAX: usize = 64;
