//! Fault injection: plans of faults, drawn from a seed.
//!
//! Owns no fault's execution: whoever draws one carries it out.

mod injector;
mod plan;
mod protocol;
#[cfg(test)]
mod tests;
mod written;

pub(super) use injector::FaultInjector;
pub(super) use plan::{CONNECT, INTRODUCTION, UPDATES};
pub use plan::{Fault, FaultPlan, FaultPlanError, FaultRule};
pub use protocol::ProtocolFault;
