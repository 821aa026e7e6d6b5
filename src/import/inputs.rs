//! What a folder holds that may be an import.
//!
//! Owns the walk and what it passes over: files that belong to others, and hidden ones. Never opens a file, and
//! follows no link to a folder, so that no walk goes in a circle.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::tdata;

/// How many folders may lie within one another.
const DEPTH_MAX: usize = 32;
/// Ends of the names of files that belong to another, or hold nothing.
const PASSED_OVER: [&str; 4] = ["-wal", "-shm", "-journal", ".lock"];

/// The inputs of a path, in order: the path itself if it is a file or a folder of Telegram Desktop, else each file
/// and each such folder within, also in folders within folders. Passed over are files that belong to others, such
/// as `x.session-wal`, and hidden ones.
#[must_use]
pub fn inputs(path: &Path) -> Inputs {
    Inputs { levels: vec![vec![path.to_owned()]] }
}

/// An iterator over the inputs of a path; see [`inputs`]. After a folder that cannot be read the next one is.
#[derive(Debug)]
pub struct Inputs {
    /// What is left of each folder on the way, the next one last.
    levels: Vec<Vec<PathBuf>>,
}

/// A folder that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read: {source}", .path.display())]
pub struct InputsError {
    /// The folder.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Iterator for Inputs {
    type Item = Result<PathBuf, InputsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let level = self.levels.last_mut()?;
            let Some(path) = level.pop() else {
                self.levels.pop();
                continue;
            };
            let is_root = self.levels.len() == 1;
            // What cannot be looked at is told by whoever opens it.
            let is_folder = if is_root { path.is_dir() } else { is_real_folder(&path) };
            if !is_folder {
                // A link to a folder: what it leads to is met elsewhere, or lies outside.
                if !is_root && path.is_dir() {
                    continue;
                }
                return Some(Ok(path));
            }
            if tdata::is_folder(&path) {
                return Some(Ok(path));
            }
            match self.listed(&path) {
                Ok(files) => self.levels.push(files),
                Err(source) => return Some(Err(InputsError { path, source })),
            }
        }
    }
}

impl Inputs {
    /// What is in a folder, the first last.
    fn listed(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        if self.levels.len() > DEPTH_MAX {
            return Err(io::Error::other(format!("it lies more than {DEPTH_MAX} folders deep")));
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if !is_passed_over(entry.file_name().as_encoded_bytes()) {
                files.push(entry.path());
            }
        }
        files.sort_unstable_by(|a, b| b.cmp(a));
        Ok(files)
    }
}

fn is_real_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

fn is_passed_over(name: &[u8]) -> bool {
    name.starts_with(b".") || PASSED_OVER.iter().any(|end| name.ends_with(end.as_bytes()))
}
