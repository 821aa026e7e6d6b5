//! The health of an account in words: its state, its reason, and what would help.
//!
//! Owns the words. Judges nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::account_health::AccountHealth;

/// The state of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AccountState)]
pub(super) enum StateName {
    /// It serves.
    Ready,
    /// It serves, but some methods must rest.
    Cooling,
    /// It is not dialled for a while.
    Resting,
    /// An operator has its acquires wait.
    Paused,
    /// The server did not know its session, which is dialled once more.
    Suspect,
    /// It is out of service until an operator reinstates it, or a session is added.
    Quarantined,
    /// An operator took it out of service, or it is being removed.
    Draining,
}

/// Why an account is in its state.
#[derive(Debug)]
pub(super) struct HealthWords {
    pub(super) state: StateName,
    pub(super) reason: Option<&'static str>,
    pub(super) detail: Option<&'static str>,
    pub(super) remedy: Option<&'static str>,
    pub(super) until: Option<Duration>,
}

impl HealthWords {
    pub(super) fn of(health: &AccountHealth) -> Self {
        let words = |state, reason, detail, remedy| Self {
            state,
            reason: Some(reason),
            detail: Some(detail),
            remedy: Some(remedy),
            until: None,
        };
        match health {
            AccountHealth::Ready => Self {
                state: StateName::Ready,
                reason: None,
                detail: None,
                remedy: None,
                until: None,
            },
            AccountHealth::Cooling(_) => words(
                StateName::Cooling,
                "flood_wait",
                "the server has some of its methods wait",
                "wait: it ends by itself; call those methods less often, or by more accounts",
            ),
            AccountHealth::Resting { remaining } => Self {
                until: Some(*remaining),
                ..words(
                    StateName::Resting,
                    "not_dialled",
                    "it has no connection, and is not dialled for a while",
                    "wait, or reinstate it if the reason is gone",
                )
            },
            AccountHealth::Paused => words(
                StateName::Paused,
                "paused",
                "an operator has its acquires wait",
                "resume it when it is wanted again",
            ),
            AccountHealth::Suspect => words(
                StateName::Suspect,
                "suspect",
                "the server did not know its session",
                crate::manager::QuarantineReason::Suspect.remedy(),
            ),
            AccountHealth::Quarantined(reason) => words(
                StateName::Quarantined,
                reason.label(),
                "each of its sessions is quarantined, the last for this reason",
                reason.remedy(),
            ),
            AccountHealth::NoSession => words(
                StateName::Quarantined,
                "no_session",
                "it has no session",
                "add a session for it to the source of sessions: it is found within five seconds",
            ),
            AccountHealth::Draining => words(
                StateName::Draining,
                "drained",
                "an operator took it out of service",
                "reinstate it when it is wanted again",
            ),
            AccountHealth::Closed => words(
                StateName::Draining,
                "closed",
                "it was removed, or the pool closes",
                "wait until what it holds is closed",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::QuarantineReason;

    #[test]
    fn each_state_is_named_as_the_metrics_name_it_and_has_a_remedy() {
        let remaining = Duration::from_secs(3);
        for health in [
            AccountHealth::Ready,
            AccountHealth::Cooling(Vec::new()),
            AccountHealth::Resting { remaining },
            AccountHealth::Paused,
            AccountHealth::Suspect,
            AccountHealth::Quarantined(QuarantineReason::Dead),
            AccountHealth::NoSession,
            AccountHealth::Draining,
            AccountHealth::Closed,
        ] {
            let words = HealthWords::of(&health);
            assert_eq!(serde_json::to_value(words.state).unwrap(), health.state().label());
            assert_eq!(words.remedy.is_none(), health == AccountHealth::Ready);
            assert_eq!(words.reason.is_none(), health == AccountHealth::Ready);
        }
        assert_eq!(HealthWords::of(&AccountHealth::Resting { remaining }).until, Some(remaining));
    }
}
