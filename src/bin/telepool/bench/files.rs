//! Open files that a benchmark needs.
//!
//! Owns the reckoning. Raises nothing: the command has raised the limit as it began.

use telepool::ownership::HostLocks;

use crate::files::{limit, remedy};

/// What else may be open at the same time, where there is plenty: the runtime, the listener, the
/// terminal, visitors.
const BESIDE: u64 = 100;

/// The limit and what is needed, if there are too few files for so many sockets and the locks of their
/// keys.
pub(super) fn lacking(sockets: u64) -> Option<(u64, u64)> {
    let limit = limit()?;
    let keys = sockets.try_into().unwrap_or(usize::MAX);
    let needed = |limit| sockets + HostLocks::open_files_within(keys, limit) + BESIDE;
    // With as many as it lacks it may have so many that its locks take more.
    (limit < needed(limit)).then(|| (limit, needed(needed(limit))))
}

/// Warns if so many sockets may come to be open that there are too few files for them.
pub(super) fn warn_if_few(sockets: usize) {
    if let Some((limit, needed)) = lacking(sockets as u64) {
        tracing::warn!(
            "the process may open {limit} files, and all connections together would need \
             {needed}: {}",
            remedy(needed)
        );
    }
}
