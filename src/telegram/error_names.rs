//! Names of errors that the server answers calls with, as far as they are counted apart.
//!
//! Owns the closed set of them: those that [`verdict`](super::verdict) reads something from, and of the others
//! in Telegram's list those that an operator meets. Never judges one.

/// The names without their numbers, in alphabetical order, as they are looked up.
pub(super) const ALL: [&str; 60] = [
    "AUTH_KEY_DUPLICATED",
    "AUTH_KEY_INVALID",
    "AUTH_KEY_PERM_EMPTY",
    "AUTH_KEY_UNREGISTERED",
    "AUTH_RESTART",
    "BOT_METHOD_INVALID",
    "CHANNELS_TOO_MUCH",
    "CHANNEL_INVALID",
    "CHANNEL_PRIVATE",
    "CHAT_ADMIN_REQUIRED",
    "CHAT_FORWARDS_RESTRICTED",
    "CHAT_GUEST_SEND_FORBIDDEN",
    "CHAT_ID_INVALID",
    "CHAT_RESTRICTED",
    "CHAT_SEND_MEDIA_FORBIDDEN",
    "CHAT_SEND_PLAIN_FORBIDDEN",
    "CHAT_WRITE_FORBIDDEN",
    "CONNECTION_LAYER_INVALID",
    "CONNECTION_NOT_INITED",
    "FILE_MIGRATE",
    "FILE_PART_MISSING",
    "FILE_REFERENCE_EXPIRED",
    "FILE_REFERENCE_INVALID",
    "FLOOD_PREMIUM_WAIT",
    "FLOOD_TEST_PHONE_WAIT",
    "FLOOD_WAIT",
    "FROZEN_METHOD_INVALID",
    "INPUT_USER_DEACTIVATED",
    "INVITE_HASH_EXPIRED",
    "INVITE_REQUEST_SENT",
    "MEDIA_EMPTY",
    "MESSAGE_EMPTY",
    "MESSAGE_ID_INVALID",
    "MESSAGE_NOT_MODIFIED",
    "MESSAGE_TOO_LONG",
    "MSG_ID_INVALID",
    "NETWORK_MIGRATE",
    "PEER_FLOOD",
    "PEER_ID_INVALID",
    "PHONE_MIGRATE",
    "PHONE_NUMBER_BANNED",
    "PHONE_NUMBER_INVALID",
    "PREMIUM_ACCOUNT_REQUIRED",
    "PRIVACY_PREMIUM_REQUIRED",
    "RANDOM_ID_DUPLICATE",
    "SESSION_EXPIRED",
    "SESSION_PASSWORD_NEEDED",
    "SESSION_REVOKED",
    "SLOWMODE_WAIT",
    "USERNAME_INVALID",
    "USERNAME_NOT_OCCUPIED",
    "USER_ALREADY_PARTICIPANT",
    "USER_BANNED_IN_CHANNEL",
    "USER_DEACTIVATED",
    "USER_DEACTIVATED_BAN",
    "USER_IS_BLOCKED",
    "USER_MIGRATE",
    "USER_NOT_PARTICIPANT",
    "USER_PRIVACY_RESTRICTED",
    "YOU_BLOCKED_USER",
];

/// Returns the place of a name; of one that is not counted apart, a number beyond them all.
pub(super) fn index_of(name: &str) -> usize {
    ALL.binary_search(&name).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::ERROR_NAMES_MAX;

    #[test]
    fn each_name_is_found_in_its_place_and_no_other_is() {
        assert!(ALL.is_sorted() && ALL.len() <= ERROR_NAMES_MAX);
        for (index, name) in ALL.iter().enumerate() {
            assert_eq!(index_of(name), index, "{name}");
            let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
            assert!(name.bytes().all(is_plain), "{name} stands without its number");
        }
        for unknown in ["", "flood_wait", "FLOOD_WAIT_7", "WHATEVER_IS_NEW"] {
            assert_eq!(index_of(unknown), usize::MAX, "{unknown}");
        }
    }

    #[test]
    fn whatever_the_verdict_reads_something_from_is_counted_apart() {
        let code = include_str!("verdict.rs");
        let is_name = |text: &&str| {
            text.len() > 5 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        };
        let names: Vec<_> = code.split('"').filter(is_name).collect();
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            assert_ne!(index_of(name), usize::MAX, "{name}");
        }
    }
}
