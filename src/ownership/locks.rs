//! Locks of the kernel's on ranges of a file, which end with the process that holds them.
//!
//! Owns one file, opened once for as long as it is used: another description of the same file, in this
//! process or in any other, is refused. Never writes into it.

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[path = "locks/ranges.rs"]
mod imp;
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
#[path = "locks/files.rs"]
mod imp;

// Tested here as well: what it needs is everywhere.
#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
#[expect(dead_code, reason = "only its tests call it here")]
mod files;

pub(super) use imp::{HAS_RANGES, LockFile};

/// A range of a lock file: where it begins, and how many bytes it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: i64,
    pub(super) len: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: i64, len: i64) -> Range {
        Range { start, len }
    }

    #[test]
    fn a_range_is_held_by_one_and_tells_how_long_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks");
        let (one, other) = (LockFile::open(&path).unwrap(), LockFile::open(&path).unwrap());
        assert!(one.try_lock(range(4096, 7)).unwrap());
        assert!(one.try_lock(range(8192, 3)).unwrap());
        assert!(!other.try_lock(range(4096, 2)).unwrap());
        assert_eq!(other.holder(4096).unwrap(), Some(range(4096, 7)));
        assert_eq!(other.holder(8192).unwrap(), Some(range(8192, 3)));
        assert_eq!(other.holder(0).unwrap(), None);
        assert!(one.holder(4096).unwrap().is_none(), "what it holds itself is not told");
        one.unlock(range(4096, 7)).unwrap();
        assert!(other.try_lock(range(4096, 2)).unwrap());
        drop(one);
        assert_eq!(other.holder(8192).unwrap(), None, "it ends with its holder");
    }
}
