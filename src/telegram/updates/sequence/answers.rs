//! Answers of the server to what a sequence has asked.
//!
//! Owns what the client's record is told of a difference, and in what order. Asks nothing.

use grammers_client::session::updates::{MessageBox, PrematureEndReason, State, UpdateAndPeers};
use grammers_client::tl::enums;

use super::Sequence;
use crate::base::clock::Instant;
use crate::telegram::updates::contents::{
    BoxCounts, contained, count_by_channel, is_complete, others, qts_of, timeout,
};
use crate::telegram::updates::received::MissedUpdates;
use crate::telegram::updates::step::UpdateStep;

impl Sequence {
    pub(in crate::telegram::updates) fn answer_account(
        &mut self,
        mut difference: enums::updates::Difference,
    ) -> UpdateStep {
        let mut came = BoxCounts::new();
        if let Some(updates) = others(&mut difference) {
            self.take_too_long(updates);
            came = count_by_channel(updates);
            // Of the account's own boxes everything comes out.
            came.retain(|(channel, _)| channel.is_some());
        }
        let is_too_long = matches!(difference, enums::updates::Difference::TooLong(_));
        let secondary = self.take_secondary(&mut difference);
        let mut received = self.boxes.apply_difference(difference);
        self.note_withheld(came, &received.0);
        received.0.extend(secondary);
        if !is_too_long {
            self.too_long = 0;
            return self.step(received, None);
        }
        self.too_long += 1;
        // From the state that it names on the server tells again. A server that has nothing else to say is asked
        // at the next occasion.
        if self.too_long == 1 {
            self.resync();
        }
        self.untold.push(MissedUpdates::Account);
        self.step(received, None)
    }

    /// `None`: the answer makes no sense, and the channel is asked for at `later`.
    pub(in crate::telegram::updates) fn answer_channel(
        &mut self,
        mut difference: enums::updates::ChannelDifference,
        later: Instant,
    ) -> Option<UpdateStep> {
        let channel = self.asked_channel()?;
        if !is_complete(&difference) {
            self.put_off_channel(later);
            return None;
        }
        // After so long it asks a client that shows the channel to ask again, and the record would.
        *timeout(&mut difference) = None;
        let is_too_long = matches!(difference, enums::updates::ChannelDifference::TooLong(_));
        let mut beside = match &mut difference {
            enums::updates::ChannelDifference::Difference(difference) => {
                std::mem::take(&mut difference.other_updates)
            }
            _ => Vec::new(),
        };
        self.take_too_long(&mut beside);
        // As long as the channel is asked for, whatever is told of it is taken.
        let beside = match beside.is_empty() {
            true => Vec::new(),
            false => self.boxes.process_updates(contained(beside)).unwrap_or_default().0,
        };
        let (mut updates, users, chats) = self.boxes.apply_channel_difference(difference);
        // There may be more of it: others have their turn before.
        self.queue_channels();
        updates.extend(beside);
        if is_too_long {
            self.untold.push(MissedUpdates::Channel(channel));
        }
        Some(self.step((updates, users, chats), Some(channel)))
    }

    /// The channel that was asked for is not shown any more.
    pub(in crate::telegram::updates) fn give_up_channel(&mut self) -> UpdateStep {
        let channel = self.asked_channel();
        if let Some(channel) = channel {
            self.boxes.end_channel_difference(PrematureEndReason::Banned);
            self.met.remove(&channel);
            self.untold.push(MissedUpdates::Channel(channel));
        }
        let mut step = self.step(UpdateAndPeers::default(), None);
        step.states.gone_channels.extend(channel);
        step
    }

    /// The channel that was asked for is asked for later.
    pub(in crate::telegram::updates) fn put_off_channel(&mut self, until: Instant) {
        if let Some(channel) = self.asked_channel() {
            self.boxes.end_channel_difference(PrematureEndReason::TemporaryServerIssues);
            self.channels.push_later(channel, until);
        }
    }

    /// The server wants a pause before it is asked for a channel again.
    pub(in crate::telegram::updates) fn rest_channels(&mut self, until: Instant) {
        self.put_off_channel(until);
        self.channels.rest(until);
    }

    /// Takes the updates of the secondary box out of a difference, as far as they are new: the client's record takes
    /// them for old, since it takes in first how far the difference goes.
    fn take_secondary(
        &self,
        difference: &mut enums::updates::Difference,
    ) -> Vec<(enums::Update, State)> {
        let Some(updates) = others(difference) else { return Vec::new() };
        let secondary: Vec<_> = updates.extract_if(.., |it| qts_of(it).is_some()).collect();
        if secondary.is_empty() {
            return Vec::new();
        }
        let own = self.boxes.session_state();
        let state = |qts| State {
            date: own.date,
            seq: own.seq,
            message_box: Some(MessageBox::Secondary { qts }),
        };
        let new = secondary.into_iter().filter_map(|update| {
            // Without a number it has no place, and is as new as any.
            let qts = qts_of(&update).filter(|qts| *qts > own.qts || *qts == 0)?;
            Some((update, state(qts)))
        });
        new.collect()
    }
}
