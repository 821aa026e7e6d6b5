//! Opening of a connection of the wire.
//!
//! Owns the dial, and the putting together of the connection and its supervisor. Never has a socket of a key that
//! is not locked.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::{OpenedConnection, TelegramManager};
use crate::session::SessionRecord;
use crate::telegram::bridge::dial;
use crate::telegram::connection::ClientAccess;
use crate::telegram::endpoint::EndpointAccess;
use crate::telegram::health::ConnectionHealth;
use crate::telegram::key_lock::KeyGuard;
use crate::telegram::rpc::RpcHandle;
use crate::telegram::updates::FeedSource;
use crate::telegram::wire::WireOptions;
use crate::telegram::wire_supervisor::{self, EndPolicy, WireParts};
use crate::telegram::{SessionSource, TelegramError};

impl<S: SessionSource> TelegramManager<S> {
    /// A socket that leads to the data centre of a session.
    async fn dial(&self, record: &SessionRecord) -> Result<TcpStream, TelegramError> {
        match &record.proxy {
            Some(proxy) => Ok(dial(proxy, record.address, self.settings.proxy_timeout).await?),
            None => TcpStream::connect(record.address).await.map_err(TelegramError::Io),
        }
    }

    /// Dials, and begins with the login check as the first call.
    pub(super) async fn open_wire(
        &self,
        record: SessionRecord,
        mut guard: KeyGuard,
    ) -> Result<OpenedConnection, TelegramError> {
        let ownership = self.ownership();
        let fence = ownership.fence();
        let epoch = guard.begin(ownership)?;
        // Declared after the guard, it goes before it if this future is dropped.
        let stream = self.dial(&record).await?;
        let key = guard.key();
        let is_proxied = record.proxy.as_ref().is_some_and(|it| !it.is_of_this_machine());
        let health = Arc::new(ConnectionHealth::unburdened());
        let traffic = self.traffic_of(record.account);
        let feed_source = FeedSource::default();
        let feed = Arc::clone(&feed_source.0);
        let parts = WireParts {
            account: record.account,
            slot: record.slot,
            traffic: Arc::clone(&traffic),
            health: Arc::clone(&health),
            feed: feed_source,
            epoch,
            fence,
            memories: Arc::clone(&self.memories),
            close_grace: self.settings.close_grace,
            wires: Arc::clone(&self.wires),
            group: self.group_of(record.account),
            policy: EndPolicy { redial_after_loss: self.settings.redial_after_loss, is_proxied },
        };
        let mut options = WireOptions::new(record.key.clone());
        options.memory = self.memories.recall(key);
        options.introduction = self.settings.introduction(&record);
        options.wants_updates = self.lanes.is_listened_to(record.account);
        let (wire, supervisor) = wire_supervisor::begin(parts, stream, guard, options);
        let rpc = RpcHandle::Wire(wire.clone());
        let user = self.users.unknown(key, &record);
        let (opening, opened) = self.begin_check(&record, key, (&rpc, &health), user);
        let supervisor = supervisor.spawn(opening);
        let caller = self.caller(&record, rpc, health, feed, epoch);
        let (settings, users) = (Arc::clone(&self.settings), Arc::clone(&self.users));
        let endpoint = EndpointAccess::new(wire, record, settings, (users, key));
        let client = ClientAccess::Endpoint(Box::new(endpoint));
        Ok(OpenedConnection { caller, client, supervisor, traffic, opened })
    }
}
