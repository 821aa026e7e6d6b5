//! The seam to the outside: what a pool must be told in order to open, judge and close
//! connections.
//!
//! Owns the [`Manager`] trait and the values that cross it. Never calls it: that is the pool's
//! part.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::account_id::AccountId;
use crate::base::labels::labelled;

/// Opens, judges and closes the connections of a pool. The core knows nothing else of the world.
///
/// A panic or a hang in any of these costs one connection or one attempt: calls are bounded by
/// the configuration's deadlines (`dial_timeout`, `check_timeout`, `close_timeout`), after which
/// the future is dropped.
pub trait Manager: Send + Sync + 'static {
    /// What a lease gives access to. Shared by up to `max_leases_per_connection` borrowers.
    type Connection: Send + Sync + 'static;
    /// What goes wrong when connecting, checking or calling.
    type Error: std::error::Error + Send + Sync + 'static;

    /// What the pool must know of an account before it dials, or `None` if there is no such
    /// account. Called when the pool meets the account, and again while it knows it: at most every five
    /// seconds by whoever has to wait for a connection, at the reaper's looks, and whenever the account
    /// is reinstated. It must be quick.
    ///
    /// Of an answer that comes later only the number of [slots](Profile::slots) is taken over. New ones
    /// are dialled like the first; of those that have gone the connections drain. The group, the
    /// egress and the leases stay until the account was collected or removed.
    fn profile(&self, account: AccountId) -> Option<Profile>;

    /// Whether a slot may be dialled, asked before the dial takes its turn at its egress: what takes
    /// time here, or fails, costs nobody else's dial. At most for `dial_timeout`.
    ///
    /// # Errors
    /// Why it may not. Nothing was dialled; an error that asks for no more than [`Reaction::Keep`] is
    /// told to whoever waits, at once and each time, and delays no later dial.
    fn clearance(
        &self,
        account: AccountId,
        slot: u16,
    ) -> impl Future<Output = Result<Clearance<Self::Error>, Self::Error>> + Send {
        let _ = (account, slot);
        std::future::ready(Ok(Clearance::Now))
    }

    /// Opens the connection of one slot. At most one connection per slot exists at any time.
    fn connect(
        &self,
        account: AccountId,
        slot: u16,
    ) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;

    /// Whether the connection is known to be dead. Asked on every acquire and release: cheap,
    /// and without I/O.
    fn is_broken(&self, connection: &Self::Connection) -> bool {
        let _ = connection;
        false
    }

    /// Proves with I/O that the connection lives. Asked before reuse after `check_after_idle`.
    ///
    /// # Errors
    /// The proof that it does not; the connection is then closed.
    fn check(
        &self,
        connection: &Self::Connection,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = connection;
        std::future::ready(Ok(()))
    }

    /// Whether nothing has shown for so long that the connection's session is any good. The pool then
    /// asks [`check`](Self::check), even while the connection is leased, so that only managers
    /// whose connections carry several calls at a time may say so. Cheap, and without I/O.
    fn needs_proof(&self, connection: &Self::Connection, within: Duration) -> bool {
        let _ = (connection, within);
        false
    }

    /// Closes the connection. Returns once its successor may be opened. Forced closes meet
    /// connections that are still borrowed, hence the shared reference.
    fn close(&self, connection: &Self::Connection) -> impl Future<Output = ()> + Send {
        let _ = connection;
        std::future::ready(())
    }

    /// Whatever must be true before the process may end, once all connections are closed. The last thing
    /// that [`Pool::close`](crate::Pool::close) waits for, within its time.
    fn settle(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// What the pool must do about an error of a connect, a check or a call.
    fn react(&self, error: &Self::Error) -> Reaction {
        let _ = error;
        Reaction::Discard
    }

    /// Returns which sessions of an account are quarantined, and why: what
    /// [`set_quarantine`](Self::set_quarantine) was told before, by this pool or one that has ended.
    /// Asked when the pool meets the account, and when it has got more sessions; it must be quick.
    fn quarantines(&self, account: AccountId) -> Vec<(u16, QuarantineReason)> {
        let _ = account;
        Vec::new()
    }

    /// Stores that a session is quarantined, or with `None` that it serves again. To be kept where it
    /// outlasts the process, if the reason [is](QuarantineReason::is_kept): a session that the server
    /// has voided must not be dialled after a restart either. Called on the way of whoever met the
    /// error: it must be quick.
    fn set_quarantine(&self, account: AccountId, slot: u16, reason: Option<QuarantineReason>) {
        let _ = (account, slot, reason);
    }

    /// The class of an error, for the counters.
    fn kind(&self, error: &Self::Error) -> ErrorKind {
        let _ = error;
        ErrorKind::Io
    }

    /// Which data centre a slot is dialled at, for the counters: 1 to 5 are counted apart, any
    /// other number together. Asked once per dial; it must be quick.
    fn data_centre(&self, account: AccountId, slot: u16) -> u8 {
        let _ = (account, slot);
        0
    }

    /// The address that a slot is dialled at, named by something without a secret in it. Dials to one
    /// address wait for places of its own, and if it does not answer, it is tried by one dial at a
    /// time while all others fail early, with the reason. `None` means that the manager does not tell
    /// addresses apart: all are dialled as if they were one, and none is held to be down. Asked before each dial; it
    /// must be quick.
    fn address(&self, account: AccountId, slot: u16) -> Option<Arc<str>> {
        let _ = (account, slot);
        None
    }

    /// Whether somebody reads what a connection brings unasked (updates), so that something is missed while
    /// its account has no connection. Asked when it has been closed; it must be quick.
    fn is_listened_to(&self, connection: &Self::Connection) -> bool {
        let _ = connection;
        false
    }

    /// How many updates of each group were dropped so far because nobody took them in time, for
    /// the counters.
    fn updates_dropped(&self) -> Vec<(Arc<str>, u64)> {
        Vec::new()
    }

    /// The accounts of a group, for `acquire_any`. `None` means that the manager keeps no such
    /// list; the pool then chooses among the accounts it has met.
    fn members(&self, group: &str) -> Option<Arc<[AccountId]>> {
        let _ = group;
        None
    }
}

/// Whether a slot may be dialled.
#[derive(Debug)]
#[non_exhaustive]
pub enum Clearance<E> {
    /// Now.
    Now,
    /// Now, and this holds what the dial needs until it has ended, or is given up before it began.
    Holding(Hold),
    /// Not before this time has passed; to be asked again then. The error is for whoever cannot wait
    /// for so long.
    After(Duration, E),
}

/// Something that a dial must have to itself, given back when this is dropped.
pub struct Hold {
    _held: Box<dyn Send + Sync>,
}

impl Hold {
    /// Holds a guard until the dial is over.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self { _held: Box::new(guard) }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}

/// The most sessions of an account that a pool uses: which of them are vacant is one word of bits.
pub(crate) const SLOTS_MAX: u16 = 64;

/// What the pool must know of an account before it dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How many connections the account may have: one per authorized session. The pool opens
    /// the smaller of this and `max_connections_per_account`. At most 64. If it changes, it is the last
    /// slots that come and go: a slot stays the same session.
    pub slots: u16,
    /// How many leases may share a connection (1 = exclusive). The pool allows the smaller of
    /// this and `max_leases_per_connection`.
    pub leases: u16,
    /// An operator's label, for metrics and `acquire_any`.
    pub group: Arc<str>,
    /// The address or proxy that dials leave by: pacing and breakers are per egress.
    pub egress: Egress,
}

impl Profile {
    /// An account with this many slots, exclusive leases, in the group `default`, dialled
    /// directly.
    #[must_use]
    pub fn new(slots: u16) -> Self {
        Self { slots, leases: 1, group: Arc::from("default"), egress: Egress::Direct }
    }
}

/// The way by which a dial leaves: the machine's own address, or a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Egress {
    /// The machine's own address.
    #[default]
    Direct,
    /// A proxy, named by something without a secret in it (host and port).
    Proxy(Arc<str>),
}

/// What the pool does about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reaction {
    /// The connection is healthy; the error belongs to the caller alone.
    Keep,
    /// The connection may be dead: check it before anybody else gets it.
    Doubt,
    /// Close the connection; the slot is dialled again with backoff when it is needed.
    Discard,
    /// The account may not use the method `key` for a time; the connection is healthy.
    CoolDown {
        /// The method, by any number that names it (Telegram: the constructor id).
        key: u32,
        /// For how long.
        wait: Duration,
    },
    /// The server limits the account in a way no waiting mends: tell the operator, change
    /// nothing.
    Restricted,
    /// Close the connection, and stop dialling by this egress for a while.
    TripBreaker,
    /// This machine has no room for another connection: no file descriptor, port or buffer is left.
    /// The dial waits for a place as if the pool were full, and nothing is held against the account.
    Exhausted,
    /// Close the connection and never dial its session again until an operator reinstates it.
    QuarantineSession(QuarantineReason),
    /// The same for every session of the account.
    QuarantineAccount(QuarantineReason),
}

labelled! {
    /// Why a session or an account is quarantined.
    #[non_exhaustive]
    pub enum QuarantineReason {
        /// The authorization key was used by two connections at once (406 `AUTH_KEY_DUPLICATED`).
        KeyDuplicated = "key_duplicated",
        /// The session was revoked or has expired; a new login is needed.
        NeedsLogin = "needs_login",
        /// The account was deactivated or banned.
        Deactivated = "deactivated",
        /// The server does not know the key; at times it is mistaken, so that the session is dialled
        /// once more after a while.
        Suspect = "suspect",
        /// The server did not know the key then either.
        Dead = "dead",
        /// The session's settings are wrong for its server.
        Misconfigured = "misconfigured",
        /// This build cannot use the session's settings (a proxy).
        Unsupported = "unsupported",
        /// An operator asked for it.
        Operator = "operator",
    }
}

impl QuarantineReason {
    /// What an operator can do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::KeyDuplicated => "log in again: Telegram has voided this authorization",
            Self::NeedsLogin => "log in again: the session was revoked or has expired",
            Self::Deactivated => "nothing here helps: Telegram has deactivated the account",
            Self::Suspect => "wait: it is dialled once more by itself, or reinstate it sooner",
            Self::Dead => "log in again: the server does not know this authorization",
            Self::Misconfigured => {
                "correct the session's data centre or address, then reinstate it (telepool state \
                 reinstate)"
            }
            Self::Unsupported => "remove the session's proxy, or use a build that can dial by it",
            Self::Operator => "reinstate it when it is wanted again",
        }
    }

    /// Whether it is to be kept past the process. What no server and no operator has said is not:
    /// it is found out again without a dial, or is no longer so.
    #[must_use]
    pub const fn is_kept(self) -> bool {
        match self {
            Self::Unsupported => false,
            Self::KeyDuplicated
            | Self::NeedsLogin
            | Self::Deactivated
            | Self::Suspect
            | Self::Dead
            | Self::Misconfigured
            | Self::Operator => true,
        }
    }
}

impl fmt::Display for QuarantineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

labelled! {
    /// The class of an error, for the counters.
    #[non_exhaustive]
    pub enum ErrorKind {
        /// The network failed.
        Io = "io",
        /// The peer refused the connection.
        Refused = "refused",
        /// The peer and we disagree on the protocol.
        Protocol = "protocol",
        /// No answer in time.
        Timeout = "timeout",
        /// The server answered with an error.
        Rpc = "rpc",
        /// The server does not accept the authorization.
        Auth = "auth",
    }
}
