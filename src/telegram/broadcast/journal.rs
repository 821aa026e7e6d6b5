//! Journal of a broadcast: which chats it has settled, in a file that a later run reads.
//!
//! Owns the file, which is only ever appended to, and a thread that writes it. Never judges an outcome.

mod lines;

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use self::lines::Header;
pub(super) use self::lines::Settled;
use super::outcome::BroadcastError;
use crate::base::sync::Mutex;

/// With so many lines unwritten nothing more is sent.
const BACKLOG_MAX: usize = 4096;
/// The most lines that are written at once.
const BATCH_MAX: usize = 1024;
/// How long an earlier run in this process may take to write its last lines.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A journal that is open. Dropped, it writes what it was told.
#[derive(Debug)]
pub(super) struct Journal {
    writer: Option<JournalWriter>,
    state: Arc<Mutex<WriterState>>,
    /// Told when all is written.
    closed: Option<oneshot::Receiver<()>>,
}

/// Where lines go. A cheap clone.
#[derive(Clone, Debug)]
pub(super) struct JournalWriter {
    lines: Sender<String>,
    state: Arc<Mutex<WriterState>>,
}

#[derive(Debug, Default)]
struct WriterState {
    unwritten: usize,
    /// Why nothing is written any more.
    failure: Option<BroadcastError>,
    has_failed: bool,
}

impl Journal {
    /// Opens the journal of a broadcast, or begins one. Returns the numbers of those chats that are settled.
    pub(super) async fn open(
        path: &Path,
        broadcast: &str,
    ) -> Result<(Self, HashSet<i64>), BroadcastError> {
        let (lines, to_write) = channel();
        let (opened, opening) = oneshot::channel();
        let (closing, closed) = oneshot::channel();
        let state = Arc::<Mutex<WriterState>>::default();
        let writer = JournalWriter { lines, state: Arc::clone(&state) };
        let shared = Arc::clone(&state);
        let (path, header) = (path.to_owned(), Header::of(broadcast).to_line());
        let failed = {
            let path = path.clone();
            move |error| BroadcastError::Journal { path: path.clone(), error }
        };
        let work = move || {
            let mut file = match open(&path, &header) {
                Ok((file, settled)) => {
                    drop(opened.send(Ok(settled)));
                    file
                }
                Err(error) => {
                    drop(opened.send(Err(error)));
                    return;
                }
            };
            if let Err(error) = write(&mut file, &to_write, &state) {
                let mut state = state.lock();
                state.failure = Some(BroadcastError::Journal { path, error });
                state.has_failed = true;
            }
            // Before anybody is told: whoever opens it next finds it free.
            drop(file);
            closing.send(()).ok();
        };
        let thread = thread::Builder::new().name("telepool-journal".to_owned()).spawn(work);
        thread.map_err(&failed)?;
        let settled = opening.await.unwrap_or_else(|_| Err(failed(io::ErrorKind::Other.into())))?;
        Ok((Self { writer: Some(writer), state: shared, closed: Some(closed) }, settled))
    }

    pub(super) fn writer(&self) -> Option<JournalWriter> {
        self.writer.clone()
    }

    /// Whether so much is unwritten that nothing more is to be sent for a while.
    pub(super) fn is_behind(&self) -> bool {
        self.state.lock().unwritten > BACKLOG_MAX
    }

    /// Why nothing is written any more: told once.
    pub(super) fn take_failure(&self) -> Option<BroadcastError> {
        self.state.lock().failure.take()
    }

    /// Waits until all is written that it was told.
    pub(super) async fn close(&mut self) -> Result<(), BroadcastError> {
        self.writer = None;
        if let Some(closed) = &mut self.closed {
            // It fails only if the thread has panicked.
            drop(closed.await);
            self.closed = None;
        }
        self.take_failure().map_or(Ok(()), Err)
    }
}

impl JournalWriter {
    /// Writes that a chat is settled, soon.
    pub(super) fn note(&self, settled: &Settled) {
        let mut state = self.state.lock();
        if state.has_failed {
            return;
        }
        state.unwritten += 1;
        drop(state);
        drop(self.lines.send(settled.to_line()));
    }
}

/// Opens or begins a journal and reads it.
fn open(path: &PathBuf, header: &str) -> Result<(File, HashSet<i64>), BroadcastError> {
    let failed = |error| BroadcastError::Journal { path: path.clone(), error };
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(failed)?;
    let other = |problem| BroadcastError::OtherFile { path: path.clone(), problem };
    // A device may be read without an end.
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(other(
            "it is no regular file: name a new one, or the journal itself".to_owned(),
        ));
    }
    lock(&file, path)?;
    let (settled, whole) = match read(&file, header) {
        Ok(Ok(read)) => read,
        Ok(Err(problem)) => return Err(other(problem)),
        Err(error) => return Err(failed(error)),
    };
    // Of a line that a crash has cut nothing is known.
    file.set_len(whole).map_err(failed)?;
    if whole == 0 {
        file.write_all(header.as_bytes()).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    Ok((file, settled))
}

fn lock(file: &File, path: &Path) -> Result<(), BroadcastError> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => {
                return Err(BroadcastError::Journal { path: path.to_owned(), error });
            }
        }
    }
    Err(BroadcastError::InUse { path: path.to_owned() })
}

/// What a journal says, and how long it is without a line that is not whole.
type Read = (HashSet<i64>, u64);

/// Reads a journal, or says why it is none of this broadcast.
fn read(file: &File, header: &str) -> io::Result<Result<Read, String>> {
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(0))?;
    let (mut settled, mut whole, mut number) = (HashSet::new(), 0, 0_u64);
    let mut line = Vec::new();
    loop {
        line.clear();
        let len = reader.read_until(b'\n', &mut line)? as u64;
        number += 1;
        if !line.ends_with(b"\n") {
            // Of a file that is not ours nothing is cut.
            let is_ours = number > 1 || header.as_bytes().starts_with(&line);
            return Ok(match is_ours {
                true => Ok((settled, whole)),
                false => Err(lines::FOREIGN.to_owned()),
            });
        }
        whole += len;
        if number == 1 {
            if let Err(problem) = lines::check_header(&line, header) {
                return Ok(Err(problem));
            }
            continue;
        }
        match Settled::number_in(&line) {
            Ok(chat) => settled.insert(chat),
            Err(problem) => return Ok(Err(format!("line {number}: {problem}"))),
        };
    }
}

/// Writes lines until nobody has any more.
fn write(file: &mut File, lines: &Receiver<String>, state: &Mutex<WriterState>) -> io::Result<()> {
    while let Ok(first) = lines.recv() {
        let mut batch = first;
        let mut count = 1;
        while count < BATCH_MAX
            && let Ok(line) = lines.try_recv()
        {
            batch.push_str(&line);
            count += 1;
        }
        file.write_all(batch.as_bytes())?;
        file.sync_data()?;
        state.lock().unwritten -= count;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
