//! What is inside of updates and differences.
//!
//! Owns what tells one kind from another. Changes nothing but what it is asked to take out.

use grammers_client::session::updates::{MessageBox, State, UpdatesLike};
use grammers_client::tl::{enums, types};

/// The channel whose box an update is in.
pub(super) fn channel_of(state: &State) -> Option<i64> {
    match state.message_box {
        Some(MessageBox::Channel { channel_id, .. }) => Some(channel_id),
        _ => None,
    }
}

/// Whether it is a new message as a difference tells it, which has no place in a box.
pub(super) fn is_of_difference(update: &enums::Update) -> bool {
    match update {
        enums::Update::NewMessage(new) => new.pts == 0,
        enums::Update::NewChannelMessage(new) => new.pts == 0,
        enums::Update::NewEncryptedMessage(new) => new.qts == 0,
        _ => false,
    }
}

/// Whether a difference says how far it goes: the client's record takes that for granted.
pub(super) fn is_complete(difference: &enums::updates::ChannelDifference) -> bool {
    match difference {
        enums::updates::ChannelDifference::TooLong(difference) => {
            matches!(&difference.dialog, enums::Dialog::Dialog(dialog) if dialog.pts.is_some())
        }
        _ => true,
    }
}

/// What a difference tells beside new messages.
pub(super) fn others(
    difference: &mut enums::updates::Difference,
) -> Option<&mut Vec<enums::Update>> {
    match difference {
        enums::updates::Difference::Difference(it) => Some(&mut it.other_updates),
        enums::updates::Difference::Slice(it) => Some(&mut it.other_updates),
        enums::updates::Difference::Empty(_) | enums::updates::Difference::TooLong(_) => None,
    }
}

/// The place of an update in the secondary box, if it belongs there.
pub(super) fn qts_of(update: &enums::Update) -> Option<i32> {
    use enums::Update as U;
    Some(match update {
        U::NewEncryptedMessage(it) => it.qts,
        U::ChatParticipant(it) => it.qts,
        U::ChannelParticipant(it) => it.qts,
        U::BotStopped(it) => it.qts,
        U::BotChatInviteRequester(it) => it.qts,
        U::BotChatBoost(it) => it.qts,
        U::BotMessageReaction(it) => it.qts,
        U::BotMessageReactions(it) => it.qts,
        U::BotNewBusinessMessage(it) => it.qts,
        U::BotEditBusinessMessage(it) => it.qts,
        U::BotDeleteBusinessMessage(it) => it.qts,
        U::BotPurchasedPaidMedia(it) => it.qts,
        _ => return None,
    })
}

/// For how long a client that shows the channel may wait before it asks again.
pub(super) fn timeout(difference: &mut enums::updates::ChannelDifference) -> &mut Option<i32> {
    match difference {
        enums::updates::ChannelDifference::Empty(it) => &mut it.timeout,
        enums::updates::ChannelDifference::TooLong(it) => &mut it.timeout,
        enums::updates::ChannelDifference::Difference(it) => &mut it.timeout,
    }
}

/// The same as the plain container that is in it.
pub(super) fn unwrapped(updates: UpdatesLike) -> UpdatesLike {
    let container = match updates {
        UpdatesLike::InvitedUsers(invited) => invited.updates,
        UpdatesLike::ChatInviteJoinResult(joined) => joined.updates,
        UpdatesLike::Updates(updates) => updates,
        other => return other,
    };
    UpdatesLike::Updates(match container {
        enums::Updates::UpdateShort(it) => {
            let (users, chats) = (Vec::new(), Vec::new());
            types::Updates { updates: vec![it.update], users, chats, date: it.date, seq: 0 }.into()
        }
        container => container,
    })
}

/// The updates of a container.
pub(super) fn contents(updates: &mut enums::Updates) -> Option<&mut Vec<enums::Update>> {
    match updates {
        enums::Updates::Updates(it) => Some(&mut it.updates),
        enums::Updates::Combined(it) => Some(&mut it.updates),
        _ => None,
    }
}

/// How many updates there are of each box: of the account's boxes and of none, which is `None`, and of each
/// channel's. If none is missing before them, as many come out of the client's record.
pub(super) type BoxCounts = Vec<(Option<i64>, usize)>;

/// How many updates of each box have come.
pub(super) fn counts_of(updates: &mut UpdatesLike) -> BoxCounts {
    match updates {
        UpdatesLike::Updates(updates) => match contents(updates) {
            Some(updates) => count_by_channel(updates),
            None => vec![(None, 1)],
        },
        UpdatesLike::AffectedChannelMessages { channel_id, .. } => vec![(Some(*channel_id), 1)],
        _ => vec![(None, 1)],
    }
}

pub(super) fn count_by_channel(updates: &[enums::Update]) -> BoxCounts {
    let mut counts = BoxCounts::new();
    for update in updates {
        let channel = channel_of_update(update);
        match counts.iter_mut().find(|(it, _)| *it == channel) {
            Some((_, count)) => *count += 1,
            None => counts.push((channel, 1)),
        }
    }
    counts
}

/// The channel whose box an update belongs to.
fn channel_of_update(update: &enums::Update) -> Option<i64> {
    use enums::Update as U;
    match update {
        U::NewChannelMessage(it) => channel_of_message(&it.message),
        U::EditChannelMessage(it) => channel_of_message(&it.message),
        U::DeleteChannelMessages(it) => Some(it.channel_id),
        U::ReadChannelInbox(it) => Some(it.channel_id),
        U::ChannelWebPage(it) => Some(it.channel_id),
        U::PinnedChannelMessages(it) => Some(it.channel_id),
        _ => None,
    }
}

fn channel_of_message(message: &enums::Message) -> Option<i64> {
    let peer = match message {
        enums::Message::Message(it) => Some(&it.peer_id),
        enums::Message::Service(it) => Some(&it.peer_id),
        enums::Message::Empty(it) => it.peer_id.as_ref(),
    };
    match peer? {
        enums::Peer::Channel(channel) => Some(channel.channel_id),
        _ => None,
    }
}

/// Who has sent a message of the short kind, which describes nobody.
pub(super) fn short_sender(updates: &enums::Updates) -> Option<i64> {
    match updates {
        enums::Updates::UpdateShortMessage(message) => Some(message.user_id),
        enums::Updates::UpdateShortChatMessage(message) => Some(message.from_id),
        _ => None,
    }
}

pub(super) fn contained(updates: Vec<enums::Update>) -> UpdatesLike {
    let (users, chats) = (Vec::new(), Vec::new());
    // Without a date and a number: only what is inside counts.
    UpdatesLike::Updates(types::Updates { updates, users, chats, date: 0, seq: 0 }.into())
}
