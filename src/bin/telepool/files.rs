//! How many files the process may have open, of which each connection is one.

/// What else is open at the same time: the runtime, the listener, the terminal, visitors.
const BESIDE: u64 = 100;

/// Raises the limit to what the system allows. A shell's default is made for shells.
pub(crate) fn raise_limit() {
    // Refused or not, what there is is looked at before it is needed.
    rlimit::increase_nofile_limit(u64::MAX).ok();
}

/// The most files that the locks of keys are spread over.
const LOCKS_MAX: u64 = 1024;

/// The limit and what is needed, if there are too few files for so many sockets.
pub(crate) fn lacking(sockets: u64) -> Option<(u64, u64)> {
    let needed = sockets + sockets.min(LOCKS_MAX) + BESIDE;
    let (limit, _) = rlimit::getrlimit(rlimit::Resource::NOFILE).ok()?;
    (limit < needed).then_some((limit, needed))
}

/// Warns if so many sockets may come to be open that there are too few files for them.
pub(crate) fn warn_if_few(sockets: usize) {
    if let Some((limit, needed)) = lacking(sockets as u64) {
        tracing::warn!(
            "the process may open {limit} files, and all connections together would need \
             {needed}: raise the limit (ulimit -n), or lower pool.max_connections"
        );
    }
}
