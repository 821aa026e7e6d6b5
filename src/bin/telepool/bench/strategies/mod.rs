//! The three ways to put an account's sessions to use. Each keeps the rule that a key is on one
//! main connection at a time.

mod kept;
mod per_request;
mod pooled;

pub(super) use kept::Kept;
pub(super) use per_request::PerRequest;
pub(super) use pooled::Pooled;

use crate::calls::WorkloadCall;

/// What a client says it is; the sandbox takes any.
pub(super) const API_ID: i32 = 1;

/// How many connections may be dialled at once: what the pool has on a sandbox.
pub(super) const HANDSHAKES: u32 = 64;

/// One way at work.
pub(super) trait Serve: Send + Sync + 'static {
    /// Opens whatever is to be open before the first call.
    fn prepare(&mut self) -> impl Future<Output = Result<(), String>> + Send;

    /// Makes a call of an account. Returns with the answer; what follows it does by itself.
    fn call(
        &self,
        account: usize,
        call: WorkloadCall,
    ) -> impl Future<Output = Result<(), String>> + Send;

    fn census(&self) -> Census;

    /// Closes everything. No call is under way any more.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// Connections that are open or being opened, and those that were opened so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Census {
    pub(super) open: u64,
    pub(super) opened: u64,
}
