//! Record of a process: what it says of itself, and what that means for a key of another one.
//!
//! Owns the record, by both clocks, and what follows from it. Where it does not decide, a key rests.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Holder;
use crate::base::clock::{time_with_sleep, unix_time};
use crate::session::KeyId;

/// How much later than it says a process may still have had sockets: it says so anew twice a minute.
const STEP: Duration = Duration::from_secs(60);

/// A moment by two clocks, in seconds: the time of day, which other runs of the machine know, and the
/// time since its start, which nobody sets. Zero is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment {
    pub(super) unix: u64,
    pub(super) up: u64,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { unix: unix_time().as_secs().max(1), up: time_with_sleep().as_secs().max(1) }
    }

    pub(super) fn after(self, time: Duration) -> Self {
        Self { unix: self.unix + time.as_secs() + 1, up: self.up + time.as_secs() + 1 }
    }
}

/// What a process says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessRecord {
    #[serde(flatten)]
    pub(super) holder: Holder,
    /// The run of the machine that it belongs to.
    pub(super) boot: String,
    /// How long its keys must rest after a crash, in seconds.
    pub(super) timer: u64,
    /// When it last said that it had sockets; never if it has none.
    pub(super) open: Moment,
    /// Until when keys of it must rest though all of its sockets are closed.
    pub(super) rest_until: Moment,
}

impl ProcessRecord {
    fn rest(&self, now: Moment, timer: Duration, boot: &str) -> Duration {
        let timer = timer.max(Duration::from_secs(self.timer));
        let seconds = |moment: Moment| match self.boot == boot {
            true => moment.up,
            false => moment.unix,
        };
        let [now, open, until] = [now, self.open, self.rest_until].map(seconds);
        let asked = Duration::from_secs(until.saturating_sub(now)).min(timer);
        if open == 0 {
            return asked;
        }
        // A clock that was set back since must not make it longer than the timer is.
        let last = (open + STEP.as_secs()).min(now);
        (Duration::from_secs(last) + timer).saturating_sub(Duration::from_secs(now)).max(asked)
    }
}

/// Keys by their numbers.
pub(super) type KeyNumbers = Arc<HashSet<u64>>;

/// Another process of the folder, or what is left of one.
#[derive(Debug)]
pub(super) struct OtherProcess {
    pub(super) is_alive: bool,
    /// `None`: it cannot be read.
    pub(super) record: Option<ProcessRecord>,
    pub(super) keys: Option<KeyNumbers>,
    /// How long ago the record was written, if it cannot be read.
    pub(super) age: Duration,
}

/// What another process means for a key that this one has just locked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PriorUse {
    /// It lives, and says that it has the key: it is about to end, or somebody has removed the locks.
    Has(Option<Holder>),
    /// The key must rest for so long; zero if it need not.
    Rest(Duration),
}

impl OtherProcess {
    pub(super) fn prior_use(&self, key: KeyId, timer: Duration, boot: &str) -> PriorUse {
        let has_key = self.keys.as_ref().is_none_or(|keys| keys.contains(&key.number()));
        match &self.record {
            record if self.is_alive && has_key => {
                PriorUse::Has(record.as_ref().map(|record| record.holder.clone()))
            }
            _ if self.is_alive => PriorUse::Rest(Duration::ZERO),
            None => PriorUse::Rest((STEP + timer).saturating_sub(self.age)),
            // What a machine wrote just before it lost its power may be missing: no key is exempt.
            Some(record) if has_key || record.boot != boot => {
                PriorUse::Rest(record.rest(Moment::now(), timer, boot))
            }
            Some(_) => PriorUse::Rest(Duration::ZERO),
        }
    }

    pub(super) fn is_of_use(&self, timer: Duration, boot: &str) -> bool {
        let rests = |record: &ProcessRecord| !record.rest(Moment::now(), timer, boot).is_zero();
        self.is_alive || self.record.as_ref().map_or(self.age < STEP + timer, rests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_neither_shortens_nor_prolongs_a_rest_in_the_same_run_of_the_machine() {
        let timer = Duration::from_secs(120);
        let holder = Holder::myself(None);
        let (open, rest_until) = (Moment { unix: 10_000, up: 500 }, Moment::default());
        let record = ProcessRecord { holder, boot: "a".into(), timer: 120, open, rest_until };
        let rest = |unix, up, boot: &str| record.rest(Moment { unix, up }, timer, boot).as_secs();
        for unix in [1, 10_100, 1_000_000] {
            assert_eq!(rest(unix, 600, "a"), 80, "whatever the time of day says");
        }
        assert_eq!(rest(10_100, 7, "b"), 80, "only the time of day is known to both");
        assert_eq!(rest(9_000, 7, "b"), 120, "it was set back");
        assert_eq!(record.rest(Moment { unix: 1, up: 600 }, Duration::ZERO, "a").as_secs(), 80);
    }
}
