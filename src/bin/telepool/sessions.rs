//! The sessions of a file.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use telepool::session::{DataCentres, SessionRecord, lines};

use crate::failure::Failure;

/// How many bad lines are told at once.
const TOLD_MAX: usize = 10;
/// Where the application id comes from.
const API_ID: &str = "TELEPOOL_API_ID";
/// What a file of sessions looks like.
const LINES: &str = "one line of JSON per session, such as {\"phone\": \"+442079460958\", \
                     \"session\": \"1BVts...\"}";

/// Reads every session, or says what is wrong with each bad line. A session with a proxy is one that
/// nothing can be done for here: it would be quarantined instead of dialled.
pub(crate) fn read(path: &Path, centres: &DataCentres) -> Result<Vec<SessionRecord>, Failure> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| {
        Failure::refused(format!(
            "--sessions {shown}: cannot be read: {error}: give a file with {LINES}"
        ))
    })?;
    let (mut records, mut problems) = (Vec::new(), Vec::new());
    let mut reader = lines::read(BufReader::new(file), centres);
    while let Some(record) = reader.next() {
        match record {
            Ok(record) if record.proxy.is_some() => problems.push(format!(
                "line {} has a proxy, which this version cannot dial by: remove it (the session would \
                 show from another address)",
                reader.line()
            )),
            Ok(record) => records.push(record),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if !problems.is_empty() {
        let more = problems.len().saturating_sub(TOLD_MAX);
        problems.truncate(TOLD_MAX);
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

/// The application id from the environment.
pub(crate) fn api_id() -> Result<i32, Failure> {
    let remedy = "set it to the api_id that my.telegram.org gave you (sessions that exist need no \
                  api_hash)";
    let text = std::env::var(API_ID)
        .map_err(|_| Failure::refused(format!("{API_ID} is not set: {remedy}")))?;
    match text.trim().parse() {
        Ok(id @ 1..) => Ok(id),
        _ => Err(Failure::refused(format!("{API_ID} = {text}: {remedy}"))),
    }
}
