//! Layout of the lock files: where each key lies in them, as all processes of a folder must agree.
//!
//! Owns the names of the files, and the numbers by which a key is found in them. None of them may ever
//! change: they are the format on disk, and a process with others would not see the locks of this one.
//!
//! # Coarse or fine
//! The kernel keeps the locks of a file in a list, and walks it for each: a hundred thousand need many
//! files. But each that is open is one of those that the process may open, and where few may be,
//! connections have better use for them. So each key has a range in two files, one of 16 and one of 1,024.
//! Whoever claims it locks one, as its limit of open files allows, and *then* looks into the other:
//! of two that come at the same moment both may be refused, but never neither.

use std::path::{Path, PathBuf};

use crate::session::KeyId;

/// How many bytes an index stands for: how long the range in it is tells the number of the process.
const INDEX_LEN: u64 = 4096;
/// How many indices there are: two given keys share one with a chance of 2^-55.
const INDICES: u64 = 1 << 55;

/// The index of a key's lock, whatever files it is looked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LockIndex(u64);

impl From<KeyId> for LockIndex {
    fn from(key: KeyId) -> Self {
        Self(key.number() % INDICES)
    }
}

/// Over how many files the indices are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharding {
    Coarse,
    Fine,
}

impl Sharding {
    pub(super) const fn files(self) -> u64 {
        match self {
            Self::Coarse => 16,
            Self::Fine => 1_024,
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Coarse => Self::Fine,
            Self::Fine => Self::Coarse,
        }
    }

    /// The number of the file that an index is in, and where in that it begins.
    pub(super) fn find(self, LockIndex(index): LockIndex) -> (u64, i64) {
        let start = index / self.files() * INDEX_LEN;
        (index % self.files(), start.try_into().expect("BUG: it is below 2^63"))
    }

    pub(super) fn path(self, folder: &Path, file: u64) -> PathBuf {
        folder.join(match self {
            Self::Coarse => format!("coarse-{file:x}"),
            Self::Fine => format!("fine-{file:03x}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_build_finds_a_key_in_the_same_place() {
        for (key, sharding, name, start) in [
            ("efcdab8967452301", Sharding::Coarse, "coarse-f", 0x0023_4567_89ab_cde0 << 8),
            ("efcdab8967452301", Sharding::Fine, "fine-1ef", 0x0023_4567_89ab_cc00 << 2),
            ("0000000000000000", Sharding::Coarse, "coarse-0", 0),
            ("0000000000000000", Sharding::Fine, "fine-000", 0),
            ("ffffffffffffffff", Sharding::Coarse, "coarse-f", i64::MAX - 4095),
            ("ffffffffffffffff", Sharding::Fine, "fine-3ff", (1 << 57) - 4096),
        ] {
            let (file, at) = sharding.find(LockIndex::from(key.parse::<KeyId>().unwrap()));
            assert_eq!(sharding.path(Path::new("keys"), file), Path::new("keys").join(name));
            assert_eq!(at, start, "{key} in {name}");
        }
    }
}
