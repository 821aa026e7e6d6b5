//! What follows from each error of a call.

use grammers_client::tl::types;

use super::*;
use crate::error::Stage;
use crate::manager::QuarantineReason;
use crate::telegram::Refusal;

fn account() -> AccountId {
    AccountId::bot(5).unwrap()
}

fn rpc(code: i32, name: &str, value: Option<u32>) -> InvokeError {
    TelegramError::Rpc { code, name: name.into(), value, method: Some(1) }.into()
}

fn step(error: InvokeError, method_rests: Option<u64>) -> String {
    match next_step(error, method_rests.map(Duration::from_secs)) {
        NextStep::Report(BroadcastOutcome::Sent { .. }) => "sent".to_owned(),
        NextStep::Report(BroadcastOutcome::Failed { .. }) => "failed".to_owned(),
        NextStep::Report(BroadcastOutcome::Unsent { .. }) => "unsent".to_owned(),
        NextStep::TryLater(wait, _) => format!("later {}", wait.as_secs()),
        NextStep::Rest(wait, _) => format!("rest {}", wait.as_secs()),
        NextStep::EndAccount(_) => "end".to_owned(),
        NextStep::Paused => "paused".to_owned(),
    }
}

#[test]
fn what_belongs_to_the_chat_is_told_from_what_belongs_to_the_account() {
    let wait = Duration::from_secs(7);
    let account = account();
    for (error, method_rests, follows) in [
        (rpc(500, "RANDOM_ID_DUPLICATE", None), None, "sent"),
        (rpc(400, "USER_IS_BLOCKED", None), None, "failed"),
        (rpc(400, "INPUT_USER_DEACTIVATED", None), None, "failed"),
        (rpc(403, "CHAT_WRITE_FORBIDDEN", None), None, "failed"),
        (rpc(406, "CHANNEL_PRIVATE", None), None, "failed"),
        (TelegramError::Refused(Refusal::TooShort { len: 0 }).into(), None, "failed"),
        (rpc(420, "SLOWMODE_WAIT", Some(9)), None, "later 9"),
        (InvokeError::RetryAfter { account, wait }, None, "later 7"),
        (InvokeError::RetryAfter { account, wait }, Some(8), "rest 8"),
        (rpc(420, "FLOOD_WAIT", Some(9)), None, "rest 9"),
        (rpc(400, "PEER_FLOOD", None), None, "end"),
        (rpc(420, "FROZEN_METHOD_INVALID", None), None, "end"),
        (rpc(401, "SESSION_REVOKED", None), None, "later 10"),
        (rpc(406, "AUTH_KEY_DUPLICATED", None), None, "later 10"),
        (rpc(500, "INTERNAL", None), None, "later 10"),
        (TelegramError::Dropped.into(), None, "later 10"),
        (TelegramError::Timeout { after: wait }.into(), None, "later 10"),
    ] {
        let said = error.to_string();
        assert_eq!(step(error, method_rests), follows, "{said}");
    }
    let reason = QuarantineReason::NeedsLogin;
    for (error, follows) in [
        (AcquireError::UnknownAccount { account }, "end"),
        (AcquireError::Quarantined { account, reason }, "end"),
        (AcquireError::Draining { account }, "end"),
        (AcquireError::Closed { stage: Stage::Lookup }, "end"),
        (AcquireError::Resting { account, remaining: wait, last_dial_error: None }, "rest 7"),
    ] {
        let said = error.to_string();
        assert_eq!(step(error.into(), None), follows, "{said}");
    }
}

#[test]
fn the_id_of_a_message_is_found_in_each_form_of_answer() {
    let told = |random_id| enums::Update::MessageId(types::UpdateMessageId { id: 5, random_id });
    let updates = |updates| {
        let (users, chats) = (Vec::new(), Vec::new());
        enums::Updates::Updates(types::Updates { updates, users, chats, date: 0, seq: 0 })
    };
    assert_eq!(message_id(&updates(vec![told(1), told(77)]), 77), Some(5));
    assert_eq!(message_id(&updates(vec![told(1)]), 77), None);
    let short = types::UpdateShort { update: told(77), date: 0 };
    assert_eq!(message_id(&enums::Updates::UpdateShort(short), 77), Some(5));
    assert_eq!(message_id(&enums::Updates::TooLong, 77), None);
}
