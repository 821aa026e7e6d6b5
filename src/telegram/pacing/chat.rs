//! A chat in the send queue: what was sent there lately, and who waits to send there.
//!
//! Owns when the chat may be sent to by its own limits. Knows nothing of other chats.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::settings::SendPacing;
use super::target::SendChat;
use super::turn::Turn;
use super::window::{SendRoom, SendWindow};
use crate::base::clock::Instant;

/// A place in the queue.
pub(super) type SendTicket = u64;

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct SendWaiter {
    pub(super) ticket: SendTicket,
    pub(super) messages: u32,
    pub(super) turn: oneshot::Sender<Turn>,
}

/// Where a chat stands that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChatPlace {
    /// Nowhere: nobody waits, or what was let go must be sent first.
    Aside,
    /// Among those that take turns.
    Ready,
    /// Among those that must wait until then.
    Later(Instant),
}

#[derive(Debug)]
pub(super) struct ChatState {
    /// Of the chat, and of groups.
    pub(super) windows: [Option<SendWindow>; 2],
    pub(super) waiters: VecDeque<SendWaiter>,
    /// For how many messages these wait.
    pub(super) messages_waiting: u64,
    pub(super) place: ChatPlace,
}

impl ChatState {
    pub(super) fn new(pacing: &SendPacing, chat: SendChat) -> Self {
        let group = pacing.group.filter(|_| chat.is_group());
        let window = |limit| SendWindow::new(limit);
        let windows = [pacing.chat.map(window), group.map(window)];
        Self { windows, waiters: VecDeque::new(), messages_waiting: 0, place: ChatPlace::Aside }
    }

    pub(super) fn room(&mut self, messages: u32, now: Instant) -> SendRoom {
        let windows = self.windows.iter_mut().flatten();
        windows.fold(SendRoom::Now, |room, window| {
            window.forget_until(now);
            room.and(window.room(messages))
        })
    }

    /// Whether nothing here matters any more.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        let windows = self.windows.iter_mut().flatten();
        self.waiters.is_empty()
            && windows.fold(true, |all, window| {
                window.forget_until(now);
                all && window.is_empty()
            })
    }
}
