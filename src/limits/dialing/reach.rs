//! Whether an address answers: while it does not, one dial at a time looks again.
//!
//! Owns the memory of failures in a row and the growing pause between two looks. Pure: time and
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
pub(super) struct Reach {
    /// Whose dials have failed since one was last answered.
    failed: SmallVec<[AccountId; ACCOUNTS]>,
    down: Option<Down>,
}

#[derive(Debug)]
struct Down {
    /// Dials in a row that were not answered.
    failures: u32,
    /// Of them, those that looked again.
    looks: u32,
    /// When the next look may begin.
    next: Tick,
    looking: bool,
    /// What the last dial failed with.
    error: Arc<str>,
}

/// What is known of an address that is down.
#[derive(Clone, Debug)]
pub(super) struct Silence {
    pub(super) failures: u32,
    pub(super) error: Arc<str>,
    /// How long it is until the next look; nothing while one is under way.
    pub(super) left: Duration,
}

impl Reach {
    /// Whether a dial may begin, and as a look at an address that is down; or what is known of that.
    pub(super) fn enter(&mut self, now: Tick) -> Result<bool, Silence> {
        match &mut self.down {
            None => Ok(false),
            Some(down) if !down.looking && down.next <= now => {
                down.looking = true;
                Ok(true)
            }
            Some(_) => Err(self.silence(now).expect("BUG: it is down")),
        }
    }

    /// What is known, if the address is down.
    pub(super) fn silence(&self, now: Tick) -> Option<Silence> {
        let down = self.down.as_ref()?;
        let left = if down.looking { 0 } else { down.next.saturating_sub(now) };
        Some(Silence {
            failures: down.failures,
            error: Arc::clone(&down.error),
            left: Duration::from_millis(left),
        })
    }

    /// A dial was answered. Says whether the address had been down.
    pub(super) fn note_answer(&mut self) -> bool {
        self.failed.clear();
        self.down.take().is_some()
    }

    /// A dial of an account was not answered, of which `looks` if it was a look. Says whether the
    /// address is down from now on.
    pub(super) fn note_silence(
        &mut self,
        account: AccountId,
        looks: bool,
        error: &Arc<str>,
        now: Tick,
        share: f64,
    ) -> bool {
        if let Some(down) = &mut self.down {
            down.failures = down.failures.saturating_add(1);
            down.error = Arc::clone(error);
            if looks {
                down.looks = down.looks.saturating_add(1);
                down.looking = false;
                down.next = now + millis(pause(down.looks, share));
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
        self.down = Some(Down { failures, looks: 0, next, looking: false, error });
        true
    }

    /// A look ended before it had an answer or none: another may take its place at once.
    pub(super) fn leave_look(&mut self) {
        if let Some(down) = &mut self.down {
            down.looking = false;
        }
    }
}

/// The pause after so many looks in vain: one second doubling to thirty, of which a random share of
/// the second half is waited.
fn pause(looks: u32, share: f64) -> Duration {
    (PAUSE_FIRST * (1 << looks.min(5))).min(PAUSE_MAX).mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u64) -> AccountId {
        AccountId::bot(number).expect("a number")
    }

    fn fail(reach: &mut Reach, number: u64, looks: bool, now: Tick) -> bool {
        reach.note_silence(account(number), looks, &Arc::from("no answer"), now, 1.0)
    }

    #[test]
    fn it_takes_several_accounts_to_call_an_address_down() {
        let mut reach = Reach::default();
        for _ in 0..10 {
            assert!(!fail(&mut reach, 1, false, 0));
        }
        assert!(!fail(&mut reach, 2, false, 0));
        assert!(!reach.note_answer());
        assert!(!fail(&mut reach, 3, false, 0) && !fail(&mut reach, 4, false, 0));
        assert_eq!(reach.enter(0).ok(), Some(false), "an answer has come in between");
        assert!(fail(&mut reach, 5, false, 0));
        assert!(reach.enter(0).is_err());
    }

    #[test]
    fn an_address_that_is_down_is_looked_at_by_one_dial_at_a_time_ever_more_seldom() {
        let mut reach = Reach::default();
        for number in 1..=3 {
            fail(&mut reach, number, false, 0);
        }
        let mut now = 0;
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            now += seconds * 1000;
            let left = reach.enter(now - 1).map_err(|silence| silence.left);
            assert_eq!(left, Err(Duration::from_millis(1)));
            assert_eq!(reach.enter(now).ok(), Some(true));
            let left = reach.enter(now + 1000).map_err(|silence| silence.left);
            assert_eq!(left, Err(Duration::ZERO), "one looks already");
            // One that began before it was down changes no pause.
            assert!(!fail(&mut reach, 9, false, now));
            assert!(!fail(&mut reach, 4, true, now));
        }
        assert_eq!(reach.silence(now).map(|silence| silence.failures), Some(17));
        now += 30_000;
        assert_eq!(reach.enter(now).ok(), Some(true));
        reach.leave_look();
        assert_eq!(reach.enter(now).ok(), Some(true), "it was given up");
        assert!(reach.note_answer());
        assert_eq!((reach.enter(now).ok(), reach.enter(now).ok()), (Some(false), Some(false)));
    }
}
