//! The reachability of an address: while it does not answer, one dial at a time tries it again.
//!
//! Owns the memory of failures in a row and the growing pause between two trials. Pure: time and
//! chance come in as arguments.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::account_id::AccountId;
use crate::base::clock::{Tick, millis};

/// An address is down when the dials of so many accounts have failed and none has been answered since.
/// Of several accounts: one whose own session makes the server hang up says nothing of the others.
const ACCOUNTS: usize = 3;

const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Reachability {
    /// Whose dials have failed since one was last answered.
    failed: SmallVec<[AccountId; ACCOUNTS]>,
    down: Option<Down>,
}

#[derive(Debug)]
struct Down {
    /// Dials in a row that were not answered.
    failures: u32,
    /// Of them, the trials.
    trials: u32,
    /// When the next trial may begin.
    next: Tick,
    trial_under_way: bool,
    /// What the last dial failed with.
    error: Arc<str>,
}

/// What is known of an address that is down.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    pub(super) failures: u32,
    pub(super) error: Arc<str>,
    /// How long it is until the next trial; nothing while one is under way.
    pub(super) left: Duration,
}

impl Reachability {
    /// Admits a dial, and returns whether it is the trial of an address that is down; or what is known of
    /// that.
    pub(super) fn admit(&mut self, now: Tick) -> Result<bool, Outage> {
        match &mut self.down {
            None => Ok(false),
            Some(down) if !down.trial_under_way && down.next <= now => {
                down.trial_under_way = true;
                Ok(true)
            }
            Some(_) => Err(self.outage(now).expect("BUG: it is down")),
        }
    }

    /// What is known, if the address is down.
    pub(super) fn outage(&self, now: Tick) -> Option<Outage> {
        let down = self.down.as_ref()?;
        let left = if down.trial_under_way { 0 } else { down.next.saturating_sub(now) };
        Some(Outage {
            failures: down.failures,
            error: Arc::clone(&down.error),
            left: Duration::from_millis(left),
        })
    }

    /// A dial was answered. Returns whether the address had been down.
    pub(super) fn note_answer(&mut self) -> bool {
        self.failed.clear();
        self.down.take().is_some()
    }

    /// A dial of an account was not answered; `is_trial` if it was the trial. Returns whether the
    /// address is down from now on.
    pub(super) fn note_failure(
        &mut self,
        account: AccountId,
        is_trial: bool,
        error: &Arc<str>,
        now: Tick,
        share: f64,
    ) -> bool {
        if let Some(down) = &mut self.down {
            down.failures = down.failures.saturating_add(1);
            down.error = Arc::clone(error);
            if is_trial {
                down.trials = down.trials.saturating_add(1);
                down.trial_under_way = false;
                down.next = now + millis(pause(down.trials, share));
            }
            return false;
        }
        if !self.failed.contains(&account) {
            self.failed.push(account);
        }
        if self.failed.len() < ACCOUNTS {
            return false;
        }
        let failures = u32::try_from(ACCOUNTS).expect("BUG: a few");
        let next = now + millis(pause(0, share));
        let error = Arc::clone(error);
        self.down = Some(Down { failures, trials: 0, next, trial_under_way: false, error });
        true
    }

    /// A trial ended without a result: another may begin at once.
    pub(super) fn cancel_trial(&mut self) {
        if let Some(down) = &mut self.down {
            down.trial_under_way = false;
        }
    }
}

/// The pause after so many trials in vain: one second doubling to thirty, of which a random share of
/// the second half is waited.
fn pause(trials: u32, share: f64) -> Duration {
    (PAUSE_FIRST * (1 << trials.min(5))).min(PAUSE_MAX).mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u64) -> AccountId {
        AccountId::bot(number).expect("a number")
    }

    fn fail(reach: &mut Reachability, number: u64, is_trial: bool, now: Tick) -> bool {
        reach.note_failure(account(number), is_trial, &Arc::from("no answer"), now, 1.0)
    }

    #[test]
    fn it_takes_several_accounts_to_call_an_address_down() {
        let mut reach = Reachability::default();
        for _ in 0..10 {
            assert!(!fail(&mut reach, 1, false, 0));
        }
        assert!(!fail(&mut reach, 2, false, 0));
        assert!(!reach.note_answer());
        assert!(!fail(&mut reach, 3, false, 0) && !fail(&mut reach, 4, false, 0));
        assert_eq!(reach.admit(0).ok(), Some(false), "an answer has come in between");
        assert!(fail(&mut reach, 5, false, 0));
        assert!(reach.admit(0).is_err());
    }

    #[test]
    fn an_address_that_is_down_is_tried_by_one_dial_at_a_time_ever_more_seldom() {
        let mut reach = Reachability::default();
        for number in 1..=3 {
            fail(&mut reach, number, false, 0);
        }
        let mut now = 0;
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            now += seconds * 1000;
            let left = reach.admit(now - 1).map_err(|outage| outage.left);
            assert_eq!(left, Err(Duration::from_millis(1)));
            assert_eq!(reach.admit(now).ok(), Some(true));
            let left = reach.admit(now + 1000).map_err(|outage| outage.left);
            assert_eq!(left, Err(Duration::ZERO), "one is under way");
            // One that began before it was down changes no pause.
            assert!(!fail(&mut reach, 9, false, now));
            assert!(!fail(&mut reach, 4, true, now));
        }
        assert_eq!(reach.outage(now).map(|outage| outage.failures), Some(17));
        now += 30_000;
        assert_eq!(reach.admit(now).ok(), Some(true));
        reach.cancel_trial();
        assert_eq!(reach.admit(now).ok(), Some(true), "it was given up");
        assert!(reach.note_answer());
        assert_eq!((reach.admit(now).ok(), reach.admit(now).ok()), (Some(false), Some(false)));
    }
}
