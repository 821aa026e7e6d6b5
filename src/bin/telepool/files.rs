//! The limit of open files (`RLIMIT_NOFILE`), of which each connection takes one.
//!
//! Owns the limit, and how many connections it leaves room for.

use telepool::Config;
use telepool::http::ServeLimits;
use telepool::ownership::HostLocks;

use crate::failure::Failure;

/// What a run opens before its first connection: two runtimes, signals, the listener, a state file.
const RUN: u64 = 16;

/// What is kept back for what opens later: files that are written anew, and sockets whose other end has not
/// yet noticed that they are closed.
const KEPT: u64 = 16;

/// How many connections this machine's own commands may have over the socket of a run.
pub(crate) const LOCAL_CONNECTIONS_MAX: usize = 8;

/// How many connections over HTTP there may be however few files there are.
const HTTP_CONNECTIONS_LEAST: usize = 12;

/// How many connections over HTTP there may be: what the server has by default, and of few files an eighth, so
/// that pages leave most of them to the pool.
pub(crate) fn http_connections_max() -> usize {
    http_connections_within(limit())
}

fn http_connections_within(limit: Option<u64>) -> usize {
    let all = ServeLimits::default().connections_max;
    limit.map_or(all, |limit| {
        usize::try_from(limit / 8).unwrap_or(all).clamp(HTTP_CONNECTIONS_LEAST, all)
    })
}

/// Raises the limit to what the system allows. A shell's default is made for shells.
pub(crate) fn raise_limit() {
    // Refused or not, what there is is looked at before it is needed.
    rlimit::increase_nofile_limit(u64::MAX).ok();
}

/// How many there may be, if that is known.
pub(crate) fn limit() -> Option<u64> {
    rlimit::getrlimit(rlimit::Resource::NOFILE).ok().map(|(limit, _)| limit)
}

/// How many files are open now.
fn open_now() -> u64 {
    let files = std::fs::read_dir("/dev/fd").map(|files| files.count() as u64);
    // Where that cannot be seen, as many as a run opens before its first connection.
    files.unwrap_or(RUN)
}

/// How to raise the limit to so many.
pub(crate) fn remedy(files: u64) -> String {
    format!(
        "raise the limit (ulimit -n {files}; LimitNOFILE={files} of systemd; --ulimit nofile={files} of \
         Docker)"
    )
}

/// Refuses a run that could not even begin, before it opens anything, with so many locks to take.
pub(crate) fn require(locks: u64) -> Result<(), Failure> {
    require_more(RUN + locks)
}

/// Refuses what is about to open so many files, if they would leave none for connections.
pub(crate) fn require_more(files: u64) -> Result<(), Failure> {
    let Some(limit) = limit() else { return Ok(()) };
    let least = (HTTP_CONNECTIONS_LEAST + LOCAL_CONNECTIONS_MAX) as u64;
    let needed = open_now() + files + KEPT + least + 1;
    if limit >= needed {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "this process may open {limit} files, and needs {needed} at the least: {}",
        remedy(needed)
    )))
}

/// Lowers the cap of the pool to the connections that there are files for, of at most `sessions`, and
/// says so. Each takes `ends` files: in a sandbox both ends of it are in this process. `clients` may connect over
/// HTTP. To be called when all else is open.
pub(crate) fn fit(
    config: &mut Config,
    sessions: usize,
    ends: u64,
    clients: usize,
) -> Result<(), Failure> {
    let Some(limit) = limit() else { return Ok(()) };
    let (open, kept) = (open_now(), KEPT + clients as u64);
    let room = limit.saturating_sub(open + kept) / ends;
    let cap = config.pool.max_connections;
    if u64::from(cap).min(sessions as u64) <= room {
        return Ok(());
    }
    let figures = format!(
        "this process may open {limit} files, has {open} open and keeps {kept} back, and a connection \
         takes {ends}"
    );
    if room == 0 {
        let least = remedy(open + kept + ends);
        return Err(Failure::refused(format!("{figures}: that leaves none: {least}")));
    }
    let wanted = u64::from(cap).min(sessions as u64);
    let enough = open + kept + wanted * ends;
    // A sandbox, both ends of which are here, has no locks.
    let more = if ends == 1 { more_for_locks(sessions, limit, enough) } else { 0 };
    let remedy = remedy(enough + more);
    config.pool.max_connections = u32::try_from(room).unwrap_or(u32::MAX).min(cap);
    say!(
        WARN "telepool: {figures}: pool.max_connections is {room} instead of {cap} for this run; for all \
         {wanted} at once, {remedy}"
    );
    Ok(())
}

/// How many more files the locks of so many keys take in a process that may open more than this one.
fn more_for_locks(keys: usize, limit: u64, raised: u64) -> u64 {
    let [now, then] = [limit, raised].map(|limit| HostLocks::open_files_within(keys, limit));
    then.saturating_sub(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_leave_fewer_connections_over_http_and_some_always() {
        for (limit, connections) in
            [(None, 320), (Some(64), 12), (Some(1024), 128), (Some(u64::MAX), 320)]
        {
            assert_eq!(http_connections_within(limit), connections, "{limit:?}");
        }
    }

    #[test]
    fn a_limit_with_which_locks_take_more_files_has_room_for_them() {
        assert_eq!(more_for_locks(5_000, 1_024, 3_000), 0);
        if cfg!(all(target_os = "linux", target_pointer_width = "64")) {
            assert_eq!(more_for_locks(5_000, 1_024, 5_100), 1_024 - 16);
        }
    }
}
