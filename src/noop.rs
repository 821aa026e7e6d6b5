//! A manager without a network, for benchmarks, examples and tests of what is around the pool.

use std::convert::Infallible;

use crate::account_id::AccountId;
use crate::manager::{Manager, Profile};

/// Opens connections that are nothing. Every account exists and has the same profile.
#[derive(Clone, Debug)]
pub struct NoopManager {
    profile: Profile,
}

impl NoopManager {
    /// Every account has this many sessions, with exclusive leases.
    #[must_use]
    pub fn new(slots: u16) -> Self {
        Self { profile: Profile::new(slots) }
    }

    /// Lets this many leases share a connection.
    #[must_use]
    pub fn leases(mut self, leases: u16) -> Self {
        self.profile.leases = leases;
        self
    }
}

impl Manager for NoopManager {
    type Connection = ();
    type Error = Infallible;

    fn profile(&self, _account: AccountId) -> Option<Profile> {
        Some(self.profile.clone())
    }

    async fn connect(&self, _account: AccountId, _slot: u16) -> Result<(), Infallible> {
        Ok(())
    }
}
