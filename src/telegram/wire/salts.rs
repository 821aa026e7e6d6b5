//! Salts of the server: what each packet has to carry, and what outlasts the connection.
//!
//! Owns the choice of a salt, and when more are to be asked for. Never asks itself.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Instant;

/// How many are asked for: at half an hour each, a day and a half.
pub(super) const ASKED: i32 = 64;
/// More are asked for, in company, once what is known does not last for so many seconds.
const KNOWN_MIN: i64 = 4 * 3_600;
/// How long a salt is taken to last that came without its end: half of what the servers give it.
const TOLD_LASTS: i64 = 1_800;
/// So many seconds after its beginning a salt is used, so that no small error of a clock matters.
const USE_AFTER: i64 = 60;
/// How long an answer is waited for before salts are asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// A salt of an authorization key, and when it is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSalt {
    /// What packets carry.
    pub value: i64,
    /// From when on, in seconds since 1970 by the server's clock.
    pub valid_since: i32,
    /// Until when.
    pub valid_until: i32,
}

impl ServerSalt {
    /// One that came without its times, at this second of the server's clock.
    fn told(value: i64, seconds: i64) -> Self {
        let (valid_since, valid_until) =
            (second(seconds - USE_AFTER), second(seconds + TOLD_LASTS));
        Self { value, valid_since, valid_until }
    }

    fn is_valid_at(&self, seconds: i64) -> bool {
        i64::from(self.valid_since) <= seconds && seconds < i64::from(self.valid_until)
    }
}

/// What a connection knows of its key that the next one has use for: with it the first packet is taken, and a
/// call costs one round trip instead of two. It is no secret without the key. A wrong one costs that round trip
/// and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyMemory {
    /// The salts that are valid now and later, up to 64.
    pub salts: Arc<[ServerSalt]>,
    /// By how many seconds the server's clock is ahead of the time of day here.
    pub clock_offset: i64,
}

impl KeyMemory {
    /// What is known of a key that was made just now: the salt that came of it, by the server's time and ours.
    pub(super) fn of_a_new_key(salt: i64, server_time: i32, unix_time: i64) -> Self {
        let server_time = i64::from(server_time);
        let salts = Arc::new([ServerSalt::told(salt, server_time)]);
        Self { salts, clock_offset: server_time - unix_time }
    }
}

/// The salts that are known.
#[derive(Debug)]
pub(super) struct KnownSalts {
    known: Arc<[ServerSalt]>,
    asked_at: Option<Instant>,
}

impl KnownSalts {
    pub(super) fn new(known: Arc<[ServerSalt]>) -> Self {
        Self { known, asked_at: None }
    }

    pub(super) fn known(&self) -> &Arc<[ServerSalt]> {
        &self.known
    }

    /// The one to use at this second of the server's clock, or 0 if none is known: the latest that has been
    /// valid for a while, else any that is valid, else the one that ends last.
    pub(super) fn current(&self, seconds: i64) -> i64 {
        let begun = |salt: &ServerSalt| i64::from(salt.valid_since) + USE_AFTER <= seconds;
        let best = |salt: &&ServerSalt| {
            let is_valid = salt.is_valid_at(seconds);
            (
                is_valid && begun(salt),
                is_valid,
                if is_valid { salt.valid_since } else { salt.valid_until },
            )
        };
        self.known.iter().max_by_key(best).map_or(0, |salt| salt.value)
    }

    /// The server has said which one is valid now. Returns whether that was news.
    pub(super) fn tell(&mut self, value: i64, seconds: i64, is_refusal: bool) -> bool {
        // After a refusal the others are worth nothing: they were chosen from.
        if !is_refusal && self.known.iter().any(|salt| salt.value == value) {
            return false;
        }
        self.known = Arc::new([ServerSalt::told(value, seconds)]);
        self.asked_at = None;
        true
    }

    /// The server has sent a list, at this second of its clock. What works goes on to be used until one of the
    /// list is valid, and a list that ends soon is no reason to ask again at once.
    pub(super) fn replace(&mut self, salts: impl Iterator<Item = ServerSalt>, seconds: i64) {
        let salts = salts.filter(|salt| salt.valid_since < salt.valid_until);
        let mut salts: Vec<ServerSalt> = salts.take(ASKED.unsigned_abs() as usize).collect();
        let is_valid = |salt: &ServerSalt| salt.is_valid_at(seconds);
        if salts.is_empty() {
            return;
        }
        if !salts.iter().any(is_valid) {
            let current = self.current(seconds);
            let working = self.known.iter().find(|salt| salt.value == current && is_valid(salt));
            salts.truncate(ASKED.unsigned_abs() as usize - 1);
            salts.extend(working);
        }
        self.known = salts.into();
    }

    /// Whether a packet that goes out anyway should ask for more; if so, it is taken as done. Without any that is
    /// known no packet is taken, so that asking would be in vain.
    pub(super) fn ask(&mut self, seconds: i64, now: Instant) -> bool {
        let Some(end) = self.known.iter().map(|salt| i64::from(salt.valid_until)).max() else {
            return false;
        };
        let is_asked = self.asked_at.is_some_and(|at| now < at + ASK_AGAIN);
        let asks = end - seconds < KNOWN_MIN && !is_asked;
        if asks {
            self.asked_at = Some(now);
        }
        asks
    }

    /// The packet that asked for more was refused.
    pub(super) fn ask_again(&mut self) {
        self.asked_at = None;
    }
}

fn second(seconds: i64) -> i32 {
    i32::try_from(seconds.max(0)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::now;

    const NOON: i64 = 1_700_000_000;

    fn salt(value: i64, since: i64, until: i64) -> ServerSalt {
        ServerSalt { value, valid_since: second(NOON + since), valid_until: second(NOON + until) }
    }

    #[test]
    fn the_latest_that_has_begun_is_used_and_an_expired_one_rather_than_none() {
        let mut salts = KnownSalts::new(Arc::default());
        assert_eq!(salts.current(NOON), 0);
        let list =
            [salt(1, -3600, 10), salt(2, -1800, 1800), salt(3, 0, 3600), salt(4, 1800, 5400)];
        salts.replace(list.into_iter().rev(), NOON);
        let at = [0, 59, 60, 1800, 1860, 5400, 99_999].map(|after| salts.current(NOON + after));
        assert_eq!(at, [2, 2, 3, 3, 4, 4, 4]);
    }

    #[test]
    fn more_are_asked_for_long_before_the_end_and_once() {
        let (mut salts, start) = (KnownSalts::new(Arc::default()), now());
        assert!(!salts.ask(NOON, start), "no packet is taken yet");
        assert!(salts.tell(7, NOON, true));
        assert_eq!(salts.current(NOON), 7);
        assert!(salts.ask(NOON, start) && !salts.ask(NOON, start));
        assert!(salts.ask(NOON, start + ASK_AGAIN), "nobody has answered");
        salts.ask_again();
        assert!(salts.ask(NOON, start + ASK_AGAIN));
        let list = (0..99).map(|n| salt(n, n * 1800, n * 1800 + 3600));
        salts.replace(list, NOON);
        assert_eq!(salts.known().len(), 64);
        let later = start + 2 * ASK_AGAIN;
        assert!(!salts.ask(NOON + 20 * 3600, later) && salts.ask(NOON + 30 * 3600, later));
        assert!(!salts.tell(5, NOON, false), "it is known");
        assert!(
            salts.tell(5, NOON, true) && salts.known().len() == 1,
            "none of the others is right"
        );
    }

    #[test]
    fn a_list_that_is_of_no_use_yet_neither_takes_what_works_nor_is_asked_for_again() {
        let (mut salts, start) = (KnownSalts::new(Arc::default()), now());
        salts.tell(7, NOON, true);
        assert!(salts.ask(NOON, start));
        salts.replace([salt(8, 60, 120), salt(9, -60, -1)].into_iter(), NOON);
        assert_eq!(salts.current(NOON), 7);
        assert_eq!(salts.current(NOON + 2_000), 7, "it ends last");
        assert!(!salts.ask(NOON, start), "that would be once with each packet");
        assert!(salts.ask(NOON, start + ASK_AGAIN));
    }

    #[test]
    fn nothing_a_server_says_is_too_much() {
        let mut salts = KnownSalts::new(Arc::default());
        for seconds in [0, 1, i64::MAX / 2] {
            salts.tell(1, seconds, true);
            salts.replace([salt(1, 5, 5)].into_iter(), seconds);
            let (valid_since, valid_until) = (i32::MIN, i32::MAX);
            salts.replace([ServerSalt { value: 2, valid_since, valid_until }].into_iter(), seconds);
            assert_eq!(salts.current(seconds), 2);
            salts.ask(seconds, now());
        }
    }
}
