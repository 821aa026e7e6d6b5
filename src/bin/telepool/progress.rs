//! Progress of a step that may take long, and its end if that is asked for.
//!
//! Owns how often it is reported: more seldom the longer it takes.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::now;
use crate::failure::Failure;
use crate::signals::Stop;

/// When it is reported for the first time, and how much later then; after that twice as late each time.
const FIRST: Duration = Duration::from_secs(1);

/// A step over so many things.
pub(crate) struct Progress<'a> {
    what: &'static str,
    all: u64,
    stop: &'a Stop,
    reported: Instant,
    next: Duration,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(what: &'static str, all: u64, stop: &'a Stop) -> Self {
        Self { what, all, stop, reported: now(), next: FIRST }
    }

    /// So many are done. Refused once the end is asked for.
    pub(crate) fn reach(&mut self, done: u64) -> Result<(), Failure> {
        if self.stop.is_requested() {
            return Err(Failure::interrupted());
        }
        if self.reported.elapsed() >= self.next {
            say!("telepool: {}: {done} of {}; Ctrl-C ends it", self.what, self.all);
            (self.reported, self.next) = (now(), self.next * 2);
        }
        Ok(())
    }
}
