//! A sequence beside a server that loses, doubles, delays and mixes up what it sends: of each box everything comes
//! out once and in order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const CHANNELS: [i64; 3] = [11, 12, 13];
/// How many messages a difference has at most.
const SLICE: usize = 3;

/// What becomes of a container on its way.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Comes,
    IsLost,
    ComesTwice,
    /// It comes when the next one is asked for.
    IsLate,
    /// With the word beside it that something has come in the channel.
    ComesWithWord,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Into a box: the account's is 0, the channels' follow.
    Post(usize, Fate),
    /// So many turns of the lane.
    Turns(usize),
    Gap,
    /// The connection is another one, of the same session.
    Reconnect,
    /// The process ends, and the next one goes on.
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let fate = prop_oneof![
        4 => Just(Fate::Comes),
        1 => Just(Fate::IsLost),
        1 => Just(Fate::ComesTwice),
        1 => Just(Fate::IsLate),
        1 => Just(Fate::ComesWithWord),
    ];
    let op = prop_oneof![
        12 => (0..=CHANNELS.len(), fate).prop_map(|(at, fate)| Op::Post(at, fate)),
        6 => (1..6_usize).prop_map(Op::Turns),
        1 => Just(Op::Gap),
        1 => Just(Op::Reconnect),
        1 => Just(Op::Restart),
    ];
    proptest::collection::vec(op, 1..80)
}

/// The server, and the lane that asks it.
struct Model {
    sequence: Sequence,
    /// How many messages each box has; they are numbered from 1, and the box begins with `pts` 1.
    posted: [i32; 4],
    on_the_way: Vec<enums::Updates>,
    /// What has come out, by box.
    seen: BTreeMap<usize, Vec<i32>>,
    states: UpdateStates,
    /// The words of differences name channels by turns.
    word: usize,
    /// How often a channel was asked for in which nothing had come.
    in_vain: usize,
}

fn place(at: usize) -> enums::Peer {
    match at {
        0 => types::PeerUser { user_id: 1 }.into(),
        _ => types::PeerChannel { channel_id: CHANNELS[at - 1] }.into(),
    }
}

fn message(at: usize, id: i32) -> enums::Message {
    types::MessageEmpty { id, peer_id: Some(place(at)) }.into()
}

fn update(at: usize, id: i32) -> enums::Update {
    let (message, pts, pts_count) = (message(at, id), id + 1, 1);
    match at {
        0 => types::UpdateNewMessage { message, pts, pts_count }.into(),
        _ => types::UpdateNewChannelMessage { message, pts, pts_count }.into(),
    }
}

fn container(updates: Vec<enums::Update>) -> enums::Updates {
    types::Updates { updates, users: Vec::new(), chats: Vec::new(), date: 1, seq: 0 }.into()
}

impl Model {
    fn new() -> Self {
        let channel = |channel| ChannelState { channel, pts: 1 };
        let account = UpdateState { pts: 1, qts: 0, date: 1, seq: 0 };
        let states = UpdateStates::new(Some(account), CHANNELS.map(channel).to_vec());
        Self {
            sequence: Sequence::load(&states, true),
            posted: [0; 4],
            on_the_way: Vec::new(),
            seen: BTreeMap::new(),
            states,
            word: 0,
            in_vain: 0,
        }
    }

    fn word(&self, at: usize) -> enums::Update {
        let pts = Some(self.posted[at] + 1);
        types::UpdateChannelTooLong { channel_id: CHANNELS[at - 1], pts }.into()
    }

    fn post(&mut self, at: usize, fate: Fate) {
        self.posted[at] += 1;
        let new = update(at, self.posted[at]);
        let way = &mut self.on_the_way;
        match fate {
            Fate::Comes => way.push(container(vec![new])),
            Fate::IsLost => {}
            Fate::ComesTwice => way.extend([container(vec![new.clone()]), container(vec![new])]),
            Fate::IsLate => way.insert(0, container(vec![new])),
            Fate::ComesWithWord if at == 0 => way.push(container(vec![new])),
            Fate::ComesWithWord => {
                let word = self.word(at);
                self.on_the_way.push(container(vec![new, word]));
            }
        }
    }

    fn take(&mut self, step: UpdateStep) {
        self.states.merge(&step.states);
        for content in step.updates {
            let UpdateContent::Update(update) = content else { panic!("nothing is missed") };
            let (at, message) = match *update {
                enums::Update::NewMessage(new) => (0, new.message),
                enums::Update::NewChannelMessage(new) => (1, new.message),
                other => panic!("nobody has posted {other:?}"),
            };
            let enums::Message::Empty(message) = message else { panic!("{message:?}") };
            let at = match message.peer_id {
                Some(enums::Peer::Channel(it)) => {
                    1 + CHANNELS.iter().position(|channel| *channel == it.channel_id).unwrap()
                }
                _ => at,
            };
            self.seen.entry(at).or_default().push(message.id);
        }
    }

    /// Takes in the next that is on its way. Returns whether more may be taken in.
    fn receive(&mut self) -> bool {
        let Some(next) = self.on_the_way.pop() else { return false };
        let step = self.sequence.receive(UpdatesLike::Updates(next));
        let goes_on = step.is_some();
        if let Some(step) = step {
            self.take(step);
        }
        goes_on
    }

    /// One turn of the lane. Returns whether there was something to do.
    fn turn(&mut self) -> bool {
        match self.sequence.next() {
            SequenceTurn::AskAccount(question) => {
                let answer = self.difference(question.pts);
                let step = self.sequence.answer_account(answer);
                self.take(step);
                true
            }
            SequenceTurn::AskChannel(question) => {
                let answer = self.channel_difference(&question);
                let step = self.sequence.answer_channel(answer, now()).unwrap();
                self.take(step);
                while self.receive() {}
                true
            }
            SequenceTurn::Tell(step) => {
                self.take(step);
                true
            }
            SequenceTurn::Wait(_) => {
                let is_empty = self.on_the_way.is_empty();
                self.receive();
                !is_empty
            }
        }
    }

    fn after(&self, at: usize, pts: i32) -> (Vec<enums::Message>, i32, bool) {
        let ids: Vec<i32> = (pts..=self.posted[at]).take(SLICE).collect();
        let reached = ids.last().map_or(pts, |last| last + 1);
        let messages = ids.into_iter().map(|id| message(at, id)).collect();
        (messages, reached, reached == self.posted[at] + 1)
    }

    /// It names a channel as well, and tells the last of it beside that.
    fn difference(&mut self, pts: i32) -> enums::updates::Difference {
        let (new_messages, pts, is_final) = self.after(0, pts);
        self.word += 1;
        let at = 1 + self.word % CHANNELS.len();
        let mut other_updates = vec![self.word(at)];
        if self.posted[at] > 0 {
            other_updates.push(update(at, self.posted[at]));
        }
        let state = types::updates::State { pts, qts: 0, date: 1, seq: 0, unread_count: 0 }.into();
        let (new_encrypted_messages, users, chats) = (Vec::new(), Vec::new(), Vec::new());
        if is_final {
            let difference = types::updates::Difference {
                new_messages,
                new_encrypted_messages,
                other_updates,
                chats,
                users,
                state,
            };
            return difference.into();
        }
        types::updates::DifferenceSlice {
            new_messages,
            new_encrypted_messages,
            other_updates,
            chats,
            users,
            intermediate_state: state,
        }
        .into()
    }

    fn channel_difference(
        &mut self,
        question: &functions::updates::GetChannelDifference,
    ) -> enums::updates::ChannelDifference {
        let enums::InputChannel::Channel(asked) = &question.channel else { panic!("{question:?}") };
        let at = 1 + CHANNELS.iter().position(|it| *it == asked.channel_id).unwrap();
        let (new_messages, pts, is_final) = self.after(at, question.pts);
        let (users, chats, timeout) = (Vec::new(), Vec::new(), Some(0));
        if new_messages.is_empty() {
            self.in_vain += 1;
            return types::updates::ChannelDifferenceEmpty { r#final: true, pts, timeout }.into();
        }
        types::updates::ChannelDifference {
            r#final: is_final,
            pts,
            timeout,
            new_messages,
            other_updates: Vec::new(),
            chats,
            users,
        }
        .into()
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Post(at, fate) => self.post(at, fate),
            Op::Turns(turns) => {
                for _ in 0..turns {
                    self.turn();
                }
            }
            Op::Gap => self.sequence.resync_all(),
            Op::Reconnect => {
                self.on_the_way.clear();
                self.sequence.resync_all();
            }
            Op::Restart => {
                self.on_the_way.clear();
                self.sequence = Sequence::load(&self.states, true);
            }
        }
    }
}

proptest! {
    #[test]
    fn of_each_box_everything_comes_out_once_and_in_order(ops in ops()) {
        let mut model = Model::new();
        for op in ops {
            model.run(op);
        }
        model.on_the_way.clear();
        model.sequence.resync_all();
        model.in_vain = 0;
        while model.turn() {
            // One that is quiet is not asked for again, whatever time-out its answer has.
            prop_assert!(model.in_vain <= CHANNELS.len());
        }
        for (at, posted) in model.posted.iter().enumerate() {
            let expected: Vec<i32> = (1..=*posted).collect();
            prop_assert_eq!(model.seen.entry(at).or_default(), &expected, "box {}", at);
        }
        let reached: Vec<i32> = model.states.channels.iter().map(|it| it.pts - 1).collect();
        prop_assert_eq!(&reached, &model.posted[1..]);
        prop_assert_eq!(model.states.account.map(|it| it.pts - 1), Some(model.posted[0]));
    }
}
