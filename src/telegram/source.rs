//! Session source: where the manager takes sessions from.
//!
//! Owns the trait and an in-memory source. Never opens a connection, and never changes a session.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::account_id::AccountId;
use crate::base::sync::Mutex;
use crate::manager::{Egress, QuarantineReason};
use crate::session::{Proxy, SessionRecord, SessionUser, UpdateStates, lines::SLOTS_MAX};

/// The group of accounts whose sessions name none.
pub(super) const DEFAULT_GROUP: &str = "default";

/// Whatever went wrong where a source keeps what it knows.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The sessions that connections are opened with. Slot `i` of an account is its session `i`.
///
/// Methods must be quick: they are called on the way to a connection.
pub trait SessionSource: Send + Sync + 'static {
    /// What is known of an account, or `None` if it has no session. Asked again while the pool knows
    /// the account, for the [number of sessions](SessionProfile::sessions).
    fn profile(&self, account: AccountId) -> Option<SessionProfile>;

    /// The one name of an account that has several; see [`Manager::canonical`](crate::Manager::canonical).
    fn canonical(&self, name: AccountId) -> AccountId {
        name
    }

    /// One session of an account.
    fn session(&self, account: AccountId, slot: u16) -> Option<SessionRecord>;

    /// The accounts of a group, or `None` if the source keeps no such list.
    fn members(&self, group: &str) -> Option<Arc<[AccountId]>> {
        let _ = group;
        None
    }

    /// Every account, or `None` if the source keeps no such list.
    fn all_accounts(&self) -> Option<Vec<AccountId>> {
        None
    }

    /// Notes that a session has just been seen to be logged in, and as whom if the server was asked.
    fn note_login(&self, account: AccountId, slot: u16, user: Option<SessionUser>) {
        let _ = (account, slot, user);
    }

    /// Returns which sessions of an account are quarantined, and why: what
    /// [`set_quarantine`](Self::set_quarantine) was told before.
    fn quarantines(&self, account: AccountId) -> Vec<(u16, QuarantineReason)> {
        let _ = account;
        Vec::new()
    }

    /// How far the updates of an account were taken: what [`set_update_states`](Self::set_update_states) was told
    /// before, all together. `None` if nothing is known: then updates begin with what comes from now on. May block:
    /// it is called for one account at a time, on a thread that may wait.
    ///
    /// # Errors
    /// It cannot be read now. It is asked for again, and no updates are read before.
    fn update_states(&self, account: AccountId) -> Result<Option<UpdateStates>, BoxError> {
        let _ = account;
        Ok(None)
    }

    /// Stores how far the updates of an account have been taken since; what is not mentioned stays. A source that
    /// outlasts the process keeps it, or what came while the process was away is lost. At most once a second for
    /// an account, on a thread that may wait; and once more when a stream is dropped or the pool closes, where
    /// others wait for it.
    fn set_update_states(&self, account: AccountId, changed: &UpdateStates) {
        let _ = (account, changed);
    }

    /// Stores that a session is quarantined, or with `None` that it serves again. A source that
    /// outlasts the process keeps it with the session's key and returns it in
    /// [`quarantines`](Self::quarantines), or the session is dialled again after a restart; reasons
    /// that are [not kept](QuarantineReason::is_kept) end with the process.
    /// [`QuarantineFile`](super::QuarantineFile) does so for sources that do not.
    fn set_quarantine(&self, account: AccountId, slot: u16, reason: Option<QuarantineReason>) {
        let _ = (account, slot, reason);
    }
}

impl<S: SessionSource> SessionSource for Arc<S> {
    fn profile(&self, account: AccountId) -> Option<SessionProfile> {
        (**self).profile(account)
    }

    fn canonical(&self, name: AccountId) -> AccountId {
        (**self).canonical(name)
    }

    fn session(&self, account: AccountId, slot: u16) -> Option<SessionRecord> {
        (**self).session(account, slot)
    }

    fn members(&self, group: &str) -> Option<Arc<[AccountId]>> {
        (**self).members(group)
    }

    fn all_accounts(&self) -> Option<Vec<AccountId>> {
        (**self).all_accounts()
    }

    fn quarantines(&self, account: AccountId) -> Vec<(u16, QuarantineReason)> {
        (**self).quarantines(account)
    }

    fn note_login(&self, account: AccountId, slot: u16, user: Option<SessionUser>) {
        (**self).note_login(account, slot, user);
    }

    fn set_quarantine(&self, account: AccountId, slot: u16, reason: Option<QuarantineReason>) {
        (**self).set_quarantine(account, slot, reason);
    }

    fn update_states(&self, account: AccountId) -> Result<Option<UpdateStates>, BoxError> {
        (**self).update_states(account)
    }

    fn set_update_states(&self, account: AccountId, changed: &UpdateStates) {
        (**self).set_update_states(account, changed);
    }
}

/// What a source knows of an account.
///
/// Made by [`SessionProfile::new`], and its fields are set by name: more may come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionProfile {
    /// How many sessions the account has. If that changes, the last ones come and go: a slot stays the
    /// same session.
    pub sessions: u16,
    /// The operator's label.
    pub group: Arc<str>,
    /// The way by which its dials leave.
    pub egress: Egress,
}

impl SessionProfile {
    /// An account with so many sessions, in the group `default`, dialled directly.
    #[must_use]
    pub fn new(sessions: u16) -> Self {
        Self { sessions, group: Arc::from("default"), egress: Egress::Direct }
    }
}

/// Sessions in memory, fixed when made. Remembers quarantines, and how far updates were taken, for as long as it
/// lives.
pub struct MemorySource {
    /// Each account's sessions by slot.
    sessions: HashMap<AccountId, Box<[SessionRecord]>>,
    groups: HashMap<Arc<str>, Arc<[AccountId]>>,
    quarantines: Mutex<HashMap<(AccountId, u16), QuarantineReason>>,
    update_states: Mutex<HashMap<AccountId, UpdateStates>>,
}

impl MemorySource {
    /// Takes records in any order.
    ///
    /// # Errors
    /// The slots of an account must run from 0 without gaps and all have the same proxy or none, and no
    /// authorization key may come twice, in any account.
    pub fn new(records: impl IntoIterator<Item = SessionRecord>) -> Result<Self, SourceError> {
        let mut by_slot: BTreeMap<(AccountId, u16), SessionRecord> = BTreeMap::new();
        let mut keys: HashMap<u64, (AccountId, u16)> = HashMap::new();
        let hasher = RandomState::new();
        for record in records {
            let (account, slot) = (record.account, record.slot);
            let earlier = keys.insert(hasher.hash_one(record.key.expose()), (account, slot));
            if by_slot.insert((account, slot), record).is_some() {
                return Err(SourceError::SlotTwice { account, slot });
            }
            if let Some((first, first_slot)) = earlier {
                return Err(SourceError::KeyTwice { account, slot, first, first_slot });
            }
        }
        let mut sessions: BTreeMap<AccountId, Vec<SessionRecord>> = BTreeMap::new();
        for ((account, slot), record) in by_slot {
            let of_account = sessions.entry(account).or_default();
            if usize::from(slot) != of_account.len() {
                return Err(SourceError::SlotMissing { account, slot });
            }
            if slot >= SLOTS_MAX {
                return Err(SourceError::TooManySlots { account });
            }
            of_account.push(record);
        }
        for (account, records) in &sessions {
            // Dials of an account leave by one way, and one that left by another would show it from there.
            if let Some(other) = records.iter().find(|it| label(it) != label(&records[0])) {
                return Err(SourceError::OtherProxy { account: *account, slot: other.slot });
            }
        }
        let mut groups: HashMap<Arc<str>, Vec<AccountId>> = HashMap::new();
        for (account, records) in &sessions {
            groups.entry(group(records)).or_default().push(*account);
        }
        Ok(Self {
            sessions: sessions.into_iter().map(|(id, records)| (id, records.into())).collect(),
            groups: groups.into_iter().map(|(group, ids)| (group, ids.into())).collect(),
            quarantines: Mutex::default(),
            update_states: Mutex::default(),
        })
    }

    /// Every account, in no particular order.
    pub fn accounts(&self) -> impl Iterator<Item = AccountId> + '_ {
        self.sessions.keys().copied()
    }
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySource")
            .field("accounts", &self.sessions.len())
            .finish_non_exhaustive()
    }
}

impl SessionSource for MemorySource {
    fn profile(&self, account: AccountId) -> Option<SessionProfile> {
        let records = self.sessions.get(&account)?;
        Some(SessionProfile {
            sessions: u16::try_from(records.len()).expect("BUG: over 64 slots"),
            group: group(records),
            egress: egress(records),
        })
    }

    fn session(&self, account: AccountId, slot: u16) -> Option<SessionRecord> {
        self.sessions.get(&account)?.get(usize::from(slot)).cloned()
    }

    fn members(&self, group: &str) -> Option<Arc<[AccountId]>> {
        Some(self.groups.get(group).cloned().unwrap_or_default())
    }

    fn all_accounts(&self) -> Option<Vec<AccountId>> {
        Some(self.accounts().collect())
    }

    fn quarantines(&self, account: AccountId) -> Vec<(u16, QuarantineReason)> {
        let quarantines = self.quarantines.lock();
        // Mostly there is none at all.
        if quarantines.is_empty() {
            return Vec::new();
        }
        let of_slot = |slot| Some((slot, *quarantines.get(&(account, slot))?));
        (0..SLOTS_MAX).filter_map(of_slot).collect()
    }

    fn set_quarantine(&self, account: AccountId, slot: u16, reason: Option<QuarantineReason>) {
        let mut quarantines = self.quarantines.lock();
        match reason {
            Some(reason) => quarantines.insert((account, slot), reason),
            None => quarantines.remove(&(account, slot)),
        };
    }

    fn update_states(&self, account: AccountId) -> Result<Option<UpdateStates>, BoxError> {
        Ok(self.update_states.lock().get(&account).cloned())
    }

    fn set_update_states(&self, account: AccountId, changed: &UpdateStates) {
        self.update_states.lock().entry(account).or_default().merge(changed);
    }
}

/// The first label that a session of the account has.
fn group(records: &[SessionRecord]) -> Arc<str> {
    let label = records.iter().find_map(|record| record.group.clone());
    label.unwrap_or_else(|| Arc::from(DEFAULT_GROUP))
}

/// The proxy of the account's sessions: dials are paced by account, not by slot.
fn egress(records: &[SessionRecord]) -> Egress {
    label(&records[0]).map_or(Egress::Direct, |label| Egress::Proxy(label.into()))
}

fn label(record: &SessionRecord) -> Option<&str> {
    record.proxy.as_deref().map(Proxy::label)
}

/// Why records make no source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Two sessions for one slot.
    #[error("account {account} has two sessions for slot {slot}: give one of them another slot")]
    SlotTwice {
        /// Whose.
        account: AccountId,
        /// The slot.
        slot: u16,
    },
    /// A gap below a slot.
    #[error("account {account} has slot {slot} but not the one before: number slots from 0")]
    SlotMissing {
        /// Whose.
        account: AccountId,
        /// The slot above the gap.
        slot: u16,
    },
    /// More sessions than an account can have.
    #[error("account {account} has more than {SLOTS_MAX} sessions: remove some")]
    TooManySlots {
        /// Whose.
        account: AccountId,
    },
    /// Sessions of one account that leave by different proxies, or some by one and others directly.
    #[error(
        "account {account} slot {slot} has another proxy than slot 0, or none: give all sessions of an \
         account the same, so that it never shows from two places"
    )]
    OtherProxy {
        /// Whose.
        account: AccountId,
        /// The slot that differs.
        slot: u16,
    },
    /// One authorization key in two sessions.
    #[error(
        "account {account} slot {slot} has the authorization key of account {first} slot \
         {first_slot}: remove one of them, since two connections with one key make Telegram void \
         it (AUTH_KEY_DUPLICATED)"
    )]
    KeyTwice {
        /// Whose the later session is.
        account: AccountId,
        /// Its slot.
        slot: u16,
        /// Whose the earlier session is.
        first: AccountId,
        /// Its slot.
        first_slot: u16,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::AuthKey;

    fn proxied(mut record: SessionRecord) -> SessionRecord {
        record.proxy = Some(Arc::new("socks5://user:pass@proxy.example:1080".parse().unwrap()));
        record
    }

    fn record(account: u64, slot: u16, key: u8) -> SessionRecord {
        SessionRecord {
            account: AccountId::bot(account).unwrap(),
            slot,
            dc: 2,
            address: "127.0.0.1:1".parse().unwrap(),
            user_id: 1,
            is_bot: true,
            key: AuthKey::new([key; 256]),
            group: None,
            proxy: None,
            api_id: None,
            identity: None,
        }
    }

    #[test]
    fn slot_i_is_session_i_in_whatever_order_they_came() {
        let source =
            MemorySource::new([record(1, 1, 2), record(2, 0, 3), record(1, 0, 1)]).unwrap();
        let account = AccountId::bot(1).unwrap();
        assert_eq!(source.profile(account).unwrap().sessions, 2);
        for (slot, key) in [(0, 1), (1, 2)] {
            let session = source.session(account, slot).unwrap();
            assert_eq!((session.slot, &session.key), (slot, &AuthKey::new([key; 256])));
        }
        assert!(source.session(account, 2).is_none());
        assert!(source.profile(AccountId::bot(9).unwrap()).is_none());
    }

    #[test]
    fn groups_and_proxies_come_from_the_sessions() {
        let mut north = proxied(record(1, 0, 1));
        north.group = Some("north".into());
        let source = MemorySource::new([north, record(2, 0, 2)]).unwrap();
        let profile = source.profile(AccountId::bot(1).unwrap()).unwrap();
        assert_eq!(&*profile.group, "north");
        assert_eq!(profile.egress, Egress::Proxy("proxy.example:1080".into()));
        assert_eq!(source.members("north").as_deref(), Some(&[AccountId::bot(1).unwrap()][..]));
        assert_eq!(source.members("default").as_deref(), Some(&[AccountId::bot(2).unwrap()][..]));
        assert_eq!(source.members("south").as_deref(), Some(&[][..]));
    }

    #[test]
    fn records_that_contradict_each_other_are_refused() {
        let account = AccountId::bot(1).unwrap();
        for (records, error) in [
            (vec![record(1, 1, 1)], SourceError::SlotMissing { account, slot: 1 }),
            (vec![record(1, 0, 1), record(1, 2, 2)], SourceError::SlotMissing { account, slot: 2 }),
            (vec![record(1, 0, 1), record(1, 0, 2)], SourceError::SlotTwice { account, slot: 0 }),
            (
                vec![record(1, 0, 1), proxied(record(1, 1, 2))],
                SourceError::OtherProxy { account, slot: 1 },
            ),
            (
                vec![proxied(record(1, 0, 1)), record(1, 1, 2)],
                SourceError::OtherProxy { account, slot: 1 },
            ),
            (
                vec![record(2, 0, 1), record(1, 0, 1)],
                SourceError::KeyTwice {
                    account,
                    slot: 0,
                    first: AccountId::bot(2).unwrap(),
                    first_slot: 0,
                },
            ),
        ] {
            assert_eq!(MemorySource::new(records).unwrap_err(), error);
        }
    }
}
