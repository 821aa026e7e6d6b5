//! Users that nobody has made: those who write to the accounts when a test or a person asks for a message.
//!
//! Owns their ids and names. They have no session, and read nothing.

/// Their ids lie right below those of the accounts that are no bots.
const STRANGERS: std::ops::Range<i64> = FIRST_ACCOUNT - 64..FIRST_ACCOUNT;
const FIRST_ACCOUNT: i64 = 1 << 39;

/// The one whose turn it is, by a number of whatever they do.
pub(super) fn by_number(number: i32) -> i64 {
    STRANGERS.start + i64::from(number).rem_euclid(STRANGERS.end - STRANGERS.start)
}

/// The name of one; `None` for everybody else.
pub(in crate::sandbox) fn name_of(id: i64) -> Option<String> {
    STRANGERS.contains(&id).then(|| format!("Stranger {}", id - STRANGERS.start + 1))
}
