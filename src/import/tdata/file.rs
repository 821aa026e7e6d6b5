//! The files of Telegram Desktop: a mark, a version, the contents and their MD5.
//!
//! Owns their names, and which of several counts. Never looks at what is in them.

use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::import::ImportError;
use crate::import::files::regular;

/// What stands behind the name of a file, the newest way first.
pub(super) const SUFFIXES: [&str; 3] = ["s", "0", "1"];

const MARK: &[u8] = b"TDF$";
/// Bytes in front of the contents, and behind them.
const HEAD_LEN: usize = MARK.len() + 4;
const MD5_LEN: usize = 16;
/// The longest file that we read: each has a few hundred bytes for each account or key.
const LEN_MAX: u64 = 4 << 20;

/// The name of an account's file: of its MD5 the half, with the digits of each byte the other way round.
pub(super) fn name(index: u32) -> String {
    let data = if index == 0 { "data".to_owned() } else { format!("data#{}", index + 1) };
    let hash = md5::compute(data).0;
    hash[..8].iter().map(|byte| format!("{:02X}", byte.rotate_left(4))).collect()
}

/// The contents of the first file of this name that is whole.
pub(super) fn read(folder: &Path, name: &str) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let mut problem = ImportError::Damaged { what: "one of its files is missing" };
    for suffix in SUFFIXES.into_iter().chain([""]) {
        let path = folder.join(format!("{name}{suffix}"));
        // A folder may have the bare name.
        if !path.exists() || (suffix.is_empty() && path.is_dir()) {
            continue;
        }
        match one(&path) {
            Ok(contents) => return Ok(contents),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

fn one(path: &Path) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let file = regular(path)?;
    let len = file.metadata()?.len();
    if len > LEN_MAX {
        return Err(ImportError::TooLong { limit: LEN_MAX });
    }
    let capacity = usize::try_from(len).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(LEN_MAX).read_to_end(&mut bytes)?;
    contents(bytes)
}

/// What is in a file, if all of it is there.
pub(super) fn contents(mut bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let damaged = || ImportError::Damaged { what: "one of its files is cut off or changed" };
    let len = bytes.len().checked_sub(HEAD_LEN + MD5_LEN).ok_or_else(damaged)?;
    let (mark, version) = (&bytes[..MARK.len()], &bytes[MARK.len()..HEAD_LEN]);
    let (contents, md5) = bytes[HEAD_LEN..].split_at(len);
    let mut hash = md5::Context::new();
    hash.consume(contents);
    hash.consume(u32::try_from(len).unwrap_or_default().to_le_bytes());
    hash.consume(version);
    hash.consume(mark);
    if mark != MARK || hash.finalize().0 != md5 {
        return Err(damaged());
    }
    bytes.truncate(HEAD_LEN + len);
    bytes.drain(..HEAD_LEN);
    Ok(bytes)
}

/// A file of these contents.
#[cfg(any(fuzzing, test))]
pub(super) fn sealed(contents: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    let len = u32::try_from(contents.len()).unwrap_or_default().to_le_bytes();
    let hash = md5::compute([&contents[..], &len, &[1; 4], MARK].concat()).0;
    Zeroizing::new([MARK, &[1; 4], &contents, &hash].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_whole() {
        let bytes = Zeroizing::new(b"contents".to_vec());
        assert_eq!(*contents(sealed(bytes.clone())).unwrap(), *bytes);
        assert!(contents(bytes).is_err());
    }

    #[test]
    fn the_names_of_accounts_are_those_of_the_program() {
        assert_eq!(name(0), "D877F783D5D3EF8C");
        assert_eq!(name(1), "A7FDF864FBC10B77");
        assert_eq!(name(2), "F8806DD0C461824F");
    }
}
