//! Outcomes of a broadcast: what became of each chat, and what an error of a call means for the next one.
//!
//! Owns the table from an error to what follows from it. Never acts itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use grammers_client::tl::enums;

use crate::account_id::AccountId;
use crate::error::AcquireError;
use crate::telegram::{InvokeError, TelegramError};

/// For how long a chat waits after something that may pass.
const PAUSE: Duration = Duration::from_secs(10);
/// How often a chat is tried that fails so.
pub(super) const TRIES_MAX: u32 = 3;

/// What became of one chat.
#[derive(Debug)]
#[non_exhaustive]
pub struct BroadcastResult {
    /// Who has written to it, or was to; `None` if no member of the group can.
    pub account: Option<AccountId>,
    /// The chat.
    pub chat: enums::InputPeer,
    /// How it ended.
    pub outcome: BroadcastOutcome,
}

/// How it ended with one chat.
#[derive(Debug)]
#[non_exhaustive]
pub enum BroadcastOutcome {
    /// The message is there.
    Sent {
        /// Its id; `None` if it was there from an earlier run, or the server did not tell.
        message: Option<i32>,
    },
    /// The server does not take it, as with `USER_IS_BLOCKED` or `INPUT_USER_DEACTIVATED`: no later run of
    /// this broadcast tries it again.
    Failed {
        /// What it says.
        error: TelegramError,
    },
    /// It was not sent, or nobody knows whether it was: a later run of this broadcast with its journal tries
    /// it again, and the server drops it if it was.
    Unsent {
        /// Why.
        reason: UnsentReason,
    },
}

/// Why a chat is left for a later run.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnsentReason {
    /// The call failed, and did so again.
    #[error(transparent)]
    Call(Arc<InvokeError>),
    /// The account that writes to it cannot: it is out of service, restricted, or has to rest for longer than
    /// the broadcast waits.
    #[error("the account cannot send: {0}")]
    Account(Arc<InvokeError>),
    /// An operator has paused its account, for longer than the broadcast waits.
    #[error("its account is paused: resume it, and run the broadcast again")]
    Paused,
    /// Its account has to rest for a while, and so many others of it wait already that there is no place for
    /// more.
    #[error(
        "its account rests, and the list is too long to be kept until it has: run it again later"
    )]
    Crowded,
    /// No member of the group can serve, or the source of sessions does not list them.
    #[error(
        "no account of the group can serve: name the account of each chat, or add accounts to the group"
    )]
    NoMember,
}

/// Why a broadcast could not begin, or has ended before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// The journal could not be opened, read or written. What was answered so far may be missing in it: the
    /// server drops what is sent again.
    #[error("the journal {} could not be used: {error}", .path.display())]
    Journal {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The file is no journal, or that of another broadcast.
    #[error("{} is not the journal of this broadcast: {problem}", .path.display())]
    OtherFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and what would do.
        problem: String,
    },
    /// Another run writes the journal.
    #[error("another run of the broadcast writes the journal {}: wait for its end", .path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// The tokio runtime of the pool has ended.
    #[error("the tokio runtime of the pool has ended: the calls under way have no answer")]
    RuntimeEnded,
}

/// What follows from a call of a broadcast.
#[derive(Debug)]
pub(super) enum NextStep {
    Report(BroadcastOutcome),
    /// The chat is tried again after so long.
    TryLater(Duration, Arc<InvokeError>),
    /// The account may not send for so long.
    Rest(Duration, Arc<InvokeError>),
    /// The account is paused.
    Paused,
    /// The account cannot send any more.
    EndAccount(Arc<InvokeError>),
}

/// What follows from a failed call. `method_rests` is for how long the account may not call the method: else
/// a wait is that of one chat.
pub(super) fn next_step(error: InvokeError, method_rests: Option<Duration>) -> NextStep {
    match error {
        InvokeError::RetryAfter { wait, .. } => match method_rests {
            Some(rest) => NextStep::Rest(rest.max(wait), Arc::new(error)),
            None => NextStep::TryLater(wait, Arc::new(error)),
        },
        InvokeError::Acquire(AcquireError::Resting { remaining, .. }) => {
            NextStep::Rest(remaining, Arc::new(error))
        }
        InvokeError::Acquire(AcquireError::Timeout(_) | AcquireError::Dial(_)) => {
            NextStep::TryLater(PAUSE, Arc::new(error))
        }
        InvokeError::Acquire(_) => NextStep::EndAccount(Arc::new(error)),
        InvokeError::Call(error) => of_call(error),
    }
}

fn of_call(error: TelegramError) -> NextStep {
    let TelegramError::Rpc { code, name, value, .. } = &error else {
        return match error {
            TelegramError::Refused(_) => NextStep::Report(BroadcastOutcome::Failed { error }),
            error => NextStep::TryLater(PAUSE, Arc::new(error.into())),
        };
    };
    let seconds = || Duration::from_secs(u64::from(value.unwrap_or(1).max(1)));
    match (code, &**name) {
        (_, "RANDOM_ID_DUPLICATE") => NextStep::Report(BroadcastOutcome::Sent { message: None }),
        (420, "SLOWMODE_WAIT") => NextStep::TryLater(seconds(), Arc::new(error.into())),
        (420, "FROZEN_METHOD_INVALID") | (400, "PEER_FLOOD") => {
            NextStep::EndAccount(Arc::new(error.into()))
        }
        (420, _) => NextStep::Rest(seconds(), Arc::new(error.into())),
        (_, "AUTH_KEY_DUPLICATED" | "CONNECTION_NOT_INITED" | "CONNECTION_LAYER_INVALID") => {
            NextStep::TryLater(PAUSE, Arc::new(error.into()))
        }
        (400 | 403 | 404 | 406, _) => NextStep::Report(BroadcastOutcome::Failed { error }),
        _ => NextStep::TryLater(PAUSE, Arc::new(error.into())),
    }
}

/// The id of the message that a call has sent, from its answer.
pub(super) fn message_id(answer: &enums::Updates, number: i64) -> Option<i32> {
    let updates = match answer {
        enums::Updates::UpdateShortSentMessage(sent) => return Some(sent.id),
        enums::Updates::Updates(all) => &all.updates,
        enums::Updates::Combined(all) => &all.updates,
        enums::Updates::UpdateShort(short) => std::slice::from_ref(&short.update),
        _ => return None,
    };
    updates.iter().find_map(|update| match update {
        enums::Update::MessageId(told) if told.random_id == number => Some(told.id),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
