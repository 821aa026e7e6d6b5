//! An MTProto server on the loopback interface that stands in for a Telegram data centre: what tests,
//! benchmarks and `telepool serve --sandbox` connect to.
//!
//! It speaks MTProto 2.0 over TCP. A client has a session that [`DataCentre::create_sessions`] hands out with its
//! authorization key, or makes a key itself and signs in with it; for that it has to know
//! [`DataCentre::public_key`] besides those of Telegram's own servers.
//!
//! Every transport is served: full, abridged, intermediate and padded intermediate, and all but the
//! first obfuscated as well, whatever number of a data centre the client asks for. Not served are
//! clients with the secret of an MTProto proxy, HTTP, web sockets and TLS: a connection of an unknown
//! protocol is closed, with a warning in the log once a minute at most
//! ([`DataCentreStats::transports_unknown`] counts them all).
//!
//! It keeps the rule that costs accounts: a key is on one main connection at a time. When the key
//! is used on a second one while the first is still open, it counts a violation and invalidates the
//! authorization: every call on either gets 406 `AUTH_KEY_DUPLICATED`, `help.getConfig` included.
//! Pings and the like, which need no login, go on being answered; what the real servers do then is
//! not known, so that no client may rely on it. The verdict goes by the first one's socket, so that a
//! connection that was closed in time is never held against a client. Only the socket at this end
//! counts, whether the client was stopped or cut off, or a fault has left it without answers.
//!
//! As on the real servers, `ping_delay_disconnect` sets a timer: the connection is closed
//! `disconnect_delay` seconds after the last such ping that was carried out, whatever else is sent
//! and whether or not the client reads. Each such ping sets the timer anew, no other one touches
//! it, and without one there is no timer. One that a fault is injected into sets it only if it gets
//! its pong, late or damaged. A delay of zero or less has passed at once: the pong goes out, unless
//! there is latency.
//!
//! # Sessions and messages
//! They follow <https://core.telegram.org/mtproto/service_messages_about_messages>. The last 2 MTProto
//! sessions of a key outlast their connections. A session is told to be new once
//! (`new_session_created`), and again if a message is older than its beginning. Of each the last 512 ids
//! of messages are remembered, and up to 256 messages of the server, of 256 KiB together, until the client
//! acknowledges them.
//!
//! - A message is refused (`bad_msg_notification`) because its id is too low (16), too high (17) or a server's
//!   (18), because its container's id was used before (19) or it is older than all that is remembered (20),
//!   because of its sequence number (32 to 35), or with a container that is not valid (64). With a wrong salt
//!   the packet is refused (`bad_server_salt`); a salt is accepted for an hour, half of which it is current.
//! - A call that comes again by the same id is not carried out again. Its answer is sent again, if it has up
//!   to 1,024 bytes, and the client is told of it otherwise (`msg_detailed_info`).
//! - `msgs_state_req`, `msg_resend_req`, `msg_resend_ans_req`, `rpc_drop_answer`, `destroy_session` and
//!   `get_future_salts` do what they should. What the client has not acknowledged, or what had not left when
//!   its connection ended, is sent again or told of on the next connection of the session. A call that a fault
//!   has ended the connection over was not received. One whose answer a fault delays is acknowledged at once.
//! - `msgs_all_info`, `msgs_state_info` and `http_wait` say nothing that matters here, and `msg_copy` is not
//!   served.
//!
//! # Calls
//! A message is sent once: another with the same `random_id` gets 500 `RANDOM_ID_DUPLICATE`. With
//! [`SendLimits`] bots may send as much as on the real servers, and get 420 `FLOOD_WAIT_X` beyond that.
//!
//! It serves what a client needs to connect, both pings, `help.getNearestDc`, `help.getAppConfig` (which
//! comes compressed), `users.getUsers`, `messages.sendMessage`, `updates.getState`, `updates.getDifference`,
//! `updates.getChannelDifference` and `users.getFullUser`, and what somebody signs in and out by; anything else gets
//! an RPC error. Users, messages and chats come in the layer of the schema that the client has announced, as far as it
//! is one of 158, 198, 220, 227, 229 and 230; between them as in the one before. Salts rotate and must be right, as on
//! the real servers, so that a connection costs here what it costs there. Faults come from a seeded [`FaultPlan`].
//!
//! # Signing in
//! An account is signed in at the data centre where it was created; others of the same sandbox
//! ([`DataCentre::start_beside`]) send whoever comes there (`PHONE_MIGRATE_X`, `USER_MIGRATE_X`,
//! `auth.loginTokenMigrateTo`), and take over logins of other data centres (`auth.exportAuthorization`,
//! `auth.importAuthorization`), by which nothing can be done but to ask for users.
//!
//! Keys are exchanged as at the real servers, with either of the paddings that clients use. `auth.sendCode`,
//! `resendCode`, `cancelCode` and `signIn` take the code that [`DataCentre::login_code`] tells, `account.getPassword` and
//! `auth.checkPassword` the password of [`DataCentre::set_password`], `auth.importBotAuthorization` the token of
//! [`DataCentre::bot_token`], and `auth.exportLoginToken` what another session has accepted, by
//! `auth.acceptLoginToken` or [`DataCentre::accept_login`]. `auth.logOut` leaves a token by which the next sign-in
//! needs no code. Passkeys, e-mail codes, recovery of passwords and signing up are not served.
//!
//! # Updates
//! They follow <https://core.telegram.org/api/updates>. An account has a common box, whose number is the
//! `pts` and which all its sessions share, and a secondary one with the `qts`; each channel has a box with
//! a `pts` of its own. [`DataCentre::post_message`], [`DataCentre::post_in_channel`] and their like have
//! something come into a box, as does `messages.sendMessage`, for the sender and for the receiver.
//!
//! What comes is sent to each connection that has made a call outside of `invokeWithoutUpdates`: in
//! `updates` containers, or as `updateShortMessage` from account to account, which tells no access hash.
//! Of the containers of an account's own boxes one in eight has a `seq`, which each session counts for
//! itself. A connection that does not read misses what is beyond 1,024 commands; once it reads, it gets
//! `updatesTooLong`.
//!
//! Everything stays in its box, of which the last 10,000 updates are kept
//! ([`DataCentreOptions::update_log_len_max`]), and is fetched as from the real servers: empty, whole, in
//! slices or too long. An `updates.difference` has `updateChannelTooLong` for each channel of which
//! something came that the session was not sent on this connection and has not fetched, or that came after
//! the date of the client: rather once too often than once too seldom. Its `pts` is that of the channel now. Each member has its own access hash for a
//! channel. A message that was edited or deleted since comes as it was, followed by the edit or the deletion.
//!
//! ```
//! use telepool::sandbox::{DataCentre, DataCentreOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let data_centre = DataCentre::start(DataCentreOptions::default()).await?;
//! let sessions = data_centre.create_sessions("+9996620001".parse()?, 3, None);
//! assert_eq!((sessions.len(), sessions[0].address), (3, data_centre.address()));
//! assert_eq!(data_centre.stats().key_violations, 0);
//! data_centre.stop().await;
//! # Ok(())
//! # }
//! ```

mod accounts;
mod codec;
mod connection;
mod duplicate_key;
mod envelope;
mod faults;
mod flood_waits;
mod frame;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod gzip_bomb;
mod help;
mod login;
mod observer;
mod options;
mod random_ids;
mod reply_queue;
mod request;
mod response;
mod salts;
mod schema;
mod send_limits;
mod server_state;
mod session;
mod socket;
mod stats;
mod transport;
mod unknown_protocol;
mod updates;
mod world;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use faults::{Fault, FaultPlan, FaultPlanError, FaultRule, ProtocolFault};
pub use observer::{ConnectionObservation, KeyObservation};
pub use options::DataCentreOptions;
pub use send_limits::SendLimits;
pub use stats::DataCentreStats;
pub use updates::{ChannelUpdateCounts, SessionUpdateCounts, UpdateCounts};

pub use crate::mtproto::key_exchange::ServerPublicKey;

use crate::account_id::AccountId;
use crate::base::sync::Ordering;
use crate::session::SessionRecord;
use accounts::ConnectionCommand;
use connection::ServerConnection;
use faults::FaultInjector;
use send_limits::SendLimiter;
use server_state::ServerState;
use socket::AcceptedSocket;
use world::World;

/// How long the acceptor rests after a failure, which is a lack of descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running data centre. A cheap clone; it runs until [`stop`](Self::stop) or until the last
/// clone is dropped.
#[derive(Clone)]
pub struct DataCentre {
    running: Arc<StopOnDrop>,
}

/// Stops the server when the last clone of its [`DataCentre`] is dropped.
struct StopOnDrop {
    server: Arc<ServerState>,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.server.stop.send_replace(true);
    }
}

impl DataCentre {
    /// Starts a data centre on the current tokio runtime.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is not on the loopback interface or a number that no
    /// data centre has; otherwise what binding the address comes back with.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub async fn start(options: DataCentreOptions) -> io::Result<Self> {
        Self::start_in(Arc::new(World::new()), options).await
    }

    /// Starts another data centre, of another number, which has the same accounts. Each is at home where it was
    /// created, and whoever signs in elsewhere is sent there. All know of one another's addresses; faults, latency and
    /// counters are those of each.
    ///
    /// # Errors
    /// As [`start`](Self::start), and if there is one of that number.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_beside(&self, options: DataCentreOptions) -> io::Result<Self> {
        Self::start_in(Arc::clone(&self.running.server.world), options).await
    }

    async fn start_in(world: Arc<World>, options: DataCentreOptions) -> io::Result<Self> {
        let DataCentreOptions { listen, dc, latency, seed, .. } = options;
        let refuse = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if !listen.ip().is_loopback() {
            return refuse(format!(
                "{listen} is not on the loopback interface: the sandbox guards nothing, so listen \
                 on 127.0.0.1"
            ));
        }
        if !(1..=5).contains(&dc) {
            return refuse(format!("there is no data centre {dc}: choose 1 to 5"));
        }
        let listener = TcpListener::bind(listen).await?;
        let faults = FaultInjector::new(&options.faults);
        let mut server = ServerState::new((dc, listener.local_addr()?), world, seed, faults);
        server.disconnect_delay_max = options.disconnect_delay_max;
        server.update_log_len_max = options.update_log_len_max.max(1);
        server.difference_len_max = options.difference_len_max.max(1);
        server.send_limits = SendLimiter::new(options.send_limits);
        server.set_latency(latency);
        let server = Arc::new(server);
        if !server.world.add(&server) {
            return refuse(format!("there is a data centre {dc} already: choose another number"));
        }
        let runtime = Handle::current();
        let stop = server.stop.subscribe();
        drop(runtime.spawn(accept(listener, Arc::clone(&server), runtime.clone(), stop)));
        Ok(Self { running: Arc::new(StopOnDrop { server }) })
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.running.server.dc
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.server.address
    }

    /// Creates so many further sessions of an account, each with a new authorization key; the account is
    /// created with its first ones. The user id of a bot is its own number, for which clients take no more than 2^40 - 1; other users get theirs from
    /// 2^39 on, so that bots are told apart if they have smaller ones.
    pub fn create_sessions(
        &self,
        account: AccountId,
        sessions: u16,
        group: Option<Arc<str>>,
    ) -> Vec<SessionRecord> {
        self.running.server.create_sessions(account, sessions, group)
    }

    /// Takes a session that was made elsewhere, whose key this data centre then knows, and creates its account
    /// if need be. Its address, its slot and its data centre mean nothing here.
    pub fn adopt_session(&self, record: &SessionRecord) {
        self.running.server.adopt_session(record);
    }

    /// Replaces the plan of faults; the limits of its rules begin anew.
    pub fn set_faults(&self, plan: &FaultPlan) {
        self.running.server.faults.store(Arc::new(FaultInjector::new(plan)));
    }

    /// Changes the latency of every answer.
    pub fn set_latency(&self, latency: Duration) {
        self.running.server.set_latency(latency);
    }

    /// Resets every new connection at once from now on (an outage), or no longer. Open connections stay.
    pub fn refuse_connections(&self, refuse: bool) {
        self.running.server.refuses_connections.store(refuse, Ordering::Relaxed);
    }

    /// A snapshot of the counters.
    #[must_use]
    pub fn stats(&self) -> DataCentreStats {
        self.running.server.counters.read()
    }

    /// How long ago a fault was last injected into a call or a connection of an account.
    #[must_use]
    pub fn since_last_fault(&self, account: AccountId) -> Option<Duration> {
        let server = &self.running.server;
        server.since_last_fault(&*server.user(account)?)
    }

    /// Closes every connection of an account: gracefully (`Close`), abruptly (`Reset`) or with a
    /// transport error (`Transport`). Other faults do nothing here. Returns how many are closed.
    pub fn disconnect(&self, account: AccountId, how: &Fault) -> usize {
        let Some(user) = self.running.server.user(account) else { return 0 };
        let command = || match how {
            Fault::Close => Some(ConnectionCommand::Close),
            Fault::Reset => Some(ConnectionCommand::Reset),
            Fault::Transport { code } => Some(ConnectionCommand::TransportError(*code)),
            _ => None,
        };
        let keys = user.keys.lock().clone();
        let connections = keys.iter().flat_map(|key| key.connections.lock().clone());
        let closed = connections
            .filter(|it| command().is_some_and(|command| it.commands.try_send(command).is_ok()));
        closed.count()
    }

    /// Forgets the MTProto sessions of an account, with the answers that were not acknowledged, as the real
    /// servers do at times; its keys stay valid. The next message of each client makes a new session of the
    /// one that it uses, which it is told of (`new_session_created`). Returns how many are forgotten.
    pub fn forget_mtproto_sessions(&self, account: AccountId) -> usize {
        let Some(user) = self.running.server.user(account) else { return 0 };
        let keys = user.keys.lock();
        keys.iter().map(|key| key.sessions.lock().forget()).sum()
    }

    /// Closes every connection and stops listening. Returns once all of them are closed.
    pub async fn stop(&self) {
        let stop = &self.running.server.stop;
        stop.send_replace(true);
        stop.closed().await;
    }
}

/// Accepts until told to stop.
async fn accept(
    listener: TcpListener,
    server: Arc<ServerState>,
    runtime: Handle,
    mut stop: watch::Receiver<bool>,
) {
    // A failure that lasts, such as too few descriptors, is logged once.
    let mut logged = false;
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                logged = false;
                serve(stream, &server, &runtime, stop.clone());
            }
            Err(error) => {
                if !std::mem::replace(&mut logged, true) {
                    tracing::warn!(%error, "the sandbox cannot accept connections");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn serve(
    stream: TcpStream,
    server: &Arc<ServerState>,
    runtime: &Handle,
    stop: watch::Receiver<bool>,
) {
    let id = server.counters.connections_total.add(1);
    if server.refuses_connections.load(Ordering::Relaxed) {
        stream.set_zero_linger().ok();
        return;
    }
    // Without it small answers would wait for acknowledgements.
    stream.set_nodelay(true).ok();
    let connection =
        ServerConnection::new(Arc::clone(server), Arc::new(AcceptedSocket::new(id, stream)));
    drop(runtime.spawn(connection.serve(stop)));
}

impl std::fmt::Debug for DataCentre {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataCentre").field("address", &self.address()).finish_non_exhaustive()
    }
}
