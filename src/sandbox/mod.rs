//! A Telegram data centre on the loopback interface: what tests, benchmarks and
//! `telepool serve --sandbox` connect to instead of the real one.
//!
//! It speaks MTProto 2.0 over TCP to any client whose session it made: the real ones hold the keys
//! of Telegram's own servers, so that no new key can be agreed on, and sessions come with their
//! authorization key.
//!
//! Every transport is served: full, abridged, intermediate and padded intermediate, and all but the
//! first obfuscated as well, whatever number of a data centre the client has in mind. A client that
//! has the secret of a proxy has no business here, nor has one that speaks HTTP, web sockets or
//! TLS: whoever is not understood is hung up on, and the log says so with a warning, once a minute
//! at most ([`DataCentreStats::transports_unknown`] counts them all).
//!
//! It keeps the rule that costs accounts: a key is on one main connection at a time. When a
//! second one speaks while the first still lives, it counts a violation and voids the
//! authorization: every call on either gets 406 `AUTH_KEY_DUPLICATED`, `help.getConfig` included.
//! Pings and the like, which need no login, go on being answered; what the real servers do then is
//! not known, so that no client may rely on it. Before it judges, it looks at the first one's
//! socket, so that a connection that was closed in time is never held against anybody. The socket
//! at this end is all that counts, whether the client has been stopped, cut off or turned deaf to.
//!
//! As on the real servers, `ping_delay_disconnect` sets a timer: the connection is closed
//! `disconnect_delay` seconds after the last such ping that was carried out, whatever else is said
//! and whether or not the client reads. Each such ping sets the timer anew, no other one touches
//! it, and without one there is no timer. One that a fault strikes sets it only if it gets its
//! pong, late or damaged. A delay of zero or less has passed at once: the pong goes out, unless
//! there is latency.
//!
//! Updates are sent to connections that have made a call outside of `invokeWithoutUpdates`.
//!
//! It serves what a client needs to connect, both pings, `users.getUsers`, `messages.sendMessage`,
//! `updates.getState` and `updates.getDifference`; anything else gets an RPC error. Salts rotate
//! and must be right, as on the real servers, so that a connection costs here what it costs
//! there. Faults come from a seeded [`FaultPlan`].
//!
//! ```
//! use telepool::sandbox::{DataCentre, DataCentreOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let data_centre = DataCentre::start(DataCentreOptions::default()).await?;
//! let sessions = data_centre.enroll("+9996620001".parse()?, 3, None);
//! assert_eq!((sessions.len(), sessions[0].address), (3, data_centre.address()));
//! assert_eq!(data_centre.stats().key_violations, 0);
//! data_centre.stop().await;
//! # Ok(())
//! # }
//! ```

mod answer;
mod conversation;
mod due;
mod envelope;
mod faults;
mod frame;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod judge;
mod method;
mod newcomer;
mod peer;
mod population;
mod stats;
mod stranger;
mod transport;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use grammers_tl_types::{Serializable, enums};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use faults::{Fault, FaultPlan, FaultPlanError, FaultRule};
pub use stats::DataCentreStats;

use crate::account_id::AccountId;
use crate::base::sync::Ordering;
use crate::session::SessionRecord;
use faults::Faults;
use newcomer::Newcomer;
use peer::Peer;
use population::{Order, World};

/// How long the acceptor rests after a failure, which is a lack of descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a data centre is set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DataCentreOptions {
    /// Where it listens: a loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Its number, from 1 to 5.
    pub dc: i32,
    /// How much later than at once every answer comes.
    pub latency: Duration,
    /// What it draws faults and salts from.
    pub seed: u64,
    /// What goes wrong.
    pub faults: FaultPlan,
    /// The longest delay of a `ping_delay_disconnect` that it honours: a client that asks for more
    /// gets this much, so that nobody who wants to see the end has to wait for 75 seconds. `None`,
    /// the default, grants whatever is asked for, as the real servers do.
    pub disconnect_delay_max: Option<Duration>,
}

impl Default for DataCentreOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            dc: 2,
            latency: Duration::ZERO,
            seed: 0,
            faults: FaultPlan::default(),
            disconnect_delay_max: None,
        }
    }
}

/// A running data centre. A cheap clone; it runs until [`stop`](Self::stop) or until the last
/// clone is dropped.
#[derive(Clone)]
pub struct DataCentre {
    inner: Arc<Inner>,
}

struct Inner {
    world: Arc<World>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.world.stop.send_replace(true);
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
        let DataCentreOptions { listen, dc, latency, seed, faults, disconnect_delay_max } = options;
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
        let mut world = World::new(dc, listener.local_addr()?, seed, Faults::new(&faults));
        world.disconnect_delay_max = disconnect_delay_max;
        world.set_latency(latency);
        let world = Arc::new(world);
        let runtime = Handle::current();
        let stop = world.stop.subscribe();
        drop(runtime.spawn(accept(listener, Arc::clone(&world), runtime.clone(), stop)));
        Ok(Self { inner: Arc::new(Inner { world }) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.inner.world.address
    }

    /// Lets an account in with so many further sessions, each with a new authorization key. The user id of
    /// a bot is its own number, for which clients take no more than 2^40 - 1; other users get theirs from
    /// 2^39 on, so that bots are told apart if they have smaller ones.
    pub fn enroll(
        &self,
        account: AccountId,
        sessions: u16,
        group: Option<Arc<str>>,
    ) -> Vec<SessionRecord> {
        self.inner.world.enroll(account, sessions, group)
    }

    /// Replaces the plan of faults, with all its limits unspent.
    pub fn set_faults(&self, plan: &FaultPlan) {
        self.inner.world.faults.store(Arc::new(Faults::new(plan)));
    }

    /// Changes how much later than at once every answer comes.
    pub fn set_latency(&self, latency: Duration) {
        self.inner.world.set_latency(latency);
    }

    /// From now on, or no longer, every new connection is reset at once: an outage, while
    /// connections that are open stay.
    pub fn refuse_connections(&self, refuse: bool) {
        self.inner.world.refusing.store(refuse, Ordering::Relaxed);
    }

    /// The numbers so far.
    #[must_use]
    pub fn stats(&self) -> DataCentreStats {
        self.inner.world.counters.read()
    }

    /// How long ago a fault last struck a call or a connection of an account.
    #[must_use]
    pub fn struck_ago(&self, account: AccountId) -> Option<Duration> {
        let world = &self.inner.world;
        world.struck_ago(&*world.user(account)?)
    }

    /// How many connections of an account live now.
    #[must_use]
    pub fn live_connections(&self, account: AccountId) -> usize {
        let Some(user) = self.inner.world.user(account) else { return 0 };
        let keys = user.keys.lock().clone();
        keys.iter().map(|key| key.live.lock().len()).sum()
    }

    /// Sends an update (`updatesTooLong`) to every connection of an account that has subscribed to
    /// updates, and answers to how many.
    pub fn push_update(&self, account: AccountId) -> usize {
        let world = &self.inner.world;
        let Some(user) = world.user(account) else { return 0 };
        world.push(&user, &enums::Updates::TooLong.to_bytes())
    }

    /// Ends every connection of an account: orderly, abruptly (`Reset`) or with a transport
    /// error. Other faults do nothing here. Returns how many were told.
    pub fn disconnect(&self, account: AccountId, how: &Fault) -> usize {
        let Some(user) = self.inner.world.user(account) else { return 0 };
        let order = || match how {
            Fault::Close => Some(Order::Close),
            Fault::Reset => Some(Order::Reset),
            Fault::Transport { code } => Some(Order::Transport(*code)),
            _ => None,
        };
        let keys = user.keys.lock().clone();
        let live: Vec<_> = keys.iter().flat_map(|key| key.live.lock().clone()).collect();
        let told = live
            .iter()
            .filter(|live| order().is_some_and(|order| live.orders.try_send(order).is_ok()));
        told.count()
    }

    /// Ends every connection and stops listening. Returns once all of them are closed.
    pub async fn stop(&self) {
        let stop = &self.inner.world.stop;
        stop.send_replace(true);
        stop.closed().await;
    }
}

/// Accepts until told to stop.
async fn accept(
    listener: TcpListener,
    world: Arc<World>,
    runtime: Handle,
    mut stop: watch::Receiver<bool>,
) {
    // A failure that lasts, such as too few descriptors, is told once.
    let mut told = false;
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                told = false;
                receive(stream, &world, &runtime, stop.clone());
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "the sandbox cannot accept connections");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn receive(stream: TcpStream, world: &Arc<World>, runtime: &Handle, stop: watch::Receiver<bool>) {
    let id = world.counters.connections_total.add(1);
    if world.refusing.load(Ordering::Relaxed) {
        stream.set_zero_linger().ok();
        return;
    }
    // Without it small answers would wait for acknowledgements.
    stream.set_nodelay(true).ok();
    let peer = Peer::new(Arc::clone(world), Arc::new(Newcomer::new(id, stream)));
    drop(runtime.spawn(peer.serve(stop)));
}

impl std::fmt::Debug for DataCentre {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataCentre").field("address", &self.address()).finish_non_exhaustive()
    }
}
