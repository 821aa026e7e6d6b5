//! A client for each session, opened at the start and kept for ever: what is written by hand.
//!
//! Calls go to the clients of an account in turn, many at once over each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use telepool::telegram::TelegramConnection;
use telepool::{AccountId, Manager as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Census, HANDSHAKES, Serve};
use crate::calls::Call;
use crate::workload::Manager;

pub(in crate::bench) struct Kept {
    manager: Arc<Manager>,
    accounts: Vec<Clients>,
    opened: u64,
}

struct Clients {
    account: AccountId,
    clients: Vec<TelegramConnection>,
    /// Whose turn it is. Relaxed: it guards nothing.
    turn: AtomicUsize,
}

impl Kept {
    pub(in crate::bench) fn new(manager: Manager, accounts: &[AccountId]) -> Self {
        let none = |account: &AccountId| Clients {
            account: *account,
            clients: Vec::new(),
            turn: AtomicUsize::new(0),
        };
        let accounts = accounts.iter().map(none).collect();
        Self { manager: Arc::new(manager), accounts, opened: 0 }
    }
}

impl Serve for Kept {
    async fn prepare(&mut self) -> Result<(), String> {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES as usize));
        let mut opening = JoinSet::new();
        for (index, Clients { account, .. }) in self.accounts.iter().enumerate() {
            let slots = self.manager.profile(*account).map_or(0, |profile| profile.slots);
            for slot in 0..slots {
                let (manager, handshakes) = (Arc::clone(&self.manager), Arc::clone(&handshakes));
                let account = *account;
                opening.spawn(async move {
                    let _permit = handshakes.acquire().await;
                    (index, manager.connect(account, slot).await)
                });
            }
        }
        while let Some(opened) = opening.join_next().await {
            let (index, connection) = opened.map_err(|error| error.to_string())?;
            let connection = connection.map_err(|error| error.to_string())?;
            self.accounts[index].clients.push(connection);
            self.opened += 1;
        }
        Ok(())
    }

    async fn call(&self, account: usize, call: Call) -> Result<(), String> {
        let Clients { clients, turn, .. } = &self.accounts[account];
        let turn = turn.fetch_add(1, Ordering::Relaxed) % clients.len();
        call.make(clients[turn].client()).await.map_err(|error| error.to_string())
    }

    fn census(&self) -> Census {
        Census { open: self.opened, opened: self.opened }
    }

    async fn close(&self) {
        for connection in self.accounts.iter().flat_map(|it| &it.clients) {
            self.manager.close(connection).await;
        }
    }
}
