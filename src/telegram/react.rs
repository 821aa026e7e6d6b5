//! What the pool does about each error.
//!
//! Owns the table of signals and reactions, as pure functions. Never acts itself.

use std::io;
use std::time::Duration;

use grammers_client::tl::{Identifiable as _, functions};

use super::TelegramError;
use crate::manager::{ErrorKind, QuarantineReason, Reaction};
use crate::ownership::{ClaimError, is_lack_of_files};

/// After how many refusals of a key in a row it is not dialled again.
const STRIKES_MAX: u32 = 2;

/// What the pool must do about an error of a connect, a check or a call.
///
/// Errors of calls on the plain client can be judged too: convert them first.
///
/// ```
/// use telepool::telegram::{TelegramError, client, react};
/// use telepool::Reaction;
///
/// // The client has lost its connection ..
/// let lost = client::InvocationError::Dropped("SenderPoolRunner was dropped at send");
/// assert_eq!(react(&TelegramError::from(lost)), Reaction::Discard);
/// // .. and here it lacks something, over one that is sound.
/// let lacks = client::InvocationError::Dropped("cannot invoke request without a peer ref");
/// assert_eq!(react(&TelegramError::from(lacks)), Reaction::Keep);
/// ```
#[must_use]
pub fn react(error: &TelegramError) -> Reaction {
    match error {
        TelegramError::Io(error) if is_exhausted(error) => Reaction::Exhausted,
        TelegramError::Claim(ClaimError::Place { error, .. }) if is_exhausted(error) => {
            Reaction::Exhausted
        }
        TelegramError::Rpc { code, name, value, method } => rpc(*code, name, *value, *method),
        TelegramError::Transport { code: 429 } => Reaction::TripBreaker,
        TelegramError::Transport { code: 444 } => {
            Reaction::QuarantineSession(QuarantineReason::Misconfigured)
        }
        TelegramError::ProxyUnsupported => {
            Reaction::QuarantineSession(QuarantineReason::Unsupported)
        }
        TelegramError::KeyUnknown { strikes } if *strikes < STRIKES_MAX => Reaction::Discard,
        TelegramError::KeyUnknown { .. } | TelegramError::KeyChanged => {
            Reaction::QuarantineSession(QuarantineReason::Suspect)
        }
        TelegramError::Io(_)
        | TelegramError::Transport { .. }
        | TelegramError::Protocol(_)
        | TelegramError::KeyExchange(_)
        | TelegramError::Dropped
        | TelegramError::NotSent
        | TelegramError::Fenced(_)
        | TelegramError::NoSession { .. } => Reaction::Discard,
        // The peer may be gone without a word. The call given up counts against its connection by
        // itself.
        TelegramError::Timeout { .. } => Reaction::Doubt,
        // Nothing was dialled, and no pause of the account's makes it succeed.
        TelegramError::KeyInUse
        | TelegramError::KeyResting { .. }
        | TelegramError::Claim(_)
        | TelegramError::Answer(_)
        | TelegramError::Client(_)
        | TelegramError::File(_)
        | TelegramError::Refused(_)
        | TelegramError::UnknownDataCentre => Reaction::Keep,
    }
}

/// Whether this machine has no file descriptor, no buffer or no port left for another connection.
fn is_exhausted(error: &io::Error) -> bool {
    if error.kind() == io::ErrorKind::AddrNotAvailable {
        return true;
    }
    #[cfg(unix)]
    {
        use nix::errno::Errno;

        let code = error.raw_os_error().map(Errno::from_raw);
        if code == Some(Errno::ENOBUFS) {
            return true;
        }
    }
    is_lack_of_files(error)
}

fn rpc(code: i32, name: &str, value: Option<u32>, method: Option<u32>) -> Reaction {
    use QuarantineReason::{Deactivated, KeyDuplicated, Misconfigured, NeedsLogin, Suspect};

    match (code, name) {
        (_, "AUTH_KEY_DUPLICATED") => Reaction::QuarantineSession(KeyDuplicated),
        (401, "SESSION_REVOKED" | "SESSION_EXPIRED" | "SESSION_PASSWORD_NEEDED") => {
            Reaction::QuarantineSession(NeedsLogin)
        }
        (401, "USER_DEACTIVATED" | "USER_DEACTIVATED_BAN") => {
            Reaction::QuarantineAccount(Deactivated)
        }
        // The client answers these two from whichever data centre the file is in. There the key
        // is one of its own; a new connection makes and authorizes another.
        (401, "AUTH_KEY_UNREGISTERED" | "AUTH_KEY_INVALID") if goes_abroad(method) => {
            Reaction::Discard
        }
        (401, "AUTH_KEY_UNREGISTERED" | "AUTH_KEY_INVALID") => Reaction::QuarantineSession(Suspect),
        (420, "FLOOD_WAIT" | "FLOOD_TEST_PHONE_WAIT" | "FLOOD_PREMIUM_WAIT") => {
            flood(value, method)
        }
        (420, "FROZEN_METHOD_INVALID") | (400, "PEER_FLOOD") => Reaction::Restricted,
        (303, "USER_MIGRATE") => Reaction::QuarantineSession(Misconfigured),
        // The server has forgotten how the connection introduced itself.
        (400, "CONNECTION_NOT_INITED" | "CONNECTION_LAYER_INVALID") => Reaction::Discard,
        _ => Reaction::Keep,
    }
}

/// A flood belongs to one method of one account. A premium flood needs no row of its own: only
/// the methods that move files give it.
fn flood(seconds: Option<u32>, method: Option<u32>) -> Reaction {
    match method {
        Some(key) => {
            let wait = Duration::from_secs(u64::from(seconds.unwrap_or(1).max(1)));
            Reaction::CoolDown { key, wait }
        }
        // Made up by the client, or of a method that nobody knows.
        None => Reaction::Keep,
    }
}

/// Whether the client sends this method to other data centres than the home.
fn goes_abroad(method: Option<u32>) -> bool {
    const ABROAD: [u32; 5] = [
        functions::upload::GetFile::CONSTRUCTOR_ID,
        functions::upload::GetWebFile::CONSTRUCTOR_ID,
        functions::upload::GetCdnFile::CONSTRUCTOR_ID,
        functions::upload::GetFileHashes::CONSTRUCTOR_ID,
        functions::auth::ImportAuthorization::CONSTRUCTOR_ID,
    ];
    method.is_some_and(|method| ABROAD.contains(&method))
}

/// The class of an error, for the counters.
#[must_use]
pub fn kind(error: &TelegramError) -> ErrorKind {
    match error {
        TelegramError::Rpc { code: 401, .. } => ErrorKind::Auth,
        TelegramError::Rpc { name, .. } if &**name == "AUTH_KEY_DUPLICATED" => ErrorKind::Auth,
        TelegramError::Rpc { .. } => ErrorKind::Rpc,
        TelegramError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            ErrorKind::Refused
        }
        TelegramError::Io(error) if error.kind() == io::ErrorKind::TimedOut => ErrorKind::Timeout,
        TelegramError::Io(_) | TelegramError::Dropped | TelegramError::NotSent => ErrorKind::Io,
        TelegramError::Fenced(_) | TelegramError::File(_) => ErrorKind::Io,
        TelegramError::Transport { code: 429 } => ErrorKind::Refused,
        TelegramError::Transport { code: 404 }
        | TelegramError::KeyUnknown { .. }
        | TelegramError::KeyChanged
        | TelegramError::NoSession { .. } => ErrorKind::Auth,
        TelegramError::Timeout { .. } => ErrorKind::Timeout,
        TelegramError::Transport { .. }
        | TelegramError::Protocol(_)
        | TelegramError::KeyExchange(_)
        | TelegramError::Answer(_)
        | TelegramError::Client(_)
        | TelegramError::Refused(_)
        | TelegramError::UnknownDataCentre
        | TelegramError::KeyInUse
        | TelegramError::KeyResting { .. }
        | TelegramError::Claim(_)
        | TelegramError::ProxyUnsupported => ErrorKind::Protocol,
    }
}

#[cfg(test)]
mod tests;
