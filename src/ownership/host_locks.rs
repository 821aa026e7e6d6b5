//! Ownership on one machine: locks of the kernel's, in one folder of the user's.
//!
//! Owns what this process holds there. All values of this type over one folder share it, so that a key
//! may be claimed by several pools of a process: within one, the manager has them take turns.
//!
//! # What lies in the folder
//! `keys/` has files on which each key is a range of bytes, at an offset made from its public id: in one of 16 for
//! processes that may open fewer than 4,096 files, and in one of 1,024 for others, since the locks of a file
//! are a list. Each process looks into both. A range is as long as the number of its process plus one, so
//! that whoever is refused also learns by whom. Locks end with the process, however it ends; what a
//! process says of itself beside them counts for as long as it lives, and after that only makes its keys rest.
//!
//! # A key costs
//! A lock of the kernel's (about 200 bytes) and an entry in two tables here. `cargo bench --bench locks` tells
//! the time of 100,000. Locks take as many open files as there are keys, at most 16 or 1,024.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use tokio::sync::watch;

use super::folder_locks::FolderLocks;
use super::{Claim, ClaimError, Claims, Epoch, Fence, Fenced, Ownership, Settled, folder, table};
use crate::base::clock::now;
use crate::base::sync::Mutex;
use crate::session::KeyId;

/// How often it is looked whether everything is noted.
const SETTLE_STEP: Duration = Duration::from_millis(2);

/// A warning about the folder is logged once in a process.
static WARNED: Once = Once::new();

/// How an [`HostLocks`] is set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostLocksOptions {
    /// The folder of the locks. By default the user's own (`~/.local/state/telepool/locks`, or what
    /// `TELEPOOL_LOCKS` names), which is the same for all processes of the user.
    pub folder: Option<PathBuf>,
    /// What this process serves, for whoever is refused: the file of its sessions.
    pub serves: Option<String>,
    /// How long Telegram may keep its end of a connection open after our end is gone without a word:
    /// the 75 s that each connection asks for, and 45 s for what may have been late on its way.
    pub timer: Duration,
    /// After how long without running the process must write no more on its connections. Of the
    /// first value over a folder.
    pub pause_max: Duration,
}

impl Default for HostLocksOptions {
    fn default() -> Self {
        Self {
            folder: None,
            serves: None,
            timer: Duration::from_secs(120),
            pause_max: Duration::from_secs(75),
        }
    }
}

/// The processes of one user on one machine, each of which may claim a key that no other holds.
///
/// ```
/// use telepool::ownership::{HostLocks, HostLocksOptions, Ownership};
/// use telepool::session::{AuthKey, KeyId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let mut options = HostLocksOptions::default();
/// # options.folder = Some(folder.path().into());
/// options.serves = Some("sessions.jsonl".into());
/// let ownership = HostLocks::new(options);
/// let key = KeyId::of(&AuthKey::new([7; 256]));
/// let claim = ownership.claim(&[key]).await.remove(0)?;
/// assert!(claim.rest.is_zero(), "nobody has used it lately");
/// # Ok(())
/// # }
/// ```
pub struct HostLocks {
    options: HostLocksOptions,
    /// What this process has there, once it has something.
    shared: OnceLock<Arc<FolderLocks>>,
    /// What this value has claimed.
    claimed: Mutex<HashSet<KeyId>>,
}

impl HostLocks {
    /// Joins the processes of the folder with the first claim. If it cannot be used, each claim says so.
    #[must_use]
    pub fn new(options: HostLocksOptions) -> Self {
        Self { options, shared: OnceLock::new(), claimed: Mutex::default() }
    }

    /// The folder of the locks.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.options.folder.clone().unwrap_or_else(|| folder::of_user().folder)
    }

    /// How many files are open in this process at most for the locks of so many keys, by its limit of open
    /// files as that is now: raise it before the first claim, or not at all.
    ///
    /// ```
    /// use telepool::ownership::HostLocks;
    ///
    /// assert!(HostLocks::open_files(10) <= 13, "one each, and three for the process itself");
    /// ```
    #[must_use]
    pub fn open_files(keys: usize) -> u64 {
        Self::open_files_within(keys, table::limit())
    }

    /// The same in a process that may open so many files: with more of them, locks take more.
    #[must_use]
    pub fn open_files_within(keys: usize, limit: u64) -> u64 {
        table::files_for(keys, limit)
    }

    /// Waits until it is noted that every connection is closed, so that the next process need not wait.
    /// Returns whether it is, in time. To be called last, on a thread that may wait.
    pub fn settle(&self, limit: Duration) -> bool {
        let Some(shared) = self.shared.get() else { return true };
        let until = now() + limit;
        while !shared.is_settled() {
            if now() >= until {
                return false;
            }
            std::thread::sleep(SETTLE_STEP);
        }
        true
    }

    fn shared(&self) -> Result<&Arc<FolderLocks>, ClaimError> {
        if let Some(shared) = self.shared.get() {
            return Ok(shared);
        }
        let folder = self.options.folder.clone().unwrap_or_else(|| {
            let found = folder::of_user();
            if let Some(warning) = found.warning() {
                WARNED.call_once(|| tracing::warn!("{warning}"));
            }
            found.folder
        });
        let HostLocksOptions { serves, timer, pause_max, .. } = &self.options;
        let shared = FolderLocks::of(&folder, serves.as_deref(), *timer, *pause_max);
        let shared = shared.map_err(|error| ClaimError::Folder { folder, error: error.into() })?;
        Ok(self.shared.get_or_init(|| shared))
    }

    fn claim_now(&self, keys: &[KeyId]) -> Result<Vec<Result<Claim, ClaimError>>, ClaimError> {
        let mut claimed = self.claimed.lock();
        let shared = self.shared()?;
        let mut asked = HashSet::new();
        let is_new = |key: &KeyId| !claimed.contains(key) && asked.insert(*key);
        let new: Vec<KeyId> = keys.iter().copied().filter(is_new).collect();
        let mut answers = HashMap::new();
        if !new.is_empty() {
            let claims = shared.claim(&new, self.options.timer)?;
            answers.extend(new.iter().copied().zip(claims));
        }
        let won = answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(key, _)| *key);
        claimed.extend(won);
        let answers = keys.iter().map(|key| match answers.get(key) {
            Some(answer) => answer.clone(),
            None => Ok(Claim { rest: shared.rest(*key) }),
        });
        Ok(answers.collect())
    }
}

impl Ownership for HostLocks {
    fn claim<'a>(&'a self, keys: &'a [KeyId]) -> Claims<'a> {
        let claims = self.claim_now(keys);
        let claims = claims.unwrap_or_else(|error| vec![Err(error); keys.len()]);
        Box::pin(std::future::ready(claims))
    }

    fn begin(&self, key: KeyId) -> Result<Epoch, Fenced> {
        self.shared().map_err(|_| Fenced::Unrecorded)?.begin(key)
    }

    fn guard(&self, epoch: Epoch) -> Result<(), Fenced> {
        self.shared.get().map_or(Ok(()), |shared| shared.pauses.guard(epoch))
    }

    fn end(&self, key: KeyId, rest: Option<Duration>) {
        if let Some(shared) = self.shared.get() {
            shared.end(key, rest);
        }
    }

    fn settled(&self) -> Settled<'_> {
        let Some(shared) = self.shared.get() else { return Box::pin(std::future::ready(())) };
        let claimed: Vec<KeyId> = self.claimed.lock().iter().copied().collect();
        Box::pin(async move { shared.until_settled(&claimed).await })
    }

    fn release(&self, keys: &[KeyId]) {
        let mut claimed = self.claimed.lock();
        if let Some(shared) = self.shared.get() {
            shared.release(keys.iter().copied().filter(|key| claimed.remove(key)));
        }
    }

    fn fence(&self) -> watch::Receiver<Fence> {
        let never = || watch::Sender::new(Fence::default()).subscribe();
        self.shared.get().map_or_else(never, |shared| shared.pauses.fence())
    }
}

impl Drop for HostLocks {
    fn drop(&mut self) {
        let all: Vec<KeyId> = self.claimed.lock().iter().copied().collect();
        self.release(&all);
    }
}

impl fmt::Debug for HostLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostLocks")
            .field("claimed", &self.claimed.lock().len())
            .field("folder", &self.folder())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
