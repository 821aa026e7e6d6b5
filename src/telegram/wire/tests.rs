//! The driver over a stream in memory, and over sockets of this machine.

mod closing;
mod driving;
mod parting;
pub(in crate::telegram::wire) mod server;
mod strain;

use tokio::task::JoinHandle;

/// Lets a future run beside the test.
fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::runtime::Handle::current().spawn(future)
}
