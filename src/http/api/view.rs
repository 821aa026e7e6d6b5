//! The view: the pool as whoever asks may see it.
//!
//! Owns the one place where groups and phone numbers are judged. A handler has nothing but a view, so that a
//! new one cannot forget to ask: what is not theirs to see is as if it were not there.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::account_id::AccountId;
use crate::http::access::{Access, Scope};
use crate::http::api::error::ApiError;
use crate::http::monitor::{AccountListing, Aliases, ConnectionListing, Sample, SampledNumbers};
use crate::http::panel::PanelState;

/// The pool, as one client may see it: made for whoever may read.
#[derive(Clone)]
pub(crate) struct View {
    pub(super) panel: PanelState,
    access: Access,
}

/// The same for whoever may change something.
pub(crate) struct Operator(pub(super) View);

impl View {
    fn new(panel: PanelState, access: Access, scope: Scope) -> Result<Self, ApiError> {
        if access.may(scope) {
            return Ok(Self { panel, access });
        }
        Err(ApiError::no_scope(&access, scope))
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// Whether they see everything, what belongs to no group included.
    pub(super) fn sees_all(&self) -> bool {
        self.access.groups.is_none()
    }

    pub(super) fn sees(&self, group: &str) -> bool {
        self.access.sees_group(group)
    }

    /// Whether they see what belongs to a group, or to none if there is no such.
    pub(super) fn sees_of(&self, group: Option<&str>) -> bool {
        group.map_or(self.sees_all(), |group| self.sees(group))
    }

    /// What answers depend on that are the same for all who have it in common.
    pub(super) fn key(&self) -> String {
        let Access { name, scopes, groups, phones, .. } = &self.access;
        format!("{name:?}\n{scopes:?}\n{groups:?}\n{phones}")
    }

    /// The same for lists, which tell nothing of whoever asks.
    pub(super) fn list_key(&self, query: &impl std::fmt::Debug) -> String {
        format!("{:?}\n{}\n{query:?}", self.access.groups, self.access.phones)
    }

    /// What routes take as the id of an account.
    pub(super) fn id(&self, account: AccountId) -> String {
        if !account.is_phone() || self.access.phones {
            return account.reveal().to_string();
        }
        Aliases::text(self.panel.monitor.aliases.of(account))
    }

    /// What is shown of the id of an account.
    pub(super) fn name(&self, account: AccountId) -> String {
        if self.access.phones { account.reveal().to_string() } else { account.to_string() }
    }

    pub(super) fn sees_phones(&self) -> bool {
        self.access.phones
    }

    /// A text of somebody else's, such as an error: without the phone numbers in it, unless they may be seen.
    pub(super) fn text(&self, text: &str, of: Option<AccountId>) -> String {
        if self.access.phones {
            return text.to_owned();
        }
        without_phones(text, of.filter(|account| account.is_phone()))
    }

    /// The newest sample.
    pub(super) fn sample(&self) -> Arc<Sample> {
        self.panel.monitor.sample()
    }

    /// The sums of the groups that they see, or of one of them: now, and as of the window's beginning.
    pub(super) fn sum(
        &self,
        sample: &Sample,
        group: Option<&str>,
    ) -> (SampledNumbers, SampledNumbers) {
        sample.sum(|name| self.sees(name) && group.is_none_or(|group| group == name))
    }

    /// Does what blocks, on a thread that may.
    pub(super) async fn blocking<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let done = tokio::task::spawn_blocking(move || work(&self)).await;
        done.unwrap_or_else(|error| {
            tracing::error!(panic = error.is_panic(), "an answer of the API was not made");
            Err(ApiError::internal())
        })
    }

    /// All accounts. To be filtered by [`sees`](Self::sees). Blocks until they are listed.
    pub(super) fn accounts(&self) -> Result<Arc<AccountListing>, ApiError> {
        self.panel.monitor.accounts().ok_or_else(ApiError::closing)
    }

    /// All connections. To be filtered by [`sees`](Self::sees). Blocks until they are listed.
    pub(super) fn connections(&self) -> Result<Arc<ConnectionListing>, ApiError> {
        self.panel.monitor.connections().ok_or_else(ApiError::closing)
    }

    /// The account of an id, if they may see it. Blocks as a listing does if it is an alias.
    pub(super) fn find(&self, id: &str) -> Result<AccountId, ApiError> {
        let monitor = &self.panel.monitor;
        let unknown = || {
            let is_phone = id.parse().is_ok_and(AccountId::is_phone);
            // The same whether there is one: it tells nothing of that.
            let remedy = if is_phone && !self.access.phones {
                "phone numbers are hidden from whoever has no token for them: take the id of the account from \
                 the list, GET /api/v1/accounts or telepool ctl accounts"
            } else {
                "take the id of an account from the list, GET /api/v1/accounts or telepool ctl accounts"
            };
            ApiError::unknown("account", remedy)
        };
        let account = match Aliases::parse(id) {
            Some(alias) => monitor.of_alias(alias),
            // One who may not see numbers could ask for each whether the pool knows it.
            None => id.parse().ok().filter(|it: &AccountId| !it.is_phone() || self.access.phones),
        };
        let account = account.ok_or_else(unknown)?;
        let group = monitor.pool.group_of(account).ok_or_else(unknown)?;
        if self.sees(&group) { Ok(account) } else { Err(unknown()) }
    }
}

/// Hides the phone number of an account, and whatever else is written like one.
pub(crate) fn without_phones(text: &str, of: Option<AccountId>) -> String {
    let mut hidden = match of {
        Some(account) => text
            .replace(&account.reveal().to_string(), &account.to_string())
            .replace(&account.number().to_string(), &account.to_string()),
        None => text.to_owned(),
    };
    let mut from = 0;
    while let Some(at) = hidden[from..].find('+').map(|at| from + at) {
        let digits = hidden[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let number = hidden[at + 1..at + 1 + digits].parse().ok();
        let account = number.and_then(|number| AccountId::phone(number).ok());
        if let Some(account) = account {
            hidden.replace_range(at..at + 1 + digits, &account.to_string());
        }
        from = at + 1;
    }
    hide_long_numbers(&hidden)
}

/// Hides what may be a phone number without its plus: ten to fifteen digits that stand alone.
fn hide_long_numbers(text: &str) -> String {
    let mut hidden = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|it: char| it.is_ascii_digit()) {
        let (before, digits) = rest.split_at(start);
        let length = digits.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, behind) = digits.split_at(length);
        hidden.push_str(before);
        match digits.parse().ok().and_then(|number| AccountId::phone(number).ok()) {
            Some(account) if length >= 10 => hidden.push_str(&account.to_string()),
            _ => hidden.push_str(digits),
        }
        rest = behind;
    }
    hidden.push_str(rest);
    hidden
}

impl FromRequestParts<PanelState> for View {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, panel: &PanelState) -> Result<Self, ApiError> {
        view(parts, panel, Scope::Read).await
    }
}

impl FromRequestParts<PanelState> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, panel: &PanelState) -> Result<Self, ApiError> {
        view(parts, panel, Scope::Operate).await.map(Self)
    }
}

async fn view(parts: &mut Parts, panel: &PanelState, scope: Scope) -> Result<View, ApiError> {
    let Ok(access) = Access::from_request_parts(parts, panel).await;
    View::new(panel.clone(), access, scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_numbers_are_hidden_wherever_they_stand() {
        let account = AccountId::phone(442_079_460_958).unwrap();
        for (text, shown) in [
            ("no number", "no number"),
            ("+442079460958 is banned", "+4420******58 is banned"),
            ("code for 442079460958", "code for +4420******58"),
            ("+33612345678, +447700900123", "+3361*****78, +4477******23"),
            ("of 447700900123: 123456789", "of +4477******23: 123456789"),
            ("1+1=2, +12, +", "1+1=2, +12, +"),
            ("ü+33612345678ü", "ü+3361*****78ü"),
        ] {
            assert_eq!(without_phones(text, Some(account)), shown);
        }
    }
}
