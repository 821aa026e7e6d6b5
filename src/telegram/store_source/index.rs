//! Index of a store's accounts: what must be known of each without a look at the disk.
//!
//! Owns the names under which accounts are served, which do not change while the process runs, whatever becomes
//! known of them. Has no key in it.

use std::collections::HashMap;
use std::sync::Arc;

use super::lookup::Lookup;
use crate::account_id::AccountId;
use crate::manager::Egress;
use crate::store::{StoreId, StoredAccount};
use crate::telegram::source::{DEFAULT_GROUP, SessionProfile};

/// What is known of an account.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: StoreId,
    name: AccountId,
    /// Places in the lists of labels.
    egress: u32,
    group: u32,
}

/// What has become of an account since the index was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccountChange {
    /// It is new, or has sessions again.
    Added(AccountId),
    /// It has more sessions.
    Grown(AccountId),
    /// Its sessions are to be dialled anew: one was changed or removed.
    Changed(AccountId),
    /// It has no sessions any more.
    Removed(AccountId),
}

/// All accounts that have a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
    /// One more than the last slot of each, beside the entries, where they would take eight times the room.
    slots: Vec<u8>,
    phones: Lookup,
    users: Lookup,
    groups: Vec<Arc<str>>,
    egresses: Vec<Egress>,
    members: HashMap<Arc<str>, Arc<[AccountId]>>,
    /// How many accounts have none.
    pub(super) nameless: usize,
}

impl Index {
    /// Of all accounts of a store.
    pub(super) fn new<'a>(accounts: impl IntoIterator<Item = &'a StoredAccount>) -> Self {
        let mut index = Self::default();
        let (mut phones, mut users) = (Vec::new(), Vec::new());
        let (mut groups, mut egresses) = (HashMap::new(), HashMap::new());
        for account in accounts.into_iter().filter(|account| account.slots > 0) {
            let Some(name) = account.name() else {
                index.nameless += 1;
                continue;
            };
            let place = u32::try_from(index.entries.len()).expect("BUG: over 2^32 accounts");
            let group = place_of(group_of(account), &mut groups, &mut index.groups);
            let egress = place_of(egress_of(account), &mut egresses, &mut index.egresses);
            index.entries.push(Entry { id: account.id, name, egress, group });
            index.slots.push(slots_of(account));
            phones.extend(account.phones.iter().map(|phone| (phone.number(), place)));
            users.extend(user_of(account).map(|user| (user, place)));
        }
        index.entries.shrink_to_fit();
        index.slots.shrink_to_fit();
        (index.phones, index.users) = (Lookup::new(phones), Lookup::new(users));
        index.gather_members();
        index
    }

    /// Takes in what has changed, of which accounts with `redialled_since` or later have to be dialled anew.
    pub(super) fn update(
        &mut self,
        accounts: &[StoredAccount],
        redialled_since: u64,
    ) -> Vec<AccountChange> {
        let places: HashMap<StoreId, usize> = match accounts.len() {
            0 => HashMap::new(),
            _ => self.entries.iter().enumerate().map(|(place, it)| (it.id, place)).collect(),
        };
        let mut changes = Vec::new();
        for account in accounts {
            let known = places.get(&account.id).copied();
            let (slots, place) = match known {
                Some(place) => (self.slots[place], place),
                None if account.slots == 0 => continue,
                None => match self.admit(account) {
                    Some(place) => (0, place),
                    None => continue,
                },
            };
            self.set_labels(account, place);
            self.slots[place] = slots_of(account);
            let name = self.entries[place].name;
            changes.extend(match (slots, self.slots[place]) {
                (0, 0) => None,
                (0, _) => Some(AccountChange::Added(name)),
                (_, 0) => Some(AccountChange::Removed(name)),
                _ if account.redial_revision > redialled_since => {
                    Some(AccountChange::Changed(name))
                }
                (before, now) if before < now => Some(AccountChange::Grown(name)),
                _ => None,
            });
            let place = u32::try_from(place).expect("BUG: over 2^32 accounts");
            for phone in &account.phones {
                self.phones.add(phone.number(), place);
            }
            if let Some(user) = user_of(account) {
                self.users.add(user, place);
            }
        }
        self.gather_members();
        changes
    }

    /// Makes room for an account under a name that nobody has here.
    fn admit(&mut self, account: &StoredAccount) -> Option<usize> {
        let free = |name: &AccountId| self.place(*name).is_none();
        let name = account.name().filter(free).or_else(|| account.names().find(free))?;
        self.entries.push(Entry { id: account.id, name, egress: 0, group: 0 });
        self.slots.push(0);
        Some(self.entries.len() - 1)
    }

    fn set_labels(&mut self, account: &StoredAccount, place: usize) {
        let group = position_or_push(group_of(account), &mut self.groups);
        let egress = position_or_push(egress_of(account), &mut self.egresses);
        (self.entries[place].group, self.entries[place].egress) = (group, egress);
    }

    fn gather_members(&mut self) {
        let mut members: HashMap<Arc<str>, Vec<AccountId>> = HashMap::new();
        for (entry, _) in self.entries.iter().zip(&self.slots).filter(|(_, slots)| **slots > 0) {
            let group = &self.groups[entry.group as usize];
            match members.get_mut(group) {
                Some(members) => members.push(entry.name),
                None => drop(members.insert(Arc::clone(group), vec![entry.name])),
            }
        }
        self.members = members.into_iter().map(|(group, ids)| (group, ids.into())).collect();
    }

    fn place(&self, name: AccountId) -> Option<usize> {
        let lookup = if name.is_phone() { &self.phones } else { &self.users };
        lookup.get(name.number()).map(|place| place as usize)
    }

    fn entry(&self, name: AccountId) -> Option<&Entry> {
        let place = self.place(name).filter(|place| self.slots[*place] > 0)?;
        self.entries.get(place)
    }

    /// What an account is called, by any of its names.
    pub(super) fn canonical(&self, name: AccountId) -> Option<AccountId> {
        Some(self.entry(name)?.name)
    }

    pub(super) fn id(&self, name: AccountId) -> Option<StoreId> {
        Some(self.entry(name)?.id)
    }

    pub(super) fn profile(&self, name: AccountId) -> Option<SessionProfile> {
        let (entry, place) = (self.entry(name)?, self.place(name)?);
        let mut profile = SessionProfile::new(u16::from(self.slots[place]));
        profile.group = Arc::clone(&self.groups[entry.group as usize]);
        profile.egress = self.egresses[entry.egress as usize].clone();
        Some(profile)
    }

    pub(super) fn members(&self, group: &str) -> Arc<[AccountId]> {
        self.members.get(group).cloned().unwrap_or_default()
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &Arc<str>> {
        self.members.keys()
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = AccountId> + '_ {
        let both = self.entries.iter().zip(&self.slots);
        both.filter(|(_, slots)| **slots > 0).map(|(entry, _)| entry.name)
    }
}

fn slots_of(account: &StoredAccount) -> u8 {
    u8::try_from(account.slots).unwrap_or(u8::MAX)
}

fn user_of(account: &StoredAccount) -> Option<u64> {
    account.user_id.and_then(|id| u64::try_from(id).ok())
}

fn group_of(account: &StoredAccount) -> Arc<str> {
    account.group.clone().unwrap_or_else(|| Arc::from(DEFAULT_GROUP))
}

fn egress_of(account: &StoredAccount) -> Egress {
    account.proxy.clone().map_or(Egress::Direct, Egress::Proxy)
}

/// The place of a label in a list, by a map of what is in it.
fn place_of<T: Clone + Eq + std::hash::Hash>(
    label: T,
    known: &mut HashMap<T, u32>,
    list: &mut Vec<T>,
) -> u32 {
    *known.entry(label).or_insert_with_key(|label| push(label.clone(), list))
}

fn position_or_push<T: Eq>(label: T, list: &mut Vec<T>) -> u32 {
    match list.iter().position(|known| *known == label) {
        Some(place) => u32::try_from(place).unwrap_or(u32::MAX),
        None => push(label, list),
    }
}

fn push<T>(label: T, list: &mut Vec<T>) -> u32 {
    list.push(label);
    u32::try_from(list.len() - 1).expect("BUG: over 2^32 labels")
}
