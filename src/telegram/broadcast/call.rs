//! One call of a broadcast.
//!
//! Owns that whatever was answered is in the journal, whether or not anybody still waits for it. Never decides
//! who is next.

use std::time::Duration;

use grammers_client::tl::{Identifiable as _, enums, functions};

use super::journal::{JournalWriter, Settled};
use super::outcome::{BroadcastOutcome, NextStep, message_id, next_step};
use super::senders::WaitingChat;
use super::target::{BroadcastMessage, chat_name};
use crate::account_id::AccountId;
use crate::pool::{Account, Pool};
use crate::telegram::{InvokeError, SessionSource, TelegramManager};

/// The longest that a call may take, waits for a connection and for its turn included.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// What a call came to.
#[derive(Debug)]
pub(super) struct CallEnd {
    pub(super) account: AccountId,
    pub(super) chat: WaitingChat,
    pub(super) step: NextStep,
}

/// What every call of a run needs.
pub(super) struct CallContext<S: SessionSource> {
    pub(super) pool: Pool<TelegramManager<S>>,
    pub(super) journal: Option<JournalWriter>,
}

impl<S: SessionSource> CallContext<S> {
    /// Sends a message and judges what comes of it.
    pub(super) async fn call(
        self,
        account: AccountId,
        chat: WaitingChat,
        message: BroadcastMessage,
    ) -> CallEnd {
        let step = match self.pool.account(account) {
            // Its acquires would wait for as long as they may, one for each chat.
            Ok(handle) if handle.inner().pool.is_paused() => NextStep::Paused,
            Ok(handle) => send(&handle, &message, chat.number).await,
            Err(error) => next_step(error.into(), None),
        };
        // Nothing is waited for from the answer to here: it cannot be lost in between.
        if let NextStep::Report(outcome) = &step {
            self.note(account, &chat, outcome);
        }
        CallEnd { account, chat, step }
    }

    fn note(&self, account: AccountId, chat: &WaitingChat, outcome: &BroadcastOutcome) {
        let Some(journal) = &self.journal else { return };
        let account = account.reveal().to_string();
        let name = chat_name(chat.target.chat());
        match outcome {
            BroadcastOutcome::Sent { message } => {
                journal.note(&Settled::sent(chat.number, account, name, *message));
            }
            BroadcastOutcome::Failed { error } => {
                journal.note(&Settled::failed(chat.number, account, name, error.to_string()));
            }
            BroadcastOutcome::Unsent { .. } => {}
        }
    }
}

async fn send<S: SessionSource>(
    account: &Account<TelegramManager<S>>,
    message: &BroadcastMessage,
    number: i64,
) -> NextStep {
    // Not as an idempotent call, though the server drops what it has: whether a message may have arrived has to be
    // known here, where each loss counts as a try. Another account must not send it then.
    let (answer, method): (Result<enums::Updates, InvokeError>, u32) = match message {
        BroadcastMessage::Text(text) => (
            account.invoke_within(&**text, CALL_LIMIT).await,
            functions::messages::SendMessage::CONSTRUCTOR_ID,
        ),
        BroadcastMessage::Media(media) => (
            account.invoke_within(&**media, CALL_LIMIT).await,
            functions::messages::SendMedia::CONSTRUCTOR_ID,
        ),
    };
    match answer {
        Ok(answer) => {
            NextStep::Report(BroadcastOutcome::Sent { message: message_id(&answer, number) })
        }
        Err(error) => next_step(error, account.cooldown_remaining(method)),
    }
}
