//! The manager of Telegram accounts: profiles, connects and closes, over either engine.
//!
//! Owns the making of a connection and the memory of refused keys. Never dials a session whose
//! last connection still has a socket.

mod grammers;
mod metrics;
mod pacing;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use super::caller::ConnectionCaller;
use super::connection::ClientAccess;
use super::health::ConnectionHealth;
use super::key_lock::{self, KeyGuard};
use super::key_memories::KeyMemories;
use super::login_cache::LoginCache;
use super::login_check::{UnknownUser, UserCache, check_login};
use super::pacing::Pacers;
use super::pending_open::{OpenResult, PendingOpen};
use super::reservation::Reservations;
use super::rpc::RpcHandle;
use super::source::DEFAULT_GROUP;
use super::supervisor::SupervisorHandle;
use super::updates::{Feed, Lanes};
use super::wire_counts::WireTotals;
use super::{Engine, SessionSource, TelegramConnection, TelegramError, TelegramSettings, verdict};
use crate::account_id::AccountId;
use crate::base::panics::call_manager;
use crate::base::sync::Mutex;
use crate::manager::{
    Clearance, ErrorKind, Hold, Manager, MetricsSource, Profile, QuarantineReason, Reaction,
    TrafficCounters, TrafficGroups,
};
use crate::ownership::{ClaimError, Epoch, HostLocks, HostLocksOptions, Ownership};
use crate::session::{KeyId, SessionRecord};

/// Opens the connections of the sessions that a source has.
///
/// Connecting needs a tokio runtime with time and I/O enabled; each connection has a task on the
/// runtime that dialled it, and its client one for each data centre it visits.
pub struct TelegramManager<S> {
    source: S,
    settings: Arc<TelegramSettings>,
    /// Who listens to the updates of which accounts.
    pub(super) lanes: Arc<Lanes>,
    logins: Arc<LoginCache>,
    users: Arc<UserCache>,
    /// What connections of the wire have learned of the servers.
    memories: Arc<KeyMemories>,
    /// What they have sent and received.
    wires: Arc<WireTotals>,
    /// Where the pool has calls and updates counted; nowhere, before it is built.
    traffic: OnceLock<TrafficGroups>,
    /// Who keeps other processes from dialling the same keys; the machine's locks, unless another was
    /// named before the first dial.
    ownership: OnceLock<Arc<dyn Ownership>>,
    /// How often in a row the server did not know the key of a session. Holds only sessions that
    /// are suspect.
    strikes: Mutex<HashMap<(AccountId, u16), u32>>,
    /// The locked key of each dial that waits for its turn.
    reserved: Reservations,
    /// When accounts that keep to limits may send.
    pacers: Pacers,
}

/// A connection that is being opened.
struct OpenedConnection {
    caller: ConnectionCaller,
    client: ClientAccess,
    supervisor: SupervisorHandle,
    traffic: Arc<TrafficCounters>,
    /// When the connection may be used, or why it may not.
    opened: oneshot::Receiver<OpenResult>,
}

impl<S: SessionSource> TelegramManager<S> {
    /// A manager of these sessions.
    #[must_use]
    pub fn new(source: S, settings: TelegramSettings) -> Self {
        let (lanes, strikes) = (Arc::default(), Mutex::default());
        let reserved = Reservations::default();
        let logins = Arc::new(LoginCache::new(settings.login_lasts));
        let (users, memories, wires) = (Arc::default(), Arc::default(), Arc::default());
        let (traffic, ownership) = (OnceLock::new(), OnceLock::new());
        let (pacers, settings) = (Pacers::default(), Arc::new(settings));
        Self {
            source,
            settings,
            lanes,
            logins,
            users,
            memories,
            wires,
            traffic,
            ownership,
            strikes,
            reserved,
            pacers,
        }
    }

    /// Names who keeps other processes from dialling the same keys. Without it these are the locks of
    /// this machine ([`HostLocks`]), where each key is locked from its first dial to the end of the manager.
    ///
    /// [`Unguarded`](crate::ownership::Unguarded) does without: two processes that are given the same
    /// session then dial it both, and Telegram voids its login.
    #[must_use]
    pub fn with_ownership(mut self, ownership: Arc<dyn Ownership>) -> Self {
        self.ownership = OnceLock::from(ownership);
        self
    }

    fn ownership(&self) -> &Arc<dyn Ownership> {
        self.ownership.get_or_init(|| {
            let timer = self.settings.redial_after_loss;
            Arc::new(HostLocks::new(HostLocksOptions { timer, ..HostLocksOptions::default() }))
        })
    }

    /// Claims the key of a session. Returns the session, and the id of the key.
    async fn claim(
        &self,
        account: AccountId,
        slot: u16,
    ) -> Result<(SessionRecord, KeyId), TelegramError> {
        let record = self.source.session(account, slot);
        let record = record.ok_or(TelegramError::NoSession { account, slot })?;
        if record.api_id.is_none() && self.settings.api_id == 0 {
            return Err(TelegramError::NoApiId { account });
        }
        let key = KeyId::of(&record.key);
        let claimed = self.ownership().claim(&[key]).await.pop();
        let claim = claimed.unwrap_or(Err(ClaimError::Held(None)))?;
        if !claim.rest.is_zero() {
            key_lock::rest(key, claim.rest);
        }
        Ok((record, key))
    }

    /// Where the sessions come from.
    #[must_use]
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Has the source save how far the applications have got with the updates of accounts.
    pub(super) fn save_updates(&self) {
        self.lanes.save(|account, changed| {
            let set = || self.source.set_update_states(account, changed);
            call_manager("set_update_states", set).is_some()
        });
    }

    /// Of these accounts nobody reads the updates any more. What is known of those that the source has no more is
    /// forgotten.
    pub(super) fn forget_updates(&self, accounts: &[AccountId]) {
        if accounts.is_empty() {
            return;
        }
        self.save_updates();
        for account in accounts {
            if self.source.profile(*account).is_none() {
                self.lanes.forget_progress(*account);
            }
        }
    }

    pub(super) fn call_timeout(&self) -> Duration {
        self.settings.call_timeout
    }

    pub(super) fn group_of(&self, account: AccountId) -> Arc<str> {
        let profile = self.source.profile(account);
        profile.map_or_else(|| Arc::from(DEFAULT_GROUP), |profile| profile.group)
    }

    /// Where the calls and updates of an account are counted.
    fn traffic_of(&self, account: AccountId) -> Arc<TrafficCounters> {
        let group = self.group_of(account);
        self.traffic.get().cloned().unwrap_or_default().counters(&group)
    }

    /// The login check of a connection that is being opened. The other value tells when that may be used, or why it
    /// may not.
    fn begin_check(
        &self,
        record: &SessionRecord,
        key: KeyId,
        (rpc, health): (&RpcHandle, &Arc<ConnectionHealth>),
        user: Option<UnknownUser>,
    ) -> (PendingOpen<impl Future<Output = OpenResult> + use<S>>, oneshot::Receiver<OpenResult>)
    {
        let check = check_login(rpc.clone(), record, user, self.settings.call_timeout);
        let begun = self.logins.begin(record.account, record.slot, key.number());
        let session = (record.account, record.slot);
        PendingOpen::new(check, Arc::clone(&self.logins), begun, session, Arc::clone(health))
    }

    /// What calls over a connection need.
    fn caller(
        &self,
        record: &SessionRecord,
        rpc: RpcHandle,
        health: Arc<ConnectionHealth>,
        feed: Arc<Feed>,
        epoch: Epoch,
    ) -> ConnectionCaller {
        ConnectionCaller {
            account: record.account,
            slot: record.slot,
            data_centre: record.dc,
            rpc,
            health,
            call_timeout: self.settings.call_timeout,
            ownership: Arc::clone(self.ownership()),
            epoch,
            feed,
        }
    }

    /// Turns what a connect ends with when the server does not know the key into one error that
    /// says how often that has happened.
    fn count_refusal(&self, account: AccountId, slot: u16, error: TelegramError) -> TelegramError {
        match error {
            // The client answers a 404 by making a new key, which fails or is refused.
            TelegramError::Transport { code: 404 }
            | TelegramError::KeyExchange(_)
            | TelegramError::KeyChanged => {
                let mut strikes = self.strikes.lock();
                let count = strikes.entry((account, slot)).or_default();
                *count = count.saturating_add(1);
                TelegramError::KeyUnknown { strikes: *count }
            }
            error => error,
        }
    }
}

impl<S> fmt::Debug for TelegramManager<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelegramManager").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

impl<S: SessionSource> Manager for TelegramManager<S> {
    type Connection = TelegramConnection;
    type Error = TelegramError;

    fn profile(&self, account: AccountId) -> Option<Profile> {
        let profile = self.source.profile(account)?;
        Some(Profile {
            slots: profile.sessions,
            leases: self.settings.leases,
            group: profile.group,
            egress: profile.egress,
        })
    }

    fn canonical(&self, name: AccountId) -> AccountId {
        self.source.canonical(name)
    }

    /// Whether the key is this process's, nobody here uses it, and it does not rest. The end of the
    /// session's last connection is waited for; from then on the key is kept for the dial.
    async fn clearance(
        &self,
        account: AccountId,
        slot: u16,
    ) -> Result<Clearance<TelegramError>, TelegramError> {
        let (_, key) = self.claim(account, slot).await?;
        match KeyGuard::lock_for_next(key).await {
            Ok(guard) => {
                Ok(Clearance::Holding(Hold::new(self.reserved.reserve((account, slot), guard))))
            }
            Err(TelegramError::KeyResting { remaining }) => {
                Ok(Clearance::After(remaining, TelegramError::KeyResting { remaining }))
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the session's last connection is gone, dials and checks that the session is
    /// logged in. If it has done so lately, the check is not waited for. Dropping the future ends
    /// what it has begun.
    async fn connect(
        &self,
        account: AccountId,
        slot: u16,
    ) -> Result<TelegramConnection, TelegramError> {
        let (record, key) = self.claim(account, slot).await?;
        let reserved = self.reserved.take((account, slot));
        let guard = match reserved.filter(|guard| guard.key() == key) {
            Some(guard) => guard,
            None => {
                let taken = KeyGuard::lock(key).await;
                taken.map_err(|remaining| TelegramError::KeyResting { remaining })?
            }
        };
        let OpenedConnection { caller, client, supervisor, traffic, opened } =
            match self.settings.engine {
                Engine::Grammers => self.open_client(&record, guard).await?,
                Engine::Wire => self.open_wire(record, guard).await?,
            };
        // The supervisor sees to the end of it, whatever becomes of this future.
        let connection = TelegramConnection { caller, client, supervisor, traffic };
        match opened.await.unwrap_or(Err(TelegramError::Dropped)) {
            Ok(()) => {
                self.strikes.lock().remove(&(account, slot));
                self.source.note_login(account, slot, self.users.user(key));
                Ok(connection)
            }
            Err(error) => {
                connection.close().await;
                Err(self.count_refusal(account, slot, error))
            }
        }
    }

    fn is_broken(&self, connection: &TelegramConnection) -> bool {
        connection.is_broken()
    }

    async fn check(&self, connection: &TelegramConnection) -> Result<(), TelegramError> {
        connection.check().await
    }

    fn needs_check(&self, connection: &TelegramConnection, within: Duration) -> bool {
        connection.caller.health.since_login() >= within
    }

    async fn close(&self, connection: &TelegramConnection) {
        connection.close().await;
    }

    async fn settle(&self) {
        self.save_updates();
        self.ownership().settled().await;
    }

    fn react(&self, error: &TelegramError) -> Reaction {
        verdict(error).reaction
    }

    fn kind(&self, error: &TelegramError) -> ErrorKind {
        verdict(error).kind
    }

    fn address(&self, account: AccountId, slot: u16) -> Option<Arc<str>> {
        let record = self.source.session(account, slot)?;
        // By whatever way: of two proxies one may reach what the other does not.
        Some(match &record.proxy {
            Some(proxy) => format!("{} by {proxy}", record.address).into(),
            None => record.address.to_string().into(),
        })
    }

    fn quarantines(&self, account: AccountId) -> Vec<(u16, QuarantineReason)> {
        self.source.quarantines(account)
    }

    fn set_quarantine(&self, account: AccountId, slot: u16, reason: Option<QuarantineReason>) {
        if reason.is_none() {
            // Whatever was counted against it is forgiven with it.
            self.strikes.lock().remove(&(account, slot));
        }
        self.logins.forget(account, slot);
        self.source.set_quarantine(account, slot, reason);
    }

    fn members(&self, group: &str) -> Option<Arc<[AccountId]>> {
        self.source.members(group)
    }

    fn is_listened_to(&self, connection: &TelegramConnection) -> bool {
        connection.caller.feed.is_listened_to()
    }

    fn metrics(&self) -> Option<&dyn MetricsSource> {
        Some(self)
    }
}
