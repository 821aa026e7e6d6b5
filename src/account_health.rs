//! Health of an account: whether it serves, and if not, why.
//!
//! Owns the one list of states that callers, errors and metrics share, and under which label each is
//! counted. Decides nothing: the engine does.

use std::time::Duration;

#[cfg(feature = "metrics")]
use crate::base::labels::labelled;
use crate::manager::QuarantineReason;

/// The health of an account, as [`Pool::account_health`](crate::Pool::account_health) returns it.
///
/// Each state has one error of an acquire and one value of `state` in the metric `telepool_accounts`:
///
/// | state | acquires get | `state` |
/// |---|---|---|
/// | `Ready` | a lease | `ready` |
/// | `Cooling` | a lease | `cooling` |
/// | `Resting` | [`AcquireError::Resting`](crate::AcquireError::Resting) or [`AcquireError::Dial`](crate::AcquireError::Dial), or wait | `resting` |
/// | `Suspect` | [`AcquireError::Quarantined`](crate::AcquireError::Quarantined) with [`Suspect`](QuarantineReason::Suspect) | `suspect` |
/// | `Quarantined` | [`AcquireError::Quarantined`](crate::AcquireError::Quarantined) | `quarantined` |
/// | `NoSession` | [`AcquireError::NoSession`](crate::AcquireError::NoSession) | `quarantined`, as only a session brings it back |
/// | `Paused` | a lease once it is resumed, or [`AcquireError::Timeout`](crate::AcquireError::Timeout) | `paused` |
/// | `Draining` | [`AcquireError::Draining`](crate::AcquireError::Draining) | `draining` |
/// | `Closed` | [`AcquireError::Closed`](crate::AcquireError::Closed) | `draining`, until it holds nothing any more |
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccountHealth {
    /// It serves.
    Ready,
    /// It serves, but these methods must rest.
    Cooling(Vec<Cooldown>),
    /// It is not dialled for a while, as the server asked for that or its dials have failed, or none of its
    /// sessions may be dialled yet, as after a process that ended without closing their connections. It has
    /// no connection: whoever has less patience is refused at once
    /// ([`AcquireError::Resting`](crate::AcquireError::Resting), or
    /// [`AcquireError::Dial`](crate::AcquireError::Dial) with the manager's reason).
    Resting {
        /// For how much longer.
        remaining: Duration,
    },
    /// The server did not know its sessions. They are dialled once more `health.probe_after`
    /// later, and serve or are [`Dead`](QuarantineReason::Dead) then.
    Suspect,
    /// Every session of it is quarantined, the last for this reason.
    Quarantined(QuarantineReason),
    /// It has no session. One that is added is found within five seconds.
    NoSession,
    /// An operator has paused it: acquires wait until it is resumed or their deadline passes.
    Paused,
    /// An operator took it out of service.
    Draining,
    /// It was removed, or the pool is closed; what it still holds is being closed.
    Closed,
}

/// A method that an account may not call for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cooldown {
    /// The method, by the manager's number for it (Telegram: the constructor id).
    pub key: u32,
    /// How much longer.
    pub remaining: Duration,
}

impl Cooldown {
    pub(crate) fn new(key: u32, remaining: Duration) -> Self {
        Self { key, remaining }
    }
}

#[cfg(feature = "metrics")]
labelled! {
    /// The label `state` of `telepool_accounts`.
    pub(crate) enum AccountState {
        Ready = "ready",
        Cooling = "cooling",
        Resting = "resting",
        Suspect = "suspect",
        Quarantined = "quarantined",
        Draining = "draining",
        Paused = "paused",
    }
}

#[cfg(feature = "metrics")]
impl AccountHealth {
    /// The state as which the account is counted in `telepool_accounts`.
    pub(crate) fn state(&self) -> AccountState {
        match self {
            Self::Ready => AccountState::Ready,
            Self::Cooling(_) => AccountState::Cooling,
            Self::Resting { .. } => AccountState::Resting,
            Self::Suspect => AccountState::Suspect,
            Self::Quarantined(_) | Self::NoSession => AccountState::Quarantined,
            Self::Draining | Self::Closed => AccountState::Draining,
            Self::Paused => AccountState::Paused,
        }
    }
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_label() {
        let reason = QuarantineReason::Dead;
        for (health, label) in [
            (AccountHealth::Ready, "ready"),
            (AccountHealth::Cooling(Vec::new()), "cooling"),
            (AccountHealth::Resting { remaining: Duration::ZERO }, "resting"),
            (AccountHealth::Suspect, "suspect"),
            (AccountHealth::Quarantined(reason), "quarantined"),
            (AccountHealth::NoSession, "quarantined"),
            (AccountHealth::Draining, "draining"),
            (AccountHealth::Closed, "draining"),
            (AccountHealth::Paused, "paused"),
        ] {
            assert_eq!(health.state().label(), label, "{health:?}");
        }
    }
}
