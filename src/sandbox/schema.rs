//! What is served, as clients of earlier layers of the schema know it.
//!
//! Owns the numbers of objects that have had others since layer 158, and where their fields differ. Of those fields
//! that came later nothing is ever told here, so that most objects are the same but for their number.

use grammers_tl_types::{Identifiable as _, types};

/// The layer of a client, as far as what is served differs in it: the numbers of objects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema {
    /// From this layer on.
    since: u32,
    pub(super) user: u32,
    pub(super) user_full: u32,
    pub(super) message: u32,
    pub(super) channel: u32,
    pub(super) dialog: u32,
    pub(super) peer_settings: u32,
    pub(super) notify_settings: u32,
}

/// In the order of their layers. Those between are as the one before, as far as is known here.
static ROWS: [Schema; 5] = [
    Schema {
        since: 0,
        user: 0x8f97_c628,
        user_full: 0x93ea_db53,
        message: 0x3811_6ee0,
        channel: 0x8325_9464,
        dialog: 0xd58a_08c6,
        peer_settings: 0xa518_110d,
        notify_settings: 0xa83b_0426,
    },
    Schema {
        since: WITH_SECOND_FLAGS,
        user: 0x4b46_c37e,
        user_full: 0x4d97_5bbc,
        message: 0x96fd_bbe9,
        channel: 0xe009_98b7,
        dialog: 0xd58a_08c6,
        peer_settings: 0xacd6_6c5e,
        notify_settings: 0x9962_2c0c,
    },
    Schema {
        since: 220,
        user: 0x3177_4388,
        user_full: 0xa02b_c13e,
        message: 0xb92f_76cf,
        channel: 0x1c32_b11c,
        dialog: 0xd58a_08c6,
        peer_settings: 0xf477_41f7,
        notify_settings: 0x9962_2c0c,
    },
    Schema {
        since: WITH_POLL_VOTES,
        user: 0x3177_4388,
        user_full: 0x06cb_e645,
        message: 0x7600_b9d3,
        channel: 0x1c32_b11c,
        dialog: 0xfc89_f7f3,
        peer_settings: 0xf477_41f7,
        notify_settings: 0x9962_2c0c,
    },
    Schema {
        since: 229,
        user: types::User::CONSTRUCTOR_ID,
        user_full: types::UserFull::CONSTRUCTOR_ID,
        message: types::Message::CONSTRUCTOR_ID,
        channel: types::Channel::CONSTRUCTOR_ID,
        dialog: types::Dialog::CONSTRUCTOR_ID,
        peer_settings: types::PeerSettings::CONSTRUCTOR_ID,
        notify_settings: types::PeerNotifySettings::CONSTRUCTOR_ID,
    },
];

/// The layer known here since which messages and full users have a second word of flags.
const WITH_SECOND_FLAGS: u32 = 198;
/// The layer known here since which dialogs tell of votes in polls.
const WITH_POLL_VOTES: u32 = 227;

impl Schema {
    /// That of a client that has announced this layer.
    pub(super) fn of_layer(layer: u32) -> Self {
        *ROWS.iter().rev().find(|row| row.since <= layer).unwrap_or(&ROWS[0])
    }

    /// Whether messages and full users have a second word of flags.
    pub(super) fn has_second_flags(self) -> bool {
        self.since >= WITH_SECOND_FLAGS
    }

    /// Whether dialogs tell of votes in polls.
    pub(super) fn has_poll_votes(self) -> bool {
        self.since >= WITH_POLL_VOTES
    }
}

/// Whoever has announced none yet gets the newest.
impl Default for Schema {
    fn default() -> Self {
        Self::of_layer(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_objects_of_its_own_layer_or_of_the_last_one_known_before() {
        let users = [
            (1, 0x8f97_c628),
            (158, 0x8f97_c628),
            (198, 0x4b46_c37e),
            (219, 0x4b46_c37e),
            (227, 0x3177_4388),
            (229, types::User::CONSTRUCTOR_ID),
            (230, types::User::CONSTRUCTOR_ID),
        ];
        for (layer, user) in users {
            assert_eq!(Schema::of_layer(layer).user, user, "{layer}");
        }
        assert!(ROWS.iter().zip(&ROWS[1..]).all(|(one, next)| one.since < next.since));
        assert!(!Schema::of_layer(158).has_second_flags() && Schema::default().has_poll_votes());
    }
}
