//! Who serves a store, and how it is asked.
//!
//! Owns the look at the lock beside the store. A store that is served belongs to that process: others add to it and
//! read it, and have it do what would need a connection.

use telepool::store::{ServeMark, SessionStore as _, SqliteStore};
use telepool::telegram::store_holder;

use super::unusable;
use crate::client::Client;
use crate::failure::Failure;

/// The process that serves a store, in words; `None` if nobody does on this machine.
pub(super) fn by_whom(store: &SqliteStore) -> Result<Option<String>, Failure> {
    let held = store_holder(store.path()).map_err(|error| {
        Failure::refused(format!("--store {}: its lock: {error}", store.path().display()))
    })?;
    let Some(holder) = held else { return Ok(None) };
    Ok(Some(holder.map_or_else(|| "another process".to_owned(), |holder| holder.to_string())))
}

/// The client of the process that serves a store; `None` if nobody does.
pub(super) fn client(store: &SqliteStore) -> Result<Option<Client>, Failure> {
    let Some(by) = by_whom(store)? else { return Ok(None) };
    let mark: Option<ServeMark> = store.serve_mark().map_err(unusable)?;
    match mark.and_then(|mark| mark.socket) {
        Some(socket) => Ok(Some(Client::at_socket(socket.into()))),
        None => Err(Failure::held(format!(
            "the store is served by {by}, which has no socket to be asked at: start it with --socket, or end it \
             first"
        ))),
    }
}
