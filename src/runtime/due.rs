//! Entries of the schedule: what is due is a visit to a connection or to an account.
//!
//! Owns the way from an entry to its account and connection, which holds neither. An entry of a
//! connection that was closed for another reason stays until it is due (at most `max_idle_time` after
//! the last look at it) and is then dropped. Until then it keeps the memory of the connection's record,
//! or of a removed account's, but nothing that is in it.

use std::sync::{Arc, Weak};

use crate::base::clock::Tick;
use crate::engine::Connection;
use crate::manager::Manager;
use crate::runtime::account::AccountInner;

/// What is due. It leads to the account without the registry: that of an account which nobody has touched
/// for long is memory to wait for.
pub(crate) enum Due<M: Manager> {
    Connection {
        account: Weak<AccountInner<M>>,
        connection: Weak<Connection<M::Connection>>,
        /// The tick of this entry: one that the connection does not expect is out of date.
        visit_at: Tick,
    },
    Account(Weak<AccountInner<M>>),
}

impl<M: Manager> Due<M> {
    /// A visit to a connection, at a tick.
    pub(crate) fn visit(
        account: &Arc<AccountInner<M>>,
        connection: &Arc<Connection<M::Connection>>,
        visit_at: Tick,
    ) -> Self {
        let (account, connection) = (Arc::downgrade(account), Arc::downgrade(connection));
        Self::Connection { account, connection, visit_at }
    }
}
