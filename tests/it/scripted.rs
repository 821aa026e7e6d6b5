//! A manager in memory that does as it is told and counts what the pool does with it.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use telepool::{
    AccountId, Clearance, ErrorKind, Manager, MetricsSource, Pool, Profile, QuarantineReason,
    Reaction, TrafficGroups,
};

/// How the next call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Play {
    Good,
    Slow(Duration),
    Fail,
    Never,
    Panic,
    Quarantine,
    /// The same after so long.
    #[cfg(feature = "metrics")]
    QuarantineAfter(Duration),
    /// The server does not know the session.
    Unknown,
    /// The server would have the account rest for so long.
    Rest(Duration),
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) dials: u64,
    pub(crate) dialled_at: Vec<tokio::time::Instant>,
    pub(crate) live: HashMap<AccountId, u64>,
    pub(crate) live_max: HashMap<AccountId, u64>,
    pub(crate) all: u64,
    pub(crate) all_max: u64,
    /// Slots that had two connections at once.
    pub(crate) doubled: u64,
    pub(crate) slots: HashMap<(AccountId, u16), u64>,
    /// Dials under way, and the most there were.
    pub(crate) dialling: u64,
    pub(crate) dialling_max: u64,
    /// Dials to each address that has a name.
    pub(crate) dials_at: HashMap<Arc<str>, u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Scripted {
    pub(crate) state: Arc<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) profile: Mutex<Profile>,
    pub(crate) connect: Mutex<Play>,
    pub(crate) check: Mutex<Play>,
    pub(crate) close: Mutex<Play>,
    pub(crate) checks: AtomicU64,
    /// Every connection has died.
    pub(crate) outage: AtomicBool,
    /// Nothing has shown for long that any session is good.
    pub(crate) unshown: AtomicBool,
    /// Somebody reads what connections bring.
    pub(crate) listened: AtomicBool,
    pub(crate) tally: Mutex<Tally>,
    pub(crate) quarantines: Mutex<HashMap<(AccountId, u16), QuarantineReason>>,
    /// Of every group; `None` if no list of them is kept.
    pub(crate) members: Mutex<Option<Arc<[AccountId]>>>,
    /// Where accounts are dialled, and how dials there end; any other is dialled at no address.
    pub(crate) addresses: Mutex<HashMap<AccountId, Arc<str>>>,
    pub(crate) connect_at: Mutex<HashMap<Arc<str>, Play>>,
    /// How many connections the machine has room for.
    pub(crate) room: AtomicU64,
    /// Until when no session may be dialled.
    pub(crate) rests_until: Mutex<Option<tokio::time::Instant>>,
    /// Where its pool has calls and updates counted.
    pub(crate) traffic: OnceLock<TrafficGroups>,
}

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) account: AccountId,
    pub(crate) slot: u16,
    pub(crate) broken: AtomicBool,
    pub(crate) panics: AtomicBool,
    /// A check of it has begun and has not passed.
    pub(crate) unproved: AtomicBool,
    state: Arc<State>,
    closed: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error("scripted failure")]
pub(crate) struct Failure(pub(crate) Reaction);

impl Scripted {
    pub(crate) fn new(slots: u16, leases: u16) -> Self {
        let mut profile = Profile::new(slots);
        profile.leases = leases;
        Self {
            state: Arc::new(State {
                profile: Mutex::new(profile),
                connect: Mutex::new(Play::Good),
                check: Mutex::new(Play::Good),
                close: Mutex::new(Play::Good),
                checks: AtomicU64::new(0),
                outage: AtomicBool::new(false),
                unshown: AtomicBool::new(false),
                listened: AtomicBool::new(false),
                tally: Mutex::new(Tally::default()),
                quarantines: Mutex::new(HashMap::new()),
                members: Mutex::new(None),
                addresses: Mutex::new(HashMap::new()),
                connect_at: Mutex::new(HashMap::new()),
                room: AtomicU64::new(u64::MAX),
                rests_until: Mutex::new(None),
                traffic: OnceLock::new(),
            }),
        }
    }

    pub(crate) fn on_connect(&self, play: Play) {
        *self.state.connect.lock().unwrap() = play;
    }

    /// Has accounts dialled at an address.
    pub(crate) fn live_at(&self, address: &str, accounts: std::ops::RangeInclusive<u64>) {
        let mut addresses = self.state.addresses.lock().unwrap();
        addresses.extend(accounts.map(|number| (account(number), Arc::from(address))));
    }

    pub(crate) fn on_connect_at(&self, address: &str, play: Play) {
        self.state.connect_at.lock().unwrap().insert(Arc::from(address), play);
    }

    pub(crate) fn dials_at(&self, address: &str) -> u64 {
        self.tally(|tally| tally.dials_at.get(address).copied().unwrap_or_default())
    }

    pub(crate) fn on_check(&self, play: Play) {
        *self.state.check.lock().unwrap() = play;
    }

    pub(crate) fn on_close(&self, play: Play) {
        *self.state.close.lock().unwrap() = play;
    }

    pub(crate) fn tally<T>(&self, read: impl FnOnce(&Tally) -> T) -> T {
        read(&self.state.tally.lock().unwrap())
    }

    /// A pool with pacing out of the way.
    pub(crate) fn pool(&self, change: impl FnOnce(&mut telepool::Config)) -> Pool<Self> {
        Pool::builder(self.clone())
            .configure(|config| {
                config.dial.per_second = 100_000;
                config.dial.handshakes = 1000;
                change(config);
            })
            .seed(7)
            .build()
            .unwrap()
    }
}

pub(crate) fn account(number: u64) -> AccountId {
    AccountId::bot(number).unwrap()
}

async fn play(play: Play) -> Result<(), Failure> {
    match play {
        Play::Good => Ok(()),
        Play::Slow(time) => {
            tokio::time::sleep(time).await;
            Ok(())
        }
        Play::Fail => Err(Failure(Reaction::Discard)),
        Play::Never => pending().await,
        Play::Panic => panic!("scripted panic"),
        Play::Rest(wait) => Err(Failure(Reaction::CoolDown { key: 1, wait })),
        Play::Unknown => Err(Failure(Reaction::QuarantineSession(QuarantineReason::Suspect))),
        #[cfg(feature = "metrics")]
        Play::QuarantineAfter(time) => {
            tokio::time::sleep(time).await;
            Err(Failure(Reaction::QuarantineAccount(QuarantineReason::KeyDuplicated)))
        }
        Play::Quarantine => {
            Err(Failure(Reaction::QuarantineAccount(QuarantineReason::KeyDuplicated)))
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.gone();
    }
}

impl Wire {
    fn gone(&self) {
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut tally = self.state.tally.lock().unwrap();
        tally.all -= 1;
        *tally.live.get_mut(&self.account).unwrap() -= 1;
        *tally.slots.get_mut(&(self.account, self.slot)).unwrap() -= 1;
    }
}

/// A dial under way.
struct Dialling<'a>(&'a State);

impl<'a> Dialling<'a> {
    fn begin(state: &'a State, address: Option<&Arc<str>>) -> Self {
        let mut tally = state.tally.lock().unwrap();
        tally.dials += 1;
        tally.dialled_at.push(tokio::time::Instant::now());
        tally.dialling += 1;
        tally.dialling_max = tally.dialling_max.max(tally.dialling);
        if let Some(address) = address {
            *tally.dials_at.entry(Arc::clone(address)).or_default() += 1;
        }
        Self(state)
    }
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        self.0.tally.lock().unwrap().dialling -= 1;
    }
}

impl Manager for Scripted {
    type Connection = Wire;
    type Error = Failure;

    fn profile(&self, account: AccountId) -> Option<Profile> {
        (account.number() < 1_000_000).then(|| self.state.profile.lock().unwrap().clone())
    }

    /// Each bot is known as a user as well.
    fn canonical(&self, name: AccountId) -> AccountId {
        match !name.is_phone() && !name.is_bot() {
            true => account(name.number()),
            false => name,
        }
    }

    async fn clearance(&self, _: AccountId, _: u16) -> Result<Clearance<Failure>, Failure> {
        let until = *self.state.rests_until.lock().unwrap();
        let left = until.map(|it| it.saturating_duration_since(tokio::time::Instant::now()));
        Ok(match left {
            Some(left) if !left.is_zero() => Clearance::After(left, Failure(Reaction::Keep)),
            _ => Clearance::Now,
        })
    }

    async fn connect(&self, account: AccountId, slot: u16) -> Result<Wire, Failure> {
        let address = self.address(account, slot);
        let dialling = Dialling::begin(&self.state, address.as_ref());
        let mut next = *self.state.connect.lock().unwrap();
        if let Some(address) = &address {
            next = *self.state.connect_at.lock().unwrap().get(address).unwrap_or(&next);
        }
        play(next).await?;
        drop(dialling);
        let mut guard = self.state.tally.lock().unwrap();
        let tally = &mut *guard;
        if tally.all >= self.state.room.load(Ordering::SeqCst) {
            return Err(Failure(Reaction::Exhausted));
        }
        tally.all += 1;
        tally.all_max = tally.all_max.max(tally.all);
        let live = tally.live.entry(account).or_default();
        *live += 1;
        let most = tally.live_max.entry(account).or_default();
        *most = (*most).max(*live);
        let on_slot = tally.slots.entry((account, slot)).or_default();
        *on_slot += 1;
        tally.doubled += u64::from(*on_slot > 1);
        let flag = || AtomicBool::new(false);
        let (broken, panics, unproved, closed) = (flag(), flag(), flag(), flag());
        let state = Arc::clone(&self.state);
        Ok(Wire { account, slot, broken, panics, unproved, state, closed })
    }

    fn is_broken(&self, wire: &Wire) -> bool {
        assert!(!wire.panics.load(Ordering::SeqCst), "scripted panic");
        wire.broken.load(Ordering::SeqCst) || self.state.outage.load(Ordering::SeqCst)
    }

    async fn check(&self, wire: &Wire) -> Result<(), Failure> {
        self.state.checks.fetch_add(1, Ordering::SeqCst);
        wire.unproved.store(true, Ordering::SeqCst);
        let next = *self.state.check.lock().unwrap();
        play(next).await?;
        wire.unproved.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn needs_check(&self, _wire: &Wire, _within: Duration) -> bool {
        self.state.unshown.load(Ordering::SeqCst)
    }

    fn is_listened_to(&self, _wire: &Wire) -> bool {
        self.state.listened.load(Ordering::SeqCst)
    }

    async fn close(&self, wire: &Wire) {
        let next = *self.state.close.lock().unwrap();
        play(next).await.ok();
        wire.gone();
    }

    fn react(&self, error: &Failure) -> Reaction {
        error.0.clone()
    }

    fn members(&self, _: &str) -> Option<Arc<[AccountId]>> {
        self.state.members.lock().unwrap().clone()
    }

    fn quarantines(&self, account: AccountId) -> Vec<(u16, QuarantineReason)> {
        let quarantines = self.state.quarantines.lock().unwrap();
        let mut of_account: Vec<_> = quarantines
            .iter()
            .filter(|((of, _), _)| *of == account)
            .map(|((_, slot), reason)| (*slot, *reason))
            .collect();
        of_account.sort_unstable_by_key(|(slot, _)| *slot);
        of_account
    }

    fn set_quarantine(&self, account: AccountId, slot: u16, reason: Option<QuarantineReason>) {
        let mut quarantines = self.state.quarantines.lock().unwrap();
        match reason {
            Some(reason) => quarantines.insert((account, slot), reason),
            None => quarantines.remove(&(account, slot)),
        };
    }

    fn address(&self, account: AccountId, _slot: u16) -> Option<Arc<str>> {
        self.state.addresses.lock().unwrap().get(&account).cloned()
    }

    fn kind(&self, _error: &Failure) -> ErrorKind {
        ErrorKind::Io
    }

    fn metrics(&self) -> Option<&dyn MetricsSource> {
        Some(self)
    }
}

impl MetricsSource for Scripted {
    fn dial_class(&self, account: AccountId, _slot: u16) -> u8 {
        u8::try_from(account.number() % 7).unwrap()
    }
    fn attach_traffic(&self, groups: TrafficGroups) {
        // Some tests make two pools of it.
        self.state.traffic.set(groups).ok();
    }

    fn error_names(&self) -> &'static [&'static str] {
        &["GONE", "TIRED"]
    }

    fn flood_classes(&self) -> &'static [&'static str] {
        &["talk", "walk"]
    }

    /// Every third key is of no class.
    fn flood_class(&self, key: u32) -> usize {
        usize::try_from(key % 3).unwrap()
    }
}
