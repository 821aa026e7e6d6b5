//! Call sites: where a lease was acquired, as one atomic word.
//!
//! Owns a process-wide table from the address of a `Location` back to the location, so that a
//! connection can remember its borrower's call site in one atomic word. The table holds one
//! entry per call site of the program and never shrinks.

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

type Table = HashMap<usize, &'static Location<'static>>;

// The mutex of the standard library also where a model explores the order of things: the table
// outlives each exploration, and nothing depends on when it is filled.
static SEEN: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);

fn seen() -> MutexGuard<'static, Table> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    // The last site of this thread that is known to be in the table: most threads acquire in a
    // loop at one place, and then never touch the table's lock.
    static LAST: Cell<usize> = const { Cell::new(0) };
}

/// The word that stands for a location.
#[inline]
pub(crate) fn word_of(site: &'static Location<'static>) -> u64 {
    std::ptr::from_ref(site).addr() as u64
}

/// Makes sure that [`location_of`] finds the site again.
pub(crate) fn remember(site: &'static Location<'static>) {
    let address = std::ptr::from_ref(site).addr();
    // `try_with`, because a lease may be acquired while the thread's locals are being dropped.
    if LAST.try_with(|last| last.replace(address) == address).unwrap_or(false) {
        return;
    }
    seen().insert(address, site);
}

/// The location that a word stands for, if it was remembered.
pub(crate) fn location_of(word: u64) -> Option<&'static Location<'static>> {
    let address = usize::try_from(word).ok()?;
    seen().get(&address).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remembered_site_is_found_again() {
        let site = Location::caller();
        assert_eq!(location_of(word_of(site)), None);
        remember(site);
        assert_eq!(location_of(word_of(site)), Some(site));
    }
}
