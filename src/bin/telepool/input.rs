//! Reader of the files that the user names.
//!
//! Owns which kinds of them are taken, how much of one is read, and for how long it is waited that somebody
//! writes to a FIFO. What stands in them is the affair of whoever reads them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use telepool::session::lines::file_text;
use zeroize::Zeroizing;

/// The longest file of settings, of faults, of certificates or of a token: those have some thousand lines at
/// most.
pub(crate) const TEXT_LEN_MAX: u64 = 1 << 20;
/// The longest file of sessions: two million of them fit.
pub(crate) const SESSIONS_LEN_MAX: u64 = 1 << 30;

/// For how long it is waited until somebody opens a FIFO to write, and how often it is looked.
const WRITER_LOOKS: u32 = 100;
const WRITER_LOOK_STEP: Duration = Duration::from_millis(20);

/// An open file, of which no more is read than it may have.
#[derive(Debug)]
pub(crate) struct Input {
    file: File,
    left: u64,
    limit: u64,
    /// Only a FIFO has nobody at its other end.
    awaits_writer: bool,
}

/// The bytes of a file of at most [`TEXT_LEN_MAX`] of them.
pub(crate) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path, TEXT_LEN_MAX)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file of at most [`TEXT_LEN_MAX`] bytes, or what is wrong with it.
pub(crate) fn text(path: &Path) -> Result<String, String> {
    let bytes = bytes(path).map_err(|error| error.to_string())?;
    file_text(bytes).map_err(|kind| match kind.is_encoding() {
        true => format!("it is {} (save it as UTF-8)", kind.what()),
        false => format!("it is {}", kind.what()),
    })
}

/// The first line of a file, which holds a secret, or what is wrong with the file.
pub(crate) fn first_line(path: &Path) -> Result<Zeroizing<String>, String> {
    let text = Zeroizing::new(text(path)?);
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// Opens a file of at most so many bytes. A pipe will do, and so will a terminal; what never ends, or does
/// something when it is read, will not.
pub(crate) fn open(path: &Path, limit: u64) -> io::Result<Input> {
    if std::fs::metadata(path)?.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    let mut options = File::options();
    options.read(true);
    // Else whoever opens a FIFO waits for its other end.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        (nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY).bits(),
    );
    let file = options.open(path)?;
    let found = file.metadata()?;
    if is_endless(&file, &found, path) {
        return Err(io::Error::other("it is a device"));
    }
    if found.len() > limit {
        return Err(too_long(limit));
    }
    let awaits_writer = is_fifo(&found);
    Ok(Input { file, left: limit, limit, awaits_writer })
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One byte more tells whether there is more.
        let room = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        let count = self.read_some(&mut buffer[..room])?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| too_long(self.limit))?;
        Ok(count)
    }
}

impl Input {
    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut looks = WRITER_LOOKS;
        loop {
            match self.file.read(buffer) {
                Ok(0) if self.awaits_writer && looks == 0 => {
                    return Err(io::Error::other(
                        "it is a FIFO that nobody writes to: start its writer first",
                    ));
                }
                Ok(0) if self.awaits_writer => {
                    looks -= 1;
                    std::thread::sleep(WRITER_LOOK_STEP);
                }
                // Somebody is there who has not written yet. A signal ends the process meanwhile.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.awaits_writer = false;
                    wait_from_now_on(&self.file)?;
                }
                Ok(count) => {
                    self.awaits_writer = false;
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn too_long(limit: u64) -> io::Error {
    io::Error::other(format!("it is longer than {} MiB, the most that is read of it", limit >> 20))
}

/// Whether reading may go on for ever, or do something: of a device other than a terminal, and than the one
/// that stands for no file.
#[cfg(unix)]
fn is_endless(file: &File, found: &std::fs::Metadata, path: &Path) -> bool {
    use std::io::IsTerminal as _;
    use std::os::unix::fs::FileTypeExt as _;

    let kind = found.file_type();
    let is_harmless = file.is_terminal() || path == Path::new("/dev/null");
    kind.is_block_device() || (kind.is_char_device() && !is_harmless)
}

#[cfg(not(unix))]
fn is_endless(_file: &File, _found: &std::fs::Metadata, _path: &Path) -> bool {
    false
}

#[cfg(unix)]
fn is_fifo(found: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&found.file_type())
}

#[cfg(not(unix))]
fn is_fifo(_found: &std::fs::Metadata) -> bool {
    false
}

/// Has reads wait again, which then cost nothing until something comes.
#[cfg(unix)]
fn wait_from_now_on(file: &File) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    fcntl(file, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(())
}

#[cfg(not(unix))]
fn wait_from_now_on(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn no_more_is_read_than_a_file_may_have() {
        let file = file(b"12345");
        let mut text = String::new();
        assert_eq!(open(file.path(), 5).unwrap().read_to_string(&mut text).unwrap(), 5);
        let error = open(file.path(), 4).unwrap_err().to_string();
        assert!(error.contains("longer than 0 MiB"), "{error}");
        // It may grow after it has been looked at.
        let mut input = open(file.path(), 5).unwrap();
        file.as_file().write_all(b"6").unwrap();
        let error = input.read_to_string(&mut text).unwrap_err().to_string();
        assert!(error.contains("the most that is read of it"), "{error}");
    }

    #[test]
    fn text_in_another_encoding_is_named_with_the_remedy() {
        assert_eq!(text(file(b"\xef\xbb\xbf[pool]\r").path()).unwrap(), "[pool]\n");
        for (bytes, words) in [
            (&b"\xff\xfe[\0"[..], "UTF-16 (save it as UTF-8)"),
            (b"[pool] # caf\xe9\n", "Latin-1 (save it as UTF-8)"),
            (b"caf\xe9", "Latin-1 (save it as UTF-8)"),
            (b"SQLite format 3\0", "it is an SQLite database"),
        ] {
            let told = text(file(bytes).path()).unwrap_err();
            assert!(told.contains(words), "{told}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_read_only_if_it_ends() {
        assert_eq!(text(Path::new("/dev/null")).unwrap(), "");
        assert_eq!(text(Path::new("/dev/zero")).unwrap_err(), "it is a device");
    }
}
