//! The limits of a pool: the cap on its connections, the limiters of its dials, and its occupancy.
//!
//! Containers that know no account: what they hold permits for is their callers' affair.

pub(crate) mod budget;
pub(crate) mod dialing;
pub(crate) mod occupancy;
