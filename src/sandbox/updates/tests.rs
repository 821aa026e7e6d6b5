//! Tests of the boxes and of what clients are told of them, without a socket.

use std::sync::Arc;

use grammers_tl_types::{Deserializable, enums, functions, types};
use proptest::prelude::*;

use super::*;
use crate::account_id::AccountId;
use crate::sandbox::accounts::{Key, User};
use crate::sandbox::faults::FaultInjector;
use crate::sandbox::server_state::ServerState;
use crate::sandbox::world::World;

/// A data centre with an account and a bot.
struct Fixture {
    server: ServerState,
    user: Arc<User>,
    bot: Arc<User>,
}

fn fixture() -> Fixture {
    let address = "127.0.0.1:4430".parse().unwrap();
    let server =
        ServerState::new((2, address), Arc::new(World::new()), 7, FaultInjector::default());
    let user = |account: AccountId| {
        server.create_sessions(account, 2, None);
        server.user(account).unwrap()
    };
    let (user, bot) = (user("+9996620001".parse().unwrap()), user(AccountId::bot(77).unwrap()));
    Fixture { server, user, bot }
}

fn key(user: &User) -> Arc<Key> {
    Arc::clone(&user.keys.lock()[0])
}

fn asking(pts: i32, qts: i32) -> functions::updates::GetDifference {
    functions::updates::GetDifference {
        pts,
        pts_limit: None,
        pts_total_limit: None,
        date: i32::MAX,
        qts,
        qts_limit: None,
    }
}

impl Fixture {
    fn difference(
        &self,
        user: &User,
        asked: &functions::updates::GetDifference,
    ) -> enums::updates::Difference {
        let answer = difference(&self.server, &key(user), user, asked).unwrap();
        enums::updates::Difference::from_bytes(&answer).unwrap()
    }

    fn channel(&self, members: &[&Arc<User>]) -> (i64, Arc<SandboxChannel>) {
        let members = members.iter().map(|it| Arc::clone(it)).collect();
        let id = posting::create_channel(&self.server, members);
        (id, self.server.channel(id).unwrap())
    }

    fn channel_answer(
        &self,
        user: &User,
        channel: i64,
        access_hash: i64,
        (pts, limit): (i32, i32),
    ) -> Result<enums::updates::ChannelDifference, String> {
        let asked = functions::updates::GetChannelDifference {
            force: false,
            channel: types::InputChannel { channel_id: channel, access_hash }.into(),
            filter: enums::ChannelMessagesFilter::Empty,
            pts,
            limit,
        };
        let answer = channel_difference(&self.server, &key(user), user, &asked);
        let answer = answer.map_err(|error| error.message)?;
        Ok(enums::updates::ChannelDifference::from_bytes(&answer).unwrap())
    }

    fn channel_difference(
        &self,
        user: &User,
        channel: i64,
        asked: (i32, i32),
    ) -> enums::updates::ChannelDifference {
        let hash = self.server.channel(channel).unwrap().access_hash(user.id);
        self.channel_answer(user, channel, hash, asked).unwrap()
    }
}

/// The id and the text of a message.
fn text_of(message: &enums::Message) -> (i32, &str) {
    match message {
        enums::Message::Message(message) => (message.id, &message.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_difference_has_what_came_its_users_and_the_state_after_it() {
    let fixture = fixture();
    let Fixture { server, user, bot } = &fixture;
    assert!(matches!(
        fixture.difference(user, &asking(1, 0)),
        enums::updates::Difference::Empty(types::updates::DifferenceEmpty { seq: 1, .. })
    ));
    posting::post_message(server, user, "one");
    posting::post_message(server, user, "two");
    assert_eq!(posting::delete_messages(server, user, &[2, 1, 2, 9]), 2);
    posting::post_secondary(server, user);
    send_message(server, (&key(bot), bot), user.id, "three");
    let enums::updates::Difference::Difference(seen) = fixture.difference(user, &asking(1, 0))
    else {
        panic!("it is all of it")
    };
    let texts: Vec<_> = seen.new_messages.iter().map(text_of).collect();
    assert_eq!(texts, [(1, "one"), (2, "two"), (3, "three")]);
    let [enums::Update::DeleteMessages(deleted)] = &seen.other_updates[..] else {
        panic!("{:?}", seen.other_updates)
    };
    assert_eq!((&*deleted.messages, deleted.pts, deleted.pts_count), (&[1, 2][..], 5, 2));
    assert_eq!(seen.new_encrypted_messages.len(), 1);
    let enums::updates::State::State(state) = seen.state;
    assert_eq!((state.pts, state.qts, state.seq), (6, 1, 1));
    let mut senders = Vec::new();
    for known in &seen.users {
        let enums::User::User(known) = known else { panic!("{known:?}") };
        assert!(known.access_hash.is_some() && !known.is_self);
        senders.push((known.first_name.as_deref().unwrap(), known.bot));
    }
    assert_eq!(senders, [("Sandbox", true), ("Stranger 1", false), ("Stranger 2", false)]);
    // The bot has sent it, and knows to whom.
    let enums::updates::Difference::Difference(own) = fixture.difference(bot, &asking(1, 0)) else {
        panic!("it has sent something")
    };
    assert!(matches!(&own.new_messages[..], [enums::Message::Message(it)] if it.out));
}

#[test]
fn what_no_client_can_ask_for_is_refused_by_the_servers_words() {
    let fixture = fixture();
    let Fixture { server, user, .. } = &fixture;
    posting::post_message(server, user, "one");
    let mut without_date = asking(1, 0);
    without_date.date = 0;
    for (asked, word) in [
        (asking(0, 0), "PERSISTENT_TIMESTAMP_EMPTY"),
        (asking(3, 0), "PERSISTENT_TIMESTAMP_INVALID"),
        (without_date, "DATE_EMPTY"),
    ] {
        let error = difference(server, &key(user), user, &asked).unwrap_err();
        assert_eq!((error.code, &*error.message), (400, word));
    }
}

#[test]
fn too_much_comes_in_slices_and_what_is_no_longer_kept_is_too_long() {
    let mut fixture = fixture();
    (fixture.server.difference_len_max, fixture.server.update_log_len_max) = (2, 4);
    let Fixture { server, user, .. } = &fixture;
    for _ in 0..5 {
        posting::post_message(server, user, "a word");
    }
    posting::post_secondary(server, user);
    let too_long = |difference| match difference {
        enums::updates::Difference::TooLong(it) => Some(it.pts),
        _ => None,
    };
    assert_eq!(too_long(fixture.difference(user, &asking(1, 0))), Some(6));
    let mut slices = Vec::new();
    let mut asked = asking(2, 0);
    asked.date = 5;
    let last = loop {
        let enums::updates::Difference::Slice(slice) = fixture.difference(user, &asked) else {
            break fixture.difference(user, &asked);
        };
        let enums::updates::State::State(state) = slice.intermediate_state;
        assert_eq!(state.date, 5, "the time of the client has not come");
        slices.push((slice.new_messages.len(), state.pts, state.qts));
        (asked.pts, asked.qts) = (state.pts, state.qts);
    };
    assert_eq!(slices, [(2, 4, 0), (2, 6, 0)]);
    let enums::updates::Difference::Difference(last) = last else { panic!("{last:?}") };
    assert_eq!((last.new_messages.len(), last.new_encrypted_messages.len()), (0, 1));
    let mut limited = asking(2, 1);
    limited.pts_limit = Some(1);
    assert!(matches!(
        fixture.difference(user, &limited),
        enums::updates::Difference::Slice(slice) if slice.new_messages.len() == 1
    ));
    limited.pts_total_limit = Some(3);
    assert_eq!(too_long(fixture.difference(user, &limited)), Some(6));
}

#[test]
fn long_messages_make_more_slices() {
    let fixture = fixture();
    let text = "x".repeat(4096);
    for _ in 0..99 {
        posting::post_message(&fixture.server, &fixture.user, &text);
    }
    let (id, channel) = fixture.channel(&[&fixture.user]);
    for _ in 0..99 {
        posting::post_in_channel(&fixture.server, &channel, &text);
    }
    assert!(matches!(
        fixture.difference(&fixture.user, &asking(1, 0)),
        enums::updates::Difference::Slice(slice) if (60..70).contains(&slice.new_messages.len())
    ));
    assert!(matches!(
        fixture.channel_difference(&fixture.user, id, (1, 100)),
        enums::updates::ChannelDifference::Difference(slice)
            if !slice.r#final && (60..70).contains(&slice.new_messages.len())
    ));
}

#[test]
fn a_channel_is_told_of_until_its_difference_was_fetched() {
    let fixture = fixture();
    let Fixture { server, user, bot } = &fixture;
    let (id, channel) = fixture.channel(&[user, bot]);
    // A client that has had everything until this date, or nothing since long.
    let (recent, mut old) = (asking(1, 0), asking(1, 0));
    old.date = 1;
    let is_told = |asked| match fixture.difference(user, asked) {
        enums::updates::Difference::Empty(_) => false,
        enums::updates::Difference::Difference(seen) => seen.other_updates.len() == 1,
        other => panic!("{other:?}"),
    };
    assert!(!is_told(&recent) && !is_told(&old), "there is nothing in it");
    assert_eq!(posting::post_in_channel(server, &channel, "one"), 1);
    assert_eq!(posting::post_in_channel(server, &channel, "two"), 2);
    assert!(posting::edit_in_channel(server, &channel, 1, "other"));
    assert_eq!(posting::delete_in_channel(server, &channel, &[1, 2, 3]), 2);
    assert!(!posting::edit_in_channel(server, &channel, 1, "it is gone"));
    for _ in 0..2 {
        let enums::updates::Difference::Difference(seen) = fixture.difference(user, &old) else {
            panic!("there is something new")
        };
        let [enums::Update::ChannelTooLong(told)] = &seen.other_updates[..] else {
            panic!("{:?}", seen.other_updates)
        };
        assert_eq!((told.channel_id, told.pts), (id, Some(6)));
        let [enums::Chat::Channel(chat)] = &seen.chats[..] else { panic!("{:?}", seen.chats) };
        assert_eq!(chat.access_hash, Some(channel.access_hash(user.id)));
    }
    let enums::updates::ChannelDifference::Difference(seen) =
        fixture.channel_difference(user, id, (1, 100))
    else {
        panic!("it is all of it")
    };
    assert!(seen.r#final && seen.pts == 6 && seen.timeout.is_some());
    let texts: Vec<_> = seen.new_messages.iter().map(text_of).collect();
    assert_eq!(texts, [(1, "one"), (2, "two")]);
    let [enums::Update::EditChannelMessage(edit), enums::Update::DeleteChannelMessages(deletion)] =
        &seen.other_updates[..]
    else {
        panic!("{:?}", seen.other_updates)
    };
    assert_eq!((text_of(&edit.message), edit.pts), ((1, "other"), 4));
    assert_eq!((&*deletion.messages, deletion.pts, deletion.pts_count), (&[1, 2][..], 6, 2));
    assert!(!is_told(&recent));
    assert!(matches!(
        fixture.channel_difference(user, id, (6, 100)),
        enums::updates::ChannelDifference::Empty(it) if it.r#final && it.timeout.is_some()
    ));
    assert!(is_told(&old), "a client that comes back with less than it was sent");
    posting::post_in_channel(server, &channel, "three");
    assert!(is_told(&recent), "it was not sent");
}

#[test]
fn only_a_member_gets_at_a_channel_and_only_by_its_own_hash() {
    let fixture = fixture();
    let Fixture { server, user, bot } = &fixture;
    let (both, channel) = fixture.channel(&[user, bot]);
    let (bots, _) = fixture.channel(&[bot]);
    let own = channel.access_hash(user.id);
    assert_ne!(own, channel.access_hash(bot.id));
    let ask = |channel, hash| fixture.channel_answer(user, channel, hash, (1, 10)).err();
    assert_eq!(ask(both, own), None);
    for (channel, hash, word) in [
        (both, channel.access_hash(bot.id), "CHANNEL_INVALID"),
        (both, 0, "CHANNEL_INVALID"),
        (bots, own, "CHANNEL_PRIVATE"),
        (5, own, "CHANNEL_INVALID"),
    ] {
        assert_eq!(ask(channel, hash).as_deref(), Some(word));
    }
    let late = fixture.channel_answer(user, both, own, (2, 10));
    assert_eq!(late.unwrap_err(), "PERSISTENT_TIMESTAMP_INVALID");
    assert_eq!(user.boxes.lock().channels, [both]);
    assert!(server.channel(5).is_none());
}

#[test]
fn a_channel_behind_the_log_comes_with_its_latest_messages() {
    let mut fixture = fixture();
    fixture.server.update_log_len_max = 3;
    let Fixture { server, user, .. } = &fixture;
    let (id, channel) = fixture.channel(&[user]);
    for text in ["one", "two", "three", "four"] {
        posting::post_in_channel(server, &channel, text);
    }
    posting::delete_in_channel(server, &channel, &[4]);
    let enums::updates::ChannelDifference::TooLong(seen) =
        fixture.channel_difference(user, id, (1, 100))
    else {
        panic!("the first is gone")
    };
    assert!(seen.r#final && seen.timeout.is_some() && seen.chats.len() == 1);
    let enums::Dialog::Dialog(dialog) = seen.dialog else { panic!("{:?}", seen.dialog) };
    assert_eq!((dialog.pts, dialog.top_message), (Some(6), 3));
    let texts: Vec<_> = seen.messages.iter().map(text_of).collect();
    assert_eq!(texts, [(3, "three"), (2, "two")]);
    assert!(matches!(
        fixture.difference(user, &asking(1, 0)),
        enums::updates::Difference::Empty(_)
    ));
}

#[test]
fn a_bot_is_told_who_has_stopped_it() {
    let fixture = fixture();
    let Fixture { server, bot, .. } = &fixture;
    assert_eq!([(); 3].map(|()| posting::post_secondary(server, bot)), [1, 2, 3]);
    let enums::updates::Difference::Difference(seen) = fixture.difference(bot, &asking(1, 1))
    else {
        panic!("there are two")
    };
    let told = seen.other_updates.iter().map(|update| match update {
        enums::Update::BotStopped(it) => (it.stopped, it.qts),
        other => panic!("{other:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), [(false, 2), (true, 3)]);
    assert_eq!(seen.users.len(), 2);
}

proptest! {
    #[test]
    fn slices_of_a_channel_join_up_to_what_was_posted(
        posts in proptest::collection::vec(0..3_u8, 1..40),
        limits in proptest::collection::vec(1..7_i32, 40),
    ) {
        let fixture = fixture();
        let (id, channel) = fixture.channel(&[&fixture.user]);
        let mut last = 0;
        for post in &posts {
            match post {
                1 if posting::edit_in_channel(&fixture.server, &channel, last, "other") => {}
                2 if posting::delete_in_channel(&fixture.server, &channel, &[last]) == 1 => {}
                _ => last = posting::post_in_channel(&fixture.server, &channel, "a word"),
            }
        }
        let (mut pts, mut news, mut others) = (1, vec![], 0);
        for limit in limits {
            let answer = fixture.channel_difference(&fixture.user, id, (pts, limit));
            let enums::updates::ChannelDifference::Difference(slice) = answer else { break };
            let count = slice.new_messages.len() + slice.other_updates.len();
            prop_assert!(count <= usize::try_from(limit).unwrap());
            // Each of these moves the number by one.
            prop_assert_eq!(slice.pts - pts, i32::try_from(count).unwrap());
            news.extend(slice.new_messages.iter().map(|message| text_of(message).0));
            others += slice.other_updates.len();
            pts = slice.pts;
            if slice.r#final {
                break;
            }
        }
        prop_assert_eq!(pts, channel.posts.lock().log.pts());
        prop_assert_eq!(&news, &(1..=last).collect::<Vec<_>>());
        prop_assert_eq!(news.len() + others, posts.len());
    }
}
