//! Writer of sessions as JSON lines.
//!
//! Owns the written form, which is the one that says everything explicitly. Never keeps a copy
//! of the text: the buffer is wiped.

use std::fmt::Write as _;
use std::io::{self, Write};

use zeroize::Zeroizing;

use crate::account_id::AccountId;
use crate::session::{Proxy, SessionRecord, telethon_string};

/// More than the longest line needs, so that no reallocation leaves a copy of the key behind.
const CAPACITY: usize = 4 * 1024;

/// Writes one session as one line, with a Telethon string. [`read`](super::read()) takes it back
/// unchanged.
///
/// # Errors
/// Those of the writer, and `InvalidInput` for a record that no line can hold: a data centre outside
/// 1 to 255, a phone number that no country has and that no reader would take, an account that is known by its
/// user id alone.
pub fn write_line(mut out: impl Write, record: &SessionRecord) -> io::Result<()> {
    let session = telethon_string(record.dc, record.address, &record.key)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let account = record.account;
    account
        .reveal()
        .to_string()
        .parse::<AccountId>()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    if !account.is_phone() && !account.is_bot() {
        let told =
            "a line names a phone number or a bot, and this account is known by its user id alone";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, told));
    }
    let mut line = Zeroizing::new(String::with_capacity(CAPACITY));
    let named = if account.is_bot() {
        write!(line, r#"{{"bot_id":{}"#, account.number())
    } else {
        write!(line, r#"{{"phone":"{}""#, account.reveal())
    };
    named
        .and_then(|()| {
            write!(
                line,
                r#","slot":{},"dc":{},"address":"{}","user_id":{},"is_bot":{}"#,
                record.slot, record.dc, record.address, record.user_id, record.is_bot
            )
        })
        .map_err(io::Error::other)?;
    let proxy = record.proxy.as_deref().map(Proxy::expose_url);
    for (key, text) in [("group", record.group.as_deref()), ("proxy", proxy)] {
        if let Some(text) = text {
            let text = Zeroizing::new(serde_json::to_string(text)?);
            write!(line, r#","{key}":{}"#, *text).map_err(io::Error::other)?;
        }
    }
    line.push_str(r#","session":""#);
    line.push_str(&session);
    line.push_str("\"}\n");
    out.write_all(line.as_bytes())
}
