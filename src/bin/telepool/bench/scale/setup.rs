//! Configuration and account ids of the pools that are measured.

use std::time::Duration;

use telepool::{AccountId, Config};

const HOUR: Duration = Duration::from_secs(3600);

/// A configuration under which nothing is in the way, and nothing expires by itself.
pub(super) fn unlimited_config() -> Config {
    let mut config = Config::default();
    config.pool.max_connections = 1_000_000;
    config.pool.max_idle_time = HOUR;
    config.pool.check_after_idle = HOUR;
    config.dial.per_second = 100_000;
    config.dial.handshakes = 10_000;
    config
}

/// So many different accounts.
pub(super) fn account_ids(count: u64) -> Vec<AccountId> {
    (1..=count).map(|it| AccountId::bot(it).expect("BUG: small numbers are valid")).collect()
}
