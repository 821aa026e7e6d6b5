//! Why no key was made.

use std::io;

/// Why an exchange has ended without a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyExchangeError {
    /// The server is not the one that is meant, or the key that is held for it is out of date.
    #[error("the server has none of the keys that are known for it, but {}", listed(.0))]
    UnknownServer(Vec<i64>),
    /// The server says so.
    #[error("the server refuses to make a key")]
    Refused,
    /// It asks for another try too often.
    #[error("the server has not taken any of {0} keys")]
    TriesSpent(u32),
    /// What it sends is not what the exchange has at this place, or does not belong to it.
    #[error("the server does not keep to the exchange of keys: {0}")]
    Protocol(&'static str),
    /// There are no random numbers to be had.
    #[error("no random numbers: {0}")]
    Random(#[from] io::Error),
}

fn listed(fingerprints: &[i64]) -> String {
    let shown = fingerprints.iter().take(8).map(|it| format!("{:016x}", it.cast_unsigned()));
    let shown = shown.collect::<Vec<_>>().join(", ");
    if shown.is_empty() { "none at all".to_owned() } else { shown }
}
