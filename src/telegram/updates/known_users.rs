//! Users whose access hashes an account has seen.
//!
//! Owns a bounded record of them, for updates of the short kind, which tell a user's id alone.

use std::collections::HashMap;

use grammers_client::tl::enums;

/// Of how many users the hash is remembered: some 32 kB for an account.
const MAX: usize = 1_000;

/// The access hashes of users, by their ids.
#[derive(Default)]
pub(super) struct KnownUsers(HashMap<i64, i64>);

impl KnownUsers {
    /// Takes in whom the server names. A record that is full begins anew: whoever is needed again is asked for again.
    pub(super) fn note(&mut self, users: &[enums::User]) {
        for user in users {
            let Some((id, hash)) = user_hash(user) else { continue };
            if self.0.len() >= MAX && !self.0.contains_key(&id) {
                self.0.clear();
            }
            self.0.insert(id, hash);
        }
    }

    pub(super) fn hash(&self, user: i64) -> Option<i64> {
        self.0.get(&user).copied()
    }
}

/// The id of a user and the hash by which this account addresses it.
pub(super) fn user_hash(user: &enums::User) -> Option<(i64, i64)> {
    match user {
        enums::User::User(user) if !user.min => Some((user.id, user.access_hash?)),
        _ => None,
    }
}
