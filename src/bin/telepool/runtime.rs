//! The tokio runtime of a command.

use tokio::runtime::{Builder, Runtime};

use crate::failure::Failure;
use crate::files;

/// A runtime of several threads. Refused if too few files may be opened for it.
pub(crate) fn multi_thread() -> Result<Runtime, Failure> {
    files::require(0)?;
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::broken(format!("no threads to run on: {error}")))
}

/// A runtime of this thread alone, for a command that only asks.
pub(crate) fn current_thread() -> Result<Runtime, Failure> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::broken(format!("nothing to run on: {error}")))
}
