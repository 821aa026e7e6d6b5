//! What is told of an event: its kind, how much it matters, a sentence, and what can be done.
//!
//! Owns the words, so that whoever lists events, in a page or a terminal, tells the same.

use std::fmt;

use super::Event;
use crate::account_id::AccountId;
use crate::base::labels::labelled;
use crate::connection::ConnectionId;
use crate::manager::{ErrorKind, QuarantineReason};

labelled! {
    /// How much an event matters.
    pub enum EventLevel {
        /// It belongs to the pool's work.
        Info = "info",
        /// Something does not go well, and the pool deals with it.
        Warn = "warn",
        /// Something is lost until somebody does something about it.
        Error = "error",
    }
}

labelled! {
    /// The kind of an event.
    enum EventKind {
        AccountOpened = "account_opened",
        AccountClosed = "account_closed",
        ConnectionOpened = "connection_opened",
        ConnectionClosed = "connection_closed",
        UpdatesInterrupted = "updates_interrupted",
        DialFailed = "dial_failed",
        AddressDown = "address_down",
        AddressUp = "address_up",
        ConnectionError = "connection_error",
        SlowAcquire = "slow_acquire",
        LeaseHeld = "lease_held",
        FloodWait = "flood_wait",
        Restricted = "restricted",
        Quarantined = "quarantined",
        Cleared = "cleared",
        Draining = "draining",
        Paused = "paused",
        Resumed = "resumed",
        Reinstated = "reinstated",
        Operation = "operation",
        Reconfigured = "reconfigured",
        Closing = "closing",
    }
}

impl Event {
    /// Every [`kind`](Self::kind) that there is.
    pub const KINDS: &'static [&'static str] = &EventKind::LABELS;

    /// Returns what kind of event this is, in lower case with underscores: `dial_failed`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        let kind = match self {
            Self::AccountOpened { .. } => EventKind::AccountOpened,
            Self::AccountClosed { .. } => EventKind::AccountClosed,
            Self::ConnectionOpened { .. } => EventKind::ConnectionOpened,
            Self::ConnectionClosed { .. } => EventKind::ConnectionClosed,
            Self::UpdatesInterrupted { .. } => EventKind::UpdatesInterrupted,
            Self::DialFailed { .. } => EventKind::DialFailed,
            Self::AddressDown { .. } => EventKind::AddressDown,
            Self::AddressUp { .. } => EventKind::AddressUp,
            Self::ConnectionError { .. } => EventKind::ConnectionError,
            Self::SlowAcquire { .. } => EventKind::SlowAcquire,
            Self::LeaseHeld { .. } => EventKind::LeaseHeld,
            Self::FloodWait { .. } => EventKind::FloodWait,
            Self::Restricted { .. } => EventKind::Restricted,
            Self::Quarantined { .. } => EventKind::Quarantined,
            Self::Cleared { .. } => EventKind::Cleared,
            Self::Draining { .. } => EventKind::Draining,
            Self::Paused { .. } => EventKind::Paused,
            Self::Resumed { .. } => EventKind::Resumed,
            Self::Reinstated { .. } => EventKind::Reinstated,
            Self::Operation { .. } => EventKind::Operation,
            Self::Reconfigured => EventKind::Reconfigured,
            Self::Closing => EventKind::Closing,
        };
        kind.label()
    }

    /// Returns the account that this concerns.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::AccountOpened { account }
            | Self::AccountClosed { account }
            | Self::ConnectionOpened { account, .. }
            | Self::ConnectionClosed { account, .. }
            | Self::UpdatesInterrupted { account, .. }
            | Self::DialFailed { account, .. }
            | Self::ConnectionError { account, .. }
            | Self::SlowAcquire { account, .. }
            | Self::LeaseHeld { account, .. }
            | Self::FloodWait { account, .. }
            | Self::Restricted { account, .. }
            | Self::Quarantined { account, .. }
            | Self::Cleared { account, .. }
            | Self::Draining { account }
            | Self::Paused { account }
            | Self::Resumed { account }
            | Self::Reinstated { account } => Some(*account),
            Self::Operation { account, .. } => *account,
            Self::AddressDown { .. }
            | Self::AddressUp { .. }
            | Self::Reconfigured
            | Self::Closing => None,
        }
    }

    /// Returns the connection that this concerns.
    #[must_use]
    pub fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::ConnectionOpened { id, .. }
            | Self::ConnectionClosed { id, .. }
            | Self::ConnectionError { id, .. }
            | Self::LeaseHeld { id, .. } => Some(*id),
            Self::Operation { connection, .. } => *connection,
            _ => None,
        }
    }

    /// Returns the session of the account that this concerns.
    #[must_use]
    pub fn slot(&self) -> Option<u16> {
        match self {
            Self::ConnectionOpened { slot, .. }
            | Self::DialFailed { slot, .. }
            | Self::Cleared { slot, .. } => Some(*slot),
            Self::Quarantined { slot, .. } => *slot,
            _ => None,
        }
    }

    /// Returns who asked for this, of an operation.
    #[must_use]
    pub fn by(&self) -> Option<&str> {
        match self {
            Self::Operation { by, .. } => Some(by),
            _ => None,
        }
    }

    /// Returns how much this matters.
    #[must_use]
    pub fn level(&self) -> EventLevel {
        match self {
            Self::Quarantined {
                reason: QuarantineReason::Suspect | QuarantineReason::Operator,
                ..
            } => EventLevel::Warn,
            Self::Quarantined { .. } => EventLevel::Error,
            Self::ConnectionClosed { reason, .. } if reason.is_fault() => EventLevel::Warn,
            // The server's answer to one call is its caller's business.
            Self::ConnectionError { kind: ErrorKind::Rpc, .. } => EventLevel::Info,
            Self::ConnectionError { .. }
            | Self::UpdatesInterrupted { .. }
            | Self::DialFailed { .. }
            | Self::AddressDown { .. }
            | Self::SlowAcquire { .. }
            | Self::LeaseHeld { .. }
            | Self::Restricted { .. } => EventLevel::Warn,
            _ => EventLevel::Info,
        }
    }

    /// Returns what an operator can do about this; `None` if there is nothing to do.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        let remedy = match self {
            Self::Quarantined { reason, .. } => reason.remedy(),
            Self::UpdatesInterrupted { .. } => {
                "the account is dialled again by itself, and fetches what came: see why if that lasts"
            }
            Self::DialFailed { .. } => {
                "see what the error names; it is dialled again by itself when somebody waits"
            }
            Self::ConnectionError { kind, .. } => remedy_of(*kind),
            Self::AddressDown { .. } => "see whether the address can be reached from here",
            Self::SlowAcquire { .. } => {
                "release leases sooner, add sessions, or raise pool.max_connections_per_account"
            }
            Self::LeaseHeld { .. } => "see whether the lease was forgotten where it was acquired",
            Self::FloodWait { .. } => {
                "call the method less often; it may be called again by itself"
            }
            Self::Restricted { .. } => {
                "use the account less, and look at it in an official client: no waiting mends this"
            }
            Self::Draining { .. } => "reinstate it when it is wanted again",
            Self::Paused { .. } => "resume it when it is wanted again",
            _ => return None,
        };
        Some(remedy)
    }

    /// Returns what happened in plain words, without the account.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::ConnectionOpened { .. }
            | Self::ConnectionClosed { .. }
            | Self::UpdatesInterrupted { .. }
            | Self::DialFailed { .. }
            | Self::ConnectionError { .. }
            | Self::SlowAcquire { .. }
            | Self::LeaseHeld { .. } => self.text_of_connection(),
            Self::AccountOpened { .. } => "the pool met the account".to_owned(),
            Self::AccountClosed { .. } => "the pool forgot the account".to_owned(),
            Self::AddressDown { address, error } => {
                format!("{address} does not answer, and is tried seldom: {error}")
            }
            Self::AddressUp { address } => format!("{address} answers again"),
            Self::FloodWait { key, wait, .. } => {
                format!("the method {key:#010x} must rest for {wait:?}: flood")
            }
            Self::Restricted { error, .. } => format!("the server restricts the account: {error}"),
            Self::Quarantined { slot: Some(slot), reason, .. } => {
                format!("session {slot} is quarantined: {reason}")
            }
            Self::Quarantined { slot: None, reason, .. } => {
                format!("every session is quarantined: {reason}")
            }
            Self::Cleared { slot, .. } => {
                format!("the server knows session {slot} again: it serves")
            }
            Self::Draining { .. } => "the account is drained: acquires fail at once".to_owned(),
            Self::Paused { .. } => "the account is paused: acquires wait".to_owned(),
            Self::Resumed { .. } => "the account is resumed".to_owned(),
            Self::Reinstated { .. } => "the account is reinstated".to_owned(),
            Self::Operation { operation, connection, by, detail, .. } => {
                let what = connection.map(|id| format!(" {id}")).unwrap_or_default();
                let why = detail.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
                format!("{operation}{what} by {by}{why}")
            }
            Self::Reconfigured => "another configuration is in force".to_owned(),
            Self::Closing => "the pool closes".to_owned(),
        }
    }

    /// The same of what concerns connections and those that wait for them.
    fn text_of_connection(&self) -> String {
        match self {
            Self::ConnectionOpened { slot, took, .. } => {
                format!("connected session {slot} in {took:?}")
            }
            Self::ConnectionClosed { reason, uses, .. } => {
                format!("closed after {uses} uses: {}", reason.label())
            }
            Self::UpdatesInterrupted { reason, .. } => {
                format!("updates are late until the next dial: {}", reason.label())
            }
            Self::DialFailed { slot, error, retry_in, .. } => {
                format!("a dial of session {slot} failed: {error} (again in {retry_in:?})")
            }
            Self::ConnectionError { kind, error, .. } => {
                format!("an error of a connection ({}): {error}", kind.label())
            }
            Self::SlowAcquire { waited, site, .. } => {
                format!("the acquire at {site} waited for {waited:?}")
            }
            Self::LeaseHeld { held, site, .. } => {
                let at = site.map(|site| format!(", acquired at {site}")).unwrap_or_default();
                format!("a lease is held for {held:?}{at}: was it forgotten?")
            }
            _ => String::new(),
        }
    }
}

/// What would help where connections have errors of this kind.
fn remedy_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Io => {
            "another connection is opened by itself; if it goes on, see what ends them: the server, a proxy \
             or the network"
        }
        ErrorKind::Refused => {
            "it is dialled again by itself; if it goes on, dial less often or by another egress"
        }
        ErrorKind::Protocol => {
            "another connection is opened by itself; if it goes on, see what alters data on the way, such \
             as a proxy"
        }
        ErrorKind::Timeout => {
            "another connection is opened by itself; if it goes on, see whether packets are lost on the \
             way, or call less at once"
        }
        ErrorKind::Rpc => {
            "see what the error names: 5xx pass by themselves, others lie in the call or in the account"
        }
        ErrorKind::Auth => "log in again, and give the new session to the source of sessions",
    }
}

/// The account, if there is one, and what happened.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(account) = self.account() {
            write!(f, "{account}: ")?;
        }
        f.write_str(&self.text())
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use std::collections::BTreeSet;
    use std::panic::Location;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::connection::CloseReason;

    /// One event of each kind, in the order of the kinds.
    fn one_of_each() -> Vec<Event> {
        let account = AccountId::bot(1).expect("an account");
        let (id, slot, reason) = (ConnectionId(7), 2, CloseReason::Broken);
        let (error, time): (Arc<str>, _) = ("refused".into(), Duration::from_secs(3));
        let (address, site) = (Arc::<str>::from("dc2"), Location::caller());
        let (by, detail) = (Arc::from("ops"), Some(Arc::from("a test")));
        vec![
            Event::AccountOpened { account },
            Event::AccountClosed { account },
            Event::ConnectionOpened { account, id, slot, took: time },
            Event::ConnectionClosed { account, id, reason, uses: 5 },
            Event::UpdatesInterrupted { account, reason },
            Event::DialFailed { account, slot, error: Arc::clone(&error), retry_in: time },
            Event::AddressDown { address: Arc::clone(&address), error: Arc::clone(&error) },
            Event::AddressUp { address },
            Event::ConnectionError { account, id, kind: ErrorKind::Io, error: Arc::clone(&error) },
            Event::SlowAcquire { account, waited: time, site },
            Event::LeaseHeld { account, id, held: time, site: Some(site) },
            Event::FloodWait { account, key: 0xab, wait: time },
            Event::Restricted { account, error },
            Event::Quarantined { account, slot: Some(slot), reason: QuarantineReason::Dead },
            Event::Cleared { account, slot },
            Event::Draining { account },
            Event::Paused { account },
            Event::Resumed { account },
            Event::Reinstated { account },
            Event::Operation {
                operation: "close_connection",
                account: Some(account),
                connection: Some(id),
                by,
                detail,
            },
            Event::Reconfigured,
            Event::Closing,
        ]
    }

    #[test]
    fn every_kind_has_a_name_and_a_sentence_of_its_own() {
        let events = one_of_each();
        let kinds: Vec<_> = events.iter().map(Event::kind).collect();
        assert_eq!(kinds, Event::KINDS);
        let texts: BTreeSet<_> = events.iter().map(Event::text).collect();
        assert_eq!(texts.len(), events.len(), "{texts:?}");
        assert!(!texts.contains(""));
        let told = |kind: &str| events.iter().find(|it| it.kind() == kind).expect("one of each");
        assert_eq!(
            told("dial_failed").to_string(),
            "bot:1: a dial of session 2 failed: refused (again in 3s)"
        );
        assert_eq!(told("flood_wait").text(), "the method 0x000000ab must rest for 3s: flood");
        assert_eq!(told("closing").to_string(), "the pool closes");
        assert_eq!(told("operation").to_string(), "bot:1: close_connection #7 by ops: a test");
    }

    #[test]
    fn what_is_lost_matters_more_than_what_the_pool_deals_with_and_has_a_remedy() {
        let account = AccountId::bot(1).expect("an account");
        let quarantined = |reason| Event::Quarantined { account, slot: None, reason }.level();
        assert_eq!(quarantined(QuarantineReason::Dead), EventLevel::Error);
        assert_eq!(quarantined(QuarantineReason::Suspect), EventLevel::Warn);
        assert_eq!(quarantined(QuarantineReason::Operator), EventLevel::Warn);
        let closed = |reason| {
            Event::ConnectionClosed { account, id: ConnectionId(1), reason, uses: 0 }.level()
        };
        assert_eq!(closed(CloseReason::Idle), EventLevel::Info);
        assert_eq!(closed(CloseReason::Broken), EventLevel::Warn);
        for event in one_of_each() {
            let is_dealt_with = event.kind() == "connection_closed";
            let needs_one = event.level() != EventLevel::Info && !is_dealt_with;
            assert!(event.remedy().is_some() || !needs_one, "{event}");
        }
    }

    #[test]
    fn each_kind_of_error_has_a_remedy_of_its_own() {
        let remedies: BTreeSet<_> = ErrorKind::ALL.into_iter().map(remedy_of).collect();
        assert_eq!(remedies.len(), ErrorKind::ALL.len());
    }

    #[test]
    fn whom_an_event_concerns_is_told_of_each_that_has_it() {
        let count = |has: fn(&Event) -> bool| one_of_each().iter().filter(|it| has(it)).count();
        assert_eq!(count(|it| it.account().is_some()), 18);
        assert_eq!(count(|it| it.connection() == Some(ConnectionId(7))), 5);
        assert_eq!(count(|it| it.slot() == Some(2)), 4);
        assert_eq!(count(|it| it.by() == Some("ops")), 1);
    }
}
