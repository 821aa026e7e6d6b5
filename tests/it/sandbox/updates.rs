//! Updates of the sandbox over TCP: what each session is sent, what faults make of it, and what it can fetch.

use telepool::sandbox::UpdateCounts;
use telepool::telegram::client::session::updates::UpdatesLike;
use telepool::telegram::client::tl::Identifiable;

use super::raw::RawClient;
use super::stock::StockClient;
use tokio::sync::mpsc;

use super::*;

/// An account that listens with its first session, and what it hears.
struct Listener {
    bench: Bench,
    connection: StockClient,
    heard: mpsc::UnboundedSender<(u16, UpdatesLike)>,
    updates: mpsc::UnboundedReceiver<(u16, UpdatesLike)>,
}

async fn listener(rules: impl IntoIterator<Item = FaultRule>) -> Listener {
    let bench = bench(rules).await;
    let (heard, updates) = mpsc::unbounded_channel();
    let connection = StockClient::connect(&bench, (OWN, 0), heard.clone()).await;
    Listener { bench, connection, heard, updates }
}

impl Listener {
    fn post(&self, count: usize) {
        for _ in 0..count {
            self.bench.data_centre.post_message(OWN, "a word").unwrap();
        }
    }

    fn counts(&self) -> UpdateCounts {
        self.bench.data_centre.update_counts(OWN).unwrap()
    }

    /// Listens on a new connection.
    async fn again(self) -> Self {
        self.connection.close().await;
        self.bench.quiet().await;
        let connection = StockClient::connect(&self.bench, (OWN, 0), self.heard.clone()).await;
        Self { connection, ..self }
    }

    /// The next update of the account, and the slot of the session that has heard it.
    async fn next(&mut self) -> (u16, enums::Updates) {
        let (slot, update) = self.updates.recv().await.unwrap();
        match update {
            UpdatesLike::Updates(updates) => (slot, updates),
            other => panic!("{other:?}"),
        }
    }

    /// The ids of the messages that come up to this one.
    async fn messages_until(&mut self, last: i32) -> Vec<i32> {
        let mut seen = Vec::new();
        while seen.last() != Some(&last) {
            if let Some(id) = message_of(&self.next().await.1) {
                seen.push(id);
            }
        }
        seen
    }

    async fn difference(&self, pts: i32) -> enums::updates::Difference {
        let asked = functions::updates::GetDifference {
            pts,
            pts_limit: None,
            pts_total_limit: None,
            date: i32::MAX,
            qts: 0,
            qts_limit: None,
        };
        self.connection.client.invoke(&asked).await.unwrap()
    }
}

/// What a container is of: its only update, and its `seq`.
fn only(updates: &enums::Updates) -> (&enums::Update, &types::Updates) {
    match updates {
        enums::Updates::Updates(it) if it.updates.len() == 1 => (&it.updates[0], it),
        other => panic!("{other:?}"),
    }
}

/// The id of the message that an update brings.
fn message_of(updates: &enums::Updates) -> Option<i32> {
    match only(updates).0 {
        enums::Update::NewMessage(types::UpdateNewMessage {
            message: enums::Message::Message(message),
            ..
        }) => Some(message.id),
        _ => None,
    }
}

#[tokio::test]
async fn every_session_that_listens_is_sent_every_update_and_its_own_seq() {
    let mut own = listener([]).await;
    let _second = StockClient::connect(&own.bench, (OWN, 1), own.heard.clone()).await;
    own.post(8);
    let mut heard = [Vec::new(), Vec::new()];
    for _ in 0..16 {
        let (slot, updates) = own.next().await;
        let (update, container) = only(&updates);
        let enums::Update::NewMessage(new) = update else { panic!("{update:?}") };
        let [enums::User::User(from)] = &container.users[..] else { panic!("{container:?}") };
        assert!(from.access_hash.is_some() && from.first_name.is_some());
        assert_eq!(new.pts_count, 1);
        heard[usize::from(slot)].push((new.pts, container.seq));
    }
    let expected: Vec<_> = (2..10).map(|pts| (pts, if pts == 9 { 2 } else { 0 })).collect();
    assert_eq!(heard, [expected.clone(), expected]);
    let counts = own.counts();
    assert_eq!((counts.pts, counts.common_kept), (9, 8));
    assert_eq!(counts.sessions.iter().map(|it| (it.sent, it.seq)).collect::<Vec<_>>(), [(8, 2); 2]);
    let enums::updates::State::State(state) =
        own.connection.client.invoke(&functions::updates::GetState {}).await.unwrap();
    assert_eq!((state.pts, state.qts, state.seq), (9, 0, 2));
}

#[tokio::test]
async fn a_message_reaches_the_other_sessions_of_its_sender_and_the_log_of_both() {
    let mut own = listener([]).await;
    let second = StockClient::connect(&own.bench, (OWN, 1), own.heard.clone()).await;
    let bot = types::InputPeerUser { user_id: 77, access_hash: 0 };
    second.client.invoke(&message_to(bot.into())).await.unwrap();
    // The client makes an update of the answer for the session that has sent it.
    let heard = loop {
        let (slot, update) = own.updates.recv().await.unwrap();
        if let UpdatesLike::Updates(updates) = update {
            break (slot, updates);
        }
    };
    let (0, enums::Updates::UpdateShortMessage(short)) = heard else { panic!("{heard:?}") };
    assert_eq!((short.out, short.user_id, short.id, short.pts), (true, 77, 1, 2));
    assert_eq!(own.counts().sessions.iter().map(|it| it.sent).collect::<Vec<_>>(), [1, 0]);
    let counts = own.bench.data_centre.update_counts(OTHER).unwrap();
    assert_eq!((counts.pts, counts.common_kept, counts.sessions[0].sent), (2, 1, 0));
}

#[tokio::test]
async fn what_came_while_nobody_listened_is_fetched() {
    let own = listener([]).await;
    own.connection.handle.quit();
    own.bench.quiet().await;
    own.post(3);
    assert_eq!(own.counts().sessions[0].sent, 0);
    let own = own.again().await;
    let enums::updates::Difference::Difference(seen) = own.difference(1).await else {
        panic!("it is all of it")
    };
    assert_eq!((seen.new_messages.len(), seen.users.len()), (3, 3));
    assert!(matches!(own.difference(4).await, enums::updates::Difference::Empty(_)));
}

#[tokio::test]
async fn each_member_of_a_channel_gets_it_by_its_own_hash_and_a_lost_post_is_told_of() {
    let mut own = listener([]).await;
    let data_centre = own.bench.data_centre.clone();
    let channel = data_centre.create_channel(&[OWN, OTHER]);
    let (_, created) = own.next().await;
    let (update, container) = only(&created);
    assert!(matches!(update, enums::Update::Channel(it) if it.channel_id == channel));
    let [enums::Chat::Channel(chat)] = &container.chats[..] else { panic!("{container:?}") };
    let hash = chat.access_hash.unwrap();
    assert_eq!(own.counts().channels[0].access_hash, hash);
    assert_ne!(data_centre.update_counts(OTHER).unwrap().channels[0].access_hash, hash);
    own.connection.client.invoke(&functions::updates::GetState {}).await.unwrap();
    data_centre.post_in_channel(channel, "one").unwrap();
    assert!(data_centre.edit_in_channel(channel, 1, "other"));
    assert_eq!(data_centre.delete_in_channel(channel, &[1]), 1);
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let (_, updates) = own.next().await;
        assert_eq!(only(&updates).1.chats, container.chats);
        kinds.push(match only(&updates).0 {
            enums::Update::NewChannelMessage(it) => (0, it.pts),
            enums::Update::EditChannelMessage(it) => (1, it.pts),
            enums::Update::DeleteChannelMessages(it) => (2, it.pts),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(kinds, [(0, 2), (1, 3), (2, 4)]);
    assert!(matches!(own.difference(1).await, enums::updates::Difference::Empty(_)));
    let lose = FaultRule::new("updates", Fault::Lose).limit(1).account(OWN);
    data_centre.set_faults(&FaultPlan::new([lose]).unwrap());
    data_centre.post_in_channel(channel, "lost").unwrap();
    data_centre.post_in_channel(channel, "seen").unwrap();
    let enums::updates::Difference::Difference(seen) = own.difference(1).await else {
        panic!("something was lost")
    };
    assert!(matches!(&seen.other_updates[..], [enums::Update::ChannelTooLong(it)]
        if it.channel_id == channel && it.pts == Some(6)));
    let asked = functions::updates::GetChannelDifference {
        force: false,
        channel: types::InputChannel { channel_id: channel, access_hash: hash }.into(),
        filter: enums::ChannelMessagesFilter::Empty,
        pts: 4,
        limit: 1,
    };
    let enums::updates::ChannelDifference::Difference(slice) =
        own.connection.client.invoke(&asked).await.unwrap()
    else {
        panic!("there are two")
    };
    assert_eq!((slice.r#final, slice.pts, slice.new_messages.len()), (false, 5, 1));
}

/// What was sent on a connection that has ended may have been lost with it.
#[tokio::test]
async fn a_channel_is_told_of_again_on_a_new_connection_until_the_client_says_that_it_has_it() {
    let own = listener([]).await;
    let data_centre = own.bench.data_centre.clone();
    let channel = data_centre.create_channel(&[OWN]);
    data_centre.post_in_channel(channel, "one").unwrap();
    let is_told = async |own: &Listener| match own.difference(1).await {
        enums::updates::Difference::Difference(seen) => seen.other_updates.len() == 1,
        enums::updates::Difference::Empty(_) => false,
        other => panic!("{other:?}"),
    };
    assert!(!is_told(&own).await, "it was sent");
    let own = own.again().await;
    assert!(is_told(&own).await, "nobody knows whether it came");
    let hash = own.counts().channels[0].access_hash;
    let asked = functions::updates::GetChannelDifference {
        force: false,
        channel: types::InputChannel { channel_id: channel, access_hash: hash }.into(),
        filter: enums::ChannelMessagesFilter::Empty,
        pts: 2,
        limit: 100,
    };
    let answer = own.connection.client.invoke(&asked).await.unwrap();
    assert!(matches!(answer, enums::updates::ChannelDifference::Empty(it) if it.r#final));
    assert!(!is_told(&own).await);
    assert!(!is_told(&own.again().await).await, "the client has it, by its own words");
}

#[tokio::test]
async fn an_update_is_lost_or_doubled_or_swapped_as_the_rules_have_it() {
    for (fault, expected) in [
        (Fault::Lose, vec![3, 4]),
        (Fault::Double, vec![1, 1, 2, 2, 3, 4]),
        (Fault::Reorder, vec![3, 1, 2, 4]),
    ] {
        let mut own = listener([FaultRule::new("updates", fault.clone()).limit(2)]).await;
        own.post(4);
        assert_eq!(own.messages_until(4).await, expected, "{fault:?}");
        assert_eq!(own.bench.data_centre.stats().faults_injected, 2);
        let counts = own.counts().sessions[0];
        let struck = (counts.lost, counts.doubled, counts.reordered, counts.sent);
        match fault {
            Fault::Lose => assert_eq!(struck, (2, 0, 0, 2)),
            Fault::Double => assert_eq!(struck, (0, 2, 0, 4)),
            _ => assert_eq!(struck, (0, 0, 2, 4)),
        }
        // It is all in the box, whatever came of it on the way.
        let enums::updates::Difference::Difference(seen) = own.difference(1).await else {
            panic!("it is all of it")
        };
        assert_eq!(seen.new_messages.len(), 4);
    }
}

#[tokio::test]
async fn an_update_that_is_delayed_or_has_no_successor_comes_in_the_end() {
    let time = Duration::from_millis(500);
    let mut own = listener([FaultRule::new("updates", Fault::Delay(time)).limit(1)]).await;
    own.post(2);
    assert_eq!(own.messages_until(1).await, [2, 1]);
    assert_eq!(own.counts().sessions[0].delayed, 1);
    let mut own = listener([FaultRule::new("updates", Fault::Reorder)]).await;
    own.post(1);
    assert_eq!(own.messages_until(1).await, [1]);
}

#[tokio::test]
async fn the_same_seed_makes_the_same_of_the_same_updates_whoever_else_is_there() {
    let rules = || {
        [Fault::Lose, Fault::Double, Fault::Reorder]
            .map(|fault| FaultRule::new("updates", fault).chance(0.2).account(OWN))
    };
    let mut runs = Vec::new();
    for others in [0, 3] {
        let mut own = listener(rules()).await;
        let unheard = mpsc::unbounded_channel().0;
        let _other = StockClient::connect(&own.bench, (OTHER, 0), unheard).await;
        for _ in 0..50 {
            own.post(1);
            for _ in 0..others {
                own.bench.data_centre.post_message(OTHER, "a word");
            }
        }
        own.bench.data_centre.set_faults(&FaultPlan::default());
        own.post(1);
        let seen = own.bench.data_centre.update_counts(OWN).unwrap().sessions[0];
        let mut messages = Vec::new();
        loop {
            messages.extend(message_of(&own.next().await.1));
            if messages.last() == Some(&51) {
                break;
            }
        }
        assert!(seen.lost > 0 && seen.doubled > 0 && seen.reordered > 0, "{seen:?}");
        runs.push((seen, messages));
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_and_is_told_that_it_has_missed_some() {
    let mut own = listener([]).await;
    let account = AccountId::bot(9).unwrap();
    let data_centre = own.bench.data_centre.clone();
    let records = data_centre.create_sessions(account, 1, None);
    let mut slow = RawClient::connect_narrowly(record(&records)).await;
    slow.learn_salt().await;
    slow.send(&raw::init_connection(functions::updates::GetState {})).await.unwrap();
    slow.receive_all().await;
    let text = "x".repeat(4096);
    let mut posted = 0;
    while data_centre.stats().updates_dropped == 0 {
        data_centre.post_message(account, &text).unwrap();
        posted += 1;
        assert!(posted < 100_000, "it is bounded");
        if posted % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    own.post(1);
    assert_eq!(own.messages_until(1).await, [1]);
    let counts = data_centre.update_counts(account).unwrap();
    assert_eq!((counts.pts, counts.sessions[0].dropped), (posted + 1, 1));
    let told = async {
        while !slow.receive_all().await.contains(&types::UpdatesTooLong::CONSTRUCTOR_ID) {}
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("it is told");
}

#[cfg(feature = "cli")]
#[tokio::test]
async fn the_command_has_messages_come_in() {
    let command = disconnect::DataCentreCommand::start("--incoming=200").await;
    let mut client = RawClient::connect(&command.record).await;
    client.learn_salt().await;
    client.send(&raw::init_connection(functions::updates::GetState {})).await.unwrap();
    while !client.receive_all().await.contains(&types::Updates::CONSTRUCTOR_ID) {}
    let stats = command.end();
    assert!(stats["updates_pushed"].as_u64().unwrap() > 0, "{stats}");
}

#[tokio::test]
async fn a_key_that_was_used_twice_is_sent_nothing_more() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let records = data_centre.create_sessions(OWN, 1, None);
    let mut first = RawClient::connect(record(&records)).await;
    first.learn_salt().await;
    first.send(&raw::init_connection(functions::updates::GetState {})).await.unwrap();
    first.receive_all().await;
    data_centre.post_message(OWN, "a word").unwrap();
    let mut second = RawClient::connect(record(&records)).await;
    second.learn_salt().await;
    assert_eq!(data_centre.stats().key_violations, 1);
    data_centre.post_message(OWN, "a word").unwrap();
    let counts = data_centre.update_counts(OWN).unwrap();
    assert_eq!((counts.common_kept, counts.sessions[0].sent), (2, 1));
}
