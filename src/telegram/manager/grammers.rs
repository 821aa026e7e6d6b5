//! Opening of a connection by the client library.
//!
//! Owns the putting together of the client and its supervisor. Never dials by itself: the client does.

use std::sync::Arc;

use grammers_client::client::ClientConfiguration;
use grammers_client::{Client, SenderPool};

use super::{OpenedConnection, TelegramManager};
use crate::session::SessionRecord;
use crate::telegram::bridge::{Bridge, BridgeLimits};
use crate::telegram::connection::ClientAccess;
use crate::telegram::health::ConnectionHealth;
use crate::telegram::key_lock::KeyGuard;
use crate::telegram::one_shot_session::OneShotSession;
use crate::telegram::parts::ConnectionParts;
use crate::telegram::rpc::RpcHandle;
use crate::telegram::supervisor::supervise;
use crate::telegram::updates::FeedSource;
use crate::telegram::{SessionSource, TelegramError};

impl<S: SessionSource> TelegramManager<S> {
    /// Opens the way of a session by its proxy, if it has one. Where that fails the session is not dialled.
    async fn bridge(&self, record: &SessionRecord) -> Result<Option<Arc<Bridge>>, TelegramError> {
        let Some(proxy) = &record.proxy else { return Ok(None) };
        let limits =
            BridgeLimits { dial: self.settings.proxy_timeout, linger: self.settings.close_grace };
        Bridge::open(proxy, (record.dc, record.address), limits).await.map(Some)
    }

    /// Puts the client to work on a session: it dials, with the login check as its first call.
    pub(super) async fn open_client(
        &self,
        record: &SessionRecord,
        mut guard: KeyGuard,
    ) -> Result<OpenedConnection, TelegramError> {
        let bridge = self.bridge(record).await?;
        let ownership = self.ownership();
        let fence = ownership.fence();
        let epoch = guard.begin(ownership)?;
        let centres = self.settings.data_centres.clone();
        let session = OneShotSession::new(record, centres, bridge.clone())
            .with_peer_cache(self.settings.peer_cache.clone());
        let session = Arc::new(session);
        let user = self.users.recall(guard.key(), &session);
        let params = self.settings.connection_params(record);
        let api_id = record.api_id.unwrap_or(self.settings.api_id);
        let SenderPool { runner, handle, updates } =
            SenderPool::with_configuration(Arc::clone(&session), api_id, params);
        let rpc = RpcHandle::of_client(handle.thin.clone(), record.dc);
        let configuration = ClientConfiguration { auto_cache_peers: self.settings.cache_peers };
        let client = Client::with_configuration(handle, configuration);
        let health = Arc::<ConnectionHealth>::default();
        let traffic = self.traffic_of(record.account);
        let feed_source = FeedSource::default();
        let feed = Arc::clone(&feed_source.0);
        let parts = ConnectionParts {
            account: record.account,
            slot: record.slot,
            traffic: Arc::clone(&traffic),
            rpc: rpc.clone(),
            session,
            health: Arc::clone(&health),
            feed: feed_source,
            lanes: Arc::clone(&self.lanes),
            close_grace: self.settings.close_grace,
            call_timeout: self.settings.call_timeout,
            redial_after_loss: self.settings.redial_after_loss,
            epoch,
            fence,
            bridge,
        };
        let (opening, opened) = self.begin_check(record, guard.key(), (&rpc, &health), user);
        let supervisor = supervise(parts, runner, updates, opening, guard);
        let caller = self.caller(record, rpc, health, feed, epoch);
        let client = ClientAccess::Own(client);
        Ok(OpenedConnection { caller, client, supervisor, traffic, opened })
    }
}
