//! The manager: what a pool must be told in order to open, judge and close connections.
//!
//! Owns the [`Manager`] trait and the values that cross it. Never calls it: that is the pool's
//! part.

mod network;
mod profile;
mod reaction;
mod traffic;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use network::NetworkCounts;
pub(crate) use profile::SLOTS_MAX;
pub use profile::{Clearance, Egress, Hold, Profile};
pub use reaction::{ErrorKind, QuarantineReason, Reaction};
#[cfg(all(test, feature = "telegram"))]
pub(crate) use traffic::ERROR_NAMES_MAX;
pub use traffic::{CallOutcome, CallTimer, TrafficCounters, TrafficGroups, TurnOutcome};

use crate::account_id::AccountId;

/// The most classes of floods that a manager has counted apart; all others are counted together.
pub(crate) const FLOOD_CLASSES_MAX: usize = 14;

/// Opens, judges and closes the connections of a pool. The core knows nothing else of the world.
///
/// Only [`profile`](Self::profile) and [`connect`](Self::connect) must be written. A panic or a hang in
/// any of these costs one connection or one attempt: calls are bounded by the configuration's
/// deadlines (`dial_timeout`, `check_timeout`, `close_timeout`), after which the future is dropped.
///
/// # Examples
/// A pool of TCP connections, at most two for each account.
///
/// ```
/// use std::io;
/// use std::net::SocketAddr;
///
/// use telepool::{AccountId, Manager, Pool, Profile, Reaction};
/// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
/// use tokio::net::{TcpListener, TcpStream};
/// use tokio::sync::Mutex;
///
/// struct EchoManager {
///     server: SocketAddr,
/// }
///
/// impl Manager for EchoManager {
///     type Connection = Mutex<TcpStream>;
///     type Error = io::Error;
///
///     fn profile(&self, _account: AccountId) -> Option<Profile> {
///         Some(Profile::new(2))
///     }
///
///     async fn connect(&self, _account: AccountId, _slot: u16) -> io::Result<Mutex<TcpStream>> {
///         Ok(Mutex::new(TcpStream::connect(self.server).await?))
///     }
///
///     async fn check(&self, connection: &Mutex<TcpStream>) -> io::Result<()> {
///         let mut stream = connection.lock().await;
///         stream.write_all(b"ping").await?;
///         stream.read_exact(&mut [0; 4]).await?;
///         Ok(())
///     }
///
///     fn react(&self, error: &io::Error) -> Reaction {
///         match error.kind() {
///             io::ErrorKind::AddrNotAvailable => Reaction::Exhausted,
///             _ => Reaction::Discard,
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let server = listener.local_addr()?;
/// # tokio::spawn(async move {
/// #     while let Ok((mut stream, _)) = listener.accept().await {
/// #         tokio::spawn(async move {
/// #             let (mut read, mut write) = stream.split();
/// #             tokio::io::copy(&mut read, &mut write).await
/// #         });
/// #     }
/// # });
/// let pool = Pool::builder(EchoManager { server }).build()?;
/// let lease = pool.acquire("+442079460958".parse()?).await?;
/// let mut stream = lease.lock().await;
/// if let Err(error) = stream.write_all(b"hello").await {
///     // The pool does what `react` says about it.
///     lease.report(&error);
/// }
/// # let mut answer = [0; 5];
/// # stream.read_exact(&mut answer).await?;
/// # assert_eq!(&answer, b"hello");
/// # drop(stream);
/// # drop(lease);
/// # pool.close().await;
/// # Ok(())
/// # }
/// ```
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

    /// The one name of an account that has several, such as a phone number and a user id. The pool knows each account by
    /// this name, in its events, lists and numbers, and by the others it is found. Asked for a name that the pool has
    /// not met; it must be quick, and must not change for as long as the pool knows the account.
    fn canonical(&self, name: AccountId) -> AccountId {
        name
    }

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

    /// Checks with I/O that the connection lives. Asked before reuse after `check_after_idle`.
    ///
    /// # Errors
    /// What shows that it does not; the connection is then closed.
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
    fn needs_check(&self, connection: &Self::Connection, within: Duration) -> bool {
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
    /// its account has no connection. While it is so the connection does not expire by idling and does not make
    /// room for another account's, though nobody leases it. Asked at each of the reaper's looks, where room is
    /// searched for, and when it has been closed; it must be quick.
    fn is_listened_to(&self, connection: &Self::Connection) -> bool {
        let _ = connection;
        false
    }

    /// The accounts of a group, for `acquire_any`. `None` means that the manager keeps no such
    /// list; the pool then chooses among the accounts it has met.
    fn members(&self, group: &str) -> Option<Arc<[AccountId]>> {
        let _ = group;
        None
    }

    /// Returns what the manager counts itself, for the metrics. Most have nothing of the kind.
    fn metrics(&self) -> Option<&dyn MetricsSource> {
        None
    }
}

/// What readers of updates have not got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateLosses {
    /// Updates that were dropped because nobody took them in time (`telepool_updates_dropped_total`).
    pub dropped: u64,
    /// How often the server told no details of what had come (`telepool_updates_missed_total`).
    pub missed: u64,
}

/// Numbers that only a manager knows, for the metrics of its pool.
pub trait MetricsSource {
    /// Returns the class that the dials of a slot are counted in, such as the region of its server
    /// (the label `dc` of `telepool_connection_opens_total`): 1 to 5 are counted apart, any other number
    /// together. Asked once per dial, and for each connection of an account whose
    /// [statistics](crate::Pool::account_stats) are asked for; it must be quick.
    fn dial_class(&self, account: AccountId, slot: u16) -> u8 {
        let _ = (account, slot);
        0
    }

    /// Returns what readers of each group's updates have not got so far. Asked once per reading.
    fn update_losses(&self) -> Vec<(Arc<str>, UpdateLosses)> {
        Vec::new()
    }

    /// Returns what the connections of each group have sent and received so far, for a manager that counts it. Asked
    /// once per reading.
    fn network_counts(&self) -> Vec<(Arc<str>, NetworkCounts)> {
        Vec::new()
    }

    /// Takes the counters of what goes over the connections, for a manager that counts its calls and updates.
    /// Called once, when the pool is built.
    fn attach_traffic(&self, groups: TrafficGroups) {
        drop(groups);
    }

    /// Returns the names of the errors that a server answers calls with, which are counted apart (the label
    /// `error` of `telepool_rpc_errors_total`): at most 63, always the same. All others are counted as
    /// `other`.
    fn error_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the classes that floods are counted in (the label `class` of
    /// `telepool_flood_waits_total`): at most 14, always the same. Floods on a dial are counted as `dial`,
    /// and those of no class as `other`.
    fn flood_classes(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the class of a method that has to rest, by its place among the
    /// [classes](Self::flood_classes); any other number counts as `other`. Asked once per flood.
    fn flood_class(&self, key: u32) -> usize {
        let _ = key;
        usize::MAX
    }

    /// Returns the name of a method that has to rest, as people know it, such as `messages.sendMessage`. Asked
    /// when somebody looks at an account that rests.
    fn method_name(&self, key: u32) -> Option<&'static str> {
        let _ = key;
        None
    }
}
