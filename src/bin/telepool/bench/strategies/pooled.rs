//! The pool, with connections that are closed after five idle seconds.

use std::time::Duration;

use telepool::{AccountId, Pool};

use super::strategy::{ConnectionCounts, HANDSHAKES, Strategy};
use crate::accounts::PoolManager;
use crate::calls::WorkloadCall;
use crate::settings::Settings;

const MAX_IDLE_TIME: Duration = Duration::from_secs(5);
const CLEANUP_INTERVAL: Duration = Duration::from_secs(2);

pub(in crate::bench) struct Pooled {
    pool: Pool<PoolManager>,
    accounts: Vec<AccountId>,
}

impl Pooled {
    pub(in crate::bench) fn new(
        manager: PoolManager,
        accounts: &[AccountId],
        seed: u64,
    ) -> Result<Self, String> {
        let mut config = Settings::for_sandbox().config().clone();
        config.pool.max_idle_time = MAX_IDLE_TIME;
        config.pool.cleanup_interval = CLEANUP_INTERVAL;
        debug_assert_eq!(config.dial.handshakes, HANDSHAKES);
        let pool = Pool::builder(manager).config(config).seed(seed).build();
        let pool = pool.map_err(|error| error.to_string())?;
        Ok(Self { pool, accounts: accounts.to_vec() })
    }
}

impl Strategy for Pooled {
    async fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    async fn call(&self, account: usize, call: WorkloadCall) -> Result<(), String> {
        let lease = self.pool.acquire(self.accounts[account]).await;
        let lease = lease.map_err(|error| error.to_string())?;
        call.make(&lease).await.map_err(|error| error.to_string())
    }

    fn connections(&self) -> ConnectionCounts {
        let stats = self.pool.stats();
        let live = stats.current_pool_size + stats.current_active_connections;
        ConnectionCounts {
            open: live + stats.current_connecting,
            opened: stats.total_connections_created + stats.dials_failed,
        }
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
