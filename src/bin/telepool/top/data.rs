//! What `top` shows: the last answers of a running pool.

use serde_json::Value;

use crate::client::{Client, query};
use crate::failure::Failure;

/// How many events are asked for.
const EVENTS: &str = "50";

/// What is asked for, as the view has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asks {
    pub(super) search: String,
    pub(super) state: Option<&'static str>,
    pub(super) sort: &'static str,
    pub(super) order: &'static str,
    pub(super) limit: usize,
}

/// The last answers.
#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) snapshot: Value,
    pub(super) accounts: Value,
    pub(super) events: Value,
    /// Why they are older than they should be.
    pub(super) problem: Option<String>,
}

impl Data {
    /// Takes what was fetched; of a failure only why, beside the answers of before.
    pub(super) fn take(&mut self, fetched: Result<Self, Failure>) {
        match fetched {
            Ok(data) => *self = data,
            Err(failure) => self.problem = Some(failure.to_string()),
        }
    }
}

pub(super) async fn fetch(client: &Client, asks: &Asks) -> Result<Data, Failure> {
    let limit = asks.limit.to_string();
    let accounts = query(
        "/api/v1/accounts",
        [
            ("q", Some(&*asks.search).filter(|it| !it.is_empty())),
            ("state", asks.state),
            ("sort", Some(asks.sort)),
            ("order", Some(asks.order)),
            ("limit", Some(&*limit)),
        ],
    );
    let events = query("/api/v1/events", [("limit", Some(EVENTS))]);
    let (snapshot, accounts, events) = tokio::try_join!(
        client.get("/api/v1/snapshot"),
        client.get(&accounts),
        client.get(&events)
    )?;
    Ok(Data { snapshot, accounts, events, problem: None })
}
