//! Senders of a broadcast: the chats that wait, by the account that writes to them.
//!
//! Owns whose turn it is and who rests, and that no more wait than there is room for. Never sends, waits or reads
//! a clock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::target::BroadcastTarget;
use crate::account_id::AccountId;
use crate::base::clock::Instant;
use crate::telegram::InvokeError;

/// A chat that waits.
#[derive(Debug)]
pub(super) struct WaitingChat {
    pub(super) target: BroadcastTarget,
    /// Its number in the broadcast.
    pub(super) number: i64,
    /// How often it was tried in vain.
    pub(super) tries: u32,
}

#[derive(Debug, Default)]
struct Sender {
    waiting: VecDeque<WaitingChat>,
    in_flight: usize,
    rests_until: Option<Instant>,
    /// Why the account sends nothing any more.
    ended: Option<Arc<InvokeError>>,
    /// It stands among those that take turns.
    is_ready: bool,
}

/// The senders of all accounts.
#[derive(Debug)]
pub(super) struct Senders {
    senders: HashMap<AccountId, Sender>,
    ready: VecDeque<AccountId>,
    /// Accounts that rest, by when they have.
    resting: BTreeMap<(Instant, AccountId), ()>,
    /// Chats that are tried again later, by when, with a number that tells them apart.
    later: BTreeMap<(Instant, u64), (AccountId, WaitingChat)>,
    next_later: u64,
    /// How many chats wait, those for later among them.
    waiting: usize,
    in_flight_max: usize,
}

impl Senders {
    /// With so many calls of an account under way at most.
    pub(super) fn new(in_flight_max: usize) -> Self {
        Self {
            senders: HashMap::new(),
            ready: VecDeque::new(),
            resting: BTreeMap::new(),
            later: BTreeMap::new(),
            next_later: 0,
            waiting: 0,
            in_flight_max,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Why an account sends nothing any more.
    pub(super) fn ended(&self, account: AccountId) -> Option<&Arc<InvokeError>> {
        self.senders.get(&account)?.ended.as_ref()
    }

    /// A chat waits for its account.
    pub(super) fn push(&mut self, account: AccountId, chat: WaitingChat) {
        self.senders.entry(account).or_default().waiting.push_back(chat);
        self.waiting += 1;
        self.settle(account);
    }

    /// A chat waits again, before all others of its account.
    pub(super) fn push_first(&mut self, account: AccountId, chat: WaitingChat) {
        self.senders.entry(account).or_default().waiting.push_front(chat);
        self.waiting += 1;
        self.settle(account);
    }

    /// A chat is tried again at some time.
    pub(super) fn push_later(&mut self, account: AccountId, chat: WaitingChat, at: Instant) {
        self.later.insert((at, self.next_later), (account, chat));
        self.next_later += 1;
        self.waiting += 1;
    }

    /// The next call to make. It is under way until [`end_call`](Self::end_call).
    pub(super) fn begin_call(&mut self) -> Option<(AccountId, WaitingChat)> {
        // Each turn returns or takes an account out.
        loop {
            let account = self.ready.pop_front()?;
            let Some(sender) = self.senders.get_mut(&account) else { continue };
            sender.is_ready = false;
            if sender.rests_until.is_some() || sender.in_flight >= self.in_flight_max {
                continue;
            }
            let Some(chat) = sender.waiting.pop_front() else { continue };
            sender.in_flight += 1;
            self.waiting -= 1;
            self.settle(account);
            return Some((account, chat));
        }
    }

    pub(super) fn end_call(&mut self, account: AccountId) {
        if let Some(sender) = self.senders.get_mut(&account) {
            sender.in_flight -= 1;
        }
        self.settle(account);
    }

    /// An account makes no call until then.
    pub(super) fn rest(&mut self, account: AccountId, until: Instant) {
        let sender = self.senders.entry(account).or_default();
        let before = sender.rests_until.replace(until);
        if let Some(before) = before {
            self.resting.remove(&(before, account));
            // Of two the longer.
            sender.rests_until = Some(before.max(until));
        }
        self.resting.insert((sender.rests_until.unwrap_or(until), account), ());
    }

    /// An account makes no call any more. Returns what waits for it.
    pub(super) fn end(
        &mut self,
        account: AccountId,
        reason: &Arc<InvokeError>,
    ) -> Vec<WaitingChat> {
        let sender = self.senders.entry(account).or_default();
        sender.ended = Some(Arc::clone(reason));
        let mut left: Vec<_> = sender.waiting.drain(..).collect();
        if let Some(until) = sender.rests_until.take() {
            self.resting.remove(&(until, account));
        }
        let later = self.later.iter().filter(|(_, (whose, _))| *whose == account);
        let later: Vec<_> = later.map(|(key, _)| *key).collect();
        left.extend(later.iter().filter_map(|key| Some(self.later.remove(key)?.1)));
        self.waiting -= left.len();
        left
    }

    /// How many of those that wait are for accounts that rest.
    pub(super) fn waiting_at_rest(&self) -> usize {
        let senders = self.resting.keys().filter_map(|(_, account)| self.senders.get(account));
        senders.map(|sender| sender.waiting.len()).sum()
    }

    /// A chat of an account that rests, the last one to have come: whoever can be sent to needs its place.
    pub(super) fn make_room(&mut self) -> Option<(AccountId, WaitingChat)> {
        let (account, chat) = self.resting.keys().rev().find_map(|(_, account)| {
            let chat = self.senders.get_mut(account)?.waiting.pop_back()?;
            Some((*account, chat))
        })?;
        self.waiting -= 1;
        Some((account, chat))
    }

    /// Has those take turns again whose time has come.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some((&(at, account), ())) = self.resting.first_key_value()
            && at <= now
        {
            self.resting.pop_first();
            if let Some(sender) = self.senders.get_mut(&account) {
                sender.rests_until = None;
            }
            self.settle(account);
        }
        while let Some((&(at, _), _)) = self.later.first_key_value()
            && at <= now
        {
            if let Some((_, (account, chat))) = self.later.pop_first() {
                self.waiting -= 1;
                self.push_first(account, chat);
            }
        }
    }

    /// When somebody's time comes.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let resting = self.resting.keys().next().map(|(at, _)| *at);
        let later = self.later.keys().next().map(|(at, _)| *at);
        match (resting, later) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Puts an account among those that take turns, if it has something to send and may.
    fn settle(&mut self, account: AccountId) {
        let Some(sender) = self.senders.get_mut(&account) else { return };
        let may_send = sender.rests_until.is_none() && sender.in_flight < self.in_flight_max;
        if may_send && !sender.is_ready && !sender.waiting.is_empty() {
            sender.is_ready = true;
            self.ready.push_back(account);
        }
    }
}

#[cfg(test)]
mod tests;
