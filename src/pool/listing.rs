//! The accounts of a pool, one by one or all of them: what a caller can read of each.

use std::sync::Arc;

use crate::account_id::AccountId;
use crate::base::clock::now;
use crate::manager::Manager;
use crate::pool::Pool;
use crate::runtime::account::AccountInner;
use crate::stats::{AccountStats, AccountSummary};

impl<M: Manager> Pool<M> {
    /// The numbers of one account, or `None` if the pool does not know it (any more).
    #[must_use]
    pub fn account_stats(&self, account: AccountId) -> Option<AccountStats> {
        Some(self.find(account)?.stats())
    }

    /// One account in short, or `None` if the pool does not know it (any more).
    #[must_use]
    pub fn account_summary(&self, account: AccountId) -> Option<AccountSummary> {
        let inner = self.find(account)?;
        let group = self.context().groups.name(inner.pool.group());
        Some(inner.summary(group, now()))
    }

    /// Every account that the pool knows in short, also those without a connection, in no order. Takes as
    /// long as there are accounts: about a tenth of a microsecond for each that never had a connection, and
    /// a microsecond for each that has some. Ask once a second at most if there are many.
    #[must_use]
    pub fn account_summaries(&self) -> Vec<AccountSummary> {
        let mut summaries = Vec::with_capacity(self.inner.registry.len());
        self.for_each_summary(|_, summary| summaries.push(summary));
        summaries
    }

    /// Visits the same one by one, each with its account, and returns the names of the groups by their index.
    /// Nothing is locked meanwhile: `visit` may take its time.
    pub(crate) fn for_each_summary(
        &self,
        mut visit: impl FnMut(&AccountInner<M>, AccountSummary),
    ) -> Vec<Arc<str>> {
        // The accounts before the names, so that each has one.
        let all = self.inner.registry.all();
        let (names, now) = (self.context().groups.names_by_index(), now());
        for account in all {
            let name = Arc::clone(&names[usize::from(account.pool.group())]);
            visit(&account, account.summary(name, now));
        }
        names
    }
}
