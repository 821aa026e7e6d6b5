//! Claim of the sessions that a run dials: those that no other process on the machine holds.
//!
//! Owns the claim at the start of a run, and what is said of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use telepool::ownership::{ClaimError, HostLocks, HostLocksOptions, Ownership, Unguarded};
use telepool::session::{KeyId, SessionRecord};

use crate::failure::Failure;
use crate::files;

/// With more keys than this, locks take no more files where there are few.
const KEYS: usize = 16;

/// How many files are to be left for the locks of a file of sessions that has not been read.
pub(crate) fn files_at_first() -> u64 {
    HostLocks::open_files(KEYS)
}

/// How long it may take to note at the end that every connection is closed.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a run may dial by.
#[derive(Clone)]
pub(crate) enum Claimed {
    /// With how many sessions rested then.
    Locked(Arc<HostLocks>, u64),
    Unlocked,
}

impl Claimed {
    pub(crate) fn ownership(&self) -> Arc<dyn Ownership> {
        match self {
            Self::Locked(locks, _) => Arc::clone(locks) as Arc<dyn Ownership>,
            Self::Unlocked => Arc::new(Unguarded::default()),
        }
    }

    pub(crate) fn resting(&self) -> u64 {
        match self {
            Self::Locked(_, resting) => *resting,
            Self::Unlocked => 0,
        }
    }

    /// The last thing of a run: whoever comes next need not wait for what is closed.
    pub(crate) fn settle(&self) {
        if let Self::Locked(locks, _) = self
            && !locks.settle(SETTLE_TIMEOUT)
        {
            tracing::warn!(
                "not every connection was closed in time: its session rests when it is next served"
            );
        }
    }
}

/// Claims every session of a file, or says who has it. With `unlocked` nothing is claimed.
pub(crate) async fn claim(
    sessions: &[SessionRecord],
    file: &Path,
    timer: Duration,
    unlocked: bool,
) -> Result<Claimed, Failure> {
    let keys = sessions.iter().map(|session| KeyId::of(&session.key)).collect();
    claim_keys(keys, file, timer, unlocked).await
}

/// The same by the ids of the keys.
pub(crate) async fn claim_keys(
    mut keys: Vec<KeyId>,
    file: &Path,
    timer: Duration,
    unlocked: bool,
) -> Result<Claimed, Failure> {
    let shown = file.display();
    if unlocked {
        say!(
            WARN "telepool: --without-locks: if another process dials a session of {shown}, Telegram voids \
             its login"
        );
        return Ok(Claimed::Unlocked);
    }
    files::require_more(HostLocks::open_files(keys.len()))?;
    let serves = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let mut options = HostLocksOptions::default();
    options.serves = Some(serves.display().to_string());
    options.timer = timer;
    let locks = HostLocks::new(options);
    // In an order that all agree on, and the first by itself: of several processes that begin at the
    // same time over the same sessions, one gets them.
    keys.sort_unstable();
    let first = locks.claim(&keys[..keys.len().min(1)]).await;
    let is_refused = first.iter().any(Result::is_err);
    let claims = if is_refused { first } else { locks.claim(&keys).await };
    let refused: Vec<_> = claims.iter().filter_map(|claim| claim.as_ref().err()).collect();
    if !refused.is_empty() {
        return Err(refuse(&refused, file));
    }
    let rests: Vec<Duration> = claims.into_iter().flatten().map(|claim| claim.rest).collect();
    let resting = rests.iter().filter(|rest| !rest.is_zero()).count();
    if resting > 0 {
        tell_rests(&rests, resting);
    }
    Ok(Claimed::Locked(Arc::new(locks), resting as u64))
}

fn refuse(refused: &[&ClaimError], file: &Path) -> Failure {
    let shown = file.display();
    let mut holders: Vec<String> = Vec::new();
    for error in refused {
        match error {
            ClaimError::Held(holder) => {
                let holder = holder.as_ref().map(|holder| holder.to_string());
                let holder = holder.unwrap_or_else(|| "which one is not known".to_owned());
                if !holders.contains(&holder) {
                    holders.push(holder);
                }
            }
            error => return Failure::refused(error.to_string()),
        }
    }
    let holders = holders.join("; and by ");
    Failure::held(format!(
        "sessions of {shown} are in use by another process on this machine: {holders}. Nothing was \
         dialled. End that process first, or give each one sessions of its own: a session that two of \
         them dial is lost"
    ))
}

/// Says which sessions a process has left that ended without closing them.
fn tell_rests(rests: &[Duration], resting: usize) {
    let longest = rests.iter().max().copied().unwrap_or_default();
    say!(
        WARN "telepool: {resting} of {} sessions rest for {} s: a process that used them ended without \
         closing their connections, which Telegram may have open until then",
        rests.len(),
        longest.as_secs() + 1,
    );
}
