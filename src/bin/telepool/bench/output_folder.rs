//! The folder that results are written into.
//!
//! Owns its creation, before anything is measured, and each file of it.

use std::path::Path;

use crate::failure::Failure;

/// Creates the folder, unless it is there.
pub(crate) fn create(folder: &Path) -> Result<(), Failure> {
    let shown = folder.display();
    if folder.exists() && !folder.is_dir() {
        return Err(Failure::refused(format!("--out {shown}: it is a file: give a folder")));
    }
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::refused(format!("--out {shown}: {error}: give another folder")))
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = folder.join(name);
    std::fs::write(&path, text)
        .map_err(|error| Failure::broken(format!("cannot write {}: {error}", path.display())))
}
