//! The pool's public errors: each names the stage that failed and what would help.
//!
//! Owns the types and their texts. Nothing here decides anything.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::account_id::AccountId;
use crate::config::ConfigError;
use crate::manager::QuarantineReason;

/// How far an acquire came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The account was looked up.
    Lookup,
    /// It waited for a free connection.
    Wait,
    /// A connection was being opened for it.
    Dial,
    /// An idle connection was being checked for it.
    Check,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lookup => "lookup",
            Self::Wait => "wait",
            Self::Dial => "dial",
            Self::Check => "check",
        })
    }
}

/// Why an acquire got no lease. `E` is the manager's error.
///
/// What keeps an account from serving has the same name here and in [`AccountHealth`](crate::AccountHealth).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError<E> {
    /// The manager knows no such account.
    #[error("lookup: no account {account}: add a session for it to the source of sessions")]
    UnknownAccount {
        /// The account that was asked for.
        account: AccountId,
    },
    /// The account has no session. One that is added is found within five seconds.
    #[error("lookup: account {account} has no session: add one to the source of sessions")]
    NoSession {
        /// The account that was asked for.
        account: AccountId,
    },
    /// No account of the group can serve.
    #[error("lookup: no account of the group can serve: add accounts to it, or reinstate some")]
    NoMember,
    /// The pool was closed, or the account was removed from it.
    #[error("{stage}: the pool is closed, or the account was removed from it")]
    Closed {
        /// How far the acquire had come.
        stage: Stage,
    },
    /// The tokio runtime that the pool was built on has ended: nothing can be opened or timed any
    /// more. A pool in a `static` meets this when each `#[tokio::test]` brings a runtime of its own.
    #[error(
        "the tokio runtime that the pool was built on has ended: build the pool on one that lives as \
         long, and in tests one pool in each, or give the builder the handle of a runtime that all share"
    )]
    RuntimeEnded,
    /// The account is drained: an operator took it out of service.
    #[error("account {account} is drained: reinstate it when it is wanted again")]
    Draining {
        /// The account that was asked for.
        account: AccountId,
    },
    /// Every session of the account is quarantined.
    #[error("account {account} is quarantined ({reason}): {}", .reason.remedy())]
    Quarantined {
        /// The account that was asked for.
        account: AccountId,
        /// Why.
        reason: QuarantineReason,
    },
    /// The account is not dialled before the acquire's patience ends, and has no connection: the server
    /// asked for a rest, or its dials have failed.
    #[error(
        "dial: account {account} is not dialled for {:?} more{}: wait for so long, or reinstate it if \
         the reason is gone", rounded(*.remaining), shown_dial(.last_dial_error)
    )]
    Resting {
        /// The account that was asked for.
        account: AccountId,
        /// For how much longer.
        remaining: Duration,
        /// What its last dial failed with.
        last_dial_error: Option<String>,
    },
    /// The deadline passed.
    #[error(transparent)]
    Timeout(Box<WaitTimeout>),
    /// A connection could not be opened.
    #[error("dial: {0}")]
    Dial(#[source] DialError<E>),
}

impl<E> AcquireError<E> {
    /// The stage at which the acquire failed.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Self::UnknownAccount { .. }
            | Self::NoSession { .. }
            | Self::NoMember
            | Self::Draining { .. }
            | Self::Quarantined { .. } => Stage::Lookup,
            Self::RuntimeEnded => Stage::Wait,
            Self::Closed { stage } => *stage,
            Self::Timeout(timeout) => timeout.stage,
            Self::Dial(_) | Self::Resting { .. } => Stage::Dial,
        }
    }
}

fn shown_dial(error: &Option<String>) -> String {
    error.as_ref().map(|error| format!(", as the last dial failed ({error})")).unwrap_or_default()
}

/// What an acquire found out while it waited in vain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct WaitTimeout {
    /// The account that was asked for.
    pub account: AccountId,
    /// How far the acquire had come.
    pub stage: Stage,
    /// How long it waited.
    pub waited: Duration,
    /// The leases of the account that were held when it gave up.
    pub leases: u32,
    /// The connections that the account may have.
    pub max_connections: u32,
    /// The acquires that were still waiting.
    pub waiting: u32,
    /// For how long the longest-leased connection has been leased without a break.
    pub oldest_lease_age: Option<Duration>,
    /// Where that lease was acquired.
    pub oldest_lease_site: Option<&'static Location<'static>>,
    /// Not if the lease was handed to an acquire that has not been polled since.
    pub oldest_lease_taken: bool,
    /// The account's last failed dial, if none has succeeded since.
    pub last_dial_error: Option<String>,
    /// Whether the account waited for a connection for which this machine had no room: no file
    /// descriptor, port or buffer was left.
    pub machine_full: bool,
    /// The cap of the pool, if every connection under it was in use.
    pub pool_cap: Option<u32>,
    /// Whether the account was paused: nobody was served until it would be resumed.
    pub paused: bool,
}

/// What is said of a machine that has no room for another connection.
const NO_ROOM: &str = "this machine has no file descriptor, port or buffer left for another connection: \
    raise its limit (of open files: ulimit -n; of ports: net.ipv4.ip_local_port_range), or lower \
    pool.max_connections";

impl fmt::Display for WaitTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stage, account, waited) = (self.stage, self.account, rounded(self.waited));
        if self.paused {
            return write!(
                f,
                "{stage}: account {account} is paused, and was not resumed within {waited:?} ({} waiting): \
                 resume it, or raise pool.acquire_timeout if pauses are longer than that",
                self.waiting
            );
        }
        if self.leases == 0 && stage != Stage::Wait {
            let what = if stage == Stage::Check { "proved alive" } else { "opened" };
            write!(f, "{stage}: no connection of {account} was {what} within {waited:?}")?;
            if let Some(error) = &self.last_dial_error {
                write!(f, "; the last dial failed: {error}")?;
            }
            if self.machine_full {
                return write!(f, "; {NO_ROOM}");
            }
            if let Some(cap) = self.pool_cap {
                return write!(
                    f,
                    "; all {cap} connections of the pool are in use: raise pool.max_connections, or \
                     release leases sooner"
                );
            }
            return write!(
                f,
                "; see whether the address is reachable, raise pool.acquire_timeout, or dial.per_second \
                 and dial.handshakes if many accounts dial at once"
            );
        }
        write!(
            f,
            "{stage}: no connection of {account} within {waited:?}: {} leases held on at most {} \
             connections, {} waiting",
            self.leases, self.max_connections, self.waiting
        )?;
        if let (Some(age), Some(site)) = (self.oldest_lease_age, self.oldest_lease_site) {
            let age = rounded(age);
            if self.oldest_lease_taken {
                write!(f, "; the oldest lease is held for {age:?}, acquired at {site}")?;
            } else {
                write!(
                    f,
                    "; the oldest lease was handed {age:?} ago to the acquire at {site}, which has not \
                     taken it: poll it, or drop it"
                )?;
            }
        }
        if let Some(error) = &self.last_dial_error {
            write!(f, "; the last dial failed: {error}")?;
        }
        if self.machine_full {
            write!(f, "; {NO_ROOM}")?;
        }
        write!(f, "; release leases sooner, add sessions, or raise pool.acquire_timeout")
    }
}

/// A duration as it is told: nobody asks for nanoseconds.
fn rounded(duration: Duration) -> Duration {
    let grain = match duration.as_millis() {
        0..10 => 1_000,
        10..10_000 => 1_000_000,
        // Nor for milliseconds of an hour.
        _ => 1_000_000_000,
    };
    let nanos = duration.as_nanos() / grain * grain;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError<E> {
    /// The manager's connect failed.
    #[error("{0}")]
    Connect(#[source] E),
    /// The manager's connect failed for want of a file descriptor, a port or a buffer on this machine, also
    /// after other connections had made room for it.
    #[error("{0}: {remedy}", remedy = NO_ROOM)]
    Exhausted(#[source] E),
    /// It did not finish within `dial_timeout`.
    #[error(
        "no connection within {0:?}: raise pool.dial_timeout, or see whether the address is reachable"
    )]
    Timeout(Duration),
    /// The address does not answer, and was not dialled.
    #[error(transparent)]
    Unreachable(Unreachable),
    /// The manager took the connection for broken as soon as it was open.
    #[error("the connection was broken as soon as it was open")]
    BrokenOnArrival,
    /// The manager's connect panicked.
    #[error("the manager panicked while connecting")]
    Panicked,
    /// The runtime that the pool was built on is shutting down.
    #[error("the runtime of the pool is shutting down")]
    Aborted,
}

/// What is known of an address that the dials of several accounts have found silent since one was last
/// answered. One dial at a time looks again, ever more seldom; all others fail at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} does not answer ({failures} dials in a row have failed, the last: {last_error}); {}: see \
     whether it can be reached from here",
    when(*.remaining)
)]
#[non_exhaustive]
pub struct Unreachable {
    /// The address, as the manager names it.
    pub address: Arc<str>,
    /// How many dials in a row were not answered.
    pub failures: u32,
    /// What the last of them failed with.
    pub last_error: Arc<str>,
    /// How long it is until it may be dialled again; zero while it is.
    pub remaining: Duration,
}

fn when(remaining: Duration) -> String {
    if remaining.is_zero() {
        return "it is being tried again".to_owned();
    }
    format!("it is tried again in {:?}", rounded(remaining))
}

/// Why a pool could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The builder ran outside a tokio runtime.
    #[error("no tokio runtime here: build the pool inside one, or give the builder a handle")]
    NoRuntime,
    /// The runtime has no timers.
    #[error("the tokio runtime has no timers: build it with `enable_time` or `enable_all`")]
    NoTimers,
}
