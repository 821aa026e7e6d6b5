//! Child processes that measure, and their end.
//!
//! Owns every process that the command starts. One that is no longer waited for is killed and
//! reaped; and each reads its standard input, which ends when this process is gone however that
//! came about, so that none outlives it.

mod child;
mod data_centre;
mod progress;
mod runner;

pub(crate) use child::temporary_folder;
pub(crate) use data_centre::{DataCentreCounts, DataCentreProcess, DataCentreSpec};
pub(crate) use progress::report_phase;
pub(crate) use runner::ProcessRunner;
