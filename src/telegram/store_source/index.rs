//! Index of a store's accounts: what must be known of each without a look at the disk.
//!
//! Owns the names under which accounts are served, which do not change while the process runs, whatever becomes
//! known of them. Has no key in it.

use std::collections::{HashMap, HashSet};
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

    /// Takes in what has changed, of which accounts that were changed later than `redialled_since`, or whose
    /// quarantines were, have to be dialled anew.
    pub(super) fn update(
        &mut self,
        accounts: &[StoredAccount],
        redialled_since: u64,
        requarantined: &HashSet<StoreId>,
    ) -> Vec<AccountChange> {
        let places: HashMap<StoreId, usize> = match accounts.len() {
            0 => HashMap::new(),
            _ => self.entries.iter().enumerate().map(|(place, it)| (it.id, place)).collect(),
        };
        let mut changes = Vec::new();
        let (mut phones, mut users, mut taken) = (Vec::new(), Vec::new(), HashSet::new());
        let (mut groups, mut egresses) = (places_of(&self.groups), places_of(&self.egresses));
        for account in accounts {
            let known = places.get(&account.id).copied();
            let (slots, place) = match known {
                Some(place) => (self.slots[place], place),
                None if account.slots == 0 => continue,
                None => match self.admit(account, &mut taken) {
                    Some(place) => (0, place),
                    None => continue,
                },
            };
            let entry = &mut self.entries[place];
            entry.group = place_of(group_of(account), &mut groups, &mut self.groups);
            entry.egress = place_of(egress_of(account), &mut egresses, &mut self.egresses);
            self.slots[place] = slots_of(account);
            let name = self.entries[place].name;
            changes.extend(match (slots, self.slots[place]) {
                (0, 0) => None,
                (0, _) => Some(AccountChange::Added(name)),
                (_, 0) => Some(AccountChange::Removed(name)),
                _ if account.redial_revision > redialled_since
                    || requarantined.contains(&account.id) =>
                {
                    Some(AccountChange::Changed(name))
                }
                (before, now) if before < now => Some(AccountChange::Grown(name)),
                _ => None,
            });
            let place = u32::try_from(place).expect("BUG: over 2^32 accounts");
            phones.extend(account.phones.iter().map(|phone| (phone.number(), place)));
            users.extend(user_of(account).map(|user| (user, place)));
        }
        self.phones.extend(phones);
        self.users.extend(users);
        self.gather_members();
        changes
    }

    /// Makes room for an account under a name that nobody has here.
    fn admit(&mut self, account: &StoredAccount, taken: &mut HashSet<AccountId>) -> Option<usize> {
        let free = |name: &AccountId| self.place(*name).is_none() && !taken.contains(name);
        let name = account.name().filter(free).or_else(|| account.names().find(free))?;
        taken.insert(name);
        self.entries.push(Entry { id: account.id, name, egress: 0, group: 0 });
        self.slots.push(0);
        Some(self.entries.len() - 1)
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

    /// The place of an account that has sessions.
    fn served(&self, name: AccountId) -> Option<usize> {
        self.place(name).filter(|place| self.slots[*place] > 0)
    }

    fn place(&self, name: AccountId) -> Option<usize> {
        let lookup = if name.is_phone() { &self.phones } else { &self.users };
        lookup.get(name.number()).map(|place| place as usize)
    }

    /// What an account is called, by any of its names.
    pub(super) fn canonical(&self, name: AccountId) -> Option<AccountId> {
        Some(self.entries[self.served(name)?].name)
    }

    pub(super) fn id(&self, name: AccountId) -> Option<StoreId> {
        Some(self.entries[self.served(name)?].id)
    }

    pub(super) fn profile(&self, name: AccountId) -> Option<SessionProfile> {
        let place = self.served(name)?;
        let entry = &self.entries[place];
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

/// The places of labels by themselves.
fn places_of<T: Clone + Eq + std::hash::Hash>(list: &[T]) -> HashMap<T, u32> {
    (0..).zip(list).map(|(place, label)| (label.clone(), place)).collect()
}

fn push<T>(label: T, list: &mut Vec<T>) -> u32 {
    list.push(label);
    u32::try_from(list.len() - 1).expect("BUG: over 2^32 labels")
}
