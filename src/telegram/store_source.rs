//! Sessions of a store, for the manager to dial.
//!
//! Owns the index of the accounts in memory and the thread that writes what becomes known. Keys are read from the
//! store at each dial, and none is kept here.

mod index;
mod lease;
mod lookup;
mod quarantines;
mod taken;
mod writer;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::account_id::AccountId;
use crate::base::clock::now;
use crate::base::sync::Mutex;
use crate::manager::QuarantineReason;
use crate::session::{SessionRecord, SessionUser, UpdateStates};
use crate::store::{SessionStore, SqliteStore, StoreError, StoreId, StoredAccount};
use crate::telegram::key_lock;
use crate::telegram::source::{BoxError, SessionProfile, SessionSource};

pub use index::AccountChange;
use index::Index;
pub use lease::{ServeError, StoreSettled, settle_store, store_holder};
use quarantines::SessionQuarantines;
use taken::TakenUpdates;
use writer::{StoreWrite, StoreWriter};

/// How much longer than it was given a close may take: as long as a write waits for that of another process.
const CLOSE_MARGIN: Duration = Duration::from_secs(6);

/// The sessions of a store that this process serves.
///
/// One process serves a store at a time, for as long as this lives; others may read it and add to it, which
/// [`refresh`](Self::refresh) takes up. Accounts that nobody knows the name of are not served.
pub struct StoreSource {
    store: Arc<SqliteStore>,
    index: ArcSwap<Index>,
    /// The revision of the index; held while it is brought up to date.
    revision: Mutex<u64>,
    quarantines: Arc<Mutex<SessionQuarantines>>,
    updates: Arc<Mutex<TakenUpdates>>,
    writes: mpsc::Sender<StoreWrite>,
    rests: Option<Duration>,
}

/// How a store is served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeOptions {
    /// Serve it although another machine has not given it up.
    pub take_over: bool,
    /// For how long sessions must not be dialled after a process that has not given the store up was last seen; see
    /// [`TelegramSettings::redial_after_loss`](super::TelegramSettings::redial_after_loss). It notes every 30 s that it
    /// is there, so that after a crash they may rest for up to 30 s longer.
    pub redial_after_loss: Duration,
    /// Whether they rest so. Where the locks of the machine have seen that process they know of each key whether it
    /// has to, and this may be false.
    pub rests_after_crash: bool,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            take_over: false,
            redial_after_loss: Duration::from_secs(120),
            rests_after_crash: true,
        }
    }
}

impl StoreSource {
    /// Takes a store to serve it: merges accounts that are one, and reads its index.
    ///
    /// # Errors
    /// Another process serves it, another machine has not given it up, or it cannot be used.
    pub fn serve(store: SqliteStore, options: &ServeOptions) -> Result<Self, ServeError> {
        let (lease, mark, last_seen) = lease::take(&store, options.take_over)?;
        store.settle()?;
        let rests = last_seen
            .filter(|_| options.rests_after_crash)
            .and_then(|ago| (options.redial_after_loss + writer::HEARTBEAT).checked_sub(ago));
        let store = Arc::new(store);
        let revision = store.revision()?;
        let mut accounts = Vec::new();
        store.accounts_since(0, &mut |account| accounts.push(account))?;
        let index = ArcSwap::from_pointee(Index::new(&accounts));
        if let Some(rest) = rests {
            store.sessions(None, &mut |session| key_lock::rest(session.key_id, rest))?;
        }
        let mut quarantines = SessionQuarantines::default();
        for account in &accounts {
            quarantines.take_in(account);
        }
        let quarantines = Arc::new(Mutex::new(quarantines));
        let (writes, queue) = mpsc::channel();
        let updates = Arc::<Mutex<TakenUpdates>>::default();
        let (told, taken) = (Arc::clone(&quarantines), Arc::clone(&updates));
        let writer = StoreWriter::new(Arc::clone(&store), told, taken, mark, lease);
        let thread = std::thread::Builder::new().name("telepool-store".to_owned());
        let begun = thread.spawn(move || writer.run(&queue));
        begun.map_err(|error| StoreError::Io { path: store.path().to_owned(), error })?;
        let revision = Mutex::new(revision);
        Ok(Self { store, index, revision, quarantines, updates, writes, rests })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<SqliteStore> {
        &self.store
    }

    /// For how long no session could be dialled when the serving began: a process before had not given the store up.
    #[must_use]
    pub fn rests(&self) -> Option<Duration> {
        self.rests
    }

    /// How many accounts are not served because nobody knows whose they are.
    #[must_use]
    pub fn unidentified(&self) -> usize {
        self.index.load().nameless
    }

    /// The groups that accounts are in.
    #[must_use]
    pub fn groups(&self) -> Vec<Arc<str>> {
        self.index.load().groups().cloned().collect()
    }

    /// Notes in the store where the process can be asked.
    pub fn announce(&self, socket: Option<String>) {
        self.writes.send(StoreWrite::Announce(socket)).ok();
    }

    /// Takes up what other processes have changed in the store. Costs a look at one number as long as nothing has
    /// changed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn refresh(&self) -> Result<Vec<AccountChange>, StoreError> {
        let mut revision = self.revision.lock();
        let latest = self.store.revision()?;
        if latest == *revision {
            return Ok(Vec::new());
        }
        let mut accounts: Vec<StoredAccount> = Vec::new();
        self.store.accounts_since(*revision, &mut |account| accounts.push(account))?;
        // Before the accounts can be found: whoever meets one asks for its quarantines.
        let mut quarantines = self.quarantines.lock();
        let mut is_news = |account: &StoredAccount| quarantines.take_in(account);
        let requarantined: HashSet<StoreId> =
            accounts.iter().filter(|account| is_news(account)).map(|account| account.id).collect();
        drop(quarantines);
        let mut index = Index::clone(&self.index.load());
        let changes = index.update(&accounts, *revision, &requarantined);
        self.index.store(Arc::new(index));
        *revision = latest;
        Ok(changes)
    }

    /// Waits until everything so far is in the store. Returns whether it is, in time.
    pub fn flush(&self, limit: Duration) -> bool {
        let (done, written) = mpsc::sync_channel(1);
        self.writes.send(StoreWrite::Flush(done)).is_ok() && written.recv_timeout(limit).is_ok()
    }

    /// Ends the serving, after the close of the pool, which writes but gives nothing up: everything is written, it is
    /// noted that the store is given up, and another process may take it. What cannot be written is tried again
    /// until the time is up. Returns whether all was written. Afterwards nothing is written any more.
    pub fn close(&self, limit: Duration) -> bool {
        let (done, closed) = mpsc::sync_channel(1);
        let close = StoreWrite::Close(done, now() + limit);
        // The last try may wait for another process that writes.
        self.writes.send(close).is_ok() && closed.recv_timeout(limit + CLOSE_MARGIN).is_ok()
    }

    /// Notes a login of a session by its place in the store; see [`SessionSource::note_login`].
    pub fn note_login_of(&self, account: StoreId, slot: u16, user: Option<SessionUser>) {
        // Without its thread the process is about to end.
        self.writes.send(StoreWrite::Login(account, slot, user)).ok();
    }

    /// Notes a quarantine of a session by its place in the store; see [`SessionSource::set_quarantine`].
    pub fn set_quarantine_of(&self, account: StoreId, slot: u16, reason: Option<QuarantineReason>) {
        if reason.is_some_and(|reason| !reason.is_kept()) {
            return;
        }
        self.quarantines.lock().set(account, slot, reason);
        self.writes.send(StoreWrite::Quarantine(account, slot, reason)).ok();
    }
}

impl fmt::Debug for StoreSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSource").field("store", &self.store).finish_non_exhaustive()
    }
}

impl SessionSource for StoreSource {
    fn profile(&self, account: AccountId) -> Option<SessionProfile> {
        self.index.load().profile(account)
    }

    fn canonical(&self, name: AccountId) -> AccountId {
        self.index.load().canonical(name).unwrap_or(name)
    }

    fn session(&self, account: AccountId, slot: u16) -> Option<SessionRecord> {
        let id = self.index.load().id(account)?;
        match self.store.record(id, slot, account) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%account, slot, %error, "a session cannot be read from the store");
                None
            }
        }
    }

    fn members(&self, group: &str) -> Option<Arc<[AccountId]>> {
        Some(self.index.load().members(group))
    }

    fn all_accounts(&self) -> Option<Vec<AccountId>> {
        Some(self.index.load().accounts().collect())
    }

    fn note_login(&self, account: AccountId, slot: u16, user: Option<SessionUser>) {
        if let Some(id) = self.index.load().id(account) {
            self.note_login_of(id, slot, user);
        }
    }

    fn quarantines(&self, account: AccountId) -> Vec<(u16, QuarantineReason)> {
        let id = self.index.load().id(account);
        id.map(|id| self.quarantines.lock().of(id)).unwrap_or_default()
    }

    fn set_quarantine(&self, account: AccountId, slot: u16, reason: Option<QuarantineReason>) {
        if let Some(id) = self.index.load().id(account) {
            self.set_quarantine_of(id, slot, reason);
        }
    }

    fn update_states(&self, account: AccountId) -> Result<Option<UpdateStates>, BoxError> {
        let Some(id) = self.index.load().id(account) else { return Ok(None) };
        // Held meanwhile: a write that ends in between would be in neither.
        let updates = self.updates.lock();
        let mut states = self.store.update_states(id)?;
        updates.add_to(id, &mut states);
        Ok(Some(states))
    }

    fn set_update_states(&self, account: AccountId, changed: &UpdateStates) {
        let Some(id) = self.index.load().id(account) else { return };
        if self.updates.lock().note(id, changed) {
            self.writes.send(StoreWrite::Updates).ok();
        }
    }
}
