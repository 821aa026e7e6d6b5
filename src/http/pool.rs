//! A pool as the routes see it: without the type of its manager, and without keeping it alive.
//!
//! Owns what there is to be asked, as plain values, and the way to the pool for the moment of a question.
//! Judges no access and forms no answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::account_health::{AccountHealth, Cooldown};
use crate::account_id::AccountId;
use crate::base::clock::now;
use crate::config::{Config, ConfigError};
use crate::connection::ConnectionId;
use crate::events::EventStream;
use crate::http::monitor::SampledNumbers;
use crate::manager::{Manager, QuarantineReason};
use crate::metrics::Readiness;
use crate::metrics::sample;
use crate::pool::PoolRef;
use crate::stats::{AccountSummary, ConnectionStats};

/// What a pool has and has done, by group.
pub(crate) struct PoolReading {
    pub(crate) groups: Vec<(Arc<str>, SampledNumbers)>,
    pub(crate) connections_max: u64,
    pub(crate) breakers_open: u64,
    pub(crate) addresses_down: u64,
    pub(crate) is_closing: bool,
    pub(crate) readiness: Readiness,
}

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionEntry {
    pub(crate) account: AccountId,
    /// An index into the names of the listing.
    pub(crate) group: u16,
    pub(crate) stats: ConnectionStats,
}

/// One account, with all that is known of it.
pub(crate) struct AccountView {
    pub(crate) summary: AccountSummary,
    /// Methods that rest, each with its name where it is known.
    pub(crate) cooldowns: Vec<(Cooldown, Option<&'static str>)>,
    pub(crate) quarantines: Vec<(u16, QuarantineReason)>,
    /// In the order of the slots.
    pub(crate) connections: Vec<ConnectionStats>,
    pub(crate) last_dial_error: Option<String>,
}

/// Entries of a pool, and the names that their groups have.
pub(crate) struct Entries<T> {
    pub(crate) groups: Vec<Arc<str>>,
    pub(crate) entries: Vec<T>,
}

/// What an operator can do to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccountOperation {
    Close,
    Drain,
    Pause,
    Resume,
    Reinstate,
    Quarantine,
}

/// A step that takes time, and how it ended. `None`: the pool is gone, or does not know the account.
pub(crate) type Operating<'a> = Pin<Box<dyn Future<Output = Option<bool>> + Send + 'a>>;

/// All that routes ask of a pool. `None` means everywhere that the pool is gone, or knows none such.
pub(crate) trait ServedPool: Send + Sync {
    /// Reads all groups. Takes as long as there are accounts at work: a fraction of a microsecond for each.
    fn read(&self) -> Option<PoolReading>;

    /// Visits every account, with the index of its group among the names that are returned. Takes a tenth of a
    /// microsecond for each, or a microsecond if it has a connection; nothing is locked meanwhile.
    fn accounts(&self, visit: &mut dyn FnMut(u16, AccountSummary)) -> Option<Vec<Arc<str>>>;

    /// Lists every connection.
    fn connections(&self) -> Option<Entries<ConnectionEntry>>;

    fn account(&self, account: AccountId) -> Option<AccountView>;

    /// The group of an account, also of one that the pool has forgotten.
    fn group_of(&self, account: AccountId) -> Option<Arc<str>>;

    fn events(&self) -> Option<EventStream>;

    fn config(&self) -> Option<Arc<Config>>;

    /// Swaps the configuration. Takes as long as there are accounts.
    fn reconfigure(&self, config: Config) -> Option<Result<(), ConfigError>>;

    /// Carries an operation out, and waits for its end for at most this long. Returns whether it has ended.
    fn operate(
        &self,
        account: AccountId,
        operation: AccountOperation,
        patience: Duration,
    ) -> Operating<'_>;

    /// Begins to close a connection. Returns whether there was such a one.
    fn close_connection(&self, account: AccountId, connection: u64) -> Option<bool>;

    /// Tells all who listen, and the log, who did what: see [`Pool::audit`].
    fn audit(
        &self,
        operation: &'static str,
        account: Option<AccountId>,
        connection: Option<u64>,
        by: &str,
        detail: Option<&str>,
    );
}

impl<M: Manager> ServedPool for PoolRef<M> {
    fn read(&self) -> Option<PoolReading> {
        let pool = self.upgrade()?;
        let mut groups = Vec::new();
        let mut add = |group: &sample::GroupSample<'_>| {
            groups.push((Arc::clone(group.name), SampledNumbers::of(group)));
        };
        let whole = sample::read(pool.runtime(), pool.accounts(), &mut add);
        let is_closing = pool.context().is_closing();
        // Somebody serves, as a rule: all accounts are gone through once more only to tell why nobody does.
        let readiness = if is_closing {
            Readiness::Closing
        } else if groups.iter().any(|(_, it)| it.serving() > 0) {
            Readiness::Ready
        } else {
            Readiness::of(pool.runtime(), pool.accounts())
        };
        Some(PoolReading {
            groups,
            connections_max: whole.connections_max,
            breakers_open: whole.breakers.iter().sum(),
            addresses_down: whole.addresses_down,
            is_closing,
            readiness,
        })
    }

    fn accounts(&self, visit: &mut dyn FnMut(u16, AccountSummary)) -> Option<Vec<Arc<str>>> {
        let pool = self.upgrade()?;
        let tick = pool.context().clock.tick();
        Some(pool.for_each_summary(|account, summary| {
            if sample::is_counted(account, tick) {
                visit(account.pool.group(), summary);
            }
        }))
    }

    fn connections(&self) -> Option<Entries<ConnectionEntry>> {
        let pool = self.upgrade()?;
        let tick = pool.context().clock.tick();
        let mut entries = Vec::new();
        pool.accounts().for_each_active(tick, |account| {
            let (id, group) = (account.pool.account(), account.pool.group());
            let entry = |stats| ConnectionEntry { account: id, group, stats };
            entries.extend(account.connection_stats(tick).into_iter().map(entry));
        });
        Some(Entries { groups: pool.context().groups.names_by_index(), entries })
    }

    fn account(&self, account: AccountId) -> Option<AccountView> {
        let pool = self.upgrade()?;
        let (context, inner) = (pool.context(), pool.accounts().find(account)?);
        let tick = context.clock.tick();
        if !sample::is_counted(&inner, tick) {
            return None;
        }
        let cooldowns = match inner.health(tick) {
            AccountHealth::Cooling(cooldowns) => cooldowns,
            _ => Vec::new(),
        };
        let metrics = context.manager.metrics();
        let named = |it: Cooldown| (it, metrics.and_then(|metrics| metrics.method_name(it.key)));
        let cooldowns = cooldowns.into_iter().map(named).collect();
        Some(AccountView {
            summary: inner.summary(context.groups.name(inner.pool.group()), now()),
            cooldowns,
            quarantines: inner.pool.quarantines(),
            connections: inner.connection_stats(tick),
            last_dial_error: inner.pool.last_dial_error(),
        })
    }

    fn group_of(&self, account: AccountId) -> Option<Arc<str>> {
        let pool = self.upgrade()?;
        match pool.accounts().find(account) {
            Some(inner) => Some(pool.context().groups.name(inner.pool.group())),
            None => pool.context().profile(account).map(|profile| profile.group),
        }
    }

    fn events(&self) -> Option<EventStream> {
        self.upgrade().map(|pool| pool.events())
    }

    fn config(&self) -> Option<Arc<Config>> {
        self.upgrade().map(|pool| pool.config())
    }

    fn reconfigure(&self, config: Config) -> Option<Result<(), ConfigError>> {
        self.upgrade().map(|pool| pool.reconfigure(config))
    }

    fn operate(
        &self,
        account: AccountId,
        operation: AccountOperation,
        patience: Duration,
    ) -> Operating<'_> {
        Box::pin(async move {
            let pool = self.upgrade()?;
            // One that was quarantined before is reinstated though the pool has not met it yet.
            if operation != AccountOperation::Reinstate {
                pool.accounts().find(account)?;
            }
            // What is to be done is done by the first step; the rest only waits for the end of it, and may
            // be dropped. So the pool is not kept for longer than the patience lasts.
            let ending = async {
                match operation {
                    AccountOperation::Close => drop(pool.close_account(account).await),
                    AccountOperation::Drain => drop(pool.drain_account(account).await),
                    AccountOperation::Pause => return pool.pause(account),
                    AccountOperation::Resume => return pool.resume(account),
                    AccountOperation::Reinstate => return pool.reinstate(account),
                    AccountOperation::Quarantine => return pool.quarantine(account),
                }
                true
            };
            Some(tokio::time::timeout(patience, ending).await.unwrap_or(false))
        })
    }

    fn close_connection(&self, account: AccountId, connection: u64) -> Option<bool> {
        let pool = self.upgrade()?;
        pool.accounts().find(account)?;
        Some(pool.close_connection(account, ConnectionId(connection)))
    }

    fn audit(
        &self,
        operation: &'static str,
        account: Option<AccountId>,
        connection: Option<u64>,
        by: &str,
        detail: Option<&str>,
    ) {
        if let Some(pool) = self.upgrade() {
            pool.audit(operation, account, connection.map(ConnectionId), by, detail);
        }
    }
}
