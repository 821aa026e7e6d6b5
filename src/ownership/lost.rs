//! Why locks that this process has taken keep nobody else away.
//!
//! Owns the reasons, as causes of errors of the disk, and what to do about each.

use std::io;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lost {
    #[error("somebody has removed files in use from it")]
    Removed,
    #[error("the key is not claimed")]
    Released,
    #[error("the locks belong to the process that this one was forked from")]
    Forked,
}

impl Lost {
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

impl From<Lost> for io::Error {
    fn from(lost: Lost) -> Self {
        Self::other(lost)
    }
}
