//! Sequence of an account's updates: what comes next, what came before, and what has to be asked for.
//!
//! Owns the client's record of the boxes (`pts`, `qts`, `seq`) and the hashes by which channels are asked. Does no
//! I/O: it tells what to ask, and is told the answer.
//!
//! # What the client's record leaves to do here
//! Of what a difference of a channel tells beside new messages (edits, deletions) it drops everything that is not
//! newer than the difference itself, so that this is taken in before it. New messages come before whatever a
//! difference tells of them. After a difference that is too long it asks no further. Of a channel of which it is
//! told how far it is now it takes that for known, and would not ask for what is before. The time after which it asks
//! for what is missing before a gap it may forget when gaps follow on one another.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grammers_client::session::types::{ChannelState as BoxState, UpdatesState};
use grammers_client::session::updates::{
    MessageBox, MessageBoxes, PrematureEndReason, State, UpdateAndPeers, UpdatesLike,
};
use grammers_client::tl::{enums, functions, types};

use super::contents::{
    channel_of, contained, contents, count_of, is_complete, is_of_difference, others, qts_of,
};
use super::received::{MissedUpdates, UpdateContent, UpdatePeers, channel_hash};
use crate::base::clock::now;
use crate::session::{ChannelState, UpdateState, UpdateStates};

/// How many updates of a channel are asked for at once: as many as Telegram gives an ordinary user.
const CHANNEL_LIMIT: i32 = 100;

/// The longest that updates stay behind a gap before it is asked for; the client's record asks after half of it.
const GAP_MAX: Duration = Duration::from_secs(1);

/// The sequence of one account.
pub(super) struct Sequence {
    boxes: MessageBoxes,
    /// By the bare ids of channels.
    access_hashes: HashMap<i64, i64>,
    /// Bots may ask for a channel without its hash.
    is_bot: bool,
    /// Differences that were too long, one after the other.
    too_long: u32,
    /// How many updates have come and did not come out: those behind a gap, and old ones.
    withheld: usize,
    /// When it is time to ask for what is before them.
    look_at: Option<Instant>,
}

/// What has come of something.
pub(super) struct UpdateStep {
    /// For the application, in order.
    pub(super) updates: Vec<UpdateContent>,
    pub(super) peers: Arc<UpdatePeers>,
    /// How far the account is once these are taken.
    pub(super) states: UpdateStates,
}

/// What has to be asked.
#[derive(Debug)]
pub(super) enum Question {
    Account(functions::updates::GetDifference),
    Channel(functions::updates::GetChannelDifference),
}

impl Sequence {
    /// Goes on from where the application has got.
    pub(super) fn load(states: &UpdateStates, is_bot: bool) -> Self {
        let account = states.account.unwrap_or_default();
        let channel = |it: &ChannelState| BoxState { id: it.channel, pts: it.pts };
        let boxes = match states.account {
            // What is known of channels alone says nothing of when: it begins anew.
            None => MessageBoxes::new(),
            Some(_) => MessageBoxes::load(UpdatesState {
                // Without a number of its own the account would not be asked for.
                pts: account.pts.max(1),
                qts: account.qts,
                date: account.date,
                seq: account.seq,
                channels: states.channels.iter().map(channel).collect(),
            }),
        };
        let access_hashes = states.access_hashes.iter().copied().collect();
        Self { boxes, access_hashes, is_bot, too_long: 0, withheld: 0, look_at: None }
    }

    /// Whether it is not known from where on updates are wanted.
    pub(super) fn is_new(&self) -> bool {
        self.boxes.is_empty()
    }

    /// Everything from this state on is wanted.
    pub(super) fn begin(&mut self, state: types::updates::State) -> UpdateStep {
        self.boxes.set_state(state);
        self.step((Vec::new(), Vec::new(), Vec::new()), &[])
    }

    /// The server does not tell what was missed: everything from this state on is wanted.
    pub(super) fn begin_again(&mut self, state: types::updates::State) -> UpdateStep {
        let channels = self.boxes.session_state().channels;
        let (pts, qts, date, seq) = (state.pts, state.qts, state.date, state.seq);
        self.boxes = MessageBoxes::load(UpdatesState { pts, qts, date, seq, channels });
        let missed = [UpdateContent::Missed(MissedUpdates::Account)];
        self.step((Vec::new(), Vec::new(), Vec::new()), &missed)
    }

    /// How far the box of secret chats and bots is.
    pub(super) fn qts(&self) -> i32 {
        self.boxes.session_state().qts
    }

    /// The box of secret chats and bots is another one: it belongs to the session, and this one is so far.
    pub(super) fn move_to(&mut self, qts: i32) {
        self.boxes = MessageBoxes::load(UpdatesState { qts, ..self.boxes.session_state() });
    }

    /// Something may be missing of the account, and of the channels that the server then names.
    pub(super) fn resync(&mut self) {
        // Told by the end of a connection, it answers that there is a gap.
        self.boxes.process_updates(UpdatesLike::ConnectionClosed).ok();
        (self.withheld, self.look_at) = (0, None);
    }

    /// Something may be missing of anything.
    pub(super) fn resync_all(&mut self) {
        self.boxes = MessageBoxes::load(self.boxes.session_state());
    }

    /// Takes in what has come unasked. `None`: there is a gap before it, which is asked for.
    pub(super) fn receive(&mut self, mut updates: UpdatesLike) -> Option<UpdateStep> {
        let mut count = 1;
        if let UpdatesLike::Updates(updates) = &mut updates {
            self.keep_known(contents(updates));
            count = count_of(updates);
        }
        let received = self.boxes.process_updates(updates).ok()?;
        self.withheld = (self.withheld + count).saturating_sub(received.0.len());
        self.look_at = match self.withheld {
            0 => None,
            _ => self.look_at.or_else(|| Some(now().into_std() + GAP_MAX)),
        };
        Some(self.step(received, &[]))
    }

    /// When it must be asked next whether there is a question, if nothing comes before.
    pub(super) fn deadline(&mut self) -> Instant {
        let at = self.boxes.check_deadlines();
        self.look_at.map_or(at, |look_at| look_at.min(at))
    }

    /// What has to be asked now. The step tells of channels that cannot be asked for.
    pub(super) fn question(&mut self) -> (Option<Question>, Option<UpdateStep>) {
        if self.look_at.is_some_and(|at| at <= now().into_std()) {
            self.resync();
        }
        self.boxes.check_deadlines();
        if self.boxes.get_difference().is_some() {
            // The answer is of both boxes, whichever was asked for.
            self.resync();
        }
        if let Some(question) = self.boxes.get_difference() {
            return (Some(Question::Account(question)), None);
        }
        let Some(mut question) = self.boxes.get_channel_difference() else { return (None, None) };
        let enums::InputChannel::Channel(channel) = &mut question.channel else {
            return (None, Some(self.give_up_channel()));
        };
        match self.access_hashes.get(&channel.channel_id) {
            Some(hash) => channel.access_hash = *hash,
            None if self.is_bot => {}
            None => return (None, Some(self.give_up_channel())),
        }
        question.limit = CHANNEL_LIMIT;
        (Some(Question::Channel(question)), None)
    }

    pub(super) fn answer_account(
        &mut self,
        mut difference: enums::updates::Difference,
    ) -> UpdateStep {
        if let Some(updates) = others(&mut difference) {
            self.keep_known(updates);
        }
        let is_too_long = matches!(difference, enums::updates::Difference::TooLong(_));
        let secondary = self.take_secondary(&mut difference);
        let mut received = self.boxes.apply_difference(difference);
        received.0.extend(secondary);
        if !is_too_long {
            self.too_long = 0;
            return self.step(received, &[]);
        }
        self.too_long += 1;
        // From the state that it names on the server tells again. A server that has nothing else to say is asked
        // at the next occasion.
        if self.too_long == 1 {
            self.resync();
        }
        self.step(received, &[UpdateContent::Missed(MissedUpdates::Account)])
    }

    /// `None`: the answer makes no sense, and the channel is asked for later.
    pub(super) fn answer_channel(
        &mut self,
        mut difference: enums::updates::ChannelDifference,
    ) -> Option<UpdateStep> {
        let channel = self.asked_channel()?;
        if !is_complete(&difference) {
            self.boxes.end_channel_difference(PrematureEndReason::TemporaryServerIssues);
            return None;
        }
        let is_too_long = matches!(difference, enums::updates::ChannelDifference::TooLong(_));
        let beside = match &mut difference {
            enums::updates::ChannelDifference::Difference(difference) => {
                std::mem::take(&mut difference.other_updates)
            }
            _ => Vec::new(),
        };
        // As long as the channel is asked for, whatever is told of it is taken.
        let beside = match beside.is_empty() {
            true => Vec::new(),
            false => self.boxes.process_updates(contained(beside)).unwrap_or_default().0,
        };
        let (mut updates, users, chats) = self.boxes.apply_channel_difference(difference);
        updates.extend(beside);
        let missed = UpdateContent::Missed(MissedUpdates::Channel(channel));
        let missed = if is_too_long { vec![missed] } else { Vec::new() };
        let mut step = self.step((updates, users, chats), &missed);
        // Of which nothing may have come.
        note(&mut step.states, &self.boxes.session_state(), channel);
        Some(step)
    }

    /// The channel that was asked for is not shown any more.
    pub(super) fn give_up_channel(&mut self) -> UpdateStep {
        let channel = self.asked_channel();
        if channel.is_some() {
            self.boxes.end_channel_difference(PrematureEndReason::Banned);
        }
        let missed = channel.map(|it| UpdateContent::Missed(MissedUpdates::Channel(it)));
        self.step((Vec::new(), Vec::new(), Vec::new()), missed.as_slice())
    }

    /// The channel that was asked for is asked for later.
    pub(super) fn put_off_channel(&mut self) {
        if self.asked_channel().is_some() {
            self.boxes.end_channel_difference(PrematureEndReason::TemporaryServerIssues);
        }
    }

    /// Where the server tells that something has come in a channel, and how far that is now: what is known of the
    /// channel already stays, since it is to be asked for from there on.
    fn keep_known(&self, updates: &mut [enums::Update]) {
        for update in updates {
            if let enums::Update::ChannelTooLong(told) = update {
                let known = self.boxes.session_state().channels;
                if known.iter().any(|it| it.id == told.channel_id) {
                    told.pts = None;
                }
            }
        }
    }

    /// Takes the updates of the secondary box out of a difference, as far as they are new: the client's record takes
    /// them for old, since it takes in first how far the difference goes.
    fn take_secondary(
        &self,
        difference: &mut enums::updates::Difference,
    ) -> Vec<(enums::Update, State)> {
        let own = self.boxes.session_state();
        let Some(updates) = others(difference) else { return Vec::new() };
        let (secondary, rest) = updates.drain(..).partition(|it| qts_of(it).is_some());
        *updates = rest;
        let state = |qts| State {
            date: own.date,
            seq: own.seq,
            message_box: Some(MessageBox::Secondary { qts }),
        };
        let new = Vec::into_iter(secondary).filter_map(|update| {
            let qts = qts_of(&update).filter(|qts| *qts > own.qts)?;
            Some((update, state(qts)))
        });
        new.collect()
    }

    fn asked_channel(&self) -> Option<i64> {
        let question = self.boxes.get_channel_difference()?;
        match question.channel {
            enums::InputChannel::Channel(channel) => Some(channel.channel_id),
            _ => None,
        }
    }

    fn step(
        &mut self,
        (updates, users, chats): UpdateAndPeers,
        before: &[UpdateContent],
    ) -> UpdateStep {
        let mut states = UpdateStates::default();
        for (channel, hash) in chats.iter().filter_map(channel_hash) {
            if self.access_hashes.insert(channel, hash) != Some(hash) {
                states.access_hashes.push((channel, hash));
            }
        }
        states.access_hashes.sort_unstable();
        let own = self.boxes.session_state();
        let account = UpdateState { pts: own.pts, qts: own.qts, date: own.date, seq: own.seq };
        states.account = Some(account).filter(|_| !self.boxes.is_empty());
        let mut channels: Vec<i64> =
            updates.iter().filter_map(|(_, state)| channel_of(state)).collect();
        channels.sort_unstable();
        channels.dedup();
        for channel in channels {
            note(&mut states, &own, channel);
        }
        let (first, then): (Vec<_>, Vec<_>) =
            updates.into_iter().map(|(update, _)| update).partition(is_of_difference);
        let boxed = |update| UpdateContent::Update(Box::new(update));
        let contents = first.into_iter().chain(then).map(boxed);
        let updates = before.iter().cloned().chain(contents).collect();
        UpdateStep { updates, peers: Arc::new(UpdatePeers { users, chats }), states }
    }
}

/// Notes how far a channel is.
fn note(states: &mut UpdateStates, boxes: &UpdatesState, channel: i64) {
    if let Some(state) = boxes.channels.iter().find(|it| it.id == channel) {
        states.merge(&UpdateStates::new(None, vec![ChannelState { channel, pts: state.pts }]));
    }
}
