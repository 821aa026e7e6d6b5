//! How a data centre is set up.
//!
//! Owns the defaults. What makes no sense is refused by whoever starts one.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::faults::FaultPlan;
use super::send_limits::SendLimits;
use super::updates::{DIFFERENCE_LEN_MAX, LOG_LEN_MAX};

/// How a data centre is set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DataCentreOptions {
    /// Where it listens: a loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Its number, from 1 to 5.
    pub dc: i32,
    /// The latency of every answer.
    pub latency: Duration,
    /// The seed of faults and salts.
    pub seed: u64,
    /// The faults that are injected.
    pub faults: FaultPlan,
    /// The longest delay of a `ping_delay_disconnect` that it honours: a client that asks for more
    /// gets this much, so that a test of the end need not take 75 seconds. `None`,
    /// the default, grants whatever is asked for, as the real servers do.
    pub disconnect_delay_max: Option<Duration>,
    /// How many updates of each box are kept, of an account or of a channel (default 10,000, at least
    /// 1). Whoever is behind them gets `updates.differenceTooLong` or `updates.channelDifferenceTooLong`.
    pub update_log_len_max: usize,
    /// The most updates of one answer of `updates.getDifference` or `updates.getChannelDifference`
    /// (default 100, at least 1): more come in slices.
    pub difference_len_max: usize,
    /// How many messages bots may send; `None`, the default, lets them send as many as they like.
    pub send_limits: Option<SendLimits>,
}

impl Default for DataCentreOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            dc: 2,
            latency: Duration::ZERO,
            seed: 0,
            faults: FaultPlan::default(),
            disconnect_delay_max: None,
            update_log_len_max: LOG_LEN_MAX,
            difference_len_max: DIFFERENCE_LEN_MAX,
            send_limits: None,
        }
    }
}
