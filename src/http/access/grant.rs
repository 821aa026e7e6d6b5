//! Grants: what a token is good for.
//!
//! Owns which ones there may be. A grant that is read from a file is held to the same rules as one that is made.

use std::sync::Arc;

use super::{Access, Scope};

/// How long the name of a token or of a group may be, in characters.
const NAME_LEN_MAX: usize = 64;
/// How many groups a token may name.
const GROUPS_MAX: usize = 256;

/// What a token is good for, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenGrant {
    /// Whose it is, or what for: the audit tells it. No two tokens of a file have the same.
    pub name: String,
    /// What its owner may do; at least one.
    pub scopes: Vec<Scope>,
    /// The groups whose accounts and numbers its owner sees; `None` means all.
    pub groups: Option<Vec<String>>,
    /// Whether its owner sees phone numbers in full.
    pub phones: bool,
    /// When it ends, in seconds since 1970; `None` means never.
    pub expires: Option<u64>,
}

/// Why there can be no such grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// The name will not do.
    #[error("the name {0}: take a word for who uses it, such as grafana")]
    Name(&'static str),
    /// The name would be mistaken for a client without a token.
    #[error("the name {0:?} is that of clients without a token: take another")]
    Reserved(String),
    /// The name of a group will not do.
    #[error("the name of a group {0}: name it as in the file of sessions")]
    Group(&'static str),
    /// No groups at all, or too many.
    #[error("a token names 1 to 256 groups, or sees all of them without naming any")]
    Groups,
    /// Nothing may be done with it.
    #[error("a token needs a scope: read, operate or call")]
    NoScope,
    /// It would have ended before it was made.
    #[error("it would have ended already: give a time to come, such as 90d")]
    Expired,
}

impl TokenGrant {
    /// Makes a grant over all groups, without phone numbers and without an end.
    pub fn new(name: impl Into<String>, scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut grant = Self {
            name: name.into(),
            scopes: Vec::new(),
            groups: None,
            phones: false,
            expires: None,
        };
        grant.scopes = distinct(scopes);
        grant
    }

    /// Checks all but when it ends.
    pub(super) fn check(&self) -> Result<(), GrantError> {
        check_name(&self.name).map_err(GrantError::Name)?;
        let name = self.name.to_lowercase();
        if name == LOOPBACK || name == "uid" || name.starts_with("uid ") {
            return Err(GrantError::Reserved(self.name.clone()));
        }
        if self.scopes.is_empty() {
            return Err(GrantError::NoScope);
        }
        let Some(groups) = &self.groups else { return Ok(()) };
        if groups.is_empty() || groups.len() > GROUPS_MAX {
            return Err(GrantError::Groups);
        }
        groups.iter().try_for_each(|group| check_name(group)).map_err(GrantError::Group)
    }

    /// Returns what whoever shows the token may do and see.
    pub(super) fn access(&self) -> Access {
        let names = |groups: &Vec<String>| groups.iter().map(|it| Arc::from(&**it)).collect();
        Access {
            name: Arc::from(&*self.name),
            scopes: self.scopes.clone(),
            groups: self.groups.as_ref().map(names),
            phones: self.phones,
        }
    }
}

/// Each scope once.
pub(super) fn distinct(scopes: impl IntoIterator<Item = Scope>) -> Vec<Scope> {
    let mut distinct = Vec::new();
    for scope in scopes {
        if !distinct.contains(&scope) {
            distinct.push(scope);
        }
    }
    distinct
}

/// The name of those who need no token because they are on this machine.
pub(super) const LOOPBACK: &str = "loopback";

/// What is wrong with a name, which is to stand in logs and tables as it is.
fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("is empty"),
        name if name.contains(crate::base::text::acts) => {
            Err("has a character in it that cannot be seen")
        }
        name if name.trim() != name => Err("begins or ends with a space"),
        name if name.chars().count() > NAME_LEN_MAX => Err("is longer than 64 characters"),
        _ => Ok(()),
    }
}

impl Scope {
    /// Returns the scope of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.label() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> TokenGrant {
        TokenGrant::new(name, [Scope::Read])
    }

    #[test]
    fn names_are_what_can_be_read_in_a_log() {
        for name in ["grafana", "Zürich 北京", "a b", "uidx", &"x".repeat(64)] {
            assert_eq!(named(name).check(), Ok(()), "{name}");
        }
        for name in ["", " a", "a ", "a\nb", "a\u{1b}[31m", "a\u{202e}b", &"x".repeat(65)] {
            assert!(matches!(named(name).check(), Err(GrantError::Name(_))), "{name:?}");
        }
        for name in ["loopback", "Loopback", "uid 0", "UID 1000"] {
            assert!(matches!(named(name).check(), Err(GrantError::Reserved(_))), "{name}");
        }
    }

    #[test]
    fn a_grant_has_a_scope_and_either_groups_or_all() {
        assert_eq!(TokenGrant::new("a", []).check(), Err(GrantError::NoScope));
        let twice = TokenGrant::new("a", [Scope::Call, Scope::Read, Scope::Call]);
        assert_eq!(twice.scopes, [Scope::Call, Scope::Read]);
        let mut grant = named("a");
        grant.groups = Some(Vec::new());
        assert_eq!(grant.check(), Err(GrantError::Groups));
        grant.groups = Some(vec!["bots".into(), String::new()]);
        assert_eq!(grant.check(), Err(GrantError::Group("is empty")));
        grant.groups = Some(vec!["bots".into()]);
        assert_eq!(grant.check(), Ok(()));
        let access = grant.access();
        assert!(access.sees_group("bots") && !access.sees_group("users") && !access.phones);
        assert!(access.may(Scope::Read) && !access.may(Scope::Operate));
    }

    #[test]
    fn scopes_are_found_by_their_labels_alone() {
        for scope in Scope::ALL {
            assert_eq!(Scope::named(scope.label()), Some(scope));
        }
        for other in ["", "Read", "admin", "read "] {
            assert_eq!(Scope::named(other), None, "{other}");
        }
    }
}
