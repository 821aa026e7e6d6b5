//! Access to the client of a connection of the wire: its endpoint is opened when somebody asks for it.
//!
//! Owns what an endpoint is opened with, and the one that is open. Never opens one by itself.

use std::sync::Arc;

use grammers_client::Client;
use tokio::runtime::Handle;

use super::{EndpointClient, EndpointOptions};
use crate::base::sync::Mutex;
use crate::session::{KeyId, SessionRecord};
use crate::telegram::caller::{self, ConnectionCaller};
use crate::telegram::login_check::UserCache;
use crate::telegram::settings::TelegramSettings;
use crate::telegram::wire::{WireEnd, WireError, WireHandle};

/// The endpoint of a connection, if it has one.
pub(in crate::telegram) struct EndpointAccess {
    wire: WireHandle,
    record: SessionRecord,
    settings: Arc<TelegramSettings>,
    /// Where the connection runs.
    runtime: Handle,
    /// Who is logged in with the key, where the record does not say so.
    own: (Arc<UserCache>, KeyId),
    open: Mutex<Option<EndpointClient>>,
}

impl EndpointAccess {
    /// That of a connection on this runtime.
    pub(in crate::telegram) fn new(
        wire: WireHandle,
        record: SessionRecord,
        settings: Arc<TelegramSettings>,
        own: (Arc<UserCache>, KeyId),
    ) -> Self {
        let (runtime, open) = (Handle::current(), Mutex::default());
        Self { wire, record, settings, runtime, own, open }
    }

    /// The client, over calls of this connection.
    pub(in crate::telegram) fn client(&self, caller: &ConnectionCaller) -> Client {
        let mut open = self.open.lock();
        let endpoint = match &mut *open {
            Some(endpoint) if !endpoint.is_over() => endpoint,
            other => other.insert(self.open(caller)),
        };
        let (users, key) = &self.own;
        if let Some(own) = users.peer(*key) {
            endpoint.note_own(own);
        }
        endpoint.client().clone()
    }

    fn open(&self, caller: &ConnectionCaller) -> EndpointClient {
        let (record, settings, runtime) = (&self.record, &*self.settings, &self.runtime);
        let (feed, limit) = (Arc::clone(&caller.feed), caller.call_timeout);
        let (wire, ended) = (self.wire.clone(), self.wire.clone());
        let (ownership, epoch) = (Arc::clone(&caller.ownership), caller.epoch);
        let forward = move |body| {
            let (wire, body) = (wire.clone(), caller::with_or_without_updates(body, &feed));
            let is_fenced = ownership.guard(epoch).is_err();
            async move {
                match is_fenced {
                    true => Err(WireError::Lost { was_sent: false, end: WireEnd::Aborted }),
                    false => wire.call(body, limit).await,
                }
            }
        };
        let options = EndpointOptions { record, settings, runtime };
        EndpointClient::open(options, forward, async move { drop(ended.gone().await) })
    }
}
