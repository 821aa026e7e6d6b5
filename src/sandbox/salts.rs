//! Server salts: which one a client has to send, and which follow it.
//!
//! Owns their rotation. None is kept: each comes out of the seed, the key and the time, which is given in
//! seconds since 1970.

use super::accounts::Key;
use super::server_state::ServerState;

/// How long a salt is the current one, in seconds; it is accepted for as long again.
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
    pub(super) fn salts(&self, key: &Key, now: u64) -> impl Iterator<Item = Salt> {
        let current = now / SALT_PERIOD;
        let seed = self.seed;
        let salt_id = key.salt_id();
        (current..).map(move |period| salt(seed, salt_id, period))
    }

    /// The current salt.
    pub(super) fn salt(&self, key: &Key, now: u64) -> i64 {
        self.salts(key, now).next().map_or(0, |salt| salt.value)
    }

    /// Whether a client may use a salt: the current one, the one before, or what came of the exchange of its key for
    /// as long as those two are good.
    pub(super) fn accepts_salt(&self, key: &Key, value: i64, now: u64) -> bool {
        let is_first = |(salt, since): (i64, u64)| salt == value && now < since + 2 * SALT_PERIOD;
        if key.first_salt.is_some_and(is_first) {
            return true;
        }
        let current = now / SALT_PERIOD;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::faults::FaultInjector;
    use crate::sandbox::world::World;
    use crate::session::AuthKey;
    use std::sync::Arc;

    #[test]
    fn every_salt_is_accepted_exactly_as_long_as_it_is_said_to_be_valid() {
        let address = "127.0.0.1:4430".parse().unwrap();
        let server =
            ServerState::new((2, address), Arc::new(World::new()), 7, FaultInjector::default());
        let key = Key::new(AuthKey::new([3; 256]), None);
        let now = 1_700_000_000;
        let salts: Vec<_> = server.salts(&key, now).take(64).collect();
        assert!(i64::from(salts[0].since) <= 1_700_000_000 && salts[0].until > 1_700_000_000);
        for (salt, next) in salts.iter().zip(&salts[1..]) {
            let (since, until) =
                (u64::try_from(salt.since).unwrap(), u64::try_from(salt.until).unwrap());
            assert_eq!((until - since, next.since - salt.since), (2 * SALT_PERIOD, 1800));
            let accepted = [since - 1, since, since + 1800, until - 1, until]
                .map(|at| server.accepts_salt(&key, salt.value, at));
            assert_eq!(accepted, [false, true, true, true, false]);
            assert_eq!(
                server.salt(&key, since + 1799),
                salt.value,
                "half of its time it is current"
            );
            assert_ne!(server.salt(&key, since + 1800), salt.value);
        }
    }
}
