//! Send target: which chat a call sends into, and how many messages.
//!
//! Owns the list of methods that send. Reads a request as it goes out, and never changes one.

use grammers_client::tl::{
    Cursor, Deserializable, Identifiable as _, RemoteCall, enums, functions,
};

use crate::telegram::invoke::first_words;

const VECTOR: u32 = 0x1cb5_c415;
const INVOKE_WITHOUT_UPDATES: u32 = functions::InvokeWithoutUpdates::<()>::CONSTRUCTOR_ID;

/// A chat, as an account addresses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum SendChat {
    Oneself,
    User(i64),
    Group(i64),
    Channel(i64),
}

impl SendChat {
    fn of(peer: &enums::InputPeer) -> Option<Self> {
        match peer {
            // The server refuses it.
            enums::InputPeer::Empty => None,
            enums::InputPeer::PeerSelf => Some(Self::Oneself),
            enums::InputPeer::User(peer) => Some(Self::User(peer.user_id)),
            enums::InputPeer::UserFromMessage(peer) => Some(Self::User(peer.user_id)),
            enums::InputPeer::Chat(peer) => Some(Self::Group(peer.chat_id)),
            enums::InputPeer::Channel(peer) => Some(Self::Channel(peer.channel_id)),
            enums::InputPeer::ChannelFromMessage(peer) => Some(Self::Channel(peer.channel_id)),
        }
    }

    /// Whether the limit of groups holds there.
    pub(super) fn is_group(self) -> bool {
        matches!(self, Self::Group(_) | Self::Channel(_))
    }
}

/// What a call sends, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::telegram) struct SendTarget {
    pub(super) chat: SendChat,
    pub(super) messages: u32,
}

/// How a method that sends is read.
#[derive(Clone, Copy)]
enum SendMethod {
    /// One message, to the peer behind the flags.
    One,
    Album,
    Forward,
}

impl SendMethod {
    fn of(method: u32) -> Option<Self> {
        match method {
            functions::messages::SendMessage::CONSTRUCTOR_ID
            | functions::messages::SendMedia::CONSTRUCTOR_ID
            | functions::messages::SendInlineBotResult::CONSTRUCTOR_ID => Some(Self::One),
            functions::messages::SendMultiMedia::CONSTRUCTOR_ID => Some(Self::Album),
            functions::messages::ForwardMessages::CONSTRUCTOR_ID => Some(Self::Forward),
            _ => None,
        }
    }
}

impl SendTarget {
    /// What a call sends; `None` if it is no method that sends.
    pub(in crate::telegram) fn of<R: RemoteCall>(request: &R) -> Option<Self> {
        let (method, skip) = match first_words(request) {
            (INVOKE_WITHOUT_UPDATES, inner) => (SendMethod::of(inner)?, 8),
            (outer, _) => (SendMethod::of(outer)?, 4),
        };
        Self::read(method, request.to_bytes().get(skip..)?)
    }

    fn read(method: SendMethod, arguments: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::from_slice(arguments);
        let flags = u32::deserialize(&mut cursor).ok()?;
        let peer = enums::InputPeer::deserialize(&mut cursor).ok()?;
        let (peer, messages) = match method {
            SendMethod::One => (peer, 1),
            SendMethod::Album => {
                if flags & 1 != 0 {
                    // What it replies to stands before its items.
                    enums::InputReplyTo::deserialize(&mut cursor).ok()?;
                }
                if u32::deserialize(&mut cursor).ok()? != VECTOR {
                    return None;
                }
                (peer, u32::deserialize(&mut cursor).ok()?)
            }
            SendMethod::Forward => {
                let ids = Vec::<i32>::deserialize(&mut cursor).ok()?;
                Vec::<i64>::deserialize(&mut cursor).ok()?;
                let to = enums::InputPeer::deserialize(&mut cursor).ok()?;
                (to, u32::try_from(ids.len()).ok()?)
            }
        };
        Some(Self { chat: SendChat::of(&peer)?, messages: messages.max(1) })
    }
}

#[cfg(test)]
mod tests {
    use grammers_client::tl::types;

    use super::*;
    use crate::telegram::messages::text_message;

    fn channel(channel_id: i64) -> enums::InputPeer {
        types::InputPeerChannel { channel_id, access_hash: 5 }.into()
    }

    fn text(peer: enums::InputPeer) -> functions::messages::SendMessage {
        let mut message = text_message(peer, "x".repeat(4096), 1);
        (message.silent, message.send_as) = (true, Some(channel(77)));
        message
    }

    fn album(items: usize, reply: bool) -> functions::messages::SendMultiMedia {
        let item = types::InputSingleMedia {
            media: enums::InputMedia::Empty,
            random_id: 1,
            message: String::new(),
            entities: None,
        };
        let reply_to = types::InputReplyToStory { peer: enums::InputPeer::PeerSelf, story_id: 3 };
        functions::messages::SendMultiMedia {
            silent: false,
            background: false,
            clear_draft: false,
            noforwards: false,
            update_stickersets_order: false,
            invert_media: false,
            allow_paid_floodskip: false,
            peer: types::InputPeerChat { chat_id: 9 }.into(),
            reply_to: reply.then(|| reply_to.into()),
            multi_media: vec![item.into(); items],
            schedule_date: None,
            send_as: None,
            quick_reply_shortcut: None,
            effect: None,
            allow_paid_stars: None,
        }
    }

    fn forward(messages: usize, to_peer: enums::InputPeer) -> functions::messages::ForwardMessages {
        functions::messages::ForwardMessages {
            silent: false,
            background: false,
            with_my_score: false,
            drop_author: true,
            drop_media_captions: false,
            noforwards: false,
            allow_paid_floodskip: false,
            from_ephemeral: false,
            from_peer: channel(1),
            id: vec![1; messages],
            random_id: vec![2; messages],
            to_peer,
            top_msg_id: None,
            reply_to: None,
            schedule_date: None,
            schedule_repeat_period: None,
            send_as: None,
            quick_reply_shortcut: None,
            effect: None,
            video_timestamp: None,
            allow_paid_stars: None,
            suggested_post: None,
        }
    }

    #[test]
    fn what_is_sent_is_counted_by_the_chat_that_it_goes_to() {
        let user = || types::InputPeerUser { user_id: 5, access_hash: 1 }.into();
        let target = |chat, messages| Some(SendTarget { chat, messages });
        assert_eq!(SendTarget::of(&text(user())), target(SendChat::User(5), 1));
        let oneself = text(enums::InputPeer::PeerSelf);
        assert_eq!(SendTarget::of(&oneself), target(SendChat::Oneself, 1));
        assert_eq!(SendTarget::of(&text(enums::InputPeer::Empty)), None);
        let quiet = functions::InvokeWithoutUpdates { query: text(channel(8)) };
        assert_eq!(SendTarget::of(&quiet), target(SendChat::Channel(8), 1));
        for reply in [false, true] {
            assert_eq!(SendTarget::of(&album(10, reply)), target(SendChat::Group(9), 10));
        }
        let quiet = functions::InvokeWithoutUpdates { query: forward(100, user()) };
        assert_eq!(SendTarget::of(&quiet), target(SendChat::User(5), 100));
        assert_eq!(SendTarget::of(&forward(0, channel(8))), target(SendChat::Channel(8), 1));
        assert!(SendChat::Channel(8).is_group() && SendChat::Group(9).is_group());
        assert!(!SendChat::User(5).is_group() && !SendChat::Oneself.is_group());
    }

    #[test]
    fn what_sends_nothing_is_not_counted() {
        assert_eq!(SendTarget::of(&functions::updates::GetState {}), None);
        let quiet = functions::InvokeWithoutUpdates { query: functions::updates::GetState {} };
        assert_eq!(SendTarget::of(&quiet), None);
    }
}
