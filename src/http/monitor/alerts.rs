//! Alerts: what an operator should look at now, since when it is so, and what would help.
//!
//! Owns the conditions, for each group by itself, and their words. The rules of `dashboards/alerts.yml` look
//! back for longer; these are of the moment.

use std::collections::BTreeMap;

use crate::account_health::AccountState;
use crate::base::labels::labelled;
use crate::http::monitor::numbers::SampledNumbers;
use crate::http::monitor::sample::WindowRates;
use crate::manager::QuarantineReason;

labelled! {
    /// What is wrong.
    #[derive(PartialOrd, Ord)]
    pub(crate) enum AlertKind {
        /// Accounts are out of service.
        AccountsQuarantined = "accounts_quarantined",
        /// Sessions are, of accounts that the others serve for.
        SessionsQuarantined = "sessions_quarantined",
        /// The server did not know a session.
        AccountsSuspect = "accounts_suspect",
        /// Of all accounts, none serves.
        NobodyServes = "nobody_serves",
        /// Nothing is dialled by an egress for a while.
        BreakerOpen = "breaker_open",
        /// An address does not answer.
        AddressDown = "address_down",
        /// More acquires fail than should.
        AcquiresFailing = "acquires_failing",
        /// Acquires wait for long.
        AcquiresStuck = "acquires_stuck",
        /// Acquires wait for accounts that may have no more connections.
        Saturated = "saturated",
        /// More calls fail than should.
        CallsFailing = "calls_failing",
        /// More dials fail than should.
        OpensFailing = "opens_failing",
        /// Methods of accounts must rest.
        Flooded = "flooded",
        /// Leases are held for long.
        LeaseLeaks = "lease_leaks",
        /// Accounts are paused.
        Paused = "paused",
        /// Nobody took updates in time.
        UpdatesDropped = "updates_dropped",
        /// The server told no details of what had come.
        UpdatesMissed = "updates_missed",
        /// The pool closes.
        Closing = "closing",
    }
}

/// An acquire that has waited for longer is stuck, in seconds: most give up after 10.
const STUCK_AFTER: f64 = 8.0;
/// The share of acquires that may fail, of calls that may have no answer, and of dials that
/// may fail.
const ACQUIRES_FAILED_MAX: f64 = 0.05;
const CALLS_UNANSWERED_MAX: f64 = 0.05;
const OPENS_FAILED_MAX: f64 = 0.2;
/// Failures per second that are worth a word: one in the window may be chance.
const FAILED_MIN: f64 = 0.15;
/// How long what happened once is told, in milliseconds.
const TOLD_FOR: u64 = 600_000;

/// What is wrong with a group: each kind, and of accounts that are quarantined each reason.
pub(crate) type GroupAlerts = Vec<Alarm>;

/// A condition that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) kind: AlertKind,
    /// Why accounts are quarantined, as an index into the numbers.
    pub(crate) reason: Option<usize>,
    /// In milliseconds since 1970.
    pub(crate) since: u64,
    /// How many are concerned, or how often it happened.
    pub(crate) count: u64,
}

/// Since when what holds does so, of one group.
#[derive(Debug, Default)]
pub(super) struct AlertTracker {
    since: BTreeMap<(AlertKind, Option<usize>), u64>,
    /// What happened: how often, and when last.
    happened: BTreeMap<AlertKind, (u64, u64)>,
}

impl AlertTracker {
    /// Judges a group at a moment.
    pub(super) fn judge(
        &mut self,
        numbers: &SampledNumbers,
        last: Option<&SampledNumbers>,
        rates: &WindowRates,
        at: u64,
    ) -> GroupAlerts {
        let mut holds = of_state(numbers);
        holds.extend(of_rates(numbers, rates));
        // What was there when the watch began is old.
        let last = last.unwrap_or(numbers);
        let come = |of: fn(&SampledNumbers) -> u64| of(numbers).saturating_sub(of(last));
        for (kind, come) in [
            (AlertKind::LeaseLeaks, come(|it| it.lease_leaks)),
            (AlertKind::UpdatesDropped, come(|it| it.updates_dropped)),
            (AlertKind::UpdatesMissed, come(|it| it.updates_missed)),
        ] {
            let happened = self.happened.entry(kind).or_default();
            if come > 0 {
                *happened = (happened.0 + come, at);
            } else if at.saturating_sub(happened.1) >= TOLD_FOR {
                happened.0 = 0;
            }
            holds.push((kind, None, happened.0));
        }
        holds.retain(|(.., count)| *count > 0);
        self.since.retain(|key, _| holds.iter().any(|(kind, reason, _)| (*kind, *reason) == *key));
        let alarm = |(kind, reason, count)| {
            let since = *self.since.entry((kind, reason)).or_insert(at);
            Alarm { kind, reason, since, count }
        };
        holds.into_iter().map(alarm).collect()
    }
}

type Holding = (AlertKind, Option<usize>, u64);

/// What the accounts of a group are in.
fn of_state(numbers: &SampledNumbers) -> Vec<Holding> {
    let suspect = QuarantineReason::Suspect as usize;
    let lost = numbers.lost.iter().enumerate().filter(|(reason, _)| *reason != suspect);
    let mut holds: Vec<Holding> = lost
        .map(|(reason, count)| (AlertKind::AccountsQuarantined, Some(reason), *count))
        .collect();
    let in_state = |state| numbers.in_state(state);
    let nobody = if numbers.serving() == 0 { numbers.known() } else { 0 };
    holds.push((AlertKind::NobodyServes, None, nobody));
    holds.push((AlertKind::SessionsQuarantined, None, numbers.sessions_quarantined));
    holds.push((AlertKind::AccountsSuspect, None, in_state(AccountState::Suspect)));
    holds.push((AlertKind::Flooded, None, in_state(AccountState::Cooling)));
    holds.push((AlertKind::Paused, None, in_state(AccountState::Paused)));
    holds.push((AlertKind::Saturated, None, numbers.saturated));
    holds
}

/// What has failed of late.
fn of_rates(numbers: &SampledNumbers, rates: &WindowRates) -> Vec<Holding> {
    let fails =
        |failed: f64, ok: f64, max: f64| failed >= FAILED_MIN && failed > (failed + ok) * max;
    let per_minute = |rate: f64| whole((rate * 60.0).ceil());
    let mut holds = Vec::new();
    if fails(rates.acquires_failed, rates.acquires, ACQUIRES_FAILED_MAX) {
        holds.push((AlertKind::AcquiresFailing, None, per_minute(rates.acquires_failed)));
    }
    // What the server itself refuses is an answer.
    let unanswered = rates.calls_unanswered;
    if fails(unanswered, rates.calls - unanswered, CALLS_UNANSWERED_MAX) {
        holds.push((AlertKind::CallsFailing, None, per_minute(unanswered)));
    }
    if fails(rates.opens_failed, rates.opens, OPENS_FAILED_MAX) {
        holds.push((AlertKind::OpensFailing, None, per_minute(rates.opens_failed)));
    }
    if numbers.oldest_wait > STUCK_AFTER {
        holds.push((AlertKind::AcquiresStuck, None, numbers.waiting.max(1)));
    }
    holds
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is not negative, and far below 2^53"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

/// The label of why accounts are quarantined.
pub(crate) fn reason_label(reason: usize) -> &'static str {
    QuarantineReason::ALL.get(reason).map_or("no_session", |reason| reason.label())
}

impl AlertKind {
    /// Returns how urgent it is.
    pub(crate) const fn severity(self) -> &'static str {
        match self {
            Self::AccountsQuarantined
            | Self::NobodyServes
            | Self::AcquiresFailing
            | Self::AcquiresStuck
            | Self::CallsFailing => "page",
            Self::AccountsSuspect
            | Self::SessionsQuarantined
            | Self::BreakerOpen
            | Self::AddressDown
            | Self::Saturated
            | Self::OpensFailing
            | Self::LeaseLeaks
            | Self::UpdatesDropped
            | Self::UpdatesMissed => "warn",
            Self::Flooded | Self::Paused | Self::Closing => "info",
        }
    }

    /// Returns the state of the accounts that it is about.
    pub(crate) const fn state(self) -> Option<&'static str> {
        match self {
            Self::AccountsQuarantined => Some("quarantined"),
            Self::AccountsSuspect => Some("suspect"),
            Self::Flooded => Some("cooling"),
            Self::Paused => Some("paused"),
            _ => None,
        }
    }

    /// Returns what is so, in words.
    pub(crate) fn text(self, count: u64, reason: Option<usize>) -> String {
        let are = |one: &str, many: &str| match count {
            1 => one.to_owned(),
            _ => format!("{count} {many}"),
        };
        match self {
            Self::AccountsQuarantined => {
                let what = are("1 account is quarantined", "accounts are quarantined");
                format!("{what}: {}", reason.map_or("several reasons", reason_label))
            }
            Self::SessionsQuarantined => are(
                "1 session is quarantined, whose account serves with its others",
                "sessions are quarantined, whose accounts serve with their others",
            ),
            Self::AccountsSuspect => are(
                "the server did not know the session of 1 account",
                "accounts have a session that the server did not know",
            ),
            Self::NobodyServes => are(
                "the only account is out of service, paused or rests",
                "accounts are known, and each is out of service, paused or rests",
            ),
            Self::BreakerOpen => are(
                "the breaker of 1 egress is open: nothing is dialled by it",
                "egresses have an open breaker: nothing is dialled by them",
            ),
            Self::AddressDown => are("1 address does not answer", "addresses do not answer"),
            Self::AcquiresFailing => are("1 acquire fails per minute", "acquires fail per minute"),
            Self::AcquiresStuck => are(
                "1 acquire waits, and has done so for long",
                "acquires wait, the first for long",
            ),
            Self::Saturated => are(
                "acquires of 1 account wait, and it has all the connections that it may have",
                "accounts have all the connections that they may have, and acquires wait",
            ),
            Self::CallsFailing => are("1 call fails per minute", "calls fail per minute"),
            Self::OpensFailing => are("1 dial fails per minute", "dials fail per minute"),
            Self::Flooded => are(
                "1 account may not call some method for a while",
                "accounts may not call some method for a while",
            ),
            Self::LeaseLeaks => are("1 lease was held for long", "leases were held for long"),
            Self::Paused => are("1 account is paused", "accounts are paused"),
            Self::UpdatesDropped => are(
                "1 update was dropped: nobody took it in time",
                "updates were dropped: nobody took them in time",
            ),
            Self::UpdatesMissed => are(
                "updates are missing, and the server tells no details of them",
                "times updates are missing, and the server tells no details of them",
            ),
            Self::Closing => "the pool closes".to_owned(),
        }
    }

    /// Returns what would help.
    pub(crate) fn remedy(self, reason: Option<usize>) -> &'static str {
        match self {
            Self::AccountsQuarantined => {
                let reason = reason.and_then(|reason| QuarantineReason::ALL.get(reason));
                reason.map_or("add a session to the source of sessions", |reason| reason.remedy())
            }
            Self::SessionsQuarantined => {
                "see the events quarantined for the account, the session and the reason, and log in anew \
                 before the last session goes"
            }
            Self::AccountsSuspect => QuarantineReason::Suspect.remedy(),
            Self::NobodyServes => {
                "see the reason of each account: add sessions, reinstate those that are wanted, or wait \
                 for those that rest"
            }
            Self::BreakerOpen => {
                "wait: a dial tries the egress again by itself; if it stays so, see the last events for \
                 what dials failed with, and the proxy or the network"
            }
            Self::AddressDown => {
                "see the event address_down for the error: the network, a firewall, or the address itself"
            }
            Self::AcquiresFailing => {
                "see acquires by result: those that time out need more sessions or shorter leases, those \
                 with an error name it in the last events"
            }
            Self::AcquiresStuck => {
                "sort the accounts by oldest wait: its leases are held for long, or it cannot be dialled"
            }
            Self::Saturated => {
                "sort the accounts by waiting: add sessions to them, raise \
                 pool.max_connections_per_account, or hold leases for a shorter time"
            }
            Self::CallsFailing => {
                "see calls by outcome, and the events connection_error: those that are lost or not sent are of \
                 connections that ended, those that time out had no answer"
            }
            Self::OpensFailing => "see the events dial_failed: they name the error",
            Self::Flooded => {
                "wait: it ends by itself; call those methods less often, or by more accounts"
            }
            Self::LeaseLeaks => "see the events lease_held: they name the place in the code",
            Self::Paused => "resume them when they are wanted again",
            Self::UpdatesMissed => {
                "read the history of the chats that matter: accounts were away for long, or so much has come, or a \
                 channel is not shown to them any more; the log names each"
            }
            Self::UpdatesDropped => {
                "read the updates faster, give each account more room, or have them wait"
            }
            Self::Closing => "wait: leases may end for as long as pool.drain_timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(tracker: &mut AlertTracker, numbers: &SampledNumbers, at: u64) -> GroupAlerts {
        tracker.judge(numbers, None, &WindowRates::default(), at)
    }

    #[test]
    fn what_holds_is_told_with_its_beginning_until_it_is_over() {
        let mut tracker = AlertTracker::default();
        let mut numbers = SampledNumbers::default();
        numbers.accounts[AccountState::Ready as usize] = 2;
        assert_eq!(judge(&mut tracker, &numbers, 1), []);
        let dead = QuarantineReason::Dead as usize;
        (numbers.lost[dead], numbers.accounts[AccountState::Quarantined as usize]) = (3, 3);
        let kind = AlertKind::AccountsQuarantined;
        let alarm = |since, count| Alarm { kind, reason: Some(dead), since, count };
        assert_eq!(judge(&mut tracker, &numbers, 2), [alarm(2, 3)]);
        numbers.lost[dead] = 4;
        assert_eq!(judge(&mut tracker, &numbers, 3), [alarm(2, 4)]);
        numbers.lost[dead] = 0;
        assert_eq!(judge(&mut tracker, &numbers, 4), []);
        numbers.lost[dead] = 1;
        assert_eq!(judge(&mut tracker, &numbers, 5), [alarm(5, 1)], "it has begun anew");
    }

    #[test]
    fn what_happened_once_is_told_for_ten_minutes() {
        let mut tracker = AlertTracker::default();
        let before = SampledNumbers { lease_leaks: 7, ..Default::default() };
        let after = SampledNumbers { lease_leaks: 9, ..Default::default() };
        let rates = WindowRates::default();
        let mut tell = |last, at| tracker.judge(&after, Some(last), &rates, at);
        let alarm = Alarm { kind: AlertKind::LeaseLeaks, reason: None, since: 1000, count: 2 };
        assert_eq!(tell(&before, 1000), [alarm]);
        assert_eq!(tell(&after, 1000 + TOLD_FOR - 1), [alarm]);
        assert_eq!(tell(&after, 1000 + TOLD_FOR), []);
    }

    #[test]
    fn a_single_failure_is_no_alert_and_many_are() {
        let mut tracker = AlertTracker::default();
        let numbers = SampledNumbers::default();
        let mut tell = |acquires_failed, acquires| {
            let rates = WindowRates { acquires_failed, acquires, ..Default::default() };
            let alarms = tracker.judge(&numbers, None, &rates, 1);
            alarms.iter().map(|alarm| (alarm.kind, alarm.count)).collect::<Vec<_>>()
        };
        assert_eq!(tell(0.1, 0.0), []);
        assert_eq!(tell(0.2, 100.0), [], "one in five hundred");
        assert_eq!(tell(0.2, 1.0), [(AlertKind::AcquiresFailing, 12)]);
        let rates =
            |calls_unanswered| WindowRates { calls: 10.0, calls_unanswered, ..Default::default() };
        assert_eq!(tracker.judge(&numbers, None, &rates(0.4), 1), []);
        let alarms = tracker.judge(&numbers, None, &rates(0.6), 1);
        assert_eq!((alarms[0].kind, alarms[0].count), (AlertKind::CallsFailing, 36));
    }

    #[test]
    fn each_kind_says_what_is_so_and_what_would_help() {
        for kind in AlertKind::ALL {
            for count in [1, 2] {
                assert!(kind.text(count, None).len() > 10, "{kind:?}");
            }
            assert!(kind.remedy(None).len() > 10, "{kind:?}");
            assert!(!kind.label().is_empty());
            assert!(["page", "warn", "info"].contains(&kind.severity()));
        }
        let text = AlertKind::AccountsQuarantined.text(2, Some(0));
        assert_eq!(text, "2 accounts are quarantined: key_duplicated");
    }
}
