//! Quarantines that outlast the process, in a file.
//!
//! Owns the file and the thread that writes it. A quarantine is bound to the authorization key it
//! was imposed on, by the key's public id: a new login in the same slot is not concerned.
//!
//! The file holds one JSON object per line and is replaced as a whole: written beside, synced,
//! renamed. Whenever the machine stops, the old file or the new one is there. Whoever imposes a
//! quarantine does not wait for that; a crash within the few milliseconds forgets it, which costs
//! the session one more refused dial.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::source::{SessionProfile, SessionSource};
use crate::account::AccountId;
use crate::clock::unix_time;
use crate::manager::QuarantineReason;
use crate::session::{AuthKey, SessionRecord};
use crate::sync::Mutex;

/// How long a file may be: a million quarantined sessions fit.
const FILE_LEN_MAX: u64 = 256 * 1024 * 1024;

/// A source of sessions whose quarantines are kept in a file.
///
/// ```no_run
/// use telepool::telegram::{LatchFile, MemorySource};
///
/// # fn example(sessions: MemorySource) -> Result<(), Box<dyn std::error::Error>> {
/// let source = LatchFile::open("quarantined.jsonl", sessions)?;
/// // Give it to a `GrammersManager`, and before the process ends:
/// source.flush(std::time::Duration::from_secs(5));
/// # Ok(())
/// # }
/// ```
pub struct LatchFile<S> {
    source: S,
    latches: Arc<Mutex<Latches>>,
    /// Told of every change, and by whom the thread learns that there will be no more.
    changed: mpsc::Sender<Told>,
}

type Latches = BTreeMap<(AccountId, u16), Latch>;

enum Told {
    Changed,
    /// Answer when everything before this is written.
    Flush(mpsc::SyncSender<()>),
}

#[derive(Clone, Debug)]
struct Latch {
    key: String,
    reason: QuarantineReason,
    since: u64,
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    account: String,
    slot: u16,
    key_id: String,
    reason: String,
    /// Seconds since 1970.
    since: u64,
}

/// Why a file of quarantines cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LatchFileError {
    /// It cannot be read, or not be written where it is.
    #[error("{path}: {error}: choose another place for the state file, or give access to it")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
    /// A line that was not written by this library.
    #[error(
        "{path}, line {line}: {problem}: correct the line, or remove it to lift the quarantine"
    )]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

impl<S: SessionSource> LatchFile<S> {
    /// Reads a file of quarantines, or begins one.
    ///
    /// # Errors
    /// The file cannot be read, a line of it makes no sense, or it cannot be written.
    pub fn open(path: impl Into<PathBuf>, source: S) -> Result<Self, LatchFileError> {
        let path = path.into();
        let latches = read(&path)?;
        // Written at once: that it cannot be is better known before it matters.
        write(&path, &latches).map_err(|error| LatchFileError::Io { path: path.clone(), error })?;
        let latches = Arc::new(Mutex::new(latches));
        let (changed, told) = mpsc::channel();
        let thread = std::thread::Builder::new().name("telepool-latches".to_owned());
        let keeper = Keeper { path: path.clone(), latches: Arc::clone(&latches) };
        let begun = thread.spawn(move || keeper.keep(&told));
        begun.map_err(|error| LatchFileError::Io { path, error })?;
        Ok(Self { source, latches, changed })
    }

    /// Waits until every quarantine so far is in the file. Answers whether it is, in time.
    pub fn flush(&self, limit: Duration) -> bool {
        let (done, written) = mpsc::sync_channel(1);
        self.changed.send(Told::Flush(done)).is_ok() && written.recv_timeout(limit).is_ok()
    }

    /// How many sessions are quarantined.
    #[must_use]
    pub fn quarantined(&self) -> usize {
        self.latches.lock().len()
    }
}

impl<S: SessionSource> SessionSource for LatchFile<S> {
    fn profile(&self, account: AccountId) -> Option<SessionProfile> {
        self.source.profile(account)
    }

    fn session(&self, account: AccountId, slot: u16) -> Option<SessionRecord> {
        self.source.session(account, slot)
    }

    fn members(&self, group: &str) -> Option<Arc<[AccountId]>> {
        self.source.members(group)
    }

    fn load(&self, account: AccountId, slot: u16) -> Option<QuarantineReason> {
        let latch = self.latches.lock().get(&(account, slot)).cloned()?;
        let record = self.source.session(account, slot)?;
        (key_id(&record.key) == latch.key).then_some(latch.reason)
    }

    fn latch(&self, account: AccountId, slot: u16, reason: Option<QuarantineReason>) {
        {
            let mut latches = self.latches.lock();
            match reason {
                None => {
                    if latches.remove(&(account, slot)).is_none() {
                        return;
                    }
                }
                Some(reason) => {
                    let Some(record) = self.source.session(account, slot) else { return };
                    let since = unix_time().as_secs();
                    let latch = Latch { key: key_id(&record.key), reason, since };
                    latches.insert((account, slot), latch);
                }
            }
        }
        // Without its thread there is no file any more, which the thread has told.
        self.changed.send(Told::Changed).ok();
    }
}

impl<S> fmt::Debug for LatchFile<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatchFile")
            .field("quarantined", &self.latches.lock().len())
            .finish_non_exhaustive()
    }
}

/// What the thread needs.
struct Keeper {
    path: PathBuf,
    latches: Arc<Mutex<Latches>>,
}

impl Keeper {
    /// Writes the file after each change, once for all those that came meanwhile.
    fn keep(&self, told: &mpsc::Receiver<Told>) {
        while let Ok(first) = told.recv() {
            let mut waiting = Vec::new();
            for told in std::iter::once(first).chain(told.try_iter()) {
                if let Told::Flush(done) = told {
                    waiting.push(done);
                }
            }
            let latches = self.latches.lock().clone();
            if let Err(error) = write(&self.path, &latches) {
                tracing::error!(path = %self.path.display(), %error, "quarantines are not kept");
                // Whoever waits is told by the end of its channel.
                continue;
            }
            for done in waiting {
                done.send(()).ok();
            }
        }
    }
}

fn read(path: &Path) -> Result<Latches, LatchFileError> {
    let failed = |error| LatchFileError::Io { path: path.to_owned(), error };
    let text = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Latches::new()),
        Err(error) => return Err(failed(error)),
        Ok(about) if about.len() > FILE_LEN_MAX => {
            return Err(failed(io::Error::other("it is far too long for a file of quarantines")));
        }
        Ok(_) => std::fs::read_to_string(path).map_err(failed)?,
    };
    let mut latches = Latches::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (place, latch) = parse(line).map_err(|problem| LatchFileError::Line {
            path: path.to_owned(),
            line: index + 1,
            problem,
        })?;
        latches.insert(place, latch);
    }
    Ok(latches)
}

fn parse(line: &str) -> Result<((AccountId, u16), Latch), String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let account: AccountId =
        line.account.parse().map_err(|error: crate::ParseAccountError| error.to_string())?;
    let reasons = QuarantineReason::ALL.into_iter();
    let reason = reasons.into_iter().find(|reason| reason.label() == line.reason);
    let reason = reason.ok_or_else(|| format!("there is no reason {:?}", line.reason))?;
    Ok(((account, line.slot), Latch { key: line.key_id, reason, since: line.since }))
}

/// Replaces the file as a whole.
fn write(path: &Path, latches: &Latches) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Readable by its owner alone: phone numbers stand in it.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    {
        let mut out = io::BufWriter::new(&mut file);
        for ((account, slot), latch) in latches {
            let line = Line {
                account: account.reveal().to_string(),
                slot: *slot,
                key_id: latch.key.clone(),
                reason: latch.reason.label().to_owned(),
                since: latch.since,
            };
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    keep_rename(folder)
}

/// A rename outlasts the machine when its folder is written.
#[cfg(unix)]
fn keep_rename(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be written by itself, and need not be.
#[cfg(not(unix))]
fn keep_rename(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// The public id of a key, as it stands in front of every message.
fn key_id(key: &AuthKey) -> String {
    key.id().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
