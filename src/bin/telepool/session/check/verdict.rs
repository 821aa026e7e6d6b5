//! What a check says of a session.
//!
//! Owns the words, as a line and as JSON. Phone numbers are masked.

use serde::Serialize;
use telepool::session::SessionUser;
use telepool::store::{StoredAccount, StoredSession};
use telepool::{AccountId, QuarantineReason};

use super::named;
use crate::logs::escaped;
use crate::session::list::day;

/// How it stands with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum VerdictKind {
    Alive,
    Ended,
    InDoubt,
    Unreachable,
    Paused,
    NotDialled,
}

/// What is known of a session now.
#[derive(Debug, Serialize)]
pub(super) struct SessionVerdict {
    session: String,
    slot: u16,
    key_id: String,
    state: VerdictKind,
    user_id: Option<i64>,
    phone: Option<String>,
    is_bot: Option<bool>,
    reason: Option<String>,
    remedy: Option<&'static str>,
    added: u64,
    login_at: Option<u64>,
}

impl SessionVerdict {
    fn new(account: &StoredAccount, session: &StoredSession, state: VerdictKind) -> Self {
        Self {
            session: named(account),
            slot: session.slot,
            key_id: session.key_id.to_string(),
            state,
            user_id: account.user_id,
            phone: account.phones.first().map(AccountId::to_string),
            is_bot: account.is_bot,
            reason: None,
            remedy: None,
            added: session.created,
            login_at: session.login_at,
        }
    }

    pub(super) fn alive(
        account: &StoredAccount,
        session: &StoredSession,
        user: Option<SessionUser>,
    ) -> Self {
        let mut verdict = Self::new(account, session, VerdictKind::Alive);
        if let (Some(user), Some(known)) = (user, account.user_id)
            && user.user_id != known
        {
            verdict.state = VerdictKind::Ended;
            verdict.reason = Some(format!("it is logged in as another user, {}", user.user_id));
            verdict.remedy = Some("remove it, and import it again as what it is");
            return verdict;
        }
        if let Some(user) = user {
            (verdict.user_id, verdict.is_bot) = (Some(user.user_id), Some(user.is_bot));
            verdict.phone = user.phone.map(|phone| phone.to_string()).or(verdict.phone);
        }
        verdict
    }

    /// One that ended before.
    pub(super) fn known(account: &StoredAccount, session: &StoredSession) -> Self {
        let (reason, at) = session.quarantine.unwrap_or((QuarantineReason::Operator, 0));
        let mut verdict = Self::quarantined(account, session, reason);
        verdict.reason = Some(format!("{reason} since {}", day(at)));
        verdict
    }

    pub(super) fn quarantined(
        account: &StoredAccount,
        session: &StoredSession,
        reason: QuarantineReason,
    ) -> Self {
        let state = match reason {
            QuarantineReason::Suspect => VerdictKind::InDoubt,
            QuarantineReason::Operator => VerdictKind::Paused,
            _ => VerdictKind::Ended,
        };
        let mut verdict = Self::new(account, session, state);
        (verdict.reason, verdict.remedy) = (Some(reason.to_string()), Some(reason.remedy()));
        verdict
    }

    pub(super) fn unreachable(
        account: &StoredAccount,
        session: &StoredSession,
        reason: String,
    ) -> Self {
        let mut verdict = Self::new(account, session, VerdictKind::Unreachable);
        verdict.reason = Some(reason);
        verdict
    }

    /// One that the process which serves it has not dialled.
    pub(super) fn not_dialled(account: &StoredAccount, session: &StoredSession) -> Self {
        Self::new(account, session, VerdictKind::NotDialled)
    }

    pub(super) fn kind(&self) -> VerdictKind {
        self.state
    }

    /// One line.
    pub(super) fn shown(&self, is_json: bool) -> String {
        if is_json {
            return serde_json::to_string(self).expect("BUG: texts always make JSON") + "\n";
        }
        let Self { session, slot, key_id, .. } = self;
        let reason = escaped(self.reason.as_deref().unwrap_or("why is not known"));
        let remedy = self.remedy.map(|remedy| format!(": {remedy}")).unwrap_or_default();
        let what = match self.state {
            VerdictKind::Alive => format!("alive: {}", self.whose()),
            VerdictKind::Ended => format!("ended: {reason}{remedy}"),
            VerdictKind::InDoubt => format!("in doubt: {reason}{remedy}"),
            VerdictKind::Paused => format!("out of service: {reason}{remedy}"),
            VerdictKind::Unreachable => format!("unreachable: {reason}"),
            VerdictKind::NotDialled => {
                let seen = self.login_at.map_or_else(|| "never".to_owned(), day);
                format!(
                    "without a connection in the process that serves it, last logged in: {seen}"
                )
            }
        };
        format!("{session} slot {slot} ({key_id}): {what}\n")
    }

    fn whose(&self) -> String {
        let kind = match self.is_bot {
            Some(true) => "bot",
            Some(false) => "user",
            None => "account",
        };
        let id = self.user_id.map_or_else(String::new, |id| format!(" {id}"));
        let phone = self.phone.as_ref().map(|phone| format!(", {phone}")).unwrap_or_default();
        format!("{kind}{id}{phone}, in the store since {}", day(self.added))
    }
}
