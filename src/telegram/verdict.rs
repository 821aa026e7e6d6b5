//! Verdict on an error: what the pool makes of it.
//!
//! Owns the one table from an error to what follows from it, as a pure function. Never acts itself.

use std::io;
use std::time::Duration;

use grammers_client::tl::{Identifiable as _, functions};

use super::{ProxyError, ProxyProblem, TelegramError};
use crate::manager::{CallOutcome, ErrorKind, QuarantineReason, Reaction};
use crate::ownership::{ClaimError, is_lack_of_files};

/// After how many refusals of a key in a row it is not dialled again.
const STRIKES_MAX: u32 = 2;

/// What follows from an error of a connect, a check or a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// What the pool does about it.
    pub reaction: Reaction,
    /// Its class, for the counters.
    pub kind: ErrorKind,
    /// Whether no call after it can succeed on the same connection.
    pub ends_connection: bool,
    /// Whether the call may be sent again.
    pub resend: Resend,
    /// How a call ended that came back with it.
    pub outcome: CallOutcome,
}

/// Whether a call that has failed may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resend {
    /// It would fail again.
    Never,
    /// The server has not seen it: at once, on another connection.
    AtOnce,
    /// The server failed before it did anything: after a pause.
    Later,
    /// The server may have carried it out: only if that does no harm twice.
    IfIdempotent,
}

impl Verdict {
    const fn new(outcome: CallOutcome, reaction: Reaction, kind: ErrorKind) -> Self {
        Self { reaction, kind, ends_connection: false, resend: Resend::Never, outcome }
    }

    const fn ending(self) -> Self {
        Self { ends_connection: true, ..self }
    }

    const fn resend(self, resend: Resend) -> Self {
        Self { resend, ..self }
    }
}

/// What the pool makes of an error of a connect, a check or a call.
///
/// Errors of calls on the plain client can be judged too: convert them first.
///
/// ```
/// use telepool::telegram::{TelegramError, client, verdict};
/// use telepool::Reaction;
///
/// // The client has lost its connection ..
/// let lost = client::InvocationError::Dropped("SenderPoolRunner was dropped at send");
/// assert_eq!(verdict(&TelegramError::from(lost)).reaction, Reaction::Discard);
/// // .. and here it lacks something, over one that is sound.
/// let lacks = client::InvocationError::Dropped("cannot invoke request without a peer ref");
/// assert_eq!(verdict(&TelegramError::from(lacks)).reaction, Reaction::Keep);
/// ```
#[must_use]
pub fn verdict(error: &TelegramError) -> Verdict {
    use CallOutcome::{ClientError, Lost, NotSent, Timeout as LateAnswer};
    use ErrorKind::{Auth, Io, Protocol, Refused, Timeout};
    use QuarantineReason::{Misconfigured, Suspect, Unsupported};
    use Reaction::{Check, Discard, Exhausted, Keep, QuarantineSession, TripBreaker};

    match error {
        TelegramError::Rpc { code, name, value, method } => rpc(*code, name, *value, *method),
        TelegramError::Io(error) => {
            let reaction = if is_exhausted(error) { Exhausted } else { Discard };
            let kind = match error.kind() {
                io::ErrorKind::ConnectionRefused => Refused,
                io::ErrorKind::TimedOut => Timeout,
                _ => Io,
            };
            Verdict::new(Lost, reaction, kind).ending().resend(Resend::IfIdempotent)
        }
        TelegramError::Transport { code } => {
            let verdict = match code {
                404 => Verdict::new(Lost, Discard, Auth),
                429 => Verdict::new(Lost, TripBreaker, Refused),
                444 => Verdict::new(Lost, QuarantineSession(Misconfigured), Protocol),
                _ => Verdict::new(Lost, Discard, Protocol),
            };
            verdict.ending().resend(Resend::IfIdempotent)
        }
        TelegramError::Protocol(_) => {
            Verdict::new(Lost, Discard, Protocol).ending().resend(Resend::IfIdempotent)
        }
        TelegramError::Dropped => {
            Verdict::new(Lost, Discard, Io).ending().resend(Resend::IfIdempotent)
        }
        TelegramError::NotSent => {
            Verdict::new(NotSent, Discard, Io).ending().resend(Resend::AtOnce)
        }
        TelegramError::Forgotten => Verdict::new(Lost, Keep, Protocol).resend(Resend::IfIdempotent),
        TelegramError::Fenced(_) => Verdict::new(NotSent, Discard, Io).ending(),
        // The peer may be gone without a word. The call given up counts against its connection by
        // itself.
        TelegramError::Timeout { .. } => {
            Verdict::new(LateAnswer, Check, Timeout).resend(Resend::IfIdempotent)
        }
        TelegramError::KeyUnknown { strikes } if *strikes < STRIKES_MAX => {
            Verdict::new(NotSent, Discard, Auth)
        }
        TelegramError::KeyUnknown { .. } => Verdict::new(NotSent, QuarantineSession(Suspect), Auth),
        TelegramError::KeyChanged => Verdict::new(Lost, QuarantineSession(Suspect), Auth).ending(),
        TelegramError::KeyExchange(_) => Verdict::new(NotSent, Discard, Protocol),
        TelegramError::NoSession { .. } => Verdict::new(NotSent, Discard, Auth),
        TelegramError::NoApiId { .. } => {
            Verdict::new(NotSent, QuarantineSession(Unsupported), Auth)
        }
        TelegramError::Proxy(error) => proxy(error),
        // Nothing was dialled, and no pause of the account's makes it succeed.
        TelegramError::Claim(ClaimError::Folder { error, .. }) if is_exhausted(error) => {
            Verdict::new(NotSent, Exhausted, Protocol)
        }
        TelegramError::Claim(_)
        | TelegramError::KeyInUse
        | TelegramError::KeyResting { .. }
        | TelegramError::Refused(_)
        | TelegramError::UnknownDataCentre => Verdict::new(NotSent, Keep, Protocol),
        TelegramError::Answer(_) | TelegramError::Client(_) => {
            Verdict::new(ClientError, Keep, Protocol)
        }
        TelegramError::File(_) => Verdict::new(ClientError, Keep, Io),
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

/// A proxy that fails is no fault of the session's. What it says of everybody counts against the way by it;
/// what it says of a user and a password does not, since others of its accounts may have others.
fn proxy(error: &ProxyError) -> Verdict {
    let reaction = match error.io() {
        Some(error) if is_exhausted(error) => Reaction::Exhausted,
        _ => Reaction::Discard,
    };
    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    let kind = match error.problem() {
        ProxyProblem::Credentials | ProxyProblem::CredentialsWanted => ErrorKind::Protocol,
        ProxyProblem::Timeout { .. } => ErrorKind::Timeout,
        ProxyProblem::Forbidden => ErrorKind::Refused,
        _ if error.io().is_some_and(is_refused) => ErrorKind::Refused,
        _ => ErrorKind::Io,
    };
    Verdict::new(CallOutcome::NotSent, reaction, kind)
}

fn rpc(code: i32, name: &str, value: Option<u32>, method: Option<u32>) -> Verdict {
    use QuarantineReason::{Deactivated, KeyDuplicated, Misconfigured, NeedsLogin, Suspect};

    let is_flood = code == 420
        && matches!(name, "FLOOD_WAIT" | "FLOOD_TEST_PHONE_WAIT" | "FLOOD_PREMIUM_WAIT");
    let reaction = match (code, name) {
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
        _ if is_flood => flood(value, method),
        (420, "FROZEN_METHOD_INVALID") | (400, "PEER_FLOOD") => Reaction::Restricted,
        (303, "USER_MIGRATE") => Reaction::QuarantineSession(Misconfigured),
        // The server has forgotten how the connection introduced itself.
        (400, "CONNECTION_NOT_INITED" | "CONNECTION_LAYER_INVALID") => Reaction::Discard,
        _ => Reaction::Keep,
    };
    let kind = match (code, name) {
        (401, _) | (_, "AUTH_KEY_DUPLICATED") => ErrorKind::Auth,
        _ => ErrorKind::Rpc,
    };
    let outcome = if is_flood { CallOutcome::Flood } else { CallOutcome::RpcError };
    let resend = match (code, name) {
        // The server has what was sent, and will say so each time.
        (500, "RANDOM_ID_DUPLICATE") => Resend::Never,
        (500 | -503, _) => Resend::Later,
        _ => Resend::Never,
    };
    Verdict::new(outcome, reaction, kind).resend(resend)
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

#[cfg(test)]
mod tests;
