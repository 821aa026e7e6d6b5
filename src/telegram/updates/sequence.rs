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
//!
//! Of a box that is to be asked for it lets everything through that comes unasked. So nothing may be taken in as long
//! as the account is to be asked; and of the channels the record is told of one at a time, when it is asked for: those
//! that wait for that are in the [queue](ChannelQueue), and whatever comes of them meanwhile counts as behind a gap.

mod answers;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use grammers_client::session::types::{ChannelState as BoxState, UpdatesState};
use grammers_client::session::updates::{
    MessageBoxes, PrematureEndReason, State, UpdateAndPeers, UpdatesLike,
};
use grammers_client::tl::{enums, functions, types};

use super::channel_queue::ChannelQueue;
use super::contents::{
    BoxCounts, channel_of, contained, contents, counts_of, is_of_difference, short_sender,
    unwrapped,
};
use super::known_users::KnownUsers;
use super::received::{MissedUpdates, UpdateContent, UpdatePeers, channel_hash};
use super::step::{SequenceTurn, UpdateStep};
use super::withheld::WithheldUpdates;
use crate::base::clock::{Instant, now};
use crate::session::{ChannelState, UpdateState, UpdateStates};

/// How many updates of a channel are asked for at once: as many as Telegram gives an ordinary user.
const CHANNEL_LIMIT: i32 = 100;

/// The sequence of one account.
pub(super) struct Sequence {
    boxes: MessageBoxes,
    /// By the bare ids of channels.
    access_hashes: HashMap<i64, i64>,
    users: KnownUsers,
    /// The channels that the client's record knows.
    met: HashSet<i64>,
    /// What is missed and was not told yet: the next step begins with it.
    untold: Vec<MissedUpdates>,
    /// Bots may ask for a channel without its hash.
    is_bot: bool,
    /// Differences that were too long, one after the other.
    too_long: u32,
    channels: ChannelQueue,
    withheld: WithheldUpdates,
}

impl Sequence {
    /// Goes on from where the application has got.
    pub(super) fn load(states: &UpdateStates, is_bot: bool) -> Self {
        let access_hashes = states.access_hashes.iter().copied().collect();
        let mut sequence = Self {
            boxes: MessageBoxes::new(),
            access_hashes,
            users: KnownUsers::default(),
            met: HashSet::new(),
            untold: Vec::new(),
            is_bot,
            too_long: 0,
            channels: ChannelQueue::default(),
            withheld: WithheldUpdates::default(),
        };
        // What is known of channels alone says nothing of when: it begins anew.
        if let Some(account) = states.account {
            let channel = |it: &ChannelState| BoxState { id: it.channel, pts: it.pts };
            sequence.set_boxes(UpdatesState {
                pts: account.pts,
                qts: account.qts,
                date: account.date,
                seq: account.seq,
                channels: states.channels.iter().map(channel).collect(),
            });
        }
        sequence
    }

    /// Goes on from a state: everything since has to be asked for.
    fn set_boxes(&mut self, mut state: UpdatesState) {
        let channels = std::mem::take(&mut state.channels);
        // Without a number of its own the account would not be asked for.
        state.pts = state.pts.max(1);
        self.boxes = MessageBoxes::load(state);
        self.withheld = WithheldUpdates::default();
        for channel in channels {
            self.boxes.try_set_channel_state(channel.id, channel.pts);
            self.met.insert(channel.id);
            self.channels.push(channel.id);
        }
    }

    /// Whether it is not known from where on updates are wanted.
    pub(super) fn is_new(&self) -> bool {
        self.boxes.is_empty()
    }

    /// Everything from this state on is wanted.
    pub(super) fn begin(&mut self, state: types::updates::State) -> UpdateStep {
        self.boxes.set_state(state);
        self.step(UpdateAndPeers::default(), None)
    }

    /// The server does not tell what was missed: everything from this state on is wanted.
    pub(super) fn begin_again(&mut self, state: types::updates::State) -> UpdateStep {
        let channels = self.boxes.session_state().channels;
        let (pts, qts, date, seq) = (state.pts, state.qts, state.date, state.seq);
        self.set_boxes(UpdatesState { pts, qts, date, seq, channels });
        self.untold.push(MissedUpdates::Account);
        self.step(UpdateAndPeers::default(), None)
    }

    /// How far the box of secret chats and bots is.
    pub(super) fn qts(&self) -> i32 {
        self.boxes.session_state().qts
    }

    /// The box of secret chats and bots is another one: it belongs to the session, and this one is so far.
    pub(super) fn move_to(&mut self, qts: i32) {
        self.set_boxes(UpdatesState { qts, ..self.boxes.session_state() });
    }

    /// Something may be missing of the account, and of the channels that the server then names.
    pub(super) fn resync(&mut self) {
        // Told by the end of a connection, it answers that there is a gap.
        self.boxes.process_updates(UpdatesLike::ConnectionClosed).ok();
        self.withheld.forget(None);
    }

    /// Something may be missing of anything.
    pub(super) fn resync_all(&mut self) {
        self.set_boxes(self.boxes.session_state());
    }

    /// Takes in what has come unasked. `None`: there is a gap before it, which has to be asked for.
    pub(super) fn receive(&mut self, updates: UpdatesLike) -> Option<UpdateStep> {
        let mut updates = unwrapped(updates);
        let mut known = None;
        if let UpdatesLike::Updates(updates) = &mut updates {
            if let Some(updates) = contents(updates) {
                self.take_too_long(updates);
            }
            if let Some(user) = short_sender(updates) {
                known = self.users.hash(user).map(|hash| (user, hash));
                if known.is_none() {
                    // A difference names whom its messages are from.
                    self.resync();
                    return None;
                }
            }
        }
        let came = counts_of(&mut updates);
        let Ok(received) = self.boxes.process_updates(updates) else {
            // Nothing of it was taken in. The account's difference need not tell of the channels.
            came.into_iter()
                .filter_map(|(channel, _)| channel)
                .for_each(|it| self.channels.push(it));
            return None;
        };
        self.note_withheld(came, &received.0);
        let mut step = self.step(received, None);
        if let (Some(known), Some(peers)) = (known, Arc::get_mut(&mut step.peers)) {
            peers.known_users.push(known);
        }
        Some(step)
    }

    /// Takes out what tells only that something has come in a channel: it has to be asked for from where it is known.
    /// One of which nothing is known begins with how far it is now, and what came before is missed.
    fn take_too_long(&mut self, updates: &mut Vec<enums::Update>) {
        for update in updates.extract_if(.., |it| matches!(it, enums::Update::ChannelTooLong(_))) {
            let enums::Update::ChannelTooLong(told) = update else { continue };
            let channel = told.channel_id;
            if self.met.insert(channel) {
                self.untold.push(MissedUpdates::Channel(channel));
            }
            if let Some(pts) = told.pts {
                self.boxes.try_set_channel_state(channel, pts);
            }
            self.channels.push(channel);
        }
    }

    fn note_withheld(&mut self, came: BoxCounts, out: &[(enums::Update, State)]) {
        let at = now();
        for (channel, came) in came {
            let out = out.iter().filter(|(_, state)| channel_of(state) == channel).count();
            self.withheld.note(channel, came, out, at);
        }
    }

    /// What is to be done now.
    pub(super) fn next(&mut self) -> SequenceTurn {
        let at = now();
        for channel in self.withheld.take_due(at) {
            match channel {
                Some(channel) => self.begin_channel(channel),
                None => self.resync(),
            }
        }
        let deadline = Instant::from_std(self.boxes.check_deadlines());
        self.queue_channels();
        if self.boxes.get_difference().is_some() {
            // The answer is of both boxes, whichever was asked for.
            self.resync();
        }
        if let Some(question) = self.boxes.get_difference() {
            return SequenceTurn::AskAccount(question);
        }
        while let Some(channel) = self.channels.pop(at) {
            self.withheld.forget(Some(channel));
            self.begin_channel(channel);
            // Of which nothing is known any more there is nothing to ask.
            if let Some(question) = self.boxes.get_channel_difference() {
                return self.ask_channel(channel, question);
            }
        }
        let others = [self.withheld.look_at, self.channels.due_at(at)];
        SequenceTurn::Wait(others.into_iter().flatten().fold(deadline, Instant::min))
    }

    /// Tells the client's record that a channel has to be asked for, which forgets what it has withheld of it.
    fn begin_channel(&mut self, channel: i64) {
        let told = types::UpdateChannelTooLong { channel_id: channel, pts: None };
        self.boxes.process_updates(contained(vec![told.into()])).ok();
    }

    fn ask_channel(
        &mut self,
        channel: i64,
        mut question: functions::updates::GetChannelDifference,
    ) -> SequenceTurn {
        let access_hash = match self.access_hashes.get(&channel) {
            Some(hash) => *hash,
            None if self.is_bot => 0,
            None => return SequenceTurn::Tell(self.give_up_channel()),
        };
        question.channel = types::InputChannel { channel_id: channel, access_hash }.into();
        question.limit = CHANNEL_LIMIT;
        SequenceTurn::AskChannel(question)
    }

    /// Channels of which the client's record has found that they have to be asked for wait for their turn.
    fn queue_channels(&mut self) {
        while let Some(channel) = self.asked_channel() {
            self.boxes.end_channel_difference(PrematureEndReason::TemporaryServerIssues);
            self.channels.push(channel);
        }
    }

    fn asked_channel(&self) -> Option<i64> {
        let question = self.boxes.get_channel_difference()?;
        match question.channel {
            enums::InputChannel::Channel(channel) => Some(channel.channel_id),
            _ => None,
        }
    }

    /// What has come of something; of the channel that was asked for it is told how far it is, though nothing may
    /// have come of it.
    fn step(&mut self, (updates, users, chats): UpdateAndPeers, asked: Option<i64>) -> UpdateStep {
        let mut states = UpdateStates::default();
        for (channel, hash) in chats.iter().filter_map(channel_hash) {
            if self.access_hashes.insert(channel, hash) != Some(hash) {
                states.access_hashes.push((channel, hash));
            }
        }
        states.access_hashes.sort_unstable();
        self.users.note(&users);
        let own = self.boxes.session_state();
        let account = UpdateState { pts: own.pts, qts: own.qts, date: own.date, seq: own.seq };
        states.account = Some(account).filter(|_| !self.boxes.is_empty());
        let channels = updates.iter().filter_map(|(_, state)| channel_of(state));
        let mut channels: Vec<i64> = channels.chain(asked).collect();
        channels.sort_unstable();
        channels.dedup();
        for channel in channels {
            self.met.insert(channel);
            states.merge(&state_of(&own, channel));
        }
        let (first, then): (Vec<_>, Vec<_>) =
            updates.into_iter().map(|(update, _)| update).partition(is_of_difference);
        let boxed = |update| UpdateContent::Update(Box::new(update));
        let contents = first.into_iter().chain(then).map(boxed);
        let missed = std::mem::take(&mut self.untold).into_iter().map(UpdateContent::Missed);
        let updates = missed.chain(contents).collect();
        UpdateStep {
            updates,
            peers: Arc::new(UpdatePeers { users, chats, known_users: Vec::new() }),
            states,
        }
    }
}

/// How far a channel is.
fn state_of(boxes: &UpdatesState, channel: i64) -> UpdateStates {
    let found = boxes.channels.iter().find(|it| it.id == channel);
    let state = found.map(|it| ChannelState { channel, pts: it.pts });
    UpdateStates::new(None, state.into_iter().collect())
}
