//! A client for each session, opened at the start and kept for ever, as it is written by hand: plain
//! grammers, with nothing of this crate between a call and the client.
//!
//! Calls go to the clients of an account in turn, many at once over each. Nobody reads updates. Each
//! session is opened once, so that no key is on two connections.

use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV6};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use telepool::AccountId;
use telepool::session::SessionRecord;
use telepool::telegram::SessionSource;
use telepool::telegram::client::sender::{AutoSleep, ConnectionParams};
use telepool::telegram::client::session::SessionData;
use telepool::telegram::client::session::storages::MemorySession;
use telepool::telegram::client::session::types::DcOption;
use telepool::telegram::client::{Client, InvocationError, SenderPool};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use super::strategy::{API_ID, ConnectionCounts, HANDSHAKES, Strategy};
use crate::calls::WorkloadCall;

pub(in crate::bench) struct KeptClients {
    accounts: Vec<Clients>,
    /// What runs each client: it ends when all sockets of its client are closed.
    runners: Mutex<JoinSet<()>>,
}

struct Clients {
    /// Until they are opened.
    records: Vec<SessionRecord>,
    clients: Vec<Client>,
    /// Whose turn it is. Relaxed: it guards nothing.
    turn: AtomicUsize,
}

impl KeptClients {
    pub(in crate::bench) fn new(source: &impl SessionSource, accounts: &[AccountId]) -> Self {
        let known = |account: &AccountId| {
            let sessions = source.profile(*account).map_or(0, |profile| profile.sessions);
            let records = (0..sessions).filter_map(|slot| source.session(*account, slot)).collect();
            Clients { records, clients: Vec::new(), turn: AtomicUsize::new(0) }
        };
        let accounts = accounts.iter().map(known).collect();
        Self { accounts, runners: Mutex::default() }
    }
}

impl Strategy for KeptClients {
    async fn prepare(&mut self) -> Result<(), String> {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES as usize));
        let runners = self.runners.get_mut();
        let mut opening = JoinSet::new();
        for (index, account) in self.accounts.iter_mut().enumerate() {
            for record in std::mem::take(&mut account.records) {
                let session = session(&record).ok_or("the sandbox has no IPv4 address")?;
                let SenderPool { runner, handle, .. } =
                    SenderPool::with_configuration(session, API_ID, introduction());
                let client = Client::new(handle);
                let handshakes = Arc::clone(&handshakes);
                runners.spawn(runner.run());
                opening.spawn(async move {
                    let _permit = handshakes.acquire().await;
                    let is_authorized = client.is_authorized().await?;
                    Ok::<_, InvocationError>((index, is_authorized.then_some(client)))
                });
            }
        }
        while let Some(opened) = opening.join_next().await {
            let opened = opened.map_err(|error| error.to_string())?;
            let (index, client) = opened.map_err(|error| error.to_string())?;
            let client = client.ok_or("a session of the sandbox is not logged in")?;
            self.accounts[index].clients.push(client);
        }
        Ok(())
    }

    async fn call(&self, account: usize, call: WorkloadCall) -> Result<(), String> {
        let Clients { clients, turn, .. } = &self.accounts[account];
        let turn = turn.fetch_add(1, Ordering::Relaxed) % clients.len();
        call.make(&clients[turn]).await.map_err(|error| error.to_string())
    }

    fn connections(&self) -> ConnectionCounts {
        let clients = self.accounts.iter().map(|it| it.clients.len() as u64).sum();
        ConnectionCounts { open: clients, opened: clients }
    }

    async fn close(&self) {
        for client in self.accounts.iter().flat_map(|it| &it.clients) {
            client.disconnect();
        }
        let mut runners = self.runners.lock().await;
        while runners.join_next().await.is_some() {}
    }
}

/// Filled by hand: the client's own defaults start a process for each client, to learn the name of the
/// operating system, which takes over twice as much of the processor as the rest of opening it.
fn introduction() -> ConnectionParams {
    ConnectionParams {
        device_model: "bot".into(),
        system_version: std::env::consts::OS.into(),
        app_version: "1.0".into(),
        system_lang_code: "en".into(),
        lang_code: "en".into(),
        use_ipv6: false,
        retry_policy: Box::new(AutoSleep::default()),
        updates_channel_capacity: const { NonZeroUsize::new(100).expect("BUG: 100 is not zero") },
        __non_exhaustive: (),
    }
}

/// What grammers keeps of a session that was read from a string: the home alone, so that nothing but the
/// sandbox can be dialled. `None`: there is no address that the client dials.
fn session(record: &SessionRecord) -> Option<Arc<MemorySession>> {
    let SocketAddr::V4(ipv4) = record.address else { return None };
    let ipv6 = SocketAddrV6::new(ipv4.ip().to_ipv6_mapped(), ipv4.port(), 0, 0);
    let home = DcOption { id: record.dc, ipv4, ipv6, auth_key: Some(*record.key.expose()) };
    let dc_options = HashMap::from([(record.dc, home)]);
    let data = SessionData { home_dc: record.dc, dc_options, ..SessionData::default() };
    Some(Arc::new(data.into()))
}
