//! Errors of calls by an endpoint that are not the server's, as errors of a server: the client takes no others.
//!
//! Owns their code and their names, and the way back. Changes nothing in what a server says.
//!
//! Telegram gives no error the code [`LOCAL_CODE`], and none has a name that begins with `TELEPOOL_`.
//!
//! | name | what it says |
//! |---|---|
//! | `TELEPOOL_NO_ANSWER_X` | no answer within X ms; the call may have been carried out |
//! | `TELEPOOL_NOT_SENT_X` | the call could not be sent within X ms |
//! | `TELEPOOL_CONNECTION_ENDING` | the call was not sent, since the connection takes no more |
//! | `TELEPOOL_FORGOTTEN` | the server has lost the call, which may have been carried out |
//! | `TELEPOOL_REFUSED_X` | the server refused the message of the call, again and again, with this code |
//! | `TELEPOOL_UNSENDABLE_X_OF_Y` | the body has X bytes, and Y are the most |
//! | `TELEPOOL_BUSY_X` | X calls wait on the connection already |
//! | `TELEPOOL_FULL_X` | calls of X bytes wait on the connection already |
//! | `TELEPOOL_ANSWER_DAMAGED` | the answer cannot be unpacked, or is larger than the wire's limits |
//! | `TELEPOOL_ANSWER_TOO_LARGE` | the answer is larger than the client can take |

use std::time::Duration;

use grammers_client::sender::RpcError;

use crate::telegram::wire::{WireEnd, WireError};

/// The code of an error that no server has sent.
pub(super) const LOCAL_CODE: i32 = -9_999;
/// The longest name of an error that is passed on, in bytes: no server has a longer one.
const NAME_LEN_MAX: usize = 4_096;

const NO_ANSWER: &str = "TELEPOOL_NO_ANSWER";
const NOT_SENT: &str = "TELEPOOL_NOT_SENT";
const ENDING: &str = "TELEPOOL_CONNECTION_ENDING";
const FORGOTTEN: &str = "TELEPOOL_FORGOTTEN";
const REFUSED: &str = "TELEPOOL_REFUSED";
const UNSENDABLE: &str = "TELEPOOL_UNSENDABLE";
const BUSY: &str = "TELEPOOL_BUSY";
const FULL: &str = "TELEPOOL_FULL";
const DAMAGED: &str = "TELEPOOL_ANSWER_DAMAGED";
pub(super) const TOO_LARGE: &str = "TELEPOOL_ANSWER_TOO_LARGE";

/// An error as the client is told it: its code, and its name with the number. `None` if the connection is lost with
/// the call, so that the client learns of it by the end of its own.
pub(super) fn told(error: &WireError) -> Option<(i32, String)> {
    let name = match error {
        WireError::Rpc { code, message } => {
            let mut lens = (0..=message.len().min(NAME_LEN_MAX)).rev();
            let whole = lens.find_map(|len| message.get(..len)).unwrap_or_default();
            return Some((*code, whole.to_owned()));
        }
        WireError::Lost { was_sent: true, .. } => return None,
        // Others may have their answers yet.
        WireError::Lost { was_sent: false, .. } => ENDING.to_owned(),
        WireError::TimedOut { was_sent: true, after } => {
            format!("{NO_ANSWER}_{}", after.as_millis())
        }
        WireError::TimedOut { was_sent: false, after } => {
            format!("{NOT_SENT}_{}", after.as_millis())
        }
        WireError::Forgotten => FORGOTTEN.to_owned(),
        WireError::Refused { code } => format!("{REFUSED}_{}", code.cast_unsigned()),
        WireError::Unsendable { len, limit } => format!("{UNSENDABLE}_{len}_OF_{limit}"),
        WireError::Busy { limit } => format!("{BUSY}_{limit}"),
        WireError::Full { limit } => format!("{FULL}_{limit}"),
        WireError::Answer(_) => DAMAGED.to_owned(),
    };
    Some((LOCAL_CODE, name))
}

/// What an error that the client hands out was on the wire, if no server has sent it.
pub(in crate::telegram) fn local_error(error: &RpcError) -> Option<WireError> {
    if error.code != LOCAL_CODE {
        return None;
    }
    // The client has taken the first number out of the name. What it cannot count is more than it can.
    let value = error.value.unwrap_or(u32::MAX);
    let (after, limit) = (Duration::from_millis(value.into()), value as usize);
    let name = &*error.name;
    Some(match name {
        NO_ANSWER => WireError::TimedOut { was_sent: true, after },
        NOT_SENT => WireError::TimedOut { was_sent: false, after },
        ENDING => WireError::Lost { was_sent: false, end: WireEnd::Closed { is_confirmed: false } },
        FORGOTTEN => WireError::Forgotten,
        REFUSED => WireError::Refused { code: value.cast_signed() },
        BUSY => WireError::Busy { limit },
        FULL => WireError::Full { limit },
        DAMAGED => WireError::Answer("it is damaged, or larger than allowed"),
        TOO_LARGE => {
            WireError::Answer("it is larger than the client can take: ask for less at once")
        }
        _ => {
            let most = name.strip_prefix(UNSENDABLE)?.strip_prefix("_OF_")?.parse().ok()?;
            WireError::Unsendable { len: limit, limit: most }
        }
    })
}

#[cfg(test)]
mod tests {
    use grammers_tl_types::types;

    use super::*;

    #[test]
    fn what_is_told_of_the_wire_is_understood_behind_the_client() {
        let seconds = Duration::from_secs;
        for error in [
            WireError::TimedOut { was_sent: true, after: seconds(30) },
            WireError::TimedOut { was_sent: false, after: Duration::from_millis(7) },
            WireError::TimedOut { was_sent: true, after: Duration::ZERO },
            WireError::Lost { was_sent: false, end: WireEnd::Closed { is_confirmed: false } },
            WireError::Forgotten,
            WireError::Refused { code: 48 },
            WireError::Refused { code: -1 },
            WireError::Unsendable { len: 1_040_004, limit: 1_040_000 },
            WireError::Busy { limit: 16_384 },
            WireError::Full { limit: 64 << 20 },
        ] {
            let (error_code, error_message) = told(&error).unwrap();
            let behind = RpcError::from(types::RpcError { error_code, error_message });
            let understood = local_error(&behind).unwrap();
            assert_eq!(understood.to_string(), error.to_string());
            assert_eq!(understood.may_be_carried_out(), error.may_be_carried_out());
        }
        for name in [DAMAGED, TOO_LARGE] {
            let (error_code, error_message) = (LOCAL_CODE, name.to_owned());
            let behind = RpcError::from(types::RpcError { error_code, error_message });
            assert!(matches!(local_error(&behind), Some(WireError::Answer(_))), "{name}");
        }
        let answer = told(&WireError::Answer("it is damaged")).unwrap();
        assert_eq!(answer, (LOCAL_CODE, DAMAGED.to_owned()));
    }

    #[test]
    fn what_a_server_says_stays_word_for_word_and_is_never_taken_for_ours() {
        for (code, words) in [(420, "FLOOD_WAIT_31"), (500, ""), (400, "ä\n_5"), (-503, "Timeout")]
        {
            let error = WireError::Rpc { code, message: words.into() };
            assert_eq!(told(&error), Some((code, words.to_owned())));
            let (error_code, error_message) = (code, words.to_owned());
            let behind = RpcError::from(types::RpcError { error_code, error_message });
            assert!(local_error(&behind).is_none());
        }
        let long = WireError::Rpc { code: 400, message: "ä".repeat(NAME_LEN_MAX).into() };
        assert_eq!(told(&long).unwrap().1, "ä".repeat(NAME_LEN_MAX / 2));
        assert_eq!(told(&WireError::Lost { was_sent: true, end: WireEnd::HungUp }), None);
    }
}
