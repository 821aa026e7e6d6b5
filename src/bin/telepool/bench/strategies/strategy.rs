//! A strategy: how calls come to a connection.

use crate::calls::WorkloadCall;

/// What a client says it is; the sandbox takes any.
pub(in crate::bench) const API_ID: i32 = 1;

/// How many connections may be dialled at once: what the pool has on a sandbox.
pub(in crate::bench) const HANDSHAKES: u32 = 64;

/// A strategy at work.
pub(in crate::bench) trait Strategy: Send + Sync + 'static {
    /// Opens whatever is to be open before the first call.
    fn prepare(&mut self) -> impl Future<Output = Result<(), String>> + Send;

    /// Makes a call of an account. Returns with the answer; what follows it does by itself.
    fn call(
        &self,
        account: usize,
        call: WorkloadCall,
    ) -> impl Future<Output = Result<(), String>> + Send;

    fn connections(&self) -> ConnectionCounts;

    /// Closes everything. No call is under way any more.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// Counts of connections: those that are open or being opened, and those that were opened so far.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct ConnectionCounts {
    pub(in crate::bench) open: u64,
    pub(in crate::bench) opened: u64,
}
