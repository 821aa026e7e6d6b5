//! Send queue of one account: who waits to send, and who is next.
//!
//! Owns the order: within a chat first come, first served; among chats that may be sent to, turns. A chat that
//! must wait holds up no other. Never waits, spawns or reads a clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;

use super::chat::{ChatPlace, ChatState, SendTicket, SendWaiter};
use super::settings::SendPacing;
use super::target::{SendChat, SendTarget};
use super::turn::Turn;
use super::window::{SendRoom, SendWindow};
use crate::base::clock::Instant;

/// A turn that was given, to be handed over once the queue is no longer locked.
pub(super) type Given = (SendTarget, oneshot::Sender<Turn>);

/// The queue of an account.
#[derive(Debug)]
pub(super) struct SendQueue {
    /// With the margin in each limit.
    pacing: SendPacing,
    account: Option<SendWindow>,
    /// When the account's next message is due, so that they come evenly.
    due: Option<Instant>,
    chats: HashMap<SendChat, ChatState>,
    /// Chats that take turns; one without waiters is passed over.
    ready: VecDeque<SendChat>,
    /// How many of these have waiters.
    ready_waited_for: u64,
    /// Chats by when they may be sent to; one whose place is another by now is passed over.
    later: BinaryHeap<Reverse<(Instant, SendChat)>>,
    /// Which chats may be forgotten when.
    used: BinaryHeap<Reverse<(Instant, SendChat)>>,
    waiting: usize,
    next_ticket: SendTicket,
}

impl SendQueue {
    pub(super) fn new(mut pacing: SendPacing) -> Self {
        for limit in [&mut pacing.account, &mut pacing.chat, &mut pacing.group] {
            *limit = limit.map(|limit| limit.stretched_by(pacing.margin));
        }
        Self {
            account: pacing.account.map(SendWindow::new),
            pacing,
            due: None,
            chats: HashMap::new(),
            ready: VecDeque::new(),
            ready_waited_for: 0,
            later: BinaryHeap::new(),
            used: BinaryHeap::new(),
            waiting: 0,
            next_ticket: 0,
        }
    }

    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting > 0
    }

    /// Whether nothing here matters any more.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        self.forget_until(now);
        let quiet = self.account.as_ref().is_none_or(SendWindow::is_empty);
        quiet && self.waiting == 0 && self.chats.is_empty()
    }

    /// How many chats are remembered.
    #[cfg(test)]
    pub(super) fn chats(&self) -> usize {
        self.chats.len()
    }

    fn chat(&mut self, chat: SendChat) -> &mut ChatState {
        let pacing = &self.pacing;
        self.chats.entry(chat).or_insert_with(|| ChatState::new(pacing, chat))
    }

    /// Forgets chats that were not sent to lately, and nobody waits for.
    fn forget_until(&mut self, now: Instant) {
        if let Some(window) = &mut self.account {
            window.forget_until(now);
        }
        while let Some(Reverse((until, chat))) = self.used.peek().copied()
            && until <= now
        {
            self.used.pop();
            self.forget_if_over(chat, now);
        }
    }

    fn forget_if_over(&mut self, chat: SendChat, now: Instant) {
        let state = self.chats.get_mut(&chat);
        if state.is_some_and(|state| state.place == ChatPlace::Aside && state.is_over(now)) {
            self.chats.remove(&chat);
        }
    }

    /// When the account may send so many messages, in whatever chat. Behind on what is due it may be by one
    /// message: a timer comes late at times, and what it costs would be lost for good.
    fn account_room(&self, messages: u32, now: Instant) -> SendRoom {
        let Some(window) = &self.account else { return SendRoom::Now };
        let evenly = match self.due {
            Some(due) if due > now => SendRoom::At(due),
            _ => SendRoom::Now,
        };
        evenly.and(window.room(messages))
    }

    /// Lets a call go: from here on it counts.
    fn let_go(&mut self, target: SendTarget, now: Instant) {
        if let Some(window) = &mut self.account {
            window.hold(target.messages);
            let spacing = window.limit().spacing();
            let earliest = now.checked_sub(spacing).unwrap_or(now);
            let due = self.due.unwrap_or(now).max(earliest);
            self.due = Some(due + spacing * target.messages);
        }
        let windows = &mut self.chat(target.chat).windows;
        windows.iter_mut().flatten().for_each(|window| window.hold(target.messages));
    }

    /// A call that was let go is sent now.
    pub(super) fn sent(&mut self, target: SendTarget, now: Instant) {
        if let Some(window) = &mut self.account {
            window.send(target.messages, now);
        }
        let windows = self.chat(target.chat).windows.iter_mut().flatten();
        let until = windows.map(|window| window.send(target.messages, now)).max();
        self.used.push(Reverse((until.unwrap_or(now), target.chat)));
        self.settle(target.chat, now);
    }

    /// A call that was let go is not sent after all.
    pub(super) fn give_back(&mut self, target: SendTarget, now: Instant) {
        if let Some(window) = &mut self.account {
            window.give_back(target.messages);
            let spared = window.limit().spacing() * target.messages;
            self.due = self.due.map(|due| due.checked_sub(spared).unwrap_or(due));
        }
        let windows = self.chat(target.chat).windows.iter_mut().flatten();
        windows.for_each(|window| window.give_back(target.messages));
        self.settle(target.chat, now);
        self.forget_if_over(target.chat, now);
    }

    /// Lets a call go at once, or says how long it has to wait at the least.
    pub(super) fn try_take(&mut self, target: SendTarget, now: Instant) -> Result<(), Duration> {
        self.forget_until(now);
        self.advance_chats(now);
        let is_first = self.ready_waited_for == 0;
        let state = self.chat(target.chat);
        let room = match state.waiters.is_empty() {
            true => state.room(target.messages, now),
            false => SendRoom::AfterSends,
        };
        if is_first && room.and(self.account_room(target.messages, now)) == SendRoom::Now {
            self.let_go(target, now);
            return Ok(());
        }
        let wait = self.least_wait(target, now);
        // Whoever asks again after no time at all would ask for ever.
        Err(wait.max(Duration::from_millis(1)))
    }

    /// How long a call waits at the least that comes now. Longer, if others come before its turn.
    pub(super) fn least_wait(&mut self, target: SendTarget, now: Instant) -> Duration {
        self.forget_until(now);
        let ready = self.ready_waited_for;
        let state = self.chat(target.chat);
        let messages_ahead = state.messages_waiting;
        let own_ready = u64::from(state.place == ChatPlace::Ready && !state.waiters.is_empty());
        let calls_ahead = ready + (state.waiters.len() as u64).saturating_sub(own_ready);
        let mut earliest = now;
        for window in state.windows.iter_mut().flatten() {
            window.forget_until(now);
            let behind = window.earliest_behind(messages_ahead, target.messages, now);
            earliest = earliest.max(behind);
        }
        if let Some(window) = &self.account {
            earliest = earliest.max(window.earliest_behind(calls_ahead, target.messages, now));
            let spacing = window.limit().spacing();
            let calls = u32::try_from(calls_ahead).unwrap_or(u32::MAX);
            let due = self.due.unwrap_or(now).max(now);
            let turns = spacing.checked_mul(calls).and_then(|turns| due.checked_add(turns));
            earliest = earliest.max(turns.unwrap_or(due));
        }
        self.forget_if_over(target.chat, now);
        earliest.saturating_duration_since(now)
    }

    /// Joins the queue.
    pub(super) fn join(
        &mut self,
        target: SendTarget,
        turn: oneshot::Sender<Turn>,
        now: Instant,
    ) -> SendTicket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += 1;
        let state = self.chat(target.chat);
        state.messages_waiting += u64::from(target.messages);
        state.waiters.push_back(SendWaiter { ticket, messages: target.messages, turn });
        let is_only = state.waiters.len() == 1;
        match state.place {
            ChatPlace::Ready if is_only => self.ready_waited_for += 1,
            ChatPlace::Aside => self.settle(target.chat, now),
            _ => {}
        }
        ticket
    }

    /// Leaves the queue, if that ticket still waits.
    pub(super) fn leave(&mut self, chat: SendChat, ticket: SendTicket, now: Instant) {
        let Some(state) = self.chats.get_mut(&chat) else { return };
        // They stand in the order of their tickets.
        let Ok(at) = state.waiters.binary_search_by_key(&ticket, |waiter| waiter.ticket) else {
            return;
        };
        let left = state.waiters.remove(at).map_or(0, |waiter| waiter.messages);
        state.messages_waiting -= u64::from(left);
        self.waiting -= 1;
        if at > 0 {
            return;
        }
        match (state.place, state.waiters.is_empty()) {
            (ChatPlace::Ready, true) => self.ready_waited_for -= 1,
            // The next one may be smaller, and go earlier.
            (ChatPlace::Later(_) | ChatPlace::Aside, false) => {
                state.place = ChatPlace::Aside;
                self.settle(chat, now);
            }
            (ChatPlace::Later(_), true) => {
                state.place = ChatPlace::Aside;
                self.forget_if_over(chat, now);
            }
            _ => {}
        }
    }

    /// Puts a chat that stands aside to where its first waiter belongs.
    fn settle(&mut self, chat: SendChat, now: Instant) {
        let Some(state) = self.chats.get_mut(&chat) else { return };
        if state.place != ChatPlace::Aside {
            return;
        }
        let Some(messages) = state.waiters.front().map(|waiter| waiter.messages) else { return };
        match state.room(messages, now) {
            SendRoom::Now => {
                state.place = ChatPlace::Ready;
                self.ready.push_back(chat);
                self.ready_waited_for += 1;
            }
            SendRoom::At(at) => {
                state.place = ChatPlace::Later(at);
                self.later.push(Reverse((at, chat)));
            }
            SendRoom::AfterSends => {}
        }
    }

    /// Lets those chats take turns whose time has come.
    fn advance_chats(&mut self, now: Instant) {
        while let Some(Reverse((at, chat))) = self.later.peek().copied()
            && at <= now
        {
            self.later.pop();
            let Some(state) = self.chats.get_mut(&chat) else { continue };
            if state.place == ChatPlace::Later(at) {
                state.place = ChatPlace::Aside;
                self.settle(chat, now);
            }
        }
    }

    /// Lets go whoever may go now. Returns whom, and when to look again; with no time, when somebody comes
    /// or what was let go is sent.
    pub(super) fn advance(&mut self, now: Instant) -> (Vec<Given>, Option<Instant>) {
        self.forget_until(now);
        self.advance_chats(now);
        let mut given = Vec::new();
        let mut look_again = None;
        // Each turn takes a waiter, or a chat out of the ring.
        while let Some(chat) = self.ready.front().copied() {
            let state = self.chats.get_mut(&chat);
            let Some((state, messages)) = state.and_then(|state| {
                let messages = state.waiters.front()?.messages;
                Some((state, messages))
            }) else {
                self.ready.pop_front();
                if let Some(state) = self.chats.get_mut(&chat) {
                    state.place = ChatPlace::Aside;
                    self.forget_if_over(chat, now);
                }
                continue;
            };
            let room = state.room(messages, now);
            if room == SendRoom::Now {
                match self.account_room(messages, now) {
                    SendRoom::Now => {}
                    SendRoom::At(at) => {
                        look_again = Some(at);
                        break;
                    }
                    SendRoom::AfterSends => break,
                }
                given.extend(self.give(SendTarget { chat, messages }, now));
            }
            self.ready.pop_front();
            self.ready_waited_for -= 1;
            self.chat(chat).place = ChatPlace::Aside;
            self.settle(chat, now);
        }
        let later = self.later.peek().map(|Reverse((at, _))| *at);
        let next = match (look_again, later) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        (given, next)
    }

    /// Lets the first waiter of a chat go, unless it has left.
    fn give(&mut self, target: SendTarget, now: Instant) -> Option<Given> {
        let state = self.chat(target.chat);
        let waiter = state.waiters.pop_front()?;
        state.messages_waiting -= u64::from(waiter.messages);
        self.waiting -= 1;
        if waiter.turn.is_closed() {
            return None;
        }
        self.let_go(target, now);
        Some((target, waiter.turn))
    }

    /// Sends everybody away: nobody is there any more who would give turns.
    pub(super) fn dismiss(&mut self) {
        for state in self.chats.values_mut() {
            state.waiters.clear();
            state.messages_waiting = 0;
            state.place = ChatPlace::Aside;
        }
        self.ready.clear();
        self.later.clear();
        (self.ready_waited_for, self.waiting) = (0, 0);
    }
}

#[cfg(test)]
mod tests;
