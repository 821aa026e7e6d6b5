//! Loss of locks: why those that this process has taken keep nobody else away.
//!
//! Owns the reasons, as causes of errors of the disk, and what to do about each.

use std::io;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LockLoss {
    #[error("somebody has removed files in use from it")]
    Removed,
    #[error("the key is not claimed")]
    Released,
    #[error("the locks belong to the process that this one was forked from")]
    Forked,
}

impl LockLoss {
    /// The reason, if an error has one of these.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::Removed => "start the process again, and delete nothing there while one runs",
            Self::Released => "claim it first",
            Self::Forked => "make the pool after the fork, or start a program instead of forking",
        }
    }
}

impl From<LockLoss> for io::Error {
    fn from(lost: LockLoss) -> Self {
        Self::other(lost)
    }
}
