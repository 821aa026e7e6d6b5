//! Server salts: which one a client has to send, and which follow it.
//!
//! Owns their rotation. None is kept: each comes out of the seed, the key and the time.

use super::accounts::Key;
use super::server_state::ServerState;
use crate::base::clock::unix_time;

/// How long a salt is the current one; it is accepted for as long again.
const SALT_PERIOD: u64 = 1800;

/// A salt of a key: its value, and when it is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Salt {
    pub(super) value: i64,
    pub(super) since: i32,
    pub(super) until: i32,
}

impl ServerState {
    /// The current salt, and those that follow it.
    pub(super) fn salts(&self, key: &Key) -> impl Iterator<Item = Salt> {
        let current = unix_time().as_secs() / SALT_PERIOD;
        let seed = self.seed;
        let salt_id = key.salt_id();
        (current..).map(move |period| salt(seed, salt_id, period))
    }

    /// The current salt.
    pub(super) fn salt(&self, key: &Key) -> i64 {
        self.salts(key).next().map_or(0, |salt| salt.value)
    }

    /// Whether a client may use a salt: the current one, or the one before.
    pub(super) fn accepts_salt(&self, key: &Key, value: i64) -> bool {
        let current = unix_time().as_secs() / SALT_PERIOD;
        let salt_id = key.salt_id();
        [current, current - 1].iter().any(|period| salt(self.seed, salt_id, *period).value == value)
    }
}

impl Key {
    /// What its salts are derived from.
    fn salt_id(&self) -> u64 {
        u64::from_le_bytes(*self.secret.expose().first_chunk().expect("BUG: keys are longer"))
    }
}

fn salt(seed: u64, salt_id: u64, period: u64) -> Salt {
    let mut random = fastrand::Rng::with_seed(seed ^ salt_id.wrapping_add(period));
    let second = |periods: u64| i32::try_from(periods * SALT_PERIOD).unwrap_or(i32::MAX);
    Salt { value: random.i64(..), since: second(period), until: second(period + 2) }
}
