//! Standard output: what a command prints as its result.

use std::io::{self, Write};
use std::sync::OnceLock;

use crate::failure::Failure;

/// Set once whoever read it has gone.
static ABANDONED: OnceLock<()> = OnceLock::new();

/// Prints a text as it is. A reader that has gone has seen enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            ABANDONED.get_or_init(|| ());
            Ok(())
        }
        Err(error) => Err(Failure::broken(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Returns whether nobody reads what is printed any more, as the last print has shown.
pub(crate) fn is_abandoned() -> bool {
    ABANDONED.get().is_some()
}
