//! Messages of the server that the client has not acknowledged yet.
//!
//! Owns what can be sent again, within its limits: beyond them the oldest are forgotten, as if they had been
//! acknowledged. Never sends one.

use std::collections::VecDeque;

use crate::sandbox::envelope::OutgoingMessage;

/// How many messages of a session are kept, and how many bytes of them unless a single one has more.
const KEPT_MAX: usize = 256;
const KEPT_LEN_MAX: usize = 256 * 1024;

/// A message of the server that may be lost.
#[derive(Debug)]
pub(super) struct KeptMessage {
    /// The call that it answers; `None` for what nobody has asked for.
    pub(super) to: Option<i64>,
    pub(super) message: OutgoingMessage,
}

/// What has left and is not acknowledged, the oldest first.
#[derive(Debug, Default)]
pub(super) struct KeptMessages {
    messages: VecDeque<KeptMessage>,
    len: usize,
}

impl KeptMessages {
    pub(super) fn keep(&mut self, to: Option<i64>, message: OutgoingMessage) {
        self.len += message.body.len();
        self.messages.push_back(KeptMessage { to, message });
        while self.messages.len() > KEPT_MAX || (self.len > KEPT_LEN_MAX && self.messages.len() > 1)
        {
            let Some(oldest) = self.messages.pop_front() else { return };
            self.len -= oldest.message.body.len();
        }
    }

    /// Forgets a message that the client has, or does not want.
    pub(super) fn remove(&mut self, id: i64) -> Option<KeptMessage> {
        // Nearly always the first one.
        let place = self.messages.iter().position(|it| it.message.id == id)?;
        let removed = self.messages.remove(place)?;
        self.len -= removed.message.body.len();
        Some(removed)
    }

    pub(super) fn find(&self, id: i64) -> Option<&KeptMessage> {
        self.messages.iter().find(|it| it.message.id == id)
    }

    /// The answer to a call.
    pub(super) fn answer_to(&self, call: i64) -> Option<&KeptMessage> {
        self.messages.iter().rev().find(|it| it.to == Some(call))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &KeptMessage> {
        self.messages.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: i64, len: usize) -> OutgoingMessage {
        OutgoingMessage { id, sequence: 1, body: vec![0; len] }
    }

    fn ids(kept: &KeptMessages) -> Vec<i64> {
        kept.iter().map(|it| it.message.id).collect()
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many_or_too_long_ones() {
        let mut kept = KeptMessages::default();
        let most = i64::try_from(KEPT_MAX).unwrap();
        (1..=most + 5).for_each(|id| kept.keep(Some(id), message(id, 4)));
        assert_eq!((ids(&kept).len(), ids(&kept)[0]), (KEPT_MAX, 6));
        kept.keep(None, message(1000, KEPT_LEN_MAX));
        assert_eq!(ids(&kept), [1000], "the longest alone");
        kept.keep(None, message(1001, KEPT_LEN_MAX * 2));
        kept.keep(None, message(1002, 4));
        assert_eq!((ids(&kept), kept.len), (vec![1002], 4));
    }

    #[test]
    fn a_message_is_found_by_its_id_or_by_what_it_answers_until_it_is_removed() {
        let mut kept = KeptMessages::default();
        kept.keep(Some(70), message(1, 8));
        kept.keep(None, message(2, 4));
        assert_eq!(kept.answer_to(70).unwrap().message.id, 1);
        assert_eq!(kept.find(2).unwrap().to, None);
        assert_eq!(kept.remove(1).unwrap().to, Some(70));
        assert!(kept.remove(1).is_none() && kept.answer_to(70).is_none());
        assert_eq!(kept.len, 4);
    }
}
