//! The stock client on connections of its own, without telepool: for what the sandbox sends a client.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

use telepool::telegram::client::Client;
use telepool::telegram::client::sender::{ConnectionParams, NoRetries, SenderPool};
use telepool::telegram::client::session::storages::MemorySession;
use telepool::telegram::client::session::types::DcOption;
use telepool::telegram::client::session::updates::UpdatesLike;
use telepool::telegram::client::session::{Session as _, SessionData};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

/// A connection of the stock client.
pub(super) struct StockClient {
    pub(super) client: Client,
    pub(super) handle: telepool::telegram::client::sender::SenderPoolHandle,
    runner: JoinHandle<()>,
}

impl StockClient {
    /// Connects a session, and hands on what it is sent, with its slot.
    pub(super) async fn connect(
        bench: &Bench,
        (account, slot): (AccountId, u16),
        heard: mpsc::UnboundedSender<(u16, UpdatesLike)>,
    ) -> Self {
        let record = bench.record(account, slot);
        let SocketAddr::V4(ipv4) = record.address else { panic!("{}", record.address) };
        let ipv6 = SocketAddrV6::new(ipv4.ip().to_ipv6_mapped(), ipv4.port(), 0, 0);
        let mut data = SessionData::default();
        // The client knows the real addresses: none of them may be dialled.
        let nowhere = SocketAddrV4::new([127, 0, 0, 1].into(), 9);
        for option in data.dc_options.values_mut() {
            (option.ipv4, option.ipv6) = (nowhere, ipv6);
        }
        let session = Arc::new(MemorySession::from(data));
        let auth_key = Some(*record.key.expose());
        let option = DcOption { id: record.dc, ipv4, ipv6, auth_key };
        session.set_dc_option(&option).await.unwrap();
        session.set_home_dc_id(record.dc).await.unwrap();
        let params = ConnectionParams { retry_policy: Box::new(NoRetries), ..Default::default() };
        let SenderPool { runner, handle, mut updates } =
            SenderPool::with_configuration(session, 1, params);
        let (thin, client) = (handle.thin.clone(), Client::new(handle));
        let runner = tokio::spawn(runner.run());
        tokio::spawn(async move {
            while let Some(update) = updates.recv().await {
                if heard.send((slot, update)).is_err() {
                    return;
                }
            }
        });
        client.invoke(&myself()).await.unwrap();
        Self { client, handle: thin, runner }
    }

    pub(super) async fn close(self) {
        self.handle.quit();
        self.runner.await.unwrap();
    }
}
