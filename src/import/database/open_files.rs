//! Files that other processes have open.
//!
//! Owns the look at them, where the system tells: of all processes of this user, or of all if it is root's. A database
//! between two writes has nothing beside it that would tell of its program.

use std::fs::Metadata;

/// Whether another process has the file open. A look counts for a moment, so that a folder of thousands is read
/// quickly.
#[cfg(target_os = "linux")]
pub(super) fn is_open_elsewhere(found: &Metadata) -> bool {
    use std::collections::HashSet;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::LazyLock;
    use std::time::Duration;

    use crate::base::clock::{Instant, now};
    use crate::base::sync::Mutex;

    /// For how long a look counts.
    const LASTS: Duration = Duration::from_millis(500);
    /// How much later it is looked once more before a file is said to be open.
    const SURE: Duration = Duration::from_millis(20);
    /// When it was looked last, and what was open then.
    type Look = Option<(Instant, HashSet<(u64, u64)>)>;
    static LAST: LazyLock<Mutex<Look>> = LazyLock::new(|| Mutex::new(None));

    fn look() -> HashSet<(u64, u64)> {
        let own = std::process::id().to_string();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let others = processes.filter(|entry| {
            let name = entry.file_name();
            let is_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
            is_process && name != own.as_str()
        });
        // Those of others may not be looked at, and any may end meanwhile.
        let files = others.flat_map(|process| fs::read_dir(process.path().join("fd")));
        let found = files.flatten().flatten().filter_map(|file| fs::metadata(file.path()).ok());
        found.filter(Metadata::is_file).map(|found| (found.dev(), found.ino())).collect()
    }

    let place = (found.dev(), found.ino());
    let mut last = LAST.lock();
    if let Some((at, open)) = last.as_ref()
        && at.elapsed() < LASTS
        && !open.contains(&place)
    {
        return false;
    }
    // Of what was open a moment ago the number may be another file's by now; and what this process has open itself is
    // for a moment also that of a program which it is starting.
    let mut open = look();
    if open.contains(&place) {
        std::thread::sleep(SURE);
        open = look();
    }
    let is_open = open.contains(&place);
    *last = Some((now(), open));
    is_open
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_open_elsewhere(_found: &Metadata) -> bool {
    false
}
