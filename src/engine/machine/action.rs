//! What can happen to an account, and random sequences of it.

#[cfg(test)]
use proptest::collection::vec;
#[cfg(test)]
use proptest::prelude::*;

use super::*;

/// One thing that happens. A number picks among what there is, modulo how many there are; where
/// there is nothing to pick, nothing happens.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// A try to lease without waiting.
    Lease {
        through_slots: bool,
        thread: u64,
    },
    /// An acquire waits, and looks for its answer at once or later.
    Join {
        fresh: bool,
        patience: Option<u16>,
        polled: bool,
    },
    Poll(u8),
    /// Something that is under way comes to its next stage: a dial, a close, a timer that is
    /// due, or a waiter that was answered.
    Proceed(u8, DialEnd),
    /// A waiter takes its answer, finds the connection dead and goes back to the front.
    TakeDead(u8),
    Leave(u8),
    Release {
        which: u8,
        pressure: Pressure,
        panicked: bool,
    },
    Discard {
        which: u8,
        reason: CloseReason,
    },
    /// A lease that is held becomes that of a check.
    Check(u8),
    /// A check ends.
    EndCheck {
        which: u8,
        passed: bool,
    },
    Advance(u8),
    /// A connection has drained for long enough.
    Force(u8),
    Retire {
        which: u8,
        reason: CloseReason,
    },
    EvictIdle,
    /// Threads meet at the account from now on, or no longer.
    Meet(bool),
    Warm,
    SetLimits {
        cap: u16,
        leases: u16,
    },
    /// Sessions come or go; the last one may be quarantined when it comes.
    SetSessions {
        sessions: u16,
        last: Option<QuarantineReason>,
    },
    RaiseGeneration,
    Pause,
    Resume,
    Drain,
    Quarantine(Option<u8>, QuarantineReason),
    /// A suspect session is to be dialled once more.
    Probe(u8),
    Reinstate,
    CloseAccount,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum DialEnd {
    Opens { age: u16 },
    Fails { pause: u16 },
    Abandoned,
}

/// What happens to one account: in a crowd somebody always waits, in a trickle connections lie
/// idle, and the two meet different code.
#[cfg(test)]
pub(super) fn actions() -> impl Strategy<Value = Vec<Action>> {
    let (crowd, trickle) = (action(28, 3), action(8, 12));
    prop_oneof![vec(crowd, 0..200), vec(trickle, 0..200)]
}

pub(super) type Make = fn(u8, u16) -> Action;

/// One thing of all that can happen, with these chances that somebody comes and that time passes.
///
/// Drawn as three numbers and not as a union of strategies, which takes most of the run. They
/// shrink towards zero, so the plainest actions come first.
#[cfg(test)]
pub(super) fn action(comes: usize, passes: usize) -> impl Strategy<Value = Action> {
    let table = table(comes, passes);
    (0..table.len(), any::<u8>(), any::<u16>())
        .prop_map(move |(roll, which, more)| table[roll](which, more))
}

/// Every kind of action, as often as its weight says.
pub(super) fn table(comes: usize, passes: usize) -> Vec<Make> {
    let kinds: [(usize, Make); 26] = [
        (8, |_, _| Action::Reinstate),
        (60, |which, more| Action::Proceed(which, dial_end(more))),
        (comes, |which, more| Action::Join {
            fresh: which % 8 == 7,
            patience: (more % 2 == 1).then_some(more / 2 % 200),
            polled: which / 8 % 4 < 3,
        }),
        (passes, |which, _| Action::Advance(which % 90)),
        (24, |which, more| Action::Release {
            which,
            pressure: *of(&PRESSURES, more % 20),
            panicked: more / 20 % 32 == 31,
        }),
        (8, |which, _| Action::Lease {
            through_slots: which % 2 == 1,
            thread: u64::from(which) / 2 % 3,
        }),
        (3, |which, _| Action::Poll(which)),
        (2, |which, _| Action::TakeDead(which)),
        (3, |which, _| Action::Leave(which)),
        (2, |which, more| Action::Discard { which, reason: *of(&REASONS, more % 4) }),
        (3, |which, _| Action::Check(which)),
        (3, |which, more| Action::EndCheck { which, passed: more % 3 > 0 }),
        (2, |which, _| Action::Force(which)),
        (2, |which, more| Action::Retire { which, reason: *of(&REASONS, more % 4) }),
        (1, |_, _| Action::EvictIdle),
        (4, |which, _| Action::Meet(which % 2 == 0)),
        (1, |_, _| Action::Warm),
        (5, |which, more| {
            // Zero stands for "as it was": other leases replace every connection.
            let leases = if more % 8 == 7 { LEASES[usize::from(more / 8 % 4)] } else { 0 };
            Action::SetLimits { cap: u16::from(which % 5 + 1), leases }
        }),
        (3, |which, more| {
            // Rarely none: then nothing much happens.
            let sessions = if more % 32 == 31 { 0 } else { u16::from(which % 6 + 1) };
            let last = (more / 32 % 4 == 3).then(|| *of(&QUARANTINES, more / 128 % 4));
            Action::SetSessions { sessions, last }
        }),
        (1, |_, _| Action::RaiseGeneration),
        (2, |which, more| {
            let reason = *of(&QUARANTINES, more % 4);
            Action::Quarantine((more / 4 % 8 < 7).then_some(which), reason)
        }),
        (4, |which, _| Action::Probe(which)),
        (3, |_, _| Action::Pause),
        (12, |_, _| Action::Resume),
        // Out of service nothing much happens, so that it should be rare and not last.
        (1, |which, _| if which % 4 == 3 { Action::Drain } else { Action::Reinstate }),
        (1, |which, _| if which % 16 == 15 { Action::CloseAccount } else { Action::Reinstate }),
    ];
    kinds.iter().flat_map(|(weight, make)| std::iter::repeat_n(*make, *weight)).collect()
}

/// How many leases a connection may bear: one, few, and many.
pub(super) const LEASES: [u16; 4] = [1, 2, 3, 8];

/// Mostly doubt, which is the only one that is looked into.
const QUARANTINES: [QuarantineReason; 4] = [
    QuarantineReason::Suspect,
    QuarantineReason::Suspect,
    QuarantineReason::KeyDuplicated,
    QuarantineReason::Operator,
];

pub(super) const PRESSURES: [Pressure; 3] = [Pressure::Calm, Pressure::Pressed, Pressure::Urgent];

pub(super) const REASONS: [CloseReason; 4] = [
    CloseReason::Broken,
    CloseReason::CheckFailed,
    CloseReason::Requested,
    CloseReason::Quarantine,
];

/// The numbers that are left over stand for the first.
pub(super) fn of<T>(from: &[T], roll: u16) -> &T {
    from.get(usize::from(roll)).unwrap_or(&from[0])
}

pub(super) fn dial_end(more: u16) -> DialEnd {
    match more % 20 {
        0..16 => DialEnd::Opens { age: more / 20 % 400 + 1 },
        16..19 => DialEnd::Fails { pause: more / 20 % 60 },
        _ => DialEnd::Abandoned,
    }
}
