//! Reader of the file of sessions, and of the application id.

use std::io::BufReader;
use std::path::Path;

use telepool::session::{DataCentres, SessionRecord, lines};
use telepool::telegram::TelegramSettings;

use crate::failure::Failure;
use crate::input::{self, SESSIONS_LEN_MAX};
use crate::settings::{Settings, is_quoted};

/// How many bad lines are listed.
const LISTED_MAX: usize = 10;
/// Where the application id comes from.
const API_ID: &str = "TELEPOOL_API_ID";
/// What a file of sessions looks like.
const LINES: &str = "one line of JSON per session, such as {\"phone\": \"+442079460958\", \
                     \"session\": \"1BVts...\"}";

/// Reads every session, or says what is wrong with each bad line.
pub(crate) fn read(path: &Path, centres: &DataCentres) -> Result<Vec<SessionRecord>, Failure> {
    let shown = path.display();
    let file = input::open(path, SESSIONS_LEN_MAX).map_err(|error| {
        Failure::refused(format!(
            "--sessions {shown}: cannot be read: {error}: give a file with {LINES}"
        ))
    })?;
    let (mut records, mut problems) = (Vec::new(), Vec::new());
    for record in lines::read(BufReader::new(file), centres) {
        match record {
            Ok(record) => records.push(record),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if !problems.is_empty() {
        let more = problems.len().saturating_sub(LISTED_MAX);
        problems.truncate(LISTED_MAX);
        if more > 0 {
            problems.push(format!("and {more} more bad lines"));
        }
        return Err(Failure::refused(format!("--sessions {shown}: {}", problems.join("\n  "))));
    }
    if records.is_empty() {
        return Err(Failure::refused(format!(
            "--sessions {shown}: there is no session in it: {LINES}"
        )));
    }
    Ok(records)
}

/// How connections are made: as the settings say, for an application of this id.
pub(crate) fn telegram(settings: &Settings, api_id: i32) -> TelegramSettings {
    let mut telegram = TelegramSettings::new(api_id);
    telegram.data_centres = settings.data_centres().clone();
    telegram.engine = settings.engine();
    telegram.redial_after_loss = settings.redial_after_loss();
    // The rest of a dial's time is the handshake's with the data centre.
    telegram.proxy_timeout = settings.config().pool.dial_timeout * 4 / 5;
    telegram
}

/// The application id for sessions of which some may bring none. Where all have their own and none is set, those that
/// come later without one are refused.
pub(crate) fn api_id_for(some_lack_it: bool) -> Result<i32, Failure> {
    let is_set = std::env::var_os(API_ID).is_some_and(|id| !id.is_empty());
    if some_lack_it || is_set { api_id() } else { Ok(0) }
}

/// The application id from the environment.
pub(crate) fn api_id() -> Result<i32, Failure> {
    let remedy = "set it to the api_id that my.telegram.org gave you (sessions that exist need no \
                  api_hash)";
    let text = std::env::var_os(API_ID).unwrap_or_default();
    // Never repeated: what stands there by mistake is the api_hash, or a token.
    let refuse = |what: &str| Err(Failure::refused(format!("{API_ID} {what}: {remedy}")));
    let Some(text) = text.to_str().map(str::trim) else { return refuse("is no number") };
    match text.parse() {
        Ok(id @ 1..) => Ok(id),
        _ if text.is_empty() => refuse("is not set"),
        _ if is_quoted(text) => refuse("has quotes around it"),
        _ if text.contains(':') => refuse("is more than the digits before its colon"),
        _ => refuse("is no number from 1 to 2147483647"),
    }
}
